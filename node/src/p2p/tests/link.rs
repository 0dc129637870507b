//! Connections: made, used, lost, made again.

use super::{
    super::wire::{CompactReply, HeadersRequest, Kind, MissingRequest, RawBlock},
    *,
};

#[tokio::test]
async fn two_nodes_exchange_every_message() {
    let (mut left, on_left, mut right, on_right) = pair().await;
    let hash = BlockHash::from_bytes([3; 32]);
    let locator = HeadersRequest { locator: vec![hash; 64], stop: hash };
    let exchanges = [
        (Request::Status(status(1)), Response::Status(status(2))),
        (Request::Headers(locator), Response::Headers((0..2_000).map(header).collect())),
        (Request::Headers(HeadersRequest { locator: Vec::new(), stop: hash }), Response::Headers(Vec::new())),
        (
            Request::Blocks(vec![hash; 16]),
            Response::Blocks(vec![RawBlock::from(&block(1, vec![transaction(1)]))]),
        ),
        (Request::Blocks(Vec::new()), Response::Blocks(Vec::new())),
        (compact(2), Response::Compact(CompactReply::Orphan)),
        (
            Request::Missing(MissingRequest { hash, indexes: vec![1, 5] }),
            Response::Missing(vec![Arc::new(transaction(1)), Arc::new(transaction(1))]),
        ),
        (Request::Transactions(Vec::new()), Response::Transactions(vec![Arc::new(transaction(2))])),
    ];
    for (id, (request, response)) in (0..).zip(exchanges) {
        left.request(on_left, id, request.clone()).await;
        assert_eq!(right.answer(response.clone()).await, request);
        assert_eq!(left.response().await, (RequestId(id), Ok(response.clone())));
        // And the other way.
        right.request(on_right, id, request.clone()).await;
        assert_eq!(left.answer(response.clone()).await, request);
        assert_eq!(right.response().await, (RequestId(id), Ok(response)));
    }

    let (seen_left, seen_right) = (&left.view.peers()[0], &right.view.peers()[0]);
    assert_eq!((seen_left.id, seen_left.outbound), (on_left, false));
    assert_eq!((seen_right.id, seen_right.outbound), (on_right, true));
    assert_eq!(seen_left.identity, right.view.identity());
    // What was heard last: its own request on the one side, the answer to that on the other.
    assert_eq!(seen_left.status, Some(status(1)));
    assert_eq!(seen_right.status, Some(status(2)));
    assert_eq!(left.view.listening(), [left.address.as_str()]);
}

#[tokio::test]
async fn c22_the_largest_block_passes_both_ways_of_the_wire() {
    let (mut left, on_left, mut right, _) = pair().await;
    let blocks: Vec<_> = (0..5).map(largest_block).collect();

    left.request(on_left, 1, large_compact(0)).await;
    let pushed = right.answer(Response::Compact(CompactReply::Accepted)).await;
    assert_eq!(pushed, large_compact(0));
    assert_eq!(left.response().await, (RequestId(1), Ok(Response::Compact(CompactReply::Accepted))));

    left.request(on_left, 2, Request::Blocks(vec![CHAIN; 5])).await;
    let raw: Vec<RawBlock> = blocks.iter().map(|block| RawBlock::from(&**block)).collect();
    right.answer(Response::Blocks(raw.clone())).await;
    let (_, received) = left.response().await;
    assert_eq!(received, Ok(Response::Blocks(raw[..4].to_vec())), "the fifth exceeds the response");
}

#[tokio::test]
async fn p22_a_node_that_starts_again_is_found_again() {
    let (left, _, mut right, on_right) = pair().await;
    // A request that is open when the peer leaves fails, before the peer's end is reported.
    right.request(on_right, 5, Request::Blocks(Vec::new())).await;
    let identity = left.view.identity().to_owned();
    let (folder, address) = left.stop().await;
    assert_eq!(right.response().await, (RequestId(5), Err(RequestFailure::Disconnected)));
    assert!(matches!(right.next().await, FromNet::Disconnected { peer } if peer == on_right));
    assert!(right.view.peers().is_empty());
    right.request(on_right, 6, Request::Blocks(Vec::new())).await;
    assert_eq!(right.response().await, (RequestId(6), Err(RequestFailure::Disconnected)));

    // Nothing but the other's retries can connect them.
    let mut left = start_with(folder, &Node::listen_address(&address), &[], 64).await;
    assert_eq!((left.view.identity(), &left.address), (identity.as_str(), &address));
    let again = right.connected().await;
    assert!(again > on_right, "a new session has a new token");
    left.connected().await;
    right.request(again, 7, Request::Status(status(1))).await;
    left.answer(Response::Status(status(2))).await;
    assert_eq!(right.response().await.1, Ok(Response::Status(status(2))));
}

#[tokio::test]
async fn nodes_may_start_in_any_order() {
    let (folder, address) = start(&[]).await.stop().await;
    let mut early = start(&[&address]).await;
    let mut late = start_with(folder, &Node::listen_address(&address), &[], 64).await;
    early.connected().await;
    late.connected().await;
}

#[tokio::test]
async fn a_damaged_or_foreign_bootstrap_address_is_refused_with_advice() {
    for bad in ["localhost", "/ip4/127.0.0.1/udp/1"] {
        let folder = new_folder();
        let error = Service::new(config(&folder, TCP, &[bad])).err().expect("refused");
        assert!(error.to_string().contains("/tcp/8444/p2p/"), "{error}");
    }
}

#[tokio::test]
async fn peers_that_dial_each_other_at_once_are_each_one_peer() {
    for _ in 0..5 {
        let (mut left, mut right) = (start(&[]).await, start(&[]).await);
        let (a, b) = tokio::join!(left.dial(&right.address, true), right.dial(&left.address, true));
        assert_eq!((a, b), (Ok(()), Ok(())));
        let (on_left, on_right) = (left.connected().await, right.connected().await);
        // Requests spread over the connections; nothing else happens, above all no second `Connected`.
        for id in 0..8 {
            left.request(on_left, id, Request::Status(status(1))).await;
            right.answer(Response::Status(status(2))).await;
            assert_eq!(left.response().await, (RequestId(id), Ok(Response::Status(status(2)))));
            right.request(on_right, id, Request::Status(status(1))).await;
            left.answer(Response::Status(status(2))).await;
            assert_eq!(right.response().await, (RequestId(id), Ok(Response::Status(status(2)))));
        }
        assert_eq!((left.view.peers().len(), right.view.peers().len()), (1, 1));
    }
}

#[tokio::test]
async fn a_node_never_keeps_dialling_itself() {
    let node = start_with(new_folder(), "/ip4/0.0.0.0/tcp/0", &[], 64).await;
    let own = Node::listen_address(&node.address);
    assert_eq!(node.dial(&node.address, true).await, Err(DialRefusal::Own));
    assert_eq!(node.dial(&own, true).await, Err(DialRefusal::Own));
    assert_eq!(node.dial(&own, false).await, Err(DialRefusal::Own));
    // By another address of this machine it turns out in the handshake, and the address is forgotten: then,
    // and not before, it can be added again.
    let port = own.rsplit('/').next().expect("a split has a last part");
    let other = format!("/ip4/127.0.0.2/tcp/{port}");
    assert_eq!(node.dial(&other, true).await, Ok(()));
    let forgotten = async {
        while node.dial(&other, true).await == Err(DialRefusal::Known) {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, forgotten).await.expect("forgotten in time");
    assert!(node.view.peers().is_empty());
}

#[tokio::test]
async fn kept_addresses_are_added_once_and_removed_once() {
    let node = start(&[]).await;
    let address = "/dns4/nowhere.invalid/tcp/8444";
    assert_eq!(node.dial(address, true).await, Ok(()));
    assert_eq!(node.dial(address, true).await, Err(DialRefusal::Known));
    for expected in [Ok(()), Err(DialRefusal::Unknown)] {
        let (answer, answered) = oneshot::channel();
        node.send(ToNet::RemoveDial { address: address.to_owned(), answer: Some(answer) }).await;
        assert_eq!(answered.await.expect("answered"), expected);
    }
    assert!(matches!(node.dial("nonsense", false).await, Err(DialRefusal::NotAnAddress(_))));
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let node = start(&[]).await;
    let taken = Node::listen_address(&node.address);
    let folder = new_folder();
    let error = Service::new(config(&folder, &taken, &[])).err().expect("the port is taken");
    assert!(error.to_string().contains(&taken), "{error}");
    assert!(error.to_string().contains("--listen"), "{error}");
}

#[tokio::test]
async fn requests_beyond_the_limit_fail_at_once_and_the_rest_are_served() {
    let (mut left, on_left, mut right, _) = pair().await;
    let limit = u64::try_from(Kind::Compact.requests_per_peer()).expect("small");
    let push = compact(1);
    for id in 0..=limit {
        left.request(on_left, id, push.clone()).await;
    }
    assert_eq!(left.response().await, (RequestId(limit), Err(RequestFailure::Busy)));
    // Other kinds are not held up.
    left.request(on_left, 99, Request::Status(status(1))).await;
    let mut replies = Vec::new();
    for _ in 0..=limit {
        let FromNet::Request { reply, request, .. } = right.next().await else { panic!("not a request") };
        replies.push((reply, request.kind()));
    }
    for (reply, kind) in &replies {
        let response = match kind {
            Kind::Status => Response::Status(status(2)),
            _ => Response::Compact(CompactReply::Known),
        };
        right.send(ToNet::Reply { reply: *reply, response: response.clone() }).await;
        // A second answer is passed over (threat P08).
        right.send(ToNet::Reply { reply: *reply, response }).await;
    }
    let mut answered = Vec::new();
    for _ in 0..=limit {
        let (id, result) = left.response().await;
        assert!(result.is_ok(), "{result:?}");
        answered.push(id.0);
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..limit).chain([99]).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_engine_that_does_not_listen_can_still_command() {
    // Queues of one: an engine that waits for room in one while the service waits for room in the other
    // would never get any further.
    let mut node = start_with(new_folder(), TCP, &[], 1).await;
    for id in 0..1_000 {
        node.request(Peer(77), id, Request::Blocks(Vec::new())).await;
    }
    for id in 0..1_000 {
        assert_eq!(node.response().await, (RequestId(id), Err(RequestFailure::Disconnected)));
    }
}

#[tokio::test]
async fn p25_an_engine_that_does_not_listen_holds_its_peers_back_and_loses_nothing() {
    let mut deaf = start_with(new_folder(), TCP, &[], 1).await;
    let mut left = start(&[&deaf.address]).await;
    let on_left = left.connected().await;
    let push = large_compact(1);
    for id in 0..8 {
        left.request(on_left, id, push.clone()).await;
    }
    let on_deaf = deaf.connected().await;
    // Its commands go through all the while.
    for id in 0..100 {
        deaf.request(Peer(77), id, Request::Blocks(Vec::new())).await;
    }
    deaf.request(on_deaf, 100, Request::Status(status(1))).await;
    // And when it listens, everything is there: the failures, the pushes, the answer to its own request.
    let listen = async {
        let (mut failed, mut served, mut answered) = (0, 0, 0);
        while failed < 100 || served < 8 || answered < 1 {
            match deaf.next().await {
                FromNet::Response { peer: Peer(77), .. } => failed += 1,
                FromNet::Response { result, .. } => {
                    assert!(result.is_ok(), "{result:?}");
                    answered += 1;
                }
                FromNet::Request { reply, request, .. } => {
                    assert_eq!(request, push);
                    deaf.send(ToNet::Reply { reply, response: Response::Compact(CompactReply::Accepted) })
                        .await;
                    served += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    };
    let go_on = async {
        let mut pushed = 0;
        let mut asked = 0;
        while pushed < 8 || asked < 1 {
            match left.next().await {
                FromNet::Response { result, .. } => {
                    assert_eq!(result, Ok(Response::Compact(CompactReply::Accepted)));
                    pushed += 1;
                }
                FromNet::Request { reply, .. } => {
                    left.send(ToNet::Reply { reply, response: Response::Status(status(2)) }).await;
                    asked += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::join!(listen, go_on);
}
