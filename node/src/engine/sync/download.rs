//! Fetching bodies: one window over all peers, along the best chain that each of them is known to have.

use std::collections::{BTreeMap, HashMap};

use chain::{hash::BlockHash, height::Height, store::Store, tree::NodeId};

use crate::{
    engine::{Engine, Now, peers::Asked},
    p2p::{
        Peer, RequestId, ToNet,
        wire::{MAX_BLOCKS, Request},
    },
};

/// Blocks that may be on their way or waiting for one below them, at the most.
pub const WINDOW_BLOCKS: u32 = 1_024;
/// Open requests for blocks to one peer, at the most.
const REQUESTS_PER_PEER: usize = 2;

/// Who was asked for which blocks.
#[derive(Debug, Default)]
pub(in crate::engine) struct Window {
    by_hash: HashMap<BlockHash, RequestId>,
    requests: BTreeMap<RequestId, (Peer, Vec<BlockHash>)>,
}

impl Window {
    /// A block is here, whoever sent it.
    pub(in crate::engine) fn arrived(&mut self, hash: &BlockHash) {
        self.by_hash.remove(hash);
    }

    /// A request is over; what has not arrived is to be asked again.
    pub(in crate::engine) fn close(&mut self, id: RequestId) -> Option<Vec<BlockHash>> {
        let (_, hashes) = self.requests.remove(&id)?;
        for hash in &hashes {
            if self.by_hash.get(hash) == Some(&id) {
                self.by_hash.remove(hash);
            }
        }
        Some(hashes)
    }

    pub(in crate::engine) fn forget_peer(&mut self, peer: Peer) {
        let of_peer = |(id, (whom, _)): (&RequestId, &(Peer, Vec<BlockHash>))| (*whom == peer).then_some(*id);
        let ids: Vec<RequestId> = self.requests.iter().filter_map(of_peer).collect();
        for id in ids {
            self.close(id);
        }
    }

    /// Whether a block was asked for and has not come.
    pub(in crate::engine) fn awaits(&self, hash: &BlockHash) -> bool {
        self.by_hash.contains_key(hash)
    }

    /// Whether nothing is on its way.
    pub(in crate::engine) fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    fn open_requests(&self, peer: Peer) -> usize {
        self.requests.values().filter(|(whom, _)| *whom == peer).count()
    }
}

impl<S: Store> Engine<S> {
    /// The next bodies on the way to `goal`, within the window, the lowest first; none where `goal` has no
    /// more work than the tip.
    fn wanted(&self, goal: NodeId) -> Vec<BlockHash> {
        let tree = self.ledger.tree();
        let node = tree.node(goal);
        if node.is_invalid() || node.work() <= self.ledger.tip().work {
            return Vec::new();
        }
        // Below a complete block all are complete, so that the lowest gap is found by halving.
        let complete = |height: u32| {
            tree.ancestor(goal, Height::new(height)).is_some_and(|id| tree.node(id).is_complete())
        };
        let (mut full, mut gap) = (0, node.height().get());
        if complete(gap) {
            return Vec::new();
        }
        while gap - full > 1 {
            let middle = full + (gap - full) / 2;
            if complete(middle) { full = middle } else { gap = middle }
        }
        let top = full.saturating_add(WINDOW_BLOCKS).min(node.height().get());
        let mut missing = Vec::new();
        let mut next = tree.ancestor(goal, Height::new(top));
        while let Some(id) = next.filter(|id| tree.node(*id).height().get() > full) {
            let node = tree.node(id);
            if !node.has_body() {
                missing.push(node.hash());
            }
            next = node.parent();
        }
        missing.reverse();
        missing
    }

    /// Asks each peer for bodies of the best chain that it is known to have, the lowest first, the peer that
    /// answered fastest first. Each peer has a goal of its own, so that headers whose bodies somebody
    /// withholds never keep us from the chain that everybody else has.
    pub(in crate::engine) fn fetch(&mut self, now: Now) {
        let mut peers: Vec<(u64, Peer, NodeId)> = Vec::new();
        for (peer, state) in &self.peers {
            let goal = state.best.and_then(|hash| self.ledger.tree().find(&hash));
            peers.extend(goal.map(|goal| (state.answer_ms, *peer, goal)));
        }
        peers.sort_unstable();
        for (_, peer, goal) in peers {
            let mut wanted = self.wanted(goal).into_iter();
            while self.window.open_requests(peer) < REQUESTS_PER_PEER {
                let asked = &self.window.by_hash;
                let batch: Vec<BlockHash> =
                    wanted.by_ref().filter(|hash| !asked.contains_key(hash)).take(MAX_BLOCKS).collect();
                if batch.is_empty() {
                    break;
                }
                self.ask_for_blocks(peer, batch, now);
            }
        }
    }

    fn ask_for_blocks(&mut self, peer: Peer, hashes: Vec<BlockHash>, now: Now) {
        let id = self.next_request_id();
        for hash in &hashes {
            self.window.by_hash.insert(*hash, id);
        }
        self.window.requests.insert(id, (peer, hashes.clone()));
        self.remember_request(peer, id, Asked::Blocks, now);
        self.send(ToNet::Request { peer, id, request: Request::Blocks(hashes) });
    }
}
