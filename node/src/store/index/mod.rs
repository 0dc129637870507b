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
//! A payment of one input and two outputs is a row of where it is, three of history, two of coins and the removal of a
//! third. Measured by themselves, the rows of 200,000 such payments on an index of 1,000,000 coins took 18.5 us of
//! CPU time a payment in levels and 7.0 in universal compaction, of which 5.2 were RocksDB's memory (levels rewrite
//! scattered keys with every few files). So a large batch, as an index has them that catches up, is sorted and goes
//! past log and memory, as a file that the database takes in whole. With that the indexer's own thread takes about
//! 4.6 us a payment, sorting and that file included; merging is the rest, and comes the more seldom the larger batches
//! and the more files are left beside each other.

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
