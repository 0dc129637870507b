//! Somebody makes a wallet, is paid, pays, loses the file and makes it again from its words.
//! A script does the same with flags and JSON; whatever is refused is refused with what to do about it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chain::{genesis::Chain, hash::TxId};
use serde_json::Value;
use tempfile::{TempDir, tempdir};
use tests::{
    answers::{await_in_mempools, block_of},
    chains::{LabChain, lab_chain},
    command::{Outcome, cairn, run, run_with_input, word},
    full_node::{FullNode, node_command, settings},
    keys::{Person, to_hex},
    process::Process,
    wait::{require, until},
};

/// A node on an easy chain, and somebody who has coins from the beginning.
struct World {
    folder: TempDir,
    chain: LabChain,
    node: FullNode,
    miner: Person,
}

impl World {
    fn new() -> Self {
        let folder = tempdir().expect("a folder");
        let chain = lab_chain(folder.path(), "purse", |_| ());
        let node = FullNode::start(&folder.path().join("node"), &settings(&chain));
        let miner = Person::new(&chain.chain, "miner");
        Self { folder, chain, node, miner }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.json"))
    }

    /// `cairn wallet` on somebody's file, with the node's cookie and no passphrase.
    fn run(&self, name: &str, words: &[&str], input: &str) -> Outcome {
        self.run_with_passphrase(name, "", words, input)
    }

    fn run_with_passphrase(&self, name: &str, passphrase: &str, words: &[&str], input: &str) -> Outcome {
        let mut command = cairn();
        command.env("CAIRN_PASSPHRASE", passphrase);
        command.args(["wallet", "--wallet", word(&self.file(name)), "--node", self.node.rpc().url()]);
        command.args(["--datadir", word(self.node.datadir())]).args(words);
        run_with_input(command, input)
    }

    /// A new wallet; its words and its first address.
    fn make(&self, name: &str) -> (String, String) {
        let made = self.run(name, &["new", "--json"], "").json();
        (text(&made, "words"), text(&made, "address"))
    }

    /// The miner pays an address, and a block confirms it.
    fn fund(&self, address: &str, coins: u64) {
        let prefix = &self.chain.chain.params().prefix;
        let to = chain::address::Address::decode(prefix, address).expect("an address of the chain");
        let held = self.miner.fund(self.node.rpc(), 1);
        let amount = chain::amount::Amount::from_pebbles(coins * chain::amount::COIN);
        let fee = chain::amount::Amount::from_pebbles(100_000);
        let rest = held[0].1.amount.checked_sub(amount).and_then(|rest| rest.checked_sub(fee));
        let outputs = vec![
            chain::transaction::Output::pay(to, amount),
            chain::transaction::Output::pay(self.miner.address(), rest.expect("a coin of 50 CRN suffices")),
        ];
        let payment = self.miner.spend(&held[..1], outputs);
        self.node.rpc().sendrawtransaction(to_hex(&payment), None).expect("it is good");
        self.confirm(payment.txid());
    }

    /// Mines blocks until a payment is in one.
    fn confirm(&self, payment: TxId) {
        let node = self.node.rpc();
        await_in_mempools(std::slice::from_ref(node), payment);
        node.generatetoaddress(1, self.miner.written(), None).expect("a block");
        until("the payment is in a block", || block_of(node, payment));
    }

    fn spendable(&self, name: &str) -> String {
        self.run(name, &["balance", "--json"], "").json()["spendable"].to_string()
    }
}

#[track_caller]
fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key:?}: {value}")).to_owned()
}

#[track_caller]
fn id(value: &Value) -> TxId {
    text(value, "txid").parse().expect("an id")
}

#[test]
fn a_payment_leaves_change_and_shows_in_both_histories() {
    let world = World::new();
    let (_, alice) = world.make("alice");
    let (_, bob) = world.make("bob");
    assert!(alice.starts_with("dcrn1") || alice.starts_with(&world.chain.chain.params().prefix), "{alice}");
    world.fund(&alice, 10);
    assert_eq!(world.spendable("alice"), "10.00000000");

    // Flags on either side of the subcommand.
    let sent = world.run("alice", &["--yes", "--json", "send", &bob, "1.5"], "").json();
    let first = id(&sent);
    assert_eq!(sent["amount"].to_string(), "1.50000000");
    let fee: chain::amount::Amount = sent["fee"].to_string().parse().expect("an amount");
    assert!(fee.pebbles() > 0);
    world.confirm(first);
    let second = id(&world.run("alice", &["send", &bob, "2", "--json", "--yes"], "").json());
    world.confirm(second);
    assert_eq!(world.spendable("bob"), "3.50000000");
    let left: chain::amount::Amount = world.spendable("alice").parse().expect("an amount");
    assert!(left.pebbles() < 650_000_000 && left.pebbles() > 649_900_000, "10 - 3.5 - fees, not {left}");

    for (name, kind) in [("alice", "sent"), ("bob", "received")] {
        let history = world.run(name, &["history", "--json"], "").json();
        let rows = history.as_array().expect("a list");
        for payment in [first, second] {
            let row = rows.iter().find(|row| id(row) == payment);
            let row = row.unwrap_or_else(|| panic!("{name} does not see {payment}: {history}"));
            assert_eq!(text(row, "kind"), kind);
            assert!(row["confirmations"].as_u64().is_some_and(|confirmations| confirmations > 0), "{row}");
        }
        let plain = world.run(name, &["history"], "").success();
        assert!(plain.contains(&first.to_string()), "{plain}");
    }
    // The newest only: what is left out is said, and what is shown is still the whole of each payment.
    let newest = world.run("alice", &["history", "--count", "2", "--json"], "");
    assert!(newest.stderr.contains("left out"), "{newest}");
    let newest = newest.json();
    let kinds: Vec<_> =
        newest.as_array().expect("a list").iter().map(|row| (id(row), text(row, "kind"))).collect();
    assert_eq!(kinds, [(first, "sent".to_owned()), (second, "sent".to_owned())]);
    let all = world.run("alice", &["history", "--count", "3"], "");
    assert_eq!((all.stderr.as_str(), all.stdout.lines().count()), ("", 3), "{all}");
    let plain = world.run("bob", &["balance"], "").success();
    assert!(
        plain.lines().any(|line| line.starts_with("spendable") && line.contains("3.50000000 CRN")),
        "{plain}"
    );
    // What a transaction spends and pays, as the node tells it: the payment and the change.
    let info = tests::answers::transaction(world.node.rpc(), first).expect("it is there");
    let amounts: Vec<String> = info.vout.iter().map(|output| output.value.0.to_string()).collect();
    assert_eq!(amounts.len(), 2, "a payment and its change: {amounts:?}");
    assert!(amounts.contains(&"1.50000000".to_owned()), "{amounts:?}");
}

#[test]
fn the_words_bring_back_addresses_and_coins() {
    let world = World::new();
    let (words, first) = world.make("alice");
    assert_eq!(words.split_whitespace().count(), 24);
    let second = text(&world.run("alice", &["address", "--new", "--json"], "").json(), "address");
    assert_ne!(first, second);
    world.fund(&first, 3);
    world.fund(&second, 4);
    let (_, bob) = world.make("bob");
    world.confirm(id(&world.run("alice", &["send", &bob, "1", "--yes", "--json"], "").json()));

    let again = world.run("again", &["restore", "--json"], &words).json();
    assert_eq!(again["asked_node"], true, "{again}");
    let list = |name: &str| world.run(name, &["address", "--list"], "").success();
    assert_eq!(list("again"), list("alice"));
    assert_eq!(world.spendable("again"), world.spendable("alice"));
    let history = |name: &str| {
        let rows = world.run(name, &["history", "--json"], "").json();
        rows.as_array().expect("a list").iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(history("again"), history("alice"));
    // The restored one can spend.
    world.confirm(id(&world.run("again", &["send", &bob, "2", "--yes", "--json"], "").json()));

    let mut wrong: Vec<&str> = words.split_whitespace().collect();
    wrong.swap(0, 1);
    wrong[2] = "cairnish";
    let said = world.run("never", &["restore"], &wrong.join(" ")).failure();
    assert!(said.contains("cairnish") || said.contains("word"), "{said}");
    assert!(!world.file("never").exists(), "no wallet is made of wrong words");
}

#[test]
fn a_passphrase_keeps_others_out() {
    let world = World::new();
    let made = world.run_with_passphrase("alice", "correct horse", &["new", "--json"], "").json();
    let words = text(&made, "words");
    let content = fs::read(world.file("alice")).expect("it is there");
    let content = String::from_utf8_lossy(&content).into_owned();
    for word in words.split_whitespace() {
        assert!(
            !content.split(|byte: char| !byte.is_ascii_lowercase()).any(|part| part == word),
            "{word} is in the file"
        );
    }
    let said = world.run_with_passphrase("alice", "wrong horse", &["address"], "").failure();
    assert!(said.contains("wrong passphrase"), "{said}");
    let address = world.run_with_passphrase("alice", "correct horse", &["address"], "").success();
    assert_eq!(address.trim(), text(&made, "address"));
    // The environment may hold the passphrase of another wallet than the one that has none.
    let (_, open) = world.make("open");
    let address = world.run_with_passphrase("open", "correct horse", &["address"], "").success();
    assert_eq!(address.trim(), open);
    let address = world.run_with_passphrase("alice", "correct horse", &["address"], "").success();
    let file = world.folder.path().join("passphrase");
    fs::write(&file, "correct horse\n").expect("written");
    let from_file = world.run("alice", &["address", "--passphrase-file", word(&file)], "").success();
    assert_eq!(from_file, address);
    let said = world.run_with_passphrase("alice", "correct horse", &["new"], "").failure();
    assert!(said.contains("exists already"), "{said}");
}

#[test]
fn what_cannot_be_paid_is_refused_with_the_reason() {
    let world = World::new();
    let (_, alice) = world.make("alice");
    let (_, bob) = world.make("bob");
    world.fund(&alice, 5);
    let refused = |words: &[&str]| world.run("alice", words, "").failure();

    let said = refused(&["send", &bob, "5", "--yes"]);
    assert!(said.contains("not enough coins") && said.contains("5.00000000"), "{said}");
    let main = Person::new(&Chain::main(), "bob").written();
    let said = refused(&["send", &main, "1", "--yes"]);
    assert!(said.contains("addresses of this chain begin with"), "{said}");
    let said = refused(&["send", "nonsense", "1", "--yes"]);
    assert!(said.contains("not an address") && said.contains("begin with dcrn1"), "{said}");
    let said = refused(&["send", &bob, "-1", "--yes"]);
    assert!(said.contains("cannot be negative"), "{said}");
    let said = refused(&["send", &bob, "0", "--yes"]);
    assert!(said.contains("no payment"), "{said}");
    let said = refused(&["send", &bob, "0.000000001", "--yes"]);
    assert!(said.contains("decimals"), "{said}");
    let said = refused(&["send", &bob, "1"]);
    assert!(said.contains("--yes"), "nobody can be asked: {said}");
    let said = world.run("nobody", &["balance"], "").failure();
    assert!(said.contains("cairn wallet new"), "{said}");
    assert_eq!(world.spendable("alice"), "5.00000000", "nothing was sent");

    // A wallet of another chain does not deceive itself with this node.
    let other = lab_chain(world.folder.path(), "other", |_| ());
    let mut command = cairn();
    command.env("CAIRN_PASSPHRASE", "");
    command.args(["wallet", "--wallet", word(&world.file("other")), "--chain", word(&other.file), "new"]);
    run_with_input(command, "").success();
    let said = world.run("other", &["balance"], "").failure();
    assert!(said.contains("belongs to the chain"), "{said}");
}

#[test]
fn the_same_coin_is_signed_twice_and_refused_once() {
    let world = World::new();
    let (_, alice) = world.make("alice");
    let (_, bob) = world.make("bob");
    world.fund(&alice, 5);
    let coins = world.run("alice", &["coins", "--json"], "").json();
    let coin = text(&coins[0], "outpoint");
    let pay =
        |amount: &str| world.run("alice", &["send", &bob, amount, "--coins", &coin, "--yes", "--json"], "");
    let payment = id(&pay("1").json());
    let said = pay("2").failure();
    assert!(said.contains(&payment.to_string()) && said.contains("in the mempool"), "{said}");
    world.confirm(payment);
    let said = pay("3").failure();
    assert!(said.contains(&payment.to_string()) && said.contains("in a block"), "{said}");
    until("bob has the first payment alone", || {
        let has = world.spendable("bob");
        require(has == "1.00000000", || has.clone())
    });
    let theirs = world.run("bob", &["send", &alice, "1", "--coins", &coin, "--yes"], "").failure();
    assert!(theirs.contains("not an address of this wallet"), "bob cannot sign for alice: {theirs}");
}

/// A node that was started with flags alone, without any `cairn.toml`.
fn node_of_flags(datadir: &Path, chain: &str) -> Process {
    let mut command = node_command(datadir);
    command.args(["--chain", chain, "--listen", "/ip4/127.0.0.1/tcp/0", "--rpc-listen", "127.0.0.1:0"]);
    let (out, log) = (datadir.with_extension("out"), datadir.with_extension("log"));
    let mut process = Process::start(format!("a node of {chain}"), command, &out, &log);
    until("the node answers whoever knows its data folder", || {
        assert!(process.status().is_none(), "{}", process.log());
        let asked = run(["rpc", "--datadir", word(datadir), "getblockcount"]);
        require(asked.status.success(), || asked.to_string())
    });
    process
}

#[test]
fn a_running_nodes_folder_tells_where_it_is_and_which_chain_it_runs() {
    let folder = tempdir().expect("a folder");
    let own = lab_chain(folder.path(), "own", |_| ());
    let new = |datadir: &Path, words: &[&str]| {
        let mut command = cairn();
        command.env("CAIRN_PASSPHRASE", "").args(["wallet", "new", "--json", "--datadir", word(datadir)]);
        command.args(words);
        run_with_input(command, "")
    };

    let datadir = folder.path().join("dev");
    let mut dev = node_of_flags(&datadir, "dev");
    let made = new(&datadir, &[]).json();
    assert_eq!(text(&made, "chain"), "dev", "the node's chain and not main");
    assert!(text(&made, "address").starts_with("dcrn1"), "{made}");
    run(["rpc", "--datadir", word(&datadir), "stop"]).success();
    assert!(dev.wait().success(), "{}", dev.log());
    assert!(!datadir.join(".rpc_url").exists(), "an orderly end leaves no address behind");
    let other = folder.path().join("other.json");
    let said = new(&datadir, &["--wallet", word(&other)]).failure();
    assert!(said.contains("--chain"), "nobody knows the chain of a node that does not run: {said}");

    let datadir = folder.path().join("own");
    let _own = node_of_flags(&datadir, word(&own.file));
    let said = new(&datadir, &["--wallet", word(&other)]).failure();
    assert!(said.contains("--chain FILE"), "{said}");
    assert!(!other.exists());
    let made = new(&datadir, &["--wallet", word(&other), "--chain", word(&own.file)]).json();
    assert_eq!(text(&made, "chain"), "own");

    let nowhere = folder.path().join("nowhere");
    let said = new(&datadir, &["--wallet", word(&nowhere.join("w.json")), "--chain", "dev"]).failure();
    assert!(said.contains("there is no folder") && !nowhere.exists(), "{said}");
}
