//! What whoever runs the node orders about blocks: carried out by the ledger, followed by everybody else.

use std::collections::BTreeMap;

use chain::{
    hash::BlockHash,
    ledger::{AdviceError, Update},
    store::Store,
};

use super::{Engine, Now};

impl<S: Store> Engine<S> {
    /// Treats a block, and all that stand on it, as invalid from now on.
    ///
    /// # Errors
    /// [`AdviceError`]. [`AdviceError::Storage`] must stop the node.
    pub fn invalidate_block(&mut self, hash: &BlockHash, now: Now) -> Result<Update, AdviceError> {
        let outcome = self.ledger.invalidate(hash);
        self.heed(outcome, now)
    }

    /// Takes that back: the block, those below it and those on it are held against the rules again.
    ///
    /// # Errors
    /// [`AdviceError`]. [`AdviceError::Storage`] must stop the node.
    pub fn reconsider_block(&mut self, hash: &BlockHash, now: Now) -> Result<Update, AdviceError> {
        let outcome = self.ledger.reconsider(hash);
        self.heed(outcome, now)
    }

    /// Prefers a block to others of the same work.
    ///
    /// # Errors
    /// [`AdviceError`]. [`AdviceError::Storage`] must stop the node.
    pub fn make_precious(&mut self, hash: &BlockHash, now: Now) -> Result<Update, AdviceError> {
        let outcome = self.ledger.make_precious(hash);
        self.heed(outcome, now)
    }

    /// Sees to what follows from an order, as from a block that came.
    fn heed(&mut self, outcome: Result<Update, AdviceError>, now: Now) -> Result<Update, AdviceError> {
        let outcome = outcome.and_then(|update| {
            self.follow_update(&update, &BTreeMap::new(), now)?;
            if update.moved_tip() {
                self.announce_tip(None, now)?;
            }
            // Another chain may be wanted now, of which bodies are missing.
            self.fetch(now);
            Ok(update)
        });
        if let Err(AdviceError::Storage(error)) = &outcome {
            self.note_storage(error);
        }
        outcome
    }
}
