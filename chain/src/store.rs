//! What the ledger needs of storage. A database implements it; [`crate::memory::MemoryStore`] is the
//! reference that every other store is held against.
//!
//! A store never judges. An error of it says nothing about any block: the caller stops, and no block is
//! marked invalid for it (threat C06).

use std::{error::Error, sync::Arc};

use crate::{
    block::{Block, Header},
    check::{CheckedBlock, ConnectedBlock},
    hash::BlockHash,
    transaction::OutPoint,
    utxo::{Coin, Undo},
};

/// Reading or writing failed, or what was read is damaged. The node must stop.
#[derive(Debug, thiserror::Error)]
#[error("storage failed: {0}")]
pub struct StoreError(#[from] Box<dyn Error + Send + Sync>);

impl StoreError {
    /// A failure that only words describe.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into().into())
    }
}

/// What is remembered of a header beside its 80 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HeaderStatus {
    /// The order in which bodies came, where this one is here: of chains of equal work the one whose body
    /// was complete first wins (rule L1).
    pub body: Option<u64>,
    /// Whether the block, or one below it, was found invalid.
    pub invalid: bool,
}

/// Everything that is needed to start again.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// All headers but the genesis block's, each behind its parent, with what is known of them.
    pub headers: Vec<(Header, HeaderStatus)>,
    /// The tip to which coins and undo data belong; none, or its hash, for the genesis block.
    pub tip: Option<BlockHash>,
}

/// Storage of headers, bodies, coins and undo data. The genesis block is in none of them.
///
/// Headers, what is known of them, and bodies survive the death of the process once the method has returned.
/// Coins, undo data and tip move in memory and belong together: they survive as of the last [`Store::flush`],
/// or of a block boundary after it, never as of anything in between. What was connected above is connected
/// again from the bodies at the next start.
pub trait Store: Sync {
    /// Reads what is needed to start.
    ///
    /// # Errors
    /// [`StoreError`]; so for all methods.
    fn load(&self) -> Result<Stored, StoreError>;

    /// Adds headers, in an order in which parents come first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_headers(&mut self, headers: &[Header]) -> Result<(), StoreError>;

    /// Adds the body of a header that was added before; `order` counts bodies.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_body(&mut self, block: &CheckedBlock, order: u64) -> Result<(), StoreError>;

    /// Remembers that blocks are invalid, or that they are not.
    ///
    /// # Errors
    /// [`StoreError`].
    fn set_invalid(&mut self, hashes: &[BlockHash], invalid: bool) -> Result<(), StoreError>;

    /// The block, if its body was added.
    ///
    /// # Errors
    /// [`StoreError`].
    fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError>;

    /// The encoding of the block, if its body was added: for whoever passes it on and need not look into it.
    ///
    /// # Errors
    /// [`StoreError`].
    fn encoded_block(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.block(hash)?.map(|block| block.to_bytes()))
    }

    /// The unspent coins at these outpoints at the tip, in their order. What was read may stay in memory: asking
    /// for coins makes the next look at them cheap.
    ///
    /// # Errors
    /// [`StoreError`].
    fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError>;

    /// What the block spent, if it is connected.
    ///
    /// # Errors
    /// [`StoreError`].
    fn undo(&self, hash: &BlockHash) -> Result<Option<Undo>, StoreError>;

    /// Moves the tip up to `connected`, the child of the tip: coins, undo data and tip together.
    ///
    /// # Errors
    /// [`StoreError`].
    fn connect(&mut self, block: &Arc<CheckedBlock>, connected: ConnectedBlock) -> Result<(), StoreError>;

    /// Moves the tip down from `block`, the tip, to its parent: removes the coins `created`, brings those of
    /// `undo` back.
    ///
    /// # Errors
    /// [`StoreError`].
    fn disconnect(&mut self, block: &Block, created: &[OutPoint], undo: &Undo) -> Result<(), StoreError>;

    /// Makes coins, undo data and tip survive the death of the process. A store may do so by itself at any block
    /// boundary.
    ///
    /// # Errors
    /// [`StoreError`].
    fn flush(&mut self) -> Result<(), StoreError>;
}
