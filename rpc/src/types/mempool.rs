//! JSON of the mempool.

use chain::{
    hash::{TxId, WitnessTxId},
    height::Height,
    time::Time,
};
use serde::{Deserialize, Serialize};

use super::Coins;

/// `getmempoolinfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolInfo {
    /// Whether all is back that waited when the node stopped.
    pub loaded: bool,
    /// The number of transactions.
    pub size: u64,
    /// The sum of their bytes.
    pub bytes: u64,
    /// The memory that they use, in bytes.
    pub usage: u64,
    /// The sum of their fees.
    pub total_fee: Coins,
    /// The memory that they may use, in bytes.
    pub maxmempool: u64,
    /// The least fee per 1,000 bytes that is accepted now.
    pub mempoolminfee: Coins,
    /// The least fee per 1,000 bytes that is ever relayed.
    pub minrelaytxfee: Coins,
    /// By how much per 1,000 bytes a payment must pay more than those that it replaces.
    pub incrementalrelayfee: Coins,
    /// Always true: a payment may be replaced by one that pays more.
    pub fullrbf: bool,
    /// The most transactions of one cluster: a set of those that depend on one another.
    pub limitclustercount: u32,
    /// The most bytes of one cluster.
    pub limitclustersize: u64,
}

/// `savemempool`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMempool {
    /// The path of the mempool's file.
    pub filename: String,
}

/// The fees of a transaction, of its relatives and of its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryFees {
    /// What the transaction itself pays.
    pub base: Coins,
    /// What it and all that it depends on pay.
    pub ancestor: Coins,
    /// What it and all that depend on it pay.
    pub descendant: Coins,
    /// What its chunk pays.
    pub chunk: Coins,
}

/// The fees of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fees {
    /// What the transaction itself pays.
    pub base: Coins,
}

/// One transaction of the mempool: `getmempoolentry`, and the others with `verbose`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolEntryInfo {
    /// The bytes; witnesses have no discount here.
    pub vsize: u32,
    /// When it arrived.
    pub time: Time,
    /// The height of the tip when it arrived.
    pub height: Height,
    /// The id over its witnesses too.
    pub wtxid: WitnessTxId,
    /// The number of transactions that depend on it, itself included.
    pub descendantcount: u32,
    /// The sum of their bytes.
    pub descendantsize: u64,
    /// The number of transactions that it depends on, itself included.
    pub ancestorcount: u32,
    /// The sum of their bytes.
    pub ancestorsize: u64,
    /// The bytes of its chunk: the transactions with which it is mined, or evicted, together.
    pub chunksize: u64,
    /// What its chunk pays per 1,000 bytes, rounded down: the rate by which it is ordered among all.
    pub chunkfeerate: Coins,
    /// Its fees.
    pub fees: EntryFees,
    /// Transactions of the mempool whose outputs it spends.
    pub depends: Vec<TxId>,
    /// Transactions of the mempool that spend its outputs.
    pub spentby: Vec<TxId>,
}

/// One verdict of `testmempoolaccept`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestedTransaction {
    /// The id.
    pub txid: TxId,
    /// The id over the witnesses too.
    pub wtxid: WitnessTxId,
    /// Whether the mempool would accept it.
    pub allowed: bool,
    /// Its bytes, when allowed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vsize: Option<u32>,
    /// Its fees, when allowed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fees: Option<Fees>,
    /// The short reason, when not allowed.
    #[serde(rename = "reject-reason", skip_serializing_if = "Option::is_none", default)]
    pub reject_reason: Option<String>,
    /// A sentence, when not allowed.
    #[serde(rename = "reject-details", skip_serializing_if = "Option::is_none", default)]
    pub reject_details: Option<String>,
}
