//! The part of a store that every thread may hold: the database, the files, and what was connected last.

use std::sync::Arc;

use chain::{
    block::{Block, Header},
    hash::BlockHash,
    store::StoreError,
    utxo::Undo,
};

use super::{
    codec::read_undo,
    database::Database,
    fault::Fault,
    files::{FlatFiles, Position},
    recent::{RecentBlock, RecentBlocks},
    snapshot::Snapshot,
};

/// What the store and its readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) database: Database,
    pub(super) blocks: Arc<FlatFiles>,
    pub(super) undo: Arc<FlatFiles>,
    pub(super) recent: RecentBlocks,
}

impl Shared {
    /// The undo data at a position.
    pub(super) fn undo_at(&self, position: &Position, hash: &BlockHash) -> Result<Undo, StoreError> {
        let bytes = self.undo.read(position, hash)?;
        Ok(read_undo(&bytes).map_err(|why| Fault::damaged(format!("the undo data of block {hash}"), why))?)
    }
}

/// A store, open for reading on any thread: its state as of the last flush, and headers and bodies as they
/// come. The database closes when its store and all its readers are gone.
#[derive(Clone, Debug)]
pub struct StoreReader {
    pub(super) shared: Arc<Shared>,
}

impl StoreReader {
    /// The store as it was flushed last.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::new(&self.shared)
    }

    /// The tip that was flushed last; the genesis block where none was.
    ///
    /// # Errors
    /// [`StoreError`]; so for all methods that read.
    pub fn tip(&self) -> Result<BlockHash, StoreError> {
        self.snapshot().tip()
    }

    /// The header, if it is here; never the genesis block's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn header(&self, hash: &BlockHash) -> Result<Option<Header>, StoreError> {
        self.snapshot().header_of(hash)
    }

    /// The block, if its body is here, on whatever branch; never the genesis block.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError> {
        self.snapshot().block(hash)
    }

    /// What the block spent, if it was connected and flushed, whether or not it still is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn undo(&self, hash: &BlockHash) -> Result<Option<Undo>, StoreError> {
        self.snapshot().undo(hash)
    }

    /// The block and what it spent, if it was connected a moment ago, flushed or not.
    #[must_use]
    pub fn recent(&self, hash: &BlockHash) -> Option<RecentBlock> {
        self.shared.recent.find(hash)
    }
}
