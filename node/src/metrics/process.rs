//! The process itself, under the names that Prometheus's own clients use. What a system does not tell is left out.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// Reads the process's figures when they are asked for.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut write = |name, help, unit: Option<&Unit>, value: &dyn EncodeMetric| {
            value.encode(encoder.encode_descriptor(name, help, unit, value.metric_type())?)
        };
        let cpu = ConstCounter::new(cpu_seconds());
        write("process_cpu", "CPU time of all threads, of user and system", Some(&Unit::Seconds), &cpu)?;
        if let Some(bytes) = resident_bytes() {
            let gauge = ConstGauge::new(bytes);
            write("process_resident_memory", "Memory that is in use", Some(&Unit::Bytes), &gauge)?;
        }
        if let Some(files) = open_files() {
            write("process_open_fds", "Files and sockets that are open", None, &ConstGauge::new(files))?;
        }
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            write("process_max_fds", "Files and sockets that may be open", None, &ConstGauge::new(limit))?;
        }
        Ok(())
    }
}

fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// From `VmRSS:   12345 kB`, which Linux alone has.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1_024)
}

fn open_files() -> Option<u64> {
    // The folder that is read is itself open.
    let files = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some(files.saturating_sub(1))
}
