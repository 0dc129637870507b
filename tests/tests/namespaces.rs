//! Four machines, two on each side of a line that is cut: both sides mine and take payments over slow and lossy
//! lines. Joined again, all have one tip within two block intervals, and what the losing side was paid is mined or
//! reported as in conflict (threat P22). Real processes in network namespaces: only root can tell this story.

use std::{net::SocketAddr, path::Path, time::Duration};

use chain::hash::TxId;
use node::config::Settings;
use rpc::client::Client;
use tempfile::tempdir;
use tests::{
    answers::{
        answer, await_agreement, await_height, await_in_mempools, await_mined, await_same_coins, tips,
    },
    chains::{LabChain, lab_chain},
    full_node::{FullNode, configure, settings},
    keys::{Person, to_hex},
    namespaces::Machines,
    wait::{require, until, until_deadline},
};

/// The chain's aim between blocks, in seconds.
const SPACING_SECS: u32 = 60;
/// Where peers listen; every machine has its own ports.
const PEER_PORT: u16 = 28_444;

/// Waits until a node has exactly so many peers.
#[track_caller]
fn await_peers(node: &Client, count: usize) {
    until(format!("{} has {count} peers", node.url()), || {
        let peers = answer(node.getpeerinfo())?;
        require(peers.len() == count, || format!("it has {}", peers.len()))
    });
}

/// Starts a node on a machine, told of no other.
fn start(machines: &Machines, machine: u8, chain: &LabChain, folder: &Path) -> FullNode {
    let datadir = folder.join(machine.to_string());
    configure(
        &datadir,
        &Settings {
            listen: Some(vec![format!("/ip4/{}/tcp/{PEER_PORT}", machines.peer_address(machine))]),
            rpc_listen: Some(SocketAddr::from((machines.call_address(machine), 0))),
            rpc_allow_public: Some(true),
            ..settings(chain)
        },
    );
    FullNode::start_command(&datadir, machines.node_command(machine, &datadir))
        .unwrap_or_else(|process| panic!("{}", process.log()))
}

#[test]
fn machines_of_one_local_network_find_each_other_untold() {
    let Some(machines) = Machines::make(2, 1) else { return };
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "class", |_| ());
    let nodes: Vec<FullNode> =
        (0..3).map(|machine| start(&machines, machine, &chain, folder.path())).collect();
    let all: Vec<Client> = nodes.iter().map(|node| node.rpc().clone()).collect();
    all.iter().for_each(|node| await_peers(node, 2));
    let alice = Person::new(&chain.chain, "alice");
    all[2].generatetoaddress(1, alice.written(), None).expect("a block is made on demand");
    all.iter().for_each(|node| await_height(node, 1));
    await_agreement(&all);
}

#[test]
#[expect(clippy::print_stderr, reason = "whoever reads the tests' output must know what the lines were like")]
fn p22_machines_that_were_cut_off_from_each_other_agree_again() {
    let Some(machines) = Machines::make(2, 2) else { return };
    eprintln!("the lines: {}", machines.spoil_lines());
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "machines", |params| params.spacing_secs = SPACING_SECS);
    let nodes: Vec<FullNode> =
        (0..4).map(|machine| start(&machines, machine, &chain, folder.path())).collect();
    for (from, to) in [(0, 1), (2, 3), (0, 2), (1, 3)] {
        nodes[from].connect(&nodes[to]);
    }
    let all: Vec<Client> = nodes.iter().map(|node| node.rpc().clone()).collect();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| Person::new(&chain.chain, name));
    let coins = alice.fund(&all[0], 3);
    await_agreement(&all);
    let fork = answer(all[0].getblockcount()).expect("it answers").get();

    machines.split();
    all.iter().for_each(|node| await_peers(node, 1));
    let send = |node: &Client, payment| -> TxId {
        node.sendrawtransaction(to_hex(&payment), None).expect("the coin is unspent here")
    };
    // The first coin is paid on both sides, each of the others on one.
    let rivals = [
        send(&all[0], alice.pay(&coins[0], &bob, 10_000)),
        send(&all[2], alice.pay(&coins[0], &carol, 10_000)),
    ];
    let only_left = send(&all[1], alice.pay(&coins[1], &bob, 10_000));
    let only_right = send(&all[3], alice.pay(&coins[2], &carol, 10_000));
    let (left, right) = (&all[..2], &all[2..]);
    await_in_mempools(left, only_left);
    await_in_mempools(right, only_right);
    await_in_mempools(left, rivals[0]);
    await_in_mempools(right, rivals[1]);
    // The right side finds more blocks.
    for (side, blocks) in [(left, 2), (right, 3)] {
        side[0].generatetoaddress(blocks, bob.written(), None).expect("blocks are made on demand");
        side.iter().for_each(|node| await_height(node, fork + blocks));
    }
    let lost = answer(left[0].getbestblockhash()).expect("it answers");
    let won = answer(right[0].getbestblockhash()).expect("it answers");
    assert_ne!(lost, won, "each side has a chain of its own");

    machines.heal();
    let two_intervals = Duration::from_secs(2 * u64::from(SPACING_SECS));
    until_deadline("all have the tip with most work", two_intervals, || {
        let tips = all.iter().map(|node| answer(node.getbestblockhash())).collect::<Result<Vec<_>, _>>()?;
        require(tips.iter().all(|tip| *tip == won), || format!("their tips are {tips:?}"))
    });
    await_same_coins(&all);
    // What the losing side was paid waits again, and is mined by whoever mines next; its rival says why it is not.
    await_in_mempools(left, only_left);
    all[0].generatetoaddress(1, bob.written(), None).expect("a block is made on demand");
    await_agreement(&all);
    for payment in [only_left, only_right, rivals[1]] {
        await_mined(&all, payment);
    }
    for node in left {
        let error = node.getmempoolentry(rivals[0]).expect_err("it lost").to_string();
        assert!(error.contains(&rivals[1].to_string()), "it says who spent the coin: {error}");
        assert!(tips(node).iter().any(|tip| tip.hash == lost), "the branch that lost is still known");
    }
    nodes.into_iter().for_each(FullNode::stop);
}
