//! Who may come in: how many connections there are at a time, in all, from one address, and to one peer.
//!
//! A handshake that is not gone on with holds a place until its time is over. So places for handshakes are given out
//! by address as well: else one machine that opens sockets and says nothing keeps everybody out (threat P18). And by
//! carrier: a QUIC handshake begins before its sender's address is proved, so that whoever forges addresses takes the
//! places of QUIC, and none of TCP's.
//!
//! libp2p has limits of its own; they know no addresses, and remember every peer that was ever connected.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm, ListenFailure,
        NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};
use thiserror::Error;

use super::{ConnectionCaps, book::Carrier, transport};

/// The bits of an IPv6 address that name one customer's network: within them addresses cost nothing.
const V6_NETWORK_BITS: u32 = 64;

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Crowded {
    /// As many handshakes as there may be.
    #[error("{0} handshakes are under way already")]
    Handshakes(u32),
    /// As many handshakes with this address as there may be.
    #[error("{0} handshakes with this address are under way already")]
    HandshakesOfAddress(u32),
    /// As many outbound connections as there may be.
    #[error("there are {0} outbound connections already")]
    Outbound(u32),
    /// As many connections to this peer as there may be.
    #[error("there are {0} connections to this peer already")]
    Peer(u32),
}

/// An address, or a network in which addresses cost nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source(IpAddr);

impl Source {
    /// Where a connection comes from. None for this machine's own address, from which all nodes of a devnet come and
    /// which is held to no cap; the other addresses of loopback are as foreign as any.
    pub(super) fn of(address: &Multiaddr) -> Option<Self> {
        transport::ip_of(address).and_then(Self::of_ip)
    }

    /// The same of an IP address. A mapped one is the same machine by another name (threat P11).
    pub(super) fn of_ip(ip: IpAddr) -> Option<Self> {
        let ip = ip.to_canonical();
        match ip {
            IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST) => None,
            IpAddr::V4(_) => Some(Self(ip)),
            IpAddr::V6(ip) => {
                let network = ip.to_bits() >> V6_NETWORK_BITS << V6_NETWORK_BITS;
                Some(Self(IpAddr::V6(Ipv6Addr::from_bits(network))))
            }
        }
    }
}

/// Who knocks, as far as it is known before the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Knock {
    carrier: Carrier,
    source: Option<Source>,
}

impl Knock {
    fn of(address: &Multiaddr) -> Self {
        Self { carrier: transport::carrier_of(address), source: Source::of(address) }
    }
}

/// Counts by name; what is at zero is forgotten.
#[derive(Debug)]
struct Counts<K>(BTreeMap<K, u32>);

impl<K: Ord> Counts<K> {
    fn get(&self, key: &K) -> u32 {
        self.0.get(key).copied().unwrap_or(0)
    }

    fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    fn take(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }
}

/// All connections, and those about to be.
#[derive(Debug)]
pub(super) struct Doors {
    caps: ConnectionCaps,
    handshakes_in: BTreeMap<ConnectionId, Knock>,
    handshakes_out: BTreeMap<ConnectionId, ()>,
    by_source: Counts<(Carrier, Source)>,
    /// Open connections, whether we dialled them.
    open: BTreeMap<ConnectionId, (PeerId, bool)>,
    by_peer: Counts<PeerId>,
}

fn below<E>(limit: u32, count: usize, crowded: impl FnOnce(u32) -> E) -> Result<(), E> {
    if u32::try_from(count).is_ok_and(|count| count < limit) { Ok(()) } else { Err(crowded(limit)) }
}

impl Doors {
    pub(super) const fn new(caps: ConnectionCaps) -> Self {
        Self {
            caps,
            handshakes_in: BTreeMap::new(),
            handshakes_out: BTreeMap::new(),
            by_source: Counts(BTreeMap::new()),
            open: BTreeMap::new(),
            by_peer: Counts(BTreeMap::new()),
        }
    }

    /// Somebody knocks.
    fn knock(&mut self, connection: ConnectionId, knock: Knock) -> Result<(), Crowded> {
        let (caps, Knock { carrier, source }) = (&self.caps, knock);
        let under_way = self.handshakes_in.values().filter(|other| other.carrier == carrier).count();
        below(caps.pending, under_way, Crowded::Handshakes)?;
        if let Some(source) = source {
            if self.by_source.get(&(carrier, source)) >= caps.pending_per_address {
                return Err(Crowded::HandshakesOfAddress(caps.pending_per_address));
            }
            self.by_source.add((carrier, source));
        }
        self.handshakes_in.insert(connection, knock);
        Ok(())
    }

    /// A handshake is over, well or not.
    fn knocked(&mut self, connection: ConnectionId) {
        if let Some(Knock { carrier, source: Some(source) }) = self.handshakes_in.remove(&connection) {
            self.by_source.take(&(carrier, source));
        }
        self.handshakes_out.remove(&connection);
    }

    /// A handshake went well: whether the connection may stay.
    fn enter(&mut self, connection: ConnectionId, peer: PeerId, outbound: bool) -> Result<(), Crowded> {
        self.knocked(connection);
        // Who must leave for an inbound one, [`super::guard`] decides.
        if outbound {
            let count = self.open.values().filter(|(_, dialled)| *dialled).count();
            below(self.caps.outbound, count, Crowded::Outbound)?;
        }
        if self.by_peer.get(&peer) >= self.caps.per_peer {
            return Err(Crowded::Peer(self.caps.per_peer));
        }
        self.open.insert(connection, (peer, outbound));
        self.by_peer.add(peer);
        Ok(())
    }

    /// A connection is closed, or was refused by somebody else after all.
    fn leave(&mut self, connection: ConnectionId) {
        self.knocked(connection);
        if let Some((peer, _)) = self.open.remove(&connection) {
            self.by_peer.take(&peer);
        }
    }
}

impl NetworkBehaviour for Doors {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.knock(connection, Knock::of(remote)).map_err(ConnectionDenied::new)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        below(self.caps.pending, self.handshakes_out.len(), Crowded::Handshakes)
            .map_err(ConnectionDenied::new)?;
        self.handshakes_out.insert(connection, ());
        Ok(Vec::new())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.enter(connection, peer, false).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.enter(connection, peer, true).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::DialFailure(DialFailure { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => self.leave(connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(number: u32) -> ConnectionId {
        ConnectionId::new_unchecked(usize::try_from(number).expect("small"))
    }

    fn source(text: &str) -> Option<Source> {
        Source::of(&text.parse().expect("a multiaddress"))
    }

    fn knock(text: &str) -> Knock {
        Knock::of(&text.parse().expect("a multiaddress"))
    }

    #[test]
    fn p11_an_address_is_the_same_by_any_name() {
        assert_eq!(source("/ip4/127.0.0.1/tcp/1"), None);
        assert_eq!(source("/ip6/::1/tcp/1"), None);
        assert_eq!(source("/ip6/::ffff:127.0.0.1/tcp/1"), None);
        assert!(source("/ip4/127.0.0.2/tcp/1").is_some());
        assert_eq!(source("/ip6/::ffff:192.0.2.1/tcp/1"), source("/ip4/192.0.2.1/tcp/9"));
        assert_eq!(source("/ip6/2001:db8::1/tcp/1"), source("/ip6/2001:db8::ffff:2/tcp/2"));
        assert_ne!(source("/ip6/2001:db8::1/tcp/1"), source("/ip6/2001:db8:0:1::1/tcp/1"));
    }

    #[test]
    fn p18_one_address_takes_its_own_places_alone() {
        let caps = ConnectionCaps::default();
        let mut doors = Doors::new(caps);
        let crowd = knock("/ip4/192.0.2.1/tcp/1");
        for number in 0..10 * caps.pending {
            let answer = doors.knock(connection(number), crowd);
            assert_eq!(answer.is_ok(), number < caps.pending_per_address, "{number}");
        }
        let other = connection(1_000_000);
        assert_eq!(doors.knock(other, knock("/ip4/192.0.2.2/tcp/1")), Ok(()));
        // What ends makes room, and is forgotten.
        doors.leave(connection(0));
        assert_eq!(doors.knock(connection(0), crowd), Ok(()));
        for number in 0..caps.pending_per_address {
            doors.leave(connection(number));
        }
        doors.leave(other);
        assert!(doors.by_source.0.is_empty() && doors.handshakes_in.is_empty());
    }

    #[test]
    fn p18_places_are_bounded_and_forgotten() {
        let caps = ConnectionCaps {
            outbound: 1,
            per_peer: 1,
            pending: 4,
            pending_per_address: 2,
            ..ConnectionCaps::default()
        };
        let mut doors = Doors::new(caps);
        for number in 0..4 {
            assert_eq!(doors.knock(connection(number), knock("/ip4/127.0.0.1/tcp/1")), Ok(()));
        }
        assert_eq!(doors.knock(connection(4), knock("/ip4/127.0.0.1/tcp/1")), Err(Crowded::Handshakes(4)));
        let peers: Vec<PeerId> = (0..4).map(|_| PeerId::random()).collect();
        assert_eq!(doors.enter(connection(0), peers[0], false), Ok(()));
        assert_eq!(doors.enter(connection(1), peers[0], false), Err(Crowded::Peer(1)));
        assert_eq!(doors.enter(connection(2), peers[1], false), Ok(()));
        assert_eq!(doors.enter(connection(3), peers[2], false), Ok(()));
        assert_eq!(doors.enter(connection(5), peers[3], true), Ok(()));
        assert_eq!(doors.enter(connection(6), PeerId::random(), true), Err(Crowded::Outbound(1)));
        (0..9).for_each(|number| doors.leave(connection(number)));
        assert!(doors.open.is_empty() && doors.by_peer.0.is_empty() && doors.handshakes_in.is_empty());
    }

    #[test]
    fn p18_forged_senders_of_datagrams_take_no_place_of_anybody_on_tcp() {
        let caps = ConnectionCaps::default();
        let mut doors = Doors::new(caps);
        let mut refused = 0;
        for number in 0..2 * caps.pending {
            // Each from an address that the sender need not have; among them that of an honest peer.
            let forged = format!("/ip4/192.0.2.{}/udp/1/quic-v1", number % 250);
            refused += u32::from(doors.knock(connection(number), knock(&forged)).is_err());
        }
        assert_eq!(refused, caps.pending);
        for number in 0..caps.pending_per_address {
            assert_eq!(doors.knock(connection(1_000 + number), knock("/ip4/192.0.2.1/tcp/1")), Ok(()));
        }
    }
}
