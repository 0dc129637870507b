//! Headers of a chain that shows too little work to be kept: seen once and all but forgotten, then asked for
//! again and kept (threat P01).
//!
//! Headers are cheap where the difficulty is low, and each of ours costs memory and disk for ever. So a chain whose
//! headers do not reach the work that matters yet is held against all rules of headers as it passes, and of every
//! [`PERIOD`] headers only one short hash is kept. A header's hash covers all below it: once the chain has shown
//! enough work, it is asked for again, and each message is kept only if its last header has the hash that
//! was seen before, so that what is stored is what showed the work and nothing else. Bitcoin Core does the same
//! with salted bits and a buffer (`HeadersSyncState`); whole messages with sixteen bytes each need no salt, no
//! buffer and no chance.

use chain::{
    block::Header, check::HeaderRun, error::SubmitError, hash::BlockHash, params::Params, pow::Work,
    time::Time, tree::NodeId,
};

use crate::p2p::wire::MAX_HEADERS;

/// Headers of which one hash is kept: those of one message.
const PERIOD: usize = MAX_HEADERS;
/// Bytes of a hash that are kept: finding a second header for one takes 2^128 attempts.
const COMMITMENT_BYTES: usize = 16;
/// Hashes that are kept of one peer's chain, at the most: of 32 million headers, five years of a block every five
/// seconds.
const MAX_COMMITMENTS: usize = 16_384;
/// What one peer's presync occupies, in bytes, at the most.
pub const MAX_PRESYNC_BYTES: usize = MAX_COMMITMENTS * COMMITMENT_BYTES + 1_024;

type Commitment = [u8; COMMITMENT_BYTES];

/// What is to be done after a message of headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for what follows this header.
    GoOn(BlockHash),
    /// The work is shown: ask again from where it began.
    Again,
    /// These headers are those that were seen: keep them, and ask for what follows.
    Keep,
    /// As [`Self::Keep`], and the presync is over.
    KeepLast,
    /// The chain ends below the work that matters, or is another one than was seen before.
    GiveUp,
}

/// How far one peer's headers were seen.
#[derive(Debug)]
pub(in crate::engine) struct Presync {
    /// The header of ours above which the chain begins.
    start: NodeId,
    /// The work that the chain must show.
    threshold: Work,
    run: HeaderRun,
    /// Headers that were seen.
    seen: usize,
    /// Of the last header of each period, and of the last header of all.
    commitments: Vec<Commitment>,
    /// Headers that came again and were kept; none while the work is not shown.
    again: Option<usize>,
}

impl Presync {
    pub(super) const fn new(start: NodeId, run: HeaderRun, threshold: Work) -> Self {
        Self { start, threshold, run, seen: 0, commitments: Vec::new(), again: None }
    }

    /// Where the chain begins.
    pub(super) const fn start(&self) -> NodeId {
        self.start
    }

    /// What it occupies, in bytes.
    pub(in crate::engine) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.commitments.capacity() * COMMITMENT_BYTES
    }

    /// Takes in what follows. `goes_on`: whether the message was a full one, so that the peer's chain may go on.
    ///
    /// # Errors
    /// [`SubmitError`] of a header that breaks a rule.
    pub(super) fn hear(
        &mut self,
        headers: &[Header],
        goes_on: bool,
        params: &Params,
        now: Time,
    ) -> Result<Next, SubmitError> {
        match self.again {
            None => self.see(headers, goes_on, params, now),
            Some(kept) => Ok(self.hear_again(headers, kept)),
        }
    }

    fn see(
        &mut self,
        headers: &[Header],
        goes_on: bool,
        params: &Params,
        now: Time,
    ) -> Result<Next, SubmitError> {
        for hash in self.run.extend(headers, params, now)? {
            self.seen += 1;
            if self.seen.is_multiple_of(PERIOD) {
                self.commitments.push(commitment(&hash));
            }
        }
        if self.run.work() >= self.threshold {
            if !self.seen.is_multiple_of(PERIOD) {
                self.commitments.push(commitment(&self.run.hash()));
            }
            self.again = Some(0);
            return Ok(Next::Again);
        }
        let goes_on = goes_on && self.commitments.len() < MAX_COMMITMENTS;
        Ok(if goes_on { Next::GoOn(self.run.hash()) } else { Next::GiveUp })
    }

    fn hear_again(&mut self, headers: &[Header], kept: usize) -> Next {
        let expected = PERIOD.min(self.seen - kept);
        let seen = self.commitments.get(kept / PERIOD);
        let same = headers
            .get(expected - 1)
            .zip(seen)
            .is_some_and(|(header, seen)| commitment(&header.hash()) == *seen);
        if !same {
            return Next::GiveUp;
        }
        self.again = Some(kept + expected);
        if kept + expected == self.seen { Next::KeepLast } else { Next::Keep }
    }
}

fn commitment(hash: &BlockHash) -> Commitment {
    let mut commitment = [0; COMMITMENT_BYTES];
    // The first bytes as they are stored are the ones that no work makes zero.
    commitment.copy_from_slice(&hash.as_bytes()[..COMMITMENT_BYTES]);
    commitment
}
