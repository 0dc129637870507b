//! Bodies: served to peers, and taken in.

use std::sync::Arc;

use chain::{
    block::Block,
    error::SubmitError,
    hash::BlockHash,
    ledger::Submitted,
    store::{Store, StoreError},
};

use crate::{
    engine::{Engine, Now, conduct::Misconduct, is_on_given_up},
    p2p::{Peer, wire::MAX_BLOCKS_RESPONSE_BYTES},
};

impl<S: Store> Engine<S> {
    /// The first of the blocks asked for, as many as one response carries.
    pub(in crate::engine) fn bodies(&self, hashes: &[BlockHash]) -> Result<Vec<Arc<Block>>, StoreError> {
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

    /// Takes in blocks that were asked for.
    pub(in crate::engine) fn on_blocks(
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
            self.blame(peer, Misconduct::OtherBlock(*hash));
        }
        let Submitted { update, outcomes } = self.take_blocks(wanted, now)?;
        for (hash, outcome) in &outcomes {
            let fault = match (outcome, update.refusal(hash)) {
                (Ok(()) | Err(SubmitError::Duplicate | SubmitError::TooEarly { .. }), None) => continue,
                (Err(error), None) if is_on_given_up(error) => continue,
                (_, Some(error)) => Misconduct::block(*hash, error),
                (Err(error), None) => Misconduct::block(*hash, error),
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
}
