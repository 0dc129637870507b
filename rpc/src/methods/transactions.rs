//! Transactions: found, sent, tested.

use std::sync::Arc;

use chain::{
    amount::Amount,
    block::Block,
    encode::MAX_BLOCK_BYTES,
    hash::{BlockHash, TxId},
    transaction::Transaction,
};

use super::{
    RawTransactions, Verbosity,
    blockchain::{HeaderInContext, block_not_found, body_not_found},
    mempool::fate,
    parse_hex,
};
use crate::{
    backend::{Backend, BlockStatus, Departure, IndexView, TransactionPlace, View},
    error::{RpcError, code},
    types::*,
};

/// The fee per 1,000 bytes above which a transaction is refused unless `maxfeerate` says otherwise:
/// 0.10 CRN, Bitcoin Core's `DEFAULT_MAX_RAW_TX_FEE_RATE`.
pub const DEFAULT_MAX_FEE_RATE: Amount = Amount::from_pebbles(10_000_000);

/// A transaction that was found, and where.
struct Found {
    body: Body,
    block: Option<HeaderInContext>,
}

/// Shared with whoever else has it, so that nothing is copied on the engine's time.
enum Body {
    Payment(Arc<Transaction>),
    /// The coinbase of this block.
    Coinbase(Arc<Block>),
}

impl Body {
    /// The transaction at a position of a block; 0 is the coinbase.
    fn of_block(block: Arc<Block>, position: usize) -> Result<Self, RpcError> {
        match position.checked_sub(1) {
            None => Ok(Self::Coinbase(block)),
            Some(index) => match block.transactions.get(index) {
                Some(transaction) => Ok(Self::Payment(Arc::clone(transaction))),
                None => Err(missing(&Missing::Everywhere)),
            },
        }
    }
}

/// Why a transaction was not found in a block that was named.
enum Missing {
    Everywhere,
    InThatBlock,
    Departed(Departure),
}

fn missing(missing: &Missing) -> RpcError {
    RpcError::not_found(match missing {
        Missing::Everywhere => {
            "No such mempool or blockchain transaction; a transaction that is only on a side branch is found with blockhash".into()
        }
        Missing::InThatBlock => "No such transaction found in the provided block".into(),
        Missing::Departed(why) => format!("No such mempool or blockchain transaction: {}", fate(why)),
    })
}

/// Searches one block, on whatever branch.
fn find_in_block(view: &dyn View, txid: &TxId, hash: &BlockHash) -> Result<Found, RpcError> {
    let context = HeaderInContext::find(view, hash).ok_or_else(block_not_found)?;
    let block = view.block(hash)?.ok_or_else(body_not_found)?;
    let position = if block.coinbase.txid() == *txid {
        Some(0)
    } else {
        block.transactions.iter().position(|transaction| transaction.txid() == *txid).map(|index| index + 1)
    };
    let position = position.ok_or_else(|| missing(&Missing::InThatBlock))?;
    Ok(Found { body: Body::of_block(block, position)?, block: Some(context) })
}

/// Searches the mempool and the active chain.
fn find(view: &dyn View, index: &dyn IndexView, txid: &TxId) -> Result<Found, RpcError> {
    let lost = || view.departure(txid).map_or(Missing::Everywhere, Missing::Departed);
    match index.transaction(txid)?.ok_or_else(|| missing(&lost()))? {
        TransactionPlace::Mempool(transaction) => Ok(Found { body: Body::Payment(transaction), block: None }),
        TransactionPlace::Block { block, id, position } => {
            let context = HeaderInContext::find(view, &id.hash).ok_or_else(block_not_found)?;
            Ok(Found { body: Body::of_block(block, position)?, block: Some(context) })
        }
    }
}

pub(super) async fn getrawtransaction<B: Backend>(
    backend: &B,
    txid: TxId,
    verbosity: Option<Verbosity>,
    blockhash: Option<BlockHash>,
) -> Result<OneOf<String, TransactionInfo>, RpcError> {
    // What waits, and what a block is named for, is found without the index.
    let found = if let Some(hash) = blockhash {
        backend.read(move |view| find_in_block(view, &txid, &hash)).await??
    } else if let Some(transaction) = backend.read(move |view| view.mempool_transaction(&txid)).await? {
        Found { body: Body::Payment(transaction), block: None }
    } else {
        backend.read_indexed(move |view, index| find(view, index, &txid)).await??
    };
    let chain = backend.chain();
    let mut info = match &found.body {
        Body::Payment(transaction) => TransactionInfo::new(transaction, chain),
        Body::Coinbase(block) => TransactionInfo::of_coinbase(&block.coinbase, chain),
    };
    if verbosity.unwrap_or(Verbosity(0)).0 == 0 {
        return Ok(OneOf::Short(info.hex));
    }
    if let Some(context) = found.block {
        let time = Some(context.entry.header.time);
        let active = context.entry.status == BlockStatus::Active;
        info.in_active_chain = blockhash.map(|_| active);
        info.blockhash = Some(context.entry.id.hash);
        // Unlike a block's, a transaction's count is 0 outside the active chain in Bitcoin Core.
        info.confirmations = Some(context.confirmations().max(0));
        (info.time, info.blocktime) = (time, time);
    }
    Ok(OneOf::Long(info))
}

fn decode(hexstring: &str) -> Result<Transaction, RpcError> {
    let bytes = parse_hex(hexstring, "TX")?;
    if bytes.len() as u64 > u64::from(MAX_BLOCK_BYTES) {
        return Err(RpcError::new(code::DESERIALIZATION, "TX decode failed: larger than any block"));
    }
    Transaction::from_bytes(&bytes)
        .map_err(|error| RpcError::new(code::DESERIALIZATION, format!("TX decode failed: {error}")))
}

/// The sender's limit: none for 0, as in Bitcoin Core.
fn fee_limit(maxfeerate: Option<Coins>) -> Option<Amount> {
    Some(maxfeerate.map_or(DEFAULT_MAX_FEE_RATE, |rate| rate.0)).filter(|rate| *rate != Amount::ZERO)
}

pub(super) async fn sendrawtransaction<B: Backend>(
    backend: &B,
    hexstring: String,
    maxfeerate: Option<Coins>,
) -> Result<TxId, RpcError> {
    Ok(backend.submit_transaction(decode(&hexstring)?, fee_limit(maxfeerate)).await?)
}

pub(super) async fn testmempoolaccept<B: Backend>(
    backend: &B,
    rawtxs: RawTransactions,
    maxfeerate: Option<Coins>,
) -> Result<Vec<TestedTransaction>, RpcError> {
    let transactions = rawtxs.0.iter().map(|raw| decode(raw)).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<_> =
        transactions.iter().map(|transaction| (transaction.txid(), transaction.witness_txid())).collect();
    let verdicts = backend.test_transactions(transactions, fee_limit(maxfeerate)).await?;
    let answers = ids.into_iter().zip(verdicts).map(|((txid, wtxid), verdict)| match verdict {
        Ok(accepted) => TestedTransaction {
            txid,
            wtxid,
            allowed: true,
            vsize: Some(accepted.size),
            fees: Some(Fees { base: Coins(accepted.fee) }),
            reject_reason: None,
            reject_details: None,
        },
        Err(rejection) => TestedTransaction {
            txid,
            wtxid,
            allowed: false,
            vsize: None,
            fees: None,
            reject_reason: Some(rejection.reason),
            reject_details: Some(rejection.details),
        },
    });
    Ok(answers.collect())
}
