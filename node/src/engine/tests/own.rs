//! What this node's users sent, over restarts: offered and announced again until it is mined, and let go then.

use chain::{
    amount::Amount,
    hash::TxId,
    ledger::Ledger,
    transaction::{OutPoint, Output, Transaction},
};

use super::{
    hand::{STRANGER, fund, gossip, meet, output, pay, published, tick},
    network::{Network, address, key, spend},
};
use crate::engine::{
    Engine,
    mempool::{Mempool, file},
};

/// The files that a node leaves behind: what waits, and what its users sent.
type Files = (Vec<u8>, Vec<u8>);

fn saved(network: &Network) -> Files {
    let engine = &network.engines[0];
    (engine.mempool().to_bytes(&network.chain.id()), engine.own_to_bytes())
}

/// Starts the node again, on its blocks and these files. Its clock that never goes back begins anew.
fn restart(network: &mut Network, (waiting, own): &Files) {
    let store = network.engines[0].ledger().store().clone();
    let ledger = Ledger::open(network.chain.clone(), store).expect("our own store");
    network.now.monotonic_ms = 0;
    let now = network.now;
    network.engines[0] = Engine::new(ledger, "/test:0/".into());
    let engine = &mut network.engines[0];
    engine.restore_own(own, now).expect("our own file");
    engine.set_restoring(true);
    // What users sent may stand on what is not back yet.
    assert!(published(&tick(network, 0, 1)).is_empty(), "nothing is offered before the mempool is back");
    let waiting = file::from_bytes(waiting, &network.chain.id()).expect("our own file");
    let now = network.now;
    let engine = &mut network.engines[0];
    engine.restore_mempool(waiting, now).expect("memory does not fail");
    engine.set_restoring(false);
}

fn looks_after(network: &Network, txid: &TxId) -> bool {
    network.engines[0].relay.looks_after(txid)
}

/// An hour passes in which the engine hears nothing; then it is told the time.
fn pass_hour(network: &mut Network) {
    network.now.monotonic_ms += 3_600_000;
    tick(network, 0, 1);
}

/// Has a user's payment of one coin and 1,000 pebbles of fee replaced by one that spends a stranger's coin too, and that
/// by one of the stranger's coin alone, which is what stays.
fn cycle_out(network: &mut Network, ours: &Transaction, strangers: (OutPoint, Amount)) -> TxId {
    let coin = (ours.inputs[0], Amount::from_pebbles(ours.outputs[0].amount.pebbles() + 1_000));
    let left = Amount::from_pebbles(coin.1.pebbles() + strangers.1.pebbles() - 5_000);
    let outputs = vec![Output::pay(address(&key(1)), left)];
    let both = spend(&network.chain, &key(1), &[coin, strangers], outputs);
    gossip(network, 0, STRANGER, 1, &both);
    assert!(!network.has(0, &ours.txid()));
    let alone = pay(network, strangers, 20_000);
    gossip(network, 0, STRANGER, 2, &alone);
    assert!(!network.has(0, &both.txid()) && network.has(0, &alone.txid()));
    alone.txid()
}

#[test]
fn m03_what_users_sent_is_announced_over_a_restart_until_it_is_mined() {
    let mut network = Network::new(1);
    let coins = fund(&mut network, 3);
    meet(&mut network, 0, STRANGER);
    let waits = network.send(0, pay(&network, coins[0], 1_000)).expect("valid");
    let ours = pay(&network, coins[1], 1_000);
    let lost = network.send(0, ours.clone()).expect("valid");
    let strangers = cycle_out(&mut network, &ours, coins[2]);
    let files = saved(&network);
    restart(&mut network, &files);
    assert!(network.has(0, &waits) && network.has(0, &strangers) && !network.has(0, &lost));
    // At once: what waits and what was lost, and nobody else's.
    assert_eq!(published(&tick(&mut network, 0, 1)), [waits, lost]);
    assert!(network.has(0, &lost));
    // Again when gossip has forgotten it, beside the mempool's own announcements of whatever waits.
    let announced = published(&tick(&mut network, 0, 66));
    let count = |txid: TxId| announced.iter().filter(|id| **id == txid).count();
    assert_eq!((count(waits), count(lost), count(strangers)), (2, 2, 1));
    network.mine(0, &key(3));
    assert!(!looks_after(&network, &waits) && !looks_after(&network, &lost));
    let files = saved(&network);
    restart(&mut network, &files);
    assert!(!looks_after(&network, &waits) && !looks_after(&network, &lost));
    assert!(published(&tick(&mut network, 0, 500)).is_empty());
}

#[test]
fn m03_what_users_sent_is_offered_again_where_no_mempool_was_saved() {
    let mut network = Network::new(1);
    let coin = fund(&mut network, 1)[0];
    let parent = pay(&network, coin, 1_000);
    let child = pay(&network, output(&parent), 1_000);
    let ids = [parent, child].map(|sent| network.send(0, sent).expect("valid"));
    let (_, own) = saved(&network);
    let nothing = Mempool::new(1_000).to_bytes(&network.chain.id());
    restart(&mut network, &(nothing, own));
    assert_eq!(published(&tick(&mut network, 0, 1)), ids);
    assert!(ids.iter().all(|txid| network.has(0, txid)));
}

#[test]
fn m03_what_was_mined_after_the_files_were_written_is_let_go() {
    let mut network = Network::new(1);
    let coin = fund(&mut network, 1)[0];
    let txid = network.send(0, pay(&network, coin, 1_000)).expect("valid");
    let files = saved(&network);
    network.mine(0, &key(3));
    restart(&mut network, &files);
    assert!(looks_after(&network, &txid));
    assert!(published(&tick(&mut network, 0, 1)).is_empty());
    assert!(!looks_after(&network, &txid));
}

#[test]
fn m03_what_can_be_mined_no_more_is_given_up_after_two_weeks_whatever_restarts() {
    let mut network = Network::new(1);
    let coin = fund(&mut network, 1)[0];
    let payment = pay(&network, coin, 1_000);
    let txid = network.send(0, payment.clone()).expect("valid");
    let files = saved(&network);
    // Mined, and what it paid is spent again: nothing on the chain tells of it any more.
    network.send(0, pay(&network, output(&payment), 1_000)).expect("valid");
    network.mine(0, &key(3));
    restart(&mut network, &files);
    for hour in 1..336 {
        pass_hour(&mut network);
        assert!(looks_after(&network, &txid), "hour {hour}");
        if hour % 100 == 0 {
            let files = saved(&network);
            restart(&mut network, &files);
        }
    }
    pass_hour(&mut network);
    assert!(!looks_after(&network, &txid));
}

#[test]
fn m03_what_only_others_keep_out_is_never_given_up() {
    let mut network = Network::new(1);
    let coin = fund(&mut network, 1)[0];
    meet(&mut network, 0, STRANGER);
    let txid = network.send(0, pay(&network, coin, 1_000)).expect("valid");
    let better = pay(&network, coin, 50_000);
    gossip(&mut network, 0, STRANGER, 1, &better);
    for _ in 0..400 {
        pass_hour(&mut network);
    }
    assert!(network.has(0, &better.txid()) && !network.has(0, &txid));
    assert!(looks_after(&network, &txid));
}
