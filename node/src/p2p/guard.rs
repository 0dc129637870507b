//! Who may stay: bans, caps for each address and network, and who leaves when the inbound places are taken.
//!
//! It is asked before anything is spent on a connection, and again when the peer has proved who it is. Handshakes have
//! places of their own ([`super::doors`]). This machine itself, 127.0.0.1 and ::1 and no other address, is not held to
//! the caps: behind it are proxies and devnets.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    net::IpAddr,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};
use thiserror::Error;
use tokio::time::Instant;

use super::{
    ConnectionCaps,
    book::{
        Group,
        bans::{Bans, Subject},
        inbound::{Candidate, choose_leaver},
    },
    doors::Source,
    peers::now_secs,
    transport,
};

/// Connections above the cap while those that were chosen to leave are closing.
const MAX_LEAVING: usize = 8;

/// Why somebody may not connect.
#[derive(Debug, Error)]
pub(super) enum Denied {
    #[error("banned")]
    Banned,
    #[error("too many connections from this address")]
    OfAddress,
    #[error("too many connections from this network")]
    OfGroup,
    #[error("all inbound places are taken")]
    Full,
}

struct Inbound {
    identity: PeerId,
    ip: Option<IpAddr>,
    since_ms: u64,
    ping_us: Option<u64>,
    transaction_ms: Option<u64>,
    block_ms: Option<u64>,
    is_leaving: bool,
}

/// The guard.
pub(super) struct Guard {
    pub(super) bans: Bans,
    caps: ConnectionCaps,
    key: [u8; 32],
    begun: Instant,
    inbound: BTreeMap<ConnectionId, Inbound>,
    leaving: VecDeque<(PeerId, ConnectionId)>,
}

impl Guard {
    pub(super) fn new(caps: ConnectionCaps, bans: Bans, key: [u8; 32]) -> Self {
        Self { bans, caps, key, begun: Instant::now(), inbound: BTreeMap::new(), leaving: VecDeque::new() }
    }

    /// How long one ping of a peer took.
    pub(super) fn note_ping(&mut self, identity: &PeerId, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        for peer in self.inbound.values_mut().filter(|peer| peer.identity == *identity) {
            peer.ping_us = Some(peer.ping_us.map_or(took_us, |least| least.min(took_us)));
        }
    }

    /// A peer gave us a block, or a transaction, that was new and valid.
    pub(super) fn note_gift(&mut self, identity: &PeerId, is_block: bool) {
        let now_ms = self.now_ms();
        for peer in self.inbound.values_mut().filter(|peer| peer.identity == *identity) {
            *(if is_block { &mut peer.block_ms } else { &mut peer.transaction_ms }) = Some(now_ms);
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether one more inbound connection may be from there.
    fn check_caps(&self, ip: IpAddr) -> Result<(), Denied> {
        let Some(source) = Source::of_ip(ip) else { return Ok(()) };
        let group = Group::of(ip);
        let (mut of_address, mut of_group) = (0, 0);
        for other in self.inbound.values().filter_map(|peer| peer.ip) {
            of_address += u32::from(Source::of_ip(other) == Some(source));
            of_group += u32::from(Group::of(other) == group);
        }
        if of_address >= self.caps.inbound_per_address {
            return Err(Denied::OfAddress);
        }
        if group.is_counted() && of_group >= self.caps.inbound_per_group {
            return Err(Denied::OfGroup);
        }
        Ok(())
    }

    /// Makes room for one more inbound connection.
    fn make_room(&mut self) -> Result<(), Denied> {
        let cap = usize::try_from(self.caps.inbound).unwrap_or(usize::MAX);
        if self.inbound.len() < cap {
            return Ok(());
        }
        if self.inbound.len() >= cap.saturating_add(MAX_LEAVING) {
            return Err(Denied::Full);
        }
        let (mut inside, mut candidates) = (Vec::new(), Vec::new());
        for (connection, peer) in self.inbound.iter().filter(|(_, peer)| !peer.is_leaving) {
            let Some(ip) = peer.ip.filter(|ip| Source::of_ip(*ip).is_some()) else { continue };
            candidates.push(Candidate {
                id: inside.len() as u64,
                group: Group::of(ip),
                connected_ms: peer.since_ms,
                ping_us: peer.ping_us,
                transaction_ms: peer.transaction_ms,
                block_ms: peer.block_ms,
            });
            inside.push((*connection, peer.identity));
        }
        let leaver = choose_leaver(&candidates, &self.key).and_then(|index| usize::try_from(index).ok());
        let (connection, identity) = *leaver.and_then(|index| inside.get(index)).ok_or(Denied::Full)?;
        tracing::debug!(%identity, "leaves to make room");
        self.leaving.push_back((identity, connection));
        if let Some(peer) = self.inbound.get_mut(&connection) {
            peer.is_leaving = true;
        }
        Ok(())
    }

    fn check_identity(&self, identity: &PeerId) -> Result<(), Denied> {
        if self.bans.has(&Subject::Identity(identity.to_string()), now_secs()) {
            return Err(Denied::Banned);
        }
        Ok(())
    }
}

impl NetworkBehaviour for Guard {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(ip) = transport::ip_of(remote) else { return Ok(()) };
        if self.bans.has_ip(ip, now_secs()) {
            return Err(ConnectionDenied::new(Denied::Banned));
        }
        self.check_caps(ip).map_err(ConnectionDenied::new)?;
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        identity: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_identity(&identity).map_err(ConnectionDenied::new)?;
        if let Some(ip) = transport::ip_of(remote) {
            self.check_caps(ip).map_err(ConnectionDenied::new)?;
        }
        self.make_room().map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        identity: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_identity(&identity).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(opened) => {
                if let ConnectedPoint::Listener { send_back_addr, .. } = opened.endpoint {
                    let inbound = Inbound {
                        identity: opened.peer_id,
                        ip: transport::ip_of(send_back_addr),
                        since_ms: self.now_ms(),
                        ping_us: None,
                        transaction_ms: None,
                        block_ms: None,
                        is_leaving: false,
                    };
                    self.inbound.insert(opened.connection_id, inbound);
                }
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.inbound.remove(&closed.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // Filled within the swarm's own poll, which asks here again before it rests.
        match self.leaving.pop_front() {
            Some((peer_id, connection)) => Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::One(connection),
            }),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        format!("/ip4/{text}/tcp/1").parse().expect("a multiaddress")
    }

    fn knock(guard: &mut Guard, id: usize, from: &str) -> bool {
        let connection = ConnectionId::new_unchecked(id);
        guard.handle_pending_inbound_connection(connection, &address("127.0.0.1"), &address(from)).is_ok()
    }

    fn enter(guard: &mut Guard, id: usize, from: &str) -> bool {
        let (connection, identity, remote) =
            (ConnectionId::new_unchecked(id), PeerId::random(), address(from));
        let own = address("127.0.0.1");
        if guard.handle_established_inbound_connection(connection, identity, &own, &remote).is_err() {
            return false;
        }
        let inbound = Inbound {
            identity,
            ip: transport::ip_of(&remote),
            since_ms: id as u64,
            ping_us: None,
            transaction_ms: None,
            block_ms: None,
            is_leaving: false,
        };
        guard.inbound.insert(connection, inbound);
        true
    }

    #[test]
    fn p18_one_address_and_one_network_have_their_share_of_the_places() {
        let caps = ConnectionCaps::default();
        let mut guard = Guard::new(caps, Bans::default(), [1; 32]);
        let entered = (0..50).filter(|id| enter(&mut guard, *id, "127.0.0.2")).count();
        assert_eq!(entered, usize::try_from(caps.inbound_per_address).expect("small"));
        let of_group = (100..200).filter(|id| enter(&mut guard, *id, &format!("8.8.{id}.1"))).count();
        assert_eq!(of_group, usize::try_from(caps.inbound_per_group).expect("small"));
        // Neighbours and this machine itself are held to no share of a network.
        assert!((200..230).all(|id| enter(&mut guard, id, &format!("192.168.0.{id}"))));
        assert!((300..330).all(|id| enter(&mut guard, id, "127.0.0.1")));
    }

    #[test]
    fn p18_when_all_places_are_taken_a_newcomer_displaces_a_newcomer() {
        let caps = ConnectionCaps { inbound: 60, ..ConnectionCaps::default() };
        let mut guard = Guard::new(caps, Bans::default(), [1; 32]);
        assert!((0..60).all(|id| enter(&mut guard, id, &format!("{}.1.1.1", 20 + id))));
        // As many may be on their way out as there are connections above the cap.
        let entered = (100..200).filter(|id| enter(&mut guard, *id, &format!("{id}.2.1.1"))).count();
        assert_eq!((entered, guard.leaving.len()), (MAX_LEAVING, MAX_LEAVING));
        let leaves = |id: usize| guard.inbound[&ConnectionId::new_unchecked(id)].is_leaving;
        assert!((0..10).all(|id| !leaves(id)), "those who came first stay");
    }

    #[test]
    fn p11_a_banned_address_is_turned_away_in_every_spelling() {
        let mut guard = Guard::new(ConnectionCaps::default(), Bans::default(), [1; 32]);
        let ban = super::super::book::bans::Ban {
            since_secs: 0,
            until_secs: u64::MAX,
            by_hand: true,
            reason: String::new(),
        };
        guard.bans.add("192.0.2.0/24".parse().expect("a network"), ban).expect("room");
        assert!(!knock(&mut guard, 1, "192.0.2.9"));
        assert!(knock(&mut guard, 2, "192.0.3.9"));
        let mapped: Multiaddr = "/ip6/::ffff:192.0.2.9/tcp/1".parse().expect("a multiaddress");
        let connection = ConnectionId::new_unchecked(3);
        assert!(guard.handle_pending_inbound_connection(connection, &mapped, &mapped).is_err());
    }
}
