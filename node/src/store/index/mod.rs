//! The indexes: where each transaction is, what touched each address, which coins it has. A database of their own
//! beside the store, [`schema`] on one page, made from blocks and undo data alone.
//!
//! No block waits for them: an [indexer](spawn) follows the tip that the store has flushed, on a thread of its
//! own, and catches up from wherever it is, also after a start without it. Rows and the tip that they belong to
//! are one batch, so that they never part, whenever the process dies (threat S01). Whoever asks reads one
//! [`IndexSnapshot`] and looks at its tip first.
//!
//! Nothing is here that the blocks do not hold: an index that is damaged, of an older version, or whose tip the store
//! does not have is thrown away and made anew, and the log says so. One of another chain or a newer version is
//! refused. Damage is never served: it is an error that names it, and a mark by which the next start begins anew
//! (threat S04).
//!
//! # What it costs
//!
//! A payment of one input and two outputs is a row of `transactions`, three of `history`, two of `address_coins` and
//! the removal of a third. `tests/measure.rs` measures it: process CPU time of making the rows, writing, flushing
//! and compacting, 200,000 payments on an index of 1,000,000 coins at random.
//!
//! On two busy cores, the least of a few runs, in microseconds a payment. The first line is that program; the others
//! are the same rows written by themselves, where making them costs a third of one:
//!
//! | options                                                     | all  | writing | flushing and merging after |
//! | ----------------------------------------------------------- | ---- | ------- | -------------------------- |
//! | levels, 32 MiB of write buffer (the whole program)          | 18.5 | 8.8     | 8.5                        |
//! | universal compaction from 8 files on, 32 MiB                | 12.0 | 7.7     | 3.0                        |
//! | universal compaction from 8 files on, 64 MiB: what is used  | 7.0  | 5.5     | 0.8                        |
//! | the same without the write-ahead log                        | 6.9  | 5.2     | 0.8                        |
//!
//! The write buffer is taken as it fills, so that the index of a small chain takes little of it. Batches of 8 MiB,
//! sorted: rows that are neighbours go in next to one another.

mod database;
mod indexer;
mod options;
mod reading;
mod rows;
mod schema;
mod source;
#[cfg(test)]
mod tests;

pub use self::{
    database::{IndexBatch, IndexDb},
    indexer::{IndexHandle, IndexProgress, open, spawn},
    options::IndexOptions,
    reading::{HistoryEntry, IndexSnapshot, IndexedCoin, MAX_HISTORY_ENTRIES, TransactionPlace},
    schema::INDEX_VERSION,
    source::{BlockSource, SourceBlock},
};
