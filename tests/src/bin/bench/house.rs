//! What is measured of the node: its ledger over a real store, and its mempool. All that the measurements ask
//! of those rooms is asked here.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use chain::{
    block::{Block, Header},
    check::{CheckedTransaction, spend_transaction, verify_signatures},
    genesis::Chain,
    ledger::Ledger,
    time::Time,
    transaction::{FREE_RUN_BYTES, Transaction},
};
use miner::{Template, TemplateRequest};
use node::{
    engine::mempool::Mempool,
    store::{RocksStore, StoreOptions},
};
use rayon::prelude::*;

use crate::{forge::Forge, payments::stranger};

/// Blocks that are submitted together where the node catches up.
const BLOCKS_AT_ONCE: usize = 8;
/// Memory for the mempool: never the bound of what is measured.
const MEMPOOL_BYTES: u64 = 2_000_000_000;

type Failure = Box<dyn Error>;

/// Whether the node keeps its indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexes {
    /// Transactions, history and coins of addresses.
    On,
    /// None.
    Off,
}

/// A ledger over a store on the disk, and a mempool.
pub struct House {
    /// The ledger.
    pub ledger: Ledger<RocksStore>,
    /// The mempool.
    pub mempool: Mempool,
    folder: PathBuf,
    indexes: Indexes,
    wall: Time,
}

impl House {
    /// Opens the ledger in a folder.
    pub fn open(folder: &Path, chain: &Chain, indexes: Indexes) -> Result<Self, Failure> {
        let store = RocksStore::open(&folder.join("store"), chain, &StoreOptions::default())?;
        Ok(Self {
            ledger: Ledger::open(chain.clone(), store)?,
            mempool: Mempool::new(MEMPOOL_BYTES),
            folder: folder.to_owned(),
            indexes,
            wall: Forge::wall(chain),
        })
    }

    /// Settles, closes and opens again: nothing is in the caches but the kernel's.
    pub fn reopen(mut self) -> Result<Self, Failure> {
        self.settle()?;
        let Self { ledger, mempool: _, folder, indexes, wall: _ } = self;
        let chain = ledger.chain().clone();
        drop(ledger);
        Self::open(&folder, &chain, indexes)
    }

    /// Takes blocks as they come from the wire when a node catches up: first all headers, then bodies, a few at
    /// once. The mempool follows.
    pub fn submit(&mut self, blocks: &[Vec<u8>]) -> Result<(), Failure> {
        let headers: Vec<Header> =
            blocks.iter().filter_map(|block| block.first_chunk()).map(Header::from_bytes).collect();
        self.ledger.submit_headers(&headers, self.wall)?;
        blocks.chunks(BLOCKS_AT_ONCE).try_for_each(|blocks| self.submit_at_once(blocks))
    }

    fn submit_at_once(&mut self, blocks: &[impl AsRef<[u8]> + Sync]) -> Result<(), Failure> {
        let decoded: Result<Vec<Block>, _> =
            blocks.par_iter().map(|bytes| Block::from_bytes(bytes.as_ref())).collect();
        let submitted = self.ledger.submit_many(decoded?, self.wall)?;
        for (_, outcome) in submitted.outcomes {
            outcome?;
        }
        if let Some((id, error)) = submitted.update.refused.first() {
            return Err(format!("block {} is refused: {error}", id.height).into());
        }
        self.mempool.follow(&submitted.update, &self.ledger, self.wall)?;
        Ok(())
    }

    /// Takes a block as it comes from the wire, and flushes.
    pub fn submit_one(&mut self, block: &[u8]) -> Result<(), Failure> {
        self.submit_at_once(&[block])?;
        Ok(self.ledger.flush()?)
    }

    /// Flushes, and waits until the database has nothing left to do for it, and the indexes are at the tip.
    pub fn settle(&mut self) -> Result<(), Failure> {
        self.ledger.flush()?;
        Ok(self.ledger.store().settle()?)
    }

    /// Takes a transaction as it comes from the wire into the mempool.
    pub fn accept(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let transaction = Arc::new(Transaction::from_bytes(bytes)?);
        self.mempool.accept(transaction, &self.ledger, self.wall)?;
        Ok(())
    }

    /// Takes transactions as they come from the wire into the mempool, together.
    pub fn accept_batch(&mut self, batch: &[Vec<u8>]) -> Result<(), Failure> {
        batch.iter().try_for_each(|bytes| self.accept(bytes))
    }

    /// Takes transactions into the mempool.
    pub fn fill(&mut self, transactions: &[Arc<Transaction>]) -> Result<(), Failure> {
        for transaction in transactions {
            self.mempool.accept(Arc::clone(transaction), &self.ledger, self.wall)?;
        }
        Ok(())
    }

    /// Empties the mempool.
    pub fn clear(&mut self) {
        self.mempool = Mempool::new(MEMPOOL_BYTES);
    }

    /// Has the ledger remember that these transactions were verified, as the engine does when it takes them.
    pub fn remember(&mut self, transactions: &[Arc<Transaction>]) -> Result<(), Failure> {
        let context = self.ledger.next_spend_context();
        let verify = |transaction: &Arc<Transaction>| {
            let checked = CheckedTransaction::check(Arc::clone(transaction), self.ledger.chain())?;
            let coins = self.ledger.coins(&transaction.inputs)?;
            Ok(spend_transaction(Arc::new(checked), coins, &context, self.ledger.verdicts())?)
        };
        let spent: Vec<_> = transactions.iter().map(verify).collect::<Result<_, Failure>>()?;
        for verified in verify_signatures(spent) {
            self.ledger.remember(Arc::new(verified?));
        }
        Ok(())
    }

    /// A template on the tip of the best that waits.
    pub fn template(&self, number: u64) -> Result<Template, Failure> {
        let tip = self.ledger.tip();
        let mut free_run = [0; FREE_RUN_BYTES];
        free_run[8..16].copy_from_slice(&number.to_le_bytes());
        let request = TemplateRequest {
            params: self.ledger.chain().params(),
            previous: tip.id.hash,
            height: self.ledger.next_spend_context().height,
            bits: self.ledger.next_bits(),
            median_time_past: tip.median_time_past,
            now: self.wall,
            pay_to: stranger(number),
            free_run,
        };
        Ok(Template::new(&request, self.mempool.candidates())?)
    }

    /// How many coins there are, and the bytes that they take in files.
    pub fn coins(&self) -> Result<(u64, u64), Failure> {
        let stats = self.ledger.store().snapshot().utxo_stats()?;
        Ok((stats.count, stats.disk_bytes))
    }

    /// The bytes of all files.
    pub fn disk_bytes(&self) -> Result<u64, Failure> {
        folder_bytes(&self.folder)
    }
}

/// The bytes of all files below a folder.
pub fn folder_bytes(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { folder_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
