//! Faults: damaged values, steps that do not fit, and what the ledger makes of them.

use chain::{
    block::Block,
    error::SubmitError,
    ledger::{Ledger, created_coins},
    store::{Store, StoreError},
    utxo::Coin,
};

use super::{
    super::{
        RocksStore,
        codec::{HeaderRow, write_coin, write_header},
        schema::{Family, coin_key},
    },
    Dump,
    builder::{Builder, Spend, easy_chain},
    dump, folder, open, open_ledger,
};

fn spend(coin: usize) -> Spend {
    Spend { coins: vec![coin], to: 1, data: true, careless: false }
}

/// The fail points of any write.
const POINTS: (&str, &str) = ("headers.add.before", "headers.add.after");

/// Writes behind the store's back.
fn overwrite(store: &RocksStore, family: Family, key: &[u8], value: &[u8]) {
    let mut batch = store.shared.database.batch();
    batch.put(family, key, value).expect("a family");
    batch.commit(POINTS, || "damage".to_owned()).expect("written");
}

fn remove(store: &RocksStore, family: Family, key: &[u8]) {
    let mut batch = store.shared.database.batch();
    batch.delete(family, key).expect("a family");
    batch.commit(POINTS, || "damage".to_owned()).expect("written");
}

fn coin_bytes(coin: &Coin) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_coin(coin, &mut bytes).expect("a payment");
    bytes
}

/// The rows of the coins and the indexes, and the tip, after a flush.
fn coins_and_tip(store: &mut RocksStore) -> Dump {
    store.flush().expect("flushed");
    let mut rows = dump(store);
    rows.retain(|(family, _, _)| match family {
        Family::Meta | Family::Undo | Family::Headers | Family::Numbers => false,
        Family::Coins => true,
    });
    rows
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
    store.flush().expect("flushed");
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
        let before = coins_and_tip(&mut store);
        store.connect(&checked, connected.clone()).expect("the next block");
        let after = coins_and_tip(&mut store);
        assert_ne!(before, after);
        let block = store.block(&checked.hash()).expect("read").expect("its body is here");
        let undo = store.undo(&checked.hash()).expect("read").expect("it is connected");
        store.disconnect(&block, &created_coins(&block), &undo).expect("the tip");
        assert_eq!(coins_and_tip(&mut store), before);
        // The undo data stays, and is not written a second time.
        let end = store.undo.end();
        assert_eq!(store.undo(&checked.hash()).expect("read"), Some(undo));
        store.connect(&checked, connected.clone()).expect("once more");
        assert_eq!(store.undo.end(), end);
        assert_eq!(coins_and_tip(&mut store), after);
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
    let value = coin_bytes(&builder.made[first].coins[&outpoint]);
    // Out of memory, so that it must be read.
    ledger.flush().expect("flushed");
    drop(ledger);
    let mut ledger = open_ledger(folder.path(), &chain);
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
    snapshot.tip()?;
    for made in builder.made.iter().skip(1) {
        let hash = made.block.hash();
        let lacks = |what: &str| StoreError::new(format!("no {what}"));
        snapshot.block(&hash)?.ok_or_else(|| lacks("block"))?;
        snapshot.undo(&hash)?.ok_or_else(|| lacks("undo data"))?;
    }
    let last = builder.made.last().expect("the genesis block at least");
    let outpoints: Vec<_> = last.coins.keys().copied().collect();
    for outpoint in &outpoints {
        snapshot.coin(outpoint)?.ok_or_else(|| lacks_coin(outpoint))?;
    }
    snapshot.coins(&outpoints)?;
    snapshot.utxo_stats()?;
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
        if value.is_empty() || family == Family::Meta {
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
    assert!(damaged > 3 * 15, "many values were damaged: {damaged}");
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
    let number = |block: &Block| store.snapshot().number(&block.hash()).expect("read").expect("known");
    let (number, other) = (number(&first), number(&second));
    let row = store.snapshot().header(number).expect("read");
    let wrong = HeaderRow { body: store.snapshot().header(other).expect("read").body, ..row };
    overwrite(&store, Family::Headers, &number.to_be_bytes(), &write_header(&wrong));
    let error = store.block(&first.hash()).expect_err("it is another block").to_string();
    assert!(error.contains(&format!("it is of block {}, not {}", second.hash(), first.hash())), "{error}");
}

#[test]
fn s04_a_header_that_is_gone_is_named() {
    let chain = easy_chain("hole");
    let folder = folder();
    let mut builder = Builder::new(&chain);
    let mut store = open(folder.path(), &chain).expect("a new store");
    grow(&mut builder, &mut store, 3);
    remove(&store, Family::Headers, &1u32.to_be_bytes());
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
    store.flush().expect("flushed");
    let whole = dump(&store);
    // Opened anew each time: what is in memory would hide what is on the disk.
    let refused = |store: &mut RocksStore, why: &str| {
        let before = dump(store);
        let error = store.connect(&checked, connected.clone()).expect_err("it does not fit").to_string();
        assert!(error.contains(why), "{error}");
        // Nothing of a step that failed reaches the disk, however often it is asked for.
        store.flush().expect_err("half a step is in memory");
        store.connect(&checked, connected.clone()).expect_err("half a step is in memory");
        assert_eq!(dump(store), before, "a step that failed changes nothing");
    };
    let reopen = |store: RocksStore| {
        drop(store);
        open(folder.path(), &chain).expect("the store opens")
    };
    let mut store = reopen(store);
    // The coin is gone.
    let key = coin_key(&spent.0);
    remove(&store, Family::Coins, &key);
    refused(&mut store, &format!("the coin {} is spent, but is not here", spent.0));
    // It is there, but is worth more.
    let mut store = reopen(store);
    let mut richer = spent.1.clone();
    richer.output.amount = richer.output.amount.checked_add(richer.output.amount).expect("no overflow");
    overwrite(&store, Family::Coins, &key, &coin_bytes(&richer));
    refused(&mut store, &format!("the coin {} is spent, but is not here, or is another one", spent.0));
    let mut store = reopen(store);
    overwrite(&store, Family::Coins, &key, &coin_bytes(&spent.1));
    assert_eq!(dump(&store), whole);
    // A coin that it makes exists already (threat C05), as far as can be seen without reading the disk.
    let made = &connected.delta().created[0];
    store.coins.lock().remember(&made.0, &made.1);
    refused(&mut store, &format!("the coin {} exists already", made.0));
    let mut store = reopen(store);
    store.connect(&checked, connected.clone()).expect("now it fits");
    let error = store.connect(&checked, connected.clone()).expect_err("it is the tip").to_string();
    assert!(error.contains("the tip is"), "{error}");
    let below = builder.made[2].block.clone();
    let error = store.disconnect(&below, &created_coins(&below), &Vec::new()).expect_err("not the tip");
    assert!(error.to_string().contains("the tip is"), "{error}");
    store.flush().expect("a step that did not begin breaks nothing");
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
