//! What is pushed and announced: new blocks to peers, and what is made of theirs.

mod transactions;

pub(super) use self::transactions::MAX_REANNOUNCED;

use std::sync::Arc;

use chain::{
    block::Block,
    error::SubmitError,
    ledger::Update,
    store::{Store, StoreError},
    time::Time,
};

use super::{
    Engine, Now,
    conduct::{Misconduct, is_nobodys_fault},
    peers::{Asked, PeerState},
};
use crate::p2p::{
    Peer,
    wire::{PushReply, Request},
};

/// Peers to which a new block is pushed, at the most.
const MAX_PUSHES: usize = 16;
/// How far below the tip the parent of a pushed block may stand, in blocks: deeper branches are fetched, once
/// their headers show more work.
const MAX_PUSH_DEPTH: u32 = 288;
/// Blocks whose time has not come that are kept to be tried again (rule C2).
pub(super) const MAX_EARLY_BLOCKS: usize = 16;
/// How far beyond the latest time a block's may lie that is kept until then, in seconds.
const MAX_EARLY_SECS: u32 = 600;

impl<S: Store> Engine<S> {
    /// Pushes a block to peers that are not known to have it.
    pub(in crate::engine) fn push_to_peers(&mut self, block: &Arc<Block>, except: Option<Peer>, now: Now) {
        let hash = block.hash();
        let lacks = |(peer, state): (&Peer, &PeerState)| {
            let tip = state.status.as_ref().map(|status| status.tip);
            (Some(*peer) != except && tip != Some(hash) && state.has != Some(hash)).then_some(*peer)
        };
        let peers: Vec<Peer> = self.peers.iter().filter_map(lacks).take(MAX_PUSHES).collect();
        self.trails.announced(&hash, peers.len());
        for peer in peers {
            if let Some(state) = self.peers.get_mut(&peer) {
                state.has = Some(hash);
            }
            self.ask(peer, Asked::Push, Request::Push(block.clone()), now);
        }
    }

    /// Takes a block that a peer pushed.
    pub(in crate::engine) fn on_push(
        &mut self,
        peer: Peer,
        block: Arc<Block>,
        now: Now,
    ) -> Result<PushReply, StoreError> {
        let hash = block.hash();
        self.trails.heard(hash, Some(peer));
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
                    self.blame(peer, Misconduct::block(hash, error));
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
            Err(error) if is_nobodys_fault(&error) => Ok(PushReply::Refused),
            Err(error) => {
                self.blame(peer, Misconduct::block(hash, &error));
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

    pub(in crate::engine) fn take_and_announce(
        &mut self,
        block: Arc<Block>,
        now: Now,
    ) -> Result<Update, SubmitError> {
        let update = self.take_block(block, now)?;
        if update.moved_tip() {
            self.announce_tip(None, now)?;
        }
        Ok(update)
    }

    /// Keeps a block until its time comes, if that is soon.
    pub(in crate::engine) fn keep_early(&mut self, block: Arc<Block>, now: Now) {
        let is_soon = block.header.time <= self.latest_time(now).saturating_add_secs(MAX_EARLY_SECS);
        if is_soon && self.early.iter().all(|early| early.hash() != block.hash()) {
            // The oldest makes room: what is lost here is asked for again at the next status.
            if self.early.len() == MAX_EARLY_BLOCKS {
                self.early.remove(0);
            }
            self.early.push(block);
        }
    }

    /// Pushes the tip to all peers that are not known to have it.
    pub(in crate::engine) fn announce_tip(
        &mut self,
        except: Option<Peer>,
        now: Now,
    ) -> Result<(), StoreError> {
        let tip = self.ledger.tip();
        let cached = self.last_block.clone().filter(|block| block.hash() == tip.id.hash);
        let block = match cached {
            Some(block) => block,
            None => match self.ledger.block(&tip.id.hash)? {
                Some(block) => Arc::new(block),
                None => return Ok(()),
            },
        };
        self.push_to_peers(&block, except, now);
        Ok(())
    }

    /// The latest time that a header may have now (rule C2).
    fn latest_time(&self, now: Now) -> Time {
        now.wall.saturating_add_secs(self.ledger.chain().params().max_future_secs())
    }

    /// Tries blocks again whose time has come.
    pub(in crate::engine) fn retry_early(&mut self, now: Now) -> Result<(), StoreError> {
        let latest = self.latest_time(now);
        let (ready, early) =
            std::mem::take(&mut self.early).into_iter().partition(|block| block.header.time <= latest);
        self.early = early;
        for block in ready {
            match self.take_and_announce(block, now) {
                Ok(_) => {}
                Err(SubmitError::Storage(error)) => return Err(error),
                Err(error) => tracing::debug!(%error, "a block that came early is not taken"),
            }
        }
        Ok(())
    }
}
