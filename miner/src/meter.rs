//! The hash-rate meter: hashes a second over the last ten seconds.
//!
//! It counts into slots of a quarter of a second, so its memory is fixed and a reading costs forty
//! additions. Time is an argument (since some fixed moment, never going back), so that it is tested without
//! waiting.

use std::time::Duration;

/// Length of a slot.
const SLOT_MILLIS: u128 = 250;

/// Slots that are kept; the window is their length together.
const SLOTS: usize = 40;

/// A sliding count of hashes.
#[derive(Debug, Clone)]
pub struct Meter {
    /// The number of the newest slot, counted from time zero; `None` before the first hashes.
    newest: Option<u128>,
    /// When the first hashes were recorded, which bounds what the window can hold.
    first_at: Duration,
    /// Hashes by slot number modulo [`SLOTS`].
    slots: [Slot; SLOTS],
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    number: u128,
    hashes: u64,
}

impl Default for Meter {
    fn default() -> Self {
        Self { newest: None, first_at: Duration::ZERO, slots: [Slot::default(); SLOTS] }
    }
}

impl Meter {
    /// Records `hashes` that were computed just before `now`.
    pub fn record(&mut self, now: Duration, hashes: u64) {
        let number = slot_number(now);
        if self.newest.is_none() {
            self.first_at = now;
        }
        self.newest = self.newest.max(Some(number));
        let slot = &mut self.slots[slot_index(number)];
        if slot.number == number {
            slot.hashes = slot.hashes.saturating_add(hashes);
        } else if slot.number < number {
            *slot = Slot { number, hashes };
        }
        // Otherwise the hashes are older than the whole window and belong to no reading.
    }

    /// Hashes a second in the ten seconds that end at `now`, or since the first hashes if that is less;
    /// at least one slot's length is counted, so that the first readings are not wild.
    #[must_use]
    pub fn hashes_per_sec(&self, now: Duration) -> u64 {
        if self.newest.is_none() {
            return 0;
        }
        let number = slot_number(now);
        let kept = SLOTS as u128;
        let hashes: u128 = self
            .slots
            .iter()
            .filter(|slot| slot.number <= number && slot.number + kept > number)
            .map(|slot| u128::from(slot.hashes))
            .sum();
        let window_start = (number + 1).saturating_sub(kept) * SLOT_MILLIS;
        let start = window_start.max(self.first_at.as_millis());
        let window = now.as_millis().saturating_sub(start).max(SLOT_MILLIS);
        u64::try_from(hashes * 1_000 / window).unwrap_or(u64::MAX)
    }
}

fn slot_number(at: Duration) -> u128 {
    at.as_millis() / SLOT_MILLIS
}

fn slot_index(number: u128) -> usize {
    usize::try_from(number % SLOTS as u128).expect("a remainder below the number of slots")
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn nothing_recorded_is_zero() {
        assert_eq!(Meter::default().hashes_per_sec(ms(5_000)), 0);
    }

    #[test]
    fn a_steady_rate_is_read_as_it_is() {
        let mut meter = Meter::default();
        // 100 hashes every 50 ms are 2,000 a second.
        for tick in 0..1_000 {
            meter.record(ms(7_000 + tick * 50), 100);
        }
        let rate = meter.hashes_per_sec(ms(7_000 + 1_000 * 50));
        assert!((1_980..=2_020).contains(&rate), "{rate}");
    }

    #[test]
    fn what_left_the_window_no_longer_counts() {
        let mut meter = Meter::default();
        meter.record(ms(0), 1_000);
        // Ten seconds and the running slot later it is gone; just before, it is a tenth a second.
        assert_eq!(meter.hashes_per_sec(ms(9_999)), 100);
        assert_eq!(meter.hashes_per_sec(ms(10_000)), 0);
    }

    #[test]
    fn a_pause_lowers_the_rate_and_old_slots_are_not_mixed_with_new_ones() {
        let mut meter = Meter::default();
        meter.record(ms(1_000), 4_000);
        // The same place in the ring, one round later.
        meter.record(ms(11_000), 500);
        assert_eq!(meter.hashes_per_sec(ms(11_250)), 500 * 1_000 / 9_750);
    }

    #[test]
    fn the_first_reading_divides_by_a_slot_at_least() {
        let mut meter = Meter::default();
        meter.record(ms(3_000), 100);
        assert_eq!(meter.hashes_per_sec(ms(3_000)), 400);
    }
}
