//! A program that knows Bitcoin Core's RPC talks to a real node: every method answers with the fields and the codes
//! that it knows. People do the same with `cairn rpc`.

use std::{cell::RefCell, collections::BTreeSet, path::Path};

use chain::{amount::Amount, transaction::Output};
use rpc::{
    client::Client,
    error::code,
    methods::{LAB, METHODS},
};
use serde_json::{Value, json};
use tempfile::tempdir;
use tests::{
    answers::await_connections,
    chains::lab_chain,
    command::{Outcome, cairn, run, run_with_input, word},
    full_node::{FullNode, settings},
    keys::{Person, to_hex},
    mining::Draft,
    wait::until,
};

/// Calls methods and remembers which.
struct Caller {
    client: Client,
    called: RefCell<BTreeSet<String>>,
}

impl Caller {
    #[track_caller]
    fn call(&self, method: &str, params: Value) -> Value {
        self.called.borrow_mut().insert(method.to_owned());
        let params = params.as_array().expect("a list").clone();
        self.client.call_raw(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Calls a method that must answer with an object that has these members.
    #[track_caller]
    fn object(&self, method: &str, params: Value, members: &[&str]) -> Value {
        let answer = self.call(method, params);
        has(method, &answer, members);
        answer
    }

    /// Calls a method that must be refused with this code; the message.
    #[track_caller]
    fn refused(&self, method: &str, params: Value, code: i64) -> String {
        let params = params.as_array().expect("a list").clone();
        let error = self.client.call_raw(method, params.clone()).expect_err(method);
        assert_eq!(error.code(), Some(code), "{method} {params:?}: {error}");
        error.to_string()
    }
}

#[track_caller]
fn has(what: &str, value: &Value, members: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("{what}: no object: {value}"));
    for member in members {
        assert!(object.contains_key(*member), "{what}: {member:?} is missing: {value}");
    }
}

const HEADER: &[&str] = &[
    "hash",
    "confirmations",
    "height",
    "version",
    "versionHex",
    "merkleroot",
    "time",
    "mediantime",
    "nonce",
    "bits",
    "target",
    "difficulty",
    "chainwork",
    "nTx",
    "previousblockhash",
];
/// Methods whose stories are told in `rpc_chain.rs` and `rpc_mempool.rs`.
const ELSEWHERE: &[&str] = &[
    "getblockstats",
    "getdifficulty",
    "getmempoolancestors",
    "getmempooldescendants",
    "getmempoolentry",
    "invalidateblock",
    "preciousblock",
    "reconsiderblock",
    "savemempool",
    "verifychain",
];
const UNKNOWN: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

#[test]
fn every_method_answers_as_bitcoin_cores() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "methods", |_| ());
    let peer = FullNode::start(&folder.path().join("peer"), &settings(&chain));
    let node = FullNode::start(&folder.path().join("node"), &settings(&chain));
    let caller = Caller { client: node.rpc().clone(), called: RefCell::default() };
    let (alice, bob) = (Person::new(&chain.chain, "alice"), Person::new(&chain.chain, "bob"));

    // Mining on demand.
    let hashes = caller.call("generatetoaddress", json!([3, alice.written()]));
    assert_eq!(hashes.as_array().map(Vec::len), Some(3));
    let tip = hashes[2].as_str().expect("a hash").to_owned();
    caller.refused("generatetoaddress", json!([1, "nonsense"]), code::INVALID_ADDRESS_OR_KEY);

    blockchain(&caller, &chain.chain.id().to_string(), &tip);
    let coins = alice.fund(node.rpc(), 1);
    transactions(&caller, &alice, &bob, &coins);
    addresses(&caller, &alice, &bob);
    mining(&caller, &bob);
    network(&caller, &peer, &node);

    // Control.
    assert!(caller.call("uptime", json!([])).is_u64());
    let help = caller.call("help", json!([]));
    let help = help.as_str().expect("a text");
    // The lab's methods have a story of their own: without --lab they do not exist.
    let offered = || METHODS.iter().filter(|spec| spec.category != LAB);
    for spec in offered() {
        assert!(
            help.lines().any(|line| line.split(' ').next() == Some(spec.name)),
            "{} is not in help",
            spec.name
        );
    }
    assert!(caller.call("help", json!(["getblock"])).as_str().is_some_and(|help| help.contains("verbosity")));
    caller.refused("getblockfoo", json!([]), code::METHOD_NOT_FOUND);
    caller.refused("getblockcount", json!([1]), code::INVALID_PARAMS);
    caller.refused("getblock", json!([5]), code::TYPE);
    assert_eq!(caller.call("stop", json!([])), "Cairn is stopping");
    let mut node = node;
    assert!(node.process.wait().success());

    let called = caller.called.into_inner();
    let listed: BTreeSet<String> = offered().map(|spec| spec.name.to_owned()).collect();
    let elsewhere = ELSEWHERE.iter().map(|name| (*name).to_owned());
    assert_eq!(
        called.into_iter().chain(elsewhere).collect::<BTreeSet<_>>(),
        listed,
        "every method is called"
    );
}

fn blockchain(caller: &Caller, genesis: &str, tip: &str) {
    let info = caller.object(
        "getblockchaininfo",
        json!([]),
        &[
            "chain",
            "blocks",
            "headers",
            "bestblockhash",
            "bits",
            "target",
            "difficulty",
            "time",
            "mediantime",
            "verificationprogress",
            "initialblockdownload",
            "chainwork",
            "size_on_disk",
            "pruned",
            "warnings",
        ],
    );
    assert_eq!((info["blocks"].as_u64(), info["bestblockhash"].as_str()), (Some(3), Some(tip)));
    assert_eq!(caller.call("getblockcount", json!([])), 3);
    assert_eq!(caller.call("getbestblockhash", json!([])), tip);
    assert_eq!(caller.call("getblockhash", json!([0])), genesis);
    assert_eq!(caller.call("getblockhash", json!([3])), tip);
    caller.refused("getblockhash", json!([4]), code::INVALID_PARAMETER);

    let header = caller.object("getblockheader", json!([tip]), HEADER);
    assert_eq!((header["confirmations"].as_i64(), header["height"].as_u64()), (Some(1), Some(3)));
    let raw = caller.call("getblockheader", json!([tip, false]));
    assert_eq!(raw.as_str().map(str::len), Some(160), "80 bytes in hexadecimal");
    caller.refused("getblockheader", json!([UNKNOWN]), code::INVALID_ADDRESS_OR_KEY);

    let block = caller.object("getblock", json!([tip]), HEADER);
    has("getblock", &block, &["size", "tx"]);
    assert!(block["tx"][0].is_string());
    let whole = caller.call("getblock", json!([tip, 2]));
    has("getblock 2", &whole["tx"][0], &["txid", "hash", "size", "vsize", "vin", "vout", "hex"]);
    has("getblock 2", &whole["tx"][0]["vin"][0], &["coinbase"]);
    let bytes = caller.call("getblock", json!([tip, 0]));
    assert!(bytes.as_str().is_some_and(|hex| hex.starts_with(raw.as_str().expect("hexadecimal"))));
    caller.refused("getblock", json!([UNKNOWN]), code::INVALID_ADDRESS_OR_KEY);
    caller.refused("getblock", json!(["zz"]), code::INVALID_PARAMETER);

    let tips = caller.call("getchaintips", json!([]));
    has("getchaintips", &tips[0], &["height", "hash", "branchlen", "status"]);
    assert_eq!((tips[0]["status"].as_str(), tips[0]["branchlen"].as_u64()), (Some("active"), Some(0)));

    let set = caller.object(
        "gettxoutsetinfo",
        json!([]),
        &["height", "bestblock", "txouts", "hash_serialized", "disk_size", "total_amount"],
    );
    assert_eq!(set["txouts"], 3);
    assert_eq!(set["total_amount"].to_string(), "150.00000000", "eight decimals, exact");

    let coinbase = block["tx"][0].clone();
    let coin = caller.object(
        "gettxout",
        json!([coinbase, 0]),
        &["bestblock", "confirmations", "value", "scriptPubKey", "coinbase"],
    );
    assert_eq!((coin["value"].to_string().as_str(), coin["coinbase"].as_bool()), ("50.00000000", Some(true)));
    assert_eq!(caller.call("gettxout", json!([UNKNOWN, 0])), Value::Null);
}

fn transactions(caller: &Caller, alice: &Person, bob: &Person, coins: &[tests::keys::Held]) {
    let payment = alice.pay(&coins[0], bob, 10_000);
    let (hex, txid) = (to_hex(&payment), payment.txid().to_string());
    let tested = caller.call("testmempoolaccept", json!([[hex]]));
    has("testmempoolaccept", &tested[0], &["txid", "wtxid", "allowed", "vsize", "fees"]);
    assert_eq!(
        (tested[0]["allowed"].as_bool(), tested[0]["fees"]["base"].to_string()),
        (Some(true), "0.00010000".into())
    );
    assert_eq!(caller.call("getrawmempool", json!([])), json!([]), "a test changes nothing");

    assert_eq!(caller.call("sendrawtransaction", json!([hex])), txid.as_str());
    caller.refused("sendrawtransaction", json!([hex]), code::ALREADY_IN_CHAIN);
    // It pays no more than what it would replace.
    let rival = alice.pay(&coins[0], alice, 10_000);
    let said = caller.refused("sendrawtransaction", json!([to_hex(&rival)]), code::VERIFY_REJECTED);
    assert!(said.contains("txn-mempool-conflict") && said.contains(&txid), "{said}");
    let tested = caller.call("testmempoolaccept", json!([[to_hex(&rival)]]));
    assert_eq!(
        (tested[0]["allowed"].as_bool(), tested[0]["reject-reason"].as_str()),
        (Some(false), Some("txn-mempool-conflict"))
    );
    caller.refused("sendrawtransaction", json!(["00"]), code::DESERIALIZATION);
    let one = Amount::from_pebbles(1_000);
    let missing =
        (chain::transaction::OutPoint { txid: rival.txid(), index: 0 }, Output::pay(alice.address(), one));
    let missing = alice.spend(&[missing], vec![Output::pay(bob.address(), one)]);
    caller.refused("sendrawtransaction", json!([to_hex(&missing)]), code::VERIFY);
    let waste = alice.pay(&coins[1], bob, 100_000_000);
    caller.refused("sendrawtransaction", json!([to_hex(&waste)]), code::VERIFY);
    let mean = alice.pay(&coins[1], bob, 0);
    let said = caller.refused("sendrawtransaction", json!([to_hex(&mean)]), code::VERIFY_REJECTED);
    assert!(said.contains("min relay fee not met"), "{said}");

    assert_eq!(caller.call("getrawtransaction", json!([txid])), hex.as_str());
    for verbose in [json!(1), json!(true)] {
        let info = caller.object(
            "getrawtransaction",
            json!([txid, verbose]),
            &["txid", "hash", "size", "vin", "vout", "hex"],
        );
        assert!(info.get("blockhash").is_none(), "it is in the mempool");
        has("vin", &info["vin"][0], &["txid", "vout", "txinwitness"]);
        has("vout", &info["vout"][0], &["value", "n", "scriptPubKey"]);
        assert_eq!(info["vout"][0]["value"].to_string(), "49.99990000");
        assert_eq!(info["vout"][0]["scriptPubKey"]["address"], bob.written());
    }
    caller.refused("getrawtransaction", json!([UNKNOWN]), code::INVALID_ADDRESS_OR_KEY);

    let info = caller.object(
        "getmempoolinfo",
        json!([]),
        &["loaded", "size", "bytes", "usage", "total_fee", "maxmempool", "mempoolminfee", "minrelaytxfee"],
    );
    assert_eq!((info["size"].as_u64(), info["total_fee"].to_string()), (Some(1), "0.00010000".into()));
    assert_eq!(caller.call("getrawmempool", json!([])), json!([txid]));
    let verbose = caller.call("getrawmempool", json!([true]));
    has(
        "getrawmempool true",
        &verbose[&txid],
        &["vsize", "time", "height", "wtxid", "fees", "depends", "spentby"],
    );

    caller.call("generatetoaddress", json!([1, bob.written()]));
    let info = caller.object(
        "getrawtransaction",
        json!([txid, 1]),
        &["blockhash", "confirmations", "time", "blocktime"],
    );
    assert_eq!(info["confirmations"], 1);
    caller.refused("sendrawtransaction", json!([hex]), code::ALREADY_IN_CHAIN);
    let said = caller.refused("sendrawtransaction", json!([to_hex(&rival)]), code::VERIFY);
    assert!(said.contains("bad-txns-inputs-missingorspent") && said.contains(&txid), "{said}");
    assert_eq!(caller.call("getrawmempool", json!([])), json!([]));
}

fn addresses(caller: &Caller, alice: &Person, bob: &Person) {
    let coins = caller.object(
        "getaddressutxos",
        json!([[alice.written(), bob.written()]]),
        &["height", "bestblock", "utxos"],
    );
    let coins = coins["utxos"].as_array().expect("a list");
    assert!(coins.len() >= 2);
    has(
        "getaddressutxos",
        &coins[0],
        &["address", "txid", "vout", "amount", "confirmations", "coinbase", "mature"],
    );
    let balance = caller.object(
        "getaddressbalance",
        json!([bob.written()]),
        &["confirmed", "immature", "spending", "unconfirmed", "spendable"],
    );
    // The block pays 50 and the fee, the payment the rest of a coin.
    assert_eq!(balance["confirmed"].to_string(), "100.00000000", "{balance}");
    let history =
        caller.object("getaddresshistory", json!([bob.written()]), &["height", "bestblock", "history"]);
    has(
        "getaddresshistory",
        &history["history"][0],
        &["address", "txid", "height", "confirmations", "received", "sent"],
    );
    caller.refused("getaddressbalance", json!(["nonsense"]), code::INVALID_ADDRESS_OR_KEY);
}

fn mining(caller: &Caller, bob: &Person) {
    caller.refused("getblocktemplate", json!([]), code::MISC);
    let request = json!([{"capabilities": ["coinbasetxn"], "address": bob.written()}]);
    let template = caller.object(
        "getblocktemplate",
        request,
        &[
            "capabilities",
            "version",
            "rules",
            "previousblockhash",
            "transactions",
            "coinbasetxn",
            "coinbasevalue",
            "longpollid",
            "target",
            "mintime",
            "mutable",
            "noncerange",
            "sigoplimit",
            "sizelimit",
            "curtime",
            "bits",
            "height",
        ],
    );
    assert!(!template["rules"].to_string().contains("segwit"));
    let template = serde_json::from_value(template).expect("a template");
    let block = Draft::new(&template).seal();
    assert_eq!(caller.call("submitblock", json!([block.to_hex()])), Value::Null);
    assert_eq!(caller.call("submitblock", json!([block.to_hex()])), "duplicate");
    assert_eq!(caller.call("getbestblockhash", json!([])), block.header.hash().to_string());
    let info = caller.object(
        "getmininginfo",
        json!([]),
        &["blocks", "bits", "difficulty", "target", "networkhashps", "pooledtx", "chain", "warnings"],
    );
    assert_eq!(info["generate"], false);
}

fn network(caller: &Caller, peer: &FullNode, node: &FullNode) {
    let address = peer.p2p_address();
    assert_eq!(caller.call("addnode", json!([address, "add"])), Value::Null);
    caller.refused("addnode", json!([address, "add"]), code::NODE_ALREADY_ADDED);
    caller.refused("addnode", json!(["nonsense", "add"]), code::INVALID_PARAMETER);
    caller.refused("addnode", json!([address, "dance"]), code::INVALID_PARAMETER);
    await_connections(node.rpc(), 1);
    assert_eq!(caller.call("getconnectioncount", json!([])), 1);
    let peers = caller.call("getpeerinfo", json!([]));
    has("getpeerinfo", &peers[0], &["id", "addr", "inbound", "connection_type", "conntime", "subver"]);
    assert_eq!(peers[0]["inbound"], false);
    let info = caller.object(
        "getnetworkinfo",
        json!([]),
        &[
            "version",
            "subversion",
            "protocolversion",
            "connections",
            "connections_in",
            "connections_out",
            "networkactive",
            "relayfee",
            "localaddresses",
            "warnings",
        ],
    );
    assert_eq!(info["connections"], 1);
    assert_eq!(caller.call("addnode", json!([address, "remove"])), Value::Null);
    caller.refused("addnode", json!([address, "remove"]), code::NODE_NOT_ADDED);
    assert_eq!(caller.call("setban", json!(["192.0.2.0/24", "add", 3_600])), Value::Null);
    let bans = caller.call("listbanned", json!([]));
    has("listbanned", &bans[0], &["address", "banned_until"]);
    assert_eq!(bans[0]["address"], "192.0.2.0/24");
    assert_eq!(caller.call("clearbanned", json!([])), Value::Null);
    assert_eq!(caller.call("listbanned", json!([])), json!([]));
    assert_eq!(caller.call("disconnectnode", json!(["", peers[0]["id"]])), Value::Null);
    until("the peer is gone", || match node.rpc().getconnectioncount() {
        Ok(0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    caller.refused("disconnectnode", json!(["", peers[0]["id"]]), code::NODE_NOT_CONNECTED);
}

#[test]
fn blocks_on_demand_are_for_development_alone() {
    let folder = tempdir().expect("a folder");
    let mut settings = settings(&lab_chain(folder.path(), "unused", |_| ()));
    settings.chain = Some("test".into());
    let node = FullNode::start(&folder.path().join("node"), &settings);
    let alice = Person::new(&chain::genesis::Chain::test(), "alice").written();
    let error = node.rpc().generatetoaddress(1, alice, None).expect_err("not on this chain");
    assert_eq!(error.code(), Some(code::MISC), "{error}");
}

/// `cairn rpc` on a node.
fn rpc(node: &FullNode, words: &[&str]) -> Outcome {
    let datadir = word(node.datadir());
    run(["rpc", "--node", node.rpc().url(), "--datadir", datadir].iter().chain(words))
}

#[test]
fn people_call_methods_by_command_line() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "words", |_| ());
    let mut settings = settings(&chain);
    (settings.rpc_user, settings.rpc_password) = (Some("ops".into()), Some("secret".into()));
    let node = FullNode::start(&folder.path().join("node"), &settings);
    let genesis = chain.chain.id().to_string();

    assert_eq!(rpc(&node, &["getblockhash", "0"]).success(), format!("{genesis}\n"), "a string as it is");
    assert_eq!(rpc(&node, &["getblockcount"]).success(), "0\n");
    let block = rpc(&node, &["getblock", &genesis, "2"]).json();
    assert_eq!(block["tx"].as_array().map(Vec::len), Some(1));
    let missing = rpc(&node, &["gettxout", UNKNOWN, "0"]).success();
    assert_eq!(missing, "", "null prints nothing");
    assert!(rpc(&node, &["help"]).success().contains("getblock blockhash"));

    let said = rpc(&node, &["getblockhash", "7"]).failure();
    assert!(said.contains("error code: -8") && said.contains("out of range"), "{said}");
    let said = rpc(&node, &["getblokcount"]).failure();
    assert!(said.contains("-32601") && said.contains("help"), "{said}");

    // A user and a password instead of the cookie.
    let with = |password: &str| {
        let mut command = cairn();
        command.env("CAIRN_RPC_PASSWORD", password).current_dir(folder.path());
        command.args(["rpc", "--node", node.rpc().url(), "--user", "ops", "uptime"]);
        run_with_input(command, "")
    };
    with("secret").success();
    let said = with("guess").failure();
    assert!(said.contains("refuses this user and password"), "{said}");

    let url = node.rpc().url().to_owned();
    let datadir = node.datadir().to_path_buf();
    node.stop();
    let nobody = run(["rpc", "--node", &url, "--cookie-file", word(&cookie(&datadir)), "uptime"]).failure();
    assert!(nobody.contains("is it running") || nobody.contains("running"), "{nobody}");
}

/// A cookie file of a node that has ended, as a crash leaves one.
fn cookie(datadir: &Path) -> std::path::PathBuf {
    let path = datadir.join(".cookie");
    std::fs::write(&path, "__cookie__:00").expect("written");
    path
}
