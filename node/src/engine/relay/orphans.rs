//! Transactions that came before what they spend.
//!
//! Each waits for its parents, within its giver's share: whoever gives many loses its own, never another's
//! (threats P04, P05). What a parent's arrival wakes is judged a bounded part at a time. Pure book-keeping:
//! nothing is judged here, and nothing is held for ever.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use chain::{
    hash::{TxId, WitnessTxId},
    transaction::Transaction,
};

use crate::p2p::{Gossip, Peer};

/// Orphans, at the most.
pub(super) const MAX_ORPHANS: usize = 1_000;
/// What they occupy in memory together, in bytes.
pub(super) const MAX_ORPHAN_BYTES: usize = 8 << 20;
/// Orphans of one giver.
pub(super) const MAX_ORPHANS_PER_PEER: usize = 100;
/// What the orphans of one giver occupy in memory, in bytes: a tenth of all.
pub(super) const MAX_ORPHAN_BYTES_PER_PEER: usize = MAX_ORPHAN_BYTES / 10;
/// Parents that one may lack: as many as are asked for at once.
pub(super) const MAX_MISSING_PARENTS: usize = crate::p2p::wire::MAX_ASKED_TRANSACTIONS;
/// How long one waits, in milliseconds.
pub(super) const ORPHAN_EXPIRY_MS: u64 = 120_000;
/// How long gossip waits for the verdict on one, in milliseconds: it keeps what is unjudged for ten seconds.
pub(super) const HELD_VERDICT_MS: u64 = 8_000;

/// A transaction that waits for its parents.
#[derive(Clone, Debug)]
pub(super) struct Orphan {
    pub(super) transaction: Arc<Transaction>,
    /// Who gave it.
    pub(super) giver: Peer,
    /// What its verdict is owed to, if gossip still waits for one.
    pub(super) gossip: Option<Gossip>,
    /// The parents that it lacks.
    pub(super) parents: Vec<TxId>,
    /// Since when it waits.
    pub(super) since_ms: u64,
}

impl Orphan {
    /// What it occupies in memory, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.transaction.memory_bytes() + self.parents.len() * size_of::<TxId>() + size_of::<Self>()
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    count: usize,
    bytes: usize,
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    by_id: BTreeMap<WitnessTxId, Orphan>,
    by_parent: BTreeMap<TxId, BTreeSet<WitnessTxId>>,
    shares: BTreeMap<Peer, Share>,
    bytes: usize,
    /// Those whose parents have come, to be judged again in this order.
    due: VecDeque<WitnessTxId>,
    /// No limit holds: a bug that the simulator plants (`EnginePlants`).
    pub(super) is_unbounded: bool,
}

impl Orphans {
    /// Keeps one. Returns those that had to make room, itself if there is none for it.
    pub(super) fn keep(&mut self, id: WitnessTxId, orphan: Orphan) -> Vec<Orphan> {
        let bytes = orphan.memory_bytes();
        let is_known = self.by_id.contains_key(&id);
        let is_hopeless = orphan.parents.is_empty() || orphan.parents.len() > MAX_MISSING_PARENTS;
        if is_known || is_hopeless || bytes > MAX_ORPHAN_BYTES_PER_PEER {
            return vec![orphan];
        }
        let giver = orphan.giver;
        for parent in &orphan.parents {
            self.by_parent.entry(*parent).or_default().insert(id);
        }
        let share = self.shares.entry(giver).or_default();
        share.count += 1;
        share.bytes += bytes;
        self.bytes += bytes;
        self.by_id.insert(id, orphan);
        let mut evicted = Vec::new();
        if self.is_unbounded {
            return evicted;
        }
        while self.shares.get(&giver).is_some_and(|share| {
            share.count > MAX_ORPHANS_PER_PEER || share.bytes > MAX_ORPHAN_BYTES_PER_PEER
        }) {
            let Some(oldest) = self.evict_of(giver) else { break };
            evicted.push(oldest);
        }
        while self.by_id.len() > MAX_ORPHANS || self.bytes > MAX_ORPHAN_BYTES {
            // Whoever fills most of it pays.
            let worst = self.shares.iter().max_by_key(|(_, share)| (share.bytes, share.count));
            let Some(oldest) = worst.map(|(peer, _)| *peer).and_then(|peer| self.evict_of(peer)) else {
                break;
            };
            evicted.push(oldest);
        }
        evicted
    }

    fn evict_of(&mut self, giver: Peer) -> Option<Orphan> {
        let own = self.by_id.iter().filter(|(_, orphan)| orphan.giver == giver);
        let oldest = own.min_by_key(|(id, orphan)| (orphan.since_ms, **id)).map(|(id, _)| *id)?;
        self.take(&oldest)
    }

    /// How many the peer gave that gave most.
    pub(super) fn most_of_one_peer(&self) -> usize {
        self.shares.values().map(|share| share.count).max().unwrap_or(0)
    }

    /// Takes one out.
    pub(super) fn take(&mut self, id: &WitnessTxId) -> Option<Orphan> {
        let orphan = self.by_id.remove(id)?;
        let bytes = orphan.memory_bytes();
        self.bytes -= bytes;
        for parent in &orphan.parents {
            if let Some(children) = self.by_parent.get_mut(parent) {
                children.remove(id);
                if children.is_empty() {
                    self.by_parent.remove(parent);
                }
            }
        }
        if let Some(share) = self.shares.get_mut(&orphan.giver) {
            share.count -= 1;
            share.bytes -= bytes;
            if share.count == 0 {
                self.shares.remove(&orphan.giver);
            }
        }
        Some(orphan)
    }

    /// A transaction is here: those that lacked it are due.
    pub(super) fn arrived(&mut self, parent: &TxId) {
        for id in self.by_parent.get(parent).into_iter().flatten() {
            if !self.due.contains(id) {
                self.due.push_back(*id);
            }
        }
    }

    /// The next that is to be judged again, taken out.
    pub(super) fn next_due(&mut self) -> Option<(WitnessTxId, Orphan)> {
        while let Some(id) = self.due.pop_front() {
            if let Some(orphan) = self.take(&id) {
                return Some((id, orphan));
            }
        }
        None
    }

    /// Whether somebody lacks this transaction.
    pub(super) fn lack(&self, parent: &TxId) -> bool {
        self.by_parent.contains_key(parent)
    }

    /// Takes out those that lack a transaction which nobody has.
    pub(super) fn take_lacking(&mut self, parent: &TxId) -> Vec<Orphan> {
        let ids: Vec<WitnessTxId> = self.by_parent.get(parent).into_iter().flatten().copied().collect();
        ids.iter().filter_map(|id| self.take(id)).collect()
    }

    /// Takes out those that have waited too long.
    pub(super) fn expire(&mut self, now_ms: u64) -> Vec<Orphan> {
        let late = |orphan: &Orphan| now_ms.saturating_sub(orphan.since_ms) >= ORPHAN_EXPIRY_MS;
        let ids: Vec<WitnessTxId> =
            self.by_id.iter().filter(|(_, orphan)| late(orphan)).map(|(id, _)| *id).collect();
        ids.iter().filter_map(|id| self.take(id)).collect()
    }

    /// The tokens of those on which gossip has waited long enough.
    pub(super) fn release(&mut self, now_ms: u64) -> Vec<Gossip> {
        let held = |orphan: &Orphan| now_ms.saturating_sub(orphan.since_ms) >= HELD_VERDICT_MS;
        self.by_id
            .values_mut()
            .filter(|orphan| held(orphan))
            .filter_map(|orphan| orphan.gossip.take())
            .collect()
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// What they occupy in memory, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}
