//! Blocks that peers push in short: held against their header's work, made whole, passed on, and then judged.

use std::sync::Arc;

use chain::{
    block::{Block, Header},
    check::check_work,
    error::SubmitError,
    hash::BlockHash,
    store::{Store, StoreError},
    time::Time,
    transaction::Transaction,
};

use super::{
    Whole,
    rebuild::{Rebuild, Unfit},
};
use crate::{
    engine::{
        Engine, Now,
        conduct::{Misconduct, is_nobodys_fault},
        peers::Asked,
    },
    p2p::{
        Peer, RequestId, ToNet,
        wire::{CompactBlock, CompactReply, MissingRequest, Request},
    },
};

/// How far below the tip a block may be whose transactions are given one by one, in blocks: who lacks an older
/// one asks for all of it (Bitcoin Core's number).
const MAX_MISSING_DEPTH: u32 = 10;
/// Blocks whose time has not come that are kept to be tried again (rule C2).
pub(in crate::engine) const MAX_EARLY_BLOCKS: usize = 16;
/// How far beyond the latest time a block's may lie that is kept until then, in seconds.
const MAX_EARLY_SECS: u32 = 600;

/// A block whose time has not come.
#[derive(Clone, Debug)]
pub(in crate::engine) enum Early {
    /// All of it.
    Block(Arc<Block>),
    /// In short, by a peer that may have to be asked for the rest.
    Compact(Peer, Arc<CompactBlock>),
}

impl Early {
    fn header(&self) -> &Header {
        match self {
            Self::Block(block) => &block.header,
            Self::Compact(_, compact) => &compact.header,
        }
    }
}

impl<S: Store> Engine<S> {
    /// A peer pushes a block in short.
    pub(in crate::engine) fn on_compact(
        &mut self,
        peer: Peer,
        compact: &Arc<CompactBlock>,
        now: Now,
    ) -> Result<CompactReply, StoreError> {
        let hash = compact.hash();
        if let Some(state) = self.peers.get_mut(&peer) {
            state.has = Some(hash);
            if !state.pushes.hear(hash) {
                return Ok(CompactReply::Known);
            }
        }
        let tree = self.ledger.tree();
        if let Some(node) = tree.find(&hash).map(|id| tree.node(id))
            && (node.is_invalid() || node.has_body())
        {
            let reply = if node.is_invalid() { CompactReply::Refused } else { CompactReply::Known };
            if node.was_connected() {
                self.raise_best(peer, &hash);
            }
            return Ok(reply);
        }
        if self.is_too_cheap(&compact.header, &hash) {
            // There may be more behind it, of which the headers tell without being kept.
            if self.ledger.tip().work < self.work_that_matters() {
                self.ask_for_headers(peer, now);
            }
            return Ok(CompactReply::Refused);
        }
        self.trails.heard(hash, Some(peer));
        // Work, bits and time: nothing is reserved and nothing said to others before these are paid for.
        match self.ledger.submit_headers(&[compact.header], now.wall) {
            Ok(_) => {}
            Err(SubmitError::UnknownParent(_)) => {
                self.forget_push(peer, &hash);
                self.ask_for_headers(peer, now);
                return Ok(CompactReply::Orphan);
            }
            Err(SubmitError::TooEarly { .. }) => {
                self.keep_early(Early::Compact(peer, Arc::clone(compact)), now);
                return Ok(CompactReply::NotYet);
            }
            Err(SubmitError::Storage(error)) => return Err(error),
            Err(error) if is_nobodys_fault(&error) => return Ok(CompactReply::Refused),
            Err(error) => {
                self.blame(peer, Misconduct::header(&error));
                return Ok(CompactReply::Refused);
            }
        }
        self.raise_best(peer, &hash);
        self.build(peer, compact, now);
        Ok(CompactReply::Accepted)
    }

    /// Makes a block whole, if it can be connected then.
    fn build(&mut self, peer: Peer, compact: &Arc<CompactBlock>, now: Now) {
        let hash = compact.hash();
        if !self.is_next(&compact.header) || self.relay.ready.iter().any(|(_, block)| block.hash() == hash) {
            return self.fetch(now);
        }
        let limit = usize::try_from(self.ledger.chain().params().max_block_bytes).unwrap_or(usize::MAX);
        let waiting = self.mempool.entries().map(|entry| entry.transaction());
        let known = waiting.chain(self.mempool.recently_departed());
        match Rebuild::begin(Arc::clone(compact), known, limit) {
            Some(rebuild) if rebuild.missing().is_empty() => self.finish(peer, &rebuild, now),
            Some(rebuild) if self.relay.builds.has_room(&hash, rebuild.held_bytes()) => {
                tracing::debug!(%peer, %hash, missing = rebuild.missing().len(), "transactions missing");
                let id = self.next_request_id();
                let request = MissingRequest { hash, indexes: rebuild.missing().to_vec() };
                self.relay.builds.keep(peer, rebuild, id, now.monotonic_ms);
                self.remember_request(peer, id, Asked::Missing, now);
                self.send(ToNet::Request { peer, id, request: Request::Missing(request) });
            }
            // Of two that look alike, or with no room left: whoever has it gives it whole.
            _ => self.fetch(now),
        }
    }

    /// Whether all below a block is here, or about to be connected.
    fn is_next(&self, header: &Header) -> bool {
        let tree = self.ledger.tree();
        let parent = tree.find(&header.previous);
        parent.is_some_and(|parent| tree.node(parent).is_complete()) || self.relay.awaits(&header.previous)
    }

    /// All transactions are in their places: the block is passed on, and judged afterwards.
    fn finish(&mut self, peer: Peer, rebuild: &Rebuild, now: Now) {
        let hash = rebuild.hash();
        match rebuild.finish(self.ledger.chain(), self.ledger.verdicts()) {
            Ok(block) => {
                self.trails.arrived(hash, block.transactions().len());
                self.relay.arrived(&hash);
                if self.would_lead(block.header()) {
                    self.push_early(&rebuild.relayed(), now);
                }
                self.relay.ready.push_back((peer, Whole::Checked(Box::new(block))));
            }
            Err(Unfit::Invalid(block)) => {
                self.relay.arrived(&hash);
                self.relay.ready.push_back((peer, Whole::Invalid(block)));
            }
            Err(Unfit::Given) => self.blame(peer, Misconduct::OtherBlock(hash)),
            Err(Unfit::Guessed) => {
                tracing::debug!(%peer, %hash, "the block could not be made whole");
                self.fetch(now);
            }
        }
    }

    /// A peer gives transactions of a block that it pushed.
    pub(in crate::engine) fn on_missing(
        &mut self,
        peer: Peer,
        id: RequestId,
        given: &[Arc<Transaction>],
        now: Now,
    ) {
        // Long given up, or the block is here by now.
        let Some(mut rebuild) = self.relay.builds.take(peer, id) else { return };
        if rebuild.fill(given) {
            self.finish(peer, &rebuild, now);
        } else {
            tracing::debug!(%peer, hash = %rebuild.hash(), given = given.len(), "not what was missing");
            self.fetch(now);
        }
    }

    /// Nothing came: the block is fetched whole.
    pub(in crate::engine) fn on_no_missing(&mut self, peer: Peer, id: RequestId) {
        self.relay.builds.take(peer, id);
    }

    /// The transactions of a block that a peer lacks: all that it asks for, or none.
    pub(in crate::engine) fn missing_of(
        &self,
        request: &MissingRequest,
    ) -> Result<Vec<Arc<Transaction>>, StoreError> {
        let tree = self.ledger.tree();
        // Only what was found valid, and lies in memory most likely.
        let node = tree.find(&request.hash).map(|id| tree.node(id)).filter(|node| node.was_connected());
        let depth = node.and_then(|node| self.ledger.tip().id.height.since(node.height()));
        if node.is_none() || depth.is_some_and(|depth| depth > MAX_MISSING_DEPTH) {
            return Ok(Vec::new());
        }
        let Some(block) = self.ledger.checked_block(&request.hash)? else { return Ok(Vec::new()) };
        let at = |index: &u32| block.transactions().get(usize::try_from(*index).ok()?);
        let found: Option<Vec<_>> =
            request.indexes.iter().map(|index| Some(Arc::clone(at(index)?.transaction()))).collect();
        Ok(found.unwrap_or_default())
    }

    /// Whether a block that nobody asked for stands on a chain with too little work for its header to be kept: it
    /// costs its maker little and us much (threats P01, P26). What breaks a rule of headers is told by the ledger.
    fn is_too_cheap(&self, header: &Header, hash: &BlockHash) -> bool {
        let tree = self.ledger.tree();
        let Some(parent) = tree.find(&header.previous).map(|id| tree.node(id)) else { return false };
        let Ok(work) = check_work(header, hash) else { return false };
        parent.work().checked_add(work).is_some_and(|work| work < self.work_that_matters())
    }

    fn forget_push(&mut self, peer: Peer, hash: &BlockHash) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.pushes.forget(hash);
        }
    }

    /// Connects blocks that were passed on. Whoever pushed one that is invalid need not have known.
    pub(in crate::engine) fn connect_pushed(&mut self, now: Now) -> Result<(), StoreError> {
        while let Some((peer, block)) = self.relay.ready.pop_front() {
            let outcome = match block {
                Whole::Checked(block) => self.connect_checked(*block, now),
                Whole::Invalid(block) => self.take_new(*block, now),
            };
            match outcome {
                Ok(update) => {
                    if update.moved_tip() {
                        self.announce_tip(Some(peer), now)?;
                    }
                }
                Err(SubmitError::Storage(error)) => return Err(error),
                Err(error) => tracing::debug!(%peer, %error, "a pushed block is not taken"),
            }
            self.fetch(now);
        }
        Ok(())
    }

    /// Keeps a block until its time comes, if that is soon.
    pub(in crate::engine) fn keep_early(&mut self, block: Early, now: Now) {
        let is_soon = block.header().time <= self.latest_time(now).saturating_add_secs(MAX_EARLY_SECS);
        let hash = block.header().hash();
        let early = &mut self.relay.early;
        if is_soon && early.iter().all(|early| early.header().hash() != hash) {
            // The oldest makes room: what is lost here is asked for again at the next status.
            if early.len() == MAX_EARLY_BLOCKS {
                early.remove(0);
            }
            early.push(block);
        }
    }

    /// The latest time that a header may have now (rule C2).
    fn latest_time(&self, now: Now) -> Time {
        now.wall.saturating_add_secs(self.ledger.chain().params().max_future_secs())
    }

    /// Tries blocks again whose time has come, and gives up what was awaited too long.
    pub(in crate::engine) fn on_relay_tick(&mut self, now: Now) -> Result<(), StoreError> {
        for peer in self.relay.builds.give_up(now.monotonic_ms) {
            // Who lets us wait is asked last.
            if let Some(state) = self.peers.get_mut(&peer) {
                state.note_failure();
            }
        }
        let latest = self.latest_time(now);
        let (ready, early): (Vec<_>, Vec<_>) = std::mem::take(&mut self.relay.early)
            .into_iter()
            .partition(|block| block.header().time <= latest);
        self.relay.early = early;
        for block in ready {
            match block {
                Early::Block(block) => match self.take_and_announce(block, now) {
                    Ok(_) => {}
                    Err(SubmitError::Storage(error)) => return Err(error),
                    Err(error) => tracing::debug!(%error, "a block that came early is not taken"),
                },
                Early::Compact(peer, compact) => {
                    self.forget_push(peer, &compact.hash());
                    self.on_compact(peer, &compact, now)?;
                }
            }
        }
        Ok(())
    }
}
