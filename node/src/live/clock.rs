//! The two clocks of a running node: the wall clock for the ledger's rules alone, and one that never goes
//! back for everything that waits (threat S11). Peers' clocks are never used.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use chain::time::Time;

use crate::engine::Now;

/// A node's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    offset_secs: i64,
    started: Instant,
}

impl Clock {
    /// A clock that shows the system's time plus `offset_secs`: a devnet that was stopped for a night has its
    /// own, earlier time, so that it does not owe a night's blocks.
    #[must_use]
    pub fn new(offset_secs: i64) -> Self {
        Self { offset_secs, started: Instant::now() }
    }

    /// What the clocks show.
    #[must_use]
    pub fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let secs = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX).saturating_add(self.offset_secs);
        let wall = Time::from_secs(u32::try_from(secs.max(0)).unwrap_or(u32::MAX));
        let monotonic_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { wall, monotonic_ms }
    }

    /// Seconds since the node was started.
    #[must_use]
    pub fn uptime_secs(&self) -> u64 {
        self.started.elapsed().as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s11_an_offset_moves_the_wall_clock_alone() {
        let (plain, late) = (Clock::new(0), Clock::new(-10_800));
        let difference = plain.now().wall.secs() - late.now().wall.secs();
        assert!((10_799..=10_801).contains(&difference), "{difference}");
        assert!(late.now().monotonic_ms < 10_000);
        assert_eq!(Clock::new(i64::MIN).now().wall, Time::from_secs(0));
        assert_eq!(Clock::new(i64::MAX).now().wall, Time::from_secs(u32::MAX));
    }
}
