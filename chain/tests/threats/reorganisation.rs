//! Deep reorganisations, equal work, and work against length.

use std::collections::HashMap;

use chain::{
    block::Block, ledger::Ledger, params::Params, pow::CompactTarget, time::Time, transaction::OutPoint,
    utxo::Coin,
};

use crate::build::{Key, World, coins, easy_params, held, seal, to};

/// The UTXO set that a new ledger arrives at, given the active chain from the genesis block on.
fn replay(world: &World) -> HashMap<OutPoint, Coin> {
    let mut fresh = World::over(world.chain.clone(), chain::memory::MemoryStore::default());
    for height in 1..=world.height() {
        let block = world.ledger.block(&world.hash_at(height)).expect("no storage fault").expect("is here");
        fresh.accept(&block);
    }
    assert_eq!(fresh.tip(), world.tip());
    fresh.ledger.store().utxo_set().clone()
}

#[test]
fn c18_a_reorganisation_of_600_blocks() {
    let mut world = World::easy();
    world.mine_empty(2);
    let fork = world.tip();
    // Our side moves one coin from hand to hand, a payment a block.
    let mut coin = world.reward_at(1);
    for hand in 1..=600 {
        let amount = coin.1.amount.pebbles() - 1;
        let payment = world.pay(
            std::slice::from_ref(&coin),
            vec![to(&crate::build::miner(), amount), crate::build::data(&[1])],
        );
        coin = held(&payment, 0);
        world.mine(vec![payment]);
        assert_eq!(world.height(), 2 + hand);
    }
    let before = world.ledger.store().utxo_set().clone();
    let old_tip = world.tip();
    // Their side is one block longer and empty.
    let mut tip = fork;
    let mut update = None;
    for _ in 0..601 {
        let block = world.draft_on(tip, Vec::new());
        tip = block.hash();
        update = Some(world.accept(&block));
    }
    let update = update.expect("601 blocks");
    assert_eq!((update.reverted.len(), update.applied.len()), (600, 601));
    assert_eq!(update.reverted[0].hash, old_tip);
    assert_eq!(world.tip(), tip);
    assert_eq!(world.ledger.store().utxo_set(), &replay(&world));
    // And all the way back: what was there is there again, to the last coin.
    let mut back = old_tip;
    for _ in 0..2 {
        back = world.mine_on(back, Vec::new()).hash();
    }
    assert_eq!(world.tip(), back);
    let after = world.ledger.store().utxo_set();
    assert_eq!(after, &replay(&world));
    assert_eq!(after.len(), before.len() + 2);
    assert!(before.iter().all(|(outpoint, coin)| after.get(outpoint) == Some(coin)));
}

#[test]
fn c18_a_reorganisation_that_was_cut_off_is_finished_at_the_next_start() {
    let mut world = World::easy();
    world.mine_empty(3);
    let fork = world.tip();
    world.mine_empty(5);
    let mut tip = fork;
    let mut last = None;
    for _ in 0..6 {
        let block = world.draft_on(tip, Vec::new());
        tip = block.hash();
        world.ledger.submit_headers(&[block.header], block.header.time).expect("a good header");
        if let Some(before) = last.replace(block) {
            world.accept(&before);
        }
    }
    // The body of the sixth is in the store; the process died before it was followed.
    let mut store = world.ledger.store().clone();
    let checked = chain::check::CheckedBlock::check(last.expect("six"), &world.chain).expect("a good block");
    chain::store::Store::add_body(&mut store, &checked, 1_000).expect("memory does not fail");
    let reopened = Ledger::open(world.chain.clone(), store).expect("a good store");
    assert_eq!(reopened.tip().id.hash, tip);
}

#[test]
fn c19_equal_work_never_moves_the_tip() {
    let mut world = World::easy();
    world.mine_empty(3);
    let fork = world.tip();
    world.mine_empty(1);
    let first = world.tip();
    let rivals: Vec<Block> = (0..20).map(|_| world.draft_on(fork, Vec::new())).collect();
    for rival in &rivals {
        assert!(!world.accept(rival).moved_tip());
        assert_eq!(world.tip(), first, "the first that was seen stays");
    }
    // A block on any of them decides, and then that one stays.
    let decisive = world.mine_on(rivals[7].hash(), Vec::new());
    assert_eq!(world.tip(), decisive.hash());
    world.mine_on(first, Vec::new());
    assert_eq!(world.tip(), decisive.hash(), "equal again, so nothing moves");
}

#[test]
fn c20_a_short_chain_of_hard_blocks_beats_a_long_one_of_easy_blocks() {
    // The half-life is ten seconds: blocks a hundred seconds apart become a thousand times easier.
    let mut world = World::new(Params {
        half_life_secs: 10,
        initial_bits: CompactTarget::from_u32(0x2001_0000),
        ..easy_params()
    });
    let root = world.chain.id();
    let mut easy = Vec::new();
    let mut parent = root;
    for _ in 0..10 {
        let mut block = world.draft_on(parent, Vec::new());
        let id = world.ledger.tree().find(&parent).expect("known");
        block.header.time = world.ledger.tree().node(id).header().time.saturating_add_secs(100);
        seal(&mut block);
        parent = block.hash();
        world.accept(&block);
        easy.push(block);
    }
    assert_eq!(world.tip(), parent);
    assert_eq!(easy[9].header.bits, world.chain.params().limit_bits);
    let long = world.ledger.tip();
    // Three blocks on schedule, at the initial target.
    let mut parent = root;
    for _ in 0..3 {
        parent = world.mine_on(parent, Vec::new()).hash();
    }
    assert_eq!(world.tip(), parent, "three blocks beat ten");
    assert!(world.ledger.tip().work > long.work);
    assert!(world.ledger.tip().id.height < long.id.height);
}

#[test]
fn c07_early_timestamps_never_pay() {
    // A majority miner who stamps every block one second above the median time past. However the stamps lie,
    // the target halves for every half-life that the chain is ahead of its schedule.
    let mut world = World::new(Params { half_life_secs: 100, ..easy_params() });
    let start = world.chain.params().initial_bits.to_target().expect("a target").to_u256();
    let mut halvings = 0;
    for _ in 0..150 {
        let mut block = world.draft(Vec::new());
        block.header.time = world.ledger.tip().median_time_past.saturating_add_secs(1);
        seal(&mut block);
        world.accept(&block);
        let tip = world.ledger.tip();
        let scheduled_secs = (tip.id.height.get() - 1) * 5;
        let passed_secs = tip.header.time.secs() - first_time(&world).secs();
        halvings = usize::try_from(scheduled_secs.saturating_sub(passed_secs) / 100).expect("small");
        let id = world.ledger.tree().find(&tip.id.hash).expect("the tip");
        let next = world.ledger.tree().context(id).expected_bits(world.chain.params());
        assert!(next.to_target().expect("a target").to_u256() <= start >> halvings);
    }
    assert!(halvings >= 6, "{halvings}");
}

fn first_time(world: &World) -> Time {
    let id = world.ledger.active(chain::height::Height::new(1)).expect("block 1");
    world.ledger.tree().node(id).header().time
}

#[test]
fn c18_losers_payments_can_be_mined_again() {
    let mut world = World::easy();
    world.mine_empty(2);
    let fork = world.tip();
    let payment = world.pay(&[world.reward_at(1)], vec![to(&Key::new(1), coins(50))]);
    let lost = world.mine(vec![payment.clone()]);
    let mut tip = fork;
    for _ in 0..2 {
        tip = world.mine_on(tip, Vec::new()).hash();
    }
    assert_eq!(world.tip(), tip);
    assert!(!world.ledger.store().utxo_set().contains_key(&held(&payment, 0).0));
    assert_eq!(
        world.ledger.block(&lost.hash()).expect("no fault").expect("kept").transactions,
        [std::sync::Arc::new(payment.clone())]
    );
    world.mine(vec![payment]);
}
