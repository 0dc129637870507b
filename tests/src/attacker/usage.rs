//! What a process costs, as Linux tells.

use std::fs;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Memory that it occupies, in KiB.
    pub memory_kib: u64,
    /// The most that it has occupied since [`forget_peak`], in KiB.
    pub peak_kib: u64,
    /// Processor time, in the kernel's ticks of a hundredth of a second.
    pub cpu_ticks: u64,
    /// Open file descriptors.
    pub descriptors: usize,
}

impl Usage {
    /// What a running process has used.
    ///
    /// # Panics
    /// Where the process is gone, or the system is no Linux.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let status = read(pid, "status");
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells");
            line.trim().trim_end_matches("kB").trim().parse().expect("a number of KiB")
        };
        let stat = read(pid, "stat");
        // The name may hold anything; the fields follow its closing bracket, user time and system time among them.
        let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
        let field = |index| -> u64 {
            let word = fields.split_whitespace().nth(index).expect("Linux tells");
            word.parse().expect("a number of ticks")
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count();
        Self {
            memory_kib: kib("VmRSS:"),
            peak_kib: kib("VmHWM:"),
            cpu_ticks: field(11) + field(12),
            descriptors,
        }
    }
}

/// Lets the peak begin again at what the process occupies now.
///
/// # Panics
/// Where the system does not allow it.
pub fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the process is ours");
}

fn read(pid: u32, name: &str) -> String {
    let path = format!("/proc/{pid}/{name}");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
