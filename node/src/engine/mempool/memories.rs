//! What the mempool remembers of transactions that are not in it: those it refused lately, and those that
//! have left. Both lists are bounded; the oldest is forgotten first.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use chain::{
    check::CheckedTransaction,
    hash::{BlockHash, TxId, WitnessTxId},
    time::Time,
};

/// Refused transactions that are remembered until the tip moves, at the most.
pub const MAX_REFUSED: usize = 20_000;
/// Transactions that have left and are remembered, at the most.
pub const MAX_DEPARTED: usize = 20_000;
/// Of those, so many that left last are kept whole: miners may still have them (Bitcoin Core's number).
pub const MAX_KEPT: usize = 100;
/// What those occupy in memory, in bytes.
pub const MAX_KEPT_BYTES: usize = 1 << 20;

/// Witness ids of what was found wrong on this tip, so that the same bytes are not verified twice. Another
/// witness makes another id: nobody can have somebody else's transaction refused (threat M06).
#[derive(Clone, Debug, Default)]
pub(super) struct Refused {
    known: HashSet<WitnessTxId>,
    order: VecDeque<WitnessTxId>,
}

impl Refused {
    pub(super) fn contains(&self, witness_txid: &WitnessTxId) -> bool {
        self.known.contains(witness_txid)
    }

    pub(super) fn insert(&mut self, witness_txid: WitnessTxId) {
        if self.known.insert(witness_txid) {
            self.order.push_back(witness_txid);
        }
        if self.order.len() > MAX_REFUSED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len().max(self.known.len())
    }

    /// The tip has moved: what was wrong may be right.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.order.clear();
    }
}

/// Why a transaction left the mempool without being mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// One that pays more took its place, or that of what it stood on.
    Replaced {
        /// Which.
        by: TxId,
    },
    /// The mempool was full, and it paid least.
    Evicted,
    /// It waited too long.
    Expired,
    /// A block spends a coin that it spends, or that what it stood on spends.
    Conflict {
        /// The transaction that was mined.
        with: TxId,
        /// The block.
        block: BlockHash,
    },
    /// A reorganisation made it invalid.
    Invalidated,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departed {
    /// Why it left.
    pub why: Departure,
    /// When.
    pub time: Time,
}

/// Those that have left.
#[derive(Clone, Debug, Default)]
pub(super) struct DepartedList {
    found: HashMap<TxId, (Departed, u64)>,
    order: VecDeque<(TxId, u64)>,
    next: u64,
    kept: VecDeque<Arc<CheckedTransaction>>,
    kept_bytes: usize,
}

impl DepartedList {
    /// Keeps one whole for a while.
    pub(super) fn keep(&mut self, transaction: &Arc<CheckedTransaction>) {
        let bytes = transaction.memory_bytes();
        if bytes > MAX_KEPT_BYTES {
            return;
        }
        self.kept_bytes += bytes;
        self.kept.push_back(Arc::clone(transaction));
        while self.kept.len() > MAX_KEPT || self.kept_bytes > MAX_KEPT_BYTES {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_bytes -= oldest.memory_bytes();
        }
    }

    /// Those that are kept whole.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Arc<CheckedTransaction>> {
        self.kept.iter()
    }

    pub(super) fn find(&self, txid: &TxId) -> Option<Departed> {
        self.found.get(txid).map(|(departed, _)| *departed)
    }

    pub(super) fn insert(&mut self, txid: TxId, departed: Departed) {
        self.next += 1;
        self.found.insert(txid, (departed, self.next));
        self.order.push_back((txid, self.next));
        if self.order.len() > MAX_DEPARTED
            && let Some((oldest, number)) = self.order.pop_front()
            && self.found.get(&oldest).is_some_and(|(_, newest)| *newest == number)
        {
            // It has not left a second time since.
            self.found.remove(&oldest);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len().max(self.found.len())
    }

    /// It is back.
    pub(super) fn forget(&mut self, txid: &TxId) {
        self.found.remove(txid);
    }
}
