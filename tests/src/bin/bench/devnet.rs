//! What a devnet of four nodes costs that mines and is otherwise left alone.

use std::{error::Error, fs, thread, time::Duration};

use tests::devnet::Devnet;

use crate::Bench;

/// How long the devnet is watched: several blocks.
const WATCHED: Duration = Duration::from_secs(60);

/// CPU seconds that a process has used, from `/proc/PID/stat`.
fn cpu_secs(pid: u32) -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything; the fields behind it are numbers.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields.get(11).ok_or("no user time")?.parse::<f64>()?
        + fields.get(12).ok_or("no system time")?.parse::<f64>()?;
    // Linux counts in hundredths of a second on every machine that there is.
    Ok(ticks / 100.0)
}

/// Starts a devnet, waits until it is ready, and counts the CPU time of all its processes.
pub fn measure(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let started = std::time::Instant::now();
    let mut devnet = Devnet::start(&folder.path().join("devnet"), 4);
    bench.put("devnet_ready_secs", started.elapsed().as_secs_f64());
    let mut pids: Vec<u32> = devnet.file().nodes.iter().map(|node| node.pid).collect();
    pids.push(devnet.supervisor.pid());
    let total = || pids.iter().map(|pid| cpu_secs(*pid)).sum::<Result<f64, _>>();
    let before = total()?;
    let watched = std::time::Instant::now();
    // Nothing is awaited here: the devnet is left alone for a while, and that is what is measured.
    thread::sleep(WATCHED);
    let used = total()? - before;
    bench.put("devnet_cpu_cores", used / watched.elapsed().as_secs_f64());
    devnet.interrupt();
    Ok(())
}
