//! A node runs out of something: disk, file descriptors, memory. It stops with a clear message or serves fewer,
//! and nothing that it had accepted is lost.

use std::{fs, io::Write, net::TcpStream, path::Path, process::Command};

use chain::{
    amount::Amount,
    hash::BlockHash,
    transaction::{OutPoint, Output},
};
use rpc::client::Client;
use tempfile::tempdir;
use tests::{
    answers::answer,
    chains::{LabChain, lab_chain},
    crash::stage::copy_datadir,
    full_node::{FullNode, configure, node_command, settings, spawn, verify_stored},
    keys::{Person, to_hex},
    privilege::SmallDisk,
    wait::until,
};

/// The size of the small disk, in MiB.
const DISK_MIB: u32 = 64;
/// Bytes that are left on it when the blocks begin to come.
const ROOM_BYTES: u64 = 16 << 20;
/// Coins that are split in each block, and into how many: a block of half a megabyte.
const SPLIT_COINS: u32 = 20;
/// See [`SPLIT_COINS`].
const SPLIT_OUTPUTS: usize = 500;
/// What each of those is worth, in pebbles.
const SPLIT_PEBBLES: u64 = 1_000;
/// The fee for a split, in pebbles.
const SPLIT_FEE_PEBBLES: u64 = 200_000;
/// Blocks after which a node that has not noticed its full disk never will.
const MAX_FAT_BLOCKS: usize = 400;
/// File descriptors that the node gets, and connections that are made to it.
const FEW_DESCRIPTORS: usize = 128;
/// Memory beyond what a node has when it is up, in KiB.
const LITTLE_MEMORY_KIB: u64 = 4 << 10;

/// Makes blocks until the node refuses or is gone; what it had promised.
fn mine_until_the_end(node: &Client, chain: &LabChain, most: u32) -> Vec<BlockHash> {
    let alice = Person::new(&chain.chain, "alice").written();
    let mut promised = Vec::new();
    while promised.len() < usize::try_from(most).expect("a small number") {
        match node.generatetoaddress(10, alice.clone(), None) {
            Ok(made) => promised.extend(made),
            Err(_) => break,
        }
    }
    promised
}

/// Makes fat blocks until the node refuses or is gone; what it had promised.
fn fill(node: &Client, chain: &LabChain) -> Vec<BlockHash> {
    let (alice, bob) = (Person::new(&chain.chain, "alice"), Person::new(&chain.chain, "bob"));
    let mut coins = alice.fund(node, SPLIT_COINS);
    let mut promised = Vec::new();
    for _ in 0..MAX_FAT_BLOCKS {
        for coin in &mut coins {
            let costs = SPLIT_PEBBLES * SPLIT_OUTPUTS as u64 + SPLIT_FEE_PEBBLES;
            let left =
                coin.1.amount.checked_sub(Amount::from_pebbles(costs)).expect("a coinbase is worth more");
            let mut outputs = vec![Output::pay(alice.address(), left)];
            let small = Output::pay(bob.address(), Amount::from_pebbles(SPLIT_PEBBLES));
            outputs.resize(1 + SPLIT_OUTPUTS, small);
            let split = alice.spend(std::slice::from_ref(coin), outputs);
            if node.sendrawtransaction(to_hex(&split), None).is_err() {
                return promised;
            }
            *coin = (OutPoint { txid: split.txid(), index: 0 }, split.outputs[0].clone());
        }
        match node.generatetoaddress(1, bob.written(), None) {
            Ok(made) => promised.extend(made),
            Err(_) => return promised,
        }
    }
    panic!("the disk is full, and the node goes on and on")
}

/// Starts the node again, without limits, and holds it to its promises.
fn hold(datadir: &Path, promised: &[BlockHash]) {
    let mut node = FullNode::start_again(datadir);
    for hash in promised {
        node.rpc().getblock(*hash, None).unwrap_or_else(|error| panic!("{hash} is lost: {error}"));
    }
    node.rpc()
        .getblockheader(*promised.last().expect("some were made"), None)
        .expect("the last one is in the chain");
    node.end();
    // The audit makes all coins anew beside the node's, for which a small disk has no room.
    let elsewhere = tempdir().expect("a folder");
    let copy = elsewhere.path().join("copy");
    copy_datadir(datadir, &copy);
    verify_stored(&copy);
}

/// The command of a node behind a limit of the shell's.
fn limited(datadir: &Path, limit: &str) -> Command {
    let node = node_command(datadir);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]).arg(node.get_program());
    shell.args(node.get_args());
    for (name, value) in node.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

#[test]
fn s05_a_full_disk_stops_the_node_and_space_brings_it_back() {
    let folder = tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(folder.path(), DISK_MIB) else { return };
    // The chain's file and the logs lie elsewhere.
    let outside = tempdir().expect("a folder");
    let chain = lab_chain(outside.path(), "full", |_| ());
    let datadir = outside.path().join("node");
    std::os::unix::fs::symlink(folder.path(), &datadir).expect("a link");
    let mut node = FullNode::start(&datadir, &settings(&chain));
    let filler = folder.path().join("filler");
    let room = disk.free_bytes().checked_sub(ROOM_BYTES).expect("64 MiB are more than a new node takes");
    let mut file = fs::File::create(&filler).expect("made");
    file.write_all(&vec![1; usize::try_from(room).expect("small")]).expect("there is room");
    drop(file);

    let promised = fill(node.rpc(), &chain);
    let status = node.process.wait();
    let said = node.process.log();
    assert!(status.code().is_some_and(|code| code > 0), "{status}: {said}");
    assert!(said.contains("No space left on device"), "it says why: {said}");
    assert!(!said.contains("panicked"), "{said}");
    drop(node);
    // With no room at all it does not start, and says why; or it does, and nothing is lost all the same.
    let mut second = spawn(&datadir);
    until("the second start is over", || {
        let over = second.status().is_some() || second.log().contains("node started");
        tests::wait::require(over, || "it starts".into())
    });
    second.kill();
    fs::remove_file(&filler).expect("removed");
    hold(&datadir, &promised);
}

#[test]
fn s06_with_few_descriptors_connections_are_refused_and_the_chain_goes_on() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "few", |_| ());
    let datadir = folder.path().join("node");
    configure(&datadir, &settings(&chain));
    let limit = format!("-n {FEW_DESCRIPTORS}");
    let started = FullNode::start_command(&datadir, limited(&datadir, &limit));
    let mut node = started.unwrap_or_else(|process| panic!("it does not start: {}", process.log()));
    let said = node.process.log();
    assert!(said.contains("few file descriptors are allowed"), "peers are the first to go: {said}");
    let rpc_address = node.rpc().url().trim_start_matches("http://").to_owned();
    let peers = node.p2p_address();
    let port = peers.split('/').nth(4).expect("a multiaddress with a port");
    let peer_address = format!("127.0.0.1:{port}");
    // Twice as many as it has descriptors, on each port, which say nothing.
    let mut held = Vec::new();
    for address in [&rpc_address, &peer_address] {
        for _ in 0..2 * FEW_DESCRIPTORS {
            // The system may refuse more than wait already.
            let Ok(address) = address.parse() else { panic!("{address} is an address") };
            match TcpStream::connect_timeout(&address, std::time::Duration::from_millis(100)) {
                Ok(stream) => held.push(stream),
                Err(_) => break,
            }
        }
    }
    assert!(held.len() > FEW_DESCRIPTORS, "there were connections: {}", held.len());
    assert!(node.process.status().is_none(), "it lives: {}", node.process.log());
    drop(held);
    // And goes on: blocks are made, which need files, and answers are given.
    let alice = Person::new(&chain.chain, "alice").written();
    let made =
        until("the node answers again", || answer(node.rpc().generatetoaddress(20, alice.clone(), None)));
    assert_eq!(made.len(), 20);
    assert!(node.process.status().is_none(), "it lives: {}", node.process.log());
    node.stop();
    hold(&datadir, &made);
}

#[test]
fn s13_a_node_that_gets_no_memory_loses_nothing() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "poor", |_| ());
    let datadir = folder.path().join("node");
    let node = FullNode::start(&datadir, &settings(&chain));
    let usual = virtual_memory_kib(node.process.pid());
    let mut promised = mine_until_the_end(node.rpc(), &chain, 50);
    node.stop();
    // From just enough downwards: it ends when it mines, when it starts, or not at all.
    for quarter in (1..=4).rev() {
        let limit = format!("-v {}", usual * quarter / 4 + LITTLE_MEMORY_KIB);
        if let Ok(mut node) = FullNode::start_command(&datadir, limited(&datadir, &limit)) {
            promised.extend(mine_until_the_end(node.rpc(), &chain, 100));
            node.process.kill();
        }
        hold(&datadir, &promised);
    }
}

/// The address space of a process, in KiB.
fn virtual_memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).expect("Linux tells");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}
