//! Waiting for what another process does.
//!
//! The only way to see another process's state is to ask it, so waiting is asking again and again. The deadline
//! is there so that a hanging test ends; nothing is concluded from how long something took.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

/// When waiting is given up: generous, for machines that are busy with other tests.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// How long to wait before asking again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Asks `look` until it has an answer. Its errors say what is still missing.
///
/// # Panics
/// After [`DEADLINE`], with what was last missing.
#[track_caller]
pub fn until<T>(what: impl Display, look: impl FnMut() -> Result<T, String>) -> T {
    until_deadline(what, DEADLINE, look)
}

/// As [`until`], with a deadline of its own, for what the product promises within a time.
///
/// # Panics
/// After `deadline`, with what was last missing.
#[track_caller]
pub fn until_deadline<T>(
    what: impl Display,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let begin = Instant::now();
    loop {
        // Asked before the clock is looked at, so that even a slow machine asks once after the deadline.
        let late = begin.elapsed() > deadline;
        match look() {
            Ok(found) => return found,
            Err(missing) => {
                assert!(!late, "waited {} s in vain until {what}: {missing}", deadline.as_secs());
            }
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// For [`until`]: nothing is missing where `holds`, else `missing` is.
///
/// # Errors
/// What is missing.
pub fn require(holds: bool, missing: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(missing()) }
}

/// How often [`pause_unless`] looks.
const GLANCE_INTERVAL: Duration = Duration::from_millis(2);

/// Lets time pass, for a signal at a moment that chance has chosen, unless `over`; whether the time has passed.
pub fn pause_unless(time: Duration, mut over: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < time {
        if over() {
            return false;
        }
        thread::sleep(GLANCE_INTERVAL);
    }
    true
}
