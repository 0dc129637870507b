//! What is known of each peer, what was asked of it, and the tips that are exchanged.
//!
//! A request of ours belongs to the peer it was sent to and dies with it, so that nobody's answer can close what
//! another one owes (threats P07, P29).

use std::collections::BTreeMap;

use chain::{hash::BlockHash, height::Height, store::Store};

use super::{Engine, Now, conduct::Misconduct, relay::Pushes, sync::Presync};
use crate::p2p::{
    Peer, RequestId, ToNet,
    conduct::Score,
    wire::{Request, Status},
};

/// How often a peer is told our tip, so that an announcement that was lost, or came when the peer's clock was wrong, is
/// found out, and the best tip is everywhere within ten seconds.
pub(super) const STATUS_INTERVAL_MS: u64 = 5_000;
/// How soon a peer that is behind may be told our tip again while blocks come.
const LEAST_STATUS_INTERVAL_MS: u64 = 500;
/// When a request is given up, whatever the network says of it.
pub(super) const REQUEST_DEADLINE_MS: u64 = 45_000;

/// The pace of a peer that failed to answer, in microseconds per KiB: slower than any that answers in time.
const FAILED_PACE_US_PER_KIB: u64 = 1_000_000_000;

/// What was asked of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Status,
    Headers,
    Blocks,
    Compact,
    Missing,
    Transactions,
}

/// What an operator may want to know of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerFacts {
    /// The height of the best chain that it is known to have, or says it has.
    pub headers: Option<Height>,
    /// The height of the last block of ours that it is known to have.
    pub blocks: Option<Height>,
    /// What it has to answer for, in points.
    pub score: u32,
}

/// What is known of a peer.
#[derive(Debug, Default)]
pub(super) struct PeerState {
    pub(super) status: Option<Status>,
    pub(super) open: BTreeMap<RequestId, (Asked, u64)>,
    pub(super) status_ms: u64,
    /// The tip that it was told last.
    pub(super) told: Option<BlockHash>,
    /// How long it takes to send a KiB of blocks, on average over its last answers; 0 before the first.
    pub(super) pace_us_per_kib: u64,
    /// How often it let a block stall that everything waited for, less its answers since.
    pub(super) stalls: u32,
    /// How far its headers were seen that show too little work so far.
    pub(super) presync: Option<Presync>,
    /// Until when it is not asked for headers.
    pub(super) headers_pause_ms: u64,
    /// The last block that it is known to have, so that it is not pushed back.
    pub(super) has: Option<BlockHash>,
    /// The tip of the best chain that it is known to have, headers of ours all of it.
    pub(super) best: Option<BlockHash>,
    /// The height from which headers were last asked for, so that a conversation about them ends.
    pub(super) headers_from: Height,
    /// The number under which its share of the mempool is counted: it outlives the connection.
    pub(super) quota: u64,
    /// What it has to answer for.
    pub(super) score: Score,
    /// What was pushed between us.
    pub(super) pushes: Pushes,
}

/// Over about so many answers a peer's pace is averaged.
const PACE_MEMORY: u64 = 4;
/// What an answer is taken for at the least, in KiB: how long a smaller one takes tells how far away the peer is and not
/// how fast, and a peer far away is not to be asked block by block.
const LEAST_PACED_KIB: u64 = 64;

impl PeerState {
    /// It took so long to send so much.
    pub(super) fn note_answer(&mut self, took_ms: u64, kib: u64) {
        let pace = took_ms.saturating_mul(1_000) / kib.max(LEAST_PACED_KIB);
        self.pace_us_per_kib = match self.pace_us_per_kib {
            0 | FAILED_PACE_US_PER_KIB => pace,
            known => (known.saturating_mul(PACE_MEMORY - 1).saturating_add(pace)) / PACE_MEMORY,
        };
    }

    /// It failed to answer: it is asked last, however fast it fails.
    pub(super) const fn note_failure(&mut self) {
        self.pace_us_per_kib = FAILED_PACE_US_PER_KIB;
    }

    /// Whether such a request is open.
    pub(super) fn is_asked(&self, what: Asked) -> bool {
        self.open.values().any(|(asked, _)| *asked == what)
    }
}

impl<S: Store> Engine<S> {
    pub(super) fn remember_request(&mut self, peer: Peer, id: RequestId, asked: Asked, now: Now) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.open.insert(id, (asked, now.monotonic_ms));
        }
    }

    pub(super) fn ask(&mut self, peer: Peer, asked: Asked, request: Request, now: Now) {
        let id = self.next_request_id();
        self.remember_request(peer, id, asked, now);
        self.send(ToNet::Request { peer, id, request });
    }

    /// What we say of ourselves.
    pub(super) fn status(&self) -> Status {
        let tip = self.ledger.tip();
        Status {
            chain: self.ledger.chain().id(),
            tip: tip.id.hash,
            height: tip.id.height,
            work: tip.work,
            agent: self.agent.clone(),
        }
    }

    /// A peer is new: tell it our tip.
    pub(super) fn greet(&mut self, peer: Peer, quota: u64, now: Now) {
        self.peers.insert(peer, PeerState { quota, ..PeerState::default() });
        self.tell_status(peer, now);
    }

    pub(super) fn tell_status(&mut self, peer: Peer, now: Now) {
        let status = self.status();
        if let Some(state) = self.peers.get_mut(&peer) {
            state.status_ms = now.monotonic_ms;
            state.told = Some(status.tip);
        }
        self.ask(peer, Asked::Status, Request::Status(status), now);
    }

    /// Tells our tip to the peers that said that they have less work and were not told it.
    pub(super) fn tell_those_behind(&mut self, now: Now) {
        let (tip, work) = (self.ledger.tip().id.hash, self.ledger.tip().work);
        let is_due = |state: &PeerState| {
            state.status.as_ref().is_some_and(|status| status.work < work)
                && state.told != Some(tip)
                && !state.is_asked(Asked::Status)
                && now.monotonic_ms.saturating_sub(state.status_ms) >= LEAST_STATUS_INTERVAL_MS
        };
        let due: Vec<Peer> =
            self.peers.iter().filter(|(_, state)| is_due(state)).map(|(peer, _)| *peer).collect();
        for peer in due {
            self.tell_status(peer, now);
        }
    }

    /// The height of the best chain that each peer is known to have, or says it has.
    pub fn peer_heights(&self) -> impl Iterator<Item = (Peer, Option<Height>)> {
        let tree = self.ledger.tree();
        self.peers.iter().map(|(peer, state)| {
            let known = state.best.and_then(|hash| tree.find(&hash)).map(|id| tree.node(id).height());
            (*peer, known.max(state.status.as_ref().map(|status| status.height)))
        })
    }

    /// What an operator may want to know of each peer.
    pub fn peer_facts(&self, now: Now) -> impl Iterator<Item = (Peer, PeerFacts)> {
        let tree = self.ledger.tree();
        let tip = tree.find(&self.ledger.tip().id.hash);
        // Branches part once, so that the last common height is found by halving.
        let common = move |hash: BlockHash| {
            let (theirs, ours) = (tree.find(&hash)?, tip?);
            let is_common = |height: u32| {
                tree.ancestor(theirs, Height::new(height)) == tree.ancestor(ours, Height::new(height))
            };
            let mut high = tree.node(theirs).height().min(tree.node(ours).height()).get();
            if is_common(high) {
                return Some(Height::new(high));
            }
            let mut low = 0;
            while low + 1 < high {
                let middle = low.midpoint(high);
                *(if is_common(middle) { &mut low } else { &mut high }) = middle;
            }
            Some(Height::new(low))
        };
        self.peer_heights().map(move |(peer, headers)| {
            let state = self.peers.get(&peer);
            let blocks = state.and_then(|state| state.best).and_then(common);
            let score = state.map_or(0, |state| state.score.points(now.monotonic_ms));
            (peer, PeerFacts { headers, blocks, score })
        })
    }

    /// A peer is known to have the chain up to a header of ours.
    pub(super) fn raise_best(&mut self, peer: Peer, hash: &BlockHash) {
        let tree = self.ledger.tree();
        let work = |hash: &BlockHash| tree.find(hash).map(|id| tree.node(id).work());
        let Some(new) = work(hash) else { return };
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if state.best.as_ref().and_then(work).is_none_or(|known| new > known) {
            state.best = Some(*hash);
        }
    }

    pub(super) fn hear_status(&mut self, peer: Peer, status: Status, now: Now) {
        if status.chain != self.ledger.chain().id() {
            self.blame(peer, Misconduct::OtherChain(status.chain));
            return;
        }
        if !self.peers.contains_key(&peer) {
            return;
        }
        let unknown = self.ledger.tree().find(&status.tip).is_none();
        let more = status.work > self.ledger.tip().work && status.work >= self.work_that_matters();
        let tip = status.tip;
        if let Some(state) = self.peers.get_mut(&peer) {
            state.status = Some(status);
        }
        self.raise_best(peer, &tip);
        if unknown && more {
            self.trails.heard(tip, Some(peer));
            self.ask_for_headers(peer, now);
        }
        self.fetch(now);
    }
}
