//! Rules S1 to S11: what the coins decide that a transaction spends.

use std::{collections::HashMap, sync::Arc};

use chain::{
    address::Address,
    amount::Amount,
    check::{CheckedBlock, CheckedTransaction, SpendContext, connect_block, verify_transaction},
    encode,
    error::{BlockError, SpendError},
    hash::tagged,
    height::Height,
    params::Params,
    policy::{Policy, Satisfaction, Witness},
    transaction::{OutPoint, Transaction},
    utxo::Coin,
};

use crate::build::{
    Held, Key, World, coins, data, easy_params, held, message, miner, spend, time, to, to_policy,
};

/// Why the first transaction of a block on the tip that holds these cannot be spent.
fn spend_fault(world: &mut World, transactions: Vec<Transaction>) -> (usize, SpendError) {
    let block = world.draft(transactions);
    match world.fault(&block) {
        BlockError::Spend { index, txid, error } => {
            assert_eq!(txid, block.transactions[index].txid());
            (index, error)
        }
        other => panic!("expected a spending rule, got: {other}"),
    }
}

/// Mines a payment of block 1's reward to a policy; the coin.
fn fund(world: &mut World, policy: &Policy) -> Held {
    world.mine_empty(2);
    let payment = world.pay(&[world.reward_at(1)], vec![to_policy(policy, coins(50))]);
    let coin = held(&payment, 0);
    world.mine(vec![payment]);
    coin
}

#[test]
fn s1_only_what_exists_and_is_unspent_can_be_spent() {
    let mut world = World::easy();
    world.mine_empty(2);
    let reward = world.reward_at(1);
    let bob = Key::new(1);
    let pay = world.pay(std::slice::from_ref(&reward), vec![to(&bob, coins(50))]);
    let again = world.pay(std::slice::from_ref(&reward), vec![to(&Key::new(2), coins(50))]);
    let missing = |outpoint| SpendError::MissingCoin { input: 0, outpoint };
    // Twice in one block.
    let twice = spend_fault(&mut world, vec![pay.clone(), again.clone()]);
    assert_eq!(twice, (1, missing(reward.0)));
    // An output that its transaction does not have, and one of a transaction that nobody saw.
    let absent = OutPoint { index: 1, ..reward.0 };
    let beyond = world.pay(&[(absent, reward.1.clone())], vec![to(&bob, 1)]);
    let fault = spend_fault(&mut world, vec![beyond]);
    assert_eq!(fault, (0, missing(absent)));
    // Before and after it is spent.
    world.mine(vec![pay]);
    assert_eq!(spend_fault(&mut world, vec![again]), (0, missing(reward.0)));
}

#[test]
fn s1_earlier_transactions_of_the_block_can_be_spent_later_ones_not() {
    let mut world = World::easy();
    world.mine_empty(2);
    let bob = Key::new(1);
    let first = world.pay(&[world.reward_at(1)], vec![to(&bob, coins(50))]);
    let second = crate::build::pay(&world.chain, &[held(&first, 0)], &bob, vec![to(&miner(), coins(50))]);
    let fault = spend_fault(&mut world, vec![second.clone(), first.clone()]);
    assert_eq!(fault, (0, SpendError::MissingCoin { input: 0, outpoint: held(&first, 0).0 }));
    let block = world.mine(vec![first.clone(), second.clone()]);
    let coins = world.ledger.store().utxo_set();
    assert!(!coins.contains_key(&held(&first, 0).0), "made and spent in one block");
    assert_eq!(coins[&held(&second, 0).0].height, block.coinbase.height);
}

#[test]
fn s1_data_outputs_are_no_coins() {
    let mut world = World::easy();
    world.mine_empty(2);
    let proof = world.pay(&[world.reward_at(1)], vec![data(b"proof"), to(&miner(), 1)]);
    let spends_data = world.pay(&[held(&proof, 0)], vec![to(&miner(), 1)]);
    let missing = SpendError::MissingCoin { input: 0, outpoint: held(&proof, 0).0 };
    assert_eq!(spend_fault(&mut world, vec![proof.clone(), spends_data.clone()]), (1, missing.clone()));
    world.mine(vec![proof]);
    assert_eq!(spend_fault(&mut world, vec![spends_data]), (0, missing));
}

#[test]
fn s2_a_coinbase_matures() {
    let maturity_blocks = 4;
    let mut world = World::new(Params { maturity_blocks, ..easy_params() });
    world.mine_empty(3);
    let early = world.pay(&[world.reward_at(1)], vec![to(&miner(), coins(50))]);
    // The next block has height 4: three blocks above the coin's.
    let made = Height::new(1);
    let immature = SpendError::Immature { input: 0, made, matures: 5 };
    assert_eq!(spend_fault(&mut world, vec![early.clone()]), (0, immature));
    world.mine_empty(1);
    world.mine(vec![early]);
}

#[test]
fn s2_a_coinbase_is_never_spent_in_its_own_block() {
    let mut world = World::easy();
    world.mine_empty(1);
    let mut block = world.draft(Vec::new());
    let outpoint = OutPoint { txid: block.coinbase.txid(), index: 0 };
    block.transactions =
        vec![world.pay(&[(outpoint, block.coinbase.outputs[0].clone())], vec![to(&miner(), 1)]).into()];
    crate::build::seal(&mut block);
    let fault = world.fault(&block);
    let missing = SpendError::MissingCoin { input: 0, outpoint };
    assert!(matches!(&fault, BlockError::Spend { error, .. } if *error == missing), "{fault}");
}

#[test]
fn s3_outputs_are_worth_no_more_than_inputs() {
    let mut world = World::easy();
    world.mine_empty(3);
    let both = [world.reward_at(1), world.reward_at(2)];
    let over = world.pay(&both, vec![to(&miner(), coins(100)), to(&miner(), 1)]);
    let (inputs, outputs) = (Amount::from_pebbles(coins(100)), Amount::from_pebbles(coins(100) + 1));
    assert_eq!(spend_fault(&mut world, vec![over]), (0, SpendError::Overspent { inputs, outputs }));
    let exact = world.pay(&both, vec![to(&miner(), coins(100))]);
    world.mine(vec![exact]);
}

fn coin(output: &chain::transaction::Output) -> Coin {
    Coin { output: output.clone(), height: Height::new(1), coinbase: false }
}

#[test]
fn s4_inputs_add_up_to_no_more_than_the_supply() {
    // No real chain has such coins: only a damaged store could show them.
    let world = World::easy();
    let supply = world.chain.max_supply().pebbles();
    let context = world.ledger.next_spend_context();
    let verify = |amounts: [u64; 2]| {
        let held: Vec<Held> = (0..)
            .zip(amounts)
            .map(|(index, pebbles)| {
                let txid = chain::hash::TxId::from_bytes([9; 32]);
                (OutPoint { txid, index }, to(&miner(), pebbles))
            })
            .collect();
        let view: HashMap<OutPoint, Coin> =
            held.iter().map(|(outpoint, output)| (*outpoint, coin(output))).collect();
        let payment = world.pay(&held, vec![to(&miner(), supply)]);
        let checked = CheckedTransaction::check(payment, &world.chain).expect("no isolated rule is broken");
        verify_transaction(checked.into(), &view, &context).map(|verified| verified.fee())
    };
    assert_eq!(verify([supply - 1, 1]), Ok(Amount::ZERO));
    assert_eq!(verify([supply, 1]), Err(SpendError::AboveSupply));
    assert_eq!(verify([u64::MAX, 1]), Err(SpendError::AboveSupply));
}

#[test]
fn s5_the_revealed_policy_is_the_coins() {
    let mut world = World::easy();
    let (alice, bob) = (Key::new(1), Key::new(2));
    let coin = fund(&mut world, &alice.policy());
    let thief = crate::build::pay(&world.chain, std::slice::from_ref(&coin), &bob, vec![to(&bob, 1)]);
    assert_eq!(spend_fault(&mut world, vec![thief]), (0, SpendError::WrongPolicy { input: 0 }));
    // A policy that means the same is another policy.
    let wrapped = Policy::Thresh { k: 1, of: vec![alice.policy()] };
    let same = spend(&world.chain, std::slice::from_ref(&coin), vec![to(&bob, 1)], |message| Witness {
        policy: wrapped.clone(),
        satisfaction: Satisfaction::Chosen(vec![(0, alice.satisfaction(message))]),
    });
    assert_eq!(spend_fault(&mut world, vec![same]), (0, SpendError::WrongPolicy { input: 0 }));
    let right = crate::build::pay(&world.chain, &[coin], &alice, vec![to(&bob, 1)]);
    world.mine(vec![right]);
}

#[test]
fn s6_no_coin_is_made_over_another() {
    // Heights make coinbases differ and spent coins make transactions differ, so that no chain gets here;
    // the rule is what remains if a store shows a coin that should not be.
    let mut world = World::easy();
    world.mine_empty(2);
    let payment = world.pay(&[world.reward_at(1)], vec![to(&miner(), coins(50))]);
    let draft = world.draft(vec![payment.clone()]);
    let block = Arc::new(CheckedBlock::check(draft, &world.chain).expect("a good block"));
    let context = world.ledger.next_spend_context();
    let spent = world.reward_at(1);
    let reward = Coin { coinbase: true, ..coin(&spent.1) };
    let fetched = HashMap::from([(spent.0, reward)]);
    assert!(connect_block(&block, fetched.clone(), &context).is_ok());
    let coinbase_coin = OutPoint { txid: block.coinbase_txid(), index: 0 };
    for existing in [held(&payment, 0).0, coinbase_coin] {
        let mut with = fetched.clone();
        with.insert(existing, coin(&to(&miner(), 1)));
        let refused = connect_block(&block, with, &context).expect_err("it would be overwritten");
        assert_eq!(refused, BlockError::ExistingCoin(existing));
    }
}

/// A spend of `coin` whose policy asks for nothing but time to pass.
fn waited(world: &World, coin: &Held, policy: &Policy) -> Transaction {
    spend(&world.chain, std::slice::from_ref(coin), vec![to(&miner(), coins(50))], |_| Witness {
        policy: policy.clone(),
        satisfaction: Satisfaction::Nothing,
    })
}

#[test]
fn s7_after_a_height() {
    let from = Height::new(6);
    let policy = Policy::AfterHeight(from);
    let mut world = World::easy();
    let coin = fund(&mut world, &policy);
    let spends = waited(&world, &coin, &policy);
    world.mine_empty(1);
    assert_eq!(world.height(), 4);
    assert_eq!(
        spend_fault(&mut world, vec![spends.clone()]),
        (0, SpendError::BeforeHeight { input: 0, from })
    );
    world.mine_empty(1);
    world.mine(vec![spends]);
    assert_eq!(world.height(), 6);
}

#[test]
fn s8_after_a_time_by_the_median_time_past() {
    let mut world = World::easy();
    world.mine_empty(1);
    // Blocks come every five seconds: with an odd number of times the median is the middle one.
    let start = world.ledger.tip().header.time;
    let from = start.saturating_add_secs(10);
    let policy = Policy::AfterTime(from);
    let coin = fund(&mut world, &policy);
    let spends = waited(&world, &coin, &policy);
    let early = SpendError::BeforeTime { input: 0, from };
    let mut refused = 0;
    while world.ledger.tip().median_time_past < from {
        assert!(world.ledger.tip().header.time >= from, "the tip's own time does not count");
        assert_eq!(spend_fault(&mut world, vec![spends.clone()]), (0, early.clone()));
        world.mine_empty(1);
        refused += 1;
    }
    assert!(refused > 0);
    assert_eq!(world.ledger.tip().median_time_past, from, "exactly the time is late enough");
    world.mine(vec![spends]);
}

#[test]
fn s9_older_by_so_many_blocks() {
    let policy = Policy::Older(3);
    let mut world = World::easy();
    let coin = fund(&mut world, &policy);
    let made = Height::new(world.height());
    let spends = waited(&world, &coin, &policy);
    let young = SpendError::TooYoung { input: 0, made, blocks: 3 };
    assert_eq!(spend_fault(&mut world, vec![spends.clone()]), (0, young.clone()));
    world.mine_empty(1);
    assert_eq!(spend_fault(&mut world, vec![spends.clone()]), (0, young));
    world.mine_empty(1);
    world.mine(vec![spends]);
}

#[test]
fn s9_a_coin_is_not_older_in_its_own_block() {
    let policy = Policy::Older(1);
    let mut world = World::easy();
    world.mine_empty(2);
    let open = world.pay(&[world.reward_at(1)], vec![to_policy(&policy, coins(50))]);
    let spends = waited(&world, &held(&open, 0), &policy);
    let young = SpendError::TooYoung { input: 0, made: Height::new(3), blocks: 1 };
    assert_eq!(spend_fault(&mut world, vec![open.clone(), spends.clone()]), (1, young));
    world.mine(vec![open]);
    world.mine(vec![spends]);
}

#[test]
fn s10_every_signature_holds() {
    let mut world = World::easy();
    world.mine_empty(3);
    let both = [world.reward_at(1), world.reward_at(2)];
    let good = world.pay(&both, vec![to(&Key::new(1), coins(100))]);
    for input in [0, 1] {
        let mut bad = good.clone();
        if let Satisfaction::Signature(signature) = &mut bad.witnesses[input].satisfaction {
            signature[40] ^= 1;
        }
        assert_eq!(spend_fault(&mut world, vec![bad]), (0, SpendError::BadSignature { input }));
    }
    // Signed by the right key for other outputs.
    let mut redirected = good.clone();
    redirected.outputs = vec![to(&Key::new(2), coins(100))];
    assert_eq!(spend_fault(&mut world, vec![redirected]), (0, SpendError::BadSignature { input: 0 }));
    world.mine(vec![good]);
}

#[test]
fn s10_every_chosen_key_of_a_policy_signs() {
    let (alice, bob) = (Key::new(1), Key::new(2));
    let policy = Policy::And(Box::new([alice.policy(), bob.policy()]));
    let mut world = World::easy();
    let coin = fund(&mut world, &policy);
    let with = |world: &World, left: &Key, right: &Key| {
        spend(&world.chain, std::slice::from_ref(&coin), vec![to(&miner(), coins(50))], |message| Witness {
            policy: policy.clone(),
            satisfaction: Satisfaction::Both(Box::new([
                left.satisfaction(message),
                right.satisfaction(message),
            ])),
        })
    };
    for (left, right) in [(&alice, &alice), (&bob, &bob), (&bob, &alice)] {
        let bad = with(&world, left, right);
        assert_eq!(spend_fault(&mut world, vec![bad]), (0, SpendError::BadSignature { input: 0 }));
    }
    let good = with(&world, &alice, &bob);
    world.mine(vec![good]);
}

#[test]
fn s11_the_message_commits_to_chain_transaction_and_coins() {
    let world = World::easy();
    let txid = chain::hash::TxId::from_bytes([3; 32]);
    let coin: Held = (OutPoint { txid, index: 1 }, to(&miner(), coins(7)));
    let transaction =
        crate::build::unsigned(std::slice::from_ref(&coin), vec![to(&Key::new(1), coins(6)), data(b"d")]);
    let mut by_hand = world.chain.id().to_bytes().to_vec();
    by_hand.extend(1u32.to_le_bytes());
    by_hand.extend(1u32.to_le_bytes());
    by_hand.extend([3; 32]);
    by_hand.extend(1u32.to_le_bytes());
    by_hand.extend(2u32.to_le_bytes());
    by_hand.extend(coins(6).to_le_bytes());
    by_hand.push(0);
    by_hand.extend(Key::new(1).address().as_bytes());
    by_hand.extend(0u64.to_le_bytes());
    by_hand.push(1);
    by_hand.extend(1u32.to_le_bytes());
    by_hand.extend(b"d");
    // The spent outputs, in the order of the inputs.
    by_hand.extend(1u32.to_le_bytes());
    by_hand.extend(coins(7).to_le_bytes());
    by_hand.push(0);
    by_hand.extend(miner().address().as_bytes());
    let signed = message(&world.chain, &transaction, std::slice::from_ref(&coin.1));
    assert_eq!(signed, tagged("cairn/spend", &by_hand));
    // Nobody can lie to a signer about an amount.
    assert_ne!(signed, message(&world.chain, &transaction, &[to(&miner(), coins(8))]));
}

#[test]
fn s11_one_signature_serves_all_inputs_of_a_key() {
    let mut world = World::easy();
    world.mine_empty(4);
    let all = [world.reward_at(1), world.reward_at(2), world.reward_at(3)];
    let payment = world.pay(&all, vec![to(&Key::new(1), coins(150))]);
    assert!(payment.witnesses.windows(2).all(|pair| pair[0] == pair[1]));
    world.mine(vec![payment]);
}

#[test]
fn s10_the_mempool_and_the_block_agree_on_the_context() {
    let policy = Policy::AfterHeight(Height::new(3));
    let world = World::easy();
    let coin_of = |policy: &Policy| Coin {
        output: to_policy(policy, coins(50)),
        height: Height::new(1),
        coinbase: false,
    };
    let outpoint = OutPoint { txid: chain::hash::TxId::from_bytes([5; 32]), index: 0 };
    let view = HashMap::from([(outpoint, coin_of(&policy))]);
    let spends = waited(&world, &(outpoint, coin_of(&policy).output), &policy);
    let checked =
        Arc::new(CheckedTransaction::check(spends, &world.chain).expect("no isolated rule is broken"));
    let at = |height| {
        let context =
            SpendContext { chain: &world.chain, height: Height::new(height), median_time_past: time(0) };
        verify_transaction(Arc::clone(&checked), &view, &context)
    };
    assert_eq!(at(2), Err(SpendError::BeforeHeight { input: 0, from: Height::new(3) }));
    assert!(at(3).is_ok());
    assert_eq!(Address::of_policy(&policy).as_bytes(), &tagged("cairn/policy", &encode::to_bytes(&policy)));
}
