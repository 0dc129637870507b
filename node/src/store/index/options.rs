//! How the index's RocksDB is set up, each choice with its reason. The figures are in [`super`].

use rocksdb::{
    BlockBasedOptions, Cache, DBCompactionStyle, DBCompressionType, Options, ReadOptions, SliceTransform,
    WriteOptions,
};

use super::{
    super::options::common_options,
    schema::{Family, TRANSACTION},
};

/// Bits of filter a key: about one look-up in a hundred for a transaction that is not there reads a block in
/// vain.
const FILTER_BITS_PER_KEY: f64 = 10.0;
/// The name of what the filter is about, on the disk: the keys of transactions, whole.
const TRANSACTIONS_ALONE: &str = "cairn.transactions";
/// From how many files of overlapping keys on they are merged: what an address's rows are gathered from. Fewer would
/// have each row merged more often, which is most of what the index costs.
pub(super) const MAX_SORTED_RUNS: i32 = 16;
/// How far a scan reads ahead, in bytes.
const SCAN_READAHEAD_BYTES: usize = 256 << 10;

/// What an operator may choose. The defaults suit four nodes on one laptop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexOptions {
    /// Memory for blocks, indexes and filters of the database's files, in bytes.
    pub block_cache_bytes: usize,
    /// Memory for what was written in small batches and is not yet in files, in bytes.
    pub write_buffer_bytes: usize,
    /// Memory for the rows of blocks that are written together while the index catches up, in bytes.
    pub batch_bytes: usize,
    /// The most files that the database holds open (threat S06).
    pub max_open_files: u16,
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 16 << 20,
            write_buffer_bytes: 16 << 20,
            batch_bytes: 32 << 20,
            max_open_files: 32,
        }
    }
}

/// Options of the index's database as a whole.
pub(super) fn database_options(options: &IndexOptions) -> Options {
    let mut database = common_options(options.write_buffer_bytes, options.max_open_files);
    database.set_max_total_wal_size(2 * options.write_buffer_bytes as u64);
    // One thread writes: without the care for several, sorted rows go in next to one another for less.
    database.set_allow_concurrent_memtable_write(false);
    database
}

/// The cache that all families share.
pub(super) fn block_cache(options: &IndexOptions) -> Cache {
    Cache::new_lru_cache(options.block_cache_bytes)
}

/// Options of one column family; `None` is RocksDB's own default family, which stays empty.
pub(super) fn family_options(family: Option<Family>, options: &IndexOptions, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Indexes and filters live in the cache too, so that the cache's size bounds all memory for reading.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut column = Options::default();
    // Whoever asks for a transaction may ask in vain; addresses are asked for by range, where a filter of whole
    // keys is of no use.
    if family == Some(Family::Rows) {
        table.set_bloom_filter(FILTER_BITS_PER_KEY, false);
        table.set_whole_key_filtering(false);
        let is_transaction = |key: &[u8]| key.first() == Some(&TRANSACTION);
        column.set_prefix_extractor(SliceTransform::create(
            TRANSACTIONS_ALONE,
            |key| key,
            Some(is_transaction),
        ));
    }
    column.set_block_based_table_factory(&table);
    // Hashes do not compress, and they are nearly all that is stored.
    column.set_compression_type(DBCompressionType::None);
    column.set_write_buffer_size(options.write_buffer_bytes / 2);
    // Files of scattered keys overlap, and levels would be rewritten with every few of them: universal compaction
    // merges files of like size, and few of them only.
    column.set_compaction_style(DBCompactionStyle::Universal);
    column.set_level_zero_file_num_compaction_trigger(MAX_SORTED_RUNS);
    column
}

/// How files of rows are made that the database takes in as they are: like its own.
pub(super) fn sorted_options(options: &IndexOptions, cache: &Cache) -> Options {
    family_options(Some(Family::Rows), options, cache)
}

/// How every batch is written: with the write-ahead log, so that the death of the process loses nothing, and
/// without waiting for the disk, since what a power loss takes is made again from the blocks.
pub(super) fn write_options() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(false);
    options.set_sync(false);
    options
}

/// How many rows of an address are read.
pub(super) fn scan_options() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_readahead_size(SCAN_READAHEAD_BYTES);
    options
}
