//! Coins by the million: rewards are split into many coins, and each of those into a few.

use std::{error::Error, ops::Range, sync::Arc};

use chain::{
    address::Address,
    amount::Amount,
    transaction::{OutPoint, Output, Transaction},
};
use rayon::prelude::*;

use crate::{
    forge::{FOUNDER, Forge},
    payments::{Spendable, address_of, signing_key, spend, stranger},
};

/// Outputs of a transaction that splits a reward: below the byte limit of a block.
const FAN_OUT: usize = 40_000;
/// Bytes that a block of transactions may have.
const BLOCK_BYTES: usize = 1_900_000;

/// Which coins to make.
pub struct Funding<'a> {
    /// The numbers of the coins. They are the numbers of their keys as well.
    pub coins: Range<usize>,
    /// Outputs of each transaction that makes them.
    pub outputs: usize,
    /// Whether a coin can be spent; if not, it pays a random address, which costs less to make.
    pub is_spendable: &'a (dyn Fn(usize) -> bool + Sync),
}

/// A coin of the forge's own, to be split.
type Lump = (OutPoint, Amount);

impl Funding<'_> {
    /// Makes the blocks, each handed to `take`. Returns the coins that can be spent.
    pub fn make(
        &self,
        forge: &mut Forge,
        take: &mut dyn FnMut(Vec<u8>) -> Result<(), Box<dyn Error>>,
    ) -> Result<Vec<Spendable>, Box<dyn Error>> {
        let lumps = self.make_lumps(forge, take)?;
        let mut spendable = Vec::new();
        let mut next = self.coins.start;
        let per_block = BLOCK_BYTES / (150 + self.outputs * 41);
        for lumps in lumps.chunks(per_block.min(19_000)) {
            let starts: Vec<usize> = (next..).step_by(self.outputs).take(lumps.len()).collect();
            next += lumps.len() * self.outputs;
            let split = lumps.par_iter().zip(&starts).map(|(lump, start)| self.split(forge, lump, *start));
            let made: Vec<(Arc<Transaction>, Vec<Spendable>)> = split.collect();
            let (transactions, coins): (Vec<_>, Vec<_>) = made.into_iter().unzip();
            spendable.extend(coins.into_iter().flatten());
            take(forge.block(transactions)?)?;
        }
        Ok(spendable)
    }

    fn make_lumps(
        &self,
        forge: &mut Forge,
        take: &mut dyn FnMut(Vec<u8>) -> Result<(), Box<dyn Error>>,
    ) -> Result<Vec<Lump>, Box<dyn Error>> {
        let count = self.coins.len().div_ceil(self.outputs);
        let key = signing_key(FOUNDER);
        let address = address_of(&key);
        let mut lumps = Vec::with_capacity(count);
        if forge.reward().is_none() {
            take(forge.block(Vec::new())?)?;
        }
        while lumps.len() < count {
            let reward = forge.reward().ok_or("a block without a reward")?;
            let ways = FAN_OUT.min(count - lumps.len());
            let share = Amount::from_pebbles(reward.1.pebbles() / FAN_OUT as u64);
            let transaction = spend(forge.chain(), &key, reward, vec![Output::pay(address, share); ways]);
            let txid = transaction.txid();
            lumps.extend((0..).take(ways).map(|index| (OutPoint { txid, index }, share)));
            take(forge.block(vec![Arc::new(transaction)])?)?;
        }
        Ok(lumps)
    }

    /// Splits a lump into the coins from the number `start` on.
    fn split(&self, forge: &Forge, lump: &Lump, start: usize) -> (Arc<Transaction>, Vec<Spendable>) {
        let amount = Amount::from_pebbles(lump.1.pebbles() / self.outputs as u64);
        let numbers = start..self.coins.end.min(start + self.outputs);
        let address = |number: usize| -> Address {
            let key = number as u64;
            if (self.is_spendable)(number) { address_of(&signing_key(key)) } else { stranger(key) }
        };
        let outputs = numbers.clone().map(|number| Output::pay(address(number), amount)).collect();
        let transaction = spend(forge.chain(), &signing_key(FOUNDER), *lump, outputs);
        let txid = transaction.txid();
        let coins = (0..)
            .zip(numbers)
            .filter(|(_, number)| (self.is_spendable)(*number))
            .map(|(index, number)| Spendable {
                outpoint: OutPoint { txid, index },
                amount,
                key: number as u64,
            })
            .collect();
        (Arc::new(transaction), coins)
    }
}
