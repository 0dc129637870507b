//! Building the database anew from the block files: headers, and where their bodies are. Coins, undo data and
//! indexes follow when the ledger connects what is there.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::Path,
};

use chain::{
    block::{HEADER_BYTES, Header},
    genesis::Chain,
    hash::BlockHash,
    store::StoreError,
};
use rocksdb::{DB, Options};

use super::{
    OpenStoreError, RocksStore, StoreOptions,
    codec::{HeaderRow, write_header, write_mark},
    database::{CURRENT_FILE, Database},
    failpoint,
    fault::Fault,
    files::{FileError, FlatFiles, Kind, MAX_FILE_BYTES, Mark, Position},
    opening::{BLOCKS_FOLDER, Ends, STORE_FOLDER},
    reader::Shared,
    recent::RecentBlocks,
    schema::{BLOCKS_KEY, Family},
};

/// Where the old database is put before it is removed, so that no half of it is ever opened.
const REMOVED_FOLDER: &str = "store.removed";
/// How many headers are written in one batch.
const HEADERS_A_BATCH: usize = 10_000;

/// A block that was found in the files.
struct Found {
    header: Header,
    hash: BlockHash,
    position: Position,
}

impl RocksStore {
    /// Makes the database anew from the block files. Until `Ledger::open` has connected the blocks again, there
    /// are no coins. What is known beside the blocks (which were invalid) is found out again.
    ///
    /// # Errors
    /// [`OpenStoreError`] where the files belong to another chain, or a record in them is damaged: then the old
    /// database is left as it was.
    pub fn reindex(datadir: &Path, chain: &Chain, options: &StoreOptions) -> Result<Self, OpenStoreError> {
        let path = datadir.join(STORE_FOLDER);
        let folder = datadir.join(BLOCKS_FOLDER);
        refuse_foreign(&path)?;
        let storage = |source| OpenStoreError::Storage { path: path.clone(), source };
        let blocks = FlatFiles::new(&folder, Kind::Blocks, chain.id(), MAX_FILE_BYTES)?;
        let undo = FlatFiles::new(&folder, Kind::Undo, chain.id(), MAX_FILE_BYTES)?;
        let mut found = Vec::new();
        let end = blocks.scan(|position, hash, payload| {
            found.push(read_found(&blocks, position, hash, payload)?);
            Ok::<_, FileError>(())
        })?;
        if end.torn {
            tracing::warn!("the newest block file ends in the middle of a block: forgetting it");
        }
        tracing::info!(blocks = found.len(), "all block files were read");
        remove(datadir, &undo)?;
        let database = Database::open(&path, chain, options)?;
        write_rows(&database, &found, chain, end.end).map_err(storage)?;
        let shared = Shared { database, blocks, undo, recent: RecentBlocks::default() };
        Self::assemble(shared, Some(Ends::of_blocks(end.end)), options, storage)
    }
}

/// A folder with somebody else's database is not ours to remove.
fn refuse_foreign(path: &Path) -> Result<(), OpenStoreError> {
    if !path.join(CURRENT_FILE).exists() {
        return Ok(());
    }
    // A database too damaged to say what is in it may go.
    match DB::list_cf(&Options::default(), path) {
        Ok(names) if !names.iter().any(|name| name == Family::Meta.name()) && names.len() > 1 => {
            Err(OpenStoreError::Foreign { path: path.to_path_buf() })
        }
        _ => Ok(()),
    }
}

fn read_found(
    files: &FlatFiles,
    position: Position,
    hash: BlockHash,
    payload: &[u8],
) -> Result<Found, FileError> {
    let header = payload.first_chunk::<HEADER_BYTES>().map(Header::from_bytes);
    let header = header.filter(|header| header.hash() == hash);
    let damaged = || FileError::Damaged {
        path: files.path(position.file),
        offset: position.offset,
        why: "its block does not begin with its header".to_owned(),
    };
    Ok(Found { header: header.ok_or_else(damaged)?, hash, position })
}

/// Removes the database, and the undo files, which are written again as blocks are connected.
fn remove(datadir: &Path, undo: &FlatFiles) -> Result<(), OpenStoreError> {
    let (path, removed) = (datadir.join(STORE_FOLDER), datadir.join(REMOVED_FOLDER));
    let failed = |source: io::Error| {
        let what = format!("the removal of {}", path.display());
        OpenStoreError::Storage { path: path.clone(), source: Fault::write(what, source).into() }
    };
    let gone = |outcome: io::Result<()>| match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    failpoint::hit("reindex.remove.before").map_err(failed)?;
    gone(fs::remove_dir_all(&removed)).map_err(failed)?;
    gone(fs::rename(&path, &removed)).map_err(failed)?;
    gone(fs::remove_dir_all(&removed)).map_err(failed)?;
    for number in undo.numbers()? {
        fs::remove_file(undo.path(number)).map_err(failed)?;
    }
    failpoint::hit("reindex.remove.after").map_err(failed)
}

/// Writes the rows of all blocks whose ancestors are here, parents first. The end of the files is written last:
/// without it the next start begins again.
fn write_rows(database: &Database, found: &[Found], chain: &Chain, end: Mark) -> Result<(), StoreError> {
    let order = parents_first(found, chain.id());
    let points = ("reindex.rows.before", "reindex.rows.after");
    let mut batch = database.batch();
    for (number, index) in (0u32..).zip(&order) {
        let Some(block) = found.get(*index) else { continue };
        // Bodies count in the order in which they came.
        let body_order = u64::try_from(*index).unwrap_or(u64::MAX).saturating_add(1);
        let row =
            HeaderRow { header: block.header, invalid: false, body: Some((body_order, block.position)) };
        batch.put(Family::Headers, number.to_be_bytes(), write_header(&row))?;
        batch.put(Family::Numbers, block.hash.as_bytes(), number.to_be_bytes())?;
        if batch.len() >= 2 * HEADERS_A_BATCH {
            std::mem::replace(&mut batch, database.batch()).commit(points, || "headers".to_owned())?;
        }
    }
    batch.put(Family::Meta, BLOCKS_KEY, write_mark(end))?;
    batch.commit(points, || "headers".to_owned())
}

/// The blocks of which all ancestors are here, each behind its parent and once. Those that follow one another
/// in the files are nearly in that order already.
fn parents_first(found: &[Found], genesis: BlockHash) -> Vec<usize> {
    let mut known = HashSet::from([genesis]);
    let mut waiting: HashMap<BlockHash, Vec<usize>> = HashMap::new();
    let mut order = Vec::with_capacity(found.len());
    for (index, block) in found.iter().enumerate() {
        if !known.contains(&block.header.previous) {
            waiting.entry(block.header.previous).or_default().push(index);
            continue;
        }
        let mut ready = vec![index];
        while let Some(index) = ready.pop() {
            if known.insert(found[index].hash) {
                order.push(index);
                ready.extend(waiting.remove(&found[index].hash).unwrap_or_default());
            }
        }
    }
    let lost = waiting.values().map(Vec::len).sum::<usize>();
    if lost > 0 {
        tracing::warn!(blocks = lost, "blocks without their ancestors are left out");
    }
    order
}
