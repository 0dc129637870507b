//! Room: the worst chunk goes first, the floor rises, and nothing waits for ever (threat M01).

use std::collections::BTreeSet;

use chain::{amount::Amount, check::CheckedTransaction, time::Time};

use super::{
    AcceptError, Departure, Mempool,
    entry::memory_bytes,
    graph::{FeeRate, Slot},
};

/// How long a transaction may wait, in seconds: 14 days.
pub const EXPIRY_SECS: u32 = 14 * 86_400;

impl Mempool {
    /// Those that would make room for a newcomer, the worst first, and the best rate among them. None where it
    /// would take better ones than itself; what it stands on stays.
    pub(super) fn find_room(
        &self,
        checked: &CheckedTransaction,
        fee: Amount,
        parents: &[Slot],
        replaced: &BTreeSet<Slot>,
    ) -> Result<(BTreeSet<Slot>, Option<FeeRate>), AcceptError> {
        let mut evicted = BTreeSet::new();
        let freed: u64 = self.entries_at(replaced).map(|entry| entry.memory_bytes).sum();
        let mut held = self.memory_bytes.saturating_sub(freed).saturating_add(memory_bytes(checked));
        if held <= self.max_memory_bytes {
            return Ok((evicted, None));
        }
        let mut ancestors: BTreeSet<Slot> = parents.iter().copied().collect();
        for parent in parents {
            ancestors.extend(self.graph.ancestors(*parent));
        }
        let rate = self.rate_with_ancestors(checked, fee, &ancestors);
        let mut best = None;
        for chunk in self.graph.chunks().rev() {
            if held <= self.max_memory_bytes {
                break;
            }
            if chunk.slots.iter().any(|slot| ancestors.contains(slot)) {
                continue;
            }
            if chunk.rate >= rate {
                return Err(AcceptError::Full);
            }
            // With a chunk that stood on what was passed over, all that stand on it go.
            for slot in self.with_descendants(chunk.slots.iter().copied()) {
                if let Some(entry) = self.entry_at(slot).filter(|_| !replaced.contains(&slot))
                    && evicted.insert(slot)
                {
                    held = held.saturating_sub(entry.memory_bytes);
                    best = Some(chunk.rate);
                }
            }
        }
        if held > self.max_memory_bytes { Err(AcceptError::Full) } else { Ok((evicted, best)) }
    }

    /// The rate at which a newcomer would be mined: its own, lowered by those of its ancestors that it must lift.
    fn rate_with_ancestors(
        &self,
        checked: &CheckedTransaction,
        fee: Amount,
        ancestors: &BTreeSet<Slot>,
    ) -> FeeRate {
        let own = FeeRate { fee: fee.pebbles(), bytes: checked.size() };
        let poor =
            ancestors.iter().filter(|slot| self.graph.chunk_rate(**slot).is_some_and(|rate| rate < own));
        let rates = poor
            .filter_map(|slot| self.entry_at(*slot))
            .map(|entry| FeeRate { fee: entry.fee().pebbles(), bytes: entry.transaction().size() });
        rates.fold(own, FeeRate::with)
    }

    /// Drops the worst chunks until the rest fits.
    pub(super) fn trim(&mut self, now: Time) {
        while self.memory_bytes > self.max_memory_bytes {
            let Some(worst) = self.graph.chunks().next_back() else { break };
            let (rate, slots) = (worst.rate, worst.slots.to_vec());
            self.drop_with_descendants(slots, Departure::Evicted, now);
            self.floor.raise(rate, now, false);
        }
    }

    /// Drops what has waited too long, with all that stand on it.
    pub fn expire(&mut self, now: Time) {
        let waited = |time: Time| now.secs().saturating_sub(time.secs()) > EXPIRY_SECS;
        let expired = self.arrivals.take_expired(waited);
        let still_here = expired.into_iter().filter(|listed| self.listed(*listed).is_some());
        let old: Vec<Slot> = still_here.map(|(_, slot)| slot).collect();
        self.drop_with_descendants(old, Departure::Expired, now);
        self.shares.sweep(now);
    }
}
