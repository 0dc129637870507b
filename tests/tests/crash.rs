//! One node of four is killed at random moments while all of them mine, again and again.
//! Started again it has every block that it had ever named as its tip, catches up, and agrees with the others.

use std::collections::BTreeSet;

use chain::hash::BlockHash;
use rpc::types::OneOf;
use tempfile::tempdir;
use tests::{
    answers::{answer, await_agreement, await_connections, await_height, await_same_coins},
    chance::Chance,
    devnet::Devnet,
    full_node::FullNode,
    process::{Signal, signal_process},
    wait::{require, until},
};

/// The variable that asks for more rounds than [`ROUNDS`].
const ROUNDS_VARIABLE: &str = "CAIRN_CRASH_ROUNDS";
/// How often a node is killed unless asked otherwise.
const ROUNDS: usize = 3;
/// How often a node is asked for its tip, at most, before it is killed.
const MOST_QUESTIONS: usize = 2_000;

/// A node of the devnet: the supervisor's child, or started again by this test.
enum Running {
    Supervised(u32),
    ByHand(Box<FullNode>),
}

#[test]
fn a_node_killed_while_mining_has_every_block_that_it_accepted() {
    let rounds =
        std::env::var(ROUNDS_VARIABLE).map_or(ROUNDS, |text| text.parse().expect("a number of rounds"));
    let mut chance = Chance::from_environment();
    let folder = tempdir().expect("a folder");
    let devnet = Devnet::start_fast(&folder.path().join("devnet"), 4);
    let clients = devnet.clients();
    clients.iter().for_each(|node| await_connections(node, 3));
    let mut running: Vec<Running> =
        devnet.file().nodes.iter().map(|node| Running::Supervised(node.pid)).collect();
    // What each node has named as its tip: a promise to keep.
    let mut promised: Vec<BTreeSet<BlockHash>> = vec![BTreeSet::new(); clients.len()];

    for round in 0..rounds {
        let victim = chance.below(clients.len());
        let mut questions = 1 + chance.below(MOST_QUESTIONS);
        while questions > 0 {
            promised[victim].insert(clients[victim].getbestblockhash().expect("it answers"));
            questions -= 1;
        }
        match &mut running[victim] {
            Running::Supervised(pid) => {
                signal_process(*pid, Signal::KILL);
                until("the node is dead", || {
                    require(!devnet.file().nodes[victim].is_running(), || "it runs".into())
                });
            }
            Running::ByHand(node) => node.process.kill(),
        }
        // The others go on without it.
        let other = (victim + 1) % clients.len();
        let height = clients[other].getblockcount().expect("it answers");
        await_height(&clients[other], height.get() + 1);

        running[victim] =
            Running::ByHand(Box::new(FullNode::start_again(&devnet.file().nodes[victim].datadir)));
        for hash in &promised[victim] {
            let block = clients[victim].getblock(*hash, None);
            let OneOf::Long(block) =
                block.unwrap_or_else(|error| panic!("round {round}: {hash} is lost: {error}"))
            else {
                panic!("an object was asked for")
            };
            assert_eq!(block.hash, *hash);
        }
        await_agreement(&clients);
        await_same_coins(&clients);
        // What it promised is in its chain, or on a branch that it knows as one.
        let tips = answer(clients[victim].getchaintips()).expect("it answers");
        let forks: u32 = tips.iter().map(|tip| tip.branchlen).sum();
        let aside = promised[victim].iter().filter(|hash| !is_active(&clients[victim], **hash)).count();
        assert!(aside <= usize::try_from(forks).expect("small"), "round {round}: {aside} aside, {tips:?}");
        assert!(tips.iter().all(|tip| tip.status != "invalid"), "round {round}: {tips:?}");
    }
}

fn is_active(node: &rpc::client::Client, hash: BlockHash) -> bool {
    let header = node.getblockheader(hash, None).expect("the header is known");
    matches!(header, OneOf::Long(header) if header.confirmations > 0)
}
