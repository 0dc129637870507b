//! Reading beside writing: snapshots, bounds, other threads.

use chain::store::Store;

use super::{
    super::{HistoryEntry, MAX_ADDRESS_COINS, RocksStore},
    builder::{Builder, Spend, address, easy_chain},
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
    let (tip, coins) = (before.tip().expect("a tip"), before.address_coins(&address(0), 10).expect("coins"));
    grow(&mut builder, &mut store, 2, &spends);
    // A second thread asks the old snapshot, while the store is two blocks further.
    std::thread::scope(|scope| {
        let same = scope.spawn(|| {
            let outpoints: Vec<_> = coins.iter().map(|(outpoint, _)| *outpoint).collect();
            assert_eq!(before.tip().expect("a tip"), tip);
            assert_eq!(before.address_coins(&address(0), 10).expect("coins"), coins);
            assert!(before.coins(&outpoints).expect("coins").iter().all(Option::is_some));
            assert_eq!(before.utxo_stats().expect("coins").hash, stats.hash);
            assert_eq!(before.address_history(&address(1), 0, 10).expect("entries"), []);
        });
        same.join().expect("the old snapshot sees the old tip");
    });
    let after = reader.snapshot();
    assert_eq!(after.tip().expect("a tip"), builder.made[5].block.hash());
    assert_ne!(after.utxo_stats().expect("coins").hash, stats.hash);
    assert_eq!(after.address_history(&address(1), 0, 10).expect("entries").len(), 2);
}

#[test]
fn pages_of_a_history_are_the_whole_newest_first() {
    let chain = easy_chain("pages");
    let folder = folder();
    let mut builder = Builder::new(&chain);
    let mut store = open(folder.path(), &chain).expect("a new store");
    grow(&mut builder, &mut store, 7, &[Spend { coins: vec![0], to: 2, data: false, careless: false }]);
    let snapshot = store.snapshot();
    let whole = snapshot.address_history(&address(0), 0, usize::MAX).expect("entries");
    assert!(whole.is_sorted_by_key(|entry| std::cmp::Reverse((entry.height, entry.position))));
    assert!(whole.len() > 7, "coinbases and payments: {}", whole.len());
    let mut pages: Vec<HistoryEntry> = Vec::new();
    loop {
        let page = snapshot.address_history(&address(0), pages.len(), 3).expect("entries");
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        pages.extend(page);
    }
    assert_eq!(pages, whole);
    assert_eq!(snapshot.address_history(&address(3), 0, 10).expect("entries"), []);
    let coins = snapshot.address_coins(&address(0), usize::MAX).expect("coins");
    assert!(coins.len() >= 2 && coins.len() < MAX_ADDRESS_COINS);
    assert!(coins.is_sorted_by_key(|(_, coin)| coin.height), "the oldest first");
    assert_eq!(snapshot.address_coins(&address(0), 2).expect("coins"), coins[..2]);
    assert_eq!(snapshot.address_coins(&address(0), 0).expect("coins"), []);
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
