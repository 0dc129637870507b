//! Two nodes have mined on their own and meet: the branch with more work wins, however deep the other one has to go back.
//! Of two branches with equal work each node keeps the one that it had first, also over a restart.

use chain::hash::BlockHash;
use rpc::{client::Client, types::OneOf};
use tempfile::tempdir;
use tests::{
    answers::{answer, await_agreement, await_mined, await_same_coins, mempool, tips},
    chains::lab_chain,
    full_node::{FullNode, settings},
    keys::{Person, to_hex},
    wait::{require, until},
};

/// More blocks than one answer to a request for headers carries (2,000).
const LONG_BRANCH: u32 = 2_100;

fn tip(node: &Client) -> BlockHash {
    node.getbestblockhash().expect("it answers")
}

/// Waits until a node knows a block, on whatever branch.
fn await_known(node: &Client, hash: BlockHash) {
    until(format!("{} knows {hash}", node.url()), || answer(node.getblock(hash, None)));
}

#[test]
fn a_branch_with_more_work_replaces_one_of_many_blocks() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "deep", |_| ());
    let [alice, bob] = ["alice", "bob"].map(|name| Person::new(&chain.chain, name));
    let short = FullNode::start(&folder.path().join("short"), &settings(&chain));
    let long = FullNode::start(&folder.path().join("long"), &settings(&chain));

    // Both have alice's first coin; the second one is mined on the short branch only.
    short.connect(&long);
    let common = alice.fund(short.rpc(), 1);
    await_agreement(&[short.rpc().clone(), long.rpc().clone()]);
    let (short_folder, long_folder) = (short.datadir().to_path_buf(), long.datadir().to_path_buf());
    long.stop();
    let born_aside: Vec<_> =
        alice.fund(short.rpc(), 200).into_iter().filter(|coin| !common.contains(coin)).collect();
    let survives = alice.pay(&common[0], &bob, 5_000);
    let dies = alice.pay(&born_aside[0], &bob, 5_000);
    for payment in [&survives, &dies] {
        short.rpc().sendrawtransaction(to_hex(payment), None).expect("it is good");
    }
    short.rpc().generatetoaddress(1, bob.written(), None).expect("a block");
    await_mined(&[short.rpc().clone()], survives.txid());
    await_mined(&[short.rpc().clone()], dies.txid());
    let abandoned = tip(short.rpc());
    let height = short.rpc().getblockcount().expect("it answers").get();
    short.stop();

    let long = FullNode::start_again(&long_folder);
    let made = long.rpc().generatetoaddress(LONG_BRANCH, bob.written(), None).expect("blocks");
    assert_eq!(made.len(), usize::try_from(LONG_BRANCH).expect("small"));
    let short = FullNode::start_again(&short_folder);
    short.connect(&long);
    let both = [short.rpc().clone(), long.rpc().clone()];
    until("the short branch gives way", || {
        let now = tip(short.rpc());
        require(now == made[made.len() - 1], || format!("it is at {now}"))
    });
    await_same_coins(&both);
    let kept = answer(short.rpc().getblock(abandoned, None)).expect("the old branch is kept");
    assert!(matches!(kept, OneOf::Long(block) if block.confirmations == -1));
    let aside = tips(short.rpc()).into_iter().find(|tip| tip.hash == abandoned).expect("it is listed");
    assert_eq!(aside.status, "valid-fork");
    assert_eq!(aside.branchlen, height - 2, "all blocks above the common ones");

    // What is still valid waits again; what spends a coin that never was does not.
    until("the payment of the common coin waits again", || {
        let waiting = mempool(short.rpc())?;
        require(waiting == [survives.txid()], || format!("{waiting:?}"))
    });
    short.rpc().generatetoaddress(1, bob.written(), None).expect("a block");
    await_mined(&both, survives.txid());
    assert!(short.rpc().getrawtransaction(dies.txid(), None, None).is_err());
}

#[test]
fn of_equal_branches_a_node_keeps_the_one_that_it_had_first() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "equal", |_| ());
    let miner = Person::new(&chain.chain, "miner").written();
    let names = ["left", "right"];
    let nodes = names.map(|name| FullNode::start(&folder.path().join(name), &settings(&chain)));
    let first = nodes.each_ref().map(|node| {
        node.rpc().generatetoaddress(3, miner.clone(), None).expect("blocks");
        tip(node.rpc())
    });
    assert_ne!(first[0], first[1]);
    nodes[0].connect(&nodes[1]);
    // A branch of no more work is not asked for, so the rival's blocks are handed over by hand.
    let blocks = nodes.each_ref().map(|node| {
        let hash = |height| node.rpc().getblockhash(chain::height::Height::new(height)).expect("it is there");
        [1, 2, 3]
            .map(|height| node.rpc().getblock(hash(height), Some(rpc::methods::Verbosity(0))).expect("bytes"))
    });
    for (node, theirs) in nodes.iter().zip([&blocks[1], &blocks[0]]) {
        for block in theirs {
            let OneOf::Short(hex) = block else { panic!("bytes were asked for") };
            let verdict = node.rpc().submitblock(hex.clone(), None).expect("a verdict");
            assert_eq!(verdict.as_deref(), Some("inconclusive"), "valid, and not the tip");
        }
    }
    for (node, (own, other)) in nodes.iter().zip([(first[0], first[1]), (first[1], first[0])]) {
        await_known(node.rpc(), other);
        assert_eq!(tip(node.rpc()), own, "the first one stays");
    }

    // Over a restart, too: by an orderly end and by a crash.
    let [left, mut right] = nodes;
    let folders = [left.datadir().to_path_buf(), right.datadir().to_path_buf()];
    left.stop();
    right.process.kill();
    let nodes = folders.each_ref().map(|folder| FullNode::start_again(folder));
    for (node, own) in nodes.iter().zip(first) {
        assert_eq!(tip(node.rpc()), own, "the tip that was active");
    }
    nodes[0].connect(&nodes[1]);
    nodes[1].rpc().generatetoaddress(1, miner, None).expect("a block");
    let agreed = await_agreement(&nodes.each_ref().map(|node| node.rpc().clone()));
    assert_eq!(agreed, tip(nodes[1].rpc()), "one more block decides");
}
