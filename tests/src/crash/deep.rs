//! A reorganisation of thousands of blocks under a memory limit, with kills in the midst of it.
//!
//! The node has the worse branch, its peer the better one. The better branch wins with its last block, so the
//! node first takes all bodies and then walks thousands of blocks down and up. It is killed in both, started
//! again each time, and must end on the right tip with coins that are what a replay gives. Its memory is
//! watched from outside: the most that it ever had (`VmHWM`).

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use node::config::Settings;
use tempfile::TempDir;

use super::stage::{FEE_PEBBLES, copy_datadir};
use crate::{
    answers::{answer, await_same_coins},
    chains::{LabChain, lab_chain},
    chance::Chance,
    command::{run as run_command, word},
    full_node::{FullNode, configure, node_command, settings, spawn_command, verify_stored},
    keys::{Person, to_hex},
    process::Signal,
    wait::{pause_unless, require, until},
};

/// What a node may have in memory at the most, in KiB: 256 MiB.
pub const MAX_MEMORY_KIB: u64 = 256 * 1024;
/// How often the node is killed.
const KILLS: usize = 5;
/// How often that is tried, since a signal may come when all is done.
const MAX_TRIES: usize = 40;
/// Blocks that are made by one call.
const BLOCKS_A_CALL: u32 = 100;
/// How far the makers' clocks are behind, so that thousands of blocks, each later than the median of those
/// below it, are not ahead of the others'.
const CLOCK_OFFSET_SECS: i64 = -7_000;

/// What the reorganisation has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deep {
    /// How many blocks were replaced.
    pub depth: u32,
    /// The most memory that the node ever had, in KiB.
    pub memory_kib: u64,
    /// How often it was killed before it was done.
    pub kills: usize,
}

/// Two branches of a chain in two data folders.
struct Branches {
    folder: TempDir,
    chain: LabChain,
}

impl Branches {
    fn make(depth: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let chain = lab_chain(folder.path(), "deep", |_| ());
        let branches = Self { folder, chain };
        let maker = Settings { clock_offset_secs: Some(CLOCK_OFFSET_SECS), ..settings(&branches.chain) };
        for (name, person, blocks) in [("worse", "alice", depth), ("better", "bob", depth + 1)] {
            let node = FullNode::start(&branches.at(name), &maker);
            branches.build(&node, person, blocks);
            node.stop();
        }
        branches
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Blocks on demand, with a payment in front of each call.
    fn build(&self, node: &FullNode, person: &str, blocks: u32) {
        let (payer, payee) =
            (Person::new(&self.chain.chain, person), Person::new(&self.chain.chain, "carol"));
        let mut left = blocks;
        let mut coins = Vec::new();
        while left > 0 {
            if let Some(coin) = coins.pop() {
                let payment = payer.pay(&coin, &payee, FEE_PEBBLES);
                node.rpc().sendrawtransaction(to_hex(&payment), None).expect("it is good");
            }
            let now = left.min(BLOCKS_A_CALL);
            // The payer earns one block in each call, for the payments.
            node.rpc().generatetoaddress(1, payer.written(), None).expect("blocks are made on demand");
            node.rpc().generatetoaddress(now - 1, payee.written(), None).expect("blocks are made on demand");
            coins = payer.spendable(node.rpc()).expect("it answers");
            left -= now;
        }
    }
}

/// Runs the story with branches of `depth` blocks.
///
/// # Panics
/// Where the node ends on a wrong tip, with wrong coins, or has had too much memory.
#[must_use]
pub fn run(depth: u32, chance: &mut Chance) -> Deep {
    let branches = Branches::make(depth);
    let peer = FullNode::start(&branches.at("better"), &settings(&branches.chain));
    let victim = branches.at("victim");
    copy_datadir(&branches.at("worse"), &victim);
    let told = Settings { bootstrap: Some(vec![peer.p2p_address()]), ..settings(&branches.chain) };
    configure(&victim, &told);
    let goal = peer.rpc().getbestblockhash().expect("it answers");

    let (mut memory_kib, mut kills) = (0, 0);
    // How long the whole takes is measured with a node of its own that nobody kills.
    let whole = measure(&branches, &victim, goal);
    for _ in 0..MAX_TRIES {
        if kills == KILLS {
            break;
        }
        let mut process = spawn_command(&victim, node_command(&victim));
        let share = Duration::from_millis(chance.below(whole.max(1)) as u64);
        pause_unless(share, || process.status().is_some());
        assert!(process.status().is_none(), "the node ended by itself: {}", process.log());
        memory_kib = memory_kib.max(peak_memory_kib(process.pid()).unwrap_or(0));
        process.signal(Signal::KILL);
        process.wait();
        // What is stored at this very moment is what a replay gives, and says how far the node was.
        let stored = run_command(["chain", "verify", "--json", "--datadir", word(&victim)]).json();
        if stored["tip"] == goal.to_string().as_str() {
            // It was done before the signal came: once more from the beginning.
            fs::remove_dir_all(&victim).expect("nobody uses the folder");
            copy_datadir(&branches.at("worse"), &victim);
            configure(&victim, &told);
        } else {
            kills += 1;
        }
    }
    assert_eq!(kills, KILLS, "the signals came too late {MAX_TRIES} times");
    let node = FullNode::start_again(&victim);
    until("the node is on the better branch", || {
        let tip = answer(node.rpc().getbestblockhash())?;
        require(tip == goal, || format!("it is at {tip}"))
    });
    memory_kib = memory_kib.max(peak_memory_kib(node.process.pid()).expect("it runs"));
    await_same_coins(&[node.rpc().clone(), peer.rpc().clone()]);
    node.stop();
    verify_stored(&victim);
    peer.stop();
    assert!(memory_kib <= MAX_MEMORY_KIB, "the node had {memory_kib} KiB, the limit is {MAX_MEMORY_KIB}");
    Deep { depth, memory_kib, kills }
}

/// How many milliseconds the reorganisation takes on this machine, from the start of the node, in a copy of the
/// folder.
fn measure(branches: &Branches, victim: &Path, goal: chain::hash::BlockHash) -> usize {
    let copy = branches.at("measure");
    copy_datadir(victim, &copy);
    let begin = std::time::Instant::now();
    let node = FullNode::start_again(&copy);
    until("the node is on the better branch", || {
        let tip = answer(node.rpc().getbestblockhash())?;
        require(tip == goal, || format!("it is at {tip}"))
    });
    let took = usize::try_from(begin.elapsed().as_millis()).expect("a short time");
    let memory = peak_memory_kib(node.process.pid()).expect("it runs");
    assert!(memory <= MAX_MEMORY_KIB, "the node had {memory} KiB, the limit is {MAX_MEMORY_KIB}");
    node.stop();
    took
}

/// The most memory that a process ever had, in KiB, while it runs.
#[must_use]
pub fn peak_memory_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
