//! The throttle: real proof of work, but only so many hashes a second.
//!
//! It keeps a laptop cool and gives every node of a devnet its share of the hash rate. Credit grows with
//! time and hashes spend it; unspent credit is capped, so that a process that was stopped for an hour does
//! not make up for it in one burst. It only says how long to wait: the waiting is the caller's, who can be
//! interrupted. Time is an argument, so that it is tested without waiting.

use std::time::Duration;

/// Credit is granted at most this many times a second, so that a low rate wakes the processor seldom.
const GRANTS_PER_SEC: u64 = 50;

/// Unspent credit is capped at the hashes of this part of a second, or at two grants where that is more, so
/// that what a grant leaves over is not lost.
const BURST_PART_OF_SECOND: u64 = 4;

/// Below this rate another worker brings nothing: one core reaches it without special instructions.
const HASHES_PER_WORKER: u64 = 500_000;

/// Credit is counted in billionths of a hash, so that no fraction is ever lost.
const NANOS_PER_SEC: u128 = 1_000_000_000;

/// What [`Throttle::grant`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// So many hashes may be computed now; at least one.
    Hashes(u64),
    /// Nothing may be computed yet: ask again after this time.
    Wait(Duration),
    /// The rate is zero: nothing may ever be computed.
    Never,
}

/// A bound on the hashes a second.
#[derive(Debug, Clone)]
pub struct Throttle {
    hashes_per_sec: u64,
    /// Billionths of a hash that may be spent.
    credit: u128,
    /// Up to when credit was counted.
    counted_to: Duration,
}

impl Throttle {
    /// A throttle that begins at `now` without credit; a rate of zero pauses.
    #[must_use]
    pub const fn new(hashes_per_sec: u64, now: Duration) -> Self {
        Self { hashes_per_sec, credit: 0, counted_to: now }
    }

    /// Spends credit on at most `want` hashes, or says how long to wait until that is worth while: for a
    /// fiftieth of a second's hashes or for `want`, whichever is less.
    pub fn grant(&mut self, now: Duration, want: u64) -> Grant {
        if self.hashes_per_sec == 0 {
            return Grant::Never;
        }
        let rate = u128::from(self.hashes_per_sec);
        let grain = u128::from((self.hashes_per_sec / GRANTS_PER_SEC).max(1)) * NANOS_PER_SEC;
        let burst = u128::from(self.hashes_per_sec / BURST_PART_OF_SECOND) * NANOS_PER_SEC;
        let elapsed = now.saturating_sub(self.counted_to);
        self.counted_to = self.counted_to.max(now);
        self.credit =
            self.credit.saturating_add(elapsed.as_nanos().saturating_mul(rate)).min(burst.max(2 * grain));
        let wanted = u128::from(want.max(1)) * NANOS_PER_SEC;
        let needed = grain.min(wanted);
        if self.credit < needed {
            let nanos = (needed - self.credit).div_ceil(rate);
            return Grant::Wait(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        }
        let hashes = self.credit.min(wanted) / NANOS_PER_SEC;
        self.credit -= hashes * NANOS_PER_SEC;
        Grant::Hashes(u64::try_from(hashes).expect("at most `want`, which is a u64"))
    }

    /// How many of `threads` are needed to reach the rate; at least one.
    #[must_use]
    pub fn workers(&self, threads: usize) -> usize {
        let needed = self.hashes_per_sec.div_ceil(HASHES_PER_WORKER).max(1);
        usize::try_from(needed).map_or(threads, |needed| needed.min(threads))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Duration = Duration::from_secs(100);

    /// Runs the throttle as a worker would that computes in no time: asks, and waits as told. Returns the
    /// hashes granted and the number of waits.
    fn run(throttle: &mut Throttle, want: u64, time: Duration) -> (u64, u64) {
        let (mut now, mut hashes, mut waits) = (START, 0, 0);
        loop {
            match throttle.grant(now, want) {
                Grant::Hashes(granted) => hashes += granted,
                Grant::Wait(wait) => {
                    assert!(!wait.is_zero(), "a wait of nothing is a busy loop");
                    waits += 1;
                    now += wait;
                }
                Grant::Never => return (hashes, waits),
            }
            if now > START + time {
                return (hashes, waits);
            }
        }
    }

    #[test]
    fn two_thousand_a_second_are_two_thousand_in_fifty_wake_ups() {
        let (hashes, waits) = run(&mut Throttle::new(2_000, START), 8_192, Duration::from_secs(10));
        assert_eq!((hashes, waits), (20_000, 501));
    }

    #[test]
    fn a_rate_below_the_grain_grants_single_hashes() {
        let (hashes, waits) = run(&mut Throttle::new(3, START), 8_192, Duration::from_secs(10));
        assert_eq!((hashes, waits), (30, 31));
    }

    #[test]
    fn zero_never_grants() {
        assert_eq!(Throttle::new(0, START).grant(START + Duration::from_secs(9), 1), Grant::Never);
    }

    #[test]
    fn a_long_sleep_is_not_made_up_for() {
        let mut throttle = Throttle::new(2_000, START);
        let late = START + Duration::from_secs(3_600);
        assert_eq!(throttle.grant(late, 8_192), Grant::Hashes(500));
        assert_eq!(throttle.grant(late, 8_192), Grant::Wait(Duration::from_millis(20)));
    }

    #[test]
    fn a_clock_that_does_not_move_grants_nothing_twice() {
        let mut throttle = Throttle::new(1_000, START);
        let later = START + Duration::from_millis(20);
        assert_eq!(throttle.grant(later, 100), Grant::Hashes(20));
        assert_eq!(throttle.grant(START, 100), Grant::Wait(Duration::from_millis(20)));
        assert_eq!(throttle.grant(later, 100), Grant::Wait(Duration::from_millis(20)));
    }

    #[test]
    fn workers_follow_the_rate() {
        assert_eq!(Throttle::new(0, START).workers(8), 1);
        assert_eq!(Throttle::new(2_000, START).workers(8), 1);
        assert_eq!(Throttle::new(500_001, START).workers(8), 2);
        assert_eq!(Throttle::new(u64::MAX, START).workers(8), 8);
    }

    proptest! {
        /// Whatever the rate and however late the worker asks: never more than the rate allows, counted
        /// from the start.
        #[test]
        fn never_more_than_the_rate(
            rate in 1_u64..1_000_000_000,
            want in 1_u64..100_000,
            steps in proptest::collection::vec(0_u64..2_000_000_000, 1..100),
        ) {
            let mut throttle = Throttle::new(rate, START);
            let (mut now, mut hashes) = (START, 0_u128);
            for step in steps {
                now += Duration::from_nanos(step);
                if let Grant::Hashes(granted) = throttle.grant(now, want) {
                    prop_assert!((1..=want).contains(&granted));
                    hashes += u128::from(granted);
                }
            }
            prop_assert!(hashes * NANOS_PER_SEC <= (now - START).as_nanos() * u128::from(rate));
        }
    }
}
