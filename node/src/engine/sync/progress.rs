//! How far catching up is: values for whoever shows them.

use std::collections::VecDeque;

use chain::store::Store;

use crate::engine::{Engine, Now};

/// How far back the rate looks, in milliseconds.
const RATE_SPAN_MS: u64 = 15_000;
/// How far apart samples are, in milliseconds.
const SAMPLE_MS: u64 = 1_000;

/// What a node is doing to catch up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A peer shows headers whose work is not enough yet to keep them.
    Presync,
    /// Headers are being asked for.
    Headers,
    /// Bodies are being fetched and connected.
    Blocks,
    /// Nothing is known that is not here.
    Done,
}

/// How far catching up is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncProgress {
    /// What the node is doing.
    pub phase: Phase,
    /// The height of the tip, in blocks.
    pub blocks: u32,
    /// The height of the best header, in blocks.
    pub of_blocks: u32,
    /// Payments that were connected since the start, coinbases aside.
    pub payments: u64,
    /// Payments connected per second, over the last 15 seconds.
    pub payments_per_sec: u64,
    /// Seconds until the tip is the best header, if it goes on as in the last 15 seconds.
    pub left_secs: Option<u64>,
    /// Blocks that are on their way or wait for one below them.
    pub window_blocks: usize,
    /// Bytes of bodies that wait for one below them.
    pub window_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at_ms: u64,
    blocks: u64,
    payments: u64,
}

/// What was connected, and how fast.
#[derive(Debug, Default)]
pub(in crate::engine) struct Pace {
    blocks: u64,
    payments: u64,
    /// At most one a second over the span, the oldest first.
    samples: VecDeque<Sample>,
}

impl Pace {
    /// Blocks with so many payments were connected.
    pub(in crate::engine) const fn connected(&mut self, blocks: u64, payments: u64) {
        self.blocks += blocks;
        self.payments += payments;
    }

    /// Takes a sample, where the last is old enough.
    pub(in crate::engine) fn sample(&mut self, at_ms: u64) {
        if self.samples.back().is_some_and(|last| at_ms.saturating_sub(last.at_ms) < SAMPLE_MS) {
            return;
        }
        while self.samples.front().is_some_and(|first| at_ms.saturating_sub(first.at_ms) > RATE_SPAN_MS) {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at_ms, blocks: self.blocks, payments: self.payments });
    }

    /// Blocks and payments of the span, and its length in milliseconds.
    fn rate(&self) -> Option<(u64, u64, u64)> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let ms = last.at_ms.saturating_sub(first.at_ms);
        (ms > 0).then_some((last.blocks - first.blocks, last.payments - first.payments, ms))
    }
}

impl<S: Store> Engine<S> {
    /// How far catching up is. The rates are as of the last tick.
    #[must_use]
    pub fn sync_progress(&self) -> SyncProgress {
        let tree = self.ledger.tree();
        let (blocks, of_blocks) =
            (self.ledger.tip().id.height.get(), tree.node(tree.best_header()).height().get());
        let phase = if self.is_catching_up() {
            Phase::Blocks
        } else if self.peers.values().any(|state| state.presync.is_some()) {
            Phase::Presync
        } else if self.peers.values().any(|state| state.is_asked(crate::engine::peers::Asked::Headers)) {
            Phase::Headers
        } else {
            Phase::Done
        };
        let rate = self.pace.rate();
        let left = u64::from(of_blocks.saturating_sub(blocks));
        let left_secs = rate.filter(|(done, ..)| *done > 0).map(|(done, _, ms)| left * ms / done / 1_000);
        SyncProgress {
            phase,
            blocks,
            of_blocks,
            payments: self.pace.payments,
            payments_per_sec: rate.map_or(0, |(_, payments, ms)| payments * 1_000 / ms),
            left_secs: left_secs.filter(|_| self.is_catching_up()),
            window_blocks: self.window.len(),
            window_bytes: self.window.waiting_bytes(),
        }
    }

    /// Measures how fast things go.
    pub(in crate::engine) fn sample_pace(&mut self, now: Now) {
        self.pace.sample(now.monotonic_ms);
    }
}
