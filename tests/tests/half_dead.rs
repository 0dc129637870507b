//! A panic in any thread or task of a node ends the process: none goes on half dead (threat S12).

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::process::ExitStatusExt,
};

use node::config::Settings;
use tempfile::tempdir;
use tests::{
    chains::lab_chain,
    command::{cairn_failpoints, run_with_input},
    full_node::{FullNode, configure, settings},
    keys::Person,
    wait::until,
};

/// The number of SIGABRT.
const ABORTED: i32 = 6;

/// Asks a node for something in each of its parts. It may end at any of it.
fn poke(node: &FullNode, payee: &str) {
    drop(node.rpc().uptime());
    drop(node.rpc().generatetoaddress(1, payee.into(), None));
    if let Ok(tip) = node.rpc().getbestblockhash() {
        drop(node.rpc().getblock(tip, None));
    }
    let address = node.process.log().split_once("metrics=http://").and_then(|(_, rest)| {
        let address: Option<SocketAddr> = rest.split('/').next()?.parse().ok();
        address
    });
    if let Some(mut stream) = address.and_then(|address| TcpStream::connect(address).ok()) {
        drop(stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"));
        drop(stream.read_to_end(&mut Vec::new()));
    }
}

#[test]
fn s12_a_panic_in_any_part_ends_the_process() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "panics", |_| {});
    let payee = Person::new(&chain.chain, "payee").written();
    let mut list = cairn_failpoints();
    list.env("CAIRN_PANIC", "list");
    let parts = run_with_input(list, "").success();
    assert!(parts.lines().count() >= 8, "{parts}");
    for part in parts.lines() {
        let datadir = folder.path().join(part);
        let every_part = Settings {
            metrics_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            // Nobody need be there: the thread that sends is to panic before it tries.
            otlp: Some("http://127.0.0.1:1".into()),
            mine: Some(payee.clone()),
            throttle_hashes_per_sec: Some(1),
            ..settings(&chain)
        };
        configure(&datadir, &every_part);
        let mut command = cairn_failpoints();
        command.args(["node", "--exit-with-stdin", "--datadir"]).arg(&datadir).env("CAIRN_PANIC", part);
        let mut process = match FullNode::start_command(&datadir, command) {
            Ok(mut node) => {
                until(format!("the node with a panic in {part} ends"), || {
                    poke(&node, &payee);
                    node.process.status().ok_or_else(|| "it still runs".to_owned())
                });
                node.process
            }
            // Its panic came before it was up.
            Err(process) => process,
        };
        let status = process.wait();
        assert_eq!(status.signal(), Some(ABORTED), "{part}: {status}\n{}", process.log());
        let planted = format!("a panic was planted in {part}");
        assert!(process.log().contains(&planted), "{part}:\n{}", process.log());
    }
}
