//! What is passed on: new blocks in short, and transactions.
//!
//! A block is pushed to peers as soon as its header's work is checked and its body is the one that the header
//! commits to, before its coins are looked up: the dear part of a block's work is then done by all nodes at once
//! and not by one after the other ([`announce`], [`receive`], [`rebuild`]). So a block that turns out invalid may
//! have come from an honest peer, and is nobody's fault (BIP-152). Transactions are passed on by gossip after
//! they were judged ([`transactions`]); those that come before what they spend wait in a pool of their own
//! ([`orphans`]) while it is asked for ([`parents`]); those of this node's users are offered and announced until
//! they are mined, over restarts too ([`own`]).
//!
//! Every list here is bounded, by peer where a peer can fill it, and what waits for a peer has an end.

mod announce;
mod builds;
mod orphans;
mod own;
mod parents;
mod rebuild;
mod receive;
mod transactions;

use std::collections::VecDeque;

use chain::{
    check::{CheckedBlock, NewBlock},
    hash::{BlockHash, TxId},
};

pub use self::own::MAX_OWN_FILE_BYTES;
use self::{announce::Latest, builds::Builds, orphans::Orphans, own::Own, parents::Parents};
pub(super) use self::{
    receive::{Early, MAX_EARLY_BLOCKS},
    transactions::MAX_REANNOUNCED,
};
use super::sizes::Size;
use crate::p2p::Peer;

/// Blocks that a peer pushed last: another push of the same says nothing new.
const MAX_PUSHED_PER_PEER: usize = 16;

/// What is being passed on.
#[derive(Debug, Default)]
pub(super) struct Relay {
    builds: Builds,
    /// Rebuilt blocks that are to be connected, with who gave them.
    ready: VecDeque<(Peer, Whole)>,
    early: Vec<Early>,
    latest: Option<Latest>,
    orphans: Orphans,
    parents: Parents,
    own: Own,
    reannounced_ms: u64,
}

/// A block that was pushed in short and is whole now.
#[derive(Debug)]
enum Whole {
    /// One that was passed on.
    Checked(Box<CheckedBlock>),
    /// One that breaks an isolated rule, of which the ledger must hear so that its header is marked.
    Invalid(Box<NewBlock>),
}

impl Whole {
    fn hash(&self) -> BlockHash {
        match self {
            Self::Checked(checked) => checked.hash(),
            Self::Invalid(block) => block.header().hash(),
        }
    }
}

impl Relay {
    /// Whether a body is on its way here in short, or here and about to be connected.
    pub(super) fn awaits(&self, hash: &BlockHash) -> bool {
        self.builds.awaits(hash) || self.ready.iter().any(|(_, block)| block.hash() == *hash)
    }

    /// Whether a block waits to be connected.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A block is here, whoever sent it.
    pub(super) fn arrived(&mut self, hash: &BlockHash) {
        self.builds.arrived(hash);
    }

    /// How many blocks wait for their time.
    pub(super) const fn early_blocks(&self) -> usize {
        self.early.len()
    }

    /// Everything here that peers or users can make grow, with its limit.
    pub(super) fn sizes(&self) -> Vec<Size> {
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let size = |what, now: usize, limit: usize| Size { what, now: count(now), limit: count(limit) };
        vec![
            size("blocks that are being completed", self.builds.len(), builds::MAX_BUILDS),
            size("bytes of those", self.builds.bytes(), builds::MAX_BUILD_BYTES),
            size("orphan transactions", self.orphans.len(), orphans::MAX_ORPHANS),
            size("orphans of one peer", self.orphans.most_of_one_peer(), orphans::MAX_ORPHANS_PER_PEER),
            size("bytes of orphan transactions", self.orphans.bytes(), orphans::MAX_ORPHAN_BYTES),
            size("transactions of users", self.own.len(), own::MAX_OWN),
        ]
    }

    /// Takes all limits off the orphans, for the simulator alone.
    pub(super) const fn plant_unbounded_orphans(&mut self, is_unbounded: bool) {
        self.orphans.is_unbounded = is_unbounded;
    }

    /// What blocks that are not complete hold, in bytes.
    #[cfg(test)]
    pub(super) const fn held_bytes(&self) -> usize {
        self.builds.bytes()
    }

    /// Orphans, their bytes, and the parents that they lack.
    #[cfg(test)]
    pub(super) fn waiting_counts(&self) -> (usize, usize, usize) {
        (self.orphans.len(), self.orphans.bytes(), self.parents.len())
    }

    /// Whether a transaction is one of this node's users'.
    #[cfg(test)]
    pub(super) fn looks_after(&self, txid: &TxId) -> bool {
        self.own.holds(txid)
    }

    /// A transaction waits here, whoever sent it.
    pub(super) fn arrived_transaction(&mut self, txid: &TxId) {
        self.orphans.arrived(txid);
        self.parents.arrived(txid);
    }
}

/// What was pushed between a peer and us.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    /// Blocks that it pushed last, the oldest first.
    heard: VecDeque<BlockHash>,
    /// When it last answered that a block of ours was new to it.
    welcomed_ms: Option<u64>,
}

impl Pushes {
    /// It pushes a block; whether for the first time.
    fn hear(&mut self, hash: BlockHash) -> bool {
        if self.heard.contains(&hash) {
            return false;
        }
        if self.heard.len() == MAX_PUSHED_PER_PEER {
            self.heard.pop_front();
        }
        self.heard.push_back(hash);
        true
    }

    /// What it pushed once may come again.
    fn forget(&mut self, hash: &BlockHash) {
        self.heard.retain(|heard| heard != hash);
    }

    /// A block of ours was new to it.
    pub(super) const fn welcome(&mut self, now_ms: u64) {
        self.welcomed_ms = Some(now_ms);
    }
}
