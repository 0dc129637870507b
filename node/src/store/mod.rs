//! The store: headers, blocks, coins, undo data and indexes in RocksDB, behind [`chain::store::Store`].
//!
//! The only room that knows RocksDB; [`schema`] lists on one page what lies where. Every writing method is
//! one atomic batch over all column families, so that coins, undo data, tip and indexes never part
//! (threat S01). What has returned is in the kernel's hands: the death of the process loses nothing, and a
//! power loss costs at most the last blocks, a suffix, which peers give again; [`RocksStore::sync`] makes
//! even that impossible for what came before it.
//!
//! It never judges a block, never repairs silently and never panics: a value that cannot be read is an error
//! that names it, and the node stops (threats C06 and S04).
//!
//! One [`RocksStore`] writes, from one thread. Any number of [`StoreReader`]s read on other threads, each
//! question from a [`Snapshot`] of one tip. A data folder is locked by [`DataDirLock`] before it is opened.

mod codec;
mod database;
mod fault;
mod index;
mod lock;
mod options;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, path::Path, sync::Arc};

use chain::{
    block::{Block, Header},
    check::{CheckedBlock, ConnectedBlock},
    encode,
    genesis::Chain,
    hash::BlockHash,
    store::{HeaderStatus, Store, StoreError, Stored},
    transaction::OutPoint,
    utxo::{Coin, Undo},
};

use self::{
    codec::{write_coin, write_header},
    database::{Batch, Database},
    fault::Fault,
    index::{BlockIndex, delete_address_coin, put_address_coin},
    schema::{Family, TIP_KEY, coin_key},
};
pub use self::{
    fault::OpenStoreError,
    lock::{DataDirLock, Holder, LOCK_FILE, LockError},
    options::StoreOptions,
    schema::SCHEMA_VERSION,
    snapshot::{
        HistoryEntry, MAX_ADDRESS_COINS, MAX_HISTORY_ENTRIES, Snapshot, TransactionLocation, UtxoStats,
    },
};

/// The store of one chain, open for writing.
#[derive(Debug)]
pub struct RocksStore {
    database: Arc<Database>,
    /// The number of the next header.
    next_number: u32,
}

/// A store, open for reading on any thread. The database closes when its store and all its readers are gone.
#[derive(Clone, Debug)]
pub struct StoreReader {
    database: Arc<Database>,
}

impl StoreReader {
    /// The store as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::new(&self.database)
    }
}

impl RocksStore {
    /// Opens the store of `chain` in the folder `path`, which is made where it does not exist.
    ///
    /// # Errors
    /// [`OpenStoreError`] where the folder belongs to another chain, another schema or another process, or
    /// cannot be read. A refused folder is left as it was.
    pub fn open(path: &Path, chain: &Chain, options: &StoreOptions) -> Result<Self, OpenStoreError> {
        let database = Arc::new(Database::open(path, chain, options)?);
        let next_number = Snapshot::new(&database).next_number();
        let failed = |source| OpenStoreError::Storage { path: path.to_path_buf(), source };
        Ok(Self { next_number: next_number.map_err(failed)?, database })
    }

    /// A reader of this store.
    #[must_use]
    pub fn reader(&self) -> StoreReader {
        StoreReader { database: Arc::clone(&self.database) }
    }

    /// The store as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::new(&self.database)
    }

    /// Waits until everything that was written is on the disk, so that not even a power loss can take it.
    /// For an orderly exit; a node that mines need not wait for the disk at every block.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn sync(&self) -> Result<(), StoreError> {
        self.database.sync()
    }

    /// Waits until the database has nothing left to do for what was written: its buffers are in files, and no
    /// compaction is due. For measurements, which would otherwise leave out what a write costs later.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn settle(&self) -> Result<(), StoreError> {
        self.database.settle()
    }

    /// The number of a header that must be here.
    fn known_number(&self, hash: &BlockHash) -> Result<u32, StoreError> {
        let number = self.snapshot().number(hash)?;
        Ok(number.ok_or_else(|| Fault::mismatch(format!("the block {hash}"), "its header is not here"))?)
    }

    /// Rewrites what is known of a header.
    fn put_status(
        &self,
        batch: &mut Batch<'_>,
        number: u32,
        change: impl FnOnce(&mut HeaderStatus),
    ) -> Result<(), StoreError> {
        let (header, mut status) = self.snapshot().header(number)?;
        change(&mut status);
        batch.put(Family::Headers, number.to_be_bytes(), write_header(&header, &status))
    }

    fn put_tip(&self, batch: &mut Batch<'_>, tip: &BlockHash) -> Result<(), StoreError> {
        if *tip == self.database.chain() {
            batch.delete(Family::Meta, TIP_KEY)
        } else {
            batch.put(Family::Meta, TIP_KEY, tip.as_bytes())
        }
    }

    /// Says that none of these coins exists, as the caller believes.
    fn require_absent(&self, outpoints: &[OutPoint], what: impl Fn() -> String) -> Result<(), StoreError> {
        let found = self.snapshot().coins(outpoints)?;
        match outpoints.iter().zip(found).find(|(_, coin)| coin.is_some()) {
            Some((outpoint, _)) => {
                Err(Fault::mismatch(what(), format!("the coin {outpoint} exists already")).into())
            }
            None => Ok(()),
        }
    }
}

fn put_coin(batch: &mut Batch<'_>, outpoint: &OutPoint, coin: &Coin) -> Result<(), StoreError> {
    let value = write_coin(coin);
    let value =
        value.ok_or_else(|| Fault::mismatch(format!("the coin {outpoint}"), "it is a data output"))?;
    batch.put(Family::Coins, coin_key(outpoint), value)?;
    put_address_coin(batch, outpoint, coin)
}

fn delete_coin(batch: &mut Batch<'_>, outpoint: &OutPoint, coin: &Coin) -> Result<(), StoreError> {
    batch.delete(Family::Coins, coin_key(outpoint))?;
    delete_address_coin(batch, outpoint, coin)
}

impl Store for RocksStore {
    fn load(&self) -> Result<Stored, StoreError> {
        let snapshot = self.snapshot();
        let tip = Some(snapshot.tip()?).filter(|tip| *tip != self.database.chain());
        Ok(Stored { headers: snapshot.headers()?, tip })
    }

    fn add_headers(&mut self, headers: &[Header]) -> Result<(), StoreError> {
        let mut batch = self.database.batch();
        let snapshot = self.snapshot();
        let mut added = HashSet::with_capacity(headers.len());
        let mut number = self.next_number;
        for header in headers {
            let hash = header.hash();
            let what = || format!("the header {hash}");
            if !added.insert(hash) || snapshot.number(&hash)?.is_some() {
                return Err(Fault::mismatch(what(), "it is here already").into());
            }
            let row = write_header(header, &HeaderStatus::default());
            batch.put(Family::Headers, number.to_be_bytes(), row)?;
            batch.put(Family::Numbers, hash.as_bytes(), number.to_be_bytes())?;
            number = number.checked_add(1).ok_or_else(|| Fault::mismatch(what(), "the store is full"))?;
        }
        drop(snapshot);
        batch.commit(|| format!("{} headers", headers.len()))?;
        self.next_number = number;
        Ok(())
    }

    fn add_body(&mut self, block: &CheckedBlock, order: u64) -> Result<(), StoreError> {
        let number = self.known_number(&block.hash())?;
        let mut batch = self.database.batch();
        self.put_status(&mut batch, number, |status| status.body = Some(order))?;
        batch.put(Family::Bodies, number.to_be_bytes(), block.encoded())?;
        batch.commit(|| format!("the body of block {}", block.hash()))
    }

    fn set_invalid(&mut self, hashes: &[BlockHash], invalid: bool) -> Result<(), StoreError> {
        let mut batch = self.database.batch();
        for hash in hashes {
            self.put_status(&mut batch, self.known_number(hash)?, |status| status.invalid = invalid)?;
        }
        batch.commit(|| format!("which of {} blocks are invalid", hashes.len()))
    }

    fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError> {
        self.snapshot().block(hash)
    }

    fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError> {
        self.snapshot().coins(outpoints)
    }

    fn undo(&self, hash: &BlockHash) -> Result<Option<Undo>, StoreError> {
        self.snapshot().undo(hash)
    }

    fn connect(&mut self, block: &Arc<CheckedBlock>, connected: ConnectedBlock) -> Result<(), StoreError> {
        let hash = block.hash();
        let what = || format!("connecting block {hash}");
        let (tip, below) = (self.snapshot().tip()?, block.header().previous);
        if connected.hash() != hash || tip != below {
            return Err(Fault::mismatch(what(), format!("the tip is {tip}")).into());
        }
        let number = self.known_number(&hash)?;
        let delta = connected.delta();
        let outpoints: Vec<OutPoint> = delta.spent.iter().map(|(outpoint, _)| *outpoint).collect();
        let mut batch = self.database.batch();
        for ((outpoint, coin), stored) in delta.spent.iter().zip(self.coins(&outpoints)?) {
            // Taking a coin asserts that it is there, unspent and unchanged (threat C02).
            if stored.as_ref() != Some(coin) {
                let why = format!("the coin {outpoint} is spent, but is not here, or is another one");
                return Err(Fault::mismatch(what(), why).into());
            }
            delete_coin(&mut batch, outpoint, coin)?;
        }
        let outpoints: Vec<OutPoint> = delta.created.iter().map(|(outpoint, _)| *outpoint).collect();
        self.require_absent(&outpoints, what)?;
        for (outpoint, coin) in &delta.created {
            put_coin(&mut batch, outpoint, coin)?;
        }
        BlockIndex::of_checked(block, &delta.spent)?.put(number, &mut batch)?;
        batch.put(Family::Undo, number.to_be_bytes(), encode::to_bytes(&delta.spent))?;
        self.put_tip(&mut batch, &hash)?;
        batch.commit(|| format!("block {hash} as the tip"))
    }

    fn disconnect(&mut self, block: &Block, created: &[OutPoint], undo: &Undo) -> Result<(), StoreError> {
        let hash = block.hash();
        let what = || format!("disconnecting block {hash}");
        let tip = self.snapshot().tip()?;
        if tip != hash {
            return Err(Fault::mismatch(what(), format!("the tip is {tip}")).into());
        }
        let number = self.known_number(&hash)?;
        let mut batch = self.database.batch();
        for (outpoint, coin) in created.iter().zip(self.coins(created)?) {
            let why = || format!("the coin {outpoint} is not here to be unmade");
            delete_coin(&mut batch, outpoint, &coin.ok_or_else(|| Fault::mismatch(what(), why()))?)?;
        }
        let outpoints: Vec<OutPoint> = undo.iter().map(|(outpoint, _)| *outpoint).collect();
        self.require_absent(&outpoints, what)?;
        for (outpoint, coin) in undo {
            put_coin(&mut batch, outpoint, coin)?;
        }
        BlockIndex::of_block(block, undo)?.delete(&mut batch)?;
        batch.delete(Family::Undo, number.to_be_bytes())?;
        self.put_tip(&mut batch, &block.header.previous)?;
        batch.commit(|| format!("block {} as the tip again", block.header.previous))
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        // Each block is written when it is connected.
        Ok(())
    }
}
