//! Blocks, made one on the other before anything is measured.

use std::{error::Error, sync::Arc};

use chain::{
    amount::Amount,
    block::{Block, Header},
    genesis::{Chain, TEMPLATE_VERSION},
    hash::BlockHash,
    height::Height,
    merkle::root_and_mutation,
    subsidy::subsidy,
    time::Time,
    transaction::{Coinbase, FREE_RUN_BYTES, OutPoint, Output, Transaction},
};
use rayon::prelude::*;

use crate::payments::{address_of, signing_key};

/// The number of the key that every block pays: no coin's.
pub const FOUNDER: u64 = u64::MAX;

/// Makes blocks. It knows the chain only by what it made itself.
#[derive(Clone, Debug)]
pub struct Forge {
    chain: Chain,
    previous: BlockHash,
    height: Height,
    reward: Option<(OutPoint, Amount)>,
}

impl Forge {
    /// A forge on the genesis block of a chain whose target never changes.
    pub fn new(chain: &Chain) -> Self {
        Self { chain: chain.clone(), previous: chain.id(), height: Height::ZERO, reward: None }
    }

    /// The chain.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What the last block paid to [`FOUNDER`].
    pub const fn reward(&self) -> Option<(OutPoint, Amount)> {
        self.reward
    }

    /// The time by which every block may be submitted.
    pub fn wall(chain: &Chain) -> Time {
        chain.genesis().header.time.saturating_add_secs(100_000_000)
    }

    /// A solved block with these transactions on the one before, as bytes. Fees are left lying.
    pub fn block(&mut self, transactions: Vec<Arc<Transaction>>) -> Result<Vec<u8>, Box<dyn Error>> {
        let height = self.height.next().ok_or("the chain is full")?;
        let params = self.chain.params();
        let reward = subsidy(params, height);
        let outputs = vec![Output::pay(address_of(&signing_key(FOUNDER)), reward)];
        let coinbase = Coinbase { height, free: [0; FREE_RUN_BYTES], outputs };
        let txid = coinbase.txid();
        let mut leaves = vec![txid.to_bytes()];
        leaves.par_extend(transactions.par_iter().map(|transaction| transaction.witness_txid().to_bytes()));
        let mut header = Header {
            version: TEMPLATE_VERSION,
            previous: self.previous,
            merkle_root: root_and_mutation(&leaves).0,
            time: self.chain.genesis().header.time.saturating_add_secs(height.get()),
            bits: params.initial_bits,
            nonce: 0,
        };
        let target = params.initial_bits.to_target()?;
        while !target.is_met_by(&header.hash()) {
            header.nonce = header.nonce.checked_add(1).ok_or("no nonce solves a block")?;
        }
        (self.previous, self.height) = (header.hash(), height);
        self.reward = Some((OutPoint { txid, index: 0 }, reward));
        Ok(Block { header, coinbase, transactions }.to_bytes())
    }

    /// Blocks of `per_block` transactions each.
    pub fn blocks(
        &mut self,
        transactions: &[Arc<Transaction>],
        per_block: usize,
    ) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
        transactions.chunks(per_block).map(|chunk| self.block(chunk.to_vec())).collect()
    }
}
