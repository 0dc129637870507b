//! The mempool.

use std::collections::BTreeMap;

use chain::hash::TxId;

use crate::{backend::Backend, error::RpcError, types::*};

pub(super) async fn getmempoolinfo<B: Backend>(backend: &B) -> Result<MempoolInfo, RpcError> {
    let state = backend.read(|view| view.mempool()).await?;
    Ok(MempoolInfo {
        loaded: true,
        size: state.count,
        bytes: state.bytes,
        usage: state.memory_bytes,
        total_fee: Coins(state.total_fee),
        maxmempool: state.max_memory_bytes,
        mempoolminfee: Coins(state.min_fee_rate),
        minrelaytxfee: Coins(state.min_relay_fee_rate),
        fullrbf: true,
    })
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
    let entries = backend.read(|view| view.mempool_entries()).await?;
    let mut infos: BTreeMap<TxId, MempoolEntryInfo> = BTreeMap::new();
    for entry in &entries {
        let info = MempoolEntryInfo {
            vsize: entry.size,
            time: entry.time,
            height: entry.height,
            wtxid: entry.witness_txid,
            fees: Fees { base: Coins(entry.fee) },
            depends: entry.depends.clone(),
            spentby: Vec::new(),
        };
        infos.insert(entry.txid, info);
    }
    for entry in &entries {
        for parent in &entry.depends {
            if let Some(parent) = infos.get_mut(parent) {
                parent.spentby.push(entry.txid);
            }
        }
    }
    Ok(OneOf::Long(infos))
}
