//! Fail points that act: compiled with the feature, and for this crate's own tests, alone.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::process::{Signal, getpid, kill_process};

use super::{NAMES, PANIC_VARIABLE, PARTS, VARIABLE};

/// What a fail point does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Full,
}

/// One armed point.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Point {
    name: String,
    /// At which visit it acts, from 1.
    count: u64,
    action: Action,
}

/// What a thread of a test knows: its own point, and how often each was passed.
#[derive(Default)]
struct Local {
    point: Option<Point>,
    visits: HashMap<&'static str, u64>,
}

thread_local! {
    static LOCAL: RefCell<Local> = RefCell::default();
}

fn parse(text: &str) -> Result<Point, String> {
    let mut parts = text.split(':');
    let (name, count) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let action = match parts.next() {
        None | Some("kill") => Action::Kill,
        Some("enospc") => Action::Full,
        Some(other) => return Err(format!("{VARIABLE} knows kill and enospc, not {other:?}")),
    };
    if parts.next().is_some() || !NAMES.contains(&name) {
        return Err(format!("{VARIABLE} names no fail point: {text:?}"));
    }
    let count = count.parse().ok().filter(|count| *count > 0);
    let count = count.ok_or_else(|| format!("{VARIABLE} needs a count from 1: {text:?}"))?;
    Ok(Point { name: name.to_owned(), count, action })
}

fn act(action: Action) -> io::Result<()> {
    match action {
        Action::Kill => {
            kill_process(getpid(), Signal::KILL)?;
            // The signal may take a moment to arrive; nothing may be written meanwhile.
            loop {
                std::thread::park();
            }
        }
        Action::Full => Err(rustix::io::Errno::NOSPC.into()),
    }
}

/// What the environment arms.
fn armed() -> &'static Result<Option<Point>, String> {
    static ARMED: OnceLock<Result<Option<Point>, String>> = OnceLock::new();
    ARMED.get_or_init(|| std::env::var(VARIABLE).ok().map(|text| parse(&text)).transpose())
}

/// Whether the environment arms a point of this write, named without its `before` or `after`.
pub(crate) fn is_armed(write: &str) -> bool {
    let of_write = |point: &Point| point.name.strip_prefix(write).is_some_and(|rest| rest.starts_with('.'));
    armed().as_ref().is_ok_and(|point| point.as_ref().is_some_and(of_write))
}

/// Passes the fail point `name`: nothing, unless it is armed and this is the visit it waits for.
///
/// # Errors
/// What a full disk gives, where that was asked for; or that the environment arms no point that exists.
pub(crate) fn hit(name: &'static str) -> io::Result<()> {
    static VISITS: AtomicU64 = AtomicU64::new(0);
    if !NAMES.contains(&name) {
        return Err(io::Error::other(format!("the fail point {name} is not in the list")));
    }
    match armed() {
        Err(why) => return Err(io::Error::other(why.clone())),
        Ok(Some(point)) if point.name == name => {
            if VISITS.fetch_add(1, Ordering::SeqCst) + 1 == point.count {
                act(point.action)?;
            }
        }
        Ok(_) => {}
    }
    let action = LOCAL.with_borrow_mut(|local| {
        let visits = local.visits.entry(name).or_default();
        *visits += 1;
        let reached = |point: &&Point| point.name == name && point.count == *visits;
        local.point.as_ref().filter(reached).map(|point| point.action)
    });
    action.map_or(Ok(()), act)
}

/// Passes the heart of `part`: nothing, unless a panic is planted there.
pub(crate) fn beat(part: &'static str) {
    static PLANTED: OnceLock<Option<String>> = OnceLock::new();
    match PLANTED.get_or_init(|| std::env::var(PANIC_VARIABLE).ok()).as_deref() {
        // What a fault of ours would do, in this very thread.
        Some(planted) if planted == part => {
            std::panic::panic_any(format!("a panic was planted in {part}"));
        }
        Some(planted) if !PARTS.contains(&planted) || !PARTS.contains(&part) => {
            std::panic::panic_any(format!("{PANIC_VARIABLE} names {planted}, of which nothing is known"));
        }
        _ => {}
    }
}

/// Arms a point for this thread: its visit number `count` from now is an error.
#[cfg(test)]
pub(crate) fn arm(name: &str, count: u64) {
    assert!(NAMES.contains(&name), "{name} is a fail point");
    let point = Point { name: name.to_owned(), count, action: Action::Full };
    LOCAL.set(Local { point: Some(point), visits: HashMap::new() });
}

/// Arms nothing in this thread, and counts from zero.
#[cfg(test)]
pub(crate) fn disarm() {
    LOCAL.set(Local::default());
}

/// How often this thread has passed a point since the last [`arm`] or [`disarm`].
#[cfg(test)]
fn visits(name: &str) -> u64 {
    LOCAL.with_borrow(|local| local.visits.get(name).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_environment_says_is_read() {
        let point = |name: &str, count, action| Point { name: name.to_owned(), count, action };
        assert_eq!(parse("undo.append.after:3"), Ok(point("undo.append.after", 3, Action::Kill)));
        assert_eq!(parse("undo.create.before:1:kill"), Ok(point("undo.create.before", 1, Action::Kill)));
        assert_eq!(parse("blocks.sync.after:20:enospc"), Ok(point("blocks.sync.after", 20, Action::Full)));
        for wrong in [
            "",
            "undo.append.after",
            "undo.append.after:0",
            "undo.append.after:x",
            "undo.append:1",
            "undo.append.after:1:explode",
            "undo.append.after:1:kill:now",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_armed_point_acts_once_at_its_visit() {
        arm("undo.append.before", 2);
        hit("undo.append.before").expect("its first visit");
        hit("undo.append.after").expect("another point");
        let error = hit("undo.append.before").expect_err("its second visit");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        hit("undo.append.before").expect("it has acted");
        assert_eq!(visits("undo.append.before"), 3);
        disarm();
        assert!(hit("nowhere").is_err(), "a point that is not in the list");
    }
}
