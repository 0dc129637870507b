//! Fail points: places beside every write at which a test may kill the process or let the write fail.
//!
//! Only the feature `failpoints` and this crate's own tests compile them; else [`hit`] is an empty inlined
//! function. The binary `cairn-failpoints` is the program with the feature. The environment variable
//! `CAIRN_FAILPOINT` arms one point: `name:count` or `name:count:action`. The count says at which visit it acts,
//! from 1 on. The action is `kill` (SIGKILL to this very process, as `kill -9` does it, and the kernel when memory
//! runs out) or `enospc` (an error, as a full disk gives it). Tests in this crate arm a point for their own thread.
//!
//! Beside them are the hearts of threads and tasks, where a test may plant a panic ([`beat`], threat S12): the variable
//! `CAIRN_PANIC` names the one, see [`PARTS`].
//!
//! It never does anything unless it is armed, and a name or form that it does not know is an error at the
//! first write rather than a test that tests nothing.

#[cfg(test)]
pub(crate) use self::armed::{arm, disarm};
#[cfg(any(test, feature = "failpoints"))]
pub(crate) use self::armed::{beat, hit, is_armed};

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
    // Coins, undo positions and tip, where they are few.
    "coins.flush.before",
    "coins.flush.after",
    // Undo positions before a large batch of coins.
    "undo.rows.before",
    "undo.rows.after",
    // A large batch of coins and the tip, as a file that the database takes in.
    "coins.file.before",
    "coins.file.after",
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

/// The environment variable that plants a panic.
#[cfg(any(test, feature = "failpoints"))]
pub const PANIC_VARIABLE: &str = "CAIRN_PANIC";

/// The threads and tasks in which a panic can be planted: the engine's thread, the network's task, a call of the
/// RPC, a read on a thread that may block, the indexer's thread, the miner's task, a scrape of the metrics, and
/// what sends spans.
#[cfg(any(test, feature = "failpoints"))]
pub const PARTS: &[&str] = &["engine", "network", "rpc", "reading", "indexer", "miner", "metrics", "otlp"];

/// Passes the heart of a thread or task; without the feature nothing can be planted there.
#[cfg(not(any(test, feature = "failpoints")))]
#[inline(always)]
pub(crate) const fn beat(_part: &'static str) {}

/// Whether the environment arms a point of this write; without the feature there is none.
#[cfg(not(any(test, feature = "failpoints")))]
#[inline(always)]
pub(crate) const fn is_armed(_write: &str) -> bool {
    false
}

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
mod armed;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::NAMES;

    fn sources(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if entry.is_dir() && name != "tests" {
                sources(&entry, text);
            } else if name.ends_with(".rs")
                && name != "failpoint.rs"
                && name != "armed.rs"
                && name != "tests.rs"
            {
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
