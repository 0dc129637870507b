//! What holds in one block and not in another: heights, times, depths and chains.

use std::sync::Arc;

use chain::{
    check::{CheckedTransaction, verify_transaction},
    error::{BlockError, SpendError, SubmitError},
    genesis::Chain,
    hash::BlockHash,
    height::Height,
    params::Params,
    policy::{Policy, Satisfaction, Witness},
    transaction::Transaction,
};

use crate::build::{Held, Key, World, coins, easy_params, held, miner, spend, time, to, to_policy};

fn spend_error(world: &mut World, parent: BlockHash, transaction: &Transaction) -> SpendError {
    let block = world.draft_on(parent, vec![transaction.clone()]);
    let update = world.submit(&block).expect("it is kept");
    match update.refusal(&block.hash()).expect("and refused when it is to be connected") {
        BlockError::Spend { error, .. } => error.clone(),
        other => panic!("expected a spending rule, got: {other}"),
    }
}

fn fund(world: &mut World, policy: &Policy) -> Held {
    world.mine_empty(2);
    let payment = world.pay(&[world.reward_at(1)], vec![to_policy(policy, coins(50))]);
    let coin = held(&payment, 0);
    world.mine(vec![payment]);
    coin
}

fn waited(world: &World, coin: &Held, policy: &Policy) -> Transaction {
    spend(&world.chain, std::slice::from_ref(coin), vec![to(&miner(), coins(50))], |_| Witness {
        policy: policy.clone(),
        satisfaction: Satisfaction::Nothing,
    })
}

#[test]
fn c11_too_early_is_not_invalid() {
    let mut world = World::easy();
    let block = world.draft(Vec::new());
    let now = time(block.header.time.secs() - 7_201);
    for _ in 0..3 {
        assert!(matches!(world.ledger.submit(block.clone(), now), Err(SubmitError::TooEarly { .. })));
    }
    assert_eq!(world.ledger.tree().len(), 1, "nothing is remembered of it");
    // The same bytes, two seconds later.
    let update = world.ledger.submit(block.clone(), now.saturating_add_secs(2)).expect("now it is time");
    assert_eq!(update.applied.len(), 1);
    assert_eq!(world.tip(), block.hash());
}

#[test]
fn c14_what_was_good_at_one_height_is_judged_again_at_another() {
    // genesis - 1 - 2 - 3 - 4 - 5          at 6 the coin may be spent
    //                     \ 4'             at 5' it may not
    let policy = Policy::AfterHeight(Height::new(6));
    let mut world = World::easy();
    let coin = fund(&mut world, &policy);
    let fork = world.tip();
    world.mine_empty(2);
    let spends = waited(&world, &coin, &policy);
    let checked = Arc::new(CheckedTransaction::check(spends.clone(), &world.chain).expect("isolated"));
    let view = world.ledger.store().utxo_set();
    assert!(verify_transaction(Arc::clone(&checked), view, &world.ledger.next_spend_context()).is_ok());
    let low = world.mine_on(fork, Vec::new());
    let parent = world.mine_on(low.hash(), Vec::new());
    // At height 6 on the other branch it is good, at height 5 it was not: the verdict is the block's.
    let bad = world.draft_on(low.hash(), vec![spends.clone()]);
    world.submit(&bad).expect("kept, of less work than the tip");
    let above = world.draft_on(bad.hash(), Vec::new());
    let update = world.submit(&above).expect("kept");
    let refused = update.refusal(&bad.hash()).expect("now it was to be connected");
    assert!(refused.to_string().contains("rule S7"), "{refused}");
    let good = world.draft_on(parent.hash(), vec![spends]);
    world.accept(&good);
    assert_eq!(world.tip(), good.hash());
}

#[test]
fn c14_a_reorganisation_changes_how_old_a_coin_is() {
    let policy = Policy::Older(3);
    let mut world = World::easy();
    world.mine_empty(2);
    let root = world.tip();
    let payment = world.pay(&[world.reward_at(1)], vec![to_policy(&policy, coins(50))]);
    let coin = held(&payment, 0);
    // In one branch the coin is made at height 3, in the other at height 5.
    world.mine(vec![payment.clone()]);
    world.mine_empty(2);
    let spends = waited(&world, &coin, &policy);
    let checked = Arc::new(CheckedTransaction::check(spends.clone(), &world.chain).expect("isolated"));
    let verify = |world: &World| {
        verify_transaction(
            Arc::clone(&checked),
            world.ledger.store().utxo_set(),
            &world.ledger.next_spend_context(),
        )
    };
    assert!(verify(&world).is_ok(), "height 6, made at 3");
    let mut tip = root;
    for transactions in [vec![], vec![], vec![payment], vec![]] {
        tip = world.mine_on(tip, transactions).hash();
    }
    assert_eq!(world.tip(), tip);
    assert!(matches!(verify(&world), Err(SpendError::TooYoung { .. })), "height 7, made at 5");
    assert!(matches!(spend_error(&mut world, tip, &spends), SpendError::TooYoung { .. }));
    world.mine_empty(1);
    world.mine(vec![spends]);
}

#[test]
fn c17_a_coinbase_matures_to_the_block() {
    for maturity_blocks in [1, 10, 100] {
        let mut world = World::new(Params { maturity_blocks, ..easy_params() });
        world.mine_empty(maturity_blocks);
        let spends = world.pay(&[world.reward_at(1)], vec![to(&Key::new(1), coins(50))]);
        if maturity_blocks > 1 {
            // One block lower the coin is one block less deep.
            let below = world.hash_at(maturity_blocks - 1);
            let early = world.draft_on(below, vec![spends.clone()]);
            world.submit(&early).expect("kept beside the tip");
            let above = world.draft_on(early.hash(), Vec::new());
            let update = world.submit(&above).expect("kept");
            let refused = update.refusal(&early.hash()).expect("refused when it is to be connected");
            assert!(refused.to_string().contains("rule S2"), "{refused}");
        }
        world.mine(vec![spends]);
    }
}

#[test]
fn c17_a_reorganisation_lowers_the_depth() {
    // The coinbase of height 2 is spent at height 5; on another branch its place is taken by another.
    let mut world = World::new(Params { maturity_blocks: 3, ..easy_params() });
    world.mine_empty(1);
    let fork = world.tip();
    world.mine_empty(3);
    let spends = world.pay(&[world.reward_at(2)], vec![to(&Key::new(1), coins(50))]);
    world.mine(vec![spends.clone()]);
    let mut tip = fork;
    for _ in 0..5 {
        tip = world.mine_on(tip, Vec::new()).hash();
    }
    assert_eq!(world.tip(), tip);
    assert!(matches!(spend_error(&mut world, tip, &spends), SpendError::MissingCoin { .. }));
    // A coinbase of this branch is as young as the branch says.
    let own = world.pay(&[world.reward_at(5)], vec![to(&Key::new(1), coins(50))]);
    assert!(matches!(spend_error(&mut world, tip, &own), SpendError::Immature { .. }));
    let own = world.pay(&[world.reward_at(4)], vec![to(&Key::new(1), coins(50))]);
    world.mine(vec![own]);
}

#[test]
fn c28_a_payment_of_one_chain_is_worth_nothing_on_another() {
    // The two chains differ in a word of the message; their first coinbases are equal to the byte.
    let mut here = World::easy();
    let message = "Another pile of stones.".into();
    let mut there = World::over(
        Chain::mine(Params { message, ..easy_params() }).expect("good parameters"),
        chain::memory::MemoryStore::default(),
    );
    here.mine_empty(2);
    there.mine_empty(2);
    assert_ne!(here.chain.id(), there.chain.id());
    let coin = here.reward_at(1);
    assert_eq!(coin, there.reward_at(1), "the same outpoint and the same output");
    let payment = here.pay(&[coin], vec![to(&Key::new(1), coins(50))]);
    let tip = there.tip();
    assert_eq!(spend_error(&mut there, tip, &payment), SpendError::BadSignature { input: 0 });
    here.mine(vec![payment]);
}

#[test]
fn c28_a_block_of_one_chain_stands_on_nothing_of_another() {
    let mut here = World::easy();
    let there = World::new(Params { message: "Another.".into(), ..easy_params() });
    let block = there.draft(Vec::new());
    assert!(matches!(here.refusal(&block), SubmitError::UnknownParent(hash) if hash == there.chain.id()));
    assert!(matches!(here.refusal(there.chain.genesis()), SubmitError::UnknownParent(_)));
}
