//! An operator starts, stops and misconfigures a single node, and a miner from outside hands it blocks good and bad.
//! It ends in good order when it is told to, and whatever is refused is refused with the reason.

use std::fs;

use chain::{
    amount::Amount,
    block::Block,
    hash::{BlockHash, MerkleRoot},
    height::Height,
    pow::CompactTarget,
    time::Time,
    transaction::{Coinbase, Output},
};
use node::config::{CONFIG_FILE, Settings};
use rpc::{
    auth::COOKIE_FILE,
    client::Client,
    error::code,
    types::{BlockTemplate, TemplateRequest},
};
use tempfile::{TempDir, tempdir};
use tests::{
    answers::await_in_mempools,
    chains::{LabChain, lab_chain},
    devnet::ORDERLY_END,
    full_node::{FullNode, configure, settings, spawn},
    keys::{Person, to_hex},
    mining::Draft,
    process::Signal,
    wait::until_deadline,
};

/// A node on an easy chain, in a folder of its own.
fn alone() -> (TempDir, LabChain, FullNode) {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "alone", |_| ());
    let node = FullNode::start(&folder.path().join("node"), &settings(&chain));
    (folder, chain, node)
}

/// Starts a node that cannot come up; what it says.
#[track_caller]
fn refused_start(folder: &TempDir, name: &str, settings: &Settings) -> String {
    let datadir = folder.path().join(name);
    configure(&datadir, settings);
    refused(&datadir)
}

#[track_caller]
fn refused(datadir: &std::path::Path) -> String {
    let mut process = spawn(datadir);
    let status = process.wait();
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {}", process.log());
    assert_eq!(process.output(), "", "nothing goes to standard output but an answer");
    assert!(!process.log().contains("panicked"), "{}", process.log());
    process.log()
}

#[test]
fn s07_a_second_process_on_a_folder_is_told_who_has_it() {
    let (_folder, _chain, first) = alone();
    let said = refused(first.datadir());
    assert!(said.contains(&format!("process {}", first.process.pid())), "{said}");
    assert!(said.contains("--datadir"), "it says what to do: {said}");
    first.rpc().uptime().expect("the first one goes on");
}

#[test]
fn s07_a_second_process_waits_for_one_that_is_ending() {
    let (_folder, _chain, mut first) = alone();
    let tip = first.rpc().getbestblockhash().expect("it answers");
    first.process.signal(Signal::TERM);
    let second = FullNode::start_again(first.datadir());
    assert!(first.process.wait().success());
    assert_eq!(second.rpc().getbestblockhash().expect("it answers"), tip);
}

#[test]
fn signals_stop_and_the_end_of_its_input_end_a_node_in_good_order() {
    let (_folder, _chain, node) = alone();
    let datadir = node.datadir().to_path_buf();
    let mut node = Some(node);
    type Tell = fn(&mut FullNode);
    let ways: [(&str, Tell); 4] = [
        ("SIGTERM", |node| node.process.signal(Signal::TERM)),
        ("SIGINT", |node| node.process.signal(Signal::INT)),
        ("stop", |node| assert_eq!(node.rpc().stop().expect("it answers"), "Cairn is stopping")),
        ("the end of its input", |node| node.process.close_input()),
    ];
    for (way, tell) in ways {
        let mut running = node.take().unwrap_or_else(|| FullNode::start_again(&datadir));
        assert!(datadir.join(COOKIE_FILE).exists());
        tell(&mut running);
        let status = until_deadline(format!("the node ends by {way}"), ORDERLY_END, || {
            running.process.status().ok_or_else(|| "it runs".into())
        });
        assert_eq!(status.code(), Some(0), "{way}: {}", running.process.log());
        assert!(!datadir.join(COOKIE_FILE).exists(), "{way}: the cookie is of no use any more");
    }
}

#[test]
fn s08_a_folder_of_another_chain_is_refused() {
    let (folder, _chain, node) = alone();
    let datadir = node.datadir().to_path_buf();
    node.stop();
    let other = lab_chain(folder.path(), "other", |_| ());
    configure(&datadir, &settings(&other));
    let said = refused(&datadir);
    assert!(said.contains("chain"), "{said}");
    assert!(said.contains(&other.chain.id().to_string()), "it names the chain: {said}");
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "alone", |_| ());
    let good = settings(&chain);

    let datadir = folder.path().join("typing");
    configure(&datadir, &good);
    let file = datadir.join(CONFIG_FILE);
    let text = fs::read_to_string(&file).expect("it is there");
    fs::write(&file, text + "trottle = 5\n").expect("written");
    let said = refused(&datadir);
    assert!(said.contains("trottle") && said.contains(CONFIG_FILE), "{said}");

    let public = Settings { rpc_listen: Some(([0, 0, 0, 0], 0).into()), ..good.clone() };
    let said = refused_start(&folder, "public", &public);
    assert!(said.contains("0.0.0.0") && said.contains("127.0.0.1"), "{said}");

    let nonsense = Settings { chain: Some("nonsense".into()), ..good.clone() };
    let said = refused_start(&folder, "nonsense", &nonsense);
    assert!(said.contains("nonsense") && said.contains("cairn chain new"), "{said}");

    let stranger =
        Settings { mine: Some(Person::new(&chain::genesis::Chain::main(), "bob").written()), ..good };
    let said = refused_start(&folder, "stranger", &stranger);
    assert!(said.contains("mining address"), "{said}");
}

fn template(node: &Client, to: &Person) -> BlockTemplate {
    let request = TemplateRequest { mode: None, address: Some(to.written()) };
    node.getblocktemplate(Some(request)).expect("a template")
}

fn submit(node: &Client, draft: &Draft) -> Option<String> {
    node.submitblock(draft.to_hex(), None).expect("a verdict")
}

#[test]
fn a_miner_from_outside_builds_the_chain() {
    let (_folder, chain, node) = alone();
    let (alice, bob) = (Person::new(&chain.chain, "alice"), Person::new(&chain.chain, "bob"));
    let coins = alice.fund(node.rpc(), 1);
    let payment = alice.pay(&coins[0], &bob, 5_000);
    node.rpc().sendrawtransaction(to_hex(&payment), None).expect("it is good");
    await_in_mempools(&[node.rpc().clone()], payment.txid());

    let described = template(node.rpc(), &bob);
    assert_eq!(described.transactions.len(), 1);
    assert_eq!(described.transactions[0].txid, payment.txid());
    assert_eq!(described.transactions[0].fee, 5_000);
    let block = Draft::new(&described).seal();
    assert_eq!(submit(node.rpc(), &block), None, "null accepts");
    assert_eq!(node.rpc().getbestblockhash().expect("it answers"), block.header.hash());
    assert_eq!(submit(node.rpc(), &block).as_deref(), Some("duplicate"));
    // Verbosity 0 gives the bytes that submitblock took.
    let kept =
        node.rpc().getblock(block.header.hash(), Some(rpc::methods::Verbosity(0))).expect("it is there");
    assert!(matches!(kept, rpc::types::OneOf::Short(hex) if hex == block.to_hex()));

    // A miner may leave out the transactions of a template that the node knows.
    let coins = bob.spendable(node.rpc()).expect("it answers");
    let payment = bob.pay(&coins[0], &alice, 5_000);
    node.rpc().sendrawtransaction(to_hex(&payment), None).expect("it is good");
    let whole = Draft::new(&template(node.rpc(), &bob)).seal();
    assert_eq!(whole.transactions.len(), 2);
    let bytes = [&whole.header.to_bytes()[..], &[2], &whole.transactions[0]].concat();
    let verdict = node.rpc().submitblock(const_hex::encode(bytes), None).expect("a verdict");
    assert_eq!(verdict, None);
    assert_eq!(node.rpc().getbestblockhash().expect("it answers"), whole.header.hash());
}

/// The draft with another coinbase.
fn with_coinbase(mut draft: Draft, change: impl FnOnce(&mut Coinbase)) -> Draft {
    let mut coinbase = Coinbase::from_bytes(&draft.transactions[0]).expect("a template's coinbase decodes");
    change(&mut coinbase);
    draft.transactions[0] = coinbase.to_bytes();
    draft
}

#[test]
fn invalid_blocks_are_refused_with_the_reason() {
    let (_folder, chain, node) = alone();
    let (alice, bob) = (Person::new(&chain.chain, "alice"), Person::new(&chain.chain, "bob"));
    let coins = alice.fund(node.rpc(), 2);
    let tip = node.rpc().getbestblockhash().expect("it answers");
    let good = Draft::new(&template(node.rpc(), &bob));
    let mint_time = template(node.rpc(), &bob).mintime;
    let with = |transactions: &[chain::transaction::Transaction]| {
        let mut draft = good.clone();
        draft.transactions.extend(transactions.iter().map(chain::transaction::Transaction::to_bytes));
        draft.seal()
    };
    let header = |change: &dyn Fn(&mut chain::block::Header)| {
        let mut draft = good.clone();
        draft.header.merkle_root = draft.merkle_root();
        change(&mut draft.header);
        draft.solve(true);
        draft
    };

    let mut without_work = good.clone();
    without_work.header.merkle_root = without_work.merkle_root();
    without_work.solve(false);
    let payment = alice.pay(&coins[0], &bob, 5_000);
    let again = alice.pay(&coins[0], &alice, 6_000);
    let stranger = bob.spend(&[coins[1].clone()], vec![Output::pay(bob.address(), Amount::from_pebbles(1))]);
    let more = Amount::from_pebbles(coins[1].1.amount.pebbles() + 1);
    let greedy = alice.spend(&[coins[1].clone()], vec![Output::pay(bob.address(), more)]);
    let mut forged = alice.pay(&coins[1], &bob, 5_000);
    forged.witnesses = alice.pay(&coins[1], &bob, 6_000).witnesses;

    let cases = [
        ("high-hash", without_work),
        ("bad-txnmrklroot", header(&|header| header.merkle_root = MerkleRoot::ZERO)),
        ("bad-diffbits", header(&|header| header.bits = CompactTarget::from_u32(0x207f_fffe))),
        ("time-too-old", header(&|header| header.time = Time::from_secs(mint_time.secs() - 1))),
        ("time-too-new", header(&|header| header.time = Time::from_secs(header.time.secs() + 8_000))),
        ("bad-cb-height", with_coinbase(good.clone(), |coinbase| coinbase.height = Height::new(77)).seal()),
        (
            "bad-cb-amount",
            with_coinbase(good.clone(), |coinbase| {
                let pebbles = coinbase.outputs[0].amount.pebbles();
                coinbase.outputs[0].amount = Amount::from_pebbles(pebbles + 1);
            })
            .seal(),
        ),
        ("bad-txns-inputs-missingorspent", with(&[payment.clone(), again])),
        ("bad-txns-in-belowout", with(&[greedy])),
        ("bad-witness-program", with(&[stranger])),
        ("bad-signature", with(&[forged])),
        ("bad-txns-vout-empty", with(&[alice.spend(&[coins[1].clone()], Vec::new())])),
        (
            "bad-txns-inputs-duplicate",
            with(&[alice.spend(&[coins[1].clone(), coins[1].clone()], payment.outputs.clone())]),
        ),
    ];
    for (reason, block) in &cases {
        assert_eq!(submit(node.rpc(), block).as_deref(), Some(*reason), "{reason}");
        assert_eq!(node.rpc().getbestblockhash().expect("it answers"), tip, "{reason}");
    }
    let orphan = header(&|header| header.previous = BlockHash::from_bytes([7; 32]));
    assert_eq!(submit(node.rpc(), &orphan).as_deref(), Some("inconclusive"));
    let garbage = node.rpc().submitblock("00".into(), None).expect_err("no block");
    assert_eq!(garbage.code(), Some(code::DESERIALIZATION), "{garbage}");
    let invalid = &cases[7].1;
    assert_eq!(
        submit(node.rpc(), invalid).as_deref(),
        Some("duplicate-invalid"),
        "once invalid, always invalid"
    );

    // None of it has harmed the node: a good block with one of those payments is the new tip.
    let block = with(&[payment]);
    let kept = Block::from_submission(&const_hex::decode(block.to_hex()).expect("hexadecimal"));
    assert_eq!(kept.expect("a block").hash(), block.header.hash());
    let fees = with_coinbase(block, |_| ()).seal();
    assert_eq!(submit(node.rpc(), &fees), None);
    assert_eq!(node.rpc().getbestblockhash().expect("it answers"), fees.header.hash());
}
