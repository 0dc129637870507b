//! A class splits a network of real processes and heals it, by RPC alone. Without `--lab` there is no such thing.

use chain::hash::BlockHash;
use node::config::Settings;
use rpc::error::code;
use tempfile::tempdir;
use tests::{
    answers::{answer, await_agreement, await_in_mempools, await_mined, await_same_coins},
    chains::lab_chain,
    command::run,
    full_node::{FullNode, settings},
    keys::{Person, to_hex},
    wait::{require, until},
};

fn identity(node: &FullNode) -> String {
    node.rpc().getnetworkinfo().expect("it answers").peer_id
}

/// Cuts `node` off from `other`, or lets them meet again.
fn cut(node: &FullNode, other: &FullNode) {
    node.rpc().setconditions(identity(other), None, None, None, Some(true)).expect("it has a lab");
}

/// Waits until `node` has exactly these peers.
fn await_peers(node: &FullNode, peers: &[&FullNode]) {
    let mut expected: Vec<String> = peers.iter().map(|peer| identity(peer)).collect();
    expected.sort_unstable();
    until(format!("the node on {} has its peers", node.datadir().display()), || {
        let mut now: Vec<String> =
            answer(node.rpc().getpeerinfo())?.into_iter().map(|peer| peer.peer_id).collect();
        now.sort_unstable();
        require(now == expected, || format!("{now:?} instead of {expected:?}"))
    });
}

#[test]
fn p22_real_processes_are_split_and_healed_by_rpc() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "split", |_| {});
    let lab = Settings { lab: Some(true), ..settings(&chain) };
    let nodes = ["a", "b", "c", "d"].map(|name| FullNode::start(&folder.path().join(name), &lab));
    let [a, b, c, d] = &nodes;
    for (at, node) in nodes.iter().enumerate() {
        nodes[at + 1..].iter().for_each(|other| node.connect(other));
    }
    let payer = Person::new(&chain.chain, "payer");
    let payee = Person::new(&chain.chain, "payee");
    let coins = payer.fund(a.rpc(), 2);
    let all = nodes.each_ref().map(|node| node.rpc().clone());
    let common = await_agreement(&all);

    // Each side of a cut holds it; that one of them does is enough.
    for one in [a, b] {
        for other in [c, d] {
            cut(one, other);
        }
    }
    await_peers(a, &[b]);
    await_peers(d, &[c]);
    let mine = |node: &FullNode, blocks| -> BlockHash {
        let hashes = node.rpc().generatetoaddress(blocks, payee.written(), None).expect("mined");
        *hashes.last().expect("as many as asked for")
    };
    let left = mine(a, 2);
    let right = mine(d, 3);
    assert_eq!(await_agreement(&[a.rpc().clone(), b.rpc().clone()]), left);
    assert_eq!(await_agreement(&[c.rpc().clone(), d.rpc().clone()]), right);
    assert!(left != right && left != common);
    // A payment on the side that is going to lose is not lost.
    let payment = to_hex(&payer.pay(&coins[0], &payee, 10_000));
    let sent = a.rpc().sendrawtransaction(payment, None).expect("unspent");
    await_in_mempools(&[a.rpc().clone(), b.rpc().clone()], sent);

    for node in [a, b] {
        assert_eq!(node.rpc().getconditions().expect("it has a lab").len(), 2);
        node.rpc().clearconditions(None).expect("it has a lab");
        assert!(node.rpc().getconditions().expect("it has a lab").is_empty());
    }
    assert_eq!(await_agreement(&all), right);
    nodes.iter().for_each(|node| await_peers(node, &others(&nodes, node)));
    // It came back to the mempool of whoever had it in a block, or has waited all the time.
    await_in_mempools(&[a.rpc().clone()], sent);
    mine(a, 1);
    await_mined(&all, sent);
    await_same_coins(&all);
    nodes.into_iter().for_each(FullNode::stop);
}

#[test]
fn a_slow_and_lossy_network_still_agrees() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "slow", |_| {});
    let lab = Settings { lab: Some(true), ..settings(&chain) };
    let [a, b] = ["a", "b"].map(|name| FullNode::start(&folder.path().join(name), &lab));
    a.connect(&b);
    for node in [&a, &b] {
        node.rpc().setconditions("all".into(), Some(40), Some(20), Some(0.02), None).expect("it has a lab");
    }
    let payee = Person::new(&chain.chain, "payee");
    for _ in 0..5 {
        a.rpc().generatetoaddress(1, payee.written(), None).expect("mined");
    }
    await_agreement(&[a.rpc().clone(), b.rpc().clone()]);
    for (conditions, refusal) in [
        ((Some(60_001), None, None), code::INVALID_PARAMETER),
        ((None, None, Some(1.5)), code::INVALID_PARAMETER),
    ] {
        let (delay_ms, jitter_ms, loss) = conditions;
        let error =
            a.rpc().setconditions("all".into(), delay_ms, jitter_ms, loss, None).expect_err("refused");
        assert_eq!(error.code(), Some(refusal), "{error}");
    }
    let stranger = a.rpc().setconditions("alice".into(), None, None, None, None).expect_err("refused");
    assert!(stranger.to_string().contains("12D3KooW"), "{stranger}");
    a.stop();
    b.stop();
}

#[test]
fn without_lab_there_are_no_conditions_and_real_chains_refuse_it() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "plain", |_| {});
    let node = FullNode::start(&folder.path().join("a"), &settings(&chain));
    let unknown = node.rpc().setconditions("all".into(), Some(1), None, None, None).expect_err("unknown");
    assert_eq!(unknown.code(), Some(code::METHOD_NOT_FOUND), "{unknown}");
    assert_eq!(node.rpc().clearconditions(None).expect_err("unknown").code(), Some(code::METHOD_NOT_FOUND));
    assert!(!node.rpc().help(None).expect("it answers").contains("conditions"));
    node.stop();
    for real in ["main", "test"] {
        let datadir = folder.path().join(real).display().to_string();
        let refused = run(["node", "--chain", real, "--lab", "--datadir", &datadir]).failure();
        assert!(refused.contains("--lab") && refused.contains(real), "{refused}");
    }
}

fn others<'a>(nodes: &'a [FullNode], node: &FullNode) -> Vec<&'a FullNode> {
    nodes.iter().filter(|other| other.datadir() != node.datadir()).collect()
}
