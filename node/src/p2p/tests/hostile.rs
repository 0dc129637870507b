//! Peers that do not keep to the rules, or belong elsewhere. They speak raw bytes over real connections.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, gossipsub, noise,
    request_response::{self, Message, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};

use super::{
    super::{behaviour::Names, codec::HelloCodec, gossip as our_gossip, wire::Kind},
    *,
};

/// Writes whatever bytes it is given and reads whatever comes.
#[derive(Clone, Default)]
struct RawCodec;

impl request_response::Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn read_response<T>(&mut self, protocol: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read_request(protocol, io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }
}

#[derive(NetworkBehaviour)]
struct Raw {
    hello: request_response::Behaviour<HelloCodec>,
    messages: request_response::Behaviour<RawCodec>,
    gossip: our_gossip::Gossipsub,
}

/// A peer that greets on `chain` and speaks raw bytes on the protocol of `kind`.
fn raw_peer(chain: BlockHash, kind: Kind) -> Swarm<Raw> {
    let names = Names::of(&chain);
    let protocol = |name: &str| StreamProtocol::try_from_owned(names.full(name)).expect("a name");
    let full = |name: &str| [(protocol(name), ProtocolSupport::Full)];
    let behaviour = Raw {
        hello: request_response::Behaviour::with_codec(HelloCodec, full("hello"), Default::default()),
        messages: request_response::Behaviour::with_codec(RawCodec, full(kind.name()), Default::default()),
        gossip: our_gossip::new(&names).expect("gossipsub"),
    };
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .expect("a transport")
        .with_behaviour(|_| behaviour)
        .expect("a behaviour")
        .with_swarm_config(|config| config.with_idle_connection_timeout(DEADLINE))
        .build()
}

/// Runs `peer` until an event for which `wanted` has an answer.
async fn until<T>(
    peer: &mut Swarm<Raw>,
    wanted: impl Fn(&mut Swarm<Raw>, SwarmEvent<RawEvent>) -> Option<T>,
) -> T {
    let run = async {
        loop {
            let event = peer.select_next_some().await;
            if let Some(found) = wanted(peer, event) {
                return found;
            }
        }
    };
    timeout(DEADLINE, run).await.expect("in time")
}

fn is_closed(_: &mut Swarm<Raw>, event: SwarmEvent<RawEvent>) -> Option<()> {
    matches!(event, SwarmEvent::ConnectionClosed { .. }).then_some(())
}

/// Answers greetings, and says who the node is once it has answered ours.
fn is_greeted(peer: &mut Swarm<Raw>, event: SwarmEvent<RawEvent>) -> Option<PeerId> {
    match event {
        SwarmEvent::ConnectionEstablished { peer_id, .. } => {
            peer.behaviour_mut().hello.send_request(&peer_id, ());
            None
        }
        SwarmEvent::Behaviour(RawEvent::Hello(request_response::Event::Message {
            peer: node,
            message,
            ..
        })) => match message {
            Message::Response { .. } => Some(node),
            Message::Request { channel, .. } => {
                peer.behaviour_mut().hello.send_response(channel, ()).expect("the node waits");
                None
            }
        },
        _ => None,
    }
}

fn frame(length: u32, body: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes()[..], body].concat()
}

#[tokio::test]
async fn p13_a_malformed_request_ends_the_connection_and_reaches_nobody() {
    let limit = |kind: Kind| u32::try_from(kind.max_request_bytes()).expect("limits fit");
    let cases = [
        // More than the limit is claimed; nothing of it is sent.
        (Kind::Compact, frame(u32::MAX, &[])),
        (Kind::Compact, frame(limit(Kind::Compact) + 1, &[0; 1_000])),
        (Kind::Status, frame(limit(Kind::Status) + 1, &[])),
        // 65 hashes, and 2^32 - 1 of them.
        (Kind::Headers, frame(limit(Kind::Headers), &[&65u32.to_le_bytes()[..], &[0; 65 * 32]].concat())),
        (Kind::Headers, frame(36, &[0xff; 36])),
        (Kind::Blocks, frame(4, &17u32.to_le_bytes())),
        // Bytes after the message, and none at all.
        (Kind::Blocks, frame(5, &[0; 5])),
        (Kind::Compact, frame(0, &[])),
    ];
    for (kind, bytes) in cases {
        let mut node = start(&[]).await;
        let mut peer = raw_peer(CHAIN, kind);
        peer.dial(node.address.parse::<Multiaddr>().expect("an address")).expect("dials");
        let identity = until(&mut peer, is_greeted).await;
        peer.behaviour_mut().messages.send_request(&identity, bytes);
        until(&mut peer, is_closed).await;
        let met = node.connected().await;
        let event = node.next().await;
        assert!(matches!(event, FromNet::Disconnected { peer } if peer == met), "{kind:?}: {event:?}");
        assert_eq!(node.view.malformed.get(), 1, "{kind:?}");
        assert!(node.view.peers().is_empty());
    }
}

#[tokio::test]
async fn p13_a_malformed_response_fails_the_request_and_ends_the_connection() {
    for bytes in [frame(1, &[9]), frame(2, &[0, 0]), frame(u32::MAX, &[])] {
        let mut node = start(&[]).await;
        let mut peer = raw_peer(CHAIN, Kind::Compact);
        peer.dial(node.address.parse::<Multiaddr>().expect("an address")).expect("dials");
        until(&mut peer, is_greeted).await;
        let met = node.connected().await;
        node.request(met, 1, compact(1)).await;
        until(&mut peer, |peer, event| match event {
            SwarmEvent::Behaviour(RawEvent::Messages(request_response::Event::Message {
                message: Message::Request { channel, .. },
                ..
            })) => {
                peer.behaviour_mut().messages.send_response(channel, bytes.clone()).expect("the node waits");
                None
            }
            event => is_closed(peer, event),
        })
        .await;
        let (id, result) = node.response().await;
        assert_eq!(id, RequestId(1));
        assert!(matches!(result, Err(RequestFailure::Malformed(_))), "{result:?}");
        assert!(matches!(node.next().await, FromNet::Disconnected { peer } if peer == met));
    }
}

#[tokio::test]
async fn p24_a_peer_of_another_chain_is_never_reported() {
    let mut node = start(&[]).await;
    let other = BlockHash::from_bytes([0xcb; 32]);
    // It dials us.
    let mut peer = raw_peer(other, Kind::Status);
    peer.dial(node.address.parse::<Multiaddr>().expect("an address")).expect("dials");
    until(&mut peer, is_closed).await;
    assert_eq!(node.view.other_chain.get(), 1);
    // We dial it.
    let mut peer = raw_peer(other, Kind::Status);
    peer.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("listens");
    let address = until(&mut peer, |_, event| match event {
        SwarmEvent::NewListenAddr { address, .. } => Some(address),
        _ => None,
    })
    .await;
    assert_eq!(node.dial(&address.to_string(), false).await, Ok(()));
    until(&mut peer, is_closed).await;
    assert_eq!(node.view.other_chain.get(), 2);
    // The first peer that the engine hears of is one of its own chain.
    let friend = start(&[&node.address]).await;
    match node.next().await {
        FromNet::Connected { identity, .. } => assert_eq!(identity, friend.view.identity()),
        unexpected => panic!("{unexpected:?}"),
    }
    assert_eq!(node.view.peers().len(), 1);
}

#[tokio::test]
async fn p12_gossip_that_is_no_transaction_ends_the_connection() {
    let mut node = start(&[]).await;
    let mut peer = raw_peer(CHAIN, Kind::Status);
    peer.dial(node.address.parse::<Multiaddr>().expect("an address")).expect("dials");
    let topic = our_gossip::topic(&Names::of(&CHAIN));
    until(&mut peer, |peer, event| match event {
        SwarmEvent::Behaviour(RawEvent::Gossip(gossipsub::Event::Subscribed { .. })) => {
            peer.behaviour_mut().gossip.publish(topic.clone(), b"nonsense").expect("published");
            None
        }
        event => is_closed(peer, event),
    })
    .await;
    let met = node.connected().await;
    assert!(matches!(node.next().await, FromNet::Disconnected { peer } if peer == met));
    assert_eq!(node.view.malformed.get(), 1);
}

#[tokio::test]
async fn p11_a_banned_peer_is_not_let_in_again() {
    let mut node = start(&[]).await;
    let address = node.address.parse::<Multiaddr>().expect("an address");
    let mut peer = raw_peer(CHAIN, Kind::Status);
    peer.dial(address.clone()).expect("dials");
    until(&mut peer, is_greeted).await;
    let met = node.connected().await;
    node.send(ToNet::Disconnect { peer: met, reason: "a test".to_owned(), ban: true }).await;
    assert!(matches!(node.next().await, FromNet::Disconnected { peer } if peer == met));
    until(&mut peer, is_closed).await;

    peer.dial(address).expect("dials");
    until(&mut peer, |_, event| match event {
        SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. } => Some(()),
        SwarmEvent::Behaviour(RawEvent::Hello(request_response::Event::Message { .. })) => {
            panic!("it was greeted")
        }
        _ => None,
    })
    .await;
    // Another peer is.
    let friend = start(&[&node.address]).await;
    match node.next().await {
        FromNet::Connected { identity, .. } => assert_eq!(identity, friend.view.identity()),
        unexpected => panic!("{unexpected:?}"),
    }
}
