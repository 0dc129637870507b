//! What is said to peers and what is made of what they say: status, headers, bodies, pushed blocks.

use std::{collections::BTreeMap, sync::Arc};

use chain::{
    block::{Block, Header},
    error::{HeaderError, SubmitError},
    hash::BlockHash,
    height::Height,
    ledger::Submitted,
    store::{Store, StoreError},
    tree::NodeId,
};

use super::{Engine, Now};
use crate::p2p::{
    Peer, Reply, RequestFailure, RequestId, ToNet,
    wire::{HeadersRequest, MAX_BLOCKS_RESPONSE_BYTES, MAX_HEADERS, PushReply, Request, Response, Status},
};

/// How often a peer is told our tip, so that a lost announcement is found out.
const STATUS_INTERVAL_MS: u64 = 10_000;
/// When a request is given up, whatever the network says of it.
const REQUEST_DEADLINE_MS: u64 = 45_000;
/// Peers to which a new block is pushed, at the most.
const MAX_PUSHES: usize = 16;

/// How far below the tip the parent of a pushed block may stand, in blocks: deeper branches are fetched, once
/// their headers show more work.
const MAX_PUSH_DEPTH: u32 = 288;

/// What was asked of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Status,
    Headers,
    Blocks,
    Push,
}

/// What is known of a peer.
#[derive(Debug, Default)]
pub(super) struct PeerState {
    status: Option<Status>,
    open: BTreeMap<RequestId, (Asked, u64)>,
    status_ms: u64,
    answer_ms: u64,
    /// The last block that it is known to have, so that it is not pushed back.
    has: Option<BlockHash>,
    /// The tip of the best chain that it is known to have, headers of ours all of it.
    best: Option<BlockHash>,
    /// The height from which headers were last asked for, so that a conversation about them ends.
    headers_from: Height,
}

impl PeerState {
    /// The tip of the best chain that it is known to have.
    pub(super) const fn best(&self) -> Option<BlockHash> {
        self.best
    }

    /// How long it took to answer the last request for blocks, in milliseconds.
    pub(super) const fn answer_ms(&self) -> u64 {
        self.answer_ms
    }

    fn is_asked(&self, what: Asked) -> bool {
        self.open.values().any(|(asked, _)| *asked == what)
    }
}

impl<S: Store> Engine<S> {
    pub(super) fn remember_request(&mut self, peer: Peer, id: RequestId, asked: Asked, now: Now) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.open.insert(id, (asked, now.monotonic_ms));
        }
    }

    fn ask(&mut self, peer: Peer, asked: Asked, request: Request, now: Now) {
        let id = self.next_request_id();
        self.remember_request(peer, id, asked, now);
        self.send(ToNet::Request { peer, id, request });
    }

    fn status(&self) -> Status {
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
    pub(super) fn greet(&mut self, peer: Peer, now: Now) {
        self.peers.insert(peer, PeerState::default());
        self.tell_status(peer, now);
    }

    fn tell_status(&mut self, peer: Peer, now: Now) {
        let status = self.status();
        if let Some(state) = self.peers.get_mut(&peer) {
            state.status_ms = now.monotonic_ms;
        }
        self.ask(peer, Asked::Status, Request::Status(status), now);
    }

    /// The height of the best chain that each peer is known to have, or says it has.
    pub fn peer_heights(&self) -> impl Iterator<Item = (Peer, Option<Height>)> {
        let tree = self.ledger.tree();
        self.peers.iter().map(|(peer, state)| {
            let known = state.best.and_then(|hash| tree.find(&hash)).map(|id| tree.node(id).height());
            (*peer, known.max(state.status.as_ref().map(|status| status.height)))
        })
    }

    fn blame(&mut self, peer: Peer, reason: String) {
        tracing::warn!(%peer, %reason, "peer is at fault");
        self.peers.remove(&peer);
        self.window.forget_peer(peer);
        self.send(ToNet::Disconnect { peer, reason, ban: true });
    }

    /// Pushes a block to peers that are not known to have it.
    pub(super) fn push_to_peers(&mut self, block: &Arc<Block>, except: Option<Peer>, now: Now) {
        let hash = block.hash();
        let lacks = |(peer, state): (&Peer, &PeerState)| {
            let tip = state.status.as_ref().map(|status| status.tip);
            (Some(*peer) != except && tip != Some(hash) && state.has != Some(hash)).then_some(*peer)
        };
        let peers: Vec<Peer> = self.peers.iter().filter_map(lacks).take(MAX_PUSHES).collect();
        for peer in peers {
            if let Some(state) = self.peers.get_mut(&peer) {
                state.has = Some(hash);
            }
            self.ask(peer, Asked::Push, Request::Push(block.clone()), now);
        }
    }

    /// Answers a peer's request.
    pub(super) fn answer(
        &mut self,
        peer: Peer,
        reply: Reply,
        request: Request,
        now: Now,
    ) -> Result<(), StoreError> {
        let response = match request {
            Request::Status(status) => {
                let ours = self.status();
                self.hear_status(peer, status, now);
                Response::Status(ours)
            }
            Request::Headers(request) => Response::Headers(self.headers_after(&request)),
            Request::Blocks(hashes) => Response::Blocks(self.bodies(&hashes)?),
            Request::Push(block) => Response::Pushed(self.on_push(peer, block, now)?),
        };
        self.send(ToNet::Reply { reply, response });
        Ok(())
    }

    fn headers_after(&self, request: &HeadersRequest) -> Vec<Header> {
        let tree = self.ledger.tree();
        let known = request.locator.iter().filter_map(|hash| tree.find(hash));
        let start = known.into_iter().find(|id| self.ledger.is_active(*id)).unwrap_or(NodeId::GENESIS);
        let first = tree.node(start).height().get();
        let mut headers = Vec::new();
        let following = (first..).skip(1).map_while(|height| self.ledger.active(Height::new(height)));
        for id in following.take(MAX_HEADERS) {
            let node = tree.node(id);
            headers.push(*node.header());
            if node.hash() == request.stop {
                break;
            }
        }
        headers
    }

    /// The first of the blocks asked for, as many as one response carries.
    fn bodies(&self, hashes: &[BlockHash]) -> Result<Vec<Arc<Block>>, StoreError> {
        let mut blocks = Vec::new();
        let mut bytes = 0;
        for hash in hashes {
            // Only what was found valid is passed on: for what it never judged an honest node would be blamed.
            let tree = self.ledger.tree();
            let valid = tree.find(hash).filter(|id| tree.node(*id).was_connected());
            let Some(block) = valid.map(|_| self.ledger.block(hash)).transpose()?.flatten() else { break };
            bytes += block.to_bytes().len();
            if bytes > MAX_BLOCKS_RESPONSE_BYTES && !blocks.is_empty() {
                break;
            }
            blocks.push(Arc::new(block));
        }
        Ok(blocks)
    }

    fn on_push(&mut self, peer: Peer, block: Arc<Block>, now: Now) -> Result<PushReply, StoreError> {
        let hash = block.hash();
        if let Some(state) = self.peers.get_mut(&peer) {
            state.has = Some(hash);
        }
        if self.is_far_below(&block) {
            return Ok(PushReply::Refused);
        }
        match self.take_block(block, now) {
            Ok(update) => match update.refusal(&hash) {
                None => {
                    self.raise_best(peer, &hash);
                    if update.moved_tip() {
                        self.announce_tip(Some(peer), now)?;
                    }
                    self.fetch(now);
                    Ok(PushReply::Accepted)
                }
                Some(error) => {
                    let reason = format!("pushed an invalid block {hash}: {error}");
                    self.blame(peer, reason);
                    Ok(PushReply::Refused)
                }
            },
            Err(SubmitError::Duplicate) => Ok(PushReply::Known),
            Err(SubmitError::UnknownParent(_)) => {
                self.ask_for_headers(peer, now);
                Ok(PushReply::Orphan)
            }
            Err(SubmitError::TooEarly { .. }) => Ok(PushReply::NotYet),
            Err(SubmitError::Storage(error)) => Err(error),
            Err(error) if is_on_given_up(&error) => Ok(PushReply::Refused),
            Err(error) => {
                self.blame(peer, format!("pushed block {hash}: {error}"));
                Ok(PushReply::Refused)
            }
        }
    }

    /// Whether a block that nobody asked for stands so far below the tip that no honest node would push it:
    /// it costs its maker little and our disk much (threat P26).
    fn is_far_below(&self, block: &Block) -> bool {
        let tree = self.ledger.tree();
        let parent = tree.find(&block.header.previous).map(|id| tree.node(id).height());
        let depth = parent.and_then(|parent| self.ledger.tip().id.height.since(parent));
        !self.window.awaits(&block.hash()) && depth.is_some_and(|depth| depth > MAX_PUSH_DEPTH)
    }

    /// A peer is known to have the chain up to a header of ours.
    fn raise_best(&mut self, peer: Peer, hash: &BlockHash) {
        let tree = self.ledger.tree();
        let work = |hash: &BlockHash| tree.find(hash).map(|id| tree.node(id).work());
        let Some(new) = work(hash) else { return };
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if state.best.as_ref().and_then(work).is_none_or(|known| new > known) {
            state.best = Some(*hash);
        }
    }

    fn hear_status(&mut self, peer: Peer, status: Status, now: Now) {
        if status.chain != self.ledger.chain().id() {
            let reason = format!("is on another chain, {}", status.chain);
            self.blame(peer, reason);
            return;
        }
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let unknown = self.ledger.tree().find(&status.tip).is_none();
        let more = status.work > self.ledger.tip().work;
        let tip = status.tip;
        state.status = Some(status);
        self.raise_best(peer, &tip);
        if unknown && more {
            self.ask_for_headers(peer, now);
        }
        self.fetch(now);
    }

    /// Asks for the headers that follow what we know, unless they are asked for already.
    fn ask_for_headers(&mut self, peer: Peer, now: Now) {
        if self.peers.get(&peer).is_some_and(|state| !state.is_asked(Asked::Headers)) {
            self.ask_for_headers_after(peer, self.ledger.tree().best_header(), Height::ZERO, now);
        }
    }

    fn ask_for_headers_after(&mut self, peer: Peer, from: NodeId, height: Height, now: Now) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.headers_from = height;
        }
        let locator = self.ledger.tree().locator(from);
        let request = Request::Headers(HeadersRequest { locator, stop: BlockHash::ZERO });
        self.ask(peer, Asked::Headers, request, now);
    }

    /// Takes in the answer to a request of ours, or that there is none.
    pub(super) fn on_response(
        &mut self,
        peer: Peer,
        id: RequestId,
        result: Result<Response, RequestFailure>,
        now: Now,
    ) -> Result<(), StoreError> {
        // Whatever was given up or belongs to a peer that is gone is passed over, however late it comes.
        let open = self.peers.get_mut(&peer).and_then(|state| {
            let (asked, since_ms) = state.open.remove(&id)?;
            if asked == Asked::Blocks {
                // Who fails is asked last, however fast it fails.
                let took_ms = now.monotonic_ms.saturating_sub(since_ms);
                state.answer_ms = if result.is_ok() { took_ms } else { REQUEST_DEADLINE_MS };
            }
            Some(asked)
        });
        let hashes = self.window.close(id);
        let Some(asked) = open else { return Ok(()) };
        match result {
            Ok(Response::Status(status)) => self.hear_status(peer, status, now),
            Ok(Response::Headers(headers)) => self.on_headers(peer, &headers, now)?,
            Ok(Response::Blocks(blocks)) => self.on_blocks(peer, &hashes.unwrap_or_default(), blocks, now)?,
            Ok(Response::Pushed(reply)) => tracing::trace!(%peer, ?reply, "push answered"),
            Err(failure) => {
                tracing::debug!(%peer, ?asked, %failure, "request failed");
                if asked == Asked::Blocks
                    && let Some(state) = self.peers.get_mut(&peer)
                {
                    // It is asked again once it says again what it has.
                    state.best = None;
                }
                if asked == Asked::Push {
                    // The block may be lost: with our tip the peer knows what to ask for.
                    if let Some(state) = self.peers.get_mut(&peer) {
                        state.has = None;
                    }
                    self.tell_status(peer, now);
                }
                self.fetch(now);
            }
        }
        Ok(())
    }

    fn on_headers(&mut self, peer: Peer, headers: &[Header], now: Now) -> Result<(), StoreError> {
        match self.ledger.submit_headers(headers, now.wall) {
            Ok(added) => {
                if added > 0 {
                    tracing::debug!(%peer, added, "headers");
                }
                self.on_good_headers(peer, headers, now);
            }
            Err(SubmitError::Storage(error)) => return Err(error),
            // Our locator was of another branch by now, or our clock lags: the next status tells.
            Err(error @ (SubmitError::UnknownParent(_) | SubmitError::TooEarly { .. })) => {
                tracing::debug!(%peer, %error, "headers not taken");
            }
            Err(error) if is_on_given_up(&error) => {
                tracing::debug!(%peer, %error, "headers not taken");
            }
            Err(error) => self.blame(peer, format!("sent a header that is refused: {error}")),
        }
        self.fetch(now);
        Ok(())
    }

    /// Headers that stand in our tree tell what the peer has. A full message has more behind it, on a branch
    /// that may have less work than ours up to here and more at its end.
    fn on_good_headers(&mut self, peer: Peer, headers: &[Header], now: Now) {
        let Some(last) = headers.last().and_then(|header| self.ledger.tree().find(&header.hash())) else {
            return;
        };
        let (hash, height) = (self.ledger.tree().node(last).hash(), self.ledger.tree().node(last).height());
        self.raise_best(peer, &hash);
        let further = self.peers.get(&peer).is_some_and(|state| height > state.headers_from);
        if headers.len() == MAX_HEADERS && further {
            self.ask_for_headers_after(peer, last, height, now);
        }
    }

    fn on_blocks(
        &mut self,
        peer: Peer,
        asked: &[BlockHash],
        blocks: Vec<Arc<Block>>,
        now: Now,
    ) -> Result<(), StoreError> {
        let sent = blocks.len();
        if blocks.is_empty()
            && let Some(state) = self.peers.get_mut(&peer)
        {
            // It does not have what it claimed: it is asked again once it says so again.
            state.best = None;
        }
        let asked_for = asked.iter().zip(blocks).take_while(|(hash, block)| block.hash() == **hash);
        let wanted: Vec<Arc<Block>> = asked_for.map(|(_, block)| block).collect();
        if let Some(hash) = asked.get(wanted.len()).filter(|_| wanted.len() < sent) {
            self.blame(peer, format!("sent another block than {hash}"));
        }
        let Submitted { update, outcomes } = self.take_blocks(wanted, now)?;
        for (hash, outcome) in &outcomes {
            let fault = match (outcome, update.refusal(hash)) {
                (Ok(()) | Err(SubmitError::Duplicate | SubmitError::TooEarly { .. }), None) => continue,
                (Err(error), None) if is_on_given_up(error) => continue,
                (_, Some(error)) => format!("sent an invalid block {hash}: {error}"),
                (Err(error), None) => format!("sent block {hash}: {error}"),
            };
            // The lowest fault is its own; what follows from it above says nothing more.
            self.blame(peer, fault);
            break;
        }
        self.fetch(now);
        // While more is on its way only the end of it is worth announcing.
        if update.moved_tip() && self.window.is_idle() {
            self.announce_tip(Some(peer), now)?;
        }
        Ok(())
    }

    /// Once a second: statuses, deadlines, blocks whose time has come.
    pub(super) fn on_tick(&mut self, now: Now) -> Result<(), StoreError> {
        let peers: Vec<Peer> = self.peers.keys().copied().collect();
        for peer in peers {
            let Some(state) = self.peers.get_mut(&peer) else { continue };
            let late = |since_ms: u64| now.monotonic_ms.saturating_sub(since_ms) > REQUEST_DEADLINE_MS;
            let given_up: Vec<RequestId> =
                state.open.iter().filter(|(_, (_, since_ms))| late(*since_ms)).map(|(id, _)| *id).collect();
            for id in &given_up {
                state.open.remove(id);
            }
            let idle = now.monotonic_ms.saturating_sub(state.status_ms) >= STATUS_INTERVAL_MS;
            let due = idle && !state.is_asked(Asked::Status);
            for id in given_up {
                self.window.close(id);
            }
            if due {
                self.tell_status(peer, now);
            }
        }
        self.retry_early(now)?;
        self.reannounce(now);
        self.fetch(now);
        Ok(())
    }
}

/// Whether what was refused stands on a block that was found invalid before. Whoever runs this node may have given
/// that block up against the rules' own choice, so that it is no fault of who follows it; nor does refusing cost
/// anything.
const fn is_on_given_up(error: &SubmitError) -> bool {
    matches!(error, SubmitError::KnownInvalid(_) | SubmitError::Header(HeaderError::InvalidParent(_)))
}
