//! The mempool's promises, each over a real ledger in memory.

mod batches;
mod files;
mod model;
mod promises;
mod replacing;
mod reverting;
mod world;
