//! What each peer may take of the mempool, and of the work on what turns out wrong (threat M08).
//!
//! Up to half of the memory is for anyone. Beyond that one peer's transactions may fill a quarter: however much
//! one sends, it displaces nobody else's. A share is freed when the transactions leave. Signatures that were
//! verified in vain are counted against whoever sent them, and forgiven with time; verifying what is right costs
//! a peer nothing.

use std::collections::BTreeMap;

use chain::time::Time;

/// Who gave a transaction: a peer's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Giver(pub u64);

/// Below this part of the memory there are no shares: a half.
const FREE_PART: u64 = 2;
/// Beyond it one giver may fill this part of the memory: a quarter.
const SHARE_PART: u64 = 4;
/// Signatures that may be verified in vain for one giver at once.
pub const MAX_WASTED_SIGNATURES: u64 = 2_000;
/// Signatures in vain that are forgiven each second.
const FORGIVEN_A_SEC: u64 = 100;

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    memory_bytes: u64,
    wasted: u64,
    since: Time,
}

impl Share {
    fn wasted(&self, now: Time) -> u64 {
        let elapsed = u64::from(now.secs().saturating_sub(self.since.secs()));
        self.wasted.saturating_sub(elapsed * FORGIVEN_A_SEC)
    }
}

/// All givers' shares. One that holds nothing and wasted nothing is forgotten.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    of: BTreeMap<Giver, Share>,
}

impl Shares {
    /// Whether `giver` may add so much to a mempool that holds `held` of `limit` bytes, and have more verified.
    pub(super) fn allows(&self, giver: Giver, adds: u64, held: u64, limit: u64, now: Time) -> bool {
        let share = self.of.get(&giver).copied().unwrap_or_default();
        let has_room = held.saturating_add(adds) <= limit / FREE_PART
            || share.memory_bytes.saturating_add(adds) <= limit / SHARE_PART;
        has_room && share.wasted(now) < MAX_WASTED_SIGNATURES
    }

    /// The memory of the transactions that `giver` gave and that wait.
    pub(super) fn held(&self, giver: Giver) -> u64 {
        self.of.get(&giver).map_or(0, |share| share.memory_bytes)
    }

    pub(super) fn add(&mut self, giver: Giver, memory_bytes: u64) {
        self.of.entry(giver).or_default().memory_bytes += memory_bytes;
    }

    pub(super) fn free(&mut self, giver: Giver, memory_bytes: u64) {
        if let Some(share) = self.of.get_mut(&giver) {
            share.memory_bytes = share.memory_bytes.saturating_sub(memory_bytes);
        }
    }

    /// Signatures were verified in vain.
    pub(super) fn waste(&mut self, giver: Giver, signatures: u32, now: Time) {
        let share = self.of.entry(giver).or_default();
        share.wasted = share.wasted(now).saturating_add(u64::from(signatures));
        share.since = now;
    }

    /// Forgets those of whom nothing is left to know.
    pub(super) fn sweep(&mut self, now: Time) {
        self.of.retain(|_, share| share.memory_bytes > 0 || share.wasted(now) > 0);
    }
}
