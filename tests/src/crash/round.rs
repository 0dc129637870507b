//! One round: a node does something, ends badly or well, starts again and is held to its promises.

use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitStatus},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use chain::{amount::Amount, hash::BlockHash, transaction::Coinbase};
use node::store::STORE_FOLDER;
use rpc::{
    client::{Client, ClientError},
    types::{ChainTip, OneOf, TemplateRequest},
};

use super::{
    plan::{End, Phase, Plan, plan},
    stage::{FEE_PEBBLES, Stage},
    tear::{Cut, Lengths, tear},
};
use crate::{
    answers::{answer, await_same_coins},
    chains::LabChain,
    chance::Chance,
    full_node::{FullNode, failpoint_command, node_command, verify_stored},
    keys::{Person, to_hex},
    mining::Draft,
    process::{Process, Signal},
    wait::{pause_unless, until, until_deadline},
};

/// How long an orderly end may take (threat S14).
const ORDERLY_END: Duration = Duration::from_secs(10);
/// Steps of a miner in a round.
const MINING_STEPS: usize = 25;
/// Blocks that are made before a node is killed so that another one recovers.
const BLOCKS_TO_RECOVER: usize = 12;

/// What a round has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What was planned.
    pub plan: Plan,
    /// Whether the fail point was reached, the signal came in time.
    pub reached: bool,
    /// How many promised blocks were found again.
    pub promises: usize,
    /// What was torn.
    pub torn: Vec<String>,
}

/// Blocks that a node has named, and blocks that were made to be invalid. Shared with the thread that asks.
#[derive(Debug, Default)]
struct Promises {
    kept: Mutex<BTreeSet<BlockHash>>,
    invalid: Mutex<BTreeSet<BlockHash>>,
}

impl Promises {
    fn add(&self, hashes: impl IntoIterator<Item = BlockHash>) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).extend(hashes);
    }

    fn all(&self) -> Vec<BlockHash> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn condemn(&self, hash: BlockHash) {
        self.invalid.lock().unwrap_or_else(PoisonError::into_inner).insert(hash);
    }

    fn is_condemned(&self, hash: &BlockHash) -> bool {
        self.invalid.lock().unwrap_or_else(PoisonError::into_inner).contains(hash)
    }
}

/// Runs the round of a seed.
///
/// # Panics
/// Where a promise is broken.
#[must_use]
pub fn run(stage: &mut Stage, seed: u64) -> Shown {
    let (plan, chance) = plan(seed);
    run_planned(stage, plan, chance)
}

/// Runs a round of one's own.
///
/// # Panics
/// Where a promise is broken.
#[must_use]
pub fn run_planned(stage: &mut Stage, plan: Plan, mut chance: Chance) -> Shown {
    if matches!(plan.end, End::Kill | End::Terminate | End::Tear) && stage.usual(plan.phase).is_none() {
        let took = measure(stage, plan.phase);
        stage.note_usual(plan.phase, took);
    }
    let stage = &*stage;
    let datadir = stage.victim(plan.phase);
    let synced = Lengths::of(&datadir);
    let promises = Promises::default();
    prepare(stage, &plan, &datadir, &promises, &synced, &mut chance);
    let reached = end_badly(stage, &plan, &datadir, &promises, &mut chance);
    let killed = matches!(plan.end, End::Kill | End::FailPoint(..)) && plan.phase != Phase::Mending;
    // What a killed node leaves behind is what a replay gives at that very moment. Not always looked at, so that
    // the next node also starts on what nobody has opened since.
    if killed && datadir.join(STORE_FOLDER).join("CURRENT").exists() && chance.below(2) == 0 {
        verify_stored(&datadir);
    }
    let torn =
        if plan.end == End::Tear { tear(&datadir, &synced, Cut::Some, &mut chance) } else { Vec::new() };
    let power_lost = plan.end == End::Tear || plan.phase == Phase::Mending;
    let promised = hold(stage, &datadir, &plan, &promises, power_lost);
    Shown { plan, reached, promises: promised, torn }
}

/// How long a node that nobody harms takes for a phase, so that signals at random moments come within it.
fn measure(stage: &Stage, phase: Phase) -> Duration {
    let node = FullNode::start_again(&stage.victim(phase));
    let begin = Instant::now();
    let done = work(stage, phase, node.rpc(), &Promises::default(), &mut Chance::from_seed(0));
    done.expect("nobody harms the node");
    let took = begin.elapsed();
    node.stop();
    took
}

/// What must have happened before the node that is to suffer starts.
fn prepare(
    stage: &Stage,
    plan: &Plan,
    datadir: &Path,
    promises: &Promises,
    synced: &Lengths,
    chance: &mut Chance,
) {
    if !matches!(plan.phase, Phase::Recovering | Phase::Mending) {
        return;
    }
    stage.configure(datadir, false);
    let visit = 2 + chance.below(BLOCKS_TO_RECOVER);
    // What is to be cut off at the next start is what was written when nothing named it yet.
    let first = match &plan.end {
        End::FailPoint(point, _) | End::DiskFull(point, _) if point.starts_with("blocks.cut.") => {
            failpoint_command(datadir, &format!("body.row.before:{visit}"))
        }
        End::FailPoint(point, _) | End::DiskFull(point, _) if point.starts_with("undo.cut.") => {
            failpoint_command(datadir, &format!("coins.flush.before:{visit}"))
        }
        _ => node_command(datadir),
    };
    let started = FullNode::start_command(datadir, first);
    let mut node = started.unwrap_or_else(|process| panic!("it does not start: {}", process.log()));
    // It may kill itself meanwhile.
    drop(mine(node.rpc(), stage.chain(), promises, BLOCKS_TO_RECOVER, chance));
    node.process.kill();
    drop(node);
    if plan.phase == Phase::Mending {
        drop(tear(datadir, synced, Cut::Blocks, chance));
        stage.configure(datadir, true);
    }
}

/// Lets the node do what the plan says until it ends as the plan says, or else by SIGKILL; whether it was as
/// planned.
fn end_badly(stage: &Stage, plan: &Plan, datadir: &Path, promises: &Promises, chance: &mut Chance) -> bool {
    let mut command = match &plan.end {
        End::FailPoint(name, count) => failpoint_command(datadir, &format!("{name}:{count}:kill")),
        End::DiskFull(name, count) => failpoint_command(datadir, &format!("{name}:{count}:enospc")),
        End::Kill | End::Terminate | End::Tear => node_command(datadir),
    };
    if plan.phase == Phase::Reindexing {
        command.arg("--reindex");
    }
    let mut node = match start(datadir, command) {
        Ok(node) => node,
        Err(mut process) => return ended(plan, &mut process),
    };
    let usual = stage.usual(plan.phase).map_or(0, |usual| usual.as_micros());
    let moment = chance.below(usize::try_from(usual).expect("a short time").max(1));
    let moment = Duration::from_micros(moment as u64);
    let mut steps = Chance::from_seed(chance.below(usize::MAX) as u64);
    let client = node.rpc().clone();
    let worked = thread::scope(|scope| {
        let work = scope.spawn(|| work(stage, plan.phase, &client, promises, &mut steps));
        let in_time = match &plan.end {
            End::FailPoint(..) | End::DiskFull(..) => {
                until("the work is done or the node has ended", || {
                    let over = work.is_finished() || node.process.status().is_some();
                    crate::wait::require(over, || "it goes on".into())
                });
                // The end of the node passes fail points too.
                node.process.signal(Signal::TERM);
                true
            }
            End::Kill | End::Tear => {
                let in_time = pause_unless(moment, || work.is_finished());
                node.process.signal(Signal::KILL);
                in_time
            }
            End::Terminate => {
                let in_time = pause_unless(moment, || work.is_finished());
                node.process.signal(Signal::TERM);
                in_time
            }
        };
        let status = until_deadline("the node has ended", ORDERLY_END, || {
            node.process.status().ok_or_else(|| "it runs".into())
        });
        // That the node does not answer any more is what the round is about.
        drop(work.join().expect("whoever asks does not panic"));
        (in_time, status)
    });
    let (in_time, status) = worked;
    match &plan.end {
        End::FailPoint(..) | End::DiskFull(..) => ended(plan, &mut node.process),
        End::Kill | End::Tear => in_time,
        End::Terminate => {
            assert!(status.success(), "told to end, it ended with {status}: {}", node.process.log());
            in_time
        }
    }
}

fn start(datadir: &Path, command: Command) -> Result<FullNode, Process> {
    FullNode::start_command(datadir, command)
}

/// Whether the node ended at its fail point; it may have ended in good order without having reached it.
fn ended(plan: &Plan, process: &mut Process) -> bool {
    let status: ExitStatus = process.wait();
    if status.success() {
        return false;
    }
    let log = process.log();
    match &plan.end {
        End::DiskFull(..) => {
            assert!(status.code().is_some_and(|code| code > 0), "a full disk is told, {status}: {log}");
            assert!(log.contains("No space left on device"), "the error names the cause: {log}");
            assert!(!log.contains("panicked"), "{log}");
        }
        _ => assert_eq!(status.signal(), Some(9), "{plan:?}: {status}: {log}"),
    }
    true
}

fn work(
    stage: &Stage,
    phase: Phase,
    node: &Client,
    promises: &Promises,
    chance: &mut Chance,
) -> Result<(), ClientError> {
    match phase {
        Phase::Mining | Phase::Recovering | Phase::Reindexing => {
            mine(node, stage.chain(), promises, MINING_STEPS, chance)
        }
        Phase::CatchingUp | Phase::Reorganising | Phase::Mending => {
            let goal = stage.peer().getbestblockhash()?;
            loop {
                let tip = node.getbestblockhash()?;
                promises.add([tip]);
                if tip == goal {
                    return Ok(());
                }
            }
        }
    }
}

/// Makes blocks with payments and notes what the node says.
fn mine(
    node: &Client,
    chain: &LabChain,
    promises: &Promises,
    steps: usize,
    chance: &mut Chance,
) -> Result<(), ClientError> {
    let (alice, bob) = (Person::new(&chain.chain, "alice"), Person::new(&chain.chain, "bob"));
    let mut coins = alice.spendable(node).unwrap_or_default();
    for _ in 0..steps {
        for _ in 0..chance.below(3) {
            if let Some(coin) = coins.pop() {
                node.sendrawtransaction(to_hex(&alice.pay(&coin, &bob, FEE_PEBBLES)), None)?;
            }
        }
        if chance.below(4) == 0 {
            submit_invalid(node, &alice, promises)?;
        }
        let blocks = 1 + u32::try_from(chance.below(3)).expect("a small number");
        promises.add(node.generatetoaddress(blocks, alice.written(), None)?);
        promises.add([node.getbestblockhash()?]);
    }
    Ok(())
}

/// Submits a block that pays its miner too much, so that the node must remember that it is invalid.
fn submit_invalid(node: &Client, miner: &Person, promises: &Promises) -> Result<(), ClientError> {
    let request = TemplateRequest { mode: None, address: Some(miner.written()) };
    let mut draft = Draft::new(&node.getblocktemplate(Some(request))?);
    let mut coinbase = Coinbase::from_bytes(&draft.transactions[0]).expect("a template's coinbase decodes");
    let pebbles = coinbase.outputs[0].amount.pebbles();
    coinbase.outputs[0].amount = Amount::from_pebbles(pebbles + 1);
    draft.transactions[0] = coinbase.to_bytes();
    let draft = draft.seal();
    promises.condemn(draft.header.hash());
    node.submitblock(draft.to_hex(), None).map(drop)
}

/// Starts the node again and holds it to its promises; how many there were.
fn hold(stage: &Stage, datadir: &Path, plan: &Plan, promises: &Promises, power_lost: bool) -> usize {
    let mines = matches!(plan.phase, Phase::Mining | Phase::Recovering | Phase::Reindexing);
    stage.configure(datadir, false);
    let node = FullNode::start_again(datadir);
    let mut found = 0;
    for hash in promises.all() {
        match node.rpc().getblock(hash, None) {
            Ok(OneOf::Long(block)) => {
                assert_eq!(block.hash, hash);
                // Nobody competed with what was made here.
                assert!(!mines || block.confirmations > 0, "{plan:?}: {hash} is not in the chain any more");
                found += 1;
            }
            Ok(OneOf::Short(_)) => panic!("an object was asked for"),
            // A power loss costs a suffix.
            Err(_) if power_lost => {}
            Err(error) => panic!("{plan:?}: {hash} is lost: {error}"),
        }
    }
    if let Some(hash) = stage.certain_tip(plan.phase) {
        node.rpc().getblock(hash, None).unwrap_or_else(|error| panic!("{plan:?}: {hash} is lost: {error}"));
    }
    let tips = answer(node.rpc().getchaintips()).expect("it answers");
    // What was found invalid was made to be; nothing else became so.
    let wronged = |tip: &ChainTip| tip.status == "invalid" && !promises.is_condemned(&tip.hash);
    assert!(!tips.iter().any(wronged), "{plan:?}: {tips:?}");
    node.stop();
    // With its peer it goes on as if nothing had been, from wherever it is.
    stage.configure(datadir, true);
    let node = FullNode::start_again(datadir);
    let both = [node.rpc().clone(), stage.peer().clone()];
    if is_short_of(&both) {
        await_same_coins(&both);
    }
    node.stop();
    verify_stored(datadir);
    found
}

/// Whether the first node's chain is no longer than the second's, so that both will agree without a block more.
fn is_short_of(nodes: &[Client; 2]) -> bool {
    let height = |node: &Client| answer(node.getblockcount()).expect("it answers");
    height(&nodes[0]) <= height(&nodes[1])
}
