//! Faults: damaged values, steps that do not fit, and what the ledger makes of them.

use chain::{
    error::SubmitError,
    ledger::{Ledger, created_coins},
    store::{Store, StoreError},
};

use super::{
    super::{
        RocksStore,
        schema::{Family, TIP_KEY, coin_key},
    },
    builder::{Builder, Spend, address, easy_chain},
    dump, folder, open, open_ledger,
};

fn spend(coin: usize) -> Spend {
    Spend { coins: vec![coin], to: 1, data: true, careless: false }
}

/// Writes behind the store's back.
fn overwrite(store: &RocksStore, family: Family, key: &[u8], value: &[u8]) {
    let mut batch = store.database.batch();
    batch.put(family, key, value).expect("a family");
    batch.commit(|| "damage".to_owned()).expect("written");
}

/// A store with `count` blocks connected, each with a payment.
fn grow(builder: &mut Builder, store: &mut RocksStore, count: usize) {
    for _ in 0..count {
        let index = builder.make(builder.made.len() - 1, 0, &[spend(0)]);
        let (checked, connected) = builder.connect(index);
        store.add_headers(&[*checked.header()]).expect("a new header");
        store.add_body(&checked, u64::try_from(index).expect("few")).expect("a new body");
        store.connect(&checked, connected.clone()).expect("the next block");
    }
}

#[test]
fn s01_disconnecting_leaves_exactly_what_was_before() {
    let chain = easy_chain("undo");
    let folder = folder();
    let mut builder = Builder::new(&chain);
    let mut store = open(folder.path(), &chain).expect("a new store");
    for round in 0..6 {
        // Among the payments are some of coins that this very block makes.
        let index = builder.make(round, 1, &[spend(round), spend(round + 1), spend(0)]);
        let (checked, connected) = builder.connect(index);
        store.add_headers(&[*checked.header()]).expect("a new header");
        store.add_body(&checked, u64::try_from(index).expect("few")).expect("a new body");
        let before = dump(&store);
        store.connect(&checked, connected.clone()).expect("the next block");
        let after = dump(&store);
        assert_ne!(before, after);
        let block = store.block(&checked.hash()).expect("read").expect("its body is here");
        let undo = store.undo(&checked.hash()).expect("read").expect("it is connected");
        store.disconnect(&block, &created_coins(&block), &undo).expect("the tip");
        assert_eq!(dump(&store), before);
        assert_eq!(store.undo(&checked.hash()).expect("read"), None);
        store.connect(&checked, connected.clone()).expect("once more");
        assert_eq!(dump(&store), after);
    }
}

#[test]
fn c06_a_storage_fault_judges_no_block() {
    let chain = easy_chain("fault");
    let folder = folder();
    let mut builder = Builder::new(&chain);
    let mut ledger = open_ledger(folder.path(), &chain);
    let first = builder.make(0, 0, &[]);
    ledger.submit(builder.made[first].block.clone(), builder.now()).expect("a valid block");
    let second = builder.make(first, 0, &[spend(0)]);
    let outpoint = builder.made[second].block.transactions[0].inputs[0];
    let key = coin_key(&outpoint);
    let value = super::super::codec::write_coin(&builder.made[first].coins[&outpoint]).expect("a payment");
    overwrite(ledger.store(), Family::Coins, &key, &value[1..]);
    let block = builder.made[second].block.clone();
    let error = ledger.submit(block.clone(), builder.now()).expect_err("the coin cannot be read");
    assert!(matches!(error, SubmitError::Storage(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("the coin {outpoint} is damaged")), "{text}");
    let is_invalid = |ledger: &Ledger<RocksStore>| {
        let node = ledger.tree().find(&block.hash()).expect("its header is here");
        ledger.tree().node(node).is_invalid()
    };
    assert!(!is_invalid(&ledger));
    // A node that is started on the damaged store does not run.
    drop(ledger);
    let store = open(folder.path(), &chain).expect("the store opens");
    Ledger::open(chain.clone(), store).expect_err("the block cannot be connected");
    // Mended, it takes the block.
    let store = open(folder.path(), &chain).expect("the store opens");
    overwrite(&store, Family::Coins, &key, &value);
    let ledger = Ledger::open(chain, store).expect("all can be read");
    assert!(!is_invalid(&ledger));
    assert_eq!(ledger.tip().id.hash, block.hash());
}

/// Asks the store for everything that is in it.
fn read_all(store: &RocksStore, builder: &Builder) -> Result<(), StoreError> {
    let snapshot = store.snapshot();
    store.load()?;
    for made in builder.made.iter().skip(1) {
        let hash = made.block.hash();
        let lacks = |what: &str| StoreError::new(format!("no {what}"));
        snapshot.block(&hash)?.ok_or_else(|| lacks("block"))?;
        snapshot.undo(&hash)?.ok_or_else(|| lacks("undo data"))?;
        let location = snapshot.transaction_location(&made.block.coinbase.txid())?;
        if location.is_none_or(|location| location.block != hash) {
            return Err(lacks("coinbase"));
        }
        for transaction in &made.block.transactions {
            snapshot.transaction_location(&transaction.txid())?.ok_or_else(|| lacks("transaction"))?;
        }
    }
    let last = builder.made.last().expect("the genesis block at least");
    let outpoints: Vec<_> = last.coins.keys().copied().collect();
    for outpoint in &outpoints {
        snapshot.coin(outpoint)?.ok_or_else(|| lacks_coin(outpoint))?;
    }
    store.coins(&outpoints)?;
    snapshot.utxo_stats()?;
    for owner in 0..2 {
        snapshot.address_history(&address(owner), 0, usize::MAX)?;
        snapshot.address_coins(&address(owner), usize::MAX)?;
    }
    Ok(())
}

fn lacks_coin(outpoint: &chain::transaction::OutPoint) -> StoreError {
    StoreError::new(format!("no coin {outpoint}"))
}

#[test]
fn s04_every_damaged_value_is_an_error() {
    let chain = easy_chain("damage");
    let folder = folder();
    let mut builder = Builder::new(&chain);
    let mut store = open(folder.path(), &chain).expect("a new store");
    grow(&mut builder, &mut store, 4);
    read_all(&store, &builder).expect("nothing is damaged");
    let mut damaged = 0;
    for (family, key, value) in dump(&store) {
        if value.is_empty() || (family == Family::Meta && *key != *TIP_KEY) {
            continue;
        }
        for wrong in [&value[..value.len() - 1], &[], &[&*value, &[0]].concat()] {
            overwrite(&store, family, &key, wrong);
            let error = read_all(&store, &builder).expect_err("a damaged value");
            assert!(error.to_string().contains("storage failed: "), "{error}");
            damaged += 1;
        }
        overwrite(&store, family, &key, &value);
    }
    assert!(damaged > 3 * 30, "many values were damaged: {damaged}");
    read_all(&store, &builder).expect("all is mended");
}

#[test]
fn s04_the_body_of_another_block_is_not_served() {
    let chain = easy_chain("swap");
    let folder = folder();
    let mut builder = Builder::new(&chain);
    let mut store = open(folder.path(), &chain).expect("a new store");
    grow(&mut builder, &mut store, 2);
    let [first, second] = [1, 2].map(|index| builder.made[index].block.clone());
    let number = store.snapshot().number(&first.hash()).expect("read").expect("known");
    overwrite(&store, Family::Bodies, &number.to_be_bytes(), &second.to_bytes());
    let error = store.block(&first.hash()).expect_err("it is another block").to_string();
    assert!(error.contains(&format!("the body of block {} is damaged", first.hash())), "{error}");
}

#[test]
fn s04_a_header_that_is_gone_is_named() {
    let chain = easy_chain("hole");
    let folder = folder();
    let mut builder = Builder::new(&chain);
    let mut store = open(folder.path(), &chain).expect("a new store");
    grow(&mut builder, &mut store, 3);
    let mut batch = store.database.batch();
    batch.delete(Family::Headers, 1u32.to_be_bytes()).expect("a family");
    batch.commit(|| "damage".to_owned()).expect("written");
    let error = store.load().expect_err("a header is gone").to_string();
    assert!(error.contains("header number 1 is damaged"), "{error}");
}

#[test]
fn c02_coins_that_do_not_fit_stop_the_store() {
    let chain = easy_chain("drift");
    let folder = folder();
    let mut builder = Builder::new(&chain);
    let mut store = open(folder.path(), &chain).expect("a new store");
    grow(&mut builder, &mut store, 2);
    let index = builder.make(2, 0, &[spend(0)]);
    let (checked, connected) = builder.connect(index);
    let spent = connected.delta().spent[0].clone();
    store.connect(&checked, connected.clone()).expect_err("its header is not here");
    store.add_headers(&[*checked.header()]).expect("a new header");
    store.add_headers(&[*checked.header()]).expect_err("it is here");
    store.add_body(&checked, 9).expect("a new body");
    let whole = dump(&store);
    let refused = |store: &mut RocksStore, why: &str| {
        let before = dump(store);
        let error = store.connect(&checked, connected.clone()).expect_err("it does not fit").to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(dump(store), before, "a step that failed changes nothing");
    };
    // The coin is gone.
    let mut batch = store.database.batch();
    batch.delete(Family::Coins, coin_key(&spent.0)).expect("a family");
    batch.commit(|| "damage".to_owned()).expect("written");
    refused(&mut store, &format!("the coin {} is spent, but is not here", spent.0));
    // It is there, but is worth more.
    let mut richer = spent.1.clone();
    richer.output.amount = richer.output.amount.checked_add(richer.output.amount).expect("no overflow");
    let value = super::super::codec::write_coin(&richer).expect("a payment");
    overwrite(&store, Family::Coins, &coin_key(&spent.0), &value);
    refused(&mut store, &format!("the coin {} is spent, but is not here, or is another one", spent.0));
    let value = super::super::codec::write_coin(&spent.1).expect("a payment");
    overwrite(&store, Family::Coins, &coin_key(&spent.0), &value);
    // A coin that it makes exists.
    let made = connected.delta().created[0].0;
    overwrite(&store, Family::Coins, &coin_key(&made), &value);
    refused(&mut store, &format!("the coin {made} exists already"));
    let mut batch = store.database.batch();
    batch.delete(Family::Coins, coin_key(&made)).expect("a family");
    batch.commit(|| "mending".to_owned()).expect("written");
    assert_eq!(dump(&store), whole);
    store.connect(&checked, connected.clone()).expect("now it fits");
    refused(&mut store, "the tip is");
    let below = builder.made[2].block.clone();
    let error = store.disconnect(&below, &created_coins(&below), &Vec::new()).expect_err("not the tip");
    assert!(error.to_string().contains("the tip is"), "{error}");
}

#[test]
fn h4_a_body_without_its_header_is_refused() {
    let chain = easy_chain("order");
    let folder = folder();
    let mut builder = Builder::new(&chain);
    let mut store = open(folder.path(), &chain).expect("a new store");
    let index = builder.make(0, 0, &[]);
    let (checked, _) = builder.connect(index);
    let before = dump(&store);
    store.add_body(&checked, 1).expect_err("its header is not here");
    store.set_invalid(&[checked.hash()], true).expect_err("its header is not here");
    assert_eq!(dump(&store), before);
    store.add_headers(&[*checked.header()]).expect("a new header");
    store.set_invalid(&[checked.hash()], true).expect("known");
    store.add_body(&checked, 1).expect("known");
    let (_, status) = store.load().expect("read").headers[0];
    assert!(status.invalid && status.body == Some(1), "{status:?}");
}
