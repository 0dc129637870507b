//! JSON of transactions and coins.

use chain::{
    address::Address,
    encode,
    genesis::Chain,
    hash::{BlockHash, TxId, WitnessTxId},
    time::Time,
    transaction::{Coinbase, Destination, Output, Transaction},
};
use serde::{Deserialize, Serialize};

use super::Coins;

/// What an output pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputTarget {
    /// The address; left out for data.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<String>,
    /// The data in hexadecimal, or the 32 bytes of the address.
    pub hex: String,
    /// `address` or `nulldata`.
    #[serde(rename = "type")]
    pub kind: String,
}

impl OutputTarget {
    fn new(to: &Destination, chain: &Chain) -> Self {
        match to {
            Destination::Address(address) => Self {
                address: Some(address.encode(&chain.params().prefix)),
                hex: const_hex::encode(address.as_bytes()),
                kind: "address".into(),
            },
            Destination::Data(data) => {
                Self { address: None, hex: const_hex::encode(data), kind: "nulldata".into() }
            }
        }
    }
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputInfo {
    /// The amount.
    pub value: Coins,
    /// The index.
    pub n: u32,
    /// What it pays.
    #[serde(rename = "scriptPubKey")]
    pub target: OutputTarget,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputInfo {
    /// The coinbase in hexadecimal; left out for other inputs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub coinbase: Option<String>,
    /// The transaction whose output is spent; left out for a coinbase.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub txid: Option<TxId>,
    /// The index of that output; left out for a coinbase.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vout: Option<u32>,
    /// The address of the policy that is revealed, that is, of whoever paid.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<String>,
    /// The policy as text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<String>,
    /// Policy and satisfaction in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub txinwitness: Option<Vec<String>>,
}

/// `getrawtransaction` with verbosity 1, and the transactions of `getblock` with verbosity 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionInfo {
    /// With the parameter `blockhash`: whether that block is in the active chain.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub in_active_chain: Option<bool>,
    /// The id.
    pub txid: TxId,
    /// The id over the witnesses too; the Merkle tree's leaf.
    pub hash: WitnessTxId,
    /// The bytes.
    pub size: u64,
    /// The bytes again: witnesses have no discount here.
    pub vsize: u64,
    /// The inputs.
    pub vin: Vec<InputInfo>,
    /// The outputs.
    pub vout: Vec<OutputInfo>,
    /// The fee, where it is known (in blocks of the active chain).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fee: Option<Coins>,
    /// The whole transaction in hexadecimal.
    pub hex: String,
    /// The block; left out in the mempool.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blockhash: Option<BlockHash>,
    /// 1 in the tip, 0 outside the active chain; left out in the mempool.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confirmations: Option<i64>,
    /// The block's time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub time: Option<Time>,
    /// The block's time again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blocktime: Option<Time>,
}

impl TransactionInfo {
    /// A transaction that is no coinbase; where it is, is left open.
    #[must_use]
    pub fn new(transaction: &Transaction, chain: &Chain) -> Self {
        let inputs = transaction.inputs.iter().zip(&transaction.witnesses);
        let vin = inputs.map(|(outpoint, witness)| InputInfo {
            coinbase: None,
            txid: Some(outpoint.txid),
            vout: Some(outpoint.index),
            address: Some(Address::of_policy(&witness.policy).encode(&chain.params().prefix)),
            policy: Some(witness.policy.to_string()),
            txinwitness: Some(vec![
                const_hex::encode(encode::to_bytes(&witness.policy)),
                const_hex::encode(encode::to_bytes(&witness.satisfaction)),
            ]),
        });
        let (txid, hash) = (transaction.txid(), transaction.witness_txid());
        Self::with(txid, hash, &transaction.to_bytes(), vin.collect(), &transaction.outputs, chain)
    }

    /// A coinbase; where it is, is left open.
    #[must_use]
    pub fn of_coinbase(coinbase: &Coinbase, chain: &Chain) -> Self {
        let bytes = coinbase.to_bytes();
        let input = InputInfo {
            coinbase: Some(const_hex::encode(&bytes)),
            txid: None,
            vout: None,
            address: None,
            policy: None,
            txinwitness: None,
        };
        let txid = coinbase.txid();
        let hash = WitnessTxId::from_bytes(txid.to_bytes());
        Self::with(txid, hash, &bytes, vec![input], &coinbase.outputs, chain)
    }

    fn with(
        txid: TxId,
        hash: WitnessTxId,
        bytes: &[u8],
        vin: Vec<InputInfo>,
        outputs: &[Output],
        chain: &Chain,
    ) -> Self {
        let size = bytes.len() as u64;
        let vout = (0..).zip(outputs).map(|(n, output)| OutputInfo {
            value: Coins(output.amount),
            n,
            target: OutputTarget::new(&output.to, chain),
        });
        Self {
            in_active_chain: None,
            txid,
            hash,
            size,
            vsize: size,
            vin,
            vout: vout.collect(),
            fee: None,
            hex: const_hex::encode(bytes),
            blockhash: None,
            confirmations: None,
            time: None,
            blocktime: None,
        }
    }
}

/// `gettxout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoinInfo {
    /// The tip.
    pub bestblock: BlockHash,
    /// 1 for a coin of the tip, 0 for one of the mempool.
    pub confirmations: i64,
    /// The amount.
    pub value: Coins,
    /// What it pays.
    #[serde(rename = "scriptPubKey")]
    pub target: OutputTarget,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

impl CoinInfo {
    /// A coin as of the tip `bestblock`.
    #[must_use]
    pub fn new(
        bestblock: BlockHash,
        confirmations: i64,
        output: &Output,
        coinbase: bool,
        chain: &Chain,
    ) -> Self {
        Self {
            bestblock,
            confirmations,
            value: Coins(output.amount),
            target: OutputTarget::new(&output.to, chain),
            coinbase,
        }
    }
}
