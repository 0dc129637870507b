//! What is measured of the node: its ledger over a real store, and its mempool. All that the measurements ask
//! of those rooms is asked here.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use chain::{
    block::Header,
    encoded::EncodedBlock,
    genesis::Chain,
    ledger::Ledger,
    store::StoreError,
    time::Time,
    transaction::{FREE_RUN_BYTES, Transaction},
};
use miner::{Template, TemplateRequest};
use node::{
    engine::mempool::Mempool,
    store::{
        MergedFiles, RocksStore, StoreOptions,
        index::{self, IndexHandle, IndexOptions},
    },
};
use rayon::prelude::*;

use crate::{forge::Forge, payments::stranger};

/// Blocks that are submitted together where the node catches up.
pub const BLOCKS_AT_ONCE: usize = 8;
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

/// Which files are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// The store's, of coins.
    Coins,
    /// The index's.
    Index,
}

/// A ledger over a store on the disk, and a mempool.
pub struct House {
    /// The ledger.
    pub ledger: Ledger<RocksStore>,
    /// The mempool.
    pub mempool: Mempool,
    index: Option<Indexer>,
    folder: PathBuf,
    indexes: Indexes,
    wall: Time,
}

/// The indexer's thread, and its end.
type Indexer = (IndexHandle, tokio::sync::oneshot::Receiver<Result<(), StoreError>>);

impl House {
    /// Opens the ledger in a folder.
    pub fn open(folder: &Path, chain: &Chain, indexes: Indexes) -> Result<Self, Failure> {
        let store = RocksStore::open(folder, chain, &StoreOptions::default())?;
        let source = store.reader();
        let ledger = Ledger::open(chain.clone(), store)?;
        let index = match indexes {
            Indexes::Off => None,
            Indexes::On => {
                let database = index::open(&folder.join("index"), chain, &IndexOptions::default(), &source)?;
                Some(index::spawn(database, source)?)
            }
        };
        Ok(Self {
            ledger,
            mempool: Mempool::new(MEMPOOL_BYTES),
            index,
            folder: folder.to_owned(),
            indexes,
            wall: Forge::wall(chain),
        })
    }

    /// Settles, closes and opens again: nothing is in the caches but the kernel's.
    pub fn reopen(mut self) -> Result<Self, Failure> {
        self.settle()?;
        let Self { ledger, mempool: _, index, folder, indexes, wall: _ } = self;
        let chain = ledger.chain().clone();
        if let Some((handle, end)) = index {
            handle.stop();
            end.blocking_recv()??;
        }
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
        let read = |block: &_| EncodedBlock::from_bytes(AsRef::<[u8]>::as_ref(block).to_vec());
        let read: Result<Vec<EncodedBlock>, _> = blocks.par_iter().map(read).collect();
        let submitted = self.ledger.submit_many(read?, self.wall)?;
        for (_, outcome) in submitted.outcomes {
            outcome?;
        }
        if let Some((id, error)) = submitted.update.refused.first() {
            return Err(format!("block {} is refused: {error}", id.height).into());
        }
        self.mempool.follow(&submitted.update, &self.ledger, self.wall)?;
        if let Some((handle, _)) = &self.index {
            handle.wake();
        }
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
        if let Some((handle, _)) = &self.index {
            handle.wake();
            let tip = self.ledger.tip().id;
            let mut progress = handle.progress();
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            runtime.block_on(progress.wait_for(|progress| progress.tip == tip))?;
            handle.settle()?;
        }
        Ok(self.ledger.store().settle()?)
    }

    /// Merges what waits in the database's files: of the coins, or else of the index.
    pub fn merge(&mut self, what: Files) -> Result<MergedFiles, Failure> {
        self.settle()?;
        match (what, &self.index) {
            (Files::Coins, _) => Ok(self.ledger.store().merge()?),
            (Files::Index, Some((handle, _))) => Ok(handle.merge()?),
            (Files::Index, None) => Err("there is no index".into()),
        }
    }

    /// Takes a transaction as it comes from the wire into the mempool.
    pub fn accept(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let transaction = Arc::new(Transaction::from_bytes(bytes)?);
        self.take(vec![transaction])
    }

    /// Takes transactions as they come from the wire into the mempool, together.
    pub fn accept_batch(&mut self, batch: &[Vec<u8>]) -> Result<(), Failure> {
        let decode = |bytes: &Vec<u8>| Transaction::from_bytes(bytes).map(Arc::new);
        self.take(batch.iter().map(decode).collect::<Result<_, _>>()?)
    }

    /// Takes transactions into the mempool and has the ledger remember that they were verified, as the engine does.
    fn take(&mut self, transactions: Vec<Arc<Transaction>>) -> Result<(), Failure> {
        for outcome in self.mempool.accept_batch(transactions, &self.ledger, self.wall) {
            let txid = outcome?;
            let entry = self.mempool.get(&txid).ok_or("a transaction that was taken is not there")?;
            self.ledger.remember(Arc::clone(entry.verified()));
        }
        Ok(())
    }

    /// Takes transactions into the mempool.
    pub fn fill(&mut self, transactions: &[Arc<Transaction>]) -> Result<(), Failure> {
        transactions.chunks(1_000).try_for_each(|transactions| self.take(transactions.to_vec()))
    }

    /// Empties the mempool.
    pub fn clear(&mut self) {
        self.mempool = Mempool::new(MEMPOOL_BYTES);
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
        Ok(Template::new(&request, self.mempool.packages())?)
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
