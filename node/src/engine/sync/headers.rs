//! Headers: served to peers, asked for, and taken in, through a presync where they show little work.

use chain::{
    block::Header,
    error::SubmitError,
    hash::BlockHash,
    height::Height,
    pow::{Target, Work},
    store::{Store, StoreError},
    tree::NodeId,
};

use super::presync::{Next, Presync};
use crate::{
    engine::{
        Engine, Now,
        conduct::{Misconduct, is_nobodys_fault},
        peers::Asked,
    },
    p2p::{
        Peer,
        wire::{HeadersRequest, MAX_HEADERS, Request},
    },
};

/// How far below the tip's work a chain is kept at once, in blocks of the tip's difficulty (Bitcoin Core's
/// `GetAntiDoSWorkThreshold`).
const NEAR_TIP_WORK_BLOCKS: u32 = 144;
/// How long a peer is not asked for headers after it showed less work than it claimed.
const FUTILE_PAUSE_MS: u64 = 60_000;

impl<S: Store> Engine<S> {
    /// The headers that follow what a peer has.
    pub(in crate::engine) fn headers_after(&self, request: &HeadersRequest) -> Vec<Header> {
        let tree = self.ledger.tree();
        let known = request.locator.iter().filter_map(|hash| tree.find(hash));
        let start = known.into_iter().find(|id| self.ledger.is_active(*id)).unwrap_or(NodeId::GENESIS);
        let first = tree.node(start).height().get();
        let mut headers = Vec::new();
        let following = (first..).skip(1).map_while(|height| self.ledger.active(Height::new(height)));
        for id in following.take(MAX_HEADERS) {
            let node = tree.node(id);
            headers.push(*node.header());
            if node.hash() == request.stop {
                break;
            }
        }
        headers
    }

    /// The work that a chain must show before a header of it is kept.
    pub(in crate::engine) fn work_that_matters(&self) -> Work {
        let tip = self.ledger.tip();
        let of_block = tip.header.bits.to_target().map_or(Work::ZERO, Target::work);
        let mut near = tip.work;
        for _ in 0..NEAR_TIP_WORK_BLOCKS {
            near = near.checked_sub(of_block).unwrap_or(Work::ZERO);
        }
        near.max(self.minimum_work)
    }

    /// Asks for the headers that follow what we know, unless they are asked for already.
    pub(in crate::engine) fn ask_for_headers(&mut self, peer: Peer, now: Now) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if state.is_asked(Asked::Headers) || now.monotonic_ms < state.headers_pause_ms {
            return;
        }
        state.presync = None;
        self.ask_for_headers_after(peer, self.ledger.tree().best_header(), Height::ZERO, now);
    }

    fn ask_for_headers_after(&mut self, peer: Peer, from: NodeId, height: Height, now: Now) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.headers_from = height;
        }
        let locator = self.ledger.tree().locator(from);
        self.ask_with_locator(peer, locator, now);
    }

    fn ask_with_locator(&mut self, peer: Peer, locator: Vec<BlockHash>, now: Now) {
        let request = Request::Headers(HeadersRequest { locator, stop: BlockHash::ZERO });
        self.ask(peer, Asked::Headers, request, now);
    }

    /// Takes in headers that were asked for.
    pub(in crate::engine) fn on_headers(
        &mut self,
        peer: Peer,
        headers: &[Header],
        now: Now,
    ) -> Result<(), StoreError> {
        let presync = self.peers.get_mut(&peer).and_then(|state| state.presync.take());
        let outcome = match presync {
            Some(presync) => {
                let goes_on = headers.len() >= MAX_HEADERS;
                self.go_on_with_presync(peer, presync, headers, goes_on, now)
            }
            None => self.take_headers(peer, headers, now),
        };
        match outcome {
            Ok(()) => {}
            Err(SubmitError::Storage(error)) => return Err(error),
            // Our locator was of another branch by now, or our clock lags: the next status tells.
            Err(error) if is_nobodys_fault(&error) => {
                tracing::debug!(%peer, %error, "headers not taken");
            }
            Err(error) => self.blame(peer, Misconduct::header(&error)),
        }
        self.fetch(now);
        Ok(())
    }

    /// Keeps headers of a chain that shows enough work, and begins a presync over those of one that may yet.
    fn take_headers(&mut self, peer: Peer, headers: &[Header], now: Now) -> Result<(), SubmitError> {
        let tree = self.ledger.tree();
        let known = headers.iter().take_while(|header| tree.find(&header.hash()).is_some()).count();
        let Some(first) = headers.get(known) else {
            self.on_good_headers(peer, headers, now);
            return Ok(());
        };
        let start = tree.find(&first.previous).ok_or(SubmitError::UnknownParent(first.previous))?;
        // Bits that the hashes do not meet claim work as well: then the headers are refused below.
        let claimed = |sum: Work, header: &Header| {
            let work = header.bits.to_target().map_or(Work::ZERO, Target::work);
            sum.checked_add(work).unwrap_or(sum)
        };
        let shown = headers[known..].iter().fold(tree.node(start).work(), claimed);
        let threshold = self.work_that_matters();
        if shown >= threshold {
            return self.keep_headers(peer, headers, now);
        }
        if headers.len() < MAX_HEADERS {
            self.pause_headers(peer, now);
            return Ok(());
        }
        tracing::debug!(%peer, "headers show little work so far: they are seen first and kept later");
        let presync = Presync::new(start, tree.run_above(start), threshold);
        self.go_on_with_presync(peer, presync, &headers[known..], true, now)
    }

    fn keep_headers(&mut self, peer: Peer, headers: &[Header], now: Now) -> Result<(), SubmitError> {
        let added = self.ledger.submit_headers(headers, now.wall)?;
        if added > 0 {
            tracing::debug!(%peer, added, "headers");
        }
        self.on_good_headers(peer, headers, now);
        Ok(())
    }

    fn go_on_with_presync(
        &mut self,
        peer: Peer,
        mut presync: Presync,
        headers: &[Header],
        goes_on: bool,
        now: Now,
    ) -> Result<(), SubmitError> {
        let next = presync.hear(headers, goes_on, self.ledger.chain().params(), now.wall)?;
        let locator = match next {
            Next::GoOn(last) => {
                let mut locator = vec![last];
                locator.extend(self.ledger.tree().locator(presync.start()));
                locator.truncate(crate::p2p::wire::MAX_LOCATOR_HASHES);
                locator
            }
            Next::Again => self.ledger.tree().locator(presync.start()),
            Next::Keep => {
                self.ledger.submit_headers(headers, now.wall)?;
                headers.last().map(Header::hash).into_iter().collect()
            }
            Next::KeepLast => return self.keep_headers(peer, headers, now),
            Next::GiveUp => {
                self.pause_headers(peer, now);
                return Ok(());
            }
        };
        if let Some(state) = self.peers.get_mut(&peer) {
            state.presync = Some(presync);
        }
        self.ask_with_locator(peer, locator, now);
        Ok(())
    }

    /// A peer has shown less work than it claimed: it is not asked again for a while.
    fn pause_headers(&mut self, peer: Peer, now: Now) {
        tracing::debug!(%peer, "the headers show too little work to be kept");
        if let Some(state) = self.peers.get_mut(&peer) {
            state.headers_pause_ms = now.monotonic_ms.saturating_add(FUTILE_PAUSE_MS);
        }
    }

    /// What all presyncs occupy, in bytes.
    #[must_use]
    pub fn presync_bytes(&self) -> usize {
        self.peers.values().filter_map(|state| state.presync.as_ref()).map(Presync::memory_bytes).sum()
    }

    /// Headers that stand in our tree tell what the peer has. A full message has more behind it, on a branch
    /// that may have less work than ours up to here and more at its end.
    fn on_good_headers(&mut self, peer: Peer, headers: &[Header], now: Now) {
        let Some(last) = headers.last().and_then(|header| self.ledger.tree().find(&header.hash())) else {
            return;
        };
        let (hash, height) = (self.ledger.tree().node(last).hash(), self.ledger.tree().node(last).height());
        self.raise_best(peer, &hash);
        let further = self.peers.get(&peer).is_some_and(|state| height > state.headers_from);
        if headers.len() == MAX_HEADERS && further {
            self.ask_for_headers_after(peer, last, height, now);
        }
    }
}
