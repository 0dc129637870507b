//! What a run is like: drawn from its seed, or written down by a test.

use chain::params::Params;

use super::{
    chance::Chance,
    hostile::{STRATEGIES, Strategy},
    net::Weather,
};

/// Hashes a second of all miners together, in thousandths: two hashes find a block at the easiest target, so that
/// blocks come faster than every 5 seconds until the difficulty has followed.
const ALL_POWER: u64 = 700;

/// What may go wrong beside the weather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process dies at some write, or between two events, and is started again.
    Crash,
    /// The network falls into two parts for a while.
    Split,
    /// A connection is reset.
    Reset,
    /// A connection is half-open: nothing arrives, and nobody is told.
    Stall,
    /// A node's wall clock jumps by up to three hours, forth or back.
    Clock,
}

/// A split that is planned, beside those that chance brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// When it begins, in milliseconds.
    pub at_ms: u64,
    /// How long it lasts, in milliseconds.
    pub for_ms: u64,
    /// The side of each node; attackers are on side 0.
    pub sides: Vec<u64>,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The chain.
    pub params: Params,
    /// The power of each honest node, in hashes of a thousand seconds.
    pub powers: Vec<u64>,
    /// Attackers and their power.
    pub attackers: Vec<(Strategy, u64)>,
    /// Connections that each node keeps up beside the ring, which always is.
    pub chords: u64,
    /// The delays of connections, in milliseconds: least and most.
    pub delays_ms: (u64, u64),
    /// What the network is like while there are faults.
    pub weather: Weather,
    /// What else goes wrong meanwhile.
    pub faults: Vec<Fault>,
    /// How long until the next fault, in milliseconds on average.
    pub fault_mean_ms: u64,
    /// How often a time of faults is followed by one of calm.
    pub rounds: u64,
    /// How long each time of faults is, in milliseconds.
    pub storm_ms: u64,
    /// How long each calm is, in milliseconds.
    pub calm_ms: u64,
    /// How long until the next payment, in milliseconds on average; 0 for none.
    pub payment_mean_ms: u64,
    /// Splits that are planned.
    pub splits: Vec<Split>,
}

impl Scenario {
    /// Two to twenty nodes, any weather, up to three attackers.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut chance = Chance::from_seed(seed ^ 0x00ca_174e);
        // Small worlds are cheap and find most; large ones are needed now and then.
        let nodes = if chance.happens(1, 6) { chance.between(9, 20) } else { chance.between(2, 8) };
        let mut scenario = Self::quiet(usize::try_from(nodes).unwrap_or(2));
        let mut chance = chance.fork();
        scenario.params.max_block_bytes = if chance.happens(1, 3) { 6_000 } else { 200_000 };
        for power in &mut scenario.powers {
            *power = chance.below(100);
        }
        // Somebody mines, and node 0 does: the one in which bugs are planted.
        scenario.powers[0] += 50;
        let hostile = chance.below(4);
        for _ in 0..hostile {
            if let Some(strategy) = chance.pick(&STRATEGIES) {
                let share = if strategy.mines() { chance.between(5, 45) } else { 0 };
                let honest: u64 = scenario.powers.iter().sum();
                scenario.attackers.push((*strategy, honest * share / (100 - share)));
            }
        }
        scenario.share_power();
        scenario.chords = chance.below(3);
        scenario.delays_ms = if chance.happens(1, 3) { (1, 5) } else { (5, 300) };
        scenario.weather =
            Weather { losses: chance.below(300), resets: chance.below(200), stalls: chance.below(100) };
        let all = [Fault::Crash, Fault::Crash, Fault::Split, Fault::Reset, Fault::Stall, Fault::Clock];
        scenario.faults = all.into_iter().filter(|_| chance.happens(2, 3)).collect();
        scenario.fault_mean_ms = chance.between(3_000, 15_000);
        scenario.payment_mean_ms = chance.between(500, 3_000);
        scenario
    }

    /// Nodes of equal power in a calm world: what a test begins with.
    #[must_use]
    pub fn quiet(nodes: usize) -> Self {
        let params = Params {
            half_life_secs: 240,
            maturity_blocks: 3,
            halving_blocks: 60,
            max_block_bytes: 200_000,
            ..Params::dev()
        };
        let mut scenario = Self {
            params,
            powers: vec![1; nodes.max(1)],
            attackers: Vec::new(),
            chords: 1,
            delays_ms: (5, 50),
            weather: Weather::default(),
            faults: Vec::new(),
            fault_mean_ms: 10_000,
            rounds: 3,
            storm_ms: 90_000,
            calm_ms: 30_000,
            payment_mean_ms: 2_000,
            splits: Vec::new(),
        };
        scenario.share_power();
        scenario
    }

    /// Makes all power together what the chain is made for, in the same shares.
    pub fn share_power(&mut self) {
        let all: u64 =
            self.powers.iter().sum::<u64>() + self.attackers.iter().map(|(_, power)| power).sum::<u64>();
        let scaled = |power: u64| (power * ALL_POWER).checked_div(all).unwrap_or(0);
        for power in &mut self.powers {
            *power = scaled(*power);
        }
        for (_, power) in &mut self.attackers {
            *power = scaled(*power);
        }
    }
}
