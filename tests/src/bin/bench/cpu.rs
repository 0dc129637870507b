//! CPU time, which counts all threads and is not disturbed by waiting.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The CPU time that this process has used.
pub fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let secs = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(secs, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The CPU time of all threads that `work` causes, and its result.
pub fn of<R>(work: impl FnOnce() -> R) -> (Duration, R) {
    let before = process_time();
    let result = work();
    (process_time().saturating_sub(before), result)
}
