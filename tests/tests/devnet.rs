//! A newcomer starts a devnet, and alice pays bob, honestly and then dishonestly, while nodes die and come back.
//! Whatever happens to the supervisor, no process is left behind, and the same folder goes on with the same chain.

use std::{fs, sync::Barrier, thread};

use chain::{
    amount::{Amount, COIN},
    hash::TxId,
    height::Height,
};
use node::config::Settings;
use rpc::error::code;
use serde_json::Value;
use tempfile::tempdir;
use tests::{
    answers::{
        answer, await_agreement, await_connections, await_height, await_mined, block_of, mempool, tips,
        transaction,
    },
    devnet::{DEFAULT_SPACING_SECS, Devnet, read_file, spawn_supervisor},
    full_node::FullNode,
    keys::to_hex,
    process::Signal,
    signing::{sign, spendable_coins},
    wait::{require, until},
};

fn txid(answer: &Value) -> TxId {
    let text = answer["txid"].as_str().unwrap_or_else(|| panic!("no txid: {answer}"));
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Waits until a condition holds or a payment is mined; whether it held before.
fn before_it_is_mined(
    devnet: &Devnet,
    payment: TxId,
    mut holds: impl FnMut() -> Result<bool, String>,
) -> bool {
    until(format!("something happens to {payment}"), || {
        let mined = devnet.clients().iter().any(|node| block_of(node, payment).is_ok());
        match (holds()?, mined) {
            (true, false) => Ok(true),
            (_, true) => Ok(false),
            (false, false) => Err("nothing did".into()),
        }
    })
}

#[test]
fn alice_pays_bob_and_cannot_pay_the_same_coin_again() {
    let folder = tempdir().expect("a folder");
    let devnet = Devnet::start(&folder.path().join("devnet"), 4);
    let nodes = devnet.clients();
    assert_eq!(nodes.len(), 4);
    let names: Vec<_> = devnet.file().wallets.iter().map(|wallet| wallet.name.as_str()).collect();
    assert_eq!(names, ["alice", "bob", "carol", "dave"]);
    assert!(devnet.file().chain.is_absolute() && devnet.file().chain.is_file());
    for (node, entry) in nodes.iter().zip(&devnet.file().nodes) {
        await_connections(node, 3);
        assert!(entry.datadir.is_absolute() && entry.cookie_file.is_absolute(), "{entry:?}");
    }

    // A block may come between two questions. Then the payment is made again, until the questions were faster.
    let paid = until("a payment is seen in every mempool", || {
        let payment = txid(&devnet.pay("alice", 0, "bob", "1.5"));
        let everywhere = || {
            let pools = nodes.iter().map(mempool).collect::<Result<Vec<_>, _>>()?;
            Ok(pools.iter().all(|pool| pool.contains(&payment)))
        };
        if !before_it_is_mined(&devnet, payment, everywhere) {
            return Err("it was mined first".into());
        }
        let info = transaction(&nodes[1], payment)?;
        let coin = format!("{}:{}", info.vin[0].txid.expect("an input"), info.vin[0].vout.expect("an input"));
        let carol = devnet.wallet("carol").address.clone();
        let again =
            devnet.run_wallet("alice", 2, &["send", &carol, "1.25", "--coins", &coin, "--yes", "--json"]);
        let said = again.failure();
        require(said.contains("in the mempool"), || format!("it was mined first: {said}"))?;
        for words in ["already spent", &payment.to_string(), &coin] {
            assert!(said.contains(words), "{words:?} is missing: {said}");
        }
        Ok((payment, coin))
    });

    let (payment, coin) = paid;
    await_mined(&nodes, payment);
    let carol = devnet.wallet("carol").address.clone();
    let again = devnet.run_wallet("alice", 3, &["send", &carol, "1.25", "--coins", &coin, "--yes", "--json"]);
    let said = again.failure();
    for words in ["already spent", &payment.to_string(), &coin, "in a block"] {
        assert!(said.contains(words), "{words:?} is missing: {said}");
    }
    let bob = devnet.run_wallet("bob", 1, &["balance", "--json"]).json();
    assert!(bob.is_object(), "{bob}");
}

#[test]
fn of_two_conflicting_payments_exactly_one_is_mined() {
    let folder = tempdir().expect("a folder");
    let devnet = Devnet::start(&folder.path().join("devnet"), 4);
    let nodes = devnet.clients();
    nodes.iter().for_each(|node| await_connections(node, 3));
    let alice = devnet.wallet("alice").file.clone();
    let coin = until("alice has a coin", || {
        spendable_coins(&alice, &nodes[0]).into_iter().next().ok_or_else(|| "she has none".into())
    });
    let pay = |to: &str, coins: u64| {
        sign(&alice, &nodes[0], &coin, &devnet.wallet(to).address, Amount::from_pebbles(coins * COIN))
    };
    let rivals = [pay("bob", 2), pay("carol", 3)];
    let ids = rivals.each_ref().map(|rival| rival.txid());
    assert_ne!(ids[0], ids[1]);

    // Both go in at the same moment, at opposite ends of the devnet.
    let together = Barrier::new(2);
    let send = |node: usize, rival: usize| {
        together.wait();
        nodes[node].sendrawtransaction(to_hex(&rivals[rival]), None)
    };
    let sent = thread::scope(|scope| {
        let first = scope.spawn(|| send(0, 0));
        let second = send(3, 1);
        [first.join().expect("no panic"), second]
    });
    assert!(sent.iter().any(Result::is_ok), "nobody took either: {sent:?}");
    for refusal in sent.iter().filter_map(|sent| sent.as_ref().err()) {
        assert!(refusal.to_string().contains("already spent"), "{refusal}");
    }

    let winner = until("one of them is mined", || {
        let mined = ids.iter().copied().find(|id| block_of(&nodes[1], *id).is_ok());
        mined.ok_or_else(|| "neither is".into())
    });
    await_mined(&nodes, winner);
    let loser = if winner == ids[0] { ids[1] } else { ids[0] };
    for node in &nodes {
        until("the loser is gone", || match node.getrawtransaction(loser, None, None) {
            Err(error) if error.code() == Some(code::INVALID_ADDRESS_OR_KEY) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let raw = to_hex(if winner == ids[0] { &rivals[1] } else { &rivals[0] });
        let refusal = node.sendrawtransaction(raw, None).expect_err("its coin is spent");
        assert_eq!(refusal.code(), Some(code::VERIFY), "{refusal}");
        assert!(refusal.to_string().contains(&winner.to_string()), "{refusal}");
    }
}

#[test]
fn a_dead_node_is_shown_and_the_supervisors_death_ends_the_rest() {
    let folder = tempdir().expect("a folder");
    let mut devnet = Devnet::start_fast(&folder.path().join("devnet"), 3);
    let nodes = devnet.clients();
    let victim = devnet.file().nodes[1].clone();
    let shown_before = devnet.supervisor.output() + &devnet.supervisor.log();
    assert!(!shown_before.contains("dead"), "{shown_before}");

    tests::process::signal_process(victim.pid, Signal::KILL);
    let supervisor = &devnet.supervisor;
    until("the dead node is shown", || {
        let shown = supervisor.output() + &supervisor.log();
        let line = shown.lines().find(|line| line.contains(&victim.name) && line.contains("dead"));
        line.map(drop).ok_or_else(|| format!("it is not in: {shown}"))
    });

    // The others go on without it, also when nobody can type any more.
    devnet.supervisor.close_input();
    let height = nodes[0].getblockcount().expect("it answers").get();
    await_height(&nodes[0], height + 2);
    await_height(&nodes[2], height + 2);
    assert!(!victim.is_running(), "nobody starts a dead node again");
    assert!(nodes[1].uptime().is_err(), "nobody starts a dead node again");

    // By hand it comes back, with its old addresses, and catches up.
    let by_hand = FullNode::start_again(&victim.datadir);
    assert_eq!(by_hand.rpc().url(), victim.rpc_url);
    let all = [nodes[0].clone(), by_hand.rpc().clone(), nodes[2].clone()];
    await_agreement(&all);
    drop(by_hand);

    let shown = devnet.supervisor.output() + &devnet.supervisor.log();
    assert!(!shown.contains('\u{1b}'), "plain lines where there is no terminal: {shown:?}");
    devnet.supervisor.kill();
    devnet.await_end_of_nodes();
}

#[test]
fn an_interrupt_ends_all_and_the_folder_goes_on_with_the_same_chain() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("devnet");
    fs::create_dir_all(&path).expect("a folder");
    fs::write(path.join("notes.txt"), "mine").expect("a file of somebody else's");
    let mut devnet = Devnet::start(&path, 2);
    let before = devnet.file().clone();
    let payment = txid(&devnet.pay("alice", 0, "bob", "0.25"));
    await_in_mempools_or_mined(&devnet, payment);
    await_mined(&devnet.clients(), payment);
    let tip = await_agreement(&devnet.clients());

    // Whoever has the chain file joins by the address that the devnet announces.
    let joining = Settings {
        chain: Some(before.chain.display().to_string()),
        listen: Some(vec!["/ip4/127.0.0.1/tcp/0".into()]),
        rpc_listen: Some(([127, 0, 0, 1], 0).into()),
        bootstrap: Some(vec![before.nodes[1].p2p_address.clone()]),
        ..Settings::default()
    };
    let stranger = FullNode::start(&folder.path().join("stranger"), &joining);
    await_mined(&[stranger.rpc().clone()], payment);
    stranger.stop();

    devnet.interrupt();
    for node in devnet.clients() {
        assert!(node.uptime().is_err(), "{} still answers", node.url());
    }

    // What lies there from another time must not be taken for the devnet that starts.
    let stale = serde_json::json!({"chain": "/stale", "nodes": [], "wallets": [], "ready": true});
    fs::write(path.join("devnet.json"), stale.to_string()).expect("a stale file");
    let supervisor = spawn_supervisor(&path, 2, DEFAULT_SPACING_SECS);
    until("the stale file is gone", || {
        require(!path.join("devnet.json").exists(), || "it is still there".into())
    });
    let devnet = Devnet::when_ready(supervisor, &path);
    for (old, new) in before.nodes.iter().zip(&devnet.file().nodes) {
        assert_eq!((&old.name, &old.rpc_url, &old.p2p_address), (&new.name, &new.rpc_url, &new.p2p_address));
    }
    for (old, new) in before.wallets.iter().zip(&devnet.file().wallets) {
        assert_eq!((&old.file, &old.address), (&new.file, &new.address));
    }
    for node in devnet.clients() {
        let info = node.getblockheader(tip, None).expect("the old tip is known");
        assert!(
            matches!(info, rpc::types::OneOf::Long(header) if header.confirmations > 0),
            "{tip} is active"
        );
        let height = node.getblockcount().expect("it answers");
        await_height(&node, height.get() + 1);
        assert_eq!(tips(&node).iter().filter(|tip| tip.status == "active").count(), 1);
    }
    assert_eq!(fs::read_to_string(path.join("notes.txt")).expect("it is there"), "mine");
    assert!(read_file(&path).expect("it is there").ready);
}

/// Waits until every node knows a payment, wherever it is.
fn await_in_mempools_or_mined(devnet: &Devnet, payment: TxId) {
    for node in devnet.clients() {
        until(format!("{} knows {payment}", node.url()), || transaction(&node, payment));
    }
}

#[test]
fn halves_that_were_stopped_in_turn_agree_when_all_go_on() {
    let folder = tempdir().expect("a folder");
    let devnet = Devnet::start_fast(&folder.path().join("devnet"), 4);
    let nodes = devnet.clients();
    nodes.iter().for_each(|node| await_connections(node, 3));
    let signal = |half: &[usize], signal: Signal| {
        half.iter().for_each(|node| tests::process::signal_process(devnet.file().nodes[*node].pid, signal));
    };
    // While one half stands still, the other mines.
    for (still, mining) in [([0, 1], [2, 3]), ([2, 3], [0, 1])] {
        let start = nodes[mining[0]].getblockcount().expect("it answers").get();
        signal(&still, Signal::STOP);
        await_height(&nodes[mining[0]], start + 3);
        signal(&still, Signal::CONT);
    }
    await_agreement(&nodes);
    let payment = txid(&devnet.pay("alice", 0, "dave", "0.5"));
    await_in_mempools_or_mined(&devnet, payment);
    await_mined(&nodes, payment);
    let genesis = answer(nodes[0].getblockhash(Height::ZERO)).expect("it answers");
    for node in &nodes {
        assert_eq!(node.getblockhash(Height::ZERO).expect("it answers"), genesis);
    }
}
