//! Fail points: places beside every write at which a test may kill the process or let the write fail.
//!
//! Only the feature `failpoints` and this crate's own tests compile them; else [`hit`] is an empty inlined
//! function. The binary `cairn-failpoints` is the program with the feature. The environment variable
//! `CAIRN_FAILPOINT` arms one point: `name:count` or `name:count:action`. The count says at which visit it acts,
//! from 1 on. The action is `kill` (SIGKILL to this very process, as `kill -9` does it, and the kernel when memory
//! runs out) or `enospc` (an error, as a full disk gives it). Tests in this crate arm a point for their own thread.
//!
//! It never does anything unless it is armed, and a name or form that it does not know is an error at the
//! first write rather than a test that tests nothing.

#[cfg(any(test, feature = "failpoints"))]
pub(crate) use self::armed::hit;
#[cfg(test)]
pub(crate) use self::armed::{arm, disarm};

/// The environment variable that arms a fail point.
#[cfg(any(test, feature = "failpoints"))]
pub const VARIABLE: &str = "CAIRN_FAILPOINT";

/// All fail points. Those of one write stand together: before it, and after it.
#[cfg(any(test, feature = "failpoints"))]
pub const NAMES: &[&str] = &[
    // Appending a block's body to the newest block file.
    "blocks.append.before",
    "blocks.append.after",
    // Beginning the next block file, when the newest is full or there is none.
    "blocks.create.before",
    "blocks.create.after",
    // Waiting until the newest block file is on the disk.
    "blocks.sync.before",
    "blocks.sync.after",
    // Cutting what no row names off the newest block file, at the start.
    "blocks.cut.before",
    "blocks.cut.after",
    // The same for undo data.
    "undo.append.before",
    "undo.append.after",
    "undo.create.before",
    "undo.create.after",
    "undo.sync.before",
    "undo.sync.after",
    "undo.cut.before",
    "undo.cut.after",
    // Schema and chain of a new database.
    "database.identity.before",
    "database.identity.after",
    // Rows of new headers.
    "headers.add.before",
    "headers.add.after",
    // The row that says where a body is.
    "body.row.before",
    "body.row.after",
    // Rows of blocks that are found invalid, or no longer are.
    "headers.mark.before",
    "headers.mark.after",
    // Coins, undo positions and tip.
    "coins.flush.before",
    "coins.flush.after",
    // The database's log, at an orderly end.
    "database.sync.before",
    "database.sync.after",
    // Forgetting the coins, so that they are made anew.
    "coins.forget.before",
    "coins.forget.after",
    // Putting the database aside for a reindex, removing it and the undo files, and the new rows.
    "reindex.remove.before",
    "reindex.remove.after",
    "reindex.rows.before",
    "reindex.rows.after",
];

/// Passes the fail point `name`; without the feature there is none.
///
/// # Errors
/// None.
#[cfg(not(any(test, feature = "failpoints")))]
#[inline(always)]
pub(crate) const fn hit(_name: &'static str) -> std::io::Result<()> {
    Ok(())
}

#[cfg(any(test, feature = "failpoints"))]
mod armed {
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

    use super::{NAMES, VARIABLE};

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

    /// Passes the fail point `name`: nothing, unless it is armed and this is the visit it waits for.
    ///
    /// # Errors
    /// What a full disk gives, where that was asked for; or that the environment arms no point that exists.
    pub(crate) fn hit(name: &'static str) -> io::Result<()> {
        static ARMED: OnceLock<Result<Option<Point>, String>> = OnceLock::new();
        static VISITS: AtomicU64 = AtomicU64::new(0);
        if !NAMES.contains(&name) {
            return Err(io::Error::other(format!("the fail point {name} is not in the list")));
        }
        let armed = ARMED.get_or_init(|| std::env::var(VARIABLE).ok().map(|text| parse(&text)).transpose());
        match armed {
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
            assert_eq!(
                parse("blocks.sync.after:20:enospc"),
                Ok(point("blocks.sync.after", 20, Action::Full))
            );
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
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::NAMES;

    fn sources(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if entry.is_dir() && name != "tests" {
                sources(&entry, text);
            } else if name.ends_with(".rs") && name != "failpoint.rs" && name != "tests.rs" {
                text.push_str(&fs::read_to_string(&entry).expect("text"));
            }
        }
    }

    #[test]
    fn every_name_in_the_list_is_in_the_code_once() {
        let mut text = String::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
        let listed: BTreeSet<_> = NAMES.iter().collect();
        assert_eq!(listed.len(), NAMES.len(), "a name stands twice");
        for name in NAMES {
            let literal = format!("\"{name}\"");
            assert_eq!(text.matches(&literal).count(), 1, "{name} belongs to one write");
        }
    }
}
