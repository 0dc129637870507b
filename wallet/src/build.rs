//! Building and signing: exact sizes before there is a signature, and the signatures.
//!
//! A payment from this wallet shows single-key policies only, whose witnesses all have one size, so that a
//! fee is exact and no signature has to be made twice. One signature message covers the whole transaction
//! and the coins that it spends (rule S10): a node that lies about an amount gets a signature that is worth
//! nothing.

use chain::{
    hash::{BlockHash, TxId},
    policy::{Policy, PublicKey, Satisfaction, Witness},
    signature::signature_message,
    transaction::{OutPoint, Output, Transaction},
};
use ed25519_dalek::{Signer, SigningKey};

use crate::coins::Coin;

/// The policy of every address of this wallet.
#[must_use]
pub const fn policy_of(key: PublicKey) -> Policy {
    Policy::Pk(key)
}

/// Bytes of the transactions that this wallet makes, by the consensus encoding itself: measured on
/// transactions with blank signatures, so that no width is written down a second time here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    empty_bytes: u64,
    input_bytes: u64,
}

impl Sizes {
    /// The size of a transaction with these outputs and no input yet, and of each input.
    #[must_use]
    pub fn of_outputs(outputs: &[Output]) -> Self {
        let measure = |inputs: usize| {
            let blank = OutPoint { txid: TxId::ZERO, index: 0 };
            let witness = witness(PublicKey([0; 32]), [0; 64]);
            let bytes = Transaction {
                inputs: vec![blank; inputs],
                outputs: outputs.to_vec(),
                witnesses: vec![witness; inputs],
            }
            .to_bytes()
            .len();
            u64::try_from(bytes).expect("no address space is larger than 2^64 bytes")
        };
        let empty_bytes = measure(0);
        Self { empty_bytes, input_bytes: measure(1) - empty_bytes }
    }

    /// Bytes of the signed transaction with so many inputs; `None` when it exceeds what a u64 counts.
    #[must_use]
    pub fn with_inputs(self, inputs: u64) -> Option<u64> {
        self.input_bytes.checked_mul(inputs)?.checked_add(self.empty_bytes)
    }

    /// Bytes that each input adds, its witness included.
    #[must_use]
    pub const fn input_bytes(self) -> u64 {
        self.input_bytes
    }
}

/// Signs a transaction that spends `coins` into `outputs`, each coin with the key beside it, for the chain
/// whose genesis block has the hash `genesis`. Judges nothing: not whether the coins exist or are spent
/// already, nor what is left as a fee.
#[must_use]
pub fn sign(genesis: &BlockHash, coins: &[(Coin, SigningKey)], outputs: Vec<Output>) -> Transaction {
    let inputs = coins.iter().map(|(coin, _)| coin.outpoint).collect();
    let mut transaction = Transaction { inputs, outputs, witnesses: Vec::with_capacity(coins.len()) };
    let spent: Vec<Output> = coins.iter().map(|(coin, _)| coin.output()).collect();
    let message = signature_message(genesis, &transaction.id_preimage(), &spent);
    transaction.witnesses.extend(
        coins.iter().map(|(_, key)| {
            witness(PublicKey(key.verifying_key().to_bytes()), key.sign(&message).to_bytes())
        }),
    );
    transaction
}

fn witness(key: PublicKey, signature: [u8; 64]) -> Witness {
    Witness { policy: policy_of(key), satisfaction: Satisfaction::Signature(signature) }
}
