//! The one clock of a devnet: wall time minus the time that the devnet was stopped.
//!
//! A devnet that was stopped for two days does not owe two days of blocks: when it goes on, its clock goes on
//! from where it was last seen. The supervisor notes the time while it runs, so that a kill costs a few
//! seconds at the most, and hands every node the difference to the system's clock.

use std::{
    io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::files;

/// The most bytes of a clock file.
const MAX_FILE_BYTES: u64 = 1_024;

/// The clock of a devnet: the system's, moved by a whole number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevnetClock {
    offset_secs: i64,
}

/// What is kept between two runs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LastSeen {
    /// The devnet's time when it was last seen running, in Unix seconds.
    devnet_time: i64,
}

impl DevnetClock {
    /// The clock of a new devnet: the system's.
    pub const NEW: Self = Self { offset_secs: 0 };

    /// The clock of a devnet that was last seen at `last_secs` and goes on at the system's `wall_secs`.
    #[must_use]
    pub const fn resumed(last_secs: i64, wall_secs: i64) -> Self {
        Self { offset_secs: last_secs.saturating_sub(wall_secs) }
    }

    /// What to add to the system's time, in seconds; zero or less unless the system's clock was set back.
    #[must_use]
    pub const fn offset_secs(self) -> i64 {
        self.offset_secs
    }

    /// The devnet's time when the system's is `wall_secs`.
    #[must_use]
    pub const fn at(self, wall_secs: i64) -> i64 {
        wall_secs.saturating_add(self.offset_secs)
    }

    /// Notes the devnet's time in `path`.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(self, path: &Path, aside: &Path) -> io::Result<()> {
        let seen = LastSeen { devnet_time: self.at(wall_secs()) };
        files::replace(path, aside, serde_json::to_string(&seen)?.as_bytes())
    }
}

/// The devnet's time when it was last seen, in Unix seconds.
///
/// # Errors
/// Where the file cannot be read or understood.
pub fn last_seen(path: &Path) -> io::Result<i64> {
    let text = files::read(path, MAX_FILE_BYTES)?;
    Ok(serde_json::from_str::<LastSeen>(&text)?.devnet_time)
}

/// The system's time in Unix seconds.
#[must_use]
pub fn wall_secs() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_from_where_it_was_last_seen() {
        const TWO_DAYS: i64 = 172_800;
        let (stopped_at, restarted_at) = (1_800_000_000, 1_800_000_000 + TWO_DAYS);
        assert_eq!(DevnetClock::NEW.at(stopped_at), stopped_at);
        let second = DevnetClock::resumed(stopped_at, restarted_at);
        assert_eq!(second.offset_secs(), -TWO_DAYS);
        assert_eq!(second.at(restarted_at), stopped_at);
        assert_eq!(second.at(restarted_at + 60), stopped_at + 60);
        // A second pause adds to the first.
        let third = DevnetClock::resumed(stopped_at + 60, restarted_at + 60 + TWO_DAYS);
        assert_eq!(third.offset_secs(), -2 * TWO_DAYS);
        // A system clock that was set back does not set the devnet back.
        assert_eq!(DevnetClock::resumed(stopped_at, stopped_at - 5).at(stopped_at - 5), stopped_at);
    }

    #[test]
    fn the_time_is_kept_and_damage_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, aside) = (folder.path().join("clock.json"), folder.path().join("aside"));
        assert!(last_seen(&path).is_err(), "no file yet");
        let clock = DevnetClock::resumed(1_000, wall_secs());
        clock.save(&path, &aside).expect("written");
        let seen = last_seen(&path).expect("read back");
        assert!((1_000..1_100).contains(&seen), "{seen}");
        for damaged in ["", "{}", "{\"devnet_time\": \"now\"}", "{\"devnet_time\": 1, \"more\": 2}"] {
            std::fs::write(&path, damaged).expect("written");
            assert!(last_seen(&path).is_err(), "{damaged}");
        }
    }
}
