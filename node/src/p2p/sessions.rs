//! Who is connected, and what is open between us: book-keeping without sockets.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use libp2p::{
    PeerId,
    request_response::{InboundRequestId, OutboundRequestId, ResponseChannel},
    swarm::ConnectionId,
};

use super::{
    Peer, Reply, RequestId, Traffic,
    book::NetAddress,
    finding::Exchange,
    wire::{Kind, Response, WireError},
};

/// Bytes of blocks and payments in answers that are on their way, to all peers together. Whoever is refused for it asks another
/// node, or again.
const MAX_UNSENT_BYTES: usize = 128 << 20;

/// What answers a peer's request.
pub(super) type Channel = ResponseChannel<Result<Response, WireError>>;

/// A peer, from its first connection to its last.
pub(super) struct Session {
    /// Its token.
    pub(super) peer: Peer,
    /// Connections at the moment.
    pub(super) connections: Vec<ConnectionId>,
    /// The address of the first.
    pub(super) address: String,
    /// Whether we dialled it.
    pub(super) outbound: bool,
    /// Whether it is proved to be of our chain, and the engine knows it.
    pub(super) ready: bool,
    /// Whether we have sent it away; what it still says is not heard.
    pub(super) dismissed: bool,
    /// Whether it was of use, so that it is worth dialling again soon.
    pub(super) useful: bool,
    /// What the exchange of addresses knows of it.
    pub(super) exchange: Exchange,
    /// What goes to and comes from it.
    pub(super) traffic: Arc<Traffic>,
    /// Times that it was too slow for gossip.
    pub(super) slow_reports: u32,
    /// Answers of ours that it did not read in time.
    pub(super) unread_answers: u32,
    /// Requests of ours without a response.
    asked: BTreeMap<(Kind, OutboundRequestId), RequestId>,
    /// Requests of the peer whose responses are not all sent.
    asking: BTreeMap<(Kind, InboundRequestId), Reply>,
}

impl Session {
    /// Whether one more request of `kind` may be sent.
    pub(super) fn may_ask(&self, kind: Kind) -> bool {
        self.asked.keys().filter(|(asked, _)| *asked == kind).count() < kind.requests_per_peer()
    }

    /// A request has been sent.
    pub(super) fn asked(&mut self, kind: Kind, sent: OutboundRequestId, id: RequestId) {
        self.asked.insert((kind, sent), id);
    }

    /// A request has ended: the engine's number, unless it was reported as failed before.
    pub(super) fn answered(&mut self, kind: Kind, sent: OutboundRequestId) -> Option<RequestId> {
        self.asked.remove(&(kind, sent))
    }
}

/// What was open to a peer that is gone.
pub(super) struct Settled {
    /// Its token.
    pub(super) peer: Peer,
    /// Whether the engine knew it.
    pub(super) was_ready: bool,
    /// Requests of ours that will have no response.
    pub(super) unanswered: Vec<RequestId>,
}

/// All peers that have a connection.
#[derive(Default)]
pub(super) struct Sessions {
    by_identity: HashMap<PeerId, Session>,
    by_token: HashMap<Peer, PeerId>,
    replies: HashMap<Reply, (Kind, Channel)>,
    /// Bytes of blocks and payments in each answer that is on its way.
    unsent: HashMap<Reply, usize>,
    unsent_bytes: usize,
    next_peer: u64,
    next_reply: u64,
}

impl Sessions {
    /// A connection has opened. Returns whether it is the peer's first.
    pub(super) fn opened(
        &mut self,
        identity: PeerId,
        connection: ConnectionId,
        address: String,
        outbound: bool,
        exchange: Exchange,
        traffic: Arc<Traffic>,
    ) -> bool {
        if let Some(session) = self.by_identity.get_mut(&identity) {
            session.connections.push(connection);
            return false;
        }
        self.next_peer += 1;
        let peer = Peer(self.next_peer);
        self.by_token.insert(peer, identity);
        let session = Session {
            peer,
            connections: vec![connection],
            address,
            outbound,
            ready: false,
            dismissed: false,
            useful: false,
            exchange,
            traffic,
            slow_reports: 0,
            unread_answers: 0,
            asked: BTreeMap::new(),
            asking: BTreeMap::new(),
        };
        self.by_identity.insert(identity, session);
        true
    }

    /// A connection has closed. Returns whether it was the peer's last; the session is still there, to be
    /// settled and removed.
    pub(super) fn closed(&mut self, identity: &PeerId, connection: ConnectionId) -> bool {
        self.by_identity.get_mut(identity).is_some_and(|session| {
            session.connections.retain(|open| *open != connection);
            session.connections.is_empty()
        })
    }

    /// Ends all that is open between us; a second time there is nothing left to end.
    pub(super) fn settle(&mut self, identity: &PeerId) -> Option<Settled> {
        let session = self.by_identity.get_mut(identity)?;
        self.by_token.remove(&session.peer);
        for reply in std::mem::take(&mut session.asking).into_values() {
            self.replies.remove(&reply);
            self.unsent_bytes -= self.unsent.remove(&reply).unwrap_or(0);
        }
        Some(Settled {
            peer: session.peer,
            was_ready: std::mem::take(&mut session.ready),
            unanswered: std::mem::take(&mut session.asked).into_values().collect(),
        })
    }

    /// Forgets a peer.
    pub(super) fn remove(&mut self, identity: &PeerId) -> Option<Session> {
        self.by_identity.remove(identity)
    }

    /// The session of an identity.
    pub(super) fn get(&mut self, identity: &PeerId) -> Option<&mut Session> {
        self.by_identity.get_mut(identity)
    }

    /// Identity and session of a token.
    pub(super) fn by_token(&mut self, peer: Peer) -> Option<(PeerId, &mut Session)> {
        let identity = *self.by_token.get(&peer)?;
        Some((identity, self.by_identity.get_mut(&identity)?))
    }

    /// The addresses at which connected peers can be dialled.
    pub(super) fn reachable(&self) -> impl Iterator<Item = NetAddress> {
        self.by_identity.values().flat_map(|session| session.exchange.reachable.iter().copied())
    }

    /// The IP addresses of the peers that were named by hand and to which we connected.
    pub(super) fn manual_ips(&self) -> impl Iterator<Item = IpAddr> {
        let by_hand = |session: &&Session| session.outbound && session.exchange.chosen.is_none();
        self.by_identity.values().filter(by_hand).filter_map(|session| session.exchange.ip)
    }

    /// The identities of the sessions of which something is true.
    pub(super) fn identities_of(&self, is_wanted: impl Fn(&Session) -> bool) -> Vec<PeerId> {
        let mut found: Vec<(Peer, PeerId)> = self
            .by_identity
            .iter()
            .filter(|(_, session)| is_wanted(session))
            .map(|(identity, session)| (session.peer, *identity))
            .collect();
        found.sort_unstable_by_key(|(peer, _)| *peer);
        found.into_iter().map(|(_, identity)| identity).collect()
    }

    /// The identities of the sessions that are meant by identity, number and address.
    pub(super) fn find(&self, is_meant: impl Fn(&PeerId, u64, &str) -> bool) -> Vec<PeerId> {
        let mut found: Vec<PeerId> = Vec::new();
        for (identity, session) in &self.by_identity {
            if is_meant(identity, session.peer.0, &session.address) {
                found.push(*identity);
            }
        }
        found
    }

    /// Whether an identity is connected.
    pub(super) fn is_connected(&self, identity: &PeerId) -> bool {
        self.by_identity.contains_key(identity)
    }

    /// A peer asks: the token of the answer, or nothing where it has too many requests open.
    pub(super) fn asks(
        &mut self,
        identity: &PeerId,
        kind: Kind,
        request: InboundRequestId,
        channel: Channel,
    ) -> Option<Reply> {
        let session = self.by_identity.get_mut(identity)?;
        if session.asking.keys().filter(|(asking, _)| *asking == kind).count() >= kind.requests_per_peer() {
            return None;
        }
        let reply = Reply(self.next_reply);
        self.next_reply += 1;
        session.asking.insert((kind, request), reply);
        self.replies.insert(reply, (kind, channel));
        Some(reply)
    }

    /// Takes out what answers a request; a second time there is nothing.
    pub(super) fn reply(&mut self, reply: Reply) -> Option<(Kind, Channel)> {
        self.replies.remove(&reply)
    }

    /// Who waits for an answer.
    pub(super) fn asker(&self, reply: Reply) -> Option<(Peer, PeerId)> {
        let waits = |session: &Session| session.asking.values().any(|waiting| *waiting == reply);
        let mut sessions = self.by_identity.iter();
        sessions.find(|(_, session)| waits(session)).map(|(identity, session)| (session.peer, *identity))
    }

    /// Everyone who has a connection.
    pub(super) fn identities(&self) -> Vec<PeerId> {
        self.by_identity.keys().copied().collect()
    }

    /// A peer's request has ended, with its response sent or without. Returns whether we had answered it.
    pub(super) fn ended(&mut self, identity: &PeerId, kind: Kind, request: InboundRequestId) -> bool {
        let session = self.by_identity.get_mut(identity);
        let reply = session.and_then(|session| session.asking.remove(&(kind, request)));
        reply.is_some_and(|reply| {
            self.unsent_bytes -= self.unsent.remove(&reply).unwrap_or(0);
            self.replies.remove(&reply).is_none()
        })
    }

    /// An answer with so many bytes of blocks or payments goes out. Returns whether there is room for it: what peers do not
    /// read stays here until its time is over (threat P25).
    pub(super) fn sends(&mut self, reply: Reply, bytes: usize) -> bool {
        if self.unsent_bytes + bytes > MAX_UNSENT_BYTES {
            return false;
        }
        self.unsent_bytes += bytes;
        self.unsent.insert(reply, bytes);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p25_answers_on_their_way_are_bounded_together() {
        let mut sessions = Sessions::default();
        for number in 0..8 {
            assert!(sessions.sends(Reply(number), MAX_UNSENT_BYTES / 8));
        }
        assert!(!sessions.sends(Reply(8), 1));
        assert_eq!(sessions.unsent_bytes, MAX_UNSENT_BYTES);
    }
}
