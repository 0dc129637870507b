//! Refusals in Bitcoin Core's words, where the rule exists there, for programs that know them.

use chain::{
    error::{BlockError, BodyError, HeaderError, SpendError, SubmitError, TransactionError},
    transaction::OutPoint,
};
use rpc::backend::{BlockVerdict, Rejection, RejectionKind};

use crate::engine::mempool::AcceptError;

const fn of_transaction(error: &TransactionError) -> &'static str {
    match error {
        TransactionError::NoInputs => "bad-txns-vin-empty",
        TransactionError::NoOutputs => "bad-txns-vout-empty",
        TransactionError::DuplicateInput(_) => "bad-txns-inputs-duplicate",
        TransactionError::WitnessCount { .. } => "bad-witness-count",
        TransactionError::ZeroOutput(_) => "bad-txns-vout-zero",
        TransactionError::DataWithAmount(_) => "bad-data-amount",
        TransactionError::ManyDataOutputs => "multi-op-return",
        TransactionError::LongData(_) => "bad-data-length",
        TransactionError::AboveSupply(_) => "bad-txns-txouttotal-toolarge",
        TransactionError::SixtyFourBytes => "bad-txns-size-64",
        TransactionError::TooLarge { .. } => "bad-txns-oversize",
        TransactionError::Policy { .. } => "bad-witness",
    }
}

const fn of_spend(error: &SpendError) -> &'static str {
    match error {
        SpendError::MissingCoin { .. } => "bad-txns-inputs-missingorspent",
        SpendError::Immature { .. } => "bad-txns-premature-spend-of-coinbase",
        SpendError::Overspent { .. } => "bad-txns-in-belowout",
        SpendError::AboveSupply => "bad-txns-inputvalues-outofrange",
        SpendError::WrongPolicy { .. } => "bad-witness-program",
        SpendError::BeforeHeight { .. } | SpendError::BeforeTime { .. } | SpendError::TooYoung { .. } => {
            "non-final"
        }
        SpendError::BadSignature { .. } => "bad-signature",
    }
}

const fn of_block(error: &BlockError) -> &'static str {
    match error {
        BlockError::TooLarge { .. } => "bad-blk-length",
        BlockError::ManySignatures { .. } => "bad-blk-sigops",
        BlockError::CoinbaseHeight { .. } => "bad-cb-height",
        BlockError::CoinbaseData(_) => "bad-cb-data",
        BlockError::CoinbaseZero(_) => "bad-cb-zero",
        BlockError::CoinbaseClaim { .. } => "bad-cb-amount",
        BlockError::ExistingCoin(_) => "bad-txns-BIP30",
        BlockError::Transaction { error, .. } => of_transaction(error),
        BlockError::Spend { error, .. } => of_spend(error),
    }
}

const fn of_header(error: &HeaderError) -> &'static str {
    match error {
        HeaderError::InsufficientWork { .. } => "high-hash",
        HeaderError::MalformedBits(_) | HeaderError::WrongBits { .. } => "bad-diffbits",
        HeaderError::WorkOverflow => "bad-work",
        HeaderError::TooOld { .. } => "time-too-old",
        HeaderError::HeightOverflow(_) => "bad-height",
        HeaderError::InvalidParent(_) => "bad-prevblk",
    }
}

/// What a miner hears of a block that was refused when it was to be connected.
pub(super) fn refused(error: &BlockError) -> BlockVerdict {
    BlockVerdict::Rejected(of_block(error).into())
}

/// What a miner hears of a block that the ledger did not keep; a storage failure is no verdict.
pub(super) fn not_taken(error: &SubmitError) -> Option<BlockVerdict> {
    Some(match error {
        SubmitError::Duplicate => BlockVerdict::Duplicate,
        SubmitError::KnownInvalid(_) => BlockVerdict::DuplicateInvalid,
        SubmitError::UnknownParent(_) => BlockVerdict::Inconclusive,
        SubmitError::TooEarly { .. } => BlockVerdict::Rejected("time-too-new".into()),
        SubmitError::WrongBody(BodyError::WrongRoot { .. }) => {
            BlockVerdict::Rejected("bad-txnmrklroot".into())
        }
        SubmitError::WrongBody(BodyError::Mutated) => BlockVerdict::Rejected("bad-txns-duplicate".into()),
        SubmitError::WrongBody(BodyError::SixtyFourBytes(_)) => {
            BlockVerdict::Rejected("bad-txns-size-64".into())
        }
        SubmitError::Header(error) => BlockVerdict::Rejected(of_header(error).into()),
        SubmitError::Invalid(error) => refused(error),
        SubmitError::Storage(_) => return None,
    })
}

/// Why a transaction was not accepted, with the code's kind; a storage failure is no verdict.
pub(super) fn rejection(error: &AcceptError) -> Option<Rejection> {
    let (kind, reason) = match error {
        AcceptError::Invalid(error) => (RejectionKind::Refused, of_transaction(error)),
        AcceptError::Spend(error @ SpendError::MissingCoin { .. }) => {
            (RejectionKind::MissingInputs, of_spend(error))
        }
        AcceptError::Spend(error) => (RejectionKind::Refused, of_spend(error)),
        AcceptError::Known => (RejectionKind::AlreadyKnown, "txn-already-in-mempool"),
        AcceptError::Conflict { .. } => (RejectionKind::Refused, "txn-mempool-conflict"),
        AcceptError::Dust { .. } => (RejectionKind::Refused, "dust"),
        AcceptError::Unminable { .. } => (RejectionKind::Refused, "tx-size"),
        AcceptError::LowFee { .. } => (RejectionKind::Refused, "min relay fee not met"),
        AcceptError::ClusterFull => (RejectionKind::Refused, "too-large-cluster"),
        AcceptError::Full => (RejectionKind::Refused, "mempool full"),
        AcceptError::RefusedBefore => (RejectionKind::Refused, "refused-before"),
        AcceptError::ShareSpent => (RejectionKind::Refused, "share-spent"),
        AcceptError::Storage(_) => return None,
    };
    Some(Rejection { kind, reason: reason.into(), details: error.to_string() })
}

/// The transaction is mined already.
pub(super) fn already_mined(height: chain::height::Height) -> Rejection {
    Rejection {
        kind: RejectionKind::AlreadyKnown,
        reason: "txn-already-known".into(),
        details: format!("the transaction is in the block at height {height} already"),
    }
}

/// A coin that is gone was spent by a transaction that is known.
pub(super) fn spent_by(outpoint: &OutPoint, by: &chain::hash::TxId) -> Rejection {
    Rejection {
        kind: RejectionKind::MissingInputs,
        reason: "bad-txns-inputs-missingorspent".into(),
        details: format!(
            "{outpoint} is already spent by {by}, which is in a block; it can be spent only once"
        ),
    }
}

/// Blocks on demand carry times above the median of those before them, and may run ahead of the clock only so far.
pub(super) fn ahead_of_the_clock(error: &impl std::fmt::Display) -> Rejection {
    Rejection {
        kind: RejectionKind::Refused,
        reason: "time-too-new".into(),
        details: format!(
            "{error}; blocks were made faster than the clock goes: wait a little and ask again, or use a chain \
             with --half-life 0"
        ),
    }
}
