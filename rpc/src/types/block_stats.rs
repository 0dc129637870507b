//! JSON of `getblockstats`.

use chain::{hash::BlockHash, height::Height, time::Time};
use serde::{Deserialize, Serialize};

/// `getblockstats`: Bitcoin Core's names. A figure that was not asked for is left out. Amounts are in pebbles,
/// fee rates in pebbles a byte, rounded down; fees, sizes and rates are of all transactions but the coinbase.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockStats {
    /// The mean fee.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avgfee: Option<u64>,
    /// All fees by all bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avgfeerate: Option<u64>,
    /// The mean size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avgtxsize: Option<u64>,
    /// The block's hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blockhash: Option<BlockHash>,
    /// The fee rates at the 10th, 25th, 50th, 75th and 90th percentile of the bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feerate_percentiles: Option<[u64; 5]>,
    /// The height.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<Height>,
    /// The number of inputs, the coinbase's not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ins: Option<u64>,
    /// The highest fee.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxfee: Option<u64>,
    /// The highest fee rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxfeerate: Option<u64>,
    /// The largest size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxtxsize: Option<u64>,
    /// The median fee.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medianfee: Option<u64>,
    /// The median time past of the block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mediantime: Option<Time>,
    /// The median size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mediantxsize: Option<u64>,
    /// The lowest fee.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minfee: Option<u64>,
    /// The lowest fee rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minfeerate: Option<u64>,
    /// The smallest size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mintxsize: Option<u64>,
    /// The number of outputs, the coinbase's too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outs: Option<u64>,
    /// The block's subsidy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subsidy: Option<u64>,
    /// The block's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// The sum of all outputs but the coinbase's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_out: Option<u64>,
    /// The bytes of all transactions but the coinbase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_size: Option<u64>,
    /// The sum of all fees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totalfee: Option<u64>,
    /// The number of transactions, the coinbase included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub txs: Option<u64>,
    /// The number of outputs less that of inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utxo_increase: Option<i64>,
    /// By how many bytes all outputs are larger than the coins that were spent, each with its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utxo_size_inc: Option<i64>,
    /// As `utxo_increase`, without outputs of data, which are never coins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utxo_increase_actual: Option<i64>,
    /// As `utxo_size_inc`, without outputs of data, which are never coins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utxo_size_inc_actual: Option<i64>,
}
