//! Somebody makes a chain of their own with one command and runs a node on it.
//! The file is all that a second node needs; nodes with different files, or with a changed one, never mix.

use std::fs;

use node::config::Settings;
use rpc::client::Client;
use tempfile::{TempDir, tempdir};
use tests::{
    answers::{answer, await_agreement},
    chains::LabChain,
    command::{run, word},
    full_node::{FullNode, configure, settings, spawn},
    keys::Person,
    wait::{require, until},
};

/// Makes a chain by command line.
fn make(folder: &TempDir, name: &str) -> LabChain {
    let file = folder.path().join(format!("{name}.toml"));
    let words =
        ["chain", "new", "--name", name, "--prefix", "ocrn", "--spacing", "30", "--maturity", "2", "--lab"];
    let id = run(words.into_iter().chain(["--half-life", "0", "--out", word(&file)])).success();
    let spec = node::chain_file::ChainSpec::load(word(&file)).expect("the file is a chain file");
    assert_eq!(id.trim(), spec.chain.id().to_string(), "it prints the chain's id");
    assert_eq!(spec.chain.params().spacing_secs, 30);
    LabChain { chain: spec.chain, file }
}

#[test]
fn a_chain_of_ones_own_is_a_file() {
    let folder = tempdir().expect("a folder");
    let chain = make(&folder, "ours");
    let first = FullNode::start(&folder.path().join("first"), &settings(&chain));
    let second = FullNode::start(&folder.path().join("second"), &settings(&chain));
    second.connect(&first);
    let info = first.rpc().getblockchaininfo().expect("it answers");
    assert_eq!((info.chain.as_str(), info.addressprefix.as_str()), ("ours", "ocrn"));
    assert_eq!((info.genesishash, info.maturity, info.spacing), (chain.chain.id(), 2, 30));
    let alice = Person::new(&chain.chain, "alice");
    assert!(alice.written().starts_with("ocrn1"));
    alice.fund(first.rpc(), 1);
    await_agreement(&[first.rpc().clone(), second.rpc().clone()]);

    let again = run(["chain", "new", "--name", "ours", "--out", word(&chain.file)]).failure();
    assert!(again.contains("exists already"), "{again}");
}

#[test]
fn a_chain_file_that_was_changed_is_refused() {
    let folder = tempdir().expect("a folder");
    let chain = make(&folder, "ours");
    let text = fs::read_to_string(&chain.file).expect("it is there");
    let changed = text.replace("maturity_blocks = 2", "maturity_blocks = 1");
    assert_ne!(text, changed);
    fs::write(&chain.file, changed).expect("written");
    let datadir = folder.path().join("node");
    configure(&datadir, &settings(&chain));
    let mut process = spawn(&datadir);
    assert!(!process.wait().success());
    assert!(process.log().contains("ours.toml"), "{}", process.log());
}

#[test]
fn nodes_with_different_chain_files_do_not_talk() {
    let folder = tempdir().expect("a folder");
    let (ours, theirs) = (make(&folder, "ours"), make(&folder, "theirs"));
    assert_ne!(ours.chain.id(), theirs.chain.id());
    let stranger = FullNode::start(&folder.path().join("stranger"), &settings(&theirs));
    let first = FullNode::start(&folder.path().join("first"), &settings(&ours));
    let meet = |address: String| Settings { bootstrap: Some(vec![address]), ..settings(&ours) };
    let second = FullNode::start(&folder.path().join("second"), &meet(first.p2p_address()));
    second.rpc().addnode(stranger.p2p_address(), "add".into()).expect("the address is one");
    first.rpc().addnode(stranger.p2p_address(), "add".into()).expect("the address is one");

    // The stranger has far more blocks, and none of them ever arrives; blocks of our own do.
    Person::new(&theirs.chain, "mallory").fund(stranger.rpc(), 20);
    let made = Person::new(&ours.chain, "alice").fund(first.rpc(), 1);
    assert_eq!(made.len(), 1);
    let tip = first.rpc().getbestblockhash().expect("it answers");
    until("our own block has arrived", || {
        let now = answer(second.rpc().getbestblockhash())?;
        require(now == tip, || format!("it is at {now}"))
    });
    let knows = |node: &Client, of: &FullNode| {
        let identity = of.rpc().getnetworkinfo().expect("it answers").peer_id;
        let peers = node.getpeerinfo().expect("it answers");
        peers.iter().any(|peer| peer.peer_id == identity && peer.synced_headers.is_some())
    };
    for node in [&first, &second] {
        assert!(!knows(node.rpc(), &stranger), "the stranger told of its blocks");
        assert!(!knows(stranger.rpc(), node), "the stranger was told of ours");
        let tips = node.rpc().getchaintips().expect("it answers");
        assert_eq!(tips.len(), 1, "nothing came from the stranger: {tips:?}");
        assert!(
            node.rpc().getblockheader(stranger.rpc().getbestblockhash().expect("it answers"), None).is_err()
        );
    }
}
