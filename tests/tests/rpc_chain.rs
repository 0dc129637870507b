//! An operator looks into a node and tells it what to think of blocks: figures, checks, advice, the mempool's
//! families. And every example that `help` gives is typed as it stands there.

use std::{
    env,
    process::{Command, Stdio},
};

use chain::{hash::BlockHash, transaction::OutPoint};
use rpc::{
    client::Client,
    error::code,
    methods::{BlockRef, METHODS, StatNames},
    types::OneOf,
};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use tests::{
    answers::{await_agreement, await_height, mempool},
    binary,
    chains::{LabChain, lab_chain},
    full_node::{FullNode, settings},
    keys::{Held, Person, to_hex},
};

const UNKNOWN: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

/// A node on a chain of its own, and two people.
struct World {
    folder: TempDir,
    chain: LabChain,
    node: FullNode,
    alice: Person,
    bob: Person,
}

impl World {
    fn new(name: &str) -> Self {
        let folder = tempdir().expect("a folder");
        let chain = lab_chain(folder.path(), name, |_| ());
        let node = FullNode::start(&folder.path().join("node"), &settings(&chain));
        let (alice, bob) = (Person::new(&chain.chain, "alice"), Person::new(&chain.chain, "bob"));
        Self { folder, chain, node, alice, bob }
    }

    fn rpc(&self) -> &Client {
        self.node.rpc()
    }

    #[track_caller]
    fn mine(&self, blocks: u32) -> Vec<BlockHash> {
        self.rpc().generatetoaddress(blocks, self.bob.written(), None).expect("blocks are made on demand")
    }

    #[track_caller]
    fn call(&self, method: &str, params: Value) -> Value {
        let list = params.as_array().expect("a list").clone();
        self.rpc().call_raw(method, list).unwrap_or_else(|error| panic!("{method} {params}: {error}"))
    }

    /// Calls a method that must be refused with this code; the message.
    #[track_caller]
    fn refused(&self, method: &str, params: Value, code: i64) -> String {
        let list = params.as_array().expect("a list").clone();
        let error = self.rpc().call_raw(method, list).expect_err(method);
        assert_eq!(error.code(), Some(code), "{method} {params}: {error}");
        error.to_string()
    }

    /// Alice pays Bob with a coin, Bob pays the same on, and so on; the ids.
    fn pay_on(&self, coin: &Held, fees: &[u64]) -> Vec<String> {
        let mut coin = coin.clone();
        let mut from = &self.alice;
        let mut ids = Vec::new();
        for fee in fees {
            let payment = from.pay(&coin, &self.bob, *fee);
            ids.push(self.call("sendrawtransaction", json!([to_hex(&payment)])).as_str().expect("an id").into());
            coin = (OutPoint { txid: payment.txid(), index: 0 }, payment.outputs[0].clone());
            from = &self.bob;
        }
        ids
    }
}

#[test]
fn figures_of_blocks_and_of_the_supply() {
    let world = World::new("figures");
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
    let world = World::new("checks");
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
    let world = World::new("advice");
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

#[test]
fn families_in_the_mempool() {
    let world = World::new("families");
    let coins = world.alice.fund(world.rpc(), 1);
    let ids = world.pay_on(&coins[0], &[10_000, 30_000, 20_000]);
    let [parent, child, grandchild] = &ids[..] else { panic!("three payments: {ids:?}") };
    let entry = world.call("getmempoolentry", json!([child]));
    assert_eq!((&entry["ancestorcount"], &entry["descendantcount"]), (&json!(2), &json!(2)));
    assert_eq!((&entry["depends"], &entry["spentby"]), (&json!([parent]), &json!([grandchild])));
    let size = |entry: &Value| entry["vsize"].as_u64().expect("a size");
    let of_parent = world.call("getmempoolentry", json!([parent]));
    assert_eq!(entry["ancestorsize"], json!(size(&entry) + size(&of_parent)));
    let fees = ["base", "ancestor", "descendant"].map(|of| entry["fees"][of].to_string());
    assert_eq!(fees, ["0.00030000", "0.00040000", "0.00050000"]);
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
    assert_eq!((info.size, info.clusters, info.limitclustercount), (3, 1, 64));
    assert!(info.usage >= info.bytes, "{info:?}");
}

#[test]
fn a_replaced_payment_names_what_replaced_it() {
    let world = World::new("bumped");
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
    let world = World::new("saved");
    let coins = world.alice.fund(world.rpc(), 1);
    let ids = world.pay_on(&coins[0], &[10_000, 30_000]);
    let saved = world.rpc().savemempool().expect("there is room");
    assert!(std::path::Path::new(&saved.filename).is_file(), "{saved:?}");
    let datadir = world.node.datadir().to_path_buf();
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

/// An example with something real where it names a kind of thing.
fn filled_in(example: &str, known: &[(&str, &str)]) -> String {
    let line = example.split('`').nth(1).unwrap_or_else(|| panic!("no command in {example:?}"));
    known.iter().fold(line.to_owned(), |line, (name, value)| line.replace(name, value))
}

#[test]
fn every_example_of_the_help_works() {
    let world = World::new("examples");
    let coins = world.alice.fund(world.rpc(), 2);
    let path = {
        let binary = binary::path();
        let folder = binary.parent().expect("the program lies in a folder").display().to_string();
        format!("{folder}:{}", env::var("PATH").expect("there is a PATH"))
    };
    let waiting = world.pay_on(&coins[0], &[10_000]).remove(0);
    let sent = to_hex(&world.alice.pay(&coins[1], &world.bob, 20_000));
    let address = world.bob.written();
    for spec in METHODS.iter().filter(|spec| spec.name != "stop") {
        let example = spec.help.last().unwrap_or_else(|| panic!("{} has no help", spec.name));
        let template = (spec.name == "getblocktemplate").then(|| format!(r#""address": "{address}", "capab"#));
        let hex = if spec.name == "submitblock" {
            let request = json!([{"capabilities": ["coinbasetxn"], "address": address}]);
            let template = serde_json::from_value(world.call("getblocktemplate", request)).expect("a template");
            tests::mining::Draft::new(&template).seal().to_hex()
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
