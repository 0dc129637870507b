//! Headers: served to peers, asked for, and taken in.

use chain::{
    block::Header,
    error::SubmitError,
    hash::BlockHash,
    height::Height,
    store::{Store, StoreError},
    tree::NodeId,
};

use crate::{
    engine::{Engine, Now, conduct::Misconduct, is_on_given_up, peers::Asked},
    p2p::{
        Peer,
        wire::{HeadersRequest, MAX_HEADERS, Request},
    },
};

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

    /// Asks for the headers that follow what we know, unless they are asked for already.
    pub(in crate::engine) fn ask_for_headers(&mut self, peer: Peer, now: Now) {
        if self.peers.get(&peer).is_some_and(|state| !state.is_asked(Asked::Headers)) {
            self.ask_for_headers_after(peer, self.ledger.tree().best_header(), Height::ZERO, now);
        }
    }

    fn ask_for_headers_after(&mut self, peer: Peer, from: NodeId, height: Height, now: Now) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.headers_from = height;
        }
        let locator = self.ledger.tree().locator(from);
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
        match self.ledger.submit_headers(headers, now.wall) {
            Ok(added) => {
                if added > 0 {
                    tracing::debug!(%peer, added, "headers");
                }
                self.on_good_headers(peer, headers, now);
            }
            Err(SubmitError::Storage(error)) => return Err(error),
            // Our locator was of another branch by now, or our clock lags: the next status tells.
            Err(error @ (SubmitError::UnknownParent(_) | SubmitError::TooEarly { .. })) => {
                tracing::debug!(%peer, %error, "headers not taken");
            }
            Err(error) if is_on_given_up(&error) => {
                tracing::debug!(%peer, %error, "headers not taken");
            }
            Err(error) => self.blame(peer, Misconduct::header(&error)),
        }
        self.fetch(now);
        Ok(())
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
