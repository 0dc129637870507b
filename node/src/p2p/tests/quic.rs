//! The same over QUIC: blocks, places, bans and limits of messages, and what only a port of UDP has to bear.

use std::net::SocketAddr;

use chain::hash::sha256;
use libp2p::{Multiaddr, Swarm};
use tokio::{net::UdpSocket, task::yield_now};

use super::{
    super::{
        book::bans::Subject,
        orders::Order,
        transport::net_address,
        wire::{Kind, RawBlock},
    },
    finding::order,
    hostile::{self, Raw},
    *,
};

/// Where a node listens for QUIC.
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
/// An address that is not this machine's own in the eyes of a node: the limits for an address hold for it.
const FOREIGN: &str = "/ip4/127.0.0.2/udp/0/quic-v1";
/// Datagrams of garbage.
const GARBAGE: u32 = 20_000;
/// Bytes of each: the fewest that the first datagram of a connection may have.
const DATAGRAM_BYTES: usize = 1_200;
/// How many are sent before the node gets its turn: fewer than the system keeps for it.
const DATAGRAMS_AT_ONCE: u32 = 16;

/// Exchanges a block and a status between two nodes that are connected.
async fn exchange(left: &mut Node, on_left: Peer, right: &mut Node, on_right: Peer) {
    let blocks = Response::Blocks(vec![RawBlock::from(&*largest_block(0))]);
    left.request(on_left, 1, Request::Blocks(vec![CHAIN])).await;
    right.answer(blocks.clone()).await;
    assert_eq!(left.response().await, (RequestId(1), Ok(blocks)));
    right.request(on_right, 2, Request::Status(status(1))).await;
    assert_eq!(left.answer(Response::Status(status(2))).await, Request::Status(status(1)));
    assert_eq!(right.response().await, (RequestId(2), Ok(Response::Status(status(2)))));
}

#[tokio::test]
async fn two_nodes_exchange_a_block_over_quic() {
    let mut left = start_at(QUIC).await;
    assert!(left.address.contains("/quic-v1/p2p/"), "{}", left.address);
    let mut right = start(&[left.address.as_str()]).await;
    let (on_left, on_right) = (left.connected().await, right.connected().await);
    exchange(&mut left, on_left, &mut right, on_right).await;
    assert!(right.view.peers()[0].traffic.received_bytes() > 0, "bytes are counted as over TCP");
}

#[tokio::test]
async fn p13_a_malformed_request_over_quic_ends_the_connection_and_reaches_nobody() {
    hostile::malformed_requests_end_the_connection(QUIC).await;
}

#[tokio::test]
async fn p13_a_malformed_response_over_quic_fails_the_request_and_ends_the_connection() {
    hostile::malformed_responses_end_the_connection(QUIC).await;
}

#[tokio::test]
async fn p11_a_banned_peer_is_not_let_in_again_over_quic() {
    hostile::a_banned_peer_is_not_let_in_again(QUIC).await;
}

#[tokio::test]
async fn p18_when_all_places_are_taken_over_quic_a_newcomer_waits_for_one() {
    hostile::when_all_places_are_taken_a_newcomer_waits(QUIC).await;
}

/// A peer that dials from 127.0.0.2: QUIC dials from the port at which it listens.
async fn foreign_peer() -> Swarm<Raw> {
    let mut peer = hostile::raw_peer(CHAIN, Kind::Status);
    hostile::listen(&mut peer, FOREIGN).await;
    peer
}

#[tokio::test]
async fn p18_one_address_has_its_share_of_the_places_over_quic() {
    let mut node = start_at(QUIC).await;
    let mut inside = Vec::new();
    for _ in 0..ConnectionCaps::default().inbound_per_address {
        let mut peer = foreign_peer().await;
        hostile::enter(&mut peer, &node).await;
        node.connected().await;
        inside.push(peer);
    }
    assert!(node.view.peers().iter().all(|peer| peer.address.starts_with("/ip4/127.0.0.2/udp/")));
    let mut peer = foreign_peer().await;
    hostile::dial(&mut peer, &node);
    hostile::until(&mut peer, hostile::is_refused).await;
    // The places of other addresses are not taken by that.
    let _friend = hostile::let_a_friend_in(&mut node).await;
    assert_eq!(node.view.peers().len(), inside.len() + 1);
}

#[tokio::test]
async fn p11_a_ban_of_an_address_holds_over_quic() {
    let mut node = start_at(QUIC).await;
    let mut peer = foreign_peer().await;
    hostile::enter(&mut peer, &node).await;
    let met = node.connected().await;
    let subject: Subject = "127.0.0.2".parse().expect("an address");
    assert_eq!(order(&node, |answer| Order::Ban { subject, secs: 1_000, answer }).await, Ok(()));
    assert!(matches!(node.next().await, FromNet::Disconnected { peer } if peer == met));
    hostile::until(&mut peer, hostile::is_closed).await;

    // Neither it nor another identity is let in from there.
    for mut peer in [peer, foreign_peer().await] {
        hostile::dial(&mut peer, &node);
        hostile::until(&mut peer, hostile::is_refused).await;
    }
    hostile::let_a_friend_in(&mut node).await;
}

/// A datagram of noise. Every second one says that it is the first of a connection: a node has to make keys for it before
/// it knows better.
fn noise(number: u32) -> Vec<u8> {
    let part = |place: u32| sha256(&[number.to_le_bytes(), place.to_le_bytes()].concat());
    let mut bytes: Vec<u8> = (0..).flat_map(part).take(DATAGRAM_BYTES).collect();
    if number.is_multiple_of(2) {
        // RFC 9000, 17.2.2: an Initial packet of version 1 with identifiers of eight bytes, no token, and the length
        // of what follows.
        bytes[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
        bytes[14] = 8;
        let rest = u16::try_from(DATAGRAM_BYTES - 26).expect("a datagram is short") | 0x4000;
        bytes[23] = 0;
        bytes[24..26].copy_from_slice(&rest.to_be_bytes());
    }
    bytes
}

#[tokio::test]
async fn p27_datagrams_of_garbage_leave_a_node_serving_over_quic() {
    let mut left = start_at(QUIC).await;
    let mut right = start(&[left.address.as_str()]).await;
    let (on_left, on_right) = (left.connected().await, right.connected().await);
    let address: Multiaddr = left.address.parse().expect("an address");
    let to = net_address(&address).expect("an address with a port");
    let to = SocketAddr::new(to.ip(), to.port());
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
    for number in 0..GARBAGE {
        let sent = socket.send_to(&noise(number), to).await.expect("the system takes it");
        assert_eq!(sent, DATAGRAM_BYTES);
        if number % DATAGRAMS_AT_ONCE == 0 {
            yield_now().await;
        }
    }
    exchange(&mut left, on_left, &mut right, on_right).await;
    let _friend = hostile::let_a_friend_in(&mut left).await;
    assert_eq!(left.view.peers().len(), 2, "nobody was sent away for it");
}
