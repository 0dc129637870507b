//! JSON of blocks and of the chain.

use chain::{
    hash::{BlockHash, MerkleRoot, TxId},
    height::Height,
    pow::{CompactTarget, Target, Work},
    time::Time,
};
use serde::{Deserialize, Serialize};

use super::{Coins, OneOf, TransactionInfo};

/// Bitcoin's difficulty of `bits`: how many times harder than Bitcoin's easiest target, as Bitcoin Core
/// computes it (`GetDifficulty`). The only float among the answers about the chain: it is for reading.
#[must_use]
pub fn difficulty(bits: CompactTarget) -> f64 {
    /// The exponent and the mantissa of difficulty 1 (`1d00ffff`).
    const ONE_EXPONENT: i32 = 0x1d;
    const ONE_MANTISSA: u32 = 0xffff;
    let [exponent, mantissa @ ..] = bits.to_u32().to_be_bytes();
    let mantissa = u32::from_be_bytes([0, mantissa[0], mantissa[1], mantissa[2]]);
    f64::from(ONE_MANTISSA) / f64::from(mantissa) * 256_f64.powi(ONE_EXPONENT - i32::from(exponent))
}

/// `getblockchaininfo`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockchainInfo {
    /// The chain's name.
    pub chain: String,
    /// The height of the tip.
    pub blocks: Height,
    /// The height of the best header.
    pub headers: Height,
    /// The hash of the tip.
    pub bestblockhash: BlockHash,
    /// The tip's compact target.
    pub bits: CompactTarget,
    /// The tip's target.
    pub target: Target,
    /// The tip's difficulty.
    pub difficulty: f64,
    /// The tip's time.
    pub time: Time,
    /// The median time past of the tip.
    pub mediantime: Time,
    /// The part of the chain that is validated, from 0 to 1.
    pub verificationprogress: f64,
    /// Whether the node is still catching up.
    pub initialblockdownload: bool,
    /// The work of the active chain.
    pub chainwork: Work,
    /// Bytes on the disk.
    pub size_on_disk: u64,
    /// Always false: all blocks are kept.
    pub pruned: bool,
    /// The hash of the genesis block, which is the chain's id and part of every signature.
    pub genesishash: BlockHash,
    /// The prefix of the chain's addresses.
    pub addressprefix: String,
    /// After how many blocks a coinbase can be spent.
    pub maturity: u32,
    /// The intended seconds between blocks.
    pub spacing: u32,
    /// What an operator should know; empty when all is well.
    pub warnings: Vec<String>,
}

/// `getblockheader` with `verbose`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeaderInfo {
    /// The header's hash.
    pub hash: BlockHash,
    /// 1 for the tip, -1 outside the active chain.
    pub confirmations: i64,
    /// The height.
    pub height: Height,
    /// The version.
    pub version: i32,
    /// The version as 8 hexadecimal digits.
    #[serde(rename = "versionHex")]
    pub version_hex: String,
    /// The Merkle root.
    pub merkleroot: MerkleRoot,
    /// The time.
    pub time: Time,
    /// The median time past.
    pub mediantime: Time,
    /// The nonce.
    pub nonce: u32,
    /// The compact target.
    pub bits: CompactTarget,
    /// The target; left out when the bits mean none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<Target>,
    /// The difficulty.
    pub difficulty: f64,
    /// The work up to and including this block.
    pub chainwork: Work,
    /// The number of transactions; left out when the body is not known.
    #[serde(rename = "nTx", skip_serializing_if = "Option::is_none", default)]
    pub transactions: Option<u32>,
    /// The previous block; left out for the genesis block.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previousblockhash: Option<BlockHash>,
    /// The next block of the active chain; left out for the tip and outside the active chain.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nextblockhash: Option<BlockHash>,
}

/// `getblock` with verbosity 1 (ids) or 2 (whole transactions).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockInfo {
    /// The block's hash.
    pub hash: BlockHash,
    /// 1 for the tip, -1 outside the active chain.
    pub confirmations: i64,
    /// The height.
    pub height: Height,
    /// The version.
    pub version: i32,
    /// The version as 8 hexadecimal digits.
    #[serde(rename = "versionHex")]
    pub version_hex: String,
    /// The Merkle root.
    pub merkleroot: MerkleRoot,
    /// The time.
    pub time: Time,
    /// The median time past.
    pub mediantime: Time,
    /// The nonce.
    pub nonce: u32,
    /// The compact target.
    pub bits: CompactTarget,
    /// The target.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<Target>,
    /// The difficulty.
    pub difficulty: f64,
    /// The work up to and including this block.
    pub chainwork: Work,
    /// The number of transactions, the coinbase included.
    #[serde(rename = "nTx")]
    pub transactions: u64,
    /// The previous block; left out for the genesis block.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previousblockhash: Option<BlockHash>,
    /// The next block of the active chain.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nextblockhash: Option<BlockHash>,
    /// The bytes of the block as the chain's limit counts them.
    pub size: u64,
    /// The ids, or the transactions, the coinbase first.
    pub tx: Vec<OneOf<TxId, TransactionInfo>>,
}

/// One entry of `getchaintips`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainTip {
    /// The height of the branch's end.
    pub height: Height,
    /// Its hash.
    pub hash: BlockHash,
    /// The blocks of the branch that are not in the active chain; 0 for the active tip.
    pub branchlen: u32,
    /// `active`, `valid-fork`, `valid-headers`, `headers-only` or `invalid`.
    pub status: String,
}

/// `gettxoutsetinfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoinSetInfo {
    /// The height of the tip.
    pub height: Height,
    /// The tip.
    pub bestblock: BlockHash,
    /// The number of coins.
    pub txouts: u64,
    /// A hash over all coins, in hexadecimal, by which two nodes compare.
    pub hash_serialized: String,
    /// The bytes that the coins occupy on the disk.
    pub disk_size: u64,
    /// The sum of all coins.
    pub total_amount: Coins,
    /// The sum of the subsidies of all blocks up to this height: the most that can exist.
    pub total_issued: Coins,
    /// What of that no coin holds and none ever will, since miners did not claim it.
    pub total_unspendable_amount: Coins,
    /// Whether the coins are worth at most what was issued. It is never false unless something is broken.
    pub supply_ok: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difficulty_is_bitcoins() {
        // Bitcoin's genesis, block 32256, and a value from Bitcoin Core's `blockchain_tests.cpp`.
        for (bits, expected) in [
            (0x1d00_ffff, 1.0),
            (0x1d00_d86a, 1.182_899_534_312_841_5),
            (0x1cf8_8f6f, 1.029_916),
            (0x1df8_8f6f, 0.004_023),
            (0x1234_5678, 5_913_134_931_067_755_359_633_408.0),
        ] {
            let found = difficulty(CompactTarget::from_u32(bits));
            assert!(((found - expected) / expected).abs() < 1e-4, "{bits:x}: {found} is not {expected}");
        }
    }
}
