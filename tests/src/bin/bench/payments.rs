//! Coins that can be spent, each with a key of its own, and payments that spend them.
//!
//! Each payment has its own key, as in life: signatures of one key are far cheaper in a batch.

use std::{error::Error, sync::Arc};

use chain::{
    address::Address,
    amount::Amount,
    genesis::Chain,
    hash::sha256,
    policy::{Policy, PublicKey, Witness},
    signature::signature_message,
    transaction::{OutPoint, Output, Transaction},
};
use ed25519_dalek::{Signer, SigningKey};
use rayon::prelude::*;

/// What a payment costs, in pebbles: above the floor of the mempool.
pub const FEE: u64 = 300;

/// A coin and the number of its key.
#[derive(Clone, Copy, Debug)]
pub struct Spendable {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it is worth.
    pub amount: Amount,
    /// The number of its key.
    pub key: u64,
}

/// The key with this number.
pub fn signing_key(number: u64) -> SigningKey {
    let mut secret = [0x5a; 32];
    secret[..8].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_bytes(&secret)
}

fn public_key(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// Where the holder of a key is paid.
pub fn address_of(key: &SigningKey) -> Address {
    Address::of_policy(&Policy::Pk(public_key(key)))
}

/// An address whose coins nobody can spend; another for each number.
pub fn stranger(number: u64) -> Address {
    Address::from_bytes(sha256(&number.to_le_bytes()))
}

/// A transaction that spends one coin of `key`.
pub fn spend(
    chain: &Chain,
    key: &SigningKey,
    (outpoint, amount): (OutPoint, Amount),
    outputs: Vec<Output>,
) -> Transaction {
    let mut transaction = Transaction { inputs: vec![outpoint], outputs, witnesses: Vec::new() };
    let spent = [Output::pay(address_of(key), amount)];
    let message = signature_message(&chain.id(), &transaction.id_preimage(), &spent);
    transaction.witnesses = vec![Witness::signed(public_key(key), key.sign(&message).to_bytes())];
    transaction
}

/// A payment: one input, two outputs to addresses that were never paid before.
fn pay(chain: &Chain, coin: &Spendable, fee: u64) -> Result<Transaction, Box<dyn Error + Send + Sync>> {
    let rest = coin.amount.pebbles().checked_sub(fee).ok_or("a coin is smaller than the fee")?;
    let first = rest / 3;
    // Numbers of strangers are counted from above, those of keys from below.
    let output = |which: u64, pebbles| {
        Output::pay(stranger(u64::MAX - 2 * coin.key - which), Amount::from_pebbles(pebbles))
    };
    let outputs = vec![output(0, first), output(1, rest - first)];
    Ok(spend(chain, &signing_key(coin.key), (coin.outpoint, coin.amount), outputs))
}

/// A payment from each coin, made on all cores. The fee of each is asked for by its place.
pub fn pay_all(
    chain: &Chain,
    coins: &[Spendable],
    fee: impl Fn(usize) -> u64 + Sync,
) -> Result<Vec<Arc<Transaction>>, Box<dyn Error>> {
    let paid = coins.par_iter().enumerate().map(|(place, coin)| Ok(Arc::new(pay(chain, coin, fee(place))?)));
    let paid: Result<Vec<_>, Box<dyn Error + Send + Sync>> = paid.collect();
    Ok(paid.map_err(|error| error.to_string())?)
}

/// The same coins in an order that has nothing to do with their place in the database.
pub fn scatter(coins: &[Spendable]) -> Vec<Spendable> {
    // 611,953 is prime, so that the steps visit every coin before any twice, unless it divides their number.
    (0..coins.len()).map(|step| coins[(step * 611_953) % coins.len()]).collect()
}
