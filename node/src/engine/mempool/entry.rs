//! A transaction that waits, and its rank among all that do.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use chain::{amount::Amount, check::CheckedTransaction, hash::TxId, height::Height, time::Time};

/// A transaction that waits.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) transaction: Arc<CheckedTransaction>,
    pub(super) fee: Amount,
    pub(super) time: Time,
    pub(super) height: Height,
    pub(super) sequence: u64,
    pub(super) parents: BTreeSet<TxId>,
    pub(super) children: BTreeSet<TxId>,
}

impl Entry {
    /// The transaction.
    #[must_use]
    pub const fn transaction(&self) -> &Arc<CheckedTransaction> {
        &self.transaction
    }

    /// Its fee.
    #[must_use]
    pub const fn fee(&self) -> Amount {
        self.fee
    }

    /// When it was accepted.
    #[must_use]
    pub const fn time(&self) -> Time {
        self.time
    }

    /// The height of the tip when it was accepted.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// Its number in the order of arrival.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Transactions here whose outputs it spends.
    #[must_use]
    pub const fn parents(&self) -> &BTreeSet<TxId> {
        &self.parents
    }

    pub(super) fn rank(&self) -> Rank {
        Rank {
            rate: FeeRate { fee: self.fee.pebbles(), bytes: self.transaction.size() },
            age: Reverse(self.sequence),
            txid: self.transaction.txid(),
        }
    }
}

/// A fee rate, compared exactly: by the cross product, never by a quotient.
#[derive(Clone, Copy, Debug)]
pub(super) struct FeeRate {
    pub(super) fee: u64,
    pub(super) bytes: u32,
}

impl FeeRate {
    fn cross(self, other: Self) -> (u128, u128) {
        (u128::from(self.fee) * u128::from(other.bytes), u128::from(other.fee) * u128::from(self.bytes))
    }
}

impl PartialEq for FeeRate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for FeeRate {}

impl PartialOrd for FeeRate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FeeRate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let (mine, theirs) = self.cross(*other);
        mine.cmp(&theirs)
    }
}

/// Worst first: by fee rate, then the younger before the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) rate: FeeRate,
    age: Reverse<u64>,
    pub(super) txid: TxId,
}
