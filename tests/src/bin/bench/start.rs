//! A real node on a data folder that was left in order: how soon it answers, and the memory that it takes.

use std::{
    error::Error,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use chain::block::Block;
use node::config::Settings;
use rpc::{
    auth::COOKIE_FILE,
    client::{Client, Login},
};
use tests::{
    chains::lab_chain,
    full_node::{FullNode, configure, settings, spawn},
    process::Process,
};

use crate::{Bench, forge::Forge, funding::Funding, say};

/// Coins in the data folder.
const COINS: usize = 300_000;
/// Outputs of the transactions that make them.
const OUTPUTS: usize = 2;
/// Starts, of which the median counts.
const STARTS: u32 = 5;
/// How often the node is asked whether it is there.
const POLL: Duration = Duration::from_micros(500);
/// When a start is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the node is left alone before its memory is looked at.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// Fills a data folder, starts a node on it a few times, and looks at the last one's memory.
pub fn measure(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let datadir = folder.path().join("node");
    let lab = lab_chain(folder.path(), "bench", |_| {});
    say("  filling a node's data folder ...");
    let node = FullNode::start(&datadir, &settings(&lab));
    let funding = Funding { coins: 0..COINS, outputs: OUTPUTS, is_spendable: &|_| false };
    funding.make(&mut Forge::new(&lab.chain), &mut |block| {
        let block = Block::from_bytes(&block)?;
        match node.rpc().submitblock(const_hex::encode(block.to_submission()), None)? {
            None => Ok(()),
            Some(reason) => Err(reason.into()),
        }
    })?;
    node.stop();

    say("  starting it ...");
    // A port that was free a moment ago, so that one knows whom to ask before the node has said anything.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    configure(&datadir, &Settings { rpc_listen: Some(address), ..settings(&lab) });
    let client = client(&datadir, address);
    let mut times = Vec::new();
    for start in 1..=STARTS {
        let started = Instant::now();
        let mut process = spawn(&datadir);
        await_answer(&client, &mut process)?;
        times.push(started.elapsed());
        if start == STARTS {
            // Nothing is awaited here: the node is left alone, and that is what is measured.
            thread::sleep(LEFT_ALONE);
            bench.put("idle_memory_mb", resident_kib(process.pid())? * 1_024.0 / 1e6);
        }
        client.stop()?;
        if !process.wait().success() {
            return Err(process.log().into());
        }
    }
    times.sort_unstable();
    bench.put("start_ms", times[times.len() / 2].as_secs_f64() * 1e3);
    Ok(())
}

fn client(datadir: &Path, address: SocketAddr) -> Client {
    Client::new(format!("http://{address}"), Login::CookieFile(datadir.join(COOKIE_FILE)))
}

fn await_answer(client: &Client, process: &mut Process) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    while let Err(error) = client.uptime() {
        if process.status().is_some() || begin.elapsed() > PATIENCE {
            return Err(format!("the node does not come up: {error}\n{}", process.log()).into());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Memory of a process that is in RAM, in KiB.
fn resident_kib(pid: u32) -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no resident size")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
