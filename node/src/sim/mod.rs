//! The simulator: many nodes in one thread, on a clock that nobody waits for.
//!
//! **What.** The engine of a real node, with nothing about it changed, runs two to twenty times over a disk that forgets
//! what was not flushed and a network that delays, loses, stalls and splits, beside attackers who speak its protocol.
//! Everything is drawn from one seed, so that a run that fails is run again, event by event.
//!
//! **Why.** A bug of a network shows in one order of events out of millions. Real processes try a few orders an hour;
//! here it is hours of network a second, and after every event each node is held against what must be true of it:
//! its coins are those of a naive replay and its supply is exact, what waits could be mined, its tip's work never
//! falls, everything bounded is within its bound, it bans nobody honest; and once faults end, the best tip is
//! everywhere within [`CONVERGENCE_MS`].
//!
//! **What it must never do.** Ask a clock or the system's chance, walk a map in hash order, know more of the engine than
//! a network does, or be part of a running node. `docs/simulator.md` says how to replay a seed, write a scenario
//! and plant a bug.

mod chance;
mod course;
mod disk;
mod eclipse;
mod hostile;
mod mining;
mod net;
mod node;
mod pace;
mod plants;
mod replay;
mod scenario;
mod trace;
mod traffic;
mod wallets;
mod words;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use self::{
    course::CONVERGENCE_MS,
    eclipse::{Attack, Chosen, eclipse},
    hostile::Strategy,
    net::Weather,
    plants::Plant,
    scenario::{Fault, Scenario, Split},
};
use self::{node::Moved, world::World};

/// When the virtual clock begins, in seconds after the genesis block.
const EPOCH_SECS: i64 = 1_000_000;

/// What was counted in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events that happened.
    pub events: u64,
    /// Blocks that honest nodes found.
    pub found: u64,
    /// The height of the best chain at the end.
    pub height: usize,
    /// Changes of a tip that undid blocks.
    pub reorganisations: u64,
    /// The most blocks that one of them undid.
    pub deepest: usize,
    /// Processes that died.
    pub crashes: u64,
    /// Faults of any kind, the weather not counted.
    pub faults: u64,
    /// Payments that were taken from their makers.
    pub payments: u64,
    /// Payments that their makers' nodes refused.
    pub refused_payments: u64,
    /// Gossiped transactions that were found invalid.
    pub rejected: u64,
    /// Attackers that were banned.
    pub bans: u64,
    /// How often all agreed in time.
    pub convergences: u64,
}

impl Stats {
    fn note_move(&mut self, moved: Moved) {
        if moved.reverted > 0 {
            self.reorganisations += 1;
            self.deepest = self.deepest.max(moved.reverted);
        }
    }
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The node of which it does not hold.
    pub node: Option<usize>,
    /// Which, in words.
    pub what: String,
    /// When, in virtual milliseconds.
    pub ms: u64,
}

impl Failure {
    const fn of_world(what: String) -> Self {
        Self { node: None, what, ms: 0 }
    }
}

/// What came out of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was counted.
    pub stats: Stats,
    /// A hash over all events: equal runs have equal ones.
    pub event_hash: u64,
    /// How long it took on the virtual clock, in milliseconds.
    pub virtual_ms: u64,
    /// The invariant that broke, if one did.
    pub failure: Option<Failure>,
    /// The last events of each node, of a run that failed.
    pub traces: Vec<String>,
    /// The heights of all honest nodes at the end, and their tips' hashes.
    pub tips: Vec<(usize, chain::hash::BlockHash)>,
}

/// Runs the scenario of a seed, with a bug planted in node 0 where one is given. A run that fails is run once more
/// to write down what its nodes did last.
#[must_use]
pub fn run(seed: u64, plant: Option<Plant>) -> Report {
    run_scenario(&Scenario::from_seed(seed), seed, plant)
}

/// Runs a scenario with the chance of a seed.
#[must_use]
pub fn run_scenario(scenario: &Scenario, seed: u64, plant: Option<Plant>) -> Report {
    let report = run_once(scenario, seed, plant, false);
    if report.failure.is_some() { run_once(scenario, seed, plant, true) } else { report }
}

fn run_once(scenario: &Scenario, seed: u64, plant: Option<Plant>, is_traced: bool) -> Report {
    let mut world = match World::new(scenario.clone(), seed, plant, is_traced) {
        Ok(world) => world,
        Err(failure) => return empty(failure),
    };
    // A panic is a broken invariant like any other.
    let outcome = catch_unwind(AssertUnwindSafe(|| play(&mut world)));
    let failure = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
            let what = format!("a panic: {}", words.unwrap_or_default());
            Some(Failure { node: None, what, ms: world.now_ms })
        }
    };
    Report {
        stats: world.stats,
        event_hash: world.event_hash(),
        virtual_ms: world.now_ms,
        traces: world.nodes.iter().filter(|_| is_traced).map(|node| node.trace.to_string()).collect(),
        tips: world.nodes.iter().map(|node| (node.replay.height(), node.replay.tip())).collect(),
        failure,
    }
}

fn play(world: &mut World) -> Result<(), Failure> {
    world.begin()?;
    let end_ms = world.duration_ms();
    while let Some(what) = world.next(end_ms) {
        world.happen(what)?;
    }
    world.now_ms = end_ms;
    world.end()
}

fn empty(failure: Failure) -> Report {
    Report {
        stats: Stats::default(),
        event_hash: 0,
        virtual_ms: 0,
        failure: Some(failure),
        traces: Vec::new(),
        tips: Vec::new(),
    }
}
