//! The lowest fee rate that is taken: it rises when the mempool is full, and falls again with time.

use chain::{amount::Amount, time::Time};

use super::graph::FeeRate;

/// The lowest fee rate that is relayed, in pebbles per 1,000 bytes: a hundredth of a CRN for a megabyte.
pub const MIN_RELAY_FEE_RATE: u64 = 1_000;
/// After so many seconds a risen floor has fallen to its half.
pub const FLOOR_HALF_LIFE_SECS: u32 = 3_600;
/// So much faster it falls while the mempool is less than half full.
const FASTER_WITH_ROOM: u32 = 4;

/// The floor.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floor {
    /// Pebbles per 1,000 bytes, at `since`.
    pebbles_per_kb: u64,
    since: Time,
}

impl Floor {
    /// What was dropped paid this rate: from now on more is needed than that.
    pub(super) fn raise(&mut self, dropped: FeeRate, now: Time, has_room: bool) {
        let needed = dropped.pebbles_per_kb().saturating_add(MIN_RELAY_FEE_RATE);
        let current = self.pebbles_per_kb(now, has_room);
        *self = Self { pebbles_per_kb: current.max(needed), since: now };
    }

    /// The floor now, in pebbles per 1,000 bytes.
    pub(super) fn pebbles_per_kb(self, now: Time, has_room: bool) -> u64 {
        let half_life =
            u64::from(if has_room { FLOOR_HALF_LIFE_SECS / FASTER_WITH_ROOM } else { FLOOR_HALF_LIFE_SECS });
        // A clock that was set back lets the floor stand.
        let elapsed = u64::from(now.secs().saturating_sub(self.since.secs()));
        let halvings = u32::try_from(elapsed / half_life).unwrap_or(u32::MAX);
        let halved = self.pebbles_per_kb.checked_shr(halvings).unwrap_or(0);
        // Between two halvings it falls in a straight line.
        let fallen = u128::from(halved) * u128::from(elapsed % half_life) / u128::from(half_life * 2);
        let floor = halved.saturating_sub(u64::try_from(fallen).unwrap_or(u64::MAX));
        floor.max(MIN_RELAY_FEE_RATE)
    }
}

/// What `bytes` bytes must pay at a rate, rounded up.
pub(super) fn fee_at(pebbles_per_kb: u64, bytes: u32) -> Amount {
    let fee = (u128::from(pebbles_per_kb) * u128::from(bytes)).div_ceil(1_000);
    Amount::from_pebbles(u64::try_from(fee).unwrap_or(u64::MAX))
}
