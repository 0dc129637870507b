//! The blocks that were connected last, in memory, for whoever follows the tip; and the bell that rings when
//! a tip was flushed.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use chain::{
    check::CheckedBlock,
    hash::BlockHash,
    transaction::OutPoint,
    utxo::{Coin, Undo},
};
use parking_lot::{Condvar, Mutex};

/// The most bytes of blocks, as encoded, and of what they spent that are kept.
const MAX_RECENT_BYTES: usize = 16 << 20;

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
        while *bytes > MAX_RECENT_BYTES
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

/// Counts flushes, and wakes who waits for the next one.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Flushes {
    /// There was one more.
    pub(super) fn ring(&self) {
        let mut count = self.count.lock();
        *count = count.saturating_add(1);
        self.changed.notify_all();
    }

    /// Waits until there were more than `seen`, or for so long; how many there were.
    pub(super) fn wait(&self, seen: u64, longest: Duration) -> u64 {
        let mut count = self.count.lock();
        self.changed.wait_while_for(&mut count, |count| *count <= seen, longest);
        *count
    }
}
