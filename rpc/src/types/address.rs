//! JSON of the address index, which Bitcoin Core does not have. Every answer names the tip that it was read at.

use chain::{
    hash::{BlockHash, TxId},
    height::Height,
    time::Time,
};
use serde::{Deserialize, Serialize};

use super::Coins;

/// One coin of `getaddressutxos`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressCoinInfo {
    /// The address that it pays.
    pub address: String,
    /// The transaction that made it.
    pub txid: TxId,
    /// The index of the output.
    pub vout: u32,
    /// The amount.
    pub amount: Coins,
    /// The height of its block; left out in the mempool.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub height: Option<Height>,
    /// 1 for a coin of the tip, 0 for one of the mempool.
    pub confirmations: u32,
    /// Whether a coinbase made it.
    pub coinbase: bool,
    /// Whether it can be spent in the next block, as far as maturity goes.
    pub mature: bool,
    /// The transaction of the mempool that spends it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub spentby: Option<TxId>,
}

/// `getaddressutxos`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressCoins {
    /// The height of the tip.
    pub height: Height,
    /// The tip.
    pub bestblock: BlockHash,
    /// False when an address has more coins than one answer lists.
    pub complete: bool,
    /// The coins, address by address, the oldest first.
    pub utxos: Vec<AddressCoinInfo>,
}

/// `getaddressbalance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressBalance {
    /// The height of the tip.
    pub height: Height,
    /// The tip.
    pub bestblock: BlockHash,
    /// All confirmed coins: what the ledger says.
    pub confirmed: Coins,
    /// The part of them that no one can spend yet, being coinbases that are too young.
    pub immature: Coins,
    /// The part of them that the mempool spends.
    pub spending: Coins,
    /// Coins of the mempool.
    pub unconfirmed: Coins,
    /// Confirmed, mature and not being spent.
    pub spendable: Coins,
}

/// One entry of `getaddresshistory`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressEventInfo {
    /// The address.
    pub address: String,
    /// The transaction.
    pub txid: TxId,
    /// The height of its block; left out in the mempool.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub height: Option<Height>,
    /// Its block; left out in the mempool.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blockhash: Option<BlockHash>,
    /// 1 in the tip, 0 in the mempool.
    pub confirmations: u32,
    /// The time of the block, or of the arrival in the mempool.
    pub time: Time,
    /// Whether it is a coinbase.
    pub coinbase: bool,
    /// What it pays to the address.
    pub received: Coins,
    /// What it spends of the address's coins.
    pub sent: Coins,
}

/// `getaddresshistory`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressHistory {
    /// The height of the tip.
    pub height: Height,
    /// The tip.
    pub bestblock: BlockHash,
    /// The entries, address by address, the newest first.
    pub history: Vec<AddressEventInfo>,
}
