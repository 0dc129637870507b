//! How RocksDB is set up, each choice with its reason.
//!
//! The choices for the coins are measured: microseconds of CPU time of the process, flushes and compactions
//! included, a payment that reads one coin that is in none of our caches (the kernel has the file), deletes
//! it and makes two, over 1,000,000 coins of 36 + 39 bytes; 200,000 payments in sorted batches of 57,000. One
//! machine with two cores that had other work to do: differences below a tenth mean nothing.
//!
//! | setting | reading | writing | background | bytes a coin |
//! | --- | --- | --- | --- | --- |
//! | RocksDB's defaults, bloom filter of 10 bits, 16 MiB buffers | 4.9 | 2.8 | 4.8 | 73.6 |
//! | no filter | +3 | | | -1.2 |
//! | no filter in the last level (where nearly all coins are found) | 4.2 | 2.4 | 3.6 | 72.4 |
//! | and data blocks of 2 KiB | 4.3 | 2.2 | 3.7 | 73.1 |
//! | data blocks of 1 KiB | +3 | | +1.5 | +1.7 |
//! | hash index in the data blocks | +1 | | | +1.4 |
//! | restarts every 8 keys | 3.9 | 2.1 | 3.2 | 73.5 |
//! | hints for sorted inserts | 3.7 | 2.2 | 2.9 | 72.4 |
//! | universal compaction | 3.8 | 2.2 | 3.4 | 72.4 to 108 |
//! | hints, 32 MiB buffers, compaction at 4 files | 3.6 | 2.0 | 2.9 | 74.9 |
//! | **hints, 32 MiB buffers, compaction at 8 files** | 3.4 | 2.0 | 0.7 | 92 until compacted |
//! | and HyperClockCache | 3.1 | 1.9 | 0.7 | |
//! | and hybrid ribbon filter | 3.8 | 2.4 | 0.8 | |
//! | the chosen without compression, over 4,000,000 coins | 6.9 | 1.9 | 0.6 | 77.3 |
//! | the chosen: LZ4 in the last level, over 4,000,000 coins | 7.4 | 2.0 | 0.7 | 70.1 |
//!
//! Then the whole of `make bench ARGS=connect`, in microseconds of CPU time a payment, both on one machine by turns
//! (medians of four; a signature in a batch is 16 of them):
//!
//! | large batches | a payment |
//! | --- | --- |
//! | through log and memory, 3 files of 20 MB each | 31.1 |
//! | **as sorted files that the database takes in, 4 of 11 MB each** | 25.3 |
//!
//! About 4 of the difference is a merge of eight files that was due within the one measurement and not within the
//! other: eight files of 11 MB are due more often than eight of 20 MB, but their merges are smaller.

use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel, Options, ReadOptions, WriteOptions,
};

use super::{failpoint::is_armed, schema::Family};

/// Bits of filter a key: about one look-up in a hundred for a key that is not there reads a block in vain.
const FILTER_BITS_PER_KEY: f64 = 10.0;
/// The write-ahead log is cut at this size, in bytes: what is read again after a crash, in about a second. An
/// orderly end leaves next to nothing in it.
const MAX_WAL_BYTES: u64 = 96 << 20;
/// How many flushed files of a family are merged into the levels at once: more means that each coin is merged
/// less often, and that a look-up asks more filters.
pub(super) const FILES_A_COMPACTION: i32 = 8;
/// What an entry of the cache is expected to take, in bytes: RocksDB's data blocks.
const CACHE_ENTRY_BYTES: usize = 4 << 10;
/// RocksDB's own log file is cut at this size, in bytes.
const MAX_LOG_FILE_BYTES: usize = 1 << 20;
/// How many of RocksDB's own log files are kept.
const KEPT_LOG_FILES: usize = 2;
/// Room that is taken on the disk ahead of the list of files, in bytes: RocksDB's 4 MiB are a hundred times what a
/// node's list has, which matters on a small disk.
const MANIFEST_AHEAD_BYTES: usize = 64 << 10;
/// Threads for flushes and compactions: four nodes on one laptop are four times as many.
const BACKGROUND_JOBS: i32 = 2;
/// How far a scan reads ahead, in bytes.
const SCAN_READAHEAD_BYTES: usize = 1 << 20;

/// From how many changed coins on a flush writes a sorted file, past the database's log and its memory: below, waiting
/// for the disk and one more file among those that a look-up asks would cost more than that saves. Tests have few
/// coins.
const SORTED_FILE_COINS: usize = if cfg!(any(test, feature = "failpoints")) { 8 } else { 65_536 };

/// What an operator may choose. The defaults suit four nodes on one laptop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Memory for coins: what changed since the last flush, and what was read, in bytes. When half of it waits
    /// to be written, it is written at the next block boundary.
    pub db_cache_bytes: usize,
    /// Memory for blocks, indexes and filters of the database's files, shared by all column families, in
    /// bytes.
    pub block_cache_bytes: usize,
    /// Memory for what was written and is not yet in files, all column families together, in bytes.
    pub write_buffer_bytes: usize,
    /// The most files that the database holds open (threat S06). More files than these are opened and closed
    /// as they are needed.
    pub max_open_files: u16,
    /// From how many changed coins on a flush writes a sorted file instead of a batch, which is on the disk at once.
    pub sorted_file_coins: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            db_cache_bytes: 64 << 20,
            block_cache_bytes: 128 << 20,
            write_buffer_bytes: 64 << 20,
            max_open_files: 64,
            // Whoever arms a point of the other way of flushing wants to come there.
            sorted_file_coins: if is_armed("coins.flush") { usize::MAX } else { SORTED_FILE_COINS },
        }
    }
}

/// What every database of a node has in common: the store's and the index's.
pub(super) fn common_options(write_buffer_bytes: usize, max_open_files: u16) -> Options {
    let mut database = Options::default();
    database.create_if_missing(true);
    // Checksums are verified wherever bytes come from the disk, and a fault stops all writing (threat S04).
    database.set_paranoid_checks(true);
    // After a power loss the log may end in a torn record: everything before it is kept, nothing behind it,
    // so that the database is at an earlier tip, whole (threats S02 and S03). `AbsoluteConsistency` would refuse
    // to start, the other modes would pick records from behind a hole.
    database.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    database.set_db_write_buffer_size(write_buffer_bytes);
    database.set_max_background_jobs(BACKGROUND_JOBS);
    database.set_manifest_preallocation_size(MANIFEST_AHEAD_BYTES);
    database.set_max_open_files(i32::from(max_open_files));
    // By default the list of open files is cut into more parts than there may be files, so that two files in one
    // part would close each other at every look-up.
    database.set_table_cache_num_shard_bits(0);
    database.set_max_file_opening_threads(1);
    // An idle node sleeps: no statistics on a timer.
    database.set_stats_dump_period_sec(0);
    database.set_stats_persist_period_sec(0);
    database.set_log_level(LogLevel::Warn);
    database.set_max_log_file_size(MAX_LOG_FILE_BYTES);
    database.set_keep_log_file_num(KEPT_LOG_FILES);
    database
}

/// Options of the store's database as a whole.
pub(super) fn database_options(options: &StoreOptions) -> Options {
    let mut database = common_options(options.write_buffer_bytes, options.max_open_files);
    // A log that was synced and is now missing or short is an error, not an older tip.
    database.set_track_and_verify_wals_in_manifest(true);
    database.set_max_total_wal_size(MAX_WAL_BYTES);
    database
}

/// The cache that all families share.
pub(super) fn block_cache(options: &StoreOptions) -> Cache {
    Cache::new_hyper_clock_cache(options.block_cache_bytes, CACHE_ENTRY_BYTES)
}

/// Options of one column family; `None` is RocksDB's own default family, which stays empty.
pub(super) fn family_options(family: Option<Family>, options: &StoreOptions, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Indexes and filters live in the cache too, so that the cache's size bounds all memory for reading.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    if family.is_some_and(Family::is_probed) {
        table.set_bloom_filter(FILTER_BITS_PER_KEY, false);
    }
    let mut column = Options::default();
    column.set_block_based_table_factory(&table);
    // Hashes, keys and signatures do not compress, and they are nearly all that is stored.
    column.set_compression_type(DBCompressionType::None);
    if family == Some(Family::Coins) {
        // But names of sister coins, equal addresses and RocksDB's own zeros do, where coins come to rest.
        column.set_bottommost_compression_type(DBCompressionType::Lz4);
    }
    // One family may fill half of the memory for writing; the bound on all of them flushes earlier.
    column.set_write_buffer_size(options.write_buffer_bytes / 2);
    column.set_level_zero_file_num_compaction_trigger(FILES_A_COMPACTION);
    // Coins are asked for where they are; what is asked for in vain is new and stops at the upper levels' filters
    // or costs one read.
    column.set_optimize_filters_for_hits(family == Some(Family::Coins));
    column
}

/// How files of coins are made that the database takes in as they are: like its own newest ones.
pub(super) fn sorted_options(options: &StoreOptions, cache: &Cache) -> Options {
    let mut column = family_options(Some(Family::Coins), options, cache);
    // Else the writer would take this for where coins come to rest.
    column.set_bottommost_compression_type(DBCompressionType::None);
    column
}

/// How every batch is written: with the write-ahead log, so that the death of the process loses nothing
/// (the kernel has the bytes), and without waiting for the disk, so that a power loss may cost the last
/// blocks, a suffix, which peers give again.
pub(super) fn write_options() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(false);
    options.set_sync(false);
    // Batches are sorted: each row goes in near the one before it.
    options.set_memtable_insert_hint_per_batch(true);
    options
}

/// How a family is read from end to end: ahead of the reader, and past the cache, which a scan would empty.
pub(super) fn scan_options() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_readahead_size(SCAN_READAHEAD_BYTES);
    options
}
