//! The index's database: its identity, its tip, and the one way in which it is written.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chain::{
    genesis::Chain, hash::BlockHash, height::Height, ledger::BlockId, store::StoreError,
    transaction::OutPoint, utxo::Coin,
};
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DEFAULT_COLUMN_FAMILY_NAME, ErrorKind,
    IngestExternalFileOptions, Options, SstFileWriter, WriteBatch,
};

use super::{
    super::{
        database::{MergedFiles, SortedOptions, folder_bytes, forget_sorted, settle, waiting_files},
        fault::{Fault, OpenStoreError},
    },
    options::{
        IndexOptions, MAX_SORTED_RUNS, block_cache, database_options, family_options, sorted_options,
        write_options,
    },
    reading::IndexSnapshot,
    rows::Rows,
    schema::{CHAIN_KEY, Family, INDEX_VERSION, SCHEMA_KEY, TIP_KEY, read_tip, write_tip},
    source::SourceBlock,
};

/// The file in which rows are gathered that the database then takes in.
const SORTED_FILE: &str = "rows.sorted";
/// From how many bytes of rows on they are written as a sorted file: for large batches less than half of the cost.
/// Tests have few rows, and go both ways.
const SORTED_FILE_BYTES: usize = if cfg!(test) { 4 << 10 } else { 4 << 20 };
/// The file by which RocksDB knows its folders.
const CURRENT_FILE: &str = "CURRENT";
/// A file of this name in the folder says that the index was found damaged, and is made anew at the next start.
pub(super) const DAMAGED_FILE: &str = "DAMAGED";

/// The indexes of one chain: where each transaction is, what touched each address, which coins it has.
#[derive(Debug)]
pub struct IndexDb {
    db: DB,
    path: PathBuf,
    chain: BlockHash,
    batch_bytes: usize,
    sorted_options: SortedOptions,
}

/// Why a folder is not opened as it is.
enum Refusal {
    /// It is made anew from the blocks: it holds nothing that they do not.
    Rebuild(String),
    /// It is left as it is.
    Refuse(OpenStoreError),
}

impl IndexDb {
    /// Opens the index of `chain` in the folder `path`, which is made where it does not exist. An index that is
    /// damaged or of an older version is removed, and begins anew at the genesis block; the log says so.
    ///
    /// # Errors
    /// [`OpenStoreError`] where the folder belongs to another chain, a newer version or another process, or cannot
    /// be read. A refused folder is left as it was.
    pub fn open(path: &Path, chain: &Chain, options: &IndexOptions) -> Result<Self, OpenStoreError> {
        match Self::open_as_it_is(path, chain, options) {
            Ok(database) => Ok(database),
            Err(Refusal::Refuse(error)) => Err(error),
            Err(Refusal::Rebuild(why)) => Self::open_anew(path, chain, options, &why),
        }
    }

    /// Removes the index in `path` and opens an empty one; `why` is for the log.
    pub(super) fn open_anew(
        path: &Path,
        chain: &Chain,
        options: &IndexOptions,
        why: &str,
    ) -> Result<Self, OpenStoreError> {
        tracing::warn!(path = %path.display(), why, "the index is made anew from the blocks");
        fs::remove_dir_all(path)
            .map_err(|source| OpenStoreError::Folder { path: path.to_path_buf(), source })?;
        Self::open_as_it_is(path, chain, options).map_err(|refusal| match refusal {
            Refusal::Refuse(error) => error,
            Refusal::Rebuild(why) => {
                OpenStoreError::Storage { path: path.to_path_buf(), source: StoreError::new(why) }
            }
        })
    }

    fn open_as_it_is(path: &Path, chain: &Chain, options: &IndexOptions) -> Result<Self, Refusal> {
        let owned = || path.to_path_buf();
        let refuse = |source| Refusal::Refuse(OpenStoreError::Folder { path: owned(), source });
        fs::create_dir_all(path).map_err(refuse)?;
        if path.join(DAMAGED_FILE).exists() {
            return Err(Refusal::Rebuild("it was found damaged".to_owned()));
        }
        // Whatever the database calls damage is damage; what may be the fault of another process, of permissions or
        // of a full disk is reported.
        let failed = |source: rocksdb::Error| match source.kind() {
            ErrorKind::Corruption | ErrorKind::InvalidArgument => Refusal::Rebuild(source.to_string()),
            _ => Refusal::Refuse(OpenStoreError::Database { path: owned(), source }),
        };
        let storage = |error: StoreError| Refusal::Rebuild(error.to_string());
        let cache = block_cache(options);
        let columns = |family| family_options(family, options, &cache);
        // RocksDB opens a database only with all its families.
        let present = if path.join(CURRENT_FILE).exists() {
            DB::list_cf(&Options::default(), path).map_err(failed)?
        } else {
            vec![DEFAULT_COLUMN_FAMILY_NAME.to_owned()]
        };
        let find = |name: &str| Family::ALL.into_iter().find(|family| family.name() == name);
        let descriptors = present.iter().map(|name| ColumnFamilyDescriptor::new(name, columns(find(name))));
        let db = DB::open_cf_descriptors(&database_options(options), path, descriptors).map_err(failed)?;
        let sorted_options = SortedOptions(sorted_options(options, &cache));
        let batch_bytes = options.batch_bytes;
        let mut database = Self { db, path: owned(), chain: chain.id(), batch_bytes, sorted_options };
        let missing =
            Family::ALL.into_iter().filter(|family| !present.iter().any(|name| name == family.name()));
        match database.identity().map_err(storage)? {
            Some((found, _)) if found > INDEX_VERSION => {
                let known = INDEX_VERSION;
                return Err(Refusal::Refuse(OpenStoreError::NewerSchema { path: owned(), found, known }));
            }
            Some((_, found)) if found != chain.id() => {
                let expected = chain.id();
                return Err(Refusal::Refuse(OpenStoreError::OtherChain { path: owned(), found, expected }));
            }
            Some((found, _)) if found < INDEX_VERSION => {
                return Err(Refusal::Rebuild(format!(
                    "its version is {found}, and {INDEX_VERSION} is wanted"
                )));
            }
            Some(_) => {
                if let Some(family) = missing.into_iter().next() {
                    return Err(Refusal::Rebuild(format!("the family {} is not there", family.name())));
                }
                database.tip().map_err(storage)?;
            }
            // New, or cut off while it was made.
            None => {
                let known = |name: &String| name == DEFAULT_COLUMN_FAMILY_NAME || find(name).is_some();
                if !present.iter().all(known) {
                    return Err(Refusal::Refuse(OpenStoreError::Foreign { path: owned() }));
                }
                for family in missing {
                    database.db.create_cf(family.name(), &columns(Some(family))).map_err(failed)?;
                }
                database.write_identity().map_err(storage)?;
            }
        }
        forget_sorted(&path.join(SORTED_FILE)).map_err(refuse)?;
        Ok(database)
    }

    /// Version and chain id, unless they were never written.
    fn identity(&self) -> Result<Option<(u32, BlockHash)>, StoreError> {
        let Some(meta) = self.db.cf_handle(Family::Meta.name()) else { return Ok(None) };
        let get = |key, what: &str| {
            let value = self.db.get_cf(meta, key);
            value.map_err(|source| Fault::Read { what: what.to_owned(), source })
        };
        let (schema, chain) = ("the index's version", "the index's chain id");
        let Some(version) = get(SCHEMA_KEY, schema)? else { return Ok(None) };
        let version: [u8; 4] =
            version.as_slice().try_into().map_err(|_| Fault::damaged(schema, "it does not have 4 bytes"))?;
        let id = get(CHAIN_KEY, chain)?.ok_or_else(|| Fault::damaged(chain, "it is not there"))?;
        let id: [u8; 32] =
            id.as_slice().try_into().map_err(|_| Fault::damaged(chain, "it does not have 32 bytes"))?;
        Ok(Some((u32::from_be_bytes(version), BlockHash::from_bytes(id))))
    }

    fn write_identity(&self) -> Result<(), StoreError> {
        let meta = self.family(Family::Meta)?;
        let mut writes = WriteBatch::default();
        writes.put_cf(meta, SCHEMA_KEY, INDEX_VERSION.to_be_bytes());
        writes.put_cf(meta, CHAIN_KEY, self.chain.as_bytes());
        self.write(writes, || "the index's version and chain id".to_owned())
    }

    /// The folder of the index.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
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

    /// The tip where nothing was applied.
    pub(super) const fn genesis(&self) -> BlockId {
        BlockId { height: Height::ZERO, hash: self.chain }
    }

    /// The block up to which the index speaks.
    ///
    /// # Errors
    /// [`StoreError`]; so for all methods.
    pub fn tip(&self) -> Result<BlockId, StoreError> {
        let what = || "the index's tip".to_owned();
        let value = self.db.get_pinned_cf(self.family(Family::Rows)?, TIP_KEY);
        let value = value.map_err(|source| self.failed_read(what(), source))?;
        let Some(bytes) = value else { return Ok(self.genesis()) };
        read_tip(&bytes).map_err(|why| self.damaged(what(), why))
    }

    /// The index as it is now.
    #[must_use]
    pub fn snapshot(&self) -> IndexSnapshot<'_> {
        IndexSnapshot::new(self)
    }

    /// Changes that begin at the index's tip.
    pub fn batch(&self) -> Result<IndexBatch<'_>, StoreError> {
        Ok(IndexBatch { database: self, rows: Rows::new(), tip: self.tip()? })
    }

    /// Waits until everything that was written is on the disk.
    pub fn sync(&self) -> Result<(), StoreError> {
        let failed = |source: rocksdb::Error| Fault::Write {
            what: "the index's write-ahead log".to_owned(),
            source: source.into(),
        };
        Ok(self.db.flush_wal(true).map_err(failed)?)
    }

    /// Writes what is in memory into files, and waits until no flush and no compaction is left to do.
    pub fn settle(&self) -> Result<(), StoreError> {
        settle(&self.db)
    }

    /// Merges all files of rows, and says how many waited for that.
    pub fn merge(&self) -> Result<MergedFiles, StoreError> {
        self.settle()?;
        let rows = self.family(Family::Rows)?;
        let files = waiting_files(&self.db, rows)?;
        self.db.compact_range_cf::<&[u8], &[u8]>(rows, None, None);
        Ok(MergedFiles { files, most: MAX_SORTED_RUNS.unsigned_abs() })
    }

    /// The bytes of all files of the index.
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        folder_bytes(&self.path)
    }

    /// Notes in the folder that the index is to be made anew at the next start.
    pub(super) fn mark_damaged(&self, why: &str) {
        // Where not even that can be written, the damage is met again.
        if let Err(error) = fs::write(self.path.join(DAMAGED_FILE), why) {
            tracing::error!(%error, "that the index is damaged cannot be noted in its folder");
        }
    }

    /// Damage that was met while the node runs.
    pub(super) fn damaged(&self, what: impl Into<String>, why: impl Into<String>) -> StoreError {
        let error = StoreError::new(format!(
            "the index is damaged: {}: {}; check the disk; at the next start it is made anew from the blocks",
            what.into(),
            why.into()
        ));
        self.mark_damaged(&error.to_string());
        error
    }

    /// The database could not read; a wrong checksum is damage.
    pub(super) fn failed_read(&self, what: String, source: rocksdb::Error) -> StoreError {
        if source.kind() == ErrorKind::Corruption {
            self.damaged(what, source.to_string())
        } else {
            Fault::Read { what, source }.into()
        }
    }

    /// The database could not write; a wrong checksum of what it read for that is damage.
    fn failed_write(&self, what: String, source: rocksdb::Error) -> StoreError {
        if source.kind() == ErrorKind::Corruption {
            self.damaged(what, source.to_string())
        } else {
            Fault::Write { what, source: source.into() }.into()
        }
    }

    fn write(&self, writes: WriteBatch, what: impl FnOnce() -> String) -> Result<(), StoreError> {
        self.db.write_opt(writes, &write_options()).map_err(|source| self.failed_write(what(), source))
    }

    /// Has the database take in a file of rows, which `write` puts into it in ascending order of their keys: past its
    /// log and its memory, all at once or not at all, and at once on the disk.
    fn take_sorted(
        &self,
        what: impl Fn() -> String,
        write: impl FnOnce(&mut SstFileWriter<'_>) -> Result<(), rocksdb::Error>,
    ) -> Result<(), StoreError> {
        let path = self.path.join(SORTED_FILE);
        let mut file = SstFileWriter::create(&self.sorted_options.0);
        // Copied rather than moved: what the writer writes it asks the kernel to forget.
        let options = IngestExternalFileOptions::default();
        let family = self.family(Family::Rows)?;
        let taken = file.open(&path).and_then(|()| write(&mut file)).and_then(|()| file.finish());
        let taken = taken.and_then(|()| self.db.ingest_external_file_cf_opts(family, &options, vec![&path]));
        taken.map_err(|source| self.failed_write(what(), source))?;
        Ok(fs::remove_file(&path).map_err(|source| Fault::write(what(), source))?)
    }
}

/// Changes of several blocks that come to be all at once, with the tip, or not at all.
pub struct IndexBatch<'a> {
    database: &'a IndexDb,
    rows: Rows,
    tip: BlockId,
}

impl IndexBatch<'_> {
    /// The tip that the index has after this batch.
    #[must_use]
    pub const fn tip(&self) -> BlockId {
        self.tip
    }

    /// Whether it is time to write: the memory for a batch is used up.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows.bytes() >= self.database.batch_bytes
    }

    /// Adds the block `id`, which stands on the tip. `undo` is what it spent, in the order of its inputs.
    ///
    /// # Errors
    /// [`StoreError`] where the block does not stand on the tip, or `undo` is not its undo data. The batch is then
    /// of no use.
    pub fn apply(
        &mut self,
        id: BlockId,
        block: &SourceBlock,
        undo: &[(OutPoint, Coin)],
    ) -> Result<(), StoreError> {
        if block.previous() != self.tip.hash || self.tip.height.next() != Some(id.height) {
            let what = format!("adding block {} to the index", id.hash);
            return Err(Fault::mismatch(what, format!("the tip is {}", self.tip.hash)).into());
        }
        self.rows.apply(block, undo, id.height)?;
        self.tip = id;
        Ok(())
    }

    /// Takes the block at the tip away.
    ///
    /// # Errors
    /// [`StoreError`] where the genesis block is the tip, or `undo` is not the block's undo data. The batch is then
    /// of no use.
    pub fn revert(&mut self, block: &SourceBlock, undo: &[(OutPoint, Coin)]) -> Result<(), StoreError> {
        let below = self.tip.height.get().checked_sub(1).map(Height::new);
        let Some(below) = below.filter(|_| block.height() == self.tip.height) else {
            let what = format!("taking block {} out of the index", self.tip.hash);
            return Err(Fault::mismatch(what, format!("its height is {}", self.tip.height)).into());
        };
        self.rows.revert(block, undo, self.tip.height)?;
        self.tip = BlockId { height: below, hash: block.previous() };
        Ok(())
    }

    /// Writes all of it and begins anew.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn commit(&mut self) -> Result<(), StoreError> {
        let rows = std::mem::replace(&mut self.rows, Rows::new());
        let what = || format!("the index up to block {}", self.tip.hash);
        let tip = write_tip(&self.tip);
        let tip = Some(tip.as_slice()).filter(|_| self.tip != self.database.genesis());
        if rows.bytes() >= SORTED_FILE_BYTES {
            return self.database.take_sorted(what, |file| {
                rows.write(tip, |key, value| match value {
                    Some(value) => file.put(key, value),
                    None => file.delete(key),
                })
            });
        }
        let family = self.database.family(Family::Rows)?;
        let mut writes = WriteBatch::with_capacity_bytes(rows.bytes());
        rows.write(tip, |key, value| {
            match value {
                Some(value) => writes.put_cf(family, key, value),
                None => writes.delete_cf(family, key),
            }
            Ok::<_, StoreError>(())
        })?;
        self.database.write(writes, what)
    }
}
