//! Peers that lie, withhold and refuse, and what an engine makes of it: the chain goes on, and nobody honest
//! pays for it.

use chain::{
    amount::Amount,
    block::Block,
    transaction::{OutPoint, Output},
};

use super::network::{Network, address, key, peer, pushed, reward, spend};
use crate::{
    engine::{Action, Event, mempool::MAX_CLUSTER_COUNT},
    p2p::{
        FromNet, Peer, Reply, RequestId, ToNet,
        wire::{CompactReply, Request, Response, Status},
    },
};

/// A peer that is not an engine: the test speaks for it.
const STRANGER: Peer = Peer(99);

fn tell(network: &mut Network, node: usize, message: FromNet) -> Vec<Action> {
    let now = network.now;
    network.engines[node].on(Event::Net(message), now).expect("memory does not fail")
}

fn meet_stranger(network: &mut Network, node: usize) {
    let greeting = FromNet::Connected {
        peer: STRANGER,
        address: String::new(),
        outbound: false,
        identity: String::new(),
        quota: STRANGER.0,
    };
    tell(network, node, greeting);
}

fn status_of(network: &Network, node: usize) -> Status {
    let tip = network.engines[node].ledger().tip();
    let (chain, agent) = (network.chain.id(), String::new());
    Status { chain, tip: tip.id.hash, height: tip.id.height, work: tip.work, agent }
}

/// The requests among the actions that go to the stranger.
fn asked_of_stranger(actions: Vec<Action>) -> Vec<(RequestId, Request)> {
    let of = |action| match action {
        Action::Net(ToNet::Request { peer: STRANGER, id, request }) => Some((id, request)),
        _ => None,
    };
    actions.into_iter().filter_map(of).collect()
}

#[test]
fn a_fork_of_more_headers_than_one_message_carries_heals() {
    let mut network = Network::new(2);
    for _ in 0..2_100 {
        network.mine(0, &key(1));
        network.now.wall = network.wall_after(1);
    }
    for _ in 0..4_100 {
        network.mine(1, &key(2));
        network.now.wall = network.wall_after(1);
    }
    // The first 2,000 headers of the better branch have less work than ours, and so have the next 100.
    network.connect(0, 1);
    assert_eq!(network.tip(0), network.tip(1));
    assert_eq!(network.height(0), 4_100);
}

#[test]
fn headers_whose_bodies_are_withheld_stop_nobody() {
    let mut network = Network::new(3);
    network.mine(0, &key(1));
    network.connect(0, 1);
    network.connect(1, 2);
    // A miner far away makes ten blocks and shows node 1 their headers alone.
    let mut far = Network::new(1);
    let shared = network.engines[0].ledger().block(&network.tip(0)).expect("memory").expect("a body");
    far.now = network.now;
    far.submit(0, shared);
    let secret: Vec<Block> = (0..10).map(|_| far.mine(0, &key(7))).collect();
    meet_stranger(&mut network, 1);
    let claim = status_of(&far, 0);
    let hello = FromNet::Request { peer: STRANGER, reply: Reply(0), request: Request::Status(claim) };
    let asked = asked_of_stranger(tell(&mut network, 1, hello));
    let (id, _) = asked.into_iter().find(|(_, asked)| matches!(asked, Request::Headers(_))).expect("headers");
    let headers = Response::Headers(secret.iter().map(|block| block.header).collect());
    let answer = FromNet::Response { peer: STRANGER, id, result: Ok(headers) };
    let asked = asked_of_stranger(tell(&mut network, 1, answer));
    assert!(asked.iter().any(|(_, asked)| matches!(asked, Request::Blocks(_))), "{asked:?}");
    assert!(network.engines[1].is_catching_up());
    // The bodies never come. Honest blocks with less work still go through node 1, and its own as well.
    let honest = network.mine(0, &key(1));
    for node in 0..3 {
        assert_eq!(network.tip(node), honest.hash(), "node {node}");
    }
    let own = network.mine(1, &key(1));
    assert_eq!((network.tip(0), network.tip(2)), (own.hash(), own.hash()));
    // A node that has only the honest chain's headers still gets its bodies.
    network.cut(0, 1);
    network.mine(0, &key(1));
    network.mine(0, &key(1));
    network.connect(0, 1);
    assert_eq!(network.tip(1), network.tip(0));
    // And tells the next one of it, however long it waits for what is withheld.
    network.pass(1);
    assert_eq!(network.tip(2), network.tip(0));
}

#[test]
fn a_peer_that_refuses_fast_does_not_keep_blocks_from_coming() {
    let mut network = Network::new(3);
    for _ in 0..40 {
        network.mine(0, &key(1));
    }
    network.connect(0, 2);
    network.refusing.insert(2);
    network.connect(2, 1);
    assert_eq!(network.height(1), 0);
    network.connect(0, 1);
    assert_eq!(network.tip(1), network.tip(0));
    assert!(network.banned.is_empty(), "{:?}", network.banned);
}

#[test]
fn p12_a_block_that_was_never_judged_is_not_passed_on() {
    let mut network = Network::meshed(2);
    let honest = network.mine(0, &key(1));
    // A rival of the tip that claims too much: of equal work, it is kept unjudged.
    let mut rival = {
        let mut other = Network::new(1);
        other.now = network.now;
        other.mined(0, &key(3))
    };
    let claim = &mut rival.coinbase.outputs[0].amount;
    *claim = Amount::from_pebbles(claim.pebbles() + 1);
    seal(&mut rival);
    meet_stranger(&mut network, 0);
    let push = pushed(&rival);
    tell(&mut network, 0, FromNet::Request { peer: STRANGER, reply: Reply(0), request: push });
    assert_eq!(network.tip(0), honest.hash());
    for (hash, served) in [(rival.hash(), 0), (honest.hash(), 1)] {
        let ask = FromNet::Request { peer: peer(1), reply: Reply(1), request: Request::Blocks(vec![hash]) };
        let answer = tell(&mut network, 0, ask).into_iter().find_map(|action| match action {
            Action::Net(ToNet::Reply { response: Response::Blocks(blocks), .. }) => Some(blocks.len()),
            _ => None,
        });
        assert_eq!(answer, Some(served));
    }
}

#[test]
fn p26_a_block_far_below_the_tip_is_not_kept() {
    let mut network = Network::new(1);
    let cheap = network.mined(0, &key(3));
    for _ in 0..300 {
        network.mine(0, &key(1));
        network.now.wall = network.wall_after(1);
    }
    meet_stranger(&mut network, 0);
    let push = pushed(&cheap);
    let actions = tell(&mut network, 0, FromNet::Request { peer: STRANGER, reply: Reply(0), request: push });
    let refused = |action: &Action| {
        matches!(action, Action::Net(ToNet::Reply { response: Response::Compact(CompactReply::Refused), .. }))
    };
    assert!(actions.iter().any(refused), "{actions:?}");
    assert!(!actions.iter().any(|action| matches!(action, Action::Net(ToNet::Disconnect { .. }))));
    assert!(network.engines[0].ledger().tree().find(&cheap.hash()).is_none());
}

#[test]
fn m07_a_long_chain_of_payments_returns_after_a_reorganisation() {
    let mut network = Network::new(2);
    let first = network.mine(0, &key(1));
    network.mine(0, &key(9));
    network.connect(0, 1);
    network.cut(0, 1);
    let mut coin = reward(&first);
    let mut sent = 0;
    for _ in 0..2 {
        for _ in 0..MAX_CLUSTER_COUNT {
            let left = Amount::from_pebbles(coin.1.pebbles() - 1_000);
            let payment = spend(&network.chain, &key(1), &[coin], vec![Output::pay(address(&key(1)), left)]);
            coin = (OutPoint { txid: payment.txid(), index: 0 }, left);
            network.send(0, payment).expect("within the limit");
            sent += 1;
        }
        network.mine(0, &key(9));
    }
    for _ in 0..3 {
        network.mine(1, &key(2));
    }
    network.connect(0, 1);
    assert_eq!(network.tip(0), network.tip(1));
    // As many as a cluster holds; the others return as blocks make room.
    assert_eq!(network.engines[0].mempool().len(), MAX_CLUSTER_COUNT);
    let mined: usize = (0..2).map(|_| network.mine(0, &key(9)).transactions.len()).sum();
    assert_eq!((mined, network.engines[0].mempool().len()), (sent, 0));
}

#[test]
fn p05_who_was_away_hears_of_a_payment_later() {
    let mut network = Network::new(2);
    let first = network.mine(0, &key(1));
    network.mine(0, &key(9));
    let left = Amount::from_pebbles(reward(&first).1.pebbles() - 1_000);
    let outputs = vec![Output::pay(address(&key(2)), left)];
    let payment = spend(&network.chain, &key(1), &[reward(&first)], outputs);
    let txid = network.send(0, payment).expect("valid");
    network.connect(0, 1);
    assert!(!network.has(1, &txid));
    network.pass(140);
    assert!(network.has(1, &txid));
}

/// Commits the header to the body, which is a coinbase alone, and solves it.
fn seal(block: &mut Block) {
    block.header.merkle_root = chain::hash::MerkleRoot::from_bytes(block.coinbase.txid().to_bytes());
    let target = block.header.bits.to_target().expect("valid bits");
    while !target.is_met_by(&block.hash()) {
        block.header.nonce += 1;
    }
}
