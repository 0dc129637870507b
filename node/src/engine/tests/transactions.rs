//! Transactions on their way: judged, kept until their parents come, and announced again.

use std::sync::Arc;

use chain::{
    amount::Amount,
    hash::{BlockHash, TxId, sha256},
    policy::{PublicKey, Witness},
    transaction::{OutPoint, Output, Transaction},
};

use super::{
    hand::{
        FRIEND, STRANGER, answer, family, fund, gossip, meet, output, parents_asked, pay, published, push,
        tell, tick, verdicts,
    },
    network::{Network, address, key, spend},
};
use crate::{
    engine::Action,
    p2p::{
        FromNet, Gossip, ToNet,
        wire::{MAX_ASKED_TRANSACTIONS, MissingRequest, Request, Response, Verdict},
    },
};

#[test]
fn a_child_that_comes_first_waits_for_its_parent_and_is_passed_on_with_it() {
    let mut network = Network::new(1);
    let coin = fund(&mut network, 1)[0];
    let (parent, child) = family(&network, coin);
    meet(&mut network, 0, STRANGER);
    let actions = gossip(&mut network, 0, STRANGER, 1, &child);
    assert_eq!(verdicts(&actions), [], "the verdict is not known yet");
    let (to, id, ids) = parents_asked(&actions).pop().expect("its parent is asked for");
    assert_eq!((to, ids), (STRANGER, vec![parent.txid()]));
    let given = Response::Transactions(vec![Arc::new(parent.clone())]);
    let actions = answer(&mut network, 0, STRANGER, id, given);
    // The parent was asked for and is announced; the child was gossiped and goes on.
    assert_eq!(published(&actions), [parent.txid()]);
    assert_eq!(verdicts(&actions), [(1, Verdict::Accept)]);
    assert!(network.has(0, &parent.txid()) && network.has(0, &child.txid()));
    assert_eq!(network.engines[0].relay.waiting_counts(), (0, 0, 0));
    // And whoever asks us for them is given them, in the order asked; what nobody knows is left out.
    let ids = vec![child.txid(), TxId::from_bytes([1; 32]), parent.txid()];
    let actions = push(&mut network, 0, STRANGER, Request::Transactions(ids));
    let given = Response::Transactions(vec![Arc::new(child), Arc::new(parent)]);
    assert!(actions.iter().any(|action| {
        matches!(action, Action::Net(ToNet::Reply { response, .. }) if *response == given)
    }));
}

#[test]
fn p05_who_keeps_a_parent_to_itself_does_not_keep_it_from_us() {
    let mut network = Network::new(1);
    let coin = fund(&mut network, 1)[0];
    let (parent, child) = family(&network, coin);
    for number in [STRANGER, FRIEND] {
        meet(&mut network, 0, number);
    }
    let asks = parents_asked(&gossip(&mut network, 0, STRANGER, 0, &child));
    assert_eq!(asks.iter().map(|(peer, ..)| *peer).collect::<Vec<_>>(), [STRANGER]);
    // It stays silent, and names 50,000 other transactions that nobody has.
    let mut told = 0;
    for number in 0..50_000u32 {
        let unknown =
            (OutPoint { txid: TxId::from_bytes([5; 32]), index: number }, Amount::from_pebbles(9_000));
        let transaction = Box::new(unsigned(unknown, number));
        let message =
            FromNet::Transaction { peer: STRANGER, gossip: Gossip(u64::from(number) + 1), transaction };
        told += verdicts(&tell(&mut network, 0, message)).len();
    }
    assert!(told >= 49_900, "all but those that wait have their verdict: {told}");
    let (orphans, bytes, parents) = network.engines[0].relay.waiting_counts();
    assert!(orphans <= 100 && bytes <= 1 << 20 && parents <= 101, "{orphans} {bytes} {parents}");
    // The child of the honest payment made room itself, being the stranger's; the friend's does not.
    let actions = gossip(&mut network, 0, FRIEND, 60_000, &child);
    let (to, id, _) = parents_asked(&actions).pop().expect("asked of the friend");
    assert_eq!(to, FRIEND);
    answer(&mut network, 0, FRIEND, id, Response::Transactions(vec![Arc::new(parent)]));
    assert!(network.has(0, &child.txid()));
}

#[test]
fn p05_a_silent_peer_is_followed_by_the_next_one() {
    let mut network = Network::new(1);
    let coin = fund(&mut network, 1)[0];
    let (parent, child) = family(&network, coin);
    for number in [STRANGER, FRIEND] {
        meet(&mut network, 0, number);
    }
    gossip(&mut network, 0, STRANGER, 0, &child);
    let asks = parents_asked(&tick(&mut network, 0, 3));
    let (to, id, ids) = asks.first().cloned().expect("somebody else is asked");
    assert_eq!((to, &ids[..]), (FRIEND, &[parent.txid()][..]));
    answer(&mut network, 0, FRIEND, id, Response::Transactions(vec![Arc::new(parent)]));
    assert!(network.has(0, &child.txid()));
}

/// A transaction that spends what is not there, and is signed by nobody.
fn unsigned(coin: (OutPoint, Amount), salt: u32) -> Transaction {
    let outputs = vec![Output::pay(address(&key(1)), Amount::from_pebbles(1_000 + u64::from(salt)))];
    let public = PublicKey([2; 32]);
    let witnesses = vec![Witness::signed(public, [3; 64])];
    Transaction { inputs: vec![coin.0], outputs, witnesses }
}

#[test]
fn p02_ids_that_nobody_knows_cost_one_answer_each_and_leave_nothing() {
    let mut network = Network::new(1);
    meet(&mut network, 0, STRANGER);
    let unknown: Vec<TxId> =
        (0..50_000u32).map(|number| TxId::from_bytes(sha256(&number.to_le_bytes()))).collect();
    for ids in unknown.chunks(MAX_ASKED_TRANSACTIONS) {
        let actions = push(&mut network, 0, STRANGER, Request::Transactions(ids.to_vec()));
        let nothing = Response::Transactions(Vec::new());
        assert!(
            matches!(&actions[..], [Action::Net(ToNet::Reply { response, .. })] if *response == nothing),
            "{actions:?}"
        );
    }
    assert_eq!(network.engines[0].relay.waiting_counts(), (0, 0, 0));
    // The same for transactions of a block that nobody knows, or of places that it does not have.
    let tip = network.tip(0);
    for (hash, indexes) in [(BlockHash::ZERO, vec![0]), (tip, vec![7]), (tip, Vec::new())] {
        let request = Request::Missing(MissingRequest { hash, indexes });
        let actions = push(&mut network, 0, STRANGER, request);
        let nothing = Response::Missing(Vec::new());
        assert!(matches!(&actions[..], [Action::Net(ToNet::Reply { response, .. })] if *response == nothing));
    }
}

#[test]
fn p04_costly_orphans_are_judged_a_part_at_a_time() {
    let mut network = Network::new(1);
    let coin = fund(&mut network, 1)[0];
    meet(&mut network, 0, STRANGER);
    // One parent with many outputs, and a hundred children that each spend many of them with bad signatures.
    let share = Amount::from_pebbles(coin.1.pebbles() / 1_000);
    let outputs = vec![Output::pay(address(&key(1)), share); 900];
    let parent = spend(&network.chain, &key(1), &[coin], outputs);
    let txid = parent.txid();
    let children: Vec<Transaction> = (0..100u32)
        .map(|child| {
            let coins: Vec<_> =
                (0..50).map(|at| (OutPoint { txid, index: (child * 9 + at) % 900 }, share)).collect();
            let outputs = vec![Output::pay(address(&key(1)), Amount::from_pebbles(1_000))];
            let mut child = spend(&network.chain, &key(1), &coins, outputs);
            child.outputs[0].amount = Amount::from_pebbles(2_000);
            child
        })
        .collect();
    for (token, child) in (1..).zip(&children) {
        gossip(&mut network, 0, STRANGER, token, child);
    }
    let waiting = network.engines[0].relay.waiting_counts().0;
    assert!(waiting > 20, "{waiting} of a hundred wait");
    // The parent comes: one turn judges a few of them, the others wait for their own turns.
    let actions = gossip(&mut network, 0, FRIEND, 1_000, &parent);
    let judged = verdicts(&actions).len() - 1;
    assert!((1..=20).contains(&judged), "{judged} in one turn");
    let mut turns = 0;
    while network.engines[0].relay.waiting_counts().0 > 0 {
        let rejected = verdicts(&tick(&mut network, 0, 1)).len();
        assert!(rejected <= 40, "{rejected} in one turn");
        turns += 1;
        assert!(turns < 200, "they come to an end");
    }
    assert_eq!(network.engines[0].mempool().len(), 1);
}

#[test]
fn p20_an_altered_transaction_first_and_the_honest_one_after_is_taken() {
    let mut network = Network::new(1);
    let coin = fund(&mut network, 1)[0];
    let honest = pay(&network, coin, 1_000);
    let mut forged = honest.clone();
    forged.witnesses[0] = Witness::signed(PublicKey(key(1).verifying_key().to_bytes()), [7; 64]);
    assert_eq!(forged.txid(), honest.txid());
    meet(&mut network, 0, STRANGER);
    assert_eq!(verdicts(&gossip(&mut network, 0, STRANGER, 1, &forged)), [(1, Verdict::Reject)]);
    // Not even from whoever forged it, and not as an orphan either.
    assert_eq!(verdicts(&gossip(&mut network, 0, FRIEND, 2, &honest)), [(2, Verdict::Accept)]);
    assert!(network.has(0, &honest.txid()));
    let child = pay(&network, output(&honest), 1_000);
    assert_eq!(verdicts(&gossip(&mut network, 0, FRIEND, 3, &child)), [(3, Verdict::Accept)]);
}

#[test]
fn p12_every_gossiped_transaction_gets_one_verdict_and_it_is_the_right_one() {
    let mut network = Network::new(1);
    let coins = fund(&mut network, 3);
    meet(&mut network, 0, STRANGER);
    let good = pay(&network, coins[0], 1_000);
    let cheap = pay(&network, coins[1], 0);
    let theft = spend(&network.chain, &key(2), &[coins[2]], vec![Output::pay(address(&key(2)), coins[2].1)]);
    let mut twice = good.clone();
    twice.inputs.push(twice.inputs[0]);
    twice.witnesses.push(twice.witnesses[0].clone());
    let orphan = unsigned((OutPoint { txid: TxId::from_bytes([8; 32]), index: 0 }, Amount::ZERO), 0);
    let cases = [
        (good.clone(), Verdict::Accept),
        (good, Verdict::Ignore),
        (cheap, Verdict::Ignore),
        (theft, Verdict::Reject),
        (twice, Verdict::Reject),
    ];
    for (token, (transaction, verdict)) in (1..).zip(cases) {
        let actions = gossip(&mut network, 0, STRANGER, token, &transaction);
        assert_eq!(verdicts(&actions), [(token, verdict)]);
    }
    // What may become valid is not judged at once, but before gossip forgets it.
    assert_eq!(verdicts(&gossip(&mut network, 0, STRANGER, 9, &orphan)), []);
    assert_eq!(verdicts(&tick(&mut network, 0, 9)), [(9, Verdict::Ignore)]);
    assert_eq!(verdicts(&tick(&mut network, 0, 200)), [], "once");
    assert_eq!(network.engines[0].relay.waiting_counts(), (0, 0, 0), "and it is forgotten");
}

#[test]
fn m03_a_payment_that_was_cycled_out_is_offered_and_announced_again() {
    let mut network = Network::new(1);
    let coins = fund(&mut network, 2);
    meet(&mut network, 0, STRANGER);
    // A's payment; then one that spends A's and B's coins and pays more; then one of B's coin alone.
    let ours = pay(&network, coins[0], 1_000);
    let txid = network.send(0, ours).expect("valid");
    let both = {
        let left = Amount::from_pebbles(coins[0].1.pebbles() + coins[1].1.pebbles() - 5_000);
        let outputs = vec![Output::pay(address(&key(1)), left)];
        spend(&network.chain, &key(1), &[coins[0], coins[1]], outputs)
    };
    gossip(&mut network, 0, STRANGER, 1, &both);
    assert!(!network.has(0, &txid));
    let alone = pay(&network, coins[1], 20_000);
    gossip(&mut network, 0, STRANGER, 2, &alone);
    assert!(!network.has(0, &both.txid()) && !network.has(0, &txid));
    // Nobody else speaks of A's payment any more: its node does.
    let actions = tick(&mut network, 0, 66);
    assert!(network.has(0, &txid));
    assert!(published(&actions).contains(&txid));
    // Ever more rarely, and no more once it is mined.
    let announced = |actions: &[Action]| published(actions).iter().filter(|id| **id == txid).count();
    assert!(announced(&tick(&mut network, 0, 500)) >= 2);
    network.mine(0, &key(3));
    assert!(!network.engines[0].relay.looks_after(&txid));
    assert_eq!(announced(&tick(&mut network, 0, 500)), 0);
}

#[test]
fn m03_a_payment_whose_coin_was_spent_by_another_that_was_mined_is_let_go() {
    let mut network = Network::new(2);
    let coin = fund(&mut network, 1)[0];
    network.connect(0, 1);
    network.cut(0, 1);
    let (left, right) = (pay(&network, coin, 1_000), pay(&network, coin, 2_000));
    let txid = network.send(0, left).expect("valid");
    network.send(1, right).expect("valid");
    network.mine(1, &key(3));
    assert!(network.engines[0].relay.looks_after(&txid));
    network.connect(0, 1);
    assert_eq!(network.tip(0), network.tip(1));
    assert!(!network.engines[0].relay.looks_after(&txid));
}
