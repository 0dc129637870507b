//! The same blocks give the same verdicts, whatever machine they are given to (threat D02): on one thread or
//! many, in one run or another. `tests/tidy.rs` keeps floats, clocks and chance out of the crate.

use chain::memory::MemoryStore;
use chain::transaction::Transaction;
use rayon::ThreadPoolBuilder;

use crate::build::{Key, World, coins, to};

/// What a ledger says of a story with payments, forks, forgeries and a reorganisation, in full.
fn story(threads: usize) -> String {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
    pool.install(|| {
        let mut world = World::easy();
        world.mine_empty(40);
        let root = world.tip();
        let pay = |world: &World, height: u32| -> Transaction {
            world.pay(&[world.reward_at(height)], vec![to(&Key::new(height), coins(50))])
        };
        let payments: Vec<Transaction> = (1..=30).map(|height| pay(&world, height)).collect();
        let mut forged = payments.clone();
        for guilty in [7, 23] {
            forged[guilty].outputs = vec![to(&Key::new(666), coins(50))];
        }
        let honest = world.draft(payments);
        let one = world.draft_on(root, forged);
        let two = {
            world.ledger.submit_headers(&[one.header], one.header.time).expect("a good header");
            world.draft_on(one.hash(), Vec::new())
        };
        let mut fresh = World::over(world.chain.clone(), MemoryStore::default());
        let trunk = (1..=40).map(|height| world.ledger.block(&world.hash_at(height)));
        let trunk: Vec<_> = trunk.map(|block| block.expect("no fault").expect("is here")).collect();
        let now = two.header.time;
        let mut said = format!("{:?}", fresh.ledger.submit_many(trunk, now));
        for blocks in [vec![one, two], vec![honest]] {
            said += &format!("{:?}", fresh.ledger.submit_many(blocks, now));
        }
        let mut coins: Vec<_> = fresh.ledger.store().utxo_set().iter().collect();
        coins.sort_unstable_by_key(|(outpoint, _)| **outpoint);
        said + &format!("{coins:?}")
    })
}

#[test]
fn d02_threads_and_runs_make_no_difference() {
    let alone = story(1);
    assert!(alone.contains("BadSignature") && alone.contains("index: 7,"), "the lowest forgery is named");
    for threads in [1, 2, 7] {
        assert_eq!(story(threads), alone, "{threads} threads");
    }
}
