//! What whoever runs the node orders against the rules' own choice: to give up a block, to take it back, to
//! prefer one of equals. Orders never make an invalid block valid.

use thiserror::Error;

use super::{Ledger, Update};
use crate::{
    hash::BlockHash,
    store::{Store, StoreError},
    tree::NodeId,
};

/// Why an order is not carried out.
#[derive(Debug, Error)]
pub enum AdviceError {
    /// No such header is known.
    #[error("the block {0} is not known")]
    Unknown(BlockHash),
    /// Without the genesis block there is no chain.
    #[error("the genesis block cannot be given up: it is the chain")]
    Genesis,
    /// Reading or writing failed. The node must stop.
    #[error(transparent)]
    Storage(#[from] StoreError),
}

impl<S: Store> Ledger<S> {
    fn advised(&self, hash: &BlockHash) -> Result<NodeId, AdviceError> {
        self.tree.find(hash).ok_or(AdviceError::Unknown(*hash))
    }

    /// Treats a block, and all that stand on it, as invalid from now on, after a restart too.
    ///
    /// # Errors
    /// [`AdviceError`].
    pub fn invalidate(&mut self, hash: &BlockHash) -> Result<Update, AdviceError> {
        let id = self.advised(hash)?;
        if id == NodeId::GENESIS {
            return Err(AdviceError::Genesis);
        }
        let before = self.tip_node();
        // The mark first: a crash on the way down goes on from it.
        self.mark_invalid(id)?;
        while self.tree.node(self.tip_node()).is_invalid() {
            self.disconnect_tip()?;
        }
        self.tree.restore_candidates();
        Ok(self.activate_from(before, &mut |_, _| {})?)
    }

    /// Takes back that a block, those below it and those on it are invalid; they are held against the rules
    /// again.
    ///
    /// # Errors
    /// [`AdviceError`].
    pub fn reconsider(&mut self, hash: &BlockHash) -> Result<Update, AdviceError> {
        let id = self.advised(hash)?;
        let cleared = self.tree.clear_invalid(id);
        let hashes: Vec<BlockHash> = cleared.iter().map(|id| self.tree.node(*id).hash()).collect();
        self.store.set_invalid(&hashes, false)?;
        Ok(self.activate(&mut |_, _| {})?)
    }

    /// Prefers a block to others of the same work, as if it had come first, until the node stops or another one
    /// is preferred.
    ///
    /// # Errors
    /// [`AdviceError`].
    pub fn make_precious(&mut self, hash: &BlockHash) -> Result<Update, AdviceError> {
        let id = self.advised(hash)?;
        self.tree.set_precious(id);
        Ok(self.activate(&mut |_, _| {})?)
    }
}
