//! Honest peers whose clocks are three hours off, ahead and behind: nobody is blamed, nobody is left, and nobody's
//! clock moves.

use tempfile::tempdir;
use tests::{
    answers::{answer, await_height},
    chains::lab_chain,
    full_node::{FullNode, settings},
    keys::Person,
    wait::{require, until},
};

/// How far the clocks are off, in seconds: more than the two hours that a block may be ahead.
const OFF_SECS: i64 = 3 * 3_600;

/// The numbers and scores under which a node knows its peers.
fn known_peers(node: &FullNode) -> Vec<u64> {
    let peers = answer(node.rpc().getpeerinfo()).expect("it answers");
    peers.into_iter().map(|peer| peer.id).collect()
}

#[test]
fn s11_peers_with_wrong_clocks_are_kept_and_believed_in_nothing() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "clocks", |_| ());
    let start = |name: &str, offset| {
        let mut settings = settings(&chain);
        settings.clock_offset_secs = Some(offset);
        FullNode::start(&folder.path().join(name), &settings)
    };
    let [right, fast, slow] =
        [("right", 0), ("fast", OFF_SECS), ("slow", -OFF_SECS)].map(|(name, off)| start(name, off));
    fast.connect(&right);
    slow.connect(&right);
    until("the node has both peers", || {
        let peers = answer(right.rpc().getpeerinfo())?;
        require(peers.len() == 2, || format!("{} peers", peers.len()))
    });
    let before = known_peers(&right);
    let miner = Person::new(&chain.chain, "miner").written();
    let mine = |node: &FullNode, blocks| {
        node.rpc().generatetoaddress(blocks, miner.clone(), None).expect("blocks are made on demand")
    };
    // What the node mines is in the past for the fast one, and too far in the future for the slow one.
    mine(&right, 3);
    await_height(fast.rpc(), 3);
    // What the fast one mines is too far in the future for the node, which goes on by its own clock.
    let early = mine(&fast, 1);
    let next = mine(&right, 2);
    await_height(fast.rpc(), 5);
    assert_eq!(
        fast.rpc().getbestblockhash().expect("it answers"),
        next[1],
        "most work wins on the fast one, too"
    );
    assert!(right.rpc().getblock(early[0], None).is_err(), "it is not taken before its time");
    // What the slow one mines is a short branch in the past of all.
    mine(&slow, 1);
    await_height(slow.rpc(), 1);
    let own = mine(&right, 1);
    await_height(fast.rpc(), 6);
    assert_eq!(right.rpc().getbestblockhash().expect("it answers"), own[0]);
    assert_eq!(known_peers(&right), before, "nobody was sent away");
    for node in [&right, &fast, &slow] {
        assert!(!node.process.log().contains("at fault"), "{}", node.process.log());
    }
    [right, fast, slow].into_iter().for_each(FullNode::stop);
}
