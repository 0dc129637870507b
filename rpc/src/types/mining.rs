//! JSON of mining: `getblocktemplate` as the public CPU miners read it (BIP-22, BIP-23), and the miner's state.

use chain::{
    hash::{BlockHash, TxId, WitnessTxId},
    height::Height,
    pow::{CompactTarget, Target},
    time::Time,
};
use serde::{Deserialize, Serialize};

/// The parameter of `getblocktemplate`. Members that are not known are ignored, as BIP-22 wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateRequest {
    /// `template` or left out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mode: Option<String>,
    /// Whom the template is to pay, instead of the node's mining address. Not in BIP-22.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<String>,
}

/// `coinbasetxn` of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateCoinbase {
    /// The coinbase in hexadecimal.
    pub data: String,
    /// Its id.
    pub txid: TxId,
    /// Its leaf in the Merkle tree, which is the same.
    pub hash: TxId,
    /// Always empty: it spends nothing.
    pub depends: Vec<u32>,
    /// Its signatures: none.
    pub sigops: u32,
}

/// One transaction of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateEntry {
    /// The transaction in hexadecimal.
    pub data: String,
    /// Its id.
    pub txid: TxId,
    /// Its leaf in the Merkle tree: SHA-256d of `data`.
    pub hash: WitnessTxId,
    /// The transactions that must come before it, counted from 1.
    pub depends: Vec<u64>,
    /// Its fee in pebbles (BIP-22: the smallest unit).
    pub fee: u64,
    /// Its signatures.
    pub sigops: u32,
}

/// `getblocktemplate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockTemplate {
    /// What the server can do beyond BIP-22's minimum: nothing yet.
    pub capabilities: Vec<String>,
    /// The version of the header.
    pub version: i32,
    /// The rules that a miner must know: none beyond Bitcoin's header and tree.
    pub rules: Vec<String>,
    /// The previous block.
    pub previousblockhash: BlockHash,
    /// The transactions after the coinbase.
    pub transactions: Vec<TemplateEntry>,
    /// The coinbase; the extranonce opens its free run.
    pub coinbasetxn: TemplateCoinbase,
    /// What the coinbase pays, in pebbles.
    pub coinbasevalue: u64,
    /// Differs from template to template.
    pub longpollid: String,
    /// The target, 64 hexadecimal digits, big-endian.
    pub target: Target,
    /// The least time.
    pub mintime: Time,
    /// What a miner may change.
    pub mutable: Vec<String>,
    /// The range of nonces.
    pub noncerange: String,
    /// The largest number of signatures in a block.
    pub sigoplimit: u32,
    /// The largest block, in bytes.
    pub sizelimit: u32,
    /// The time of the header.
    pub curtime: Time,
    /// The compact target.
    pub bits: CompactTarget,
    /// The height.
    pub height: Height,
}

/// `getmininginfo`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MiningInfo {
    /// The height of the tip.
    pub blocks: Height,
    /// The tip's compact target.
    pub bits: CompactTarget,
    /// The tip's difficulty.
    pub difficulty: f64,
    /// The tip's target.
    pub target: Target,
    /// The network's hashes a second, estimated from the last 120 blocks.
    pub networkhashps: f64,
    /// The transactions of the mempool.
    pub pooledtx: u64,
    /// The chain's name.
    pub chain: String,
    /// Whether the node mines.
    pub generate: bool,
    /// The node's own hashes a second, measured.
    pub hashespersec: f64,
    /// The threads that search.
    pub genproclimit: u32,
    /// The hash rate to which the miner is throttled; left out when it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub throttle: Option<f64>,
    /// Whom the node's blocks pay; left out when it does not mine.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<String>,
    /// What an operator should know.
    pub warnings: Vec<String>,
}
