//! How much of everything there is, for those who watch: numbers alone, read between two events.
//!
//! It must stay cheap (nothing is walked), and change nothing.

use chain::{height::Height, ledger::Tip, store::Store};

use super::{Engine, Now};

/// What an engine holds at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The tip.
    pub tip: Tip,
    /// When the tip was mined, in Unix seconds, as its header says.
    pub tip_time_secs: u32,
    /// The height of the best header.
    pub header_height: Height,
    /// Headers that are known, on all branches.
    pub headers: usize,
    /// Whether blocks are known to exist that are not here yet.
    pub is_catching_up: bool,
    /// Payments that were connected since the start.
    pub payments_connected: u64,
    /// Transactions that wait.
    pub mempool_transactions: usize,
    /// Their sizes together, in bytes.
    pub mempool_bytes: u64,
    /// The memory that they occupy, in bytes.
    pub mempool_memory_bytes: u64,
    /// What a transaction must pay at least now, in pebbles for each 1,000 bytes.
    pub mempool_floor_pebbles_per_kb: u64,
    /// Blocks that are on their way or wait for one below them.
    pub window_blocks: usize,
    /// Bytes of bodies that wait for one below them.
    pub window_bytes: usize,
    /// Blocks that wait for their time (rule C2).
    pub early_blocks: usize,
    /// Transactions that need not be verified again in a block.
    pub verdicts: usize,
}

impl<S: Store> Engine<S> {
    /// The figures now.
    #[must_use]
    pub fn figures(&self, now: Now) -> Figures {
        let sync = self.sync_progress();
        let (tip, tree) = (self.ledger.tip(), self.ledger.tree());
        let header = tree.find(&tip.id.hash).map(|id| *tree.node(id).header());
        Figures {
            tip,
            tip_time_secs: header.map_or(0, |header| header.time.secs()),
            header_height: tree.node(tree.best_header()).height(),
            headers: tree.len(),
            is_catching_up: self.is_catching_up(),
            payments_connected: sync.payments,
            mempool_transactions: self.mempool.len(),
            mempool_bytes: self.mempool.bytes(),
            mempool_memory_bytes: self.mempool.memory_bytes(),
            mempool_floor_pebbles_per_kb: self.mempool.min_fee_rate(now.wall),
            window_blocks: sync.window_blocks,
            window_bytes: sync.window_bytes,
            early_blocks: self.relay.early_blocks(),
            verdicts: self.ledger.verdicts().len(),
        }
    }
}
