//! Reorganisations: nothing that is still valid is lost, and nothing stays that is not.

use chain::{
    address::Address,
    amount::Amount,
    block::Block,
    height::Height,
    params::Params,
    policy::{Policy, Satisfaction, Witness},
    transaction::{Output, Transaction},
};

use super::{
    super::Departure,
    world::{World, outputs, pay, reward, sign},
};

/// Gives a longer branch to `world`, block by block.
fn reorganise(world: &mut World, branch: &[Block]) {
    let before = world.ledger.tip().id;
    for block in branch {
        world.submit(block);
    }
    assert_ne!(world.ledger.tip().id, before);
    assert_eq!(world.ledger.tip().id.hash, branch.last().expect("a branch").hash());
}

#[test]
fn m07_what_a_lost_block_held_is_back_in_order() {
    let mut world = World::new();
    let coins = world.fund(4);
    let mut other = world.fork();
    let parent = pay(&world, &coins[..1], 2, 1_000);
    let child = pay(&world, &[outputs(&parent)[0]], 1, 7_000);
    let grandchild = pay(&world, &[outputs(&child)[0]], 1, 2_000);
    world.send(parent.clone()).expect("valid");
    world.send(child.clone()).expect("valid");
    world.mine();
    world.send(grandchild.clone()).expect("valid");
    let waiting = pay(&world, &coins[1..2], 1, 3_000);
    world.send(waiting.clone()).expect("valid");
    world.mine_empty();
    let branch: Vec<Block> = (0..3).map(|_| other.mine_empty()).collect();
    reorganise(&mut world, &branch);
    for transaction in [&parent, &child, &grandchild, &waiting] {
        assert!(world.has(transaction));
    }
    assert_eq!(world.mempool.ancestors(&grandchild.txid()).len(), 2);
    let block = world.mine();
    assert_eq!(block.transactions.len(), 4);
    assert!(world.mempool.is_empty());
    assert_eq!(
        (world.mempool.bytes(), world.mempool.memory_bytes(), world.mempool.fees()),
        (0, 0, Amount::ZERO)
    );
}

#[test]
fn m07_what_conflicts_with_a_block_leaves_with_its_descendants() {
    let mut world = World::new();
    let coins = world.fund(2);
    let mut other = world.fork();
    let loser = pay(&world, &coins, 1, 50_000);
    let child = pay(&world, &[outputs(&loser)[0]], 1, 1_000);
    world.send(loser.clone()).expect("valid");
    world.send(child.clone()).expect("valid");
    let winner = pay(&other, &coins[..1], 1, 1_000);
    other.send(winner.clone()).expect("valid on the other side");
    let block = other.mine();
    world.submit(&block);
    assert!(world.mempool.is_empty());
    for left in [loser, child] {
        let why = world.mempool.departed(&left.txid()).expect("remembered").why;
        assert_eq!(why, Departure::Conflict { with: winner.txid(), block: block.hash() });
    }
}

#[test]
fn m07_a_coinbase_that_is_young_again_takes_what_spends_it_along() {
    let mut world = World::with(Params { maturity_blocks: 3, ..Params::dev() }, 10_000_000);
    let block = world.mine_empty();
    world.mine_empty();
    let third = world.mine_empty();
    let spend = pay(&world, &[reward(&block)], 1, 1_000);
    let child = pay(&world, &[outputs(&spend)[0]], 1, 1_000);
    world.send(spend.clone()).expect("mature in the fourth block");
    world.send(child.clone()).expect("valid");
    let update = world.ledger.invalidate(&third.hash()).expect("a known block");
    world.mempool.follow(&update, &world.ledger, world.now).expect("memory does not fail");
    assert!(world.mempool.is_empty(), "the next block is the third once more");
    for left in [&spend, &child] {
        let departed = world.mempool.departed(&left.txid()).expect("remembered");
        assert_eq!(departed.why, Departure::Invalidated);
    }
    world.mine_empty();
    world.send(spend).expect("mature again");
}

#[test]
fn m07_conditions_on_height_are_asked_again() {
    let mut world = World::new();
    let block = world.mine_empty();
    world.mine_empty();
    let policy = Policy::AfterHeight(Height::new(5));
    let to = Address::of_policy(&policy);
    let coin = reward(&block);
    let lock = sign(&world, &[coin], vec![Output::pay(to, Amount::from_pebbles(coin.1.pebbles() - 1_000))]);
    world.send(lock.clone()).expect("valid");
    world.mine();
    let locked = outputs(&lock)[0];
    let amount = Amount::from_pebbles(locked.1.pebbles() - 1_000);
    let witness = Witness { policy, satisfaction: Satisfaction::Nothing };
    let unlock = Transaction {
        inputs: vec![locked.0],
        outputs: vec![Output::pay(super::world::address(), amount)],
        witnesses: vec![witness],
    };
    assert!(world.send(unlock.clone()).is_err(), "the next block has height 4");
    let fourth = world.mine_empty();
    world.send(unlock.clone()).expect("the next block has height 5");
    let update = world.ledger.invalidate(&fourth.hash()).expect("a known block");
    world.mempool.follow(&update, &world.ledger, world.now).expect("memory does not fail");
    assert!(!world.has(&unlock), "the next block has height 4 again");
    let update = world.ledger.reconsider(&fourth.hash()).expect("a known block");
    world.mempool.follow(&update, &world.ledger, world.now).expect("memory does not fail");
    world.send(unlock).expect("and 5 once more");
}

#[test]
fn m07_a_full_mempool_keeps_the_best_of_what_comes_back() {
    let mut world = World::new();
    let coins = world.fund(30);
    world.send(pay(&world, &[coins[0]], 1, 1_000)).expect("valid");
    let each = world.mempool.memory_bytes();
    let mut world = World::with(Params::dev(), each * 10 + each / 2);
    let coins = world.fund(30);
    let mut other = world.fork();
    let first: Vec<Transaction> =
        (0_u64..).zip(&coins[..9]).map(|(more, coin)| pay(&world, &[*coin], 1, 10_000 + more * 10)).collect();
    for transaction in &first {
        world.send(transaction.clone()).expect("valid");
    }
    world.mine();
    let second: Vec<Transaction> = (0_u64..)
        .zip(&coins[10..19])
        .map(|(more, coin)| pay(&world, &[*coin], 1, 5_000 + more * 10))
        .collect();
    for transaction in &second {
        world.send(transaction.clone()).expect("valid");
    }
    let branch: Vec<Block> = (0..2).map(|_| other.mine_empty()).collect();
    reorganise(&mut world, &branch);
    assert!(world.mempool.memory_bytes() <= world.mempool.max_memory_bytes());
    assert!(first.iter().all(|transaction| world.has(transaction)), "they pay best");
    assert_eq!(world.mempool.len(), 10);
    assert!(world.has(&second[8]) && !world.has(&second[0]));
}
