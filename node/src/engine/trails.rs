//! The way of each block through this node, as spans: from the first word of it until it is on the disk and passed on.
//!
//! A span `block` holds one span for each stage, one after the other: `fetch` (somebody has it, we do not), `connect`
//! (its body is here, until it is the tip or refused) and `settle` (until it is on the disk). There
//! is no clock here: whoever listens to spans measures them. Where nobody listens, nothing is kept.
//!
//! It must never change what the engine does, or grow with what peers say.

use std::collections::BTreeMap;

use chain::{hash::BlockHash, hash::TxId, ledger::Update};
use tracing::{Level, Span, field::Empty};

use crate::{p2p::Peer, telemetry::TRAIL};

/// Blocks that are followed at a time; the one that was heard of first makes room, so that nobody ends the following
/// by talking of blocks that he never gives.
const MAX_TRAILS: usize = 64;

/// A block that is followed.
#[derive(Debug)]
struct Trail {
    block: Span,
    /// Where it is.
    stage: Span,
    /// Whether its body is here.
    is_here: bool,
    is_connected: bool,
    /// Counts upwards.
    number: u64,
}

/// All that are followed.
#[derive(Debug, Default)]
pub(super) struct Trails {
    open: BTreeMap<BlockHash, Trail>,
    begun: u64,
}

impl Trails {
    /// Somebody has this block, which we may not have.
    pub(super) fn heard(&mut self, hash: BlockHash, peer: Option<Peer>) {
        if !is_followed() || self.open.contains_key(&hash) {
            return;
        }
        let oldest = self.open.iter().min_by_key(|(_, trail)| trail.number).map(|(hash, _)| *hash);
        if let Some(oldest) = oldest.filter(|_| self.open.len() >= MAX_TRAILS) {
            self.refused(&oldest, &"not followed to its end");
        }
        let block = tracing::info_span!(target: TRAIL, "block", trace = %hash, %hash, peer = Empty,
            height = Empty, transactions = Empty, announced_to = Empty, outcome = Empty);
        if let Some(peer) = peer {
            block.record("peer", peer.0);
        }
        let stage = tracing::info_span!(target: TRAIL, parent: &block, "fetch");
        self.begun += 1;
        self.open
            .insert(hash, Trail { block, stage, is_here: false, is_connected: false, number: self.begun });
    }

    /// The body of a block is here. Only the first word of it counts.
    pub(super) fn arrived(&mut self, hash: BlockHash, transactions: usize) {
        if !is_followed() {
            return;
        }
        self.heard(hash, None);
        if let Some(trail) = self.open.get_mut(&hash).filter(|trail| !trail.is_here) {
            trail.is_here = true;
            trail.block.record("transactions", transactions as u64);
            trail.stage = tracing::info_span!(target: TRAIL, parent: &trail.block, "connect");
        }
    }

    /// A block that arrived was not taken.
    pub(super) fn refused(&mut self, hash: &BlockHash, why: &dyn std::fmt::Display) {
        if let Some(trail) = self.open.remove(hash) {
            trail.block.record("outcome", tracing::field::display(why));
        }
    }

    /// The tip has moved.
    pub(super) fn moved(&mut self, update: &Update) {
        for (id, error) in &update.refused {
            self.refused(&id.hash, error);
        }
        for id in &update.applied {
            if let Some(trail) = self.open.get_mut(&id.hash) {
                trail.block.record("height", id.height.get());
                trail.block.record("outcome", "connected");
                trail.stage = tracing::info_span!(target: TRAIL, parent: &trail.block, "settle");
                trail.is_connected = true;
            }
        }
    }

    /// A block was passed on to so many peers.
    pub(super) fn announced(&self, hash: &BlockHash, peers: usize) {
        if let Some(trail) = self.open.get(hash) {
            trail.block.record("announced_to", peers as u64);
            tracing::info!(target: TRAIL, parent: &trail.block, peers, "announced on");
        }
    }

    /// All that is connected is on the disk.
    pub(super) fn flushed(&mut self) {
        if !self.open.is_empty() {
            self.open.retain(|_, trail| !trail.is_connected);
        }
    }
}

/// Whether anybody listens.
pub(super) fn is_followed() -> bool {
    tracing::span_enabled!(target: TRAIL, Level::INFO)
}

/// The span in which a payment is judged, where somebody listens. `txid` is asked for then alone, since it costs a
/// hash.
pub(super) fn payment(peer: Option<Peer>, txid: impl FnOnce() -> TxId) -> Span {
    if !is_followed() {
        return Span::none();
    }
    let txid = txid();
    let span =
        tracing::info_span!(target: TRAIL, "payment", trace = %txid, %txid, peer = Empty, outcome = Empty);
    if let Some(peer) = peer {
        span.record("peer", peer.0);
    }
    span
}

/// Says what became of a payment.
pub(super) fn judged<T, E: std::fmt::Display>(span: &Span, outcome: &Result<T, E>) {
    match outcome {
        Ok(_) => span.record("outcome", "accepted"),
        Err(error) => span.record("outcome", tracing::field::display(error)),
    };
}
