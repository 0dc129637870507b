//! A new node that catches up from peers, beside the same chain replayed from its own disk.
//!
//! The replay is `cairn chain import` of the exported file into a new folder: it reads, checks, stores and connects
//! every block as a node that catches up does, and lacks only the network and the peer that serves, which shares the
//! machine's cores. (`--reindex` would be spared the writing of the blocks.) Indexes are off in all of them. Times
//! are on the wall, from the start of the process to the end of the import, or to the tip.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use node::config::Settings;
use tests::{
    chains::{LabChain, lab_chain},
    command::{run, word},
    full_node::{FullNode, settings},
};

use crate::{
    Bench,
    connect::PAYMENTS_A_BLOCK,
    crooked::{Crooked, Pretence, Vice},
    forge::Forge,
    funding::Funding,
    house::{House, Indexes},
    payments::{FEE, pay_all, scatter},
    say,
};

/// Payments of the chain, where no other number is given as `payments=N`.
const PAYMENTS: usize = 500_000;
/// Outputs of the transactions that make the coins.
const OUTPUTS: usize = 20;
/// How often a node is asked for its height.
const POLL: Duration = Duration::from_millis(20);
/// When a sync is given up.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Makes the chain, replays it, and lets new nodes fetch it.
pub fn measure(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let payments = bench.payments.unwrap_or(PAYMENTS);
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let lab = lab_chain(folder.path(), "bench", |_| {});
    say("  making the chain ...");
    let blocks = make(&lab, payments)?;
    fill(&at("first"), &lab, &blocks)?;
    let (source, target, file) = (at("first"), at("replayed"), at("file"));
    let chain = ["--chain", word(&lab.file)];
    run(["chain", "export", chain[0], chain[1], "--datadir", word(&source), "--out", word(&file)]).success();
    copy(&at("first"), &at("second"))?;
    let goal = u32::try_from(blocks.len())?;

    say("  replaying it from the disk ...");
    let started = Instant::now();
    run(["chain", "import", chain[0], chain[1], "--datadir", word(&target), word(&file)]).success();
    let replayed = started.elapsed();
    fs::remove_dir_all(&target)?;
    fs::remove_file(&file)?;

    say("  a new node fetches it from one peer ...");
    let first = FullNode::start(&at("first"), &quiet(&lab, Vec::new()));
    let synced = sync(&at("new"), &quiet(&lab, vec![first.p2p_address()]), goal)?;
    let per_sec =
        |time: Duration| f64::from(u32::try_from(payments).unwrap_or(u32::MAX)) / time.as_secs_f64();
    bench.put("replay_per_sec", per_sec(replayed));
    bench.put("sync_per_sec", per_sec(synced));
    bench.put("sync_per_replay", replayed.as_secs_f64() / synced.as_secs_f64());

    say("  and from four, of which one stalls and one lies ...");
    let second = FullNode::start(&at("second"), &quiet(&lab, Vec::new()));
    let pretence = Arc::new(Pretence::new(&lab.chain, blocks)?);
    let staller = Crooked::start(folder.path(), Vice::Stalls, Arc::clone(&pretence))?;
    let liar = Crooked::start(folder.path(), Vice::Lies, pretence)?;
    // The crooked ones first, so that they are asked early.
    let peers =
        vec![staller.address.clone(), liar.address.clone(), first.p2p_address(), second.p2p_address()];
    let besieged = sync(&at("newer"), &quiet(&lab, peers), goal)?;
    bench.put("sync_hostile_per_sec", per_sec(besieged));
    bench.put("sync_hostile_per_sync", synced.as_secs_f64() / besieged.as_secs_f64());
    Ok(())
}

/// The settings of a node without indexes.
fn quiet(lab: &LabChain, bootstrap: Vec<String>) -> Settings {
    Settings { no_index: Some(true), bootstrap: Some(bootstrap), ..settings(lab) }
}

/// Blocks that make coins, and blocks of payments that spend them.
fn make(lab: &LabChain, payments: usize) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut forge = Forge::new(&lab.chain);
    let mut blocks = Vec::new();
    let funding = Funding { coins: 0..payments, outputs: OUTPUTS, is_spendable: &|_| true };
    let coins = funding.make(&mut forge, &mut |block| {
        blocks.push(block);
        Ok(())
    })?;
    let paid = pay_all(&lab.chain, &scatter(&coins), |_| FEE)?;
    blocks.extend(forge.blocks(&paid, PAYMENTS_A_BLOCK)?);
    Ok(blocks)
}

/// Puts the chain into a data folder.
fn fill(datadir: &Path, lab: &LabChain, blocks: &[Vec<u8>]) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(datadir)?;
    let mut house = House::open(datadir, &lab.chain, Indexes::Off)?;
    house.submit(blocks)?;
    house.settle()
}

/// Copies a data folder that nobody uses.
fn copy(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Starts a node on an empty folder and waits until its tip is `goal` blocks high; how long that took.
fn sync(datadir: &Path, settings: &Settings, goal: u32) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    let node = FullNode::start(datadir, settings);
    while node.rpc().getblockcount()?.get() < goal {
        if started.elapsed() > PATIENCE {
            return Err(format!("the node does not catch up:\n{}", node.process.log()).into());
        }
        thread::sleep(POLL);
    }
    let took = started.elapsed();
    drop(node);
    fs::remove_dir_all(datadir)?;
    Ok(took)
}
