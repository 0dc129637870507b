//! Transactions that others here spend and nobody has sent: whom they were asked of.
//!
//! What is asked belongs to a transaction and a peer together. A peer that is asked and stays silent keeps
//! nothing from us, since the next is asked; and however many ids somebody names, what others named stays
//! (threat P05). Whatever is listed here is lacked by an orphan, so that the orphans' limits bound it.

use std::collections::{BTreeMap, BTreeSet};

use chain::hash::TxId;

use crate::p2p::{Peer, RequestId};

/// Peers that are asked for one transaction, one after the other.
pub(super) const MAX_ASKS: usize = 3;
/// How long one peer is waited for, in milliseconds.
pub(super) const PARENT_DEADLINE_MS: u64 = 2_000;
/// Open requests to one peer.
pub(super) const MAX_REQUESTS_PER_PEER: usize = 2;

#[derive(Debug, Default)]
struct Parent {
    /// Who was asked, or failed to answer.
    asked: BTreeSet<Peer>,
    is_open: bool,
}

#[derive(Debug)]
struct Ask {
    peer: Peer,
    ids: Vec<TxId>,
    since_ms: u64,
}

/// All that are lacked.
#[derive(Debug, Default)]
pub(super) struct Parents {
    wanted: BTreeMap<TxId, Parent>,
    open: BTreeMap<RequestId, Ask>,
}

impl Parents {
    /// Notes that a transaction is lacked.
    pub(super) fn want(&mut self, id: TxId) {
        self.wanted.entry(id).or_default();
    }

    /// A transaction is here: nobody need be asked for it.
    pub(super) fn arrived(&mut self, id: &TxId) {
        self.wanted.remove(id);
    }

    /// Those that a peer may be asked for now, at most `limit`, of these.
    pub(super) fn askable(&self, peer: Peer, ids: &[TxId], limit: usize) -> Vec<TxId> {
        if self.open.values().filter(|ask| ask.peer == peer).count() >= MAX_REQUESTS_PER_PEER {
            return Vec::new();
        }
        let may = |id: &&TxId| {
            self.wanted.get(id).is_some_and(|parent| {
                !parent.is_open && parent.asked.len() < MAX_ASKS && !parent.asked.contains(&peer)
            })
        };
        ids.iter().filter(may).take(limit).copied().collect()
    }

    /// All that nobody is being asked for at the moment.
    pub(super) fn idle(&self) -> Vec<TxId> {
        self.wanted.iter().filter(|(_, parent)| !parent.is_open).map(|(id, _)| *id).collect()
    }

    /// A peer is asked.
    pub(super) fn asked(&mut self, request: RequestId, peer: Peer, ids: Vec<TxId>, now_ms: u64) {
        for id in &ids {
            if let Some(parent) = self.wanted.get_mut(id) {
                parent.asked.insert(peer);
                parent.is_open = true;
            }
        }
        self.open.insert(request, Ask { peer, ids, since_ms: now_ms });
    }

    /// A request has ended: what was asked by it. A second time nothing was.
    pub(super) fn close(&mut self, request: RequestId) -> Vec<TxId> {
        let Some(ask) = self.open.remove(&request) else { return Vec::new() };
        for id in &ask.ids {
            if let Some(parent) = self.wanted.get_mut(id) {
                parent.is_open = false;
            }
        }
        ask.ids
    }

    /// Gives up what has waited too long.
    pub(super) fn give_up(&mut self, now_ms: u64) {
        let late = |ask: &Ask| now_ms.saturating_sub(ask.since_ms) >= PARENT_DEADLINE_MS;
        let ids: Vec<RequestId> = self.open.iter().filter(|(_, ask)| late(ask)).map(|(id, _)| *id).collect();
        for id in ids {
            self.close(id);
        }
    }

    /// A peer is gone.
    pub(super) fn forget_peer(&mut self, peer: Peer) {
        let ids: Vec<RequestId> =
            self.open.iter().filter(|(_, ask)| ask.peer == peer).map(|(id, _)| *id).collect();
        for id in ids {
            self.close(id);
        }
    }

    /// Whether all who may be asked were asked in vain; `peers` is how many there are.
    pub(super) fn is_hopeless(&self, id: &TxId, peers: usize) -> bool {
        let most = MAX_ASKS.min(peers);
        // Where nobody is connected, somebody may be soon.
        most > 0 && self.wanted.get(id).is_some_and(|parent| !parent.is_open && parent.asked.len() >= most)
    }

    /// Forgets all that nobody lacks any more.
    pub(super) fn retain(&mut self, is_lacked: impl Fn(&TxId) -> bool) {
        self.wanted.retain(|id, _| is_lacked(id));
    }

    /// How many are lacked.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }
}
