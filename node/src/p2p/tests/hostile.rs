//! Peers that do not keep to the rules, or belong elsewhere. They speak raw bytes over real connections: of TCP, and
//! of QUIC where the story is told again there (see `quic`).

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
pub(super) struct RawCodec;

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
pub(super) struct Raw {
    hello: request_response::Behaviour<HelloCodec>,
    messages: request_response::Behaviour<RawCodec>,
    gossip: our_gossip::Gossipsub,
}

/// A peer that greets on `chain` and speaks raw bytes on the protocol of `kind`.
pub(super) fn raw_peer(chain: BlockHash, kind: Kind) -> Swarm<Raw> {
    let names = Names::of(&chain);
    let protocol = |name: &str| StreamProtocol::try_from_owned(names.full(name)).expect("a name");
    let full = |name: &str| [(protocol(name), ProtocolSupport::Full)];
    let behaviour = Raw {
        hello: request_response::Behaviour::with_codec(HelloCodec, full("hello"), Default::default()),
        messages: request_response::Behaviour::with_codec(RawCodec, full(kind.name()), Default::default()),
        gossip: our_gossip::new(&names).expect("gossipsub"),
    };
    let builder = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .expect("a transport");
    #[cfg(feature = "quic")]
    let builder = builder.with_quic();
    builder
        .with_behaviour(|_| behaviour)
        .expect("a behaviour")
        .with_swarm_config(|config| config.with_idle_connection_timeout(DEADLINE))
        .build()
}

/// Runs `peer` until an event for which `wanted` has an answer.
pub(super) async fn until<T>(
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

pub(super) fn is_closed(_: &mut Swarm<Raw>, event: SwarmEvent<RawEvent>) -> Option<()> {
    matches!(event, SwarmEvent::ConnectionClosed { .. }).then_some(())
}

/// Whether a connection has ended, or did not come to be.
fn has_failed(event: &SwarmEvent<RawEvent>) -> bool {
    matches!(event, SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. })
}

/// Whether the node did not let the peer in.
pub(super) fn is_refused(_: &mut Swarm<Raw>, event: SwarmEvent<RawEvent>) -> Option<()> {
    if let SwarmEvent::Behaviour(RawEvent::Hello(request_response::Event::Message { .. })) = event {
        panic!("it was greeted")
    }
    has_failed(&event).then_some(())
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

/// Dials a node.
pub(super) fn dial(peer: &mut Swarm<Raw>, node: &Node) {
    peer.dial(node.address.parse::<Multiaddr>().expect("an address")).expect("dials");
}

/// Connects to a node and greets it. Returns who the node is.
pub(super) async fn enter(peer: &mut Swarm<Raw>, node: &Node) -> PeerId {
    dial(peer, node);
    until(peer, is_greeted).await
}

/// Listens, and says where.
pub(super) async fn listen(peer: &mut Swarm<Raw>, address: &str) -> Multiaddr {
    peer.listen_on(address.parse().expect("an address")).expect("listens");
    until(peer, |_, event| match event {
        SwarmEvent::NewListenAddr { address, .. } => Some(address),
        _ => None,
    })
    .await
}

/// Connects an honest node to one that has sent somebody away: it is the next whose connection is told.
pub(super) async fn let_a_friend_in(node: &mut Node) -> Node {
    let friend = start(&[&node.address]).await;
    match node.next().await {
        FromNet::Connected { identity, .. } => assert_eq!(identity, friend.view.identity()),
        unexpected => panic!("{unexpected:?}"),
    }
    friend
}

fn frame(length: u32, body: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes()[..], body].concat()
}

#[tokio::test]
async fn p13_a_malformed_request_ends_the_connection_and_reaches_nobody() {
    malformed_requests_end_the_connection(TCP).await;
}

pub(super) async fn malformed_requests_end_the_connection(carrier: &str) {
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
        let mut node = start_at(carrier).await;
        let mut peer = raw_peer(CHAIN, kind);
        let identity = enter(&mut peer, &node).await;
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
    malformed_responses_end_the_connection(TCP).await;
}

pub(super) async fn malformed_responses_end_the_connection(carrier: &str) {
    for bytes in [frame(1, &[9]), frame(2, &[0, 0]), frame(u32::MAX, &[])] {
        let mut node = start_at(carrier).await;
        let mut peer = raw_peer(CHAIN, Kind::Compact);
        enter(&mut peer, &node).await;
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
    dial(&mut peer, &node);
    until(&mut peer, is_closed).await;
    assert_eq!(node.view.other_chain.get(), 1);
    // We dial it.
    let mut peer = raw_peer(other, Kind::Status);
    let address = listen(&mut peer, TCP).await;
    assert_eq!(node.dial(&address.to_string(), false).await, Ok(()));
    until(&mut peer, is_closed).await;
    assert_eq!(node.view.other_chain.get(), 2);
    // The first peer that the engine hears of is one of its own chain.
    let _friend = let_a_friend_in(&mut node).await;
    assert_eq!(node.view.peers().len(), 1);
}

#[tokio::test]
async fn p12_gossip_that_is_no_transaction_ends_the_connection() {
    let mut node = start(&[]).await;
    let mut peer = raw_peer(CHAIN, Kind::Status);
    dial(&mut peer, &node);
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
    a_banned_peer_is_not_let_in_again(TCP).await;
}

pub(super) async fn a_banned_peer_is_not_let_in_again(carrier: &str) {
    let mut node = start_at(carrier).await;
    let mut peer = raw_peer(CHAIN, Kind::Status);
    enter(&mut peer, &node).await;
    let met = node.connected().await;
    node.send(ToNet::Disconnect { peer: met, reason: "a test".to_owned(), ban: true }).await;
    assert!(matches!(node.next().await, FromNet::Disconnected { peer } if peer == met));
    until(&mut peer, is_closed).await;

    dial(&mut peer, &node);
    until(&mut peer, is_refused).await;
    // Another peer is.
    let_a_friend_in(&mut node).await;
}

#[tokio::test]
async fn p18_when_all_places_are_taken_a_newcomer_waits_for_one() {
    when_all_places_are_taken_a_newcomer_waits(TCP).await;
}

pub(super) async fn when_all_places_are_taken_a_newcomer_waits(carrier: &str) {
    let folder = new_folder();
    let mut config = config(&folder, carrier, &[]);
    config.caps.inbound = 2;
    let mut node = start_config(folder, config, 64).await;
    let mut peers: Vec<_> = (0..2).map(|_| raw_peer(CHAIN, Kind::Status)).collect();
    for peer in &mut peers {
        enter(peer, &node).await;
        node.connected().await;
    }
    let mut newcomer = raw_peer(CHAIN, Kind::Status);
    dial(&mut newcomer, &node);
    until(&mut newcomer, is_refused).await;
    assert_eq!(node.view.peers().len(), 2, "nobody of this machine has to leave for another");

    let met = node.view.peers()[0].id;
    node.send(ToNet::Disconnect { peer: met, reason: "a test".to_owned(), ban: false }).await;
    assert!(matches!(node.next().await, FromNet::Disconnected { peer } if peer == met));
    // The place is free when the node has closed the connection, of which it is told in its own time.
    dial(&mut newcomer, &node);
    until(&mut newcomer, |newcomer, event| {
        if has_failed(&event) {
            dial(newcomer, &node);
        }
        is_greeted(newcomer, event)
    })
    .await;
    node.connected().await;
}
