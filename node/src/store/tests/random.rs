//! The same blocks in the same order, given to a ledger over the reference store and to one over RocksDB.

use std::collections::BTreeMap;

use chain::{
    amount::Amount, encode, hash::sha256, ledger::Ledger, memory::MemoryStore, store::Store,
    transaction::OutPoint, utxo::Coin,
};
use proptest::prelude::*;
use rocksdb::{IteratorMode, ReadOptions};

use super::{
    super::{RocksStore, schema::Family},
    builder::{Builder, OWNERS, Spend, easy_chain},
    folder, open_ledger,
};

/// How many blocks back a new block may stand: as deep as forks are.
const FORK_DEPTH: usize = 6;

/// One block, and how it is delivered.
#[derive(Clone, Debug)]
struct Step {
    /// How many blocks before the last one made its parent is.
    back: usize,
    miner: u8,
    spends: Vec<Spend>,
    /// Whether only the header is delivered for now.
    hold: bool,
    /// Whether a body that was held is delivered after it.
    release: bool,
    /// Whether everything is flushed and compared after it.
    flush: bool,
    /// Whether the process dies and the store is opened again after it.
    reopen: bool,
}

fn spend() -> impl Strategy<Value = Spend> {
    let coins = prop::collection::vec(any::<usize>(), 1..3);
    (coins, 0..OWNERS, any::<bool>(), prop::bool::weighted(0.05))
        .prop_map(|(coins, to, data, careless)| Spend { coins, to, data, careless })
}

fn step() -> impl Strategy<Value = Step> {
    // Most blocks stand on the last one, so that chains grow.
    let back = prop_oneof![3 => Just(0), 2 => 0..FORK_DEPTH];
    let spends = prop::collection::vec(spend(), 0..4);
    let often = prop::bool::weighted(0.3);
    let reopen = prop::bool::weighted(0.1);
    (back, 0..OWNERS, spends, often, often, often, reopen).prop_map(
        |(back, miner, spends, hold, release, flush, reopen)| Step {
            back,
            miner,
            spends,
            hold,
            release,
            flush,
            reopen,
        },
    )
}

/// What is in memory, before it is flushed.
fn compare_unflushed(builder: &Builder, memory: &Ledger<MemoryStore>, rocks: &Ledger<RocksStore>) {
    assert_eq!(memory.tip(), rocks.tip());
    let names: std::collections::BTreeSet<OutPoint> =
        builder.made.iter().flat_map(|made| made.coins.keys().copied()).collect();
    let names: Vec<OutPoint> = names.into_iter().collect();
    assert_eq!(memory.coins(&names).expect("in memory"), rocks.coins(&names).expect("coins"));
}

fn compare(builder: &Builder, memory: &Ledger<MemoryStore>, rocks: &mut Ledger<RocksStore>) {
    compare_unflushed(builder, memory, rocks);
    rocks.flush().expect("flushed");
    compare_unflushed(builder, memory, rocks);
    let rocks = &*rocks;
    let snapshot = rocks.store().snapshot();
    assert_eq!(snapshot.tip().expect("a tip"), memory.tip().id.hash);
    let utxo_set: BTreeMap<OutPoint, Coin> =
        memory.store().utxo_set().iter().map(|(outpoint, coin)| (*outpoint, coin.clone())).collect();
    let stored: Result<Vec<(OutPoint, Coin)>, _> = snapshot.utxo_set().expect("coins").collect();
    assert!(stored.expect("coins").into_iter().eq(utxo_set.clone()), "the same coins, sorted");
    let bytes: Vec<u8> = utxo_set.iter().flat_map(|pair| encode::to_bytes(&pair)).collect();
    let amount = utxo_set.values().map(|coin| coin.output.amount.pebbles()).sum();
    let stats = snapshot.utxo_stats().expect("coins");
    assert_eq!(stats.hash, sha256(&bytes));
    assert_eq!(stats.count, u64::try_from(utxo_set.len()).expect("few"));
    assert_eq!(stats.amount, Amount::from_pebbles(amount));
    for made in builder.made.iter().skip(1) {
        let hash = made.block.hash();
        // Undo data stays when its block leaves the active chain.
        if let Some(undo) = memory.store().undo(&hash).expect("in memory") {
            assert_eq!(rocks.store().undo(&hash).expect("undo"), Some(undo));
        }
        assert_eq!(
            memory.store().block(&hash).expect("in memory"),
            rocks.store().block(&hash).expect("body")
        );
    }
    let (expected, stored) = (memory.store().load().expect("in memory"), rocks.store().load().expect("rows"));
    assert_eq!(expected.headers, stored.headers);
    let genesis = builder.chain.id();
    assert_eq!(expected.tip.filter(|tip| *tip != genesis), stored.tip);
    let rows = snapshot.rows(Family::Undo, IteratorMode::Start, ReadOptions::default()).expect("a family");
    let connected = usize::try_from(memory.tip().id.height.get()).expect("low");
    assert!(rows.count() >= connected, "undo data of all connected blocks");
}

/// Gives a block to both ledgers, which must say the same.
fn submit(builder: &Builder, index: usize, memory: &mut Ledger<MemoryStore>, rocks: &mut Ledger<RocksStore>) {
    let block = &builder.made[index].block;
    let expected = memory.submit(block.clone(), builder.now());
    let found = rocks.submit(block.clone(), builder.now());
    assert_eq!(format!("{expected:?}"), format!("{found:?}"));
    compare_unflushed(builder, memory, rocks);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn s01_the_store_equals_the_reference_store(steps in prop::collection::vec(step(), 1..30)) {
        let chain = easy_chain("equal");
        let folder = folder();
        let mut builder = Builder::new(&chain);
        let mut memory = Ledger::open(chain.clone(), MemoryStore::default()).expect("an empty store");
        let mut rocks = open_ledger(folder.path(), &chain);
        let mut held = Vec::new();
        for step in steps {
            let parent = builder.made.len() - 1 - step.back.min(builder.made.len() - 1);
            let index = builder.make(parent, step.miner, &step.spends);
            if step.hold {
                let headers = [builder.made[index].block.header];
                let expected = memory.submit_headers(&headers, builder.now());
                let found = rocks.submit_headers(&headers, builder.now());
                prop_assert_eq!(format!("{expected:?}"), format!("{found:?}"));
                held.push(index);
            } else {
                submit(&builder, index, &mut memory, &mut rocks);
            }
            if step.release && !held.is_empty() {
                submit(&builder, held.remove(0), &mut memory, &mut rocks);
            }
            if step.reopen {
                drop(rocks);
                rocks = open_ledger(folder.path(), &chain);
                let store = memory.store().clone();
                memory = Ledger::open(chain.clone(), store).expect("a whole store");
                compare_unflushed(&builder, &memory, &rocks);
            }
            if step.flush {
                compare(&builder, &memory, &mut rocks);
            }
        }
        // The youngest first, so that the bodies of whole branches come from above.
        for index in held.into_iter().rev() {
            submit(&builder, index, &mut memory, &mut rocks);
        }
        drop(rocks);
        compare(&builder, &memory, &mut open_ledger(folder.path(), &chain));
    }
}
