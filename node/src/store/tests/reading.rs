//! Reading beside writing: snapshots, bounds, other threads.

use chain::store::Store;

use super::{
    super::RocksStore,
    builder::{Builder, Spend, easy_chain},
    folder, open,
};

/// Connects `count` blocks that pay person 0, each with `spends`.
fn grow(builder: &mut Builder, store: &mut RocksStore, count: usize, spends: &[Spend]) {
    for _ in 0..count {
        let index = builder.make(builder.made.len() - 1, 0, spends);
        let (checked, connected) = builder.connect(index);
        store.add_headers(&[*checked.header()]).expect("a new header");
        store.add_body(&checked, u64::try_from(index).expect("few")).expect("a new body");
        store.connect(&checked, connected.clone()).expect("the next block");
    }
    store.flush().expect("flushed");
}

#[test]
fn r16_a_snapshot_sees_one_tip() {
    let chain = easy_chain("snapshot");
    let folder = folder();
    let mut builder = Builder::new(&chain);
    let mut store = open(folder.path(), &chain).expect("a new store");
    let reader = store.reader();
    let spends = [Spend { coins: vec![0], to: 1, data: false, careless: false }];
    grow(&mut builder, &mut store, 3, &[]);
    let before = reader.snapshot();
    let stats = before.utxo_stats().expect("coins");
    let tip = before.tip().expect("a tip");
    let coins: Vec<_> = before.utxo_set().expect("coins").map(|coin| coin.expect("a coin")).collect();
    grow(&mut builder, &mut store, 2, &spends);
    // A second thread asks the old snapshot, while the store is two blocks further.
    std::thread::scope(|scope| {
        let same = scope.spawn(|| {
            let outpoints: Vec<_> = coins.iter().map(|(outpoint, _)| *outpoint).collect();
            assert_eq!(before.tip().expect("a tip"), tip);
            assert!(before.coins(&outpoints).expect("coins").iter().all(Option::is_some));
            assert_eq!(before.utxo_stats().expect("coins").hash, stats.hash);
        });
        same.join().expect("the old snapshot sees the old tip");
    });
    let after = reader.snapshot();
    assert_eq!(after.tip().expect("a tip"), builder.made[5].block.hash());
    assert_ne!(after.utxo_stats().expect("coins").hash, stats.hash);
}

#[test]
fn coins_come_in_the_order_of_the_question() {
    let chain = easy_chain("asked");
    let folder = folder();
    let mut builder = Builder::new(&chain);
    let mut store = open(folder.path(), &chain).expect("a new store");
    grow(&mut builder, &mut store, 5, &[]);
    let coins = &builder.made[5].coins;
    let mut asked: Vec<_> = coins.keys().rev().copied().collect();
    // One twice, one that does not exist, and more than are looked up at once.
    asked.insert(2, asked[0]);
    asked.insert(3, chain::transaction::OutPoint { index: 77, ..asked[0] });
    let asked: Vec<_> = asked.iter().cycle().take(9_001).copied().collect();
    let found = store.coins(&asked).expect("coins");
    assert_eq!(found.len(), asked.len());
    for (outpoint, coin) in asked.iter().zip(found) {
        assert_eq!(coin.as_ref(), coins.get(outpoint));
        assert_eq!(coin, store.snapshot().coin(outpoint).expect("a coin"));
    }
}
