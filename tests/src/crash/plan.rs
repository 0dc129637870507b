//! What a round does. A seed alone decides it, so that one round can be run again; consecutive seeds take
//! turns through all fail points and all other ways to end a node.

use std::{fmt, sync::OnceLock};

use crate::{
    chance::Chance,
    command::{cairn_failpoints, run_with_input},
};

/// Fail points are passed many times in a round: a count is below two to the power of this, at the most.
const COUNT_DOUBLINGS: usize = 7;

/// What a node is doing when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Blocks are made on its tip, with payments.
    Mining,
    /// It is new and takes a chain from its peer.
    CatchingUp,
    /// Its peer has a better branch.
    Reorganising,
    /// It starts on a folder whose last node was killed.
    Recovering,
    /// It starts on a folder whose newest files are torn.
    Mending,
    /// It makes everything but its block files anew.
    Reindexing,
}

/// How a node ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It kills itself at a fail point.
    FailPoint(&'static str, u64),
    /// A write fails at a fail point, as on a full disk.
    DiskFull(&'static str, u64),
    /// SIGKILL at a random moment.
    Kill,
    /// SIGTERM at a random moment.
    Terminate,
    /// SIGKILL at a random moment; then the newest files are cut at random lengths.
    Tear,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailPoint(name, count) => write!(f, "killed at {name}:{count}"),
            Self::DiskFull(name, count) => write!(f, "disk full at {name}:{count}"),
            Self::Kill => write!(f, "killed"),
            Self::Terminate => write!(f, "terminated"),
            Self::Tear => write!(f, "killed, files torn"),
        }
    }
}

impl End {
    /// The kind of the round, for the summary.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::FailPoint(..) => "SIGKILL at a fail point",
            Self::DiskFull(..) => "disk full at a fail point",
            Self::Kill => "SIGKILL at random",
            Self::Terminate => "SIGTERM at random",
            Self::Tear => "torn files",
        }
    }
}

/// A round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the node is doing.
    pub phase: Phase,
    /// How it ends.
    pub end: End,
}

/// The fail points of `cairn-failpoints`, as it lists them.
///
/// # Panics
/// Where it does not.
#[must_use]
pub fn points() -> &'static [String] {
    static POINTS: OnceLock<Vec<String>> = OnceLock::new();
    POINTS.get_or_init(|| {
        let mut command = cairn_failpoints();
        command.env("CAIRN_FAILPOINT", "list");
        let listed = run_with_input(command, "").success();
        let points: Vec<String> = listed.lines().map(str::to_owned).collect();
        assert!(!points.is_empty(), "there are fail points");
        points
    })
}

/// The phases in which a fail point can be reached.
#[must_use]
pub fn phases_of(point: &str) -> &'static [Phase] {
    let begins = |prefix: &str| point.starts_with(prefix);
    match () {
        () if begins("reindex.") => &[Phase::Reindexing],
        () if begins("blocks.cut.") || begins("undo.cut.") => &[Phase::Recovering],
        () if begins("coins.forget.") => &[Phase::Mending],
        // Batches of many blocks.
        () if begins("coins.file.") || begins("undo.rows.") => &[Phase::CatchingUp, Phase::Reorganising],
        () if begins("headers.mark.") => &[Phase::Mining, Phase::Recovering],
        () if begins("database.identity.") || begins("blocks.create.") || begins("undo.create.") => {
            &[Phase::CatchingUp]
        }
        () => &[Phase::Mining, Phase::CatchingUp, Phase::Reorganising, Phase::Recovering],
    }
}

/// The plan of a seed, and chance for what the plan leaves open.
#[must_use]
pub fn plan(seed: u64) -> (Plan, Chance) {
    let mut chance = Chance::from_seed(seed);
    let points = points();
    let turn = usize::try_from(seed % (points.len() as u64 * 60)).unwrap_or(0);
    let live = [Phase::Mining, Phase::CatchingUp, Phase::Reorganising];
    let any = |chance: &mut Chance, phases: &[Phase]| phases[chance.below(phases.len())];
    // Every second round is at a fail point; the others take turns.
    let mut end = match (turn % 2, turn / 2) {
        (0, half) => {
            let point = points[half % points.len()].as_str();
            End::FailPoint(point, 1)
        }
        (_, half) => match half % 5 {
            0 | 1 => End::Kill,
            2 => End::Terminate,
            3 => End::Tear,
            _ => {
                let point = points[(half / 5) % points.len()].as_str();
                End::DiskFull(point, 1)
            }
        },
    };
    let phase = match &end {
        End::FailPoint(point, _) | End::DiskFull(point, _) => any(&mut chance, phases_of(point)),
        End::Tear => any(&mut chance, &live[..2]),
        End::Kill | End::Terminate => any(&mut chance, &live),
    };
    if let End::FailPoint(point, visit) | End::DiskFull(point, visit) = &mut end {
        *visit = count(&mut chance, point, phase);
    }
    (Plan { phase, end }, chance)
}

/// At which visit the point acts: more often an early one.
fn count(chance: &mut Chance, point: &str, phase: Phase) -> u64 {
    // Passed once by a node, or once in a start.
    let once = ["create", "cut.", "forget", "reindex", "database"];
    if once.iter().any(|word| point.contains(word)) {
        return 1;
    }
    // A node that takes a chain from its peer gets headers in one message and flushes when it has all.
    let seldom = ["headers.add", "flush", "coins.file", "undo.rows", "sync"];
    if phase != Phase::Mining && phase != Phase::Recovering && seldom.iter().any(|word| point.contains(word))
    {
        return 1;
    }
    let doublings = chance.below(COUNT_DOUBLINGS + 1);
    1 + chance.below(1 << doublings) as u64
}
