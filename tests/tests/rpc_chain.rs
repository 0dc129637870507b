//! An operator looks into a node and tells it what to think of blocks: figures, checks, advice. And every example that `help` gives is typed as it stands there.

use std::{
    env,
    process::{Command, Stdio},
};

use chain::hash::BlockHash;
use rpc::{
    error::code,
    methods::{BlockRef, LAB, METHODS, StatNames},
};
use serde_json::{Value, json};
use tests::{
    answers::{await_agreement, await_height},
    binary,
    full_node::{FullNode, settings},
    keys::to_hex,
    lone_node::LoneNode,
    mining::Draft,
};

const UNKNOWN: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

#[test]
fn figures_of_blocks_and_of_the_supply() {
    let world = LoneNode::start("figures");
    let coins = world.alice.fund(world.rpc(), 1);
    world.pay_on(&coins[0], &[10_000, 30_000]);
    let tip = world.mine(1)[0];
    let height = world.rpc().getblockcount().expect("it answers");

    let stats = world.rpc().getblockstats(BlockRef::Hash(tip), None).expect("it is active");
    assert_eq!(stats, world.rpc().getblockstats(BlockRef::Height(height), None).expect("the same"));
    assert_eq!((stats.txs, stats.ins, stats.outs), (Some(3), Some(2), Some(3)));
    assert_eq!((stats.totalfee, stats.minfee, stats.maxfee), (Some(40_000), Some(10_000), Some(30_000)));
    assert_eq!((stats.medianfee, stats.avgfee), (Some(20_000), Some(20_000)));
    assert_eq!((stats.subsidy, stats.utxo_increase), (Some(5_000_000_000), Some(1)));
    let size = stats.total_size.expect("a size");
    assert_eq!(stats.avgfeerate, Some(40_000 / size));
    let some = world.rpc().getblockstats(BlockRef::Height(height), Some(StatNames(vec!["txs".into()])));
    assert_eq!(serde_json::to_value(some.expect("it answers")).expect("JSON"), json!({"txs": 3}));
    let genesis = world.call("getblockstats", json!([0]));
    assert_eq!((&genesis["txs"], &genesis["subsidy"]), (&json!(1), &json!(0)));
    for (params, code) in [
        (json!([height.get() + 1]), code::INVALID_PARAMETER),
        (json!([-1]), code::INVALID_PARAMETER),
        (json!([UNKNOWN]), code::INVALID_ADDRESS_OR_KEY),
        (json!(["zz"]), code::INVALID_PARAMETER),
        (json!([0, ["weight"]]), code::INVALID_PARAMETER),
        (json!([0, "txs"]), code::TYPE),
        (json!([]), code::INVALID_PARAMS),
    ] {
        world.refused("getblockstats", params, code);
    }

    let info = world.rpc().getblockchaininfo().expect("it answers");
    assert_eq!(world.call("getdifficulty", json!([])), json!(info.difficulty));
    let set = world.rpc().gettxoutsetinfo().expect("it answers");
    assert_eq!(set.total_issued.0.pebbles(), u64::from(height.get()) * 5_000_000_000);
    // The last block took its fees, and nobody left anything lying.
    assert_eq!((set.total_amount, set.supply_ok), (set.total_issued, true));
    assert_eq!(set.total_unspendable_amount.0.pebbles(), 0);
}

#[test]
fn a_chain_is_checked_again() {
    let world = LoneNode::start("checks");
    let coins = world.alice.fund(world.rpc(), 2);
    world.pay_on(&coins[0], &[10_000, 30_000]);
    world.mine(1);
    world.pay_on(&coins[1], &[10_000]);
    world.mine(3);
    for level in 0..=4 {
        for blocks in [0, 1, 4, 1_000] {
            assert_eq!(world.call("verifychain", json!([level, blocks])), true, "{level} {blocks}");
        }
    }
    assert_eq!(world.call("verifychain", json!([])), true);
    world.refused("verifychain", json!([5]), code::INVALID_PARAMETER);
    world.refused("verifychain", json!([3, -1]), code::INVALID_PARAMETER);
    world.refused("verifychain", json!(["3"]), code::TYPE);
}

#[test]
fn blocks_are_given_up_and_taken_back() {
    let world = LoneNode::start("advice");
    let coins = world.alice.fund(world.rpc(), 1);
    let below = world.rpc().getbestblockhash().expect("it answers");
    let payment = world.pay_on(&coins[0], &[10_000]).remove(0);
    let given_up = world.mine(2);
    let tip = || world.rpc().getbestblockhash().expect("it answers");

    assert_eq!(world.call("invalidateblock", json!([given_up[0]])), Value::Null);
    assert_eq!(tip(), below);
    assert_eq!(world.call("getrawmempool", json!([])), json!([payment]), "its payment waits again");
    let tips = world.call("getchaintips", json!([]));
    let status = |hash: BlockHash| {
        let found = tips.as_array().expect("a list").iter().find(|tip| tip["hash"] == json!(hash));
        found.unwrap_or_else(|| panic!("{hash} in {tips}"))["status"].clone()
    };
    assert_eq!((status(given_up[1]), status(below)), (json!("invalid"), json!("active")));
    let other = world.mine(1)[0];
    assert_eq!(tip(), other);

    assert_eq!(world.call("reconsiderblock", json!([given_up[0]])), Value::Null);
    assert_eq!(tip(), given_up[1], "it has more work");
    // Of two blocks of the same work the first wins, unless somebody says otherwise.
    assert_eq!(world.call("invalidateblock", json!([given_up[1]])), Value::Null);
    let first = tip();
    let second = if first == other { given_up[0] } else { other };
    assert_eq!(world.call("preciousblock", json!([second])), Value::Null);
    assert_eq!(tip(), second);
    assert_eq!(world.call("preciousblock", json!([first])), Value::Null);
    assert_eq!(tip(), first);
    assert_eq!(world.call("verifychain", json!([4, 0])), true);

    for method in ["invalidateblock", "reconsiderblock", "preciousblock"] {
        world.refused(method, json!([UNKNOWN]), code::INVALID_ADDRESS_OR_KEY);
        world.refused(method, json!(["zz"]), code::INVALID_PARAMETER);
        world.refused(method, json!([1]), code::TYPE);
    }
    world.refused("invalidateblock", json!([world.chain.chain.id()]), code::INVALID_PARAMETER);

    // A peer hears of what the node follows now.
    let peer = FullNode::start(&world.folder.path().join("peer"), &settings(&world.chain));
    peer.connect(&world.node);
    await_agreement(&[world.rpc().clone(), peer.rpc().clone()]);
    assert_eq!(world.call("reconsiderblock", json!([given_up[1]])), Value::Null);
    assert_eq!(tip(), given_up[1]);
    await_height(peer.rpc(), world.rpc().getblockcount().expect("it answers").get());
}

/// An example with something real where it names a kind of thing.
fn filled_in(example: &str, known: &[(&str, &str)]) -> String {
    let line = example.split('`').nth(1).unwrap_or_else(|| panic!("no command in {example:?}"));
    known.iter().fold(line.to_owned(), |line, (name, value)| line.replace(name, value))
}

#[test]
fn every_example_of_the_help_works() {
    let world = LoneNode::start("examples");
    let coins = world.alice.fund(world.rpc(), 2);
    let path = {
        let binary = binary::path();
        let folder = binary.parent().expect("the program lies in a folder").display().to_string();
        format!("{folder}:{}", env::var("PATH").expect("there is a PATH"))
    };
    let waiting = world.pay_on(&coins[0], &[10_000]).remove(0);
    let sent = to_hex(&world.alice.pay(&coins[1], &world.bob, 20_000));
    let address = world.bob.written();
    // This node has no peer to be disconnected from.
    let elsewhere = ["stop", "disconnectnode"];
    for spec in METHODS.iter().filter(|spec| !elsewhere.contains(&spec.name) && spec.category != LAB) {
        let example = spec.help.last().unwrap_or_else(|| panic!("{} has no help", spec.name));
        let template =
            (spec.name == "getblocktemplate").then(|| format!(r#""address": "{address}", "capab"#));
        let hex = if spec.name == "submitblock" {
            let request = json!([{"capabilities": ["coinbasetxn"], "address": address}]);
            let template =
                serde_json::from_value(world.call("getblocktemplate", request)).expect("a template");
            Draft::new(&template).seal().to_hex()
        } else {
            sent.clone()
        };
        let mut known = vec![("TXID", waiting.as_str()), ("HEX", &hex), ("ADDRESS", &address)];
        // This node mines for nobody: who is paid stands in the request.
        known.extend(template.as_deref().map(|member| ("\"capab", member)));
        let line = filled_in(example, &known);
        let mut shell = Command::new("bash");
        shell.args(["-e", "-c", &line]).stdin(Stdio::null()).env("PATH", &path);
        // As if the node were the one that is found by itself.
        shell.env("CAIRN_NODE", world.rpc().url()).env("CAIRN_DATADIR", world.node.datadir());
        let output = shell.output().expect("there is a bash");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {line}: {errors}", spec.name);
        // What was given up is taken back by its own example.
        if spec.name == "invalidateblock" {
            let tips = world.rpc().getchaintips().expect("it answers");
            for tip in tips.iter().filter(|tip| tip.status == "invalid") {
                world.rpc().reconsiderblock(tip.hash).expect("it is known");
            }
        }
    }
}
