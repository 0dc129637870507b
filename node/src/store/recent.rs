//! The blocks that were connected last, in memory, for whoever follows the tip.

use std::{collections::VecDeque, sync::Arc};

use chain::{
    check::CheckedBlock,
    hash::BlockHash,
    transaction::OutPoint,
    utxo::{Coin, Undo},
};
use parking_lot::Mutex;

/// The most bytes of blocks, as encoded, and of what they spent that are kept.
const MAX_RECENT_BYTES: usize = 16 << 20;

/// The most blocks that are kept: a look through them takes microseconds.
const MAX_RECENT_BLOCKS: usize = 256;

/// A block that was connected a moment ago.
#[derive(Clone, Debug)]
pub struct RecentBlock {
    /// The block, checked.
    pub block: Arc<CheckedBlock>,
    /// What it spent.
    pub undo: Arc<Undo>,
}

impl RecentBlock {
    fn bytes(&self) -> usize {
        let spent = self.undo.len().saturating_mul(size_of::<(OutPoint, Coin)>());
        self.block.encoded().len().saturating_add(spent)
    }
}

/// The last blocks, the oldest first.
#[derive(Debug, Default)]
pub(super) struct RecentBlocks(Mutex<(VecDeque<RecentBlock>, usize)>);

impl RecentBlocks {
    /// Keeps a block, and lets the oldest go.
    pub(super) fn push(&self, recent: RecentBlock) {
        let (blocks, bytes) = &mut *self.0.lock();
        *bytes = bytes.saturating_add(recent.bytes());
        blocks.push_back(recent);
        while (*bytes > MAX_RECENT_BYTES || blocks.len() > MAX_RECENT_BLOCKS)
            && let Some(oldest) = blocks.pop_front()
        {
            *bytes = bytes.saturating_sub(oldest.bytes());
        }
    }

    /// The block, if it was connected a moment ago.
    pub(super) fn find(&self, hash: &BlockHash) -> Option<RecentBlock> {
        self.0.lock().0.iter().rev().find(|recent| recent.block.hash() == *hash).cloned()
    }
}
