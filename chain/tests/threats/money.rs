//! Money from nothing: overflow, duplicates, over-claims, update order.

use std::collections::HashMap;

use chain::{
    amount::Amount,
    check::{CheckedTransaction, verify_transaction},
    error::{BlockError, SpendError, SubmitError, TransactionError},
    height::Height,
    ledger::Ledger,
    params::Params,
    subsidy::subsidy,
    transaction::{Coinbase, OutPoint, Transaction},
    utxo::Coin,
};

use crate::build::{Held, Key, World, coins, data, easy_params, held, miner, pay, seal, to};

fn supply_in(world: &World) -> u64 {
    world.ledger.store().utxo_set().values().map(|coin| coin.output.amount.pebbles()).sum()
}

fn isolated_fault(world: &mut World, transaction: Transaction) -> TransactionError {
    let alone = CheckedTransaction::check(transaction.clone(), &world.chain).expect_err("it is bad");
    let block = world.draft(vec![transaction]);
    match world.fault(&block) {
        BlockError::Transaction { index: 0, error } => assert_eq!(error, alone, "alone and in a block"),
        other => panic!("expected a transaction's rule, got: {other}"),
    }
    alone
}

#[test]
fn c01_outputs_never_wrap() {
    let mut world = World::easy();
    world.mine_empty(2);
    let coin = [world.reward_at(1)];
    let supply = world.chain.max_supply().pebbles();
    // Bitcoin's block 74638: two outputs of which the sum wraps to a small number.
    let half = 9_223_372_036_854_275_808;
    for amounts in [&[half, half][..], &[supply + 1], &[supply, 1], &[u64::MAX, 1], &[1, u64::MAX]] {
        let outputs = amounts.iter().map(|pebbles| to(&Key::new(1), *pebbles)).collect();
        let payment = world.pay(&coin, outputs);
        let fault = isolated_fault(&mut world, payment);
        assert!(matches!(fault, TransactionError::AboveSupply(_)), "{amounts:?}");
    }
    // Within the supply it is a matter of what comes in.
    for amounts in [&[supply][..], &[supply - 1], &[supply - 1, 1]] {
        let outputs = amounts.iter().map(|pebbles| to(&Key::new(1), *pebbles)).collect();
        let block = world.draft(vec![world.pay(&coin, outputs)]);
        let fault = world.fault(&block);
        assert!(matches!(fault, BlockError::Spend { error: SpendError::Overspent { .. }, .. }), "{fault}");
    }
    assert_eq!(supply_in(&world), coins(100));
}

#[test]
fn c01_fees_of_a_block_add_up_exactly() {
    let mut world = World::easy();
    world.mine_empty(4);
    // Three fees of a whole coinbase each.
    let burning: Vec<Transaction> = (1..=3)
        .map(|height| world.pay(&[world.reward_at(height)], vec![data(b"all to the miner")]))
        .collect();
    let claim = |world: &World, pebbles| {
        let mut block = world.draft(burning.clone());
        block.coinbase.outputs = vec![to(&miner(), pebbles)];
        seal(&mut block);
        block
    };
    let greedy = claim(&world, coins(200) + 1);
    assert!(matches!(world.fault(&greedy), BlockError::CoinbaseClaim { .. }));
    let exact = claim(&world, coins(200));
    world.accept(&exact);
    assert_eq!(supply_in(&world), coins(250), "five subsidies");
}

#[test]
fn c02_a_coin_of_an_earlier_block_is_not_spent_twice_by_one_transaction() {
    let mut world = World::easy();
    world.mine_empty(2);
    let coin = world.reward_at(1);
    let twice = world.pay(&[coin.clone(), coin.clone()], vec![to(&Key::new(1), coins(100))]);
    assert_eq!(isolated_fault(&mut world, twice), TransactionError::DuplicateInput(coin.0));
    assert_eq!(supply_in(&world), coins(100));
}

#[test]
fn c02_a_coin_of_the_same_block_is_not_spent_twice_by_one_transaction() {
    let mut world = World::easy();
    world.mine_empty(2);
    let open = world.pay(&[world.reward_at(1)], vec![to(&miner(), coins(50))]);
    let coin = held(&open, 0);
    let twice = world.pay(&[coin.clone(), coin.clone()], vec![to(&Key::new(1), coins(100))]);
    let block = world.draft(vec![open, twice]);
    let error = TransactionError::DuplicateInput(coin.0);
    assert_eq!(world.fault(&block), BlockError::Transaction { index: 1, error });
    assert_eq!(supply_in(&world), coins(100));
}

#[test]
fn c02_a_coin_is_not_spent_by_two_transactions_of_a_block() {
    let mut world = World::easy();
    world.mine_empty(2);
    let open = world.pay(&[world.reward_at(1)], vec![to(&miner(), coins(50))]);
    for (before, coin) in [(vec![], world.reward_at(1)), (vec![open.clone()], held(&open, 0))] {
        let spends: Vec<Transaction> = (1..=2)
            .map(|key| world.pay(std::slice::from_ref(&coin), vec![to(&Key::new(key), coins(50))]))
            .collect();
        let second = before.len() + 1;
        let block = world.draft([before, spends].concat());
        match world.fault(&block) {
            BlockError::Spend { index, error: SpendError::MissingCoin { outpoint, .. }, .. } => {
                assert_eq!((index, outpoint), (second, coin.0));
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(supply_in(&world), coins(100));
}

#[test]
fn c05_equal_coinbases_of_two_branches_are_one_coin_at_a_time() {
    let mut world = World::easy();
    let root = world.tip();
    let ours = world.draft_on(root, Vec::new());
    let mut theirs = ours.clone();
    // The same coinbase to the byte in another block of the same height.
    theirs.header.time = theirs.header.time.saturating_add_secs(1);
    seal(&mut theirs);
    assert_eq!(ours.coinbase.txid(), theirs.coinbase.txid());
    assert_ne!(ours.hash(), theirs.hash());
    let outpoint = OutPoint { txid: ours.coinbase.txid(), index: 0 };
    world.accept(&ours);
    world.accept(&theirs);
    let upper = world.mine_on(theirs.hash(), Vec::new());
    assert_eq!(world.tip(), upper.hash());
    assert!(world.ledger.store().utxo_set().contains_key(&outpoint));
    assert_eq!(supply_in(&world), coins(100));
    world.mine_on(ours.hash(), Vec::new());
    let back = world.mine_on(world_tip_of(&world, &ours), Vec::new());
    assert_eq!(world.tip(), back.hash());
    assert!(world.ledger.store().utxo_set().contains_key(&outpoint));
    assert_eq!(supply_in(&world), coins(150));
}

/// The highest block above `block`.
fn world_tip_of(world: &World, block: &chain::block::Block) -> chain::hash::BlockHash {
    let tree = world.ledger.tree();
    let root = tree.find(&block.hash()).expect("known");
    let height = tree.node(root).height();
    let above = tree.leaves().filter(|leaf| tree.ancestor(*leaf, height) == Some(root));
    above.max_by_key(|leaf| tree.node(*leaf).height()).map(|leaf| tree.node(leaf).hash()).expect("a leaf")
}

#[test]
fn c05_a_coinbase_is_not_repeated_higher_up() {
    let mut world = World::easy();
    let first = world.mine(Vec::new());
    let mut second = world.draft(Vec::new());
    second.coinbase = first.coinbase.clone();
    seal(&mut second);
    let (named, actual) = (Height::new(1), Height::new(2));
    assert_eq!(world.fault(&second), BlockError::CoinbaseHeight { named, actual });
    let outpoint = OutPoint { txid: first.coinbase.txid(), index: 0 };
    assert!(world.ledger.store().utxo_set().contains_key(&outpoint), "the first coin still exists");
}

#[test]
fn c15_the_last_halving_leaves_nothing_to_claim() {
    // Height h of this chain may claim 8 >> h.
    let params = Params { reward: Amount::from_pebbles(8), halving_blocks: 1, ..easy_params() };
    let mut world = World::new(params);
    for (height, reward) in (1..).zip([4, 2, 1, 0, 0, 0]) {
        assert_eq!(world.subsidy(height), reward);
        let mut greedy = world.draft(Vec::new());
        greedy.coinbase.outputs = vec![to(&miner(), reward + 1)];
        seal(&mut greedy);
        assert!(matches!(world.fault(&greedy), BlockError::CoinbaseClaim { .. }), "{height}");
        world.mine_empty(1);
    }
    assert_eq!(supply_in(&world), 7);
    assert_eq!(world.chain.max_supply().pebbles(), 7);
    for params in [Params::main(), Params::test(), Params::dev()] {
        for halvings in [64, 65, 127, 128, 20_452] {
            let height = Height::new(params.halving_blocks.saturating_mul(halvings));
            assert_eq!(subsidy(&params, height), Amount::ZERO, "{halvings}");
        }
        assert_eq!(subsidy(&params, Height::new(u32::MAX)), Amount::ZERO);
    }
}

#[test]
fn c16_every_bad_coinbase_has_its_own_reason() {
    type Change = fn(&mut Coinbase);
    let cases: [(&str, Change, &str); 6] = [
        ("too much by one", |coinbase| coinbase.outputs = vec![to(&miner(), coins(50) + 1)], "rule K5"),
        ("too much in two", |coinbase| coinbase.outputs.push(to(&miner(), 1)), "rule K5"),
        ("data", |coinbase| coinbase.outputs.push(data(b"")), "rule K3"),
        ("nothing to somebody", |coinbase| coinbase.outputs.push(to(&miner(), 0)), "rule K4"),
        ("height too low", |coinbase| coinbase.height = Height::ZERO, "rule K1"),
        ("height too high", |coinbase| coinbase.height = Height::new(2), "rule K1"),
    ];
    let mut world = World::easy();
    for (name, change, rule) in cases {
        let mut block = world.draft(Vec::new());
        change(&mut block.coinbase);
        seal(&mut block);
        assert!(world.fault(&block).to_string().contains(rule), "{name}");
    }
    let exact = world.draft(Vec::new());
    assert_eq!(exact.coinbase.outputs, [to(&miner(), coins(50))]);
    world.accept(&exact);
}

#[test]
fn c25_what_is_accepted_one_by_one_makes_a_good_block() {
    let mut world = World::easy();
    world.mine_empty(6);
    let mut view: HashMap<OutPoint, Coin> = world.ledger.store().utxo_set().clone();
    let context = world.ledger.next_spend_context();
    let mut chosen = Vec::new();
    let mut fees = 0;
    for height in 1..=5 {
        let mut coin: Held = world.reward_at(height);
        // Each coin goes through three hands in the same block and pays three fees.
        for hand in 0..3 {
            let amount = coin.1.amount.pebbles() - u64::from(height * 10 + hand);
            let payment = world.pay(std::slice::from_ref(&coin), vec![to(&miner(), amount)]);
            let checked = CheckedTransaction::check(payment.clone(), &world.chain).expect("isolated");
            let verified = verify_transaction(checked.into(), &view, &context).expect("spendable");
            fees += verified.fee().pebbles();
            view.remove(&coin.0);
            coin = held(&payment, 0);
            let made = Coin { output: coin.1.clone(), height: context.height, coinbase: false };
            view.insert(coin.0, made);
            chosen.push(payment);
        }
    }
    let mut block = world.draft(chosen);
    block.coinbase.outputs = vec![to(&miner(), coins(50) + fees)];
    seal(&mut block);
    world.accept(&block);
    assert_eq!(supply_in(&world), coins(350), "all fees are claimed");
}

#[test]
fn c26_all_money_at_once_passes_through_one_block_many_times() {
    // Height h may claim 2^40 >> h: after 40 blocks all money there will ever be is there.
    let params = Params { reward: Amount::from_pebbles(1 << 40), halving_blocks: 1, ..easy_params() };
    let mut world = World::new(params);
    world.mine_empty(41);
    let supply = world.chain.max_supply().pebbles();
    assert_eq!(supply_in(&world), supply);
    let all: Vec<Held> = (1..=40).map(|height| world.reward_at(height)).collect();
    let mut transactions = vec![world.pay(&all, vec![to(&miner(), supply)])];
    for _ in 0..50 {
        let last = held(&transactions[transactions.len() - 1], 0);
        transactions.push(pay(&world.chain, &[last], &miner(), vec![to(&miner(), supply)]));
    }
    let block = world.draft(transactions);
    assert_eq!(block.coinbase.outputs, []);
    world.accept(&block);
    assert_eq!(supply_in(&world), supply);
    assert_eq!(world.ledger.store().utxo_set().len(), 1);
    let reopened = Ledger::open(world.chain.clone(), world.ledger.store().clone()).expect("a good store");
    assert_eq!(reopened.tip().id, world.ledger.tip().id);
}

#[test]
fn c16_no_block_without_a_coinbase_and_none_with_two() {
    let mut world = World::easy();
    let block = world.mine(Vec::new());
    let bytes = block.to_submission();
    let coinbase = block.coinbase.to_bytes();
    let none = [&bytes[..80], &[0]].concat();
    assert!(chain::block::Block::from_submission(&none).is_err());
    let two = [&bytes[..80], &[2], &coinbase[..], &coinbase[..]].concat();
    assert!(chain::block::Block::from_submission(&two).is_err());
    assert!(matches!(world.submit(&block), Err(SubmitError::Duplicate)));
}
