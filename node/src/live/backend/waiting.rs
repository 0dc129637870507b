//! The mempool as its RPC shows it: each transaction with its relatives.

use std::{iter, sync::Arc};

use chain::{amount::Amount, hash::TxId, time::Time};
use rpc::backend::{Chunk, Departure, Kin, MempoolEntry, MempoolState};

use crate::engine::mempool::{
    self, Entry, MAX_CLUSTER_BYTES, MAX_CLUSTER_COUNT, MIN_RELAY_FEE_RATE, Mempool,
};

/// A transaction with its relatives, added up.
fn kin<'a>(entry: &'a Entry, relatives: impl IntoIterator<Item = &'a Entry>) -> Kin {
    let totals = Mempool::totals(relatives.into_iter().chain(iter::once(entry)));
    Kin { count: u32::try_from(totals.count).unwrap_or(u32::MAX), bytes: totals.bytes, fees: totals.fees }
}

/// What is known of one waiting transaction.
pub(super) fn show(mempool: &Mempool, entry: &Entry) -> MempoolEntry {
    let checked = entry.transaction();
    let txid = checked.txid();
    // Whatever waits stands in a chunk, alone where nothing lifts it.
    let chunk = mempool.chunk_rate(&txid).unwrap_or_default();
    MempoolEntry {
        transaction: Arc::clone(checked.transaction()),
        txid,
        witness_txid: checked.witness_txid(),
        fee: entry.fee(),
        size: checked.size(),
        time: entry.time(),
        height: entry.height(),
        depends: mempool.parents(&txid),
        spent_by: mempool.children(&txid),
        ancestors: kin(entry, mempool.ancestors(&txid)),
        descendants: kin(entry, mempool.descendants(&txid)),
        chunk: Chunk { bytes: u64::from(chunk.bytes), fees: Amount::from_pebbles(chunk.fee) },
    }
}

/// All that a waiting transaction depends on, without itself.
pub(super) fn ancestors(mempool: &Mempool, txid: &TxId) -> Option<Vec<MempoolEntry>> {
    mempool.get(txid)?;
    Some(mempool.ancestors(txid).into_iter().map(|entry| show(mempool, entry)).collect())
}

/// All that depend on a waiting transaction, without itself.
pub(super) fn descendants(mempool: &Mempool, txid: &TxId) -> Option<Vec<MempoolEntry>> {
    mempool.get(txid)?;
    Some(mempool.descendants(txid).into_iter().map(|entry| show(mempool, entry)).collect())
}

/// What became of a transaction that is not in the mempool any more.
pub(super) fn departure(mempool: &Mempool, txid: &TxId) -> Option<Departure> {
    Some(match mempool.departed(txid)?.why {
        mempool::Departure::Replaced { by } => Departure::Replaced { by },
        mempool::Departure::Evicted => Departure::Evicted,
        mempool::Departure::Expired => Departure::Expired,
        mempool::Departure::Conflict { with, .. } => Departure::Conflict { with },
        mempool::Departure::Invalidated => Departure::Invalidated,
    })
}

/// The mempool as a whole; `loaded` says whether all is back that its file held.
pub(super) fn state(mempool: &Mempool, loaded: bool, now: Time) -> MempoolState {
    MempoolState {
        count: mempool.len() as u64,
        bytes: mempool.bytes(),
        memory_bytes: mempool.memory_bytes(),
        max_memory_bytes: mempool.max_memory_bytes(),
        total_fee: mempool.fees(),
        loaded,
        min_fee_rate: Amount::from_pebbles(mempool.min_fee_rate(now)),
        min_relay_fee_rate: Amount::from_pebbles(MIN_RELAY_FEE_RATE),
        // Rule R4: what replaces pays the relay fee on top of the fees that are lost.
        incremental_fee_rate: Amount::from_pebbles(MIN_RELAY_FEE_RATE),
        max_cluster_count: u32::try_from(MAX_CLUSTER_COUNT).unwrap_or(u32::MAX),
        max_cluster_bytes: u64::from(MAX_CLUSTER_BYTES),
    }
}
