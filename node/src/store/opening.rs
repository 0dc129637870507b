//! Opening: the database and the flat files are held against each other, and what a power loss tore is
//! forgotten.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    sync::Arc,
};

use chain::{genesis::Chain, hash::BlockHash, store::StoreError};
use parking_lot::Mutex;

use super::{
    OpenStoreError, RocksStore, StoreOptions,
    cache::CoinCache,
    codec::{HeaderRow, write_header, write_mark},
    database::Database,
    files::{Appender, FlatFiles, Kind, MAX_FILE_BYTES, Mark},
    moving::Pending,
    reader::Shared,
    recent::RecentBlocks,
    schema::{BLOCKS_KEY, Family, SYNCED_KEY, UNDO_KEY},
    snapshot::Snapshot,
};

/// The folder of the database in a data folder.
pub const STORE_FOLDER: &str = "store";
/// The folder of block and undo files in a data folder.
pub const BLOCKS_FOLDER: &str = "blocks";

/// What the database says of the flat files.
pub(super) struct Ends {
    blocks: Mark,
    synced: Mark,
    undo: Mark,
}

impl Ends {
    /// After a reindex: nothing is known to be on the disk, and there is no undo data.
    pub(super) const fn of_blocks(blocks: Mark) -> Self {
        Self { blocks, synced: Mark::START, undo: Mark::START }
    }
}

impl RocksStore {
    /// Opens the store of `chain` in the data folder `datadir`, which is made where it does not exist: its
    /// database in [`STORE_FOLDER`], its files in [`BLOCKS_FOLDER`].
    ///
    /// Blocks that a power loss took are forgotten, and where the tip needs them the coins are forgotten too,
    /// so that `Ledger::open` makes them anew from the blocks that are left. Block files without a database are
    /// read again as by [`RocksStore::reindex`].
    ///
    /// # Errors
    /// [`OpenStoreError`] where the folder belongs to another chain, another schema or another process, or
    /// cannot be read. A refused folder is left as it was.
    pub fn open(datadir: &Path, chain: &Chain, options: &StoreOptions) -> Result<Self, OpenStoreError> {
        let path = datadir.join(STORE_FOLDER);
        let folder = datadir.join(BLOCKS_FOLDER);
        let no_folder = |source| OpenStoreError::Folder { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(no_folder)?;
        let blocks = FlatFiles::new(&folder, Kind::Blocks, chain.id(), MAX_FILE_BYTES)?;
        let undo = FlatFiles::new(&folder, Kind::Undo, chain.id(), MAX_FILE_BYTES)?;
        // Before a database is made beside the files of another chain.
        blocks.verify()?;
        let database = Database::open(&path, chain, options)?;
        let shared = Shared { database, blocks, undo, recent: RecentBlocks::default() };
        let storage = |source| OpenStoreError::Storage { path: path.clone(), source };
        let ends = read_ends(&shared).map_err(storage)?;
        if ends.is_none() && !shared.blocks.is_empty()? {
            tracing::warn!(folder = %folder.display(), "the database of these blocks is gone: making it anew");
            drop(shared);
            return Self::reindex(datadir, chain, options);
        }
        Self::assemble(shared, ends, options, storage)
    }

    /// Puts a store together over an open database, which says that the files end at `ends`.
    pub(super) fn assemble(
        shared: Shared,
        ends: Option<Ends>,
        options: &StoreOptions,
        storage: impl Fn(StoreError) -> OpenStoreError + Copy,
    ) -> Result<Self, OpenStoreError> {
        let shared = Arc::new(shared);
        let ends = ends.unwrap_or(Ends::of_blocks(Mark::START));
        let (blocks, torn_blocks) = Appender::open(shared.blocks.clone(), ends.blocks, ends.synced)?;
        // The row is written when they were synced.
        let (undo, torn_undo) = Appender::open(shared.undo.clone(), ends.undo, ends.undo)?;
        if torn_blocks.is_some() || torn_undo.is_some() {
            forget(&shared, torn_blocks, torn_undo).map_err(storage)?;
        }
        let snapshot = Snapshot::new(&shared);
        let next_number = snapshot.next_number().map_err(storage)?;
        let tip = snapshot.tip().map_err(storage)?;
        drop(snapshot);
        Ok(Self {
            synced: blocks.synced(),
            shared,
            blocks,
            undo,
            next_number,
            coins: Mutex::new(CoinCache::new(options.db_cache_bytes)),
            tip,
            flushed: tip,
            pending: Pending::default(),
            sorted_file_coins: options.sorted_file_coins,
            broken: false,
        })
    }
}

fn read_ends(shared: &Shared) -> Result<Option<Ends>, StoreError> {
    let snapshot = Snapshot::new(shared);
    let Some(blocks) = snapshot.mark(BLOCKS_KEY)? else { return Ok(None) };
    let mark = |key| Ok::<_, StoreError>(snapshot.mark(key)?.unwrap_or(Mark::START));
    Ok(Some(Ends { blocks, synced: mark(SYNCED_KEY)?, undo: mark(UNDO_KEY)? }))
}

/// Forgets the bodies and the undo data that are gone, and the coins where the tip stands on any of them.
fn forget(shared: &Shared, blocks: Option<Mark>, undo: Option<Mark>) -> Result<(), StoreError> {
    let snapshot = Snapshot::new(shared);
    let rows = snapshot.headers()?;
    let active = active_numbers(&rows, &snapshot.tip()?);
    let mut batch = shared.database.batch();
    let (mut bodies, mut undone, mut coins_are_lost) = (0u64, 0u64, false);
    for (number, row) in (0u32..).zip(&rows) {
        if let Some(mark) = blocks
            && row.body.is_some_and(|(_, position)| position.is_behind(mark))
        {
            let row = HeaderRow { body: None, ..*row };
            batch.put(Family::Headers, number.to_be_bytes(), write_header(&row))?;
            bodies += 1;
            coins_are_lost |= active.contains(&number);
        }
        if let Some(mark) = undo
            && snapshot.undo_position(number)?.is_some_and(|position| position.is_behind(mark))
        {
            batch.delete(Family::Undo, number.to_be_bytes())?;
            undone += 1;
            coins_are_lost |= active.contains(&number);
        }
    }
    drop(snapshot);
    for (key, mark) in [(BLOCKS_KEY, blocks), (UNDO_KEY, undo)] {
        mark.map_or(Ok(()), |mark| batch.put(Family::Meta, key, write_mark(mark)))?;
    }
    if let Some(mark) = blocks
        && Snapshot::new(shared).mark(SYNCED_KEY)?.is_some_and(|synced| synced > mark)
    {
        batch.put(Family::Meta, SYNCED_KEY, write_mark(mark))?;
    }
    tracing::warn!(bodies, undo_records = undone, "the newest files are torn: forgetting what is gone");
    if coins_are_lost {
        tracing::warn!("the tip needs what is gone: making the coins anew from the blocks that are left");
        // And the tip, whose row is among theirs.
        batch.delete_all(Family::Coins)?;
    }
    let what = || "what the torn files no longer hold".to_owned();
    batch.commit(("coins.forget.before", "coins.forget.after"), what)?;
    if coins_are_lost {
        shared.database.compact(Family::Coins)?;
    }
    shared.database.sync()
}

/// The numbers of the headers from the tip down.
fn active_numbers(rows: &[HeaderRow], tip: &BlockHash) -> HashSet<u32> {
    let by_hash: HashMap<BlockHash, (u32, BlockHash)> =
        (0..).zip(rows).map(|(number, row)| (row.header.hash(), (number, row.header.previous))).collect();
    let mut active = HashSet::new();
    let mut next = by_hash.get(tip);
    while let Some((number, previous)) = next {
        active.insert(*number);
        next = by_hash.get(previous);
    }
    active
}

/// Whether a node has kept its blocks in a data folder.
#[must_use]
pub fn is_store(datadir: &Path) -> bool {
    [STORE_FOLDER, BLOCKS_FOLDER].iter().any(|folder| fs::exists(datadir.join(folder)).unwrap_or(false))
}
