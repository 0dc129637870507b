//! The mempool in the engine: every conflict is named, what is bumped is bumped everywhere, and a
//! reorganisation loses nothing that is still valid.

use chain::{
    amount::{Amount, COIN},
    check::CheckedBlock,
    transaction::{OutPoint, Output, Transaction},
};
use proptest::prelude::*;

use super::network::{Network, address, key, reward, spend};
use crate::engine::mempool::Departure;

/// A network of one node, with `count` mature coins of `key(1)`.
fn funded(count: usize) -> (Network, Vec<(OutPoint, Amount)>) {
    let mut network = Network::new(1);
    let coins = (0..count).map(|_| reward(&network.mine(0, &key(1)))).collect();
    network.mine(0, &key(9));
    (network, coins)
}

fn pay_all(network: &Network, coin: (OutPoint, Amount), fee: u64) -> Transaction {
    let left = Amount::from_pebbles(coin.1.pebbles() - fee);
    spend(&network.chain, &key(1), &[coin], vec![Output::pay(address(&key(1)), left)])
}

#[test]
fn a_conflict_that_pays_no_better_is_refused_with_the_name_of_the_first() {
    let (mut network, coins) = funded(1);
    let first = pay_all(&network, coins[0], 1_000);
    let second = pay_all(&network, coins[0], 1_001);
    let txid = network.send(0, first.clone()).expect("valid");
    let refusal = network.send(0, second).expect_err("the coin is taken");
    assert!(refusal.contains(&txid.to_string()) && refusal.contains("only once"), "{refusal}");
    let again = network.send(0, first).expect_err("already there");
    assert!(again.contains("already"), "{again}");
    let block = network.mine(0, &key(2));
    assert_eq!(block.transactions.len(), 1);
    assert!(network.engines[0].mempool().is_empty());
}

#[test]
fn every_payment_that_is_connected_is_counted_however_its_block_came() {
    let mut network = Network::meshed(2);
    let block = network.mine(0, &key(1));
    network.mine(0, &key(9));
    let payment = pay_all(&network, reward(&block), 1_000);
    network.send(0, payment.clone()).expect("valid");
    assert!(network.has(1, &payment.txid()));
    network.mine(0, &key(9));
    let counted = |network: &Network, node: usize| network.engines[node].sync_progress().payments;
    assert_eq!((counted(&network, 0), counted(&network, 1)), (1, 1), "mined here, and known to the other");
    let tip = network.engines[0].ledger().tip().id.hash;
    let now = network.now;
    network.engines[0].invalidate_block(&tip, now).expect("it is above the genesis block");
    network.engines[0].reconsider_block(&tip, now).expect("it is known");
    assert_eq!(counted(&network, 0), 2, "connected once more, by order");
}

#[test]
fn m04_a_bumped_payment_takes_the_place_of_the_first_everywhere() {
    let mut network = Network::meshed(3);
    let block = network.mine(0, &key(1));
    network.mine(0, &key(9));
    let first = pay_all(&network, reward(&block), 1_000);
    let second = pay_all(&network, reward(&block), 50_000);
    network.send(0, first.clone()).expect("valid");
    network.send(1, second.clone()).expect("it pays more");
    for (node, engine) in network.engines.iter().enumerate() {
        assert!(network.has(node, &second.txid()) && !network.has(node, &first.txid()));
        let departed = engine.mempool().departed(&first.txid()).expect("remembered");
        assert_eq!(departed.why, Departure::Replaced { by: second.txid() });
    }
}

#[test]
fn a_fee_below_the_floor_is_refused_with_what_is_needed() {
    let (mut network, coins) = funded(1);
    let size = u64::from(u32::try_from(pay_all(&network, coins[0], 1).to_bytes().len()).expect("small"));
    let refusal = network.send(0, pay_all(&network, coins[0], size - 1)).expect_err("too little");
    assert!(refusal.contains(&Amount::from_pebbles(size).to_string()), "{refusal}");
    network.send(0, pay_all(&network, coins[0], size)).expect("just enough");
}

#[test]
fn c17_a_reorganisation_drops_what_spends_an_undone_coinbase() {
    let mut network = Network::new(2);
    let block = network.mine(0, &key(1));
    network.mine(0, &key(1));
    let transaction = pay_all(&network, reward(&block), 1_000);
    network.send(0, transaction.clone()).expect("mature");
    for _ in 0..3 {
        network.mine(1, &key(2));
    }
    network.connect(0, 1);
    assert_eq!(network.tip(0), network.tip(1));
    assert!(network.engines[0].mempool().is_empty(), "its coin never existed on this chain");
}

#[test]
fn m07_what_stands_on_a_loser_goes_with_it() {
    let mut network = Network::new(2);
    let block = network.mine(0, &key(1));
    network.mine(0, &key(9));
    network.connect(0, 1);
    network.cut(0, 1);
    let loser = pay_all(&network, reward(&block), 1_000);
    let coin = (OutPoint { txid: loser.txid(), index: 0 }, loser.outputs[0].amount);
    let child = pay_all(&network, coin, 1_000);
    network.send(0, loser).expect("valid");
    network.send(0, child).expect("valid");
    let winner = pay_all(&network, reward(&block), 2_000);
    network.send(1, winner).expect("valid on the other side");
    network.mine(1, &key(9));
    network.connect(0, 1);
    assert_eq!(network.tip(0), network.tip(1));
    assert!(network.engines[0].mempool().is_empty(), "neither the loser nor its child can ever be mined");
    assert_eq!(network.engines[0].mempool().bytes(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// C25 and M07: whatever was sent, parents come before children, no coin is spent twice, and the block
    /// made of it is valid and empties the mempool; after undoing it by a longer branch all is back.
    #[test]
    fn c25_what_waits_makes_a_valid_block_and_returns_after_a_reorganisation(
        steps in prop::collection::vec((any::<prop::sample::Index>(), 1_000u64..100_000, 1usize..3), 1..30)
    ) {
        let mut network = Network::new(2);
        let mut coins: Vec<_> = (0..4).map(|_| reward(&network.mine(0, &key(1)))).collect();
        network.mine(0, &key(9));
        network.connect(0, 1);
        network.cut(0, 1);
        let mut sent = 0;
        for (pick, fee, ways) in steps {
            let coin = coins.swap_remove(pick.index(coins.len()));
            let share = (coin.1.pebbles() - fee) / ways as u64;
            let outputs: Vec<Output> =
                (0..ways).map(|_| Output::pay(address(&key(1)), Amount::from_pebbles(share))).collect();
            let transaction = spend(&network.chain, &key(1), &[coin], outputs.clone());
            let txid = transaction.txid();
            match network.send(0, transaction) {
                Ok(_) => {
                    sent += 1;
                    let made = (0..).zip(&outputs).map(|(index, output)| (OutPoint { txid, index }, output.amount));
                    coins.extend(made);
                }
                Err(refusal) => {
                    prop_assert!(refusal.contains("wait for a block"), "{}", refusal);
                    coins.push(coin);
                }
            }
        }
        prop_assert!(coins.iter().all(|(_, amount)| amount.pebbles() > COIN / 1_000));
        prop_assert_eq!(network.engines[0].mempool().len(), sent);
        let block = network.mined(0, &key(3));
        prop_assert_eq!(block.transactions.len(), sent);
        prop_assert!(CheckedBlock::check(block.clone(), &network.chain).is_ok());
        network.submit(0, block);
        prop_assert!(network.engines[0].mempool().is_empty());
        for _ in 0..2 {
            network.mine(1, &key(2));
        }
        network.connect(0, 1);
        prop_assert_eq!(network.tip(0), network.tip(1));
        prop_assert_eq!(network.engines[0].mempool().len(), sent);
        network.mine(0, &key(3));
        prop_assert!(network.engines[0].mempool().is_empty());
    }
}

#[test]
fn m07_a_payment_whose_block_lost_says_who_spent_its_coin() {
    let mut network = Network::meshed(2);
    let coins: Vec<_> = (0..2).map(|_| reward(&network.mine(0, &key(1)))).collect();
    network.mine(0, &key(9));
    network.cut(0, 1);
    let pay = |network: &Network, coin: (OutPoint, Amount), to: u8| {
        let left = Amount::from_pebbles(coin.1.pebbles() - 10_000);
        spend(&network.chain, &key(1), &[coin], vec![Output::pay(address(&key(to)), left)])
    };
    // Mined on both sides: the first coin for different people, the second by the same payment.
    let loser = network.send(0, pay(&network, coins[0], 2)).expect("valid");
    let winner = network.send(1, pay(&network, coins[0], 3)).expect("valid");
    let both = pay(&network, coins[1], 4);
    network.send(0, both.clone()).expect("valid");
    let both = network.send(1, both).expect("valid");
    network.mine(0, &key(9));
    let block = network.mine(1, &key(9));
    network.mine(1, &key(9));
    network.connect(0, 1);
    assert_eq!(network.tip(0), network.tip(1));
    let departed = |txid| network.engines[0].mempool().departed(txid).map(|departed| departed.why);
    assert_eq!(departed(&loser), Some(Departure::Conflict { with: winner, block: block.hash() }));
    assert_eq!(departed(&both), None);
}
