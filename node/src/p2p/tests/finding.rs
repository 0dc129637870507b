//! Finding peers over real connections: exchange, bans, caps, restarts.

use std::net::IpAddr;

use super::{
    super::{
        book::{
            Carrier, NetAddress,
            bans::{Ban, Subject},
        },
        finding::read_remembered,
        orders::{Order, OrderRefusal},
        peers::ConnectionType,
    },
    *,
};

/// A node that dials whom its book chooses.
async fn start_finder(folder: TempDir, bootstrap: &[&str]) -> Node {
    let mut config = config(&folder, TCP, bootstrap);
    config.outbound_places = 8;
    start_config(folder, config, 64).await
}

pub(super) async fn order<T>(node: &Node, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> T {
    let (answer, answered) = oneshot::channel();
    node.send(ToNet::Order(order(answer))).await;
    timeout(DEADLINE, answered).await.expect("in time").expect("every order is answered")
}

async fn connections(node: &mut Node, count: usize) {
    for _ in 0..count {
        node.connected().await;
    }
}

#[tokio::test]
async fn p09_nodes_that_know_one_find_all_others() {
    // Three nodes know a seed and not one another.
    let mut seed = start(&[]).await;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(start_finder(new_folder(), &[&seed.address]).await);
        connections(&mut seed, 1).await;
    }
    // The first knew only the seed; the later ones hear of those before them.
    for node in &mut nodes {
        connections(node, 3).await;
    }
    for node in &nodes {
        let mut kinds: Vec<ConnectionType> =
            node.view.peers().iter().map(|peer| peer.connection_type).collect();
        kinds.retain(|kind| *kind != ConnectionType::Inbound);
        assert!(
            kinds.iter().all(|kind| matches!(kind, ConnectionType::Manual | ConnectionType::OutboundFull))
        );
        assert!(kinds.contains(&ConnectionType::Manual), "{kinds:?}");
    }
    assert_eq!(seed.view.peers().len(), 3);
}

#[tokio::test]
async fn p10_a_restarted_node_dials_its_anchors_without_being_told() {
    let mut seed = start(&[]).await;
    let mut other = start_finder(new_folder(), &[&seed.address]).await;
    connections(&mut seed, 1).await;
    connections(&mut other, 1).await;
    let mut finder = start_finder(new_folder(), &[&seed.address]).await;
    connections(&mut finder, 2).await;
    let (folder, _) = finder.stop().await;
    let kept = read_remembered(&folder.path().join("peers.dat"), &CHAIN, [0; 32]);
    assert_eq!((kept.anchors.len(), kept.book.tried_len()), (1, 2));

    let mut again = start_finder(folder, &[]).await;
    connections(&mut again, 2).await;
    let kinds: Vec<ConnectionType> = again.view.peers().iter().map(|peer| peer.connection_type).collect();
    assert!(kinds.contains(&ConnectionType::Anchor), "{kinds:?}");
}

#[tokio::test]
async fn a_damaged_file_of_peers_is_set_aside() {
    let folder = new_folder();
    std::fs::write(folder.path().join("peers.dat"), b"cairn-peers-1 and nonsense").expect("written");
    let node = start_finder(folder, &[]).await;
    let (folder, _) = node.stop().await;
    let names = std::fs::read_dir(folder.path()).expect("listed");
    let names: Vec<String> =
        names.map(|entry| entry.expect("listed").file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().any(|name| name.starts_with("peers.dat.damaged-")), "{names:?}");
}

#[tokio::test]
async fn p11_bans_by_hand_hold_over_a_restart_and_end_by_hand() {
    let (mut left, on_left, right, _) = pair().await;
    let identity = Subject::Identity(right.view.identity().to_owned());
    let ban = |subject: &Subject| {
        let subject = subject.clone();
        |answer| Order::Ban { subject, secs: 1_000, answer }
    };
    assert_eq!(order(&left, ban(&identity)).await, Ok(()));
    assert!(matches!(left.next().await, FromNet::Disconnected { peer } if peer == on_left));
    assert_eq!(order(&left, ban(&identity)).await, Err(OrderRefusal::Banned));
    let network: Subject = "192.0.2.0/24".parse().expect("a network");
    assert_eq!(order(&left, ban(&network)).await, Ok(()));

    let (folder, _) = left.stop().await;
    let left = start_with(folder, TCP, &[], 64).await;
    let listed: Vec<(Subject, Ban)> = order(&left, |answer| Order::ListBans { answer }).await;
    assert_eq!(listed.iter().map(|(subject, _)| subject).collect::<Vec<_>>(), [&network, &identity]);
    assert!(listed.iter().all(|(_, ban)| ban.by_hand && ban.until_secs == ban.since_secs + 1_000));
    let unban = |subject: Subject| |answer| Order::Unban { subject, answer };
    assert_eq!(order(&left, unban(network.clone())).await, Ok(()));
    assert_eq!(order(&left, unban(network)).await, Err(OrderRefusal::NotBanned));
    assert_eq!(order(&left, |answer| Order::ClearBans { answer }).await, Ok(()));
    assert!(order(&left, |answer| Order::ListBans { answer }).await.is_empty());
    // Whoever was banned is let in again.
    let mut left = left;
    assert_eq!(right.dial(&left.address, false).await, Ok(()));
    left.connected().await;
}

#[tokio::test]
async fn p11_misconduct_bans_the_identity_and_never_this_machine() {
    let (mut left, on_left, _right, _) = pair().await;
    left.send(ToNet::Disconnect { peer: on_left, reason: "a test".to_owned(), ban: true }).await;
    assert!(matches!(left.next().await, FromNet::Disconnected { .. }));
    let listed = order(&left, |answer| Order::ListBans { answer }).await;
    assert!(matches!(&listed[..], [(Subject::Identity(_), ban)] if ban.reason == "a test"), "{listed:?}");
    let _friend = start(&[&left.address]).await;
    left.connected().await;
}

#[tokio::test]
async fn a_peer_is_disconnected_by_number_address_or_identity() {
    for by in 0..3 {
        let (mut left, on_left, _right, _) = pair().await;
        let info = left.view.peers().remove(0);
        let peer = [info.id.to_string(), info.address, info.identity][by].clone();
        assert_eq!(order(&left, |answer| Order::Disconnect { peer, answer }).await, Ok(()));
        assert!(matches!(left.next().await, FromNet::Disconnected { peer } if peer == on_left));
        let nobody = |answer| Order::Disconnect { peer: "nobody".to_owned(), answer };
        assert_eq!(order(&left, nobody).await, Err(OrderRefusal::NotConnected));
    }
}

#[tokio::test]
async fn m08_a_peer_that_comes_back_has_the_same_share() {
    let mut left = start(&[]).await;
    let mut right = start(&[&left.address]).await;
    let quota = async |node: &mut Node| loop {
        if let FromNet::Connected { quota, .. } = node.next().await {
            return quota;
        }
    };
    let before = (quota(&mut left).await, quota(&mut right).await);
    let peer = left.view.peers()[0].id;
    left.send(ToNet::Disconnect { peer, reason: "a test".to_owned(), ban: false }).await;
    assert_eq!((quota(&mut left).await, quota(&mut right).await), before);
    let _third = start(&[&left.address]).await;
    assert_ne!(quota(&mut left).await, before.0);
}

#[tokio::test]
async fn bytes_are_counted_for_each_peer() {
    let (mut left, on_left, mut right, on_right) = pair().await;
    let big = Response::Blocks(vec![wire::RawBlock::from(&*largest_block(1))]);
    left.request(on_left, 1, Request::Blocks(vec![CHAIN])).await;
    right.answer(big).await;
    left.response().await.1.expect("an answer");
    let (at_left, at_right) = (left.view.peers().remove(0), right.view.peers().remove(0));
    assert_eq!((at_left.id, at_right.id), (on_left, on_right));
    let size = wire::MAX_BLOCK_BYTES as u64;
    for bytes in [at_left.traffic.received_bytes(), at_right.traffic.sent_bytes()] {
        assert!((size..size + 100_000).contains(&bytes), "{bytes}");
    }
    assert!(at_right.traffic.received_bytes() < 100_000);
}

#[test]
fn an_address_of_the_book_is_a_multiaddress_and_back() {
    use super::super::transport::{multiaddr, net_address};
    for carrier in [Carrier::Tcp, Carrier::Quic] {
        for ip in ["8.8.8.8", "2a00::1"] {
            let address = NetAddress::new(ip.parse::<IpAddr>().expect("an address"), 8_444, carrier);
            assert_eq!(net_address(&multiaddr(&address)), Some(address));
        }
    }
}
