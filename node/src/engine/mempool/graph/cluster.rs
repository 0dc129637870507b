//! A cluster, and the places of its chunks among all.

use std::cmp::Ordering;

use super::{FeeRate, Slot, linearisation::Chunk};

/// Transactions that hang together.
#[derive(Debug)]
pub(super) enum Cluster {
    /// One transaction, as most are: nothing is allocated for it.
    Alone(Slot, Chunk),
    /// All members, in the order in which they are best mined; none where the number is free.
    Many { order: Vec<Slot>, chunks: Vec<Chunk> },
}

impl Default for Cluster {
    fn default() -> Self {
        Self::Many { order: Vec::new(), chunks: Vec::new() }
    }
}

impl Cluster {
    pub(super) fn order(&self) -> &[Slot] {
        match self {
            Self::Alone(slot, _) => std::slice::from_ref(slot),
            Self::Many { order, .. } => order,
        }
    }

    pub(super) fn chunks(&self) -> &[Chunk] {
        match self {
            Self::Alone(_, chunk) => std::slice::from_ref(chunk),
            Self::Many { chunks, .. } => chunks,
        }
    }
}

/// A chunk's place among all: the best rate first, then what waits longest, then its place in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkKey {
    pub(super) rate: FeeRate,
    /// The age of its oldest transaction; among equals of one cluster never below that of the chunk before.
    pub(super) age: u64,
    pub(super) chunk: usize,
    pub(super) cluster: u32,
    /// Its one transaction where it is a cluster of one, as most are: then whoever walks the chunks need not look
    /// the cluster up.
    pub(super) alone: Option<Slot>,
}

impl Ord for ChunkKey {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .rate
            .cmp(&self.rate)
            .then(self.age.cmp(&other.age))
            .then(self.chunk.cmp(&other.chunk))
            .then(self.cluster.cmp(&other.cluster))
    }
}

impl PartialOrd for ChunkKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
