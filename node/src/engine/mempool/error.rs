//! Why a transaction is not taken.

use chain::{
    amount::Amount,
    error::{SpendError, TransactionError},
    hash::TxId,
    store::StoreError,
    transaction::OutPoint,
};
use thiserror::Error;

use super::{graph::MAX_CLUSTER_COUNT, replacement::MAX_REPLACED};

/// Why a transaction is not taken.
#[derive(Debug, Error)]
pub enum AcceptError {
    /// It breaks an isolated rule, for ever.
    #[error(transparent)]
    Invalid(#[from] TransactionError),
    /// It breaks a spending rule on this tip.
    #[error(transparent)]
    Spend(#[from] SpendError),
    /// It waits here already.
    #[error("the transaction is in the mempool already")]
    Known,
    /// Another transaction that waits here spends the same coin, and this one may not replace it.
    #[error(
        "{outpoint} is already spent by {by}, which is in the mempool; it can be spent only once, and {why}"
    )]
    Conflict {
        /// The coin.
        outpoint: OutPoint,
        /// Who spends it.
        by: TxId,
        /// The rule of replacement that is broken.
        why: ReplacementError,
    },
    /// No block could hold it.
    #[error(
        "no block of this chain could hold {bytes} bytes with {signatures} signatures beside its coinbase"
    )]
    Unminable {
        /// Its size.
        bytes: u32,
        /// Its signatures.
        signatures: u32,
    },
    /// An output holds less than it costs to spend.
    #[error(
        "output {index} pays {amount} CRN, less than the {least} CRN below which spending it costs more than it \
         holds"
    )]
    Dust {
        /// The output.
        index: usize,
        /// What it holds.
        amount: Amount,
        /// What it must hold.
        least: Amount,
    },
    /// Its fee is too low to be relayed.
    #[error("the fee of {fee} CRN is below {needed} CRN, the least for {bytes} bytes")]
    LowFee {
        /// What it pays.
        fee: Amount,
        /// What it must pay.
        needed: Amount,
        /// The bytes that are charged: its size, or more where it takes much more memory.
        bytes: u32,
    },
    /// It hangs together with too many transactions that are not mined yet.
    #[error(
        "it hangs together with too many unconfirmed transactions (at most {MAX_CLUSTER_COUNT}, and not too many \
         bytes or signatures together); wait for a block"
    )]
    ClusterFull,
    /// The mempool is full of better ones.
    #[error("the mempool is full and all that is in it pays a higher fee rate; pay more or wait")]
    Full,
    /// The same bytes were refused since the tip last moved.
    #[error("the transaction was refused on this tip already")]
    RefusedBefore,
    /// Whoever gave it has used up its share of the mempool, or of the work on what turns out wrong.
    #[error("whoever gave the transaction has used up its share of the mempool; wait for a block")]
    ShareSpent,
    /// Reading the coins failed: the node must stop.
    #[error(transparent)]
    Storage(#[from] StoreError),
}

impl AcceptError {
    /// Whether only what else waits is in the way: that may pass while the transaction and the chain stay as they are.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Known
                | Self::Conflict { .. }
                | Self::LowFee { .. }
                | Self::ClusterFull
                | Self::Full
                | Self::ShareSpent
        )
    }
}

/// Which rule of replacement a transaction breaks (`docs/mempool.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplacementError {
    /// Rule R1.
    #[error("what returns from a block or a file replaces nothing")]
    NotAllowed,
    /// Rule R2.
    #[error("what replaces {0} cannot spend from it")]
    SpendsReplaced(TxId),
    /// Rule R3.
    #[error("at most {MAX_REPLACED} transactions may be replaced at once")]
    TooMany,
    /// Rule R4.
    #[error(
        "to replace what is there, a fee of {needed} CRN is needed (all fees that are lost, and the relay fee), \
         not {fee} CRN"
    )]
    LowFee {
        /// What it pays.
        fee: Amount,
        /// What it must pay.
        needed: Amount,
    },
    /// Rule R5.
    #[error("to replace what is there it must pay more for its bytes, so that no miner earns less")]
    NotBetter,
}
