//! Honest peers that look strange: on another tip, far behind, with another clock, under another operator's orders.
//! None of them is ever blamed (threat P12), and points are for those who collect them.

use chain::transaction::{OutPoint, Output};

use super::network::{Network, address, key, peer, reward, spend};
use crate::{
    engine::{Action, Event},
    p2p::{
        FromNet, ToNet,
        conduct::{BAN_POINTS, FORGIVEN_POINTS_PER_MIN, Misconduct},
    },
};

/// Three hours, by which clocks are off.
const CLOCK_OFF_SECS: u32 = 3 * 3_600;

fn assert_nobody_is_blamed(network: &Network) {
    assert!(network.banned.is_empty(), "{:?}", network.banned);
    for (node, engine) in network.engines.iter().enumerate() {
        assert!(engine.peer_scores().all(|(_, points)| points == 0), "node {node} counts points");
    }
}

#[test]
fn p12_a_payment_of_another_tip_is_nobodys_fault() {
    let mut network = Network::meshed(2);
    let shared = network.mine(0, &key(1));
    network.mine(0, &key(9));
    network.cut(0, 1);
    // On its own branch node 0 pays with a coin that node 1 has never heard of, and one that node 1 has spent.
    let own = network.mine(0, &key(2));
    network.mine(0, &key(9));
    network.connect(0, 1);
    network.cut(0, 1);
    for _ in 0..3 {
        network.mine(1, &key(9));
    }
    let outputs = |coin: &(OutPoint, chain::amount::Amount)| {
        let left = chain::amount::Amount::from_pebbles(coin.1.pebbles() - 10_000);
        vec![Output::pay(address(&key(3)), left)]
    };
    for (owner, block) in [(2, &own), (1, &shared)] {
        let coin = reward(block);
        let payment = spend(&network.chain, &key(owner), &[coin], outputs(&coin));
        network.send(0, payment).expect("valid on its own tip");
    }
    let rival = spend(
        &network.chain,
        &key(1),
        &[reward(&shared)],
        vec![Output::pay(address(&key(4)), reward(&shared).1)],
    );
    drop(network.send(1, rival));
    network.connect(0, 1);
    network.pass(140);
    assert_nobody_is_blamed(&network);
}

#[test]
fn p12_a_peer_far_behind_that_mines_is_not_blamed() {
    let mut network = Network::meshed(3);
    network.mine(0, &key(1));
    network.cut(0, 2);
    network.cut(1, 2);
    for _ in 0..400 {
        network.mine(0, &key(1));
        network.now.wall = network.wall_after(1);
    }
    // It missed 400 blocks, finds one of its own on the old tip, and hands it to everybody it meets.
    network.mine(2, &key(2));
    network.silent.insert(0);
    network.connect(2, 0);
    network.mine(2, &key(2));
    network.silent.clear();
    network.connect(2, 1);
    network.pass(30);
    assert_eq!(network.tip(2), network.tip(0));
    assert_nobody_is_blamed(&network);
}

#[test]
fn p12_a_peer_whose_operator_or_ours_gave_a_block_up_is_not_blamed() {
    let mut network = Network::meshed(2);
    network.mine(0, &key(1));
    let given_up = network.mine(0, &key(1));
    let now = network.now;
    network.engines[1].invalidate_block(&given_up.hash(), now).expect("it is there");
    drop(network.engines[1].drain());
    // What stands on it comes as a block, as headers, and after a new meeting.
    for _ in 0..3 {
        network.mine(0, &key(1));
        network.pass(11);
    }
    network.cut(0, 1);
    network.connect(0, 1);
    // And what node 1 makes on its own branch goes the other way.
    network.mine(1, &key(2));
    assert_nobody_is_blamed(&network);
    let now = network.now;
    network.engines[1].reconsider_block(&given_up.hash(), now).expect("it is there");
    drop(network.engines[1].drain());
    network.pass(30);
    assert_eq!(network.tip(1), network.tip(0));
    assert_nobody_is_blamed(&network);
}

#[test]
fn s11_clocks_that_jump_or_differ_blame_nobody_and_end_no_request() {
    let mut network = Network::meshed(2);
    let honest = network.mine(0, &key(1));
    // The wall clock of both jumps ahead, back, and behind the chain; what waits goes by the other clock.
    let start = network.now.wall.secs();
    for wall in [start + CLOCK_OFF_SECS, start - CLOCK_OFF_SECS, start, start - 10 * CLOCK_OFF_SECS] {
        network.now.wall = chain::time::Time::from_secs(wall);
        network.pass(25);
        assert_eq!((network.tip(0), network.tip(1)), (honest.hash(), honest.hash()));
    }
    // A node whose clock is three hours slow cannot take what the others mine yet, and takes it when it can.
    network.now.wall = chain::time::Time::from_secs(start + CLOCK_OFF_SECS);
    network.cut(0, 1);
    let ahead = network.mine(0, &key(1));
    network.now.wall = chain::time::Time::from_secs(start);
    network.connect(0, 1);
    network.pass(15);
    assert_eq!(network.tip(1), honest.hash());
    assert_nobody_is_blamed(&network);
    network.now.wall = chain::time::Time::from_secs(start + CLOCK_OFF_SECS);
    network.pass(15);
    assert_eq!(network.tip(1), ahead.hash());
    // A monotonic clock that stands still while the wall clock goes lets no request end.
    let before = network.now.monotonic_ms;
    for _ in 0..100 {
        network.now.wall = network.wall_after(60);
        let now = network.now;
        let actions = network.engines[0].on(Event::Tick, now).expect("memory does not fail");
        assert!(
            !actions.iter().any(|action| matches!(action, Action::Net(ToNet::Request { .. }))),
            "{actions:?}"
        );
    }
    assert_eq!(network.now.monotonic_ms, before);
    assert_nobody_is_blamed(&network);
}

#[test]
fn p12_points_ban_whoever_collects_them_and_are_forgiven() {
    let mut network = Network::meshed(3);
    let fault = |network: &mut Network, from: usize| {
        let now = network.now;
        let message = FromNet::Fault { peer: peer(from), misconduct: Misconduct::TooManyRequests };
        network.engines[0].on(Event::Net(message), now).expect("memory does not fail")
    };
    let bans = |actions: &[Action]| {
        actions.iter().any(|action| matches!(action, Action::Net(ToNet::Disconnect { peer: who, ban: true, .. }) if *who == peer(1)))
    };
    for point in 1..BAN_POINTS {
        assert!(!bans(&fault(&mut network, 1)), "{point}");
    }
    let points = |network: &Network, node: usize| {
        network.engines[0].peer_scores().find(|(who, _)| *who == peer(node)).map(|(_, points)| points)
    };
    assert_eq!((points(&network, 1), points(&network, 2)), (Some(BAN_POINTS - 1), Some(0)));
    network.pass(61);
    assert_eq!(points(&network, 1), Some(BAN_POINTS - 1 - FORGIVEN_POINTS_PER_MIN));
    for _ in 0..FORGIVEN_POINTS_PER_MIN {
        assert!(!bans(&fault(&mut network, 1)));
    }
    assert!(bans(&fault(&mut network, 1)));
    // Who is gone is not blamed again.
    assert!(!bans(&fault(&mut network, 1)));
    assert_eq!(points(&network, 2), Some(0));
}
