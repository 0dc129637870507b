//! The mempool.

use std::collections::BTreeMap;

use chain::{amount::Amount, hash::TxId};

use crate::{
    backend::{Backend, Chunk, Departure, MempoolEntry, View},
    error::RpcError,
    types::*,
};

/// The bytes for which fee rates are given.
const RATE_BYTES: u128 = 1_000;

pub(super) async fn getmempoolinfo<B: Backend>(backend: &B) -> Result<MempoolInfo, RpcError> {
    let state = backend.read(|view| view.mempool()).await?;
    Ok(MempoolInfo {
        loaded: state.loaded,
        size: state.count,
        bytes: state.bytes,
        usage: state.memory_bytes,
        total_fee: Coins(state.total_fee),
        maxmempool: state.max_memory_bytes,
        mempoolminfee: Coins(state.min_fee_rate),
        minrelaytxfee: Coins(state.min_relay_fee_rate),
        incrementalrelayfee: Coins(state.incremental_fee_rate),
        fullrbf: true,
        limitclustercount: state.max_cluster_count,
        limitclustersize: state.max_cluster_bytes,
    })
}

/// What some transactions pay per 1,000 bytes, rounded down.
fn rate(chunk: &Chunk) -> Amount {
    let fees = u128::from(chunk.fees.pebbles()) * RATE_BYTES;
    let rate = fees.checked_div(u128::from(chunk.bytes)).unwrap_or(0);
    // Fees are below 2^63 and no transaction is that small.
    Amount::from_pebbles(u64::try_from(rate).unwrap_or(u64::MAX))
}

fn to_json(entry: MempoolEntry) -> MempoolEntryInfo {
    MempoolEntryInfo {
        vsize: entry.size,
        time: entry.time,
        height: entry.height,
        wtxid: entry.witness_txid,
        descendantcount: entry.descendants.count,
        descendantsize: entry.descendants.bytes,
        ancestorcount: entry.ancestors.count,
        ancestorsize: entry.ancestors.bytes,
        chunksize: entry.chunk.bytes,
        chunkfeerate: Coins(rate(&entry.chunk)),
        fees: EntryFees {
            base: Coins(entry.fee),
            ancestor: Coins(entry.ancestors.fees),
            descendant: Coins(entry.descendants.fees),
            chunk: Coins(entry.chunk.fees),
        },
        depends: entry.depends,
        spentby: entry.spent_by,
    }
}

/// Transactions as `verbose` wants them.
fn list(entries: Vec<MempoolEntry>, verbose: bool) -> OneOf<Vec<TxId>, BTreeMap<TxId, MempoolEntryInfo>> {
    if verbose {
        OneOf::Long(entries.into_iter().map(|entry| (entry.txid, to_json(entry))).collect())
    } else {
        OneOf::Short(entries.into_iter().map(|entry| entry.txid).collect())
    }
}

pub(super) async fn getrawmempool<B: Backend>(
    backend: &B,
    verbose: Option<bool>,
    mempool_sequence: Option<bool>,
) -> Result<OneOf<Vec<TxId>, BTreeMap<TxId, MempoolEntryInfo>>, RpcError> {
    if mempool_sequence == Some(true) {
        return Err(RpcError::invalid_parameter("mempool_sequence is not supported; leave it out"));
    }
    if !verbose.unwrap_or(false) {
        return Ok(OneOf::Short(backend.read(|view| view.mempool_ids()).await?));
    }
    Ok(list(backend.read(|view| view.mempool_entries()).await?, true))
}

/// The refusal for a transaction that is not in the mempool, with what became of it.
fn not_in_mempool(view: &dyn View, txid: &TxId) -> RpcError {
    RpcError::not_found(match view.departure(txid) {
        Some(why) => format!("Transaction not in mempool: {}", fate(&why)),
        None => "Transaction not in mempool; if it was mined, getrawtransaction finds it".into(),
    })
}

/// What became of a transaction, in words.
pub(super) fn fate(why: &Departure) -> String {
    match why {
        Departure::Replaced { by } => format!("it was replaced by {by}, which pays more"),
        Departure::Evicted => "it was evicted, since the mempool was full and it paid least".into(),
        Departure::Expired => "it waited too long".into(),
        Departure::Conflict { with } => format!("a block holds {with}, which spends the same coin"),
        Departure::Invalidated => "a reorganisation made it invalid".into(),
    }
}

pub(super) async fn getmempoolentry<B: Backend>(
    backend: &B,
    txid: TxId,
) -> Result<MempoolEntryInfo, RpcError> {
    let found = backend
        .read(move |view| view.mempool_entry(&txid).ok_or_else(|| not_in_mempool(view, &txid)))
        .await?;
    found.map(to_json)
}

pub(super) async fn getmempoolancestors<B: Backend>(
    backend: &B,
    txid: TxId,
    verbose: Option<bool>,
) -> Result<OneOf<Vec<TxId>, BTreeMap<TxId, MempoolEntryInfo>>, RpcError> {
    let found = backend
        .read(move |view| view.mempool_ancestors(&txid).ok_or_else(|| not_in_mempool(view, &txid)))
        .await?;
    Ok(list(found?, verbose.unwrap_or(false)))
}

pub(super) async fn getmempooldescendants<B: Backend>(
    backend: &B,
    txid: TxId,
    verbose: Option<bool>,
) -> Result<OneOf<Vec<TxId>, BTreeMap<TxId, MempoolEntryInfo>>, RpcError> {
    let found = backend
        .read(move |view| view.mempool_descendants(&txid).ok_or_else(|| not_in_mempool(view, &txid)))
        .await?;
    Ok(list(found?, verbose.unwrap_or(false)))
}

pub(super) async fn savemempool<B: Backend>(backend: &B) -> Result<SavedMempool, RpcError> {
    let path = backend.save_mempool().await?;
    Ok(SavedMempool { filename: path.display().to_string() })
}
