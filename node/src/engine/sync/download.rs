//! Asking for bodies: of whom, how many, when of a second peer, and when a peer is passed over.

use std::collections::BTreeMap;

use chain::{height::Height, ledger::BlockId, store::Store, tree::NodeId};

use super::window::{MAX_SOURCES, REQUEST_BYTES, Source, top_of};
use crate::{
    engine::{Engine, Now, conduct::Misconduct, peers::Asked},
    p2p::{
        Peer, RequestId, ToNet,
        wire::{Kind, Request},
    },
};

/// Open requests for blocks to one peer, at the most: while one is answered the next is on its way. One less than
/// the protocol allows, which is kept for hedging.
const REQUESTS_PER_PEER: usize = Kind::Blocks.requests_per_peer() - 1;
/// Open requests to a peer that has stalled and not made up for it.
const REQUESTS_PER_STALLER: usize = 1;
/// How long the lowest body is awaited near the tip before it is asked of a second peer.
const HEDGE_MS: u64 = 300;
/// How many times as long as the fastest peer takes a body is awaited far below the tip.
const HEDGE_FACTOR: u64 = 4;
/// So far below the best header a block is near the tip.
const NEAR_TIP_BLOCKS: u32 = 16;
/// Stalls after which a peer is sent away. An answer makes up for one.
const MAX_STALLS: u32 = 3;

/// How long a request may take a peer by its pace, in microseconds: well below what ends it.
const REQUEST_US: u64 = 5_000_000;

/// The bytes that a peer sends in that time, up to the most that are asked for at once.
fn bytes_in_time(pace_us_per_kib: u64) -> usize {
    let kib = REQUEST_US / pace_us_per_kib.max(1);
    usize::try_from(kib.saturating_mul(1_024)).map_or(REQUEST_BYTES, |bytes| bytes.min(REQUEST_BYTES))
}

/// A peer that may be asked for bodies, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    stalls: u32,
    pace_us_per_kib: u64,
    peer: Peer,
    goal: NodeId,
}

impl<S: Store> Engine<S> {
    /// The next bodies on the way to `goal`, within the window, the lowest first; none where `goal` has no
    /// more work than the tip.
    fn wanted(&self, goal: NodeId) -> Vec<BlockId> {
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
        let mut missing = Vec::new();
        let mut next = tree.ancestor(goal, top_of(Height::new(full)).min(node.height()));
        while let Some(id) = next.filter(|id| tree.node(*id).height().get() > full) {
            let node = tree.node(id);
            if !node.has_body() && !self.relay.awaits(&node.hash()) {
                missing.push(BlockId { height: node.height(), hash: node.hash() });
            }
            next = node.parent();
        }
        missing.reverse();
        missing
    }

    /// The peers whose best chain is known, the best peer first: who has not stalled, and who is fastest.
    fn candidates(&self) -> Vec<Candidate> {
        let candidate = |(peer, state): (&Peer, &crate::engine::peers::PeerState)| {
            let goal = state.best.and_then(|hash| self.ledger.tree().find(&hash))?;
            let (stalls, pace_us_per_kib) = (state.stalls, state.pace_us_per_kib);
            Some(Candidate { stalls, pace_us_per_kib, peer: *peer, goal })
        };
        let mut candidates: Vec<Candidate> = self.peers.iter().filter_map(candidate).collect();
        candidates.sort_unstable();
        candidates
    }

    /// Asks each peer for bodies of the best chain that it is known to have, the lowest first, the best peer
    /// first. Each peer has a goal of its own, so that headers whose bodies somebody withholds never keep us
    /// from the chain that everybody else has.
    pub(in crate::engine) fn fetch(&mut self, now: Now) {
        let mut ways: BTreeMap<NodeId, Vec<BlockId>> = BTreeMap::new();
        for Candidate { stalls, peer, goal, pace_us_per_kib } in self.candidates() {
            let bytes = bytes_in_time(pace_us_per_kib);
            let most = if stalls == 0 { REQUESTS_PER_PEER } else { REQUESTS_PER_STALLER };
            while self.window.open_requests(peer) < most {
                let way = ways.entry(goal).or_insert_with(|| self.wanted(goal));
                let batch = self.window.choose(peer, way, bytes);
                if batch.is_empty() {
                    break;
                }
                self.ask_for_blocks(peer, batch, now);
            }
        }
    }

    fn ask_for_blocks(&mut self, peer: Peer, ids: Vec<BlockId>, now: Now) {
        let id = self.next_request_id();
        let hashes = ids.iter().map(|id| id.hash).collect();
        self.window.ask(id, peer, ids, now.monotonic_ms);
        self.remember_request(peer, id, Asked::Blocks, now);
        self.send(ToNet::Request { peer, id, request: Request::Blocks(hashes) });
    }

    /// The bodies that everything waits for, among those that were asked for: the lowest of each branch, which would be
    /// connected at once. All of them are watched, so that a branch whose body is kept back does not hide the others.
    fn bottlenecks(&self) -> Vec<(BlockId, &[Source])> {
        if self.window.is_ready {
            return Vec::new();
        }
        let tree = self.ledger.tree();
        let is_next = |id: &BlockId| {
            let parent = tree.find(&id.hash).and_then(|id| tree.node(id).parent());
            parent.is_some_and(|parent| tree.node(parent).is_complete())
        };
        let next = self.window.awaited().filter(|(id, _)| is_next(id));
        next.map(|(id, sources)| (*id, sources.as_slice())).collect()
    }

    /// How long such a body is awaited before it is asked of a second peer.
    fn hedge_ms(&self, id: &BlockId, candidates: &[Candidate]) -> u64 {
        let tree = self.ledger.tree();
        let best = tree.node(tree.best_header()).height();
        if best.since(id.height).is_none_or(|above| above < NEAR_TIP_BLOCKS) {
            return HEDGE_MS;
        }
        let pace = candidates.iter().map(|candidate| candidate.pace_us_per_kib).min().unwrap_or(0);
        let usual_ms = pace.saturating_mul(self.window.request_kib()) / 1_000;
        usual_ms.saturating_mul(HEDGE_FACTOR).clamp(HEDGE_MS, self.window.stall_ms())
    }

    /// The best peer that may be a further source of a block.
    fn further_source(&self, id: &BlockId, sources: &[Source], candidates: &[Candidate]) -> Option<Peer> {
        if sources.len() >= MAX_SOURCES {
            return None;
        }
        let tree = self.ledger.tree();
        let node = tree.find(&id.hash)?;
        let may = |candidate: &&Candidate| {
            candidate.stalls == 0
                && sources.iter().all(|source| source.peer != candidate.peer)
                && self.window.open_requests(candidate.peer) <= REQUESTS_PER_PEER
                && tree.ancestor(candidate.goal, id.height) == Some(node)
        };
        candidates.iter().find(may).map(|candidate| candidate.peer)
    }

    /// When the engine wants to hear [`Event::Wake`](crate::engine::Event::Wake), in milliseconds on the clock that
    /// never goes back; it may be over already. None: a tick is soon enough.
    #[must_use]
    pub fn next_wake_ms(&self) -> Option<u64> {
        let bottlenecks = self.bottlenecks();
        if bottlenecks.is_empty() {
            return None;
        }
        let Some(idle_ms) = self.window.idle_since_ms else { return Some(0) };
        let candidates = self.candidates();
        let wake_ms = |(id, sources): (BlockId, &[Source])| {
            let youngest_ms = sources.iter().map(|source| source.since_ms).max()?;
            let hedge = self.further_source(&id, sources, &candidates);
            let hedge_ms = hedge.map(|_| youngest_ms.max(idle_ms) + self.hedge_ms(&id, &candidates));
            let patient = sources.iter().filter(|source| !source.stalled);
            let stall_ms = patient.map(|source| source.since_ms.max(idle_ms) + self.window.stall_ms()).min();
            hedge_ms.into_iter().chain(stall_ms).min()
        };
        bottlenecks.into_iter().filter_map(wake_ms).min()
    }

    /// Sees to the bodies that everything waits for: asks further peers for them in time, and passes over who lets them
    /// stall.
    pub(in crate::engine) fn watch_stalls(&mut self, now: Now) {
        let idle_ms = *self.window.idle_since_ms.get_or_insert(now.monotonic_ms);
        let bottlenecks: Vec<(BlockId, Vec<Source>)> =
            self.bottlenecks().into_iter().map(|(id, sources)| (id, sources.to_vec())).collect();
        let candidates = if bottlenecks.is_empty() { Vec::new() } else { self.candidates() };
        let stall_ms = self.window.stall_ms();
        let waited = |since_ms: u64| now.monotonic_ms.saturating_sub(since_ms.max(idle_ms));
        let mut late: BTreeMap<RequestId, Peer> = BTreeMap::new();
        for (id, sources) in bottlenecks {
            let youngest_ms = sources.iter().map(|source| source.since_ms).max().unwrap_or(0);
            if waited(youngest_ms) >= self.hedge_ms(&id, &candidates)
                && let Some(peer) = self.further_source(&id, &sources, &candidates)
                && let Some(last) = sources.last()
            {
                let ids = self.window.rest_of(last.request, peer);
                // The bodies of two branches may have been asked for together.
                if !ids.is_empty() {
                    tracing::debug!(%peer, height = %id.height, blocks = ids.len(), "asked of a further peer");
                    self.ask_for_blocks(peer, ids, now);
                }
            }
            let stalled =
                sources.iter().filter(|source| !source.stalled && waited(source.since_ms) >= stall_ms);
            late.extend(stalled.map(|source| (source.request, source.peer)));
        }
        for (request, peer) in late {
            self.pass_over(request, peer);
        }
    }

    fn pass_over(&mut self, request: RequestId, peer: Peer) {
        tracing::info!(%peer, "a block that everything waits for does not come: others are asked");
        self.window.stall(request);
        self.count_stall(peer);
    }

    /// A peer did not answer a request for blocks in time.
    pub(in crate::engine) fn count_stall(&mut self, peer: Peer) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.stalls += 1;
        if state.stalls >= MAX_STALLS {
            self.blame(peer, Misconduct::Stalling);
        }
    }
}
