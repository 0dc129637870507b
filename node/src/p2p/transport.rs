//! How bytes travel: TCP, encrypted by noise, split into streams by yamux; names resolved by DNS. With the cargo feature
//! `quic` also QUIC, which is encrypted and split by itself, for those who want it: without it none of that is linked in
//! (threat P27).

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    num::NonZeroU8,
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, Transport},
        upgrade::Version,
    },
    dns,
    identity::Keypair,
    metrics::{BandwidthTransport, Registry},
    multiaddr::Protocol,
    noise, swarm, tcp, yamux,
};

use super::{
    DialRefusal, NetError,
    behaviour::Behaviour,
    book::{Carrier, NetAddress},
    traffic::Meter,
};

/// Seconds from a TCP connection to the end of its handshake.
const HANDSHAKE_TIMEOUT_SECS: u64 = 10;
/// Streams of one connection: all that our protocols use, and some.
const MAX_STREAMS: usize = 128;
/// Inbound streams of one connection that are still negotiating.
const MAX_NEGOTIATING_STREAMS: usize = 64;
/// Bytes of a name to resolve.
const MAX_NAME_BYTES: usize = 253;
/// Seconds without any stream after which a connection is closed. The engine asks for tips far more often.
const IDLE_TIMEOUT_SECS: u64 = 600;

/// The swarm: transport, protocols and limits together.
pub(super) fn new_swarm(
    key: &Keypair,
    behaviour: Behaviour,
    meter: Meter,
    registry: &mut Registry,
) -> Result<Swarm<Behaviour>, NetError> {
    let config = swarm::Config::with_tokio_executor()
        // One protocol a behaviour and no wait for its confirmation: a request takes one round trip, not two.
        .with_substream_upgrade_protocol_override(Version::V1Lazy)
        .with_max_negotiating_inbound_streams(MAX_NEGOTIATING_STREAMS)
        .with_dial_concurrency_factor(NonZeroU8::MIN)
        .with_idle_connection_timeout(Duration::from_secs(IDLE_TIMEOUT_SECS));
    // Bytes are counted below all protocols, so that none can be forgotten.
    let transport = BandwidthTransport::new(new_transport(key, meter)?, registry)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed();
    Ok(Swarm::new(transport, behaviour, PeerId::from(key.public()), config))
}

fn new_transport(key: &Keypair, meter: Meter) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    let transport = carriers(key)?;
    Ok(transport.map(move |(identity, muxer), _| (identity, meter.count(identity, muxer))).boxed())
}

fn carriers(key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    let numeric = || Ok(with_quic(secure(tcp::tokio::Transport::new(tcp::Config::default()), key)?, key));
    match dns::tokio::Transport::system(numeric()?) {
        Ok(transport) => Ok(transport.boxed()),
        Err(error) => {
            // A machine without a resolver can still run a network of numeric addresses.
            tracing::warn!(%error, "names cannot be resolved: only numeric addresses will be dialled");
            numeric()
        }
    }
}

#[cfg(not(feature = "quic"))]
fn with_quic(tcp: Boxed<(PeerId, StreamMuxerBox)>, _key: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    tcp
}

#[cfg(feature = "quic")]
fn with_quic(tcp: Boxed<(PeerId, StreamMuxerBox)>, key: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    let mut config = libp2p::quic::Config::new(key);
    config.handshake_timeout = Duration::from_secs(HANDSHAKE_TIMEOUT_SECS);
    config.max_concurrent_stream_limit = u32::try_from(MAX_STREAMS).unwrap_or(u32::MAX);
    let quic = libp2p::quic::tokio::Transport::new(config);
    let quic = quic.map(|(identity, connection), _| (identity, StreamMuxerBox::new(connection)));
    tcp.or_transport(quic).map(|either, _| either.into_inner()).boxed()
}

/// Whether this program can reach an address of such a kind.
pub(super) const fn can_dial(carrier: Carrier) -> bool {
    match carrier {
        Carrier::Tcp => true,
        Carrier::Quic => cfg!(feature = "quic"),
    }
}

fn secure<T>(transport: T, key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: futures::AsyncRead + futures::AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send,
    T::ListenerUpgrade: Send,
{
    let noise = noise::Config::new(key).map_err(|error| NetError::Setup(error.to_string()))?;
    // The window of a stream is left to yamux, which tunes it: a fixed one is slow over long distances.
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(MAX_STREAMS);
    Ok(transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux)
        .timeout(Duration::from_secs(HANDSHAKE_TIMEOUT_SECS))
        .boxed())
}

/// Reads an address and the identity at its end, if any: a multiaddress, or a host and a port as in
/// `seed.example:8444`.
pub(super) fn parse_address(text: &str) -> Result<(Multiaddr, Option<PeerId>), DialRefusal> {
    let refused = || DialRefusal::NotAnAddress(text.to_owned());
    let address: Multiaddr = match text.parse() {
        Ok(address) => address,
        Err(_) => host_and_port(text).ok_or_else(refused)?,
    };
    let mut parts = address.iter();
    let host = parts.next();
    let named = matches!(
        host,
        Some(Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))
    );
    let rest: Vec<Protocol<'_>> = parts.collect();
    let rest = match rest.as_slice() {
        [Protocol::Tcp(_), rest @ ..] => rest,
        [Protocol::Udp(_), Protocol::QuicV1, rest @ ..] if can_dial(Carrier::Quic) => rest,
        [Protocol::Udp(_), Protocol::QuicV1, ..] => return Err(DialRefusal::NoQuic(text.to_owned())),
        _ => return Err(refused()),
    };
    let identity = match (named, rest) {
        (true, []) => None,
        (true, [Protocol::P2p(identity)]) => Some(*identity),
        _ => return Err(refused()),
    };
    Ok((address, identity))
}

/// `192.0.2.1:8444`, `[2001:db8::1]:8444` or `seed.example:8444` as a multiaddress.
fn host_and_port(text: &str) -> Option<Multiaddr> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(multiaddr(&NetAddress::new(socket.ip(), socket.port(), Carrier::Tcp)));
    }
    let (host, port) = text.rsplit_once(':')?;
    let looks_right = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if host.is_empty() || host.len() > MAX_NAME_BYTES || !host.bytes().all(looks_right) {
        return None;
    }
    Some(Multiaddr::empty().with(Protocol::Dns(host.into())).with(Protocol::Tcp(port.parse().ok()?)))
}

/// The IP address that a multiaddress begins with, in its one form.
pub(super) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(IpAddr::V4(ip)),
        Some(Protocol::Ip6(ip)) => Some(IpAddr::V6(ip).to_canonical()),
        _ => None,
    }
}

/// What a connection from an address goes over: QUIC where datagrams come from it.
pub(super) fn carrier_of(address: &Multiaddr) -> Carrier {
    if address.iter().any(|part| matches!(part, Protocol::Udp(_))) { Carrier::Quic } else { Carrier::Tcp }
}

/// A multiaddress as the book has it; nothing for a name.
pub(super) fn net_address(address: &Multiaddr) -> Option<NetAddress> {
    let ip = ip_of(address)?;
    let mut parts = address.iter().skip(1);
    match (parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None | Some(Protocol::P2p(_))) => {
            Some(NetAddress::new(ip, port, Carrier::Tcp))
        }
        (Some(Protocol::Udp(port)), Some(Protocol::QuicV1)) => Some(NetAddress::new(ip, port, Carrier::Quic)),
        _ => None,
    }
}

/// An address of the book as libp2p has it.
pub(super) fn multiaddr(address: &NetAddress) -> Multiaddr {
    let host = Multiaddr::from(address.ip());
    match address.carrier() {
        Carrier::Tcp => host.with(Protocol::Tcp(address.port())),
        Carrier::Quic => host.with(Protocol::Udp(address.port())).with(Protocol::QuicV1),
    }
}

/// Refuses an address that somebody else listens on. libp2p listens with `SO_REUSEPORT`, under which a second
/// process of the same user would silently share the port and its connections.
pub(super) fn refuse_taken_port(address: &Multiaddr) -> io::Result<()> {
    let Some(own) = net_address(address) else {
        let reason = "listen on a numeric address such as /ip4/127.0.0.1/tcp/8444";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    };
    let socket = SocketAddr::new(own.ip(), own.port());
    if socket.port() != 0 {
        match own.carrier() {
            Carrier::Tcp => drop(TcpListener::bind(socket)?),
            Carrier::Quic => drop(UdpSocket::bind(socket)?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quic_is_for_programs_that_were_built_with_it() {
        let address = "/ip4/127.0.0.1/udp/1/quic-v1";
        let parsed = parse_address(address).map(|(address, _)| address.to_string());
        if cfg!(feature = "quic") {
            assert_eq!(parsed.as_deref(), Ok(address));
        } else {
            assert_eq!(parsed, Err(DialRefusal::NoQuic(address.to_owned())));
        }
    }

    #[test]
    fn addresses_are_a_host_a_tcp_port_and_perhaps_an_identity() {
        let id = PeerId::from(Keypair::generate_ed25519().public());
        for good in ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/65535", "/dns4/a.example/tcp/8444", "/dns/b/tcp/1"]
        {
            let (address, identity) = parse_address(good).expect(good);
            assert_eq!((address.to_string().as_str(), identity), (good, None));
            let full = format!("{good}/p2p/{id}");
            assert_eq!(parse_address(&full).expect("with identity").1, Some(id));
        }
        for bad in [
            "",
            "127.0.0.1",
            ":8444",
            "seed.example:",
            "seed.example:70000",
            "se ed:1",
            "/ip4/127.0.0.1",
            "/ip4/127.0.0.1/udp/1",
            "/ip4/127.0.0.1/tcp/1/ws",
            "/tcp/1",
            "/ip4/127.0.0.1/udp/1/quic",
            "/ip4/256.0.0.1/tcp/1",
        ] {
            assert_eq!(parse_address(bad), Err(DialRefusal::NotAnAddress(bad.to_owned())), "{bad}");
        }
        for (plain, full) in [
            ("127.0.0.1:8444", "/ip4/127.0.0.1/tcp/8444"),
            ("[::1]:8444", "/ip6/::1/tcp/8444"),
            ("seed.example:8444", "/dns/seed.example/tcp/8444"),
        ] {
            assert_eq!(parse_address(plain).expect(plain).0.to_string(), full);
        }
        let twice = format!("/ip4/127.0.0.1/tcp/1/p2p/{id}/p2p/{id}");
        assert!(parse_address(&twice).is_err());
    }
}
