//! Who hears what: requests and responses of peers go to the room that they concern.

use chain::store::{Store, StoreError};

use super::{
    Engine, Now,
    peers::{Asked, REQUEST_DEADLINE_MS, STATUS_INTERVAL_MS},
};
use crate::p2p::{
    Peer, Reply, RequestFailure, RequestId, ToNet,
    wire::{CompactReply, Request, Response},
};

impl<S: Store> Engine<S> {
    /// Answers a peer's request.
    pub(super) fn answer(
        &mut self,
        peer: Peer,
        reply: Reply,
        request: Request,
        now: Now,
    ) -> Result<(), StoreError> {
        let response = match request {
            Request::Status(status) => {
                let ours = self.status();
                self.hear_status(peer, status, now);
                Response::Status(ours)
            }
            Request::Headers(request) => Response::Headers(self.headers_after(&request)),
            Request::Blocks(hashes) => Response::Blocks(self.bodies(&hashes)?),
            Request::Compact(compact) => Response::Compact(self.on_compact(peer, &compact, now)?),
            Request::Missing(request) => Response::Missing(self.missing_of(&request)?),
            Request::Transactions(ids) => Response::Transactions(self.waiting_of(&ids)),
        };
        self.send(ToNet::Reply { reply, response });
        Ok(())
    }

    /// Takes in the answer to a request of ours, or that there is none.
    pub(super) fn on_response(
        &mut self,
        peer: Peer,
        id: RequestId,
        result: Result<Response, RequestFailure>,
        now: Now,
    ) -> Result<(), StoreError> {
        // Whatever was given up or belongs to a peer that is gone is passed over, however late it comes.
        let open = self.peers.get_mut(&peer).and_then(|state| state.open.remove(&id));
        let Some((asked, since_ms)) = open else { return Ok(()) };
        if asked == Asked::Blocks
            && let Some(state) = self.peers.get_mut(&peer)
        {
            match &result {
                Ok(Response::Blocks(blocks)) => {
                    let bytes: usize = blocks.iter().map(|block| block.bytes().len()).sum();
                    let kib = u64::try_from(bytes / 1_024).unwrap_or(u64::MAX);
                    state.note_answer(now.monotonic_ms.saturating_sub(since_ms), kib);
                }
                _ => state.note_failure(),
            }
        }
        match result {
            Ok(Response::Status(status)) => self.hear_status(peer, status, now),
            Ok(Response::Headers(headers)) => self.on_headers(peer, &headers, now)?,
            Ok(Response::Blocks(blocks)) => self.on_blocks(peer, id, blocks, now)?,
            Ok(Response::Compact(reply)) => {
                tracing::trace!(%peer, ?reply, "push answered");
                if reply == CompactReply::Accepted
                    && let Some(state) = self.peers.get_mut(&peer)
                {
                    state.pushes.welcome(now.monotonic_ms);
                }
            }
            Ok(Response::Missing(given)) => self.on_missing(peer, id, &given, now),
            Ok(Response::Transactions(given)) => self.on_transactions(peer, id, given, now)?,
            Err(failure) => {
                tracing::debug!(%peer, ?asked, %failure, "request failed");
                self.window.close(id);
                // Those that were open together and ran out of time together count once.
                let open = self.peers.get(&peer).is_some_and(|state| state.is_asked(Asked::Blocks));
                if asked == Asked::Blocks && failure == RequestFailure::Timeout && !open {
                    self.count_stall(peer);
                }
                if let Some(state) = self.peers.get_mut(&peer) {
                    match asked {
                        // It is asked again once it says again what it has.
                        Asked::Blocks => state.best = None,
                        Asked::Headers => state.presync = None,
                        Asked::Status | Asked::Compact | Asked::Missing | Asked::Transactions => {}
                    }
                }
                match asked {
                    Asked::Missing => self.on_no_missing(peer, id),
                    Asked::Transactions => self.on_no_transactions(id, now),
                    _ => {}
                }
                if asked == Asked::Compact {
                    // The block may be lost: with our tip the peer knows what to ask for.
                    if let Some(state) = self.peers.get_mut(&peer) {
                        state.has = None;
                    }
                    self.tell_status(peer, now);
                }
                self.fetch(now);
            }
        }
        Ok(())
    }

    /// Once a second: statuses, deadlines, blocks whose time has come.
    pub(super) fn on_tick(&mut self, now: Now) -> Result<(), StoreError> {
        let peers: Vec<Peer> = self.peers.keys().copied().collect();
        for peer in peers {
            let Some(state) = self.peers.get_mut(&peer) else { continue };
            let late = |since_ms: u64| now.monotonic_ms.saturating_sub(since_ms) > REQUEST_DEADLINE_MS;
            let given_up: Vec<RequestId> =
                state.open.iter().filter(|(_, (_, since_ms))| late(*since_ms)).map(|(id, _)| *id).collect();
            for id in &given_up {
                state.open.remove(id);
            }
            let idle = now.monotonic_ms.saturating_sub(state.status_ms) >= STATUS_INTERVAL_MS;
            let due = idle && !state.is_asked(Asked::Status);
            for id in given_up {
                self.window.close(id);
            }
            if due {
                self.tell_status(peer, now);
            }
        }
        if !self.window.is_idle() {
            self.tell_those_behind(now);
        }
        self.on_relay_tick(now)?;
        self.on_transactions_tick(now)?;
        self.sample_pace(now);
        if self.window.is_ready {
            return self.connect_ready(now);
        }
        self.watch_stalls(now);
        self.fetch(now);
        Ok(())
    }
}
