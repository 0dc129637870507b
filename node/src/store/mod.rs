//! The store: headers, blocks, coins and undo data, behind [`chain::store::Store`].
//!
//! Bodies and undo data lie in append-only files ([`files`]); RocksDB says where, and holds headers, coins and
//! the tip. It is the only room that knows RocksDB; [`schema`] lists on one page what lies where.
//!
//! The coins at the tip move in memory ([`cache`]), and a *flush* brings them to the disk: first the block and
//! undo files are synced, then one atomic batch over all column families holds coins, where the undo data is,
//! and the tip, so that they never part and never name a block that is not there (threat S01). A large batch goes
//! another way: where the undo data is comes first, synced, which is true already and says nothing of the tip; then
//! coins and tip come as one sorted file that the database takes in whole. Bodies are
//! written when they come, so that what was connected after the last flush is connected again at the next
//! start. What has returned is in the kernel's hands: the death of the process loses no block, and a power
//! loss costs at most the last blocks, a suffix, which peers give again; [`RocksStore::sync`] after a flush
//! makes even that impossible for what came before it.
//!
//! It never judges a block, never mends silently and never panics: a value that cannot be read is an error
//! that names it, and the node stops (threats C06 and S04). Only what was never certainly on the disk, at the
//! very end of the newest file, may be missing: it is then forgotten, with a warning (threat S03).
//!
//! One [`RocksStore`] writes, from one thread. Any number of [`StoreReader`]s read on other threads, each
//! question from a [`Snapshot`] of one flushed tip. A data folder is locked by [`DataDirLock`] before it is
//! opened.

mod cache;
mod codec;
mod database;
pub(crate) mod failpoint;
mod fault;
mod files;
pub mod index;
mod lock;
mod moving;
mod opening;
mod options;
mod reader;
mod recent;
mod reindex;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, sync::Arc};

use chain::{
    block::{Block, Header},
    check::{CheckedBlock, ConnectedBlock},
    hash::BlockHash,
    store::{Store, StoreError, Stored},
    transaction::OutPoint,
    utxo::{Coin, Undo},
};
use parking_lot::Mutex;

use self::{
    cache::CoinCache,
    codec::{HeaderRow, write_header, write_mark},
    database::Batch,
    fault::Fault,
    files::{Appender, Mark},
    moving::Pending,
    reader::Shared,
    schema::{BLOCKS_KEY, Family},
};
pub use self::{
    database::MergedFiles,
    fault::OpenStoreError,
    files::FileError,
    lock::{DataDirLock, Holder, LOCK_FILE, LockError},
    opening::{BLOCKS_FOLDER, STORE_FOLDER, is_store},
    options::StoreOptions,
    reader::StoreReader,
    recent::RecentBlock,
    schema::SCHEMA_VERSION,
    snapshot::{Snapshot, UtxoStats},
};

/// The store of one chain, open for writing.
#[derive(Debug)]
pub struct RocksStore {
    shared: Arc<Shared>,
    blocks: Appender,
    undo: Appender,
    /// The number of the next header.
    next_number: u32,
    /// The coins at `tip`. Reading them changes what is remembered.
    coins: Mutex<CoinCache>,
    /// The tip in memory.
    tip: BlockHash,
    /// The tip on the disk.
    flushed: BlockHash,
    /// What of the block files the database knows to be synced.
    synced: Mark,
    pending: Pending,
    /// From how many changed coins on a flush writes a sorted file.
    sorted_file_coins: usize,
    /// Whether a step failed half way, so that what is in memory must not reach the disk.
    broken: bool,
}

impl RocksStore {
    /// A reader of this store.
    #[must_use]
    pub fn reader(&self) -> StoreReader {
        StoreReader { shared: Arc::clone(&self.shared) }
    }

    /// The store as it was flushed last.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::new(&self.shared)
    }

    /// Waits until everything that was flushed is on the disk, so that not even a power loss can take it. For
    /// an orderly exit, after a flush; a node that mines need not wait for the disk at every block.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn sync(&self) -> Result<(), StoreError> {
        self.shared.database.sync()
    }

    /// Waits until the database has nothing left to do for what was written: its buffers are in files, and no
    /// compaction is due. For measurements, which would otherwise leave out what a write costs later.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn settle(&self) -> Result<(), StoreError> {
        self.shared.database.settle()
    }

    /// Merges the files of coins as the database does by itself when enough of them wait. For measurements, in which
    /// this would come now and then, and be in one figure what all of them cause.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn merge(&self) -> Result<MergedFiles, StoreError> {
        self.settle()?;
        self.shared.database.merge_coins()
    }

    /// The memory that coins occupy before the database, in bytes, and how many of them await a flush.
    #[must_use]
    pub fn coin_cache(&self) -> (usize, usize) {
        let coins = self.coins.lock();
        (coins.bytes(), coins.dirty())
    }

    /// The number of a header that must be here.
    fn known_number(&self, hash: &BlockHash) -> Result<u32, StoreError> {
        let number = self.snapshot().number(hash)?;
        Ok(number.ok_or_else(|| Fault::mismatch(format!("the block {hash}"), "its header is not here"))?)
    }

    /// Rewrites what is known of a header.
    fn put_row(
        &self,
        batch: &mut Batch<'_>,
        number: u32,
        change: impl FnOnce(&mut HeaderRow),
    ) -> Result<(), StoreError> {
        let mut row = self.snapshot().header(number)?;
        change(&mut row);
        batch.put(Family::Headers, number.to_be_bytes(), write_header(&row))
    }
}

impl Store for RocksStore {
    fn load(&self) -> Result<Stored, StoreError> {
        let snapshot = self.snapshot();
        let tip = Some(self.tip()).filter(|tip| *tip != self.shared.database.chain());
        let headers = snapshot.headers()?.iter().map(|row| (row.header, row.status())).collect();
        Ok(Stored { headers, tip })
    }

    fn add_headers(&mut self, headers: &[Header]) -> Result<(), StoreError> {
        let mut batch = self.shared.database.batch();
        let snapshot = self.snapshot();
        let mut added = HashSet::with_capacity(headers.len());
        let mut number = self.next_number;
        for header in headers {
            let hash = header.hash();
            let what = || format!("the header {hash}");
            if !added.insert(hash) || snapshot.number(&hash)?.is_some() {
                return Err(Fault::mismatch(what(), "it is here already").into());
            }
            let row = write_header(&HeaderRow::new(*header));
            batch.put(Family::Headers, number.to_be_bytes(), row)?;
            batch.put(Family::Numbers, hash.as_bytes(), number.to_be_bytes())?;
            number = number.checked_add(1).ok_or_else(|| Fault::mismatch(what(), "the store is full"))?;
        }
        drop(snapshot);
        let what = || format!("{} headers", headers.len());
        batch.commit(("headers.add.before", "headers.add.after"), what)?;
        self.next_number = number;
        Ok(())
    }

    fn add_body(&mut self, block: &CheckedBlock, order: u64) -> Result<(), StoreError> {
        let hash = block.hash();
        let number = self.known_number(&hash)?;
        // The record first: a row never names what is not there.
        let position = self.blocks.append(&hash, block.encoded())?;
        let mut batch = self.shared.database.batch();
        self.put_row(&mut batch, number, |row| row.body = Some((order, position)))?;
        batch.put(Family::Meta, BLOCKS_KEY, write_mark(self.blocks.end()))?;
        batch.commit(("body.row.before", "body.row.after"), || format!("where the body of block {hash} is"))
    }

    fn set_invalid(&mut self, hashes: &[BlockHash], invalid: bool) -> Result<(), StoreError> {
        let mut batch = self.shared.database.batch();
        for hash in hashes {
            self.put_row(&mut batch, self.known_number(hash)?, |row| row.invalid = invalid)?;
        }
        let what = || format!("which of {} blocks are invalid", hashes.len());
        batch.commit(("headers.mark.before", "headers.mark.after"), what)
    }

    fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError> {
        self.snapshot().block(hash)
    }

    fn encoded_block(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, StoreError> {
        self.snapshot().encoded_block(hash)
    }

    fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError> {
        self.read_coins(outpoints)
    }

    fn undo(&self, hash: &BlockHash) -> Result<Option<Undo>, StoreError> {
        let Some(number) = self.snapshot().number(hash)? else { return Ok(None) };
        let Some(position) = self.undo_position(number)? else { return Ok(None) };
        self.shared.undo_at(&position, hash).map(Some)
    }

    fn connect(&mut self, block: &Arc<CheckedBlock>, connected: ConnectedBlock) -> Result<(), StoreError> {
        self.connect_block(block, connected)
    }

    fn disconnect(&mut self, block: &Block, created: &[OutPoint], undo: &Undo) -> Result<(), StoreError> {
        self.disconnect_block(block, created, undo)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.flush_all()
    }
}
