//! Why a transaction is not taken.

use chain::{
    amount::Amount,
    error::{SpendError, TransactionError},
    hash::TxId,
    store::StoreError,
    transaction::OutPoint,
};
use thiserror::Error;

use super::MAX_ANCESTORS;

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
    /// Another transaction that waits here spends the same coin.
    #[error("{outpoint} is already spent by {by}, which is in the mempool; it can be spent only once")]
    Conflict {
        /// The coin.
        outpoint: OutPoint,
        /// Who spends it.
        by: TxId,
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
    /// Its fee is too low to be relayed.
    #[error("the fee of {fee} CRN is below {needed} CRN, the least for {bytes} bytes")]
    LowFee {
        /// What it pays.
        fee: Amount,
        /// What it must pay.
        needed: Amount,
        /// Its size.
        bytes: u32,
    },
    /// It stands on too many transactions that are not mined yet.
    #[error("more than {MAX_ANCESTORS} unconfirmed transactions lie below this one; wait for a block")]
    LongChain,
    /// The mempool is full of better ones.
    #[error("the mempool is full and all that is in it pays a higher fee rate; pay more or wait")]
    Full,
    /// Reading the coins failed: the node must stop.
    #[error(transparent)]
    Storage(#[from] StoreError),
}
