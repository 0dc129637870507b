//! Bodies: served to peers as they lie on the disk, taken in undecoded, and connected in order.

use std::collections::{BTreeMap, BTreeSet};

use chain::{
    check::NewBlock,
    hash::BlockHash,
    ledger::{BlockId, Submitted},
    store::{Store, StoreError},
};

use crate::{
    engine::{
        Engine, Now,
        conduct::{Misconduct, is_nobodys_fault},
    },
    p2p::{
        Peer, RequestId,
        wire::{MAX_BLOCKS, MAX_BLOCKS_RESPONSE_BYTES, RawBlock},
    },
};

/// Blocks that are connected between two events, at the most.
const STEP_BLOCKS: usize = 256;
/// The bytes after which no more are connected before the next event: enough signatures for full batches, and
/// less than a second.
const STEP_BYTES: usize = 8 << 20;

impl<S: Store> Engine<S> {
    /// The first of the blocks asked for, as many as one response carries.
    pub(in crate::engine) fn bodies(&self, hashes: &[BlockHash]) -> Result<Vec<RawBlock>, StoreError> {
        let mut blocks = Vec::new();
        let mut bytes = 0;
        for hash in hashes.iter().take(MAX_BLOCKS) {
            // Only what was found valid is passed on: for what it never judged an honest node would be blamed.
            let tree = self.ledger.tree();
            let valid = tree.find(hash).is_some_and(|id| tree.node(id).was_connected());
            let encoded = if valid { self.encoded_block(hash)? } else { None };
            let Some(block) = encoded.and_then(|bytes| RawBlock::from_bytes(bytes).ok()) else { break };
            bytes += block.bytes().len();
            if bytes > MAX_BLOCKS_RESPONSE_BYTES && !blocks.is_empty() {
                break;
            }
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// A block's encoding; the genesis block is in no store.
    fn encoded_block(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, StoreError> {
        if *hash == self.ledger.chain().id() {
            return Ok(Some(self.ledger.chain().genesis().to_bytes()));
        }
        self.ledger.store().encoded_block(hash)
    }

    /// Takes in the answer to a request for blocks. They wait, undecoded, until those below them are here.
    pub(in crate::engine) fn on_blocks(
        &mut self,
        peer: Peer,
        request: RequestId,
        blocks: Vec<RawBlock>,
        now: Now,
    ) -> Result<(), StoreError> {
        let asked = self.window.asked(request).unwrap_or_default();
        let is_empty = blocks.is_empty();
        let (mut taken, mut other, mut beaten) = (0, None, BTreeSet::new());
        for (id, block) in asked.into_iter().zip(blocks) {
            if block.hash() != id.hash {
                other = Some(id.hash);
                break;
            }
            if let Some(earlier) = self.window.receive(id, peer, block) {
                taken += 1;
                beaten.extend(earlier);
            }
        }
        self.window.close(request);
        if let Some(state) = self.peers.get_mut(&peer) {
            if is_empty {
                // It does not have what it claimed: it is asked again once it says so again.
                state.best = None;
            }
            if taken > 0 {
                state.stalls = state.stalls.saturating_sub(1);
            }
        }
        if let Some(hash) = other {
            self.blame(peer, Misconduct::OtherBlock(hash));
        }
        for slow in beaten {
            self.window.doubt(slow);
            if let Some(state) = self.peers.get_mut(&slow) {
                state.stalls = state.stalls.max(1);
            }
        }
        self.look_for_ready();
        if !self.window.is_ready {
            self.fetch(now);
            return Ok(());
        }
        self.connect_ready(now)
    }

    /// The lowest bodies that wait and whose parents are here, or come right before them.
    fn ready(&self) -> Vec<BlockId> {
        let tree = self.ledger.tree();
        let mut ready = Vec::new();
        let mut chosen = BTreeSet::new();
        let mut bytes = 0;
        for (id, block) in self.window.waiting() {
            let parent = tree.find(&block.header().previous);
            let is_next = parent.is_some_and(|parent| tree.node(parent).is_complete());
            if is_next || chosen.contains(&block.header().previous) {
                bytes += block.bytes().len();
                chosen.insert(id.hash);
                ready.push(*id);
            }
            if bytes >= STEP_BYTES || ready.len() == STEP_BLOCKS {
                break;
            }
        }
        ready
    }

    /// Finds out whether some of what waits can be connected.
    pub(in crate::engine) fn look_for_ready(&mut self) {
        let tree = self.ledger.tree();
        let is_next = |block: &RawBlock| {
            let parent = tree.find(&block.header().previous);
            parent.is_some_and(|parent| tree.node(parent).is_complete())
        };
        let is_ready = self.window.waiting().any(|(_, block)| is_next(block));
        if is_ready {
            self.window.idle_since_ms = None;
        }
        self.window.is_ready = is_ready;
    }

    /// Connects the next bodies that are here, a bounded number of them.
    pub(in crate::engine) fn connect_ready(&mut self, now: Now) -> Result<(), StoreError> {
        let ids = self.ready();
        let mut senders = BTreeMap::new();
        let mut last = None;
        let mut blocks: Vec<NewBlock> = Vec::with_capacity(ids.len());
        for (peer, raw) in self.window.take(&ids) {
            match raw.walk() {
                Ok(block) => {
                    senders.insert(raw.hash(), peer);
                    last = Some(peer);
                    blocks.push(block.into());
                }
                // Says nothing about the header: another peer has the body (threat C12).
                Err(error) => self.blame(peer, Misconduct::block(raw.hash(), &error)),
            }
        }
        let Submitted { update, outcomes } = self.take_blocks(blocks, now)?;
        for (hash, outcome) in &outcomes {
            let fault = match (outcome, update.refusal(hash)) {
                (Ok(()), None) => continue,
                // What stands on a fault says nothing more about who sent it.
                (Err(error), None) if is_nobodys_fault(error) => continue,
                (_, Some(error)) => Misconduct::block(*hash, error),
                (Err(error), None) => Misconduct::block(*hash, error),
            };
            if let Some(peer) = senders.get(hash).filter(|peer| self.peers.contains_key(peer)) {
                self.blame(*peer, fault);
            }
        }
        self.window.moved(update.applied.len());
        self.fetch(now);
        if update.moved_tip() {
            if self.window.is_idle() {
                self.announce_tip(last, now)?;
            } else {
                // More is on its way, or somebody keeps it back: that is not to keep the others from what we have.
                self.tell_those_behind(now);
            }
        }
        Ok(())
    }

    /// Lets go of bodies that wait and that nobody's best chain holds any more.
    pub(in crate::engine) fn drop_unwanted(&mut self) {
        let tree = self.ledger.tree();
        let bests = self.peers.values().filter_map(|state| tree.find(&state.best?));
        let goals: BTreeSet<_> = bests.chain([tree.best_header()]).collect();
        let is_wanted = |id: &BlockId, _: Peer| {
            let node = tree.find(&id.hash);
            node.is_some_and(|node| goals.iter().any(|goal| tree.ancestor(*goal, id.height) == Some(node)))
        };
        self.window.keep(is_wanted);
    }
}
