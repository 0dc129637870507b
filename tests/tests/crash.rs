//! Nodes are killed, told to end and given torn files at random, and a disk is full at random, again and again.
//! Started again they have every block that they had ever named, catch up, and agree with the others.
//! `make crash` does the same for as long as one likes.

use std::collections::BTreeSet;

use chain::hash::BlockHash;
use rpc::types::OneOf;
use tempfile::tempdir;
use tests::{
    answers::{answer, await_agreement, await_connections, await_height, await_same_coins},
    chance::Chance,
    crash::{
        deep,
        plan::{End, Phase, Plan, phases_of, points},
        round::run_planned,
        stage::Stage,
    },
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
fn s01_a_node_killed_while_mining_has_every_block_that_it_accepted() {
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

/// Rounds of each of the stories below.
const SHORT_ROUNDS: usize = 3;
/// Fail points at which nodes are killed, and at which disks are full.
const SHORT_POINTS: usize = 6;
/// Blocks of the reorganisation that is killed again and again.
const SHORT_DEPTH: u32 = 400;
/// The phases that need no fault before them.
const PHASES: [Phase; 3] = [Phase::Mining, Phase::CatchingUp, Phase::Reorganising];

/// Rounds with these ends, each in one of the phases in turn.
#[expect(
    clippy::print_stderr,
    reason = "whoever reads a failing test's output needs to know what came before"
)]
fn play(rounds: impl IntoIterator<Item = (Phase, End)>, chance: &mut Chance) {
    let mut stage = Stage::set();
    for (phase, end) in rounds {
        let chance = Chance::from_seed(chance.below(usize::MAX) as u64);
        let shown = run_planned(&mut stage, Plan { phase, end }, chance);
        // Shown where a later round fails.
        eprintln!("{shown:?}");
    }
    stage.strike();
}

fn in_turn(end: &End) -> impl Iterator<Item = (Phase, End)> {
    PHASES.into_iter().cycle().take(SHORT_ROUNDS).map(|phase| (phase, end.clone()))
}

/// Some of the fail points, each in a phase in which it can be reached.
fn at_points(end: fn(&'static str, u64) -> End, chance: &mut Chance) -> Vec<(Phase, End)> {
    let pick = |chance: &mut Chance| {
        let point = points()[chance.below(points().len())].as_str();
        let phases = phases_of(point);
        (phases[chance.below(phases.len())], end(point, 1 + chance.below(3) as u64))
    };
    (0..SHORT_POINTS).map(|_| pick(chance)).collect()
}

#[test]
fn s01_a_node_killed_at_a_write_has_every_block_that_it_accepted() {
    let mut chance = Chance::from_environment();
    let rounds = at_points(End::FailPoint, &mut chance);
    play(in_turn(&End::Kill).chain(rounds), &mut chance);
}

#[test]
fn s03_torn_newest_files_cost_a_suffix_at_the_most() {
    play([Phase::Mining, Phase::CatchingUp].map(|phase| (phase, End::Tear)), &mut Chance::from_environment());
}

#[test]
fn s05_a_write_that_finds_the_disk_full_stops_the_node_and_loses_nothing() {
    let mut chance = Chance::from_environment();
    let rounds = at_points(End::DiskFull, &mut chance);
    play(rounds, &mut chance);
}

#[test]
fn s14_a_node_told_to_end_at_any_moment_ends_in_time_and_loses_nothing() {
    play(in_turn(&End::Terminate), &mut Chance::from_environment());
}

#[test]
fn s13_a_reorganisation_that_is_killed_again_and_again_ends_within_its_memory() {
    let shown = deep::run(SHORT_DEPTH, &mut Chance::from_environment());
    assert!(shown.memory_kib > 0, "{shown:?}");
}

fn is_active(node: &rpc::client::Client, hash: BlockHash) -> bool {
    let header = node.getblockheader(hash, None).expect("the header is known");
    matches!(header, OneOf::Long(header) if header.confirmations > 0)
}
