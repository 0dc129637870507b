//! What a search varies when the 2^32 nonces of one header are used up: first the time, then the extranonce.
//!
//! Time is cheaper (the Merkle root stays) but bounded by what other nodes accept; the extranonce has 2^64
//! values, and each begins again at the template's time.

use std::ops::RangeInclusive;

use chain::time::Time;

/// One header of a template: everything but the nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roll {
    /// The header's time.
    pub time: Time,
    /// The number that opens the coinbase's free run.
    pub extranonce: u64,
}

impl Roll {
    /// The next header, with a time in `times` (which holds this one's); `None` when all are used up.
    #[must_use]
    pub fn next(self, times: &RangeInclusive<Time>) -> Option<Self> {
        let later = Time::from_secs(self.time.secs().saturating_add(1));
        if self.time < later && later <= *times.end() {
            return Some(Self { time: later, ..self });
        }
        let extranonce = self.extranonce.checked_add(1)?;
        Some(Self { time: *times.start(), extranonce })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roll(secs: u32, extranonce: u64) -> Roll {
        Roll { time: Time::from_secs(secs), extranonce }
    }

    #[test]
    fn time_rolls_to_its_bound_then_the_extranonce() {
        let times = Time::from_secs(100)..=Time::from_secs(102);
        let rolls: Vec<_> =
            std::iter::successors(Some(roll(100, 7)), |roll| roll.next(&times)).take(7).collect();
        let expected = [(100, 7), (101, 7), (102, 7), (100, 8), (101, 8), (102, 8), (100, 9)];
        assert_eq!(rolls, expected.map(|(secs, extranonce)| roll(secs, extranonce)));
    }

    #[test]
    fn the_last_second_and_the_last_extranonce_end() {
        let times = Time::from_secs(u32::MAX)..=Time::from_secs(u32::MAX);
        assert_eq!(roll(u32::MAX, 1).next(&times), Some(roll(u32::MAX, 2)));
        assert_eq!(roll(u32::MAX, u64::MAX).next(&times), None);
    }
}
