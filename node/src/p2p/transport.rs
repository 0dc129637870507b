//! How bytes travel: TCP, encrypted by noise, split into streams by yamux; names resolved by DNS.

use std::{
    io,
    net::{SocketAddr, TcpListener},
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

use super::{DialRefusal, NetError, behaviour::Behaviour};

/// Seconds from a TCP connection to the end of its handshake.
const HANDSHAKE_TIMEOUT_SECS: u64 = 10;
/// Streams of one connection: all that our protocols use, and some.
const MAX_STREAMS: usize = 128;
/// Inbound streams of one connection that are still negotiating.
const MAX_NEGOTIATING_STREAMS: usize = 64;
/// Seconds without any stream after which a connection is closed. The engine asks for tips far more often.
const IDLE_TIMEOUT_SECS: u64 = 600;

/// The swarm: transport, protocols and limits together.
pub(super) fn new_swarm(
    key: &Keypair,
    behaviour: Behaviour,
    registry: &mut Registry,
) -> Result<Swarm<Behaviour>, NetError> {
    let config = swarm::Config::with_tokio_executor()
        // One protocol a behaviour and no wait for its confirmation: a request takes one round trip, not two.
        .with_substream_upgrade_protocol_override(Version::V1Lazy)
        .with_max_negotiating_inbound_streams(MAX_NEGOTIATING_STREAMS)
        .with_dial_concurrency_factor(NonZeroU8::MIN)
        .with_idle_connection_timeout(Duration::from_secs(IDLE_TIMEOUT_SECS));
    // Bytes are counted below all protocols, so that none can be forgotten.
    let transport = BandwidthTransport::new(new_transport(key)?, registry)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed();
    Ok(Swarm::new(transport, behaviour, PeerId::from(key.public()), config))
}

fn new_transport(key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default());
    match dns::tokio::Transport::system(tcp()) {
        Ok(transport) => secure(transport, key),
        Err(error) => {
            // A machine without a resolver can still run a network of numeric addresses.
            tracing::warn!(%error, "names cannot be resolved: only numeric addresses will be dialled");
            secure(tcp(), key)
        }
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

/// Reads a multiaddress and the identity at its end, if any.
pub(super) fn parse_address(text: &str) -> Result<(Multiaddr, Option<PeerId>), DialRefusal> {
    let address: Multiaddr = text.parse().map_err(|_| DialRefusal::NotAnAddress(text.to_owned()))?;
    let mut parts = address.iter();
    let host = parts.next();
    let named = matches!(
        host,
        Some(Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))
    );
    let identity = match (named, parts.next(), parts.next(), parts.next()) {
        (true, Some(Protocol::Tcp(_)), None, _) => None,
        (true, Some(Protocol::Tcp(_)), Some(Protocol::P2p(identity)), None) => Some(identity),
        _ => return Err(DialRefusal::NotAnAddress(text.to_owned())),
    };
    Ok((address, identity))
}

/// Refuses an address that somebody else listens on. libp2p listens with `SO_REUSEPORT`, under which a second
/// process of the same user would silently share the port and its connections.
pub(super) fn refuse_taken_port(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let socket = match (parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port))) => SocketAddr::new(ip.into(), port),
        (Some(Protocol::Ip6(ip)), Some(Protocol::Tcp(port))) => SocketAddr::new(ip.into(), port),
        _ => {
            let reason = "listen on a numeric address such as /ip4/127.0.0.1/tcp/8444";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
    };
    if socket.port() != 0 {
        drop(TcpListener::bind(socket)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "127.0.0.1:8444",
            "/ip4/127.0.0.1",
            "/ip4/127.0.0.1/udp/1",
            "/ip4/127.0.0.1/tcp/1/ws",
            "/tcp/1",
            "/ip4/256.0.0.1/tcp/1",
        ] {
            assert_eq!(parse_address(bad), Err(DialRefusal::NotAnAddress(bad.to_owned())), "{bad}");
        }
        let twice = format!("/ip4/127.0.0.1/tcp/1/p2p/{id}/p2p/{id}");
        assert!(parse_address(&twice).is_err());
    }
}
