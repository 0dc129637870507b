//! The open database: its identity, its column families, and the one way in which it is written.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use chain::{genesis::Chain, hash::BlockHash, store::StoreError, transaction::OutPoint, utxo::Coin};
use rayon::prelude::*;
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBPinnableSlice, DEFAULT_COLUMN_FAMILY_NAME,
    IngestExternalFileOptions, Options, ReadOptions, SstFileWriter, WaitForCompactOptions, WriteBatch,
    properties,
};

use super::{
    codec::{read_coin, read_hash, read_number},
    failpoint,
    fault::{Fault, OpenStoreError},
    options::{
        FILES_A_COMPACTION, StoreOptions, block_cache, database_options, family_options, sorted_options,
        write_options,
    },
    schema::{CHAIN_KEY, COIN_KEY_BYTES, Family, SCHEMA_KEY, SCHEMA_VERSION, coin_key},
};

/// The most coins that are looked up at once, so that a large question costs no more memory than this many.
const COINS_PER_LOOKUP: usize = 1_024;
/// The most bytes of coins that may be in the log alone after an orderly end: read again in some milliseconds.
const MAX_UNFILED_BYTES: u64 = 2 << 20;
/// The file in which coins are gathered that the database then takes in. What a killed process left goes at the next opening.
const SORTED_FILE: &str = "coins.sorted";
/// The file by which RocksDB knows its folders.
pub(super) const CURRENT_FILE: &str = "CURRENT";

/// RocksDB's options, which have no form to be shown in.
pub(super) struct SortedOptions(pub(super) Options);

impl std::fmt::Debug for SortedOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SortedOptions")
    }
}

/// An open database of one chain, in this program's schema.
#[derive(Debug)]
pub(super) struct Database {
    db: DB,
    path: PathBuf,
    chain: BlockHash,
    /// How the files of coins are made that are taken in as they are.
    sorted_options: SortedOptions,
}

impl Database {
    /// Opens or makes the database in `path` and holds its identity against `chain`. Nothing is written into
    /// a folder that is refused.
    pub(super) fn open(path: &Path, chain: &Chain, options: &StoreOptions) -> Result<Self, OpenStoreError> {
        let owned = || path.to_path_buf();
        let failed = |source| OpenStoreError::Database { path: owned(), source };
        let storage = |source| OpenStoreError::Storage { path: owned(), source };
        let failed_to_forget = |source| OpenStoreError::Folder { path: owned(), source };
        fs::create_dir_all(path).map_err(|source| OpenStoreError::Folder { path: owned(), source })?;
        let cache = block_cache(options);
        let columns = |family| family_options(family, options, &cache);
        let settings = database_options(options);
        // RocksDB opens a database only with all its families, those of other schemas too.
        let present = if path.join(CURRENT_FILE).exists() {
            DB::list_cf(&Options::default(), path).map_err(failed)?
        } else {
            vec![DEFAULT_COLUMN_FAMILY_NAME.to_owned()]
        };
        let find = |name: &str| Family::ALL.into_iter().find(|family| family.name() == name);
        let descriptors = present.iter().map(|name| ColumnFamilyDescriptor::new(name, columns(find(name))));
        let db = DB::open_cf_descriptors(&settings, path, descriptors).map_err(failed)?;
        let sorted_options = SortedOptions(sorted_options(options, &cache));
        let mut database = Self { db, path: owned(), chain: chain.id(), sorted_options };
        let missing =
            Family::ALL.into_iter().filter(|family| !present.iter().any(|name| name == family.name()));
        match database.identity().map_err(storage)? {
            Some((found, _)) if found != SCHEMA_VERSION => {
                let (path, known) = (owned(), SCHEMA_VERSION);
                return Err(if found > known {
                    OpenStoreError::NewerSchema { path, found, known }
                } else {
                    OpenStoreError::OlderSchema { path, found, known }
                });
            }
            Some((_, found)) if found != chain.id() => {
                return Err(OpenStoreError::OtherChain { path: owned(), found, expected: chain.id() });
            }
            Some(_) => {
                if let Some(family) = missing.into_iter().next() {
                    let why = "it is not there";
                    return Err(storage(Fault::damaged(format!("the family {}", family.name()), why).into()));
                }
            }
            // New, or cut off while it was made.
            None => {
                let known = |name: &String| name == DEFAULT_COLUMN_FAMILY_NAME || find(name).is_some();
                if !present.iter().all(known) {
                    return Err(OpenStoreError::Foreign { path: owned() });
                }
                for family in missing {
                    database.db.create_cf(family.name(), &columns(Some(family))).map_err(failed)?;
                }
                database.write_identity().map_err(storage)?;
            }
        }
        forget_sorted(&path.join(SORTED_FILE)).map_err(failed_to_forget)?;
        Ok(database)
    }

    /// Schema version and chain id, unless they were never written.
    fn identity(&self) -> Result<Option<(u32, BlockHash)>, StoreError> {
        let Some(meta) = self.db.cf_handle(Family::Meta.name()) else { return Ok(None) };
        let get = |key, what: &str| {
            self.db.get_cf(meta, key).map_err(|source| Fault::Read { what: what.to_owned(), source })
        };
        let (schema, chain) = ("the schema version", "the chain id");
        let Some(version) = get(SCHEMA_KEY, schema)? else { return Ok(None) };
        let version = read_number(&version).map_err(|why| Fault::damaged(schema, why))?;
        let id = get(CHAIN_KEY, chain)?.ok_or_else(|| Fault::damaged(chain, "it is not there"))?;
        let id = read_hash(&id).map_err(|why| Fault::damaged(chain, why))?;
        Ok(Some((version, BlockHash::from_bytes(id))))
    }

    fn write_identity(&self) -> Result<(), StoreError> {
        let mut batch = self.batch();
        batch.put(Family::Meta, SCHEMA_KEY, SCHEMA_VERSION.to_be_bytes())?;
        batch.put(Family::Meta, CHAIN_KEY, self.chain.as_bytes())?;
        let points = ("database.identity.before", "database.identity.after");
        batch.commit(points, || "the schema version and the chain id".to_owned())?;
        self.sync()
    }

    /// The id of the chain.
    pub(super) const fn chain(&self) -> BlockHash {
        self.chain
    }

    /// RocksDB's own handle, for reading.
    pub(super) const fn db(&self) -> &DB {
        &self.db
    }

    /// RocksDB's handle of a family.
    pub(super) fn family(&self, family: Family) -> Result<&ColumnFamily, StoreError> {
        let found = self.db.cf_handle(family.name());
        Ok(found.ok_or_else(|| Fault::damaged(format!("the family {}", family.name()), "it is not there"))?)
    }

    /// The coins at outpoints, in their order; `sorted` says that they ascend. Large questions are answered on
    /// all cores.
    pub(super) fn coins(
        &self,
        outpoints: &[OutPoint],
        sorted: bool,
        options: &ReadOptions,
    ) -> Result<Vec<Option<Coin>>, StoreError> {
        let family = self.family(Family::Coins)?;
        let read = |(outpoint, value): (&OutPoint, Result<Option<DBPinnableSlice<'_>>, _>)| {
            let what = || format!("the coin {outpoint}");
            let value = value.map_err(|source| Fault::Read { what: what(), source })?;
            let coin = value.map(|bytes| read_coin(&bytes)).transpose();
            Ok(coin.map_err(|why| Fault::damaged(what(), why))?)
        };
        if let [outpoint] = outpoints {
            // What a batch of look-ups prepares costs more than one look-up.
            let value = self.db.get_pinned_cf_opt(family, coin_key(outpoint), options);
            return Ok(vec![read((outpoint, value))?]);
        }
        let look_up = |chunk: &[OutPoint]| {
            let keys: Vec<[u8; COIN_KEY_BYTES]> = chunk.iter().map(coin_key).collect();
            let values = self.db.batched_multi_get_cf_opt(family, &keys, sorted, options);
            chunk.iter().zip(values).map(read).collect::<Result<Vec<_>, StoreError>>()
        };
        if outpoints.len() <= COINS_PER_LOOKUP {
            return look_up(outpoints);
        }
        let chunks: Vec<Vec<_>> =
            outpoints.par_chunks(COINS_PER_LOOKUP).map(look_up).collect::<Result<_, _>>()?;
        Ok(chunks.concat())
    }

    /// A batch of writes, which come to be all at once or not at all.
    pub(super) fn batch(&self) -> Batch<'_> {
        Batch { database: self, writes: WriteBatch::default() }
    }

    /// Begins a file of coins that the database takes in whole.
    pub(super) fn sorted_file(&self) -> Result<SortedFile<'_>, StoreError> {
        let path = self.path.join(SORTED_FILE);
        let writer = SstFileWriter::create(&self.sorted_options.0);
        writer.open(&path).map_err(|source| Fault::write("a sorted file of coins", source))?;
        Ok(SortedFile { database: self, writer, path })
    }

    /// Waits until everything that was written is on the disk, so that not even a power loss can take it.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let what = "the write-ahead log";
        failpoint::hit("database.sync.before").map_err(|source| Fault::write(what, source))?;
        self.sync_log()?;
        // What is only in the log would be read again at the next start, which should be quick.
        let coins = self.family(Family::Coins)?;
        let unfiled = self.db.property_int_value_cf(coins, properties::CUR_SIZE_ALL_MEM_TABLES);
        if unfiled.ok().flatten().is_some_and(|bytes| bytes > MAX_UNFILED_BYTES) {
            self.db.flush_cf(coins).map_err(|source| Fault::write("the coins", source))?;
        }
        Ok(failpoint::hit("database.sync.after").map_err(|source| Fault::write(what, source))?)
    }

    /// Waits until what was written by batches is on the disk.
    pub(super) fn sync_log(&self) -> Result<(), StoreError> {
        Ok(self.db.flush_wal(true).map_err(|source| Fault::write("the write-ahead log", source))?)
    }

    /// Tidies a family away of which all rows were removed.
    pub(super) fn compact(&self, family: Family) -> Result<(), StoreError> {
        self.db.compact_range_cf::<&[u8], &[u8]>(self.family(family)?, None, None);
        Ok(())
    }

    /// Writes what is in memory into files, and waits until no flush and no compaction is left to do.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        settle(&self.db)
    }

    /// Merges the coins' files into their level, and says how many waited for that.
    pub(super) fn merge_coins(&self) -> Result<MergedFiles, StoreError> {
        let files = waiting_files(&self.db, self.family(Family::Coins)?)?;
        self.compact(Family::Coins)?;
        Ok(MergedFiles { files, most: FILES_A_COMPACTION.unsigned_abs() })
    }

    /// The bytes of all files of the database.
    pub(super) fn disk_bytes(&self) -> Result<u64, StoreError> {
        folder_bytes(&self.path)
    }

    /// The bytes of one family, in files and in what is about to be written to files.
    pub(super) fn family_bytes(&self, family: Family) -> Result<u64, StoreError> {
        let handle = self.family(family)?;
        let mut bytes: u64 = 0;
        for property in [properties::LIVE_SST_FILES_SIZE, properties::CUR_SIZE_ALL_MEM_TABLES] {
            let value = self.db.property_int_value_cf(handle, property);
            let failed =
                |source| Fault::Read { what: format!("the size of the family {}", family.name()), source };
            bytes = bytes.saturating_add(value.map_err(failed)?.unwrap_or(0));
        }
        Ok(bytes)
    }
}

/// Files that were merged into the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergedFiles {
    /// How many waited to be merged.
    pub files: u32,
    /// How many the database lets wait before it merges them by itself.
    pub most: u32,
}

/// How many files of a family wait to be merged.
pub(super) fn waiting_files(db: &DB, family: &ColumnFamily) -> Result<u32, StoreError> {
    let value = db.property_int_value_cf(family, properties::num_files_at_level(0));
    let what = || "the number of files".to_owned();
    let files = value.map_err(|source| Fault::Read { what: what(), source })?.unwrap_or(0);
    Ok(u32::try_from(files).unwrap_or(u32::MAX))
}

/// Removes a sorted file that a process was killed over: either the database has taken it in, as a copy, or its rows
/// are made again.
pub(super) fn forget_sorted(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes what a database has in memory into files, and waits until no flush and no compaction is left to do.
pub(super) fn settle(db: &DB) -> Result<(), StoreError> {
    let mut options = WaitForCompactOptions::default();
    options.set_flush(true);
    let failed = |source: rocksdb::Error| Fault::Write {
        what: "what is in memory into files".to_owned(),
        source: source.into(),
    };
    Ok(db.wait_for_compact(&options).map_err(failed)?)
}

/// The bytes of all files in a database's folder.
pub(super) fn folder_bytes(path: &Path) -> Result<u64, StoreError> {
    let failed =
        |error| StoreError::new(format!("reading the sizes of the files in {}: {error}", path.display()));
    let mut bytes: u64 = 0;
    for entry in fs::read_dir(path).map_err(failed)? {
        match entry.and_then(|entry| entry.metadata()) {
            Ok(metadata) => bytes = bytes.saturating_add(metadata.len()),
            // Compaction deletes files while they are counted.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(bytes)
}

/// Rows of the family of coins, in ascending order of their keys, on their way into the database past its log and
/// its memory: for large batches a third of the cost. They come to be all at once or not at all, and at once on the
/// disk.
pub(super) struct SortedFile<'a> {
    database: &'a Database,
    writer: SstFileWriter<'a>,
    path: PathBuf,
}

impl SortedFile<'_> {
    /// Sets the value of a key, or removes it.
    pub(super) fn add(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        let added = match value {
            Some(value) => self.writer.put(key, value),
            None => self.writer.delete(key),
        };
        Ok(added.map_err(|source| Fault::write("a sorted file of coins", source))?)
    }

    /// Has the database take the rows in, with a fail point before and one after. `what` says what they are, should
    /// it fail.
    pub(super) fn commit(
        mut self,
        (before, after): (&'static str, &'static str),
        what: impl Fn() -> String,
    ) -> Result<(), StoreError> {
        self.writer.finish().map_err(|source| Fault::write(what(), source))?;
        failpoint::hit(before).map_err(|source| Fault::write(what(), source))?;
        let family = self.database.family(Family::Coins)?;
        // Copied rather than moved: what the writer writes it asks the kernel to forget.
        let options = IngestExternalFileOptions::default();
        let taken = self.database.db.ingest_external_file_cf_opts(family, &options, vec![&self.path]);
        taken.map_err(|source| Fault::write(what(), source))?;
        failpoint::hit(after).map_err(|source| Fault::write(what(), source))?;
        Ok(fs::remove_file(&self.path).map_err(|source| Fault::write(what(), source))?)
    }
}

/// Writes that belong together.
pub(super) struct Batch<'a> {
    database: &'a Database,
    writes: WriteBatch,
}

impl Batch<'_> {
    /// Sets the value of a key.
    pub(super) fn put(
        &mut self,
        family: Family,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), StoreError> {
        self.writes.put_cf(self.database.family(family)?, key, value);
        Ok(())
    }

    /// Removes a key.
    pub(super) fn delete(&mut self, family: Family, key: impl AsRef<[u8]>) -> Result<(), StoreError> {
        self.writes.delete_cf(self.database.family(family)?, key);
        Ok(())
    }

    /// How many rows are in it.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    /// Removes all rows of a family.
    pub(super) fn delete_all(&mut self, family: Family) -> Result<(), StoreError> {
        // No key is as long as this, or begins with so many of the highest byte.
        self.writes.delete_range_cf(self.database.family(family)?, [].as_slice(), [u8::MAX; 80].as_slice());
        Ok(())
    }

    /// Writes all of it, with a fail point before and one after. `what` says what it is, should it fail.
    pub(super) fn commit(
        self,
        (before, after): (&'static str, &'static str),
        what: impl Fn() -> String,
    ) -> Result<(), StoreError> {
        failpoint::hit(before).map_err(|source| Fault::write(what(), source))?;
        let written = self.database.db.write_opt(self.writes, &write_options());
        written.map_err(|source| Fault::write(what(), source))?;
        Ok(failpoint::hit(after).map_err(|source| Fault::write(what(), source))?)
    }
}
