//! Coin choice: exact fees, no dust, no absurd payment.

use chain::{hash::TxId, height::Height};
use proptest::prelude::*;

use super::*;
use crate::derivation::{Branch, KeyPath};

const RATE: FeeRate = FeeRate::DEFAULT;

fn coin(number: u32, pebbles: u64, state: CoinState) -> Coin {
    Coin {
        outpoint: OutPoint { txid: TxId::ZERO, index: number },
        amount: Amount::from_pebbles(pebbles),
        address: Address::from_bytes([1; 32]),
        key: KeyPath { branch: Branch::Receive, index: 0 },
        height: Some(Height::new(1)),
        coinbase: false,
        state,
    }
}

fn spendable(amounts: &[u64]) -> Vec<Coin> {
    (0..).zip(amounts).map(|(number, pebbles)| coin(number, *pebbles, CoinState::Spendable)).collect()
}

fn pay(pebbles: u64) -> Output {
    Output::pay(Address::from_bytes([2; 32]), Amount::from_pebbles(pebbles))
}

fn target(pebbles: u64) -> Target {
    Target::new(&[pay(pebbles)], RATE).expect("a payment")
}

fn amounts(selection: &Selection) -> Vec<u64> {
    selection.inputs.iter().map(|coin| coin.amount.pebbles()).collect()
}

#[test]
fn fees_round_up() {
    let fee = |rate, bytes| FeeRate::from_pebbles_per_kb(rate).fee(bytes).map(Amount::pebbles);
    assert_eq!(fee(1_000, 181), Some(181));
    assert_eq!(fee(1, 1), Some(1));
    assert_eq!(fee(1_001, 1_000), Some(1_001));
    assert_eq!(fee(999, 1_001), Some(1_000));
    assert_eq!(fee(0, 1_000_000), Some(0));
    assert_eq!(fee(u64::MAX, 1_000), Some(u64::MAX));
    assert_eq!(fee(u64::MAX, 1_001), None);
}

#[test]
fn the_smallest_coin_that_is_enough_is_taken() {
    let coins = spendable(&[5_000_000, 900_000, 2_000_000, 10_000]);
    assert_eq!(amounts(&target(1_000_000).choose(&coins).expect("enough")), [2_000_000]);
    assert_eq!(amounts(&target(100_000).choose(&coins).expect("enough")), [900_000]);
}

#[test]
fn else_the_largest_first() {
    let coins = spendable(&[300_000, 500_000, 100_000, 400_000]);
    assert_eq!(amounts(&target(800_000).choose(&coins).expect("enough")), [500_000, 400_000]);
}

#[test]
fn own_change_in_the_mempool_comes_last_and_other_pending_coins_never() {
    let mut coins = spendable(&[300_000, 200_000]);
    coins.push(coin(7, 9_000_000, CoinState::OwnChange));
    coins.push(coin(8, 80_000_000, CoinState::Pending));
    coins.push(coin(9, 90_000_000, CoinState::Immature { spendable_at: 7 }));
    assert_eq!(amounts(&target(400_000).choose(&coins).expect("enough")), [300_000, 200_000]);
    assert_eq!(amounts(&target(4_000_000).choose(&coins).expect("enough")), [300_000, 200_000, 9_000_000]);
    let error = target(10_000_000).choose(&coins).expect_err("the rest is not spendable");
    let SelectionError::InsufficientFunds { available, immature, pending, needed } = &error else {
        panic!("another error: {error}");
    };
    assert_eq!(
        (available.pebbles(), immature.pebbles(), pending.pebbles()),
        (9_500_000, 90_000_000, 80_000_000)
    );
    assert!(*needed > Amount::from_pebbles(10_000_000));
    let text = error.to_string();
    assert!(
        text.contains("0.90000000 CRN mined but still immature") && text.contains("0.80000000 CRN not yet")
    );
}

#[test]
fn w09_dust_goes_to_the_miner() {
    let target = target(1_000_000);
    let dust_limit = target.dust_limit().expect("small").pebbles();
    let with_change = RATE.fee(bytes(target.with_change, 1).expect("small")).expect("small").pebbles();
    let enough = 1_000_000 + with_change + dust_limit;
    let kept = target.choose(&spendable(&[enough])).expect("enough");
    assert_eq!((kept.fee.pebbles(), kept.change.pebbles()), (with_change, dust_limit));
    let given = target.choose(&spendable(&[enough - 1])).expect("enough");
    assert_eq!((given.fee.pebbles(), given.change.pebbles()), (with_change + dust_limit - 1, 0));
    // To the pebble: one less than payment and fee is not enough.
    let least = target.needed(1).expect("small").pebbles();
    assert_eq!(target.choose(&spendable(&[least])).expect("enough").change, Amount::ZERO);
    assert!(target.choose(&spendable(&[least - 1])).is_err());
}

#[test]
fn w09_absurd_fees_are_refused() {
    let absurd = FeeRate::from_pebbles_per_kb(MAX_FEE_RATE.pebbles_per_kb() + 1);
    let refused = Target::new(&[pay(1)], absurd).expect_err("too high a rate");
    assert_eq!(refused, SelectionError::AbsurdFeeRate(absurd));
    // A rate that is allowed, over so many coins that the fee is not.
    let highest = Target::new(&[pay(1)], MAX_FEE_RATE).expect("allowed");
    let coins = spendable(&[100_000_000; 20]);
    assert!(matches!(highest.take_all(&coins), Err(SelectionError::AbsurdFee(fee)) if fee > MAX_FEE));
    assert!(highest.take_all(&coins[..3]).is_ok());
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    assert_eq!(Target::new(&[], RATE).expect_err("nobody"), SelectionError::NoPayment);
    assert_eq!(Target::new(&[pay(0)], RATE).expect_err("nothing"), SelectionError::ZeroAmount);
    let too_much = Target::new(&[pay(u64::MAX), pay(1)], RATE).expect_err("more than a u64");
    assert_eq!(too_much, SelectionError::Overflow);
    let coins = spendable(&[1_000_000]);
    let one = target(1_000);
    assert_eq!(one.take_all(&[]), Err(SelectionError::NoCoin));
    let twice = one.take_all(&[coins[0], coins[0]]);
    assert_eq!(twice, Err(SelectionError::DuplicateCoin(coins[0].outpoint)));
    let many = spendable(&vec![2_000; 1_000]);
    assert_eq!(target(1_500_000).choose(&many), Err(SelectionError::TooLarge));
    let rich = [coin(0, u64::MAX, CoinState::Spendable), coin(1, u64::MAX, CoinState::Spendable)];
    assert_eq!(one.take_all(&rich), Err(SelectionError::Overflow));
}

#[test]
fn named_coins_are_all_taken_whatever_their_state() {
    let coins = [
        coin(0, 10_000, CoinState::Pending),
        coin(1, 20_000, CoinState::Immature { spendable_at: 99 }),
        coin(2, 5, CoinState::Spendable),
    ];
    assert_eq!(amounts(&target(1_000).take_all(&coins).expect("enough")), [10_000, 20_000, 5]);
    let error = target(40_000).take_all(&coins).expect_err("too little");
    assert!(
        matches!(error, SelectionError::InsufficientFunds { available, .. } if available.pebbles() == 30_005)
    );
}

proptest! {
    #[test]
    fn w09_in_equals_out_plus_fee_and_the_rate_is_met(
        amounts in prop::collection::vec(1u64..50_000_000, 0..40),
        payments in prop::collection::vec(1u64..40_000_000, 1..5),
        rate in 0u64..20_000,
    ) {
        let rate = FeeRate::from_pebbles_per_kb(rate);
        let outputs: Vec<Output> = payments.iter().map(|pebbles| pay(*pebbles)).collect();
        let target = Target::new(&outputs, rate).expect("payments that fit a u64");
        let coins = spendable(&amounts);
        let paid: u64 = payments.iter().sum();
        match target.choose(&coins) {
            Ok(chosen) => {
                let sum: u64 = chosen.inputs.iter().map(|coin| coin.amount.pebbles()).sum();
                prop_assert_eq!(sum, paid + chosen.fee.pebbles() + chosen.change.pebbles());
                let least = rate.fee(chosen.size_bytes).expect("small");
                prop_assert!(chosen.fee >= least);
                if chosen.change == Amount::ZERO {
                    let limit = target.dust_limit().expect("small").pebbles();
                    let output = rate.fee(41).expect("small").pebbles() + 1;
                    prop_assert!(chosen.fee.pebbles() - least.pebbles() < limit + output);
                } else {
                    prop_assert_eq!(chosen.fee, least);
                }
                let mut outpoints: Vec<_> = chosen.inputs.iter().map(|coin| coin.outpoint).collect();
                outpoints.sort_unstable();
                outpoints.dedup();
                prop_assert_eq!(outpoints.len(), chosen.inputs.len());
            }
            Err(SelectionError::InsufficientFunds { .. }) => {
                // Not even all coins that are worth their cost are enough.
                let cost = rate.fee(target.without_change.input_bytes()).expect("small").pebbles();
                let worth: Vec<u64> = amounts.iter().copied().filter(|amount| *amount > cost).collect();
                let needed = target.needed(worth.len().max(1)).expect("small").pebbles();
                prop_assert!(worth.iter().sum::<u64>() < needed);
            }
            Err(other) => prop_assert!(false, "another error: {other}"),
        }
    }
}
