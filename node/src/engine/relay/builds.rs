//! Compact blocks of which transactions are on their way: bounded in number and bytes, each with an end.
//!
//! A block that one peer announced and does not complete must not keep us from the same block of another
//! (threats P06, P07), so that what is open belongs to a block and a peer together.

use std::collections::BTreeMap;

use chain::hash::BlockHash;

use super::rebuild::Rebuild;
use crate::p2p::{Peer, RequestId};

/// Blocks that are being completed, at the most.
pub(super) const MAX_BUILDS: usize = 8;
/// Peers that complete the same block side by side (Bitcoin Core's number).
pub(super) const MAX_BUILDS_PER_BLOCK: usize = 3;
/// What they hold together, in bytes.
pub(super) const MAX_BUILD_BYTES: usize = 16 << 20;
/// How long missing transactions are awaited: then the block is fetched whole from whoever has it.
pub(super) const MISSING_DEADLINE_MS: u64 = 1_000;

/// A block that waits for transactions of its sender.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) rebuild: Rebuild,
    request: RequestId,
    since_ms: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::engine) struct Builds {
    open: BTreeMap<(BlockHash, Peer), Build>,
    bytes: usize,
}

impl Builds {
    /// Whether there is room for one more of a block.
    pub(super) fn has_room(&self, hash: &BlockHash, adds: usize) -> bool {
        let same = self.open.keys().filter(|(open, _)| open == hash).count();
        self.open.len() < MAX_BUILDS
            && same < MAX_BUILDS_PER_BLOCK
            && self.bytes.saturating_add(adds) <= MAX_BUILD_BYTES
    }

    /// Keeps one until its transactions come.
    pub(super) fn keep(&mut self, peer: Peer, rebuild: Rebuild, request: RequestId, now_ms: u64) {
        self.bytes += rebuild.held_bytes();
        let hash = rebuild.hash();
        if let Some(old) = self.open.insert((hash, peer), Build { rebuild, request, since_ms: now_ms }) {
            self.bytes -= old.rebuild.held_bytes();
        }
    }

    /// Takes out the one that a request belongs to.
    pub(super) fn take(&mut self, peer: Peer, request: RequestId) -> Option<Rebuild> {
        let of = |((hash, whom), build): (&(BlockHash, Peer), &Build)| {
            (*whom == peer && build.request == request).then_some(*hash)
        };
        let hash = self.open.iter().find_map(of)?;
        self.remove(&(hash, peer))
    }

    fn remove(&mut self, key: &(BlockHash, Peer)) -> Option<Rebuild> {
        let build = self.open.remove(key)?;
        self.bytes -= build.rebuild.held_bytes();
        Some(build.rebuild)
    }

    /// Whether a block is being completed.
    pub(in crate::engine) fn awaits(&self, hash: &BlockHash) -> bool {
        self.open.keys().any(|(open, _)| open == hash)
    }

    /// A block is here, whoever sent it.
    pub(super) fn arrived(&mut self, hash: &BlockHash) {
        self.remove_where(|(open, _), _| open == hash);
    }

    /// A peer is gone.
    pub(in crate::engine) fn forget_peer(&mut self, peer: Peer) {
        self.remove_where(|(_, whom), _| *whom == peer);
    }

    /// Takes out what has waited too long; the peers that let it.
    pub(super) fn give_up(&mut self, now_ms: u64) -> Vec<Peer> {
        let late = |build: &Build| now_ms.saturating_sub(build.since_ms) >= MISSING_DEADLINE_MS;
        self.remove_where(|_, build| late(build)).into_iter().map(|(_, peer)| peer).collect()
    }

    fn remove_where(
        &mut self,
        is_gone: impl Fn(&(BlockHash, Peer), &Build) -> bool,
    ) -> Vec<(BlockHash, Peer)> {
        let gone: Vec<(BlockHash, Peer)> =
            self.open.iter().filter(|(key, build)| is_gone(key, build)).map(|(key, _)| *key).collect();
        for key in &gone {
            self.remove(key);
        }
        gone
    }

    /// How many are being completed.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// What they hold together, in bytes.
    pub(in crate::engine) const fn bytes(&self) -> usize {
        self.bytes
    }
}
