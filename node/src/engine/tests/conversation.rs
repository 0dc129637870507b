//! Sync, announcement and conduct, told by engines that talk to one another.

use chain::{amount::Amount, error::SubmitError, ledger::Ledger, memory::MemoryStore, transaction::Output};

use super::network::{Network, address, key, pushed, reward, spend};
use crate::{
    engine::{Action, Engine, Event},
    p2p::{
        FromNet, Reply, RequestId, ToNet,
        wire::{CompactReply, RawBlock, Request, Response},
    },
};

#[test]
fn a_mined_block_reaches_everyone_at_once() {
    let mut network = Network::meshed(4);
    let block = network.mine(0, &key(1));
    for node in 0..4 {
        assert_eq!(network.tip(node), block.hash(), "node {node}");
    }
    assert!(network.banned.is_empty());
}

#[test]
fn a_new_node_catches_up_over_many_messages() {
    let mut network = Network::new(2);
    // More than one message of headers (2,000) and more than one window of blocks (1,024).
    for _ in 0..2_300 {
        network.mine(0, &key(1));
        network.now.wall = network.wall_after(1);
    }
    network.connect(0, 1);
    assert_eq!(network.tip(1), network.tip(0));
    assert_eq!(network.height(1), 2_300);
    assert!(network.banned.is_empty());
}

#[test]
fn p22_both_sides_of_a_partition_mine_and_then_agree() {
    let mut network = Network::meshed(4);
    let (alice, bob) = (key(1), key(2));
    let chain = network.chain.clone();
    let coins: Vec<_> = (0..3).map(|_| reward(&network.mine(0, &alice))).collect();
    network.mine(0, &bob);
    for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        network.cut(a, b);
    }
    let pay = |coin: &(_, Amount), to: u8, fee: u64| {
        let left = Amount::from_pebbles(coin.1.pebbles() - fee);
        spend(&chain, &alice, &[*coin], vec![Output::pay(address(&key(to)), left)])
    };
    // The short side's payment alone; one coin spent on both sides; and the long side's payment alone.
    let (lonely, left, right, far) = (
        pay(&coins[0], 5, 9_000),
        pay(&coins[1], 6, 9_000),
        pay(&coins[1], 7, 9_000),
        pay(&coins[2], 8, 9_000),
    );
    let ids = [lonely.txid(), left.txid(), right.txid(), far.txid()];
    for (node, transaction) in [(0, lonely), (1, left), (2, right), (3, far)] {
        network.send(node, transaction).expect("valid on this side");
    }
    network.mine(0, &key(3));
    network.mine(1, &key(3));
    for _ in 0..3 {
        network.mine(2, &key(4));
    }
    let losers = [network.tip(0), network.tip(1)];
    assert_eq!(losers[0], losers[1]);
    assert_ne!(network.tip(0), network.tip(2));
    network.connect(1, 3);
    network.connect(0, 2);
    for node in 0..4 {
        assert_eq!(network.tip(node), network.tip(2), "node {node}");
    }
    for node in 0..2 {
        assert!(network.has(node, &ids[0]), "the short side's payment is back on node {node}");
        assert!(!network.has(node, &ids[1]), "what conflicts is gone from node {node}");
    }
    assert!(network.has(2, &ids[0]), "it was announced to the other side");
    network.mine(3, &key(4));
    for node in 0..4 {
        assert_eq!(network.engines[node].mempool().len(), 0, "node {node}");
        assert_eq!(network.tip(node), network.tip(3));
    }
    assert!(network.banned.is_empty());
}

#[test]
fn a_pushed_orphan_brings_its_ancestors() {
    let mut network = Network::new(2);
    for _ in 0..5 {
        network.mine(0, &key(1));
    }
    network.connect(0, 1);
    network.cut(0, 1);
    for _ in 0..5 {
        network.mine(0, &key(1));
    }
    let last = network.mined(0, &key(1));
    network.submit(0, last.clone());
    // The push comes before any status.
    let push =
        FromNet::Request { peer: super::network::peer(0), reply: Reply(u64::MAX), request: pushed(&last) };
    let greet = FromNet::Connected {
        peer: super::network::peer(0),
        address: String::new(),
        outbound: true,
        identity: String::new(),
        quota: 0,
    };
    let now = network.now;
    network.engines[1].on(Event::Net(greet), now).expect("memory does not fail");
    let actions = network.engines[1].on(Event::Net(push), now).expect("memory does not fail");
    let orphan = |action: &Action| {
        matches!(action, Action::Net(ToNet::Reply { response: Response::Compact(CompactReply::Orphan), .. }))
    };
    let asks =
        |action: &Action| matches!(action, Action::Net(ToNet::Request { request: Request::Headers(_), .. }));
    assert!(actions.iter().any(orphan) && actions.iter().any(asks), "{actions:?}");
    network.connect(0, 1);
    assert_eq!(network.tip(1), network.tip(0));
}

#[test]
fn c12_a_wrong_body_costs_its_sender_and_the_right_one_comes_from_another() {
    let mut network = Network::new(3);
    for _ in 0..3 {
        network.mine(0, &key(1));
    }
    network.connect(0, 2);
    assert_eq!(network.tip(2), network.tip(0));
    // Node 2 serves bodies in which a byte of the coinbase is changed.
    network.tamper = Some(|from, response| match response {
        Response::Blocks(blocks) if from == 2 => {
            let spoil = |raw: RawBlock| {
                let mut block = raw.walk().and_then(|block| block.decode()).expect("an honest body");
                block.coinbase.free[90] ^= 1;
                RawBlock::from(&block)
            };
            Response::Blocks(blocks.into_iter().map(spoil).collect())
        }
        other => other,
    });
    network.connect(2, 1);
    assert_eq!(network.height(1), 0);
    assert_eq!(network.banned.len(), 1, "{:?}", network.banned);
    assert_eq!((network.banned[0].0, network.banned[0].1), (1, 2));
    network.connect(0, 1);
    assert_eq!(network.tip(1), network.tip(0));
    assert_eq!(network.banned.len(), 1, "the honest peer is not punished: {:?}", network.banned);
}

#[test]
fn p06_a_block_that_does_not_come_is_asked_of_another_peer() {
    let mut network = Network::new(3);
    for _ in 0..3 {
        network.mine(0, &key(1));
    }
    network.connect(0, 2);
    network.connect(2, 1);
    let lost = network.mined(0, &key(1));
    // Node 2 hears of the block, tells node 1 of it by status, and then answers nothing any more.
    network.submit(0, lost);
    network.cut(2, 1);
    network.mine(0, &key(1));
    network.silent.insert(2);
    network.connect(2, 1);
    network.connect(0, 1);
    network.pass(60);
    assert_eq!(network.tip(1), network.tip(0));
}

#[test]
fn c11_a_block_from_the_future_is_tried_again_and_nobody_is_punished() {
    let mut network = Network::meshed(2);
    let ahead = network.chain.params().max_future_secs();
    // Node 0's clock is fast: it mines a block that is too early for node 1.
    let honest = network.now;
    network.now.wall = network.wall_after(ahead + 25);
    let block = network.mined(0, &key(1));
    let now = network.now;
    network.engines[0].submit_block(block.clone(), now).expect("in time by node 0's clock");
    let pushes = network.engines[0].drain();
    network.now = honest;
    for action in pushes {
        if let Action::Net(ToNet::Request { request: request @ Request::Compact(_), .. }) = action {
            let message = FromNet::Request { peer: super::network::peer(0), reply: Reply(0), request };
            let actions = network.engines[1].on(Event::Net(message), honest).expect("memory does not fail");
            let not_yet = |action: &Action| {
                matches!(
                    action,
                    Action::Net(ToNet::Reply { response: Response::Compact(CompactReply::NotYet), .. })
                )
            };
            assert!(actions.iter().any(not_yet), "{actions:?}");
        }
    }
    assert_eq!(network.height(1), 0);
    // Statuses are told every 10 s: at 26 s only the block that was kept can have been tried again.
    network.pass(26);
    assert_eq!(network.tip(1), block.hash());
    assert!(network.banned.is_empty(), "{:?}", network.banned);
}

#[test]
fn p12_an_invalid_block_that_was_passed_on_before_it_was_judged_is_nobodys_fault() {
    let mut network = Network::meshed(2);
    let mut block = network.mined(0, &key(1));
    // One pebble too many; then solved again.
    let output = &mut block.coinbase.outputs[0];
    output.amount = Amount::from_pebbles(output.amount.pebbles() + 1);
    let leaf = block.coinbase.txid().to_bytes();
    block.header.merkle_root = chain::hash::MerkleRoot::from_bytes(leaf);
    let target = block.header.bits.to_target().expect("valid bits");
    while !target.is_met_by(&block.hash()) {
        block.header.nonce += 1;
    }
    let push =
        FromNet::Request { peer: super::network::peer(0), reply: Reply(u64::MAX), request: pushed(&block) };
    let now = network.now;
    let mut actions = network.engines[1].on(Event::Net(push), now).expect("memory does not fail");
    actions.extend(network.engines[1].on(Event::Ready, now).expect("memory does not fail"));
    let blamed = |action: &Action| matches!(action, Action::Net(ToNet::Disconnect { .. }));
    assert!(!actions.iter().any(blamed), "{actions:?}");
    assert_eq!(network.height(1), 0);
    let again = network.engines[1].submit_block(block, now);
    assert!(matches!(again, Err(SubmitError::KnownInvalid(_))), "{again:?}");
}

#[test]
fn p08_answers_that_were_not_asked_for_change_nothing() {
    let mut network = Network::meshed(2);
    let now = network.now;
    for response in
        [Response::Headers(Vec::new()), Response::Blocks(Vec::new()), Response::Compact(CompactReply::Known)]
    {
        let message =
            FromNet::Response { peer: super::network::peer(0), id: RequestId(9_999), result: Ok(response) };
        let actions = network.engines[1].on(Event::Net(message), now).expect("memory does not fail");
        assert!(actions.is_empty(), "{actions:?}");
    }
}

#[test]
fn a_restarted_engine_knows_what_it_knew() {
    let mut network = Network::new(1);
    for _ in 0..5 {
        network.mine(0, &key(1));
    }
    let (tip, store) = (network.tip(0), network.engines[0].ledger().store().clone());
    let ledger = Ledger::open(network.chain.clone(), store).expect("our own store");
    let again: Engine<MemoryStore> = Engine::new(ledger, String::new());
    assert_eq!(again.ledger().tip().id.hash, tip);
}
