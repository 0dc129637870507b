//! Two nodes are cut off from the other two, both halves mine and take payments, some of them of the same coin.
//! Joined again they have one tip and one set of coins, and what the losing half was paid is mined or in conflict.

use std::path::Path;

use chain::hash::{BlockHash, TxId};
use rpc::{client::Client, error::code};
use tempfile::tempdir;
use tests::{
    answers::{answer, await_agreement, await_height, await_mined, await_same_coins, block_of, tips},
    chains::{LabChain, THROTTLED_BITS, lab_chain},
    full_node::{FullNode, settings},
    keys::{Person, to_hex},
    wait::until,
};

/// Hashes a second of each node: a block in some four seconds.
const HASHES_PER_SEC: u64 = 64;
/// How many blocks of its own each half mines before the halves are joined.
const BLOCKS_APART: u32 = 3;

/// Two nodes that know only each other, and mine.
fn half(folder: &Path, chain: &LabChain, names: [&str; 2]) -> [FullNode; 2] {
    let miner = Person::new(&chain.chain, names[0]);
    let mut mining = settings(chain);
    mining.mine = Some(miner.written());
    mining.throttle_hashes_per_sec = Some(HASHES_PER_SEC);
    let nodes = names.map(|name| FullNode::start(&folder.join(name), &mining));
    nodes[0].connect(&nodes[1]);
    nodes
}

fn height(node: &Client) -> u32 {
    node.getblockcount().expect("it answers").get()
}

#[test]
fn two_halves_that_mined_apart_end_with_one_tip_and_one_set_of_coins() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "partition", |params| params.initial_bits = THROTTLED_BITS);
    let alice = Person::new(&chain.chain, "alice");
    let [bob, carol] = ["bob", "carol"].map(|name| Person::new(&chain.chain, name));

    // Everybody has the same first blocks.
    let names = ["a", "b", "c", "d"];
    let start = names.map(|name| FullNode::start(&folder.path().join(name), &settings(&chain)));
    start[1..].iter().for_each(|node| node.connect(&start[0]));
    let coins = alice.fund(start[0].rpc(), 3);
    let common = await_agreement(&start.each_ref().map(|node| node.rpc().clone()));
    let fork = height(start[0].rpc());
    for node in start {
        assert_eq!(node.rpc().getbestblockhash().expect("it answers"), common);
        node.stop();
    }

    let left = half(folder.path(), &chain, ["a", "b"]);
    let right = half(folder.path(), &chain, ["c", "d"]);
    let send = |node: &FullNode, payment| {
        node.rpc().sendrawtransaction(to_hex(&payment), None).expect("the coin is unspent here")
    };
    // The first coin is paid twice, once in each half; each of the others in one half only.
    let rivals = [
        send(&left[0], alice.pay(&coins[0], &bob, 10_000)),
        send(&right[0], alice.pay(&coins[0], &carol, 10_000)),
    ];
    let only_left = send(&left[0], alice.pay(&coins[1], &bob, 10_000));
    let only_right = send(&right[0], alice.pay(&coins[2], &carol, 10_000));
    let clients = |half: &[FullNode; 2]| half.each_ref().map(|node| node.rpc().clone());
    for (nodes, payments) in
        [(clients(&left), [rivals[0], only_left]), (clients(&right), [rivals[1], only_right])]
    {
        payments.iter().for_each(|payment| await_mined(&nodes, *payment));
        nodes.iter().for_each(|node| await_height(node, fork + BLOCKS_APART));
    }
    let apart: [BlockHash; 2] = [await_agreement(&clients(&left)), await_agreement(&clients(&right))];
    assert_ne!(apart[0], apart[1], "each half has a chain of its own");

    right[0].connect(&left[1]);
    let all = [clients(&left), clients(&right)].concat();
    await_agreement(&all);
    await_same_coins(&all);
    await_mined(&all, only_left);
    await_mined(&all, only_right);

    // Of the rivals exactly one stands, on every node the same.
    let stands = |node: &Client, id: TxId| block_of(node, id).is_ok();
    let winner = until("one of the rivals stands on all nodes", || {
        let found = rivals.iter().find(|id| all.iter().all(|node| stands(node, **id)));
        found.copied().ok_or_else(|| "neither does yet".into())
    });
    let loser = if winner == rivals[0] { rivals[1] } else { rivals[0] };
    for node in &all {
        let error = node.getrawtransaction(loser, None, None).expect_err("it lost");
        assert_eq!(error.code(), Some(code::INVALID_ADDRESS_OR_KEY), "{error}");
    }

    // The half that gave way still has its own branch, and says so.
    let abandoned = if winner == rivals[0] { apart[1] } else { apart[0] };
    let witnesses = if winner == rivals[0] { clients(&right) } else { clients(&left) };
    for node in &witnesses {
        let side = answer(node.getblock(abandoned, None)).expect("the block is kept");
        assert!(matches!(side, rpc::types::OneOf::Long(block) if block.confirmations == -1));
        assert!(
            tips(node).iter().any(|tip| tip.status == "valid-fork" && tip.branchlen >= BLOCKS_APART),
            "{:?}",
            tips(node)
        );
    }
}
