//! What several nodes say, asked and compared.

use chain::{
    hash::{BlockHash, TxId},
    height::Height,
};
use rpc::{
    client::{Client, ClientError},
    types::{ChainTip, OneOf, TransactionInfo},
};

use crate::wait::{require, until};

/// An error as a wait shows it: a node that does not answer yet is waited for.
///
/// # Errors
/// The call's own.
pub fn answer<T>(result: Result<T, ClientError>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// The ids in a node's mempool.
///
/// # Errors
/// Where the node does not answer.
pub fn mempool(node: &Client) -> Result<Vec<TxId>, String> {
    match answer(node.getrawmempool(None, None))? {
        OneOf::Short(ids) => Ok(ids),
        OneOf::Long(_) => Err("a list was asked for, an object came".into()),
    }
}

/// A transaction as a node knows it.
///
/// # Errors
/// Where the node does not know it or does not answer.
pub fn transaction(node: &Client, txid: TxId) -> Result<TransactionInfo, String> {
    match answer(node.getrawtransaction(txid, Some(rpc::methods::Verbosity(1)), None))? {
        OneOf::Long(info) => Ok(info),
        OneOf::Short(_) => Err("an object was asked for, a string came".into()),
    }
}

/// The block of the active chain that holds a transaction.
///
/// # Errors
/// Where it is in none, or the node does not answer.
pub fn block_of(node: &Client, txid: TxId) -> Result<BlockHash, String> {
    let info = transaction(node, txid)?;
    info.blockhash.ok_or_else(|| format!("{txid} is in no block yet"))
}

/// The branches of a node's tree of blocks.
///
/// # Panics
/// Where the node does not answer.
#[must_use]
#[track_caller]
pub fn tips(node: &Client) -> Vec<ChainTip> {
    node.getchaintips().expect("the node answers")
}

/// Waits until each node's mempool holds a transaction.
///
/// # Panics
/// Where one never does.
#[track_caller]
pub fn await_in_mempools(nodes: &[Client], txid: TxId) {
    for node in nodes {
        until(format!("{txid} is in the mempool of {}", node.url()), || {
            let ids = mempool(node)?;
            require(ids.contains(&txid), || format!("it holds {ids:?}"))
        });
    }
}

/// Waits until a transaction is in a block on each node.
///
/// # Panics
/// Where it never is.
#[track_caller]
pub fn await_mined(nodes: &[Client], txid: TxId) {
    for node in nodes {
        until(format!("{txid} is mined on {}", node.url()), || block_of(node, txid));
    }
}

/// Waits until a node's chain has this height.
///
/// # Panics
/// Where it never has.
#[track_caller]
pub fn await_height(node: &Client, height: u32) {
    until(format!("{} is at height {height}", node.url()), || {
        let now = answer(node.getblockcount())?;
        require(now >= Height::new(height), || format!("it is at {now}"))
    });
}

/// Waits until a node has this many connections.
///
/// # Panics
/// Where it never has.
#[track_caller]
pub fn await_connections(node: &Client, connections: u64) {
    until(format!("{} has {connections} connections", node.url()), || {
        let now = answer(node.getconnectioncount())?;
        require(now >= connections, || format!("it has {now}"))
    });
}

/// Waits until all nodes, which may go on mining, name the same tip; that tip.
///
/// # Panics
/// Where they never do.
#[track_caller]
pub fn await_agreement(nodes: &[Client]) -> BlockHash {
    until("all nodes have one tip", || {
        let tips = nodes.iter().map(|node| answer(node.getbestblockhash())).collect::<Result<Vec<_>, _>>()?;
        let first = *tips.first().ok_or("there are no nodes")?;
        require(tips.iter().all(|tip| *tip == first), || format!("their tips are {tips:?}"))?;
        Ok(first)
    })
}

/// Waits until all nodes name the same tip, and holds that then their UTXO sets are the same.
///
/// # Panics
/// Where they never do, or their UTXO sets differ at the same tip.
#[track_caller]
pub fn await_same_coins(nodes: &[Client]) {
    let sets = until("all nodes count their coins at one tip", || {
        let sets = nodes.iter().map(|node| answer(node.gettxoutsetinfo())).collect::<Result<Vec<_>, _>>()?;
        let first = sets.first().ok_or("there are no nodes")?.bestblock;
        let tips: Vec<_> = sets.iter().map(|set| set.bestblock).collect();
        require(tips.iter().all(|tip| *tip == first), || format!("their tips are {tips:?}"))?;
        Ok(sets)
    });
    for set in &sets {
        assert_eq!(set.hash_serialized, sets[0].hash_serialized, "one tip, two sets of coins: {sets:?}");
        assert_eq!(set.txouts, sets[0].txouts);
        assert_eq!(set.total_amount, sets[0].total_amount);
    }
}
