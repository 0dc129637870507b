//! How fast a block crosses five real nodes in a line on loopback: from `submitblock` at the first to the tip of
//! the last, with all payments waiting everywhere, and with none known anywhere.
//!
//! When each node has its new tip is read from its log afterwards, so that nobody disturbs the nodes in between;
//! the last is asked by RPC as well, and that is what counts.

use std::{
    error::Error,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use chain::{block::Block, hash::BlockHash, transaction::Transaction};
use const_hex::encode;
use rpc::client::Client;
use tests::{
    chains::{LabChain, lab_chain},
    full_node::{FullNode, settings},
    wait::{require, until},
};

use crate::{
    Bench, cpu,
    forge::Forge,
    funding::Funding,
    house::{House, Indexes},
    payments::{FEE, Spendable, pay_all},
    say,
};

/// Nodes of the line.
const NODES: usize = 5;
/// Payments of a block.
const PAYMENTS: usize = 4_000;
/// Blocks whose payments wait everywhere; the median counts.
const KNOWN: usize = 20;
/// Blocks whose payments nobody knows; the median counts.
const UNKNOWN: usize = 5;
/// Outputs of the transactions that make the coins: so few that a coin pays a fee.
const OUTPUTS: usize = 20;
/// How often the last node is asked for its tip.
const GLANCE: Duration = Duration::from_micros(500);
/// What the figures of the hops are called: from the submission to the first tip, and from tip to tip.
const HOPS: [&str; NODES] =
    ["relay_first_ms", "relay_hop_1_ms", "relay_hop_2_ms", "relay_hop_3_ms", "relay_hop_4_ms"];

type Failure = Box<dyn Error>;

/// One block's way along the line.
struct Crossing {
    /// From the call of `submitblock` to the tip of the last node, as its RPC tells it, in milliseconds.
    total_ms: f64,
    /// From the call to the first tip, and from tip to tip, as the logs tell it, in milliseconds.
    hops_ms: [f64; NODES],
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// Measures both ways, and one connect of the same blocks by a ledger alone.
pub fn measure(bench: &mut Bench) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let lab = lab_chain(folder.path(), "relay", |_| ());
    say("  making coins ...");
    let mut forge = Forge::new(&lab.chain);
    let mut funding = Vec::new();
    let spec = Funding { coins: 0..PAYMENTS * (KNOWN + UNKNOWN), outputs: OUTPUTS, is_spendable: &|_| true };
    let coins = spec.make(&mut forge, &mut |block| {
        funding.push(block);
        Ok(())
    })?;
    let mut house = House::open(&folder.path().join("house"), &lab.chain, Indexes::Off)?;
    house.submit(&funding)?;
    house.settle()?;
    let nodes = start_line(&lab, folder.path())?;
    for block in &funding {
        submit(nodes[0].rpc(), block)?;
    }
    let tip = Block::from_bytes(funding.last().ok_or("no coins")?)?.hash();
    nodes.iter().for_each(|node| wait_for(node.rpc(), &tip));

    let (mut known, mut unknown, mut connects) = (Vec::new(), Vec::new(), Vec::new());
    for (number, coins) in coins.chunks(PAYMENTS).enumerate() {
        let (payments, block) = make_block(&mut forge, coins)?;
        if number < KNOWN {
            nodes.iter().try_for_each(|node| send_all(node.rpc(), &payments))?;
            let crossing = cross(&nodes, &block)?;
            house.fill(&payments)?;
            let (taken, outcome) = cpu::of(|| house.submit_one(&block));
            outcome?;
            let connect_ms = taken.wall.as_secs_f64() * 1e3;
            say(&format!("    {:.1} ms, connect {connect_ms:.1} ms", crossing.total_ms));
            connects.push(connect_ms);
            known.push(crossing);
        } else {
            let crossing = cross(&nodes, &block)?;
            house.submit_one(&block)?;
            say(&format!("    {:.1} ms, nothing known", crossing.total_ms));
            unknown.push(crossing);
        }
    }
    let total = |crossings: &[Crossing]| median(crossings.iter().map(|crossing| crossing.total_ms).collect());
    let (relay_ms, connect_ms) = (total(&known), median(connects));
    bench.put("relay_ms", relay_ms);
    bench.put("relay_connect_ms", connect_ms);
    bench.put("relay_per_connect", relay_ms / connect_ms);
    for (hop, name) in HOPS.into_iter().enumerate() {
        bench.put(name, median(known.iter().map(|crossing| crossing.hops_ms[hop]).collect()));
    }
    bench.put("relay_unknown_ms", total(&unknown));
    for node in nodes {
        node.rpc().stop()?;
        drop(node);
    }
    Ok(())
}

/// Five nodes, each connected to the one before it.
fn start_line(lab: &LabChain, folder: &Path) -> Result<Vec<FullNode>, Failure> {
    let mut nodes: Vec<FullNode> = Vec::new();
    for number in 0..NODES {
        let mut settings = settings(lab);
        settings.bootstrap = nodes.last().map(|before| vec![before.p2p_address()]);
        nodes.push(FullNode::start(&folder.join(format!("node-{number}")), &settings));
    }
    for (number, node) in nodes.iter().enumerate() {
        let expected = if number == 0 || number == NODES - 1 { 1 } else { 2 };
        until(format!("node {number} has its neighbours"), || {
            let peers = node.rpc().getpeerinfo().map_err(|error| error.to_string())?.len();
            require(peers == expected, || format!("it has {peers} peers"))
        });
    }
    Ok(nodes)
}

fn make_block(forge: &mut Forge, coins: &[Spendable]) -> Result<(Vec<Arc<Transaction>>, Vec<u8>), Failure> {
    let payments = pay_all(forge.chain(), coins, |_| FEE)?;
    let block = forge.block(payments.clone())?;
    Ok((payments, block))
}

fn submit(node: &Client, block: &[u8]) -> Result<(), Failure> {
    let submission = Block::from_bytes(block)?.to_submission();
    match node.submitblock(encode(submission), None)? {
        None => Ok(()),
        Some(reason) => Err(format!("a block is refused: {reason}").into()),
    }
}

/// Has a node accept all payments; it may have heard of some of them already.
fn send_all(node: &Client, payments: &[Arc<Transaction>]) -> Result<(), Failure> {
    for payment in payments {
        // The mempool's count tells below whether it is there, whoever brought it.
        drop(node.sendrawtransaction(encode(payment.to_bytes()), None));
    }
    let waiting = node.getmempoolinfo()?.size;
    if usize::try_from(waiting)? == payments.len() {
        Ok(())
    } else {
        Err(format!("{waiting} of {} payments wait", payments.len()).into())
    }
}

fn wait_for(node: &Client, tip: &BlockHash) {
    until("the tip is there", || {
        let found = node.getbestblockhash().map_err(|error| error.to_string())?;
        require(found == *tip, || format!("the tip is {found}"))
    });
}

fn since_epoch_ms() -> Result<f64, Failure> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3)
}

/// Sends a block along the line.
fn cross(nodes: &[FullNode], block: &[u8]) -> Result<Crossing, Failure> {
    let (first, last) = (nodes.first().ok_or("no nodes")?, nodes.last().ok_or("no nodes")?);
    let decoded = Block::from_bytes(block)?;
    let (hash, submission) = (decoded.hash(), encode(decoded.to_submission()));
    // What came before is done with, and what it left behind is on the disk.
    thread::sleep(Duration::from_millis(300));
    let begun_ms = since_epoch_ms()?;
    let begun = Instant::now();
    let total = thread::scope(|scope| {
        let submitted = scope.spawn(|| first.rpc().submitblock(submission, None));
        let total = loop {
            if last.rpc().getbestblockhash()? == hash {
                break begun.elapsed();
            }
            if begun.elapsed() > Duration::from_secs(30) {
                return Err::<_, Failure>("the block does not arrive".into());
            }
            thread::sleep(GLANCE);
        };
        match submitted.join() {
            Ok(Ok(None)) => Ok(total),
            other => Err(format!("submitblock: {other:?}").into()),
        }
    })?;
    nodes.iter().for_each(|node| wait_for(node.rpc(), &hash));
    let mut hops_ms = [0.0; NODES];
    let mut before_ms = begun_ms;
    for (node, hop_ms) in nodes.iter().zip(&mut hops_ms) {
        let tip_ms = tip_time_ms(&node.process.log(), &hash).ok_or("the log does not name the tip")?;
        *hop_ms = tip_ms - before_ms;
        before_ms = tip_ms;
    }
    Ok(Crossing { total_ms: total.as_secs_f64() * 1e3, hops_ms })
}

/// When a log names a tip, in milliseconds since 1970.
fn tip_time_ms(log: &str, hash: &BlockHash) -> Option<f64> {
    let name = hash.to_string();
    let line = log.lines().find(|line| line.contains("new tip") && line.contains(&name))?;
    let stamp = line.split_whitespace().next()?.trim_end_matches('Z');
    let (date, time) = stamp.split_once('T')?;
    let mut date = date.split('-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut time = time.split(':').map(str::parse::<f64>);
    let (hours, minutes, seconds) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
    let days = f64::from(i32::try_from(days_since_epoch(year, month, day)).ok()?);
    Some((((days * 24.0 + hours) * 60.0 + minutes) * 60.0 + seconds) * 1e3)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
const fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 719_469
}
