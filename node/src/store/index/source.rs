//! Where blocks come from: what the indexer asks of the store, and nothing more.

use std::sync::Arc;

use chain::{
    block::{Block, Header},
    check::CheckedBlock,
    hash::{BlockHash, TxId},
    height::Height,
    ledger::BlockId,
    store::StoreError,
    transaction::{OutPoint, Output},
    utxo::Undo,
};

use super::super::StoreReader;

/// The blocks of a store, as they lie on the disk: nothing that is not flushed is seen through it.
pub trait BlockSource: Send + 'static {
    /// The tip that was flushed last; the genesis block where nothing was connected.
    ///
    /// # Errors
    /// [`StoreError`]; so for all methods.
    fn tip(&self) -> Result<BlockId, StoreError>;

    /// The header of a block on whatever branch; never the genesis block's.
    fn header(&self, hash: &BlockHash) -> Result<Option<Header>, StoreError>;

    /// A body, on whatever branch.
    fn block(&self, hash: &BlockHash) -> Result<Option<SourceBlock>, StoreError>;

    /// The coins of earlier blocks that a block spent, in the order of its inputs: of a block that is connected
    /// at least.
    fn undo(&self, hash: &BlockHash) -> Result<Option<Arc<Undo>>, StoreError>;
}

/// A block, with its transactions' ids where they are known.
#[derive(Clone, Debug)]
pub enum SourceBlock {
    /// Out of memory, checked.
    Checked(Arc<CheckedBlock>),
    /// Read from the disk.
    Stored(Box<Block>),
}

/// A transaction or coinbase, as far as the indexes care.
pub(super) struct Entry<'a> {
    pub(super) txid: TxId,
    pub(super) inputs: &'a [OutPoint],
    pub(super) outputs: &'a [Output],
}

impl SourceBlock {
    /// The block below.
    #[must_use]
    pub fn previous(&self) -> BlockHash {
        match self {
            Self::Checked(block) => block.header().previous,
            Self::Stored(block) => block.header.previous,
        }
    }

    /// The height that its coinbase names.
    #[must_use]
    pub fn height(&self) -> Height {
        match self {
            Self::Checked(block) => block.coinbase().height,
            Self::Stored(block) => block.coinbase.height,
        }
    }

    /// The coinbase, then the transactions.
    pub(super) fn entries(&self) -> Vec<Entry<'_>> {
        match self {
            Self::Checked(block) => {
                let coinbase =
                    Entry { txid: block.coinbase_txid(), inputs: &[], outputs: &block.coinbase().outputs };
                let others = block.transactions().iter().map(|checked| {
                    let transaction = checked.transaction();
                    Entry { txid: checked.txid(), inputs: &transaction.inputs, outputs: &transaction.outputs }
                });
                std::iter::once(coinbase).chain(others).collect()
            }
            Self::Stored(block) => {
                let coinbase =
                    Entry { txid: block.coinbase.txid(), inputs: &[], outputs: &block.coinbase.outputs };
                let others = block.transactions.iter().map(|transaction| Entry {
                    txid: transaction.txid(),
                    inputs: &transaction.inputs,
                    outputs: &transaction.outputs,
                });
                std::iter::once(coinbase).chain(others).collect()
            }
        }
    }
}

impl BlockSource for StoreReader {
    fn tip(&self) -> Result<BlockId, StoreError> {
        let hash = self.tip()?;
        if let Some(recent) = self.recent(&hash) {
            return Ok(BlockId { height: recent.block.coinbase().height, hash });
        }
        // The genesis block is not stored.
        let height = self.block(&hash)?.map_or(Height::ZERO, |block| block.coinbase.height);
        Ok(BlockId { height, hash })
    }

    fn header(&self, hash: &BlockHash) -> Result<Option<Header>, StoreError> {
        self.header(hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<Option<SourceBlock>, StoreError> {
        if let Some(recent) = self.recent(hash) {
            return Ok(Some(SourceBlock::Checked(recent.block)));
        }
        Ok(self.block(hash)?.map(|block| SourceBlock::Stored(Box::new(block))))
    }

    fn undo(&self, hash: &BlockHash) -> Result<Option<Arc<Undo>>, StoreError> {
        if let Some(recent) = self.recent(hash) {
            return Ok(Some(recent.undo));
        }
        Ok(self.undo(hash)?.map(Arc::new))
    }
}
