//! Somebody looks at payments that wait: what they depend on, what they are worth together, what became of those
//! that are gone, and whether they outlive the node.

use std::fs;

use node::live::saved_files::{MEMPOOL_FILE, OWN_FILE};
use rpc::{error::code, types::OneOf};
use serde_json::{Value, json};
use tests::{
    answers::mempool,
    full_node::FullNode,
    keys::to_hex,
    lone_node::LoneNode,
    wait::{require, until},
};

const UNKNOWN: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

#[test]
fn families_in_the_mempool() {
    let world = LoneNode::start("families");
    let coins = world.alice.fund(world.rpc(), 1);
    let ids = world.pay_on(&coins[0], &[10_000, 30_000, 10_000]);
    let [parent, child, grandchild] = &ids[..] else { panic!("three payments: {ids:?}") };
    let entry = world.call("getmempoolentry", json!([child]));
    assert_eq!((&entry["ancestorcount"], &entry["descendantcount"]), (&json!(2), &json!(2)));
    assert_eq!((&entry["depends"], &entry["spentby"]), (&json!([parent]), &json!([grandchild])));
    let size = |entry: &Value| entry["vsize"].as_u64().expect("a size");
    let of_parent = world.call("getmempoolentry", json!([parent]));
    assert_eq!(entry["ancestorsize"], json!(size(&entry) + size(&of_parent)));
    let fees = ["base", "ancestor", "descendant"].map(|of| entry["fees"][of].to_string());
    assert_eq!(fees, ["0.00030000", "0.00040000", "0.00040000"]);
    // The child pays for its parent, and the grandchild less than both: they are two chunks.
    assert_eq!(of_parent["fees"]["chunk"].to_string(), "0.00040000");
    assert_eq!(of_parent["chunksize"], entry["ancestorsize"]);
    assert_eq!(world.call("getmempoolancestors", json!([grandchild])), json!([parent, child]));
    assert_eq!(world.call("getmempooldescendants", json!([parent])), json!([child, grandchild]));
    let verbose = world.call("getmempooldescendants", json!([parent, true]));
    assert_eq!(verbose[child], entry);
    let verbose = world.call("getmempoolancestors", json!([grandchild, true]));
    assert_eq!(verbose[child], entry);
    let all = world.call("getrawmempool", json!([true]));
    assert_eq!(all[child], entry);
    for method in ["getmempoolentry", "getmempoolancestors", "getmempooldescendants"] {
        let said = world.refused(method, json!([UNKNOWN]), code::INVALID_ADDRESS_OR_KEY);
        assert!(said.contains("not in mempool"), "{said}");
        world.refused(method, json!(["zz"]), code::INVALID_PARAMETER);
        world.refused(method, json!([7]), code::TYPE);
    }
    let info = world.rpc().getmempoolinfo().expect("it answers");
    assert_eq!((info.size, info.limitclustercount), (3, 64));
    assert!(info.usage >= info.bytes, "{info:?}");
}

#[test]
fn a_replaced_payment_names_what_replaced_it() {
    let world = LoneNode::start("bumped");
    let coins = world.alice.fund(world.rpc(), 1);
    let payment = world.alice.pay(&coins[0], &world.bob, 10_000);
    let bumped = world.alice.pay(&coins[0], &world.bob, 90_000);
    for sent in [&payment, &bumped] {
        world.call("sendrawtransaction", json!([to_hex(sent)]));
    }
    assert_eq!(mempool(world.rpc()), Ok(vec![bumped.txid()]));
    let (old, new) = (json!([payment.txid()]), bumped.txid().to_string());
    for method in ["getmempoolentry", "getmempoolancestors", "getmempooldescendants", "getrawtransaction"] {
        let said = world.refused(method, old.clone(), code::INVALID_ADDRESS_OR_KEY);
        assert!(said.contains("replaced") && said.contains(&new), "{method}: {said}");
    }
    let said = world.refused("sendrawtransaction", json!([to_hex(&payment)]), code::VERIFY_REJECTED);
    assert!(said.contains(&new), "{said}");
}

#[test]
fn the_mempool_is_saved() {
    let world = LoneNode::start("saved");
    let coins = world.alice.fund(world.rpc(), 1);
    let ids = world.pay_on(&coins[0], &[10_000, 30_000]);
    let saved = world.rpc().savemempool().expect("there is room");
    assert!(std::path::Path::new(&saved.filename).is_file(), "{saved:?}");
    let datadir = world.node.datadir().to_path_buf();
    assert!(datadir.join(OWN_FILE).is_file(), "what users sent is saved with it");
    let mut node = world.node;
    node.process.kill();
    let node = FullNode::start_again(&datadir);
    let OneOf::Short(waiting) = node.rpc().getrawmempool(None, None).expect("it answers") else {
        panic!("a list of ids")
    };
    let waiting: Vec<String> = waiting.iter().map(ToString::to_string).collect();
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    assert!(ids.iter().all(|id| waiting.contains(id)), "{waiting:?}");
}

#[test]
fn m03_what_users_sent_outlives_the_node_and_the_mempools_file() {
    let world = LoneNode::start("sent");
    let coins = world.alice.fund(world.rpc(), 1);
    let ids = world.pay_on(&coins[0], &[10_000, 30_000]);
    let datadir = world.node.datadir().to_path_buf();
    let bytes = |name: &str| fs::metadata(datadir.join(name)).expect("an orderly end writes it").len();
    world.node.stop();
    let with_both = bytes(OWN_FILE);
    // The mempool's file is lost to the disk, and the node starts without it.
    fs::write(datadir.join(MEMPOOL_FILE), b"nothing of the kind").expect("written");
    let node = FullNode::start_again(&datadir);
    until("what users sent waits again", || {
        let waiting: Vec<String> = mempool(node.rpc())?.iter().map(ToString::to_string).collect();
        require(ids.iter().all(|id| waiting.contains(id)), || format!("it holds {waiting:?}"))
    });
    // Once it is mined it is no longer kept.
    node.rpc().generatetoaddress(1, world.bob.written(), None).expect("blocks are made on demand");
    assert_eq!(mempool(node.rpc()), Ok(Vec::new()));
    node.stop();
    assert!(bytes(OWN_FILE) < with_both, "{} of {with_both} bytes", bytes(OWN_FILE));
    // Nor does damage to that file keep a node from starting.
    fs::write(datadir.join(OWN_FILE), b"nothing of the kind").expect("written");
    FullNode::start_again(&datadir).stop();
}
