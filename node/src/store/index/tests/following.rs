//! The same chain, walked by a naive model and followed by the indexer, through reorganisations and deaths.

use std::{collections::BTreeMap, path::Path};

use chain::{
    address::Address,
    amount::Amount,
    block::Block,
    genesis::Chain,
    hash::{BlockHash, TxId},
    height::Height,
    ledger::{BlockId, Ledger},
    transaction::{OutPoint, Output},
};
use proptest::prelude::*;
use rocksdb::{IteratorMode, ReadOptions};

use super::super::{
    super::{
        OpenStoreError, RocksStore, StoreOptions,
        tests::builder::{Builder, OWNERS, Spend, address, easy_chain},
    },
    HistoryEntry, INDEX_VERSION, IndexDb, IndexOptions, IndexedCoin, TransactionPlace,
    database::DAMAGED_FILE,
    indexer::{Follower, Step, open, spawn},
    schema::{COIN, Family, HISTORY, SCHEMA_KEY, TRANSACTION, address_prefix},
};

/// How many blocks back a new block may stand: as deep as forks are.
const FORK_DEPTH: usize = 6;

/// Batches of a few blocks, so that the indexer stops in the middle of its way.
fn small_batches() -> IndexOptions {
    IndexOptions { batch_bytes: 1_500, ..IndexOptions::default() }
}

#[derive(Clone, Debug)]
struct Action {
    /// How many blocks before the last one made its parent is.
    back: usize,
    miner: u8,
    spends: Vec<Spend>,
    /// How many batches the indexer writes after it.
    batches: usize,
    /// Whether the indexer dies then, and begins again.
    die: bool,
}

fn action() -> impl Strategy<Value = Action> {
    let back = prop_oneof![3 => Just(0), 2 => 0..FORK_DEPTH];
    let coins = prop::collection::vec(any::<usize>(), 1..3);
    let spend = (coins, 0..OWNERS, any::<bool>()).prop_map(|(coins, to, data)| Spend {
        coins,
        to,
        data,
        careless: false,
    });
    let spends = prop::collection::vec(spend, 0..4);
    (back, 0..OWNERS, spends, 0usize..3, prop::bool::weighted(0.2))
        .prop_map(|(back, miner, spends, batches, die)| Action { back, miner, spends, batches, die })
}

/// What the index must say, by walking the chain.
#[derive(Default)]
struct Naive {
    places: BTreeMap<TxId, TransactionPlace>,
    /// By address, the oldest first.
    history: BTreeMap<Address, Vec<HistoryEntry>>,
    outputs: BTreeMap<OutPoint, (Output, Height, bool)>,
    unspent: BTreeMap<(Height, OutPoint), (Output, bool)>,
}

impl Naive {
    /// Of the chain that ends with `tip`.
    fn of(builder: &Builder, tip: &BlockHash) -> Self {
        let mut blocks: Vec<&Block> = Vec::new();
        let mut at = *tip;
        while at != builder.chain.id() {
            let made =
                builder.made.iter().find(|made| made.block.hash() == at).expect("a block that was made");
            blocks.push(&made.block);
            at = made.block.header.previous;
        }
        let mut model = Self::default();
        blocks.into_iter().rev().for_each(|block| model.walk(block));
        model
    }

    fn walk(&mut self, block: &Block) {
        let height = block.coinbase.height;
        let coinbase = (block.coinbase.txid(), Vec::new(), block.coinbase.outputs.clone());
        let others = block.transactions.iter().map(|it| (it.txid(), it.inputs.clone(), it.outputs.clone()));
        for (position, (txid, inputs, outputs)) in (0..).zip(std::iter::once(coinbase).chain(others)) {
            self.places.insert(txid, TransactionPlace { height, position });
            let mut sums: BTreeMap<Address, (u64, u64)> = BTreeMap::new();
            for input in &inputs {
                let (output, made, _) = &self.outputs[input];
                self.unspent.remove(&(*made, *input));
                let address = output.address().expect("a payment was spent");
                sums.entry(*address).or_default().1 += output.amount.pebbles();
            }
            for (index, output) in (0..).zip(outputs) {
                let outpoint = OutPoint { txid, index };
                if let Some(address) = output.address() {
                    sums.entry(*address).or_default().0 += output.amount.pebbles();
                    self.unspent.insert((height, outpoint), (output.clone(), position == 0));
                }
                self.outputs.insert(outpoint, (output, height, position == 0));
            }
            for (address, (received, sent)) in sums {
                let (received, sent) = (Amount::from_pebbles(received), Amount::from_pebbles(sent));
                let entry = HistoryEntry { txid, height, position, received, sent };
                self.history.entry(address).or_default().push(entry);
            }
        }
    }

    fn coins(&self, address: &Address) -> Vec<IndexedCoin> {
        let of = self.unspent.iter().filter(|(_, (output, _))| output.address() == Some(address));
        of.map(|((height, outpoint), (output, coinbase))| IndexedCoin {
            outpoint: *outpoint,
            height: *height,
            amount: output.amount,
            coinbase: *coinbase,
        })
        .collect()
    }
}

/// Holds all that the index says against the model of the chain that ends with the index's tip.
fn compare(builder: &Builder, database: &IndexDb) {
    let snapshot = database.snapshot();
    let tip = snapshot.tip().expect("a tip");
    assert_eq!(database.tip().expect("a tip"), tip);
    let model = Naive::of(builder, &tip.hash);
    for made in &builder.made {
        for txid in made.block.transactions.iter().map(|it| it.txid()).chain([made.block.coinbase.txid()]) {
            assert_eq!(snapshot.transaction(&txid).expect("an entry"), model.places.get(&txid).copied());
        }
    }
    for owner in 0..OWNERS {
        let address = address(owner);
        let expected = model.history.get(&address).cloned().unwrap_or_default();
        let mut history = snapshot.address_history(&address, 0, usize::MAX).expect("entries");
        assert_eq!(snapshot.address_history(&address, 1, 2).expect("entries"), {
            history.iter().skip(1).take(2).copied().collect::<Vec<_>>()
        });
        history.reverse();
        assert_eq!(history, expected);
        let coins: Result<Vec<IndexedCoin>, _> = snapshot.address_coins(&address).expect("coins").collect();
        assert_eq!(coins.expect("coins"), model.coins(&address));
    }
    // Nothing but that is there: no row of a block that left the chain stays.
    let count = |kind: u8| {
        let rows = snapshot.rows(IteratorMode::Start, ReadOptions::default()).expect("the rows");
        rows.filter(|row| row.as_ref().expect("a row").0.first() == Some(&kind)).count()
    };
    assert_eq!(count(TRANSACTION), model.places.len());
    assert_eq!(count(HISTORY), model.history.values().map(Vec::len).sum::<usize>());
    assert_eq!(count(COIN), model.unspent.len());
}

fn open_ledger(path: &Path, chain: &Chain) -> Ledger<RocksStore> {
    let store = RocksStore::open(path, chain, &StoreOptions::default()).expect("the store opens");
    Ledger::open(chain.clone(), store).expect("the ledger opens")
}

fn tip_of(ledger: &Ledger<RocksStore>) -> BlockId {
    ledger.tip().id
}

/// A chain, a ledger over it and a folder for its index.
struct House {
    builder: Builder,
    ledger: Ledger<RocksStore>,
    folder: tempfile::TempDir,
}

impl House {
    fn new(name: &str) -> Self {
        let chain = easy_chain(name);
        let folder = tempfile::tempdir().expect("a folder for the test");
        let ledger = open_ledger(&folder.path().join("store"), &chain);
        Self { builder: Builder::new(&chain), ledger, folder }
    }

    fn submit(&mut self, parent: usize, miner: u8, spends: &[Spend]) -> usize {
        let index = self.builder.make(parent, miner, spends);
        let block = self.builder.made[index].block.clone();
        self.ledger.submit(block, self.builder.now()).expect("a block that is taken");
        self.ledger.flush().expect("flushed");
        index
    }

    fn extend(&mut self, blocks: u8) {
        for miner in 0..blocks {
            let spends = [Spend { coins: vec![0, 7], to: miner % OWNERS, data: false, careless: false }];
            self.submit(self.builder.made.len() - 1, miner % OWNERS, &spends);
        }
    }

    fn open_index(&self) -> Result<IndexDb, OpenStoreError> {
        let path = self.folder.path().join("index");
        open(&path, &self.builder.chain, &small_batches(), &self.ledger.store().reader())
    }

    fn follow(&self, database: IndexDb) -> Follower<super::super::super::StoreReader> {
        Follower::new(database, self.ledger.store().reader())
    }

    /// Opens the index, lets it catch up, and closes it; returns from where it began.
    fn catch_up(&self) -> BlockId {
        let mut follower = self.follow(self.open_index().expect("an index"));
        let start = follower.database.tip().expect("a tip");
        while follower.step().expect("a step") == Step::Moved {}
        assert_eq!(follower.database.tip().expect("a tip"), tip_of(&self.ledger));
        compare(&self.builder, &follower.database);
        start
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn s01_the_index_equals_a_walk_over_the_chain(actions in prop::collection::vec(action(), 1..30)) {
        let mut house = House::new("follow");
        let mut follower = house.follow(house.open_index().expect("an index"));
        for action in actions {
            let last = house.builder.made.len() - 1;
            house.submit(last - action.back.min(last), action.miner, &action.spends);
            for _ in 0..action.batches {
                follower.step().expect("a step");
                compare(&house.builder, &follower.database);
            }
            if action.die {
                drop(follower);
                follower = house.follow(house.open_index().expect("an index"));
                compare(&house.builder, &follower.database);
            }
        }
        while follower.step().expect("a step") == Step::Moved {}
        prop_assert_eq!(follower.database.tip().expect("a tip"), tip_of(&house.ledger));
        compare(&house.builder, &follower.database);
    }
}

#[test]
fn a_coin_that_one_branch_spends_at_once_and_the_other_keeps_is_not_lost() {
    // Two blocks of one height hold the same payment; the first also spends what that makes. Both changes of the
    // branch are in one batch.
    let mut house = House::new("kept");
    let below = house.submit(0, 0, &[]);
    let one = Spend { coins: vec![0], to: 1, data: false, careless: false };
    let all = Spend { coins: (0..6).collect(), to: 2, data: false, careless: false };
    let first = house.submit(below, 0, &[one.clone(), all]);
    assert_eq!(house.catch_up().height, Height::ZERO);
    let second = house.submit(below, 1, &[one]);
    let block = |index: usize| &house.builder.made[index].block;
    assert_eq!(block(first).transactions[0], block(second).transactions[0]);
    let kept = block(second).transactions[0].txid();
    assert!(block(first).transactions[1].inputs.iter().any(|input| input.txid == kept));
    house.submit(second, 1, &[]);
    let path = house.folder.path().join("index");
    let reader = house.ledger.store().reader();
    let database = open(&path, &house.builder.chain, &IndexOptions::default(), &reader).expect("an index");
    let mut follower = house.follow(database);
    assert_eq!(follower.step().expect("a step"), Step::Moved);
    assert_eq!(follower.database.tip().expect("a tip"), tip_of(&house.ledger), "in one batch");
    compare(&house.builder, &follower.database);
}

#[test]
fn s08_an_index_of_another_chain_is_refused_and_left_alone() {
    let mut house = House::new("mine");
    house.extend(5);
    house.catch_up();
    let path = house.folder.path().join("index");
    let other = easy_chain("theirs");
    let refused = IndexDb::open(&path, &other, &IndexOptions::default());
    assert!(matches!(refused, Err(OpenStoreError::OtherChain { .. })), "{refused:?}");
    assert_eq!(house.catch_up(), tip_of(&house.ledger), "nothing was lost");
}

#[test]
fn s08_an_older_index_is_made_anew_and_a_newer_one_refused() {
    let mut house = House::new("versions");
    house.extend(5);
    for (version, refused) in [(INDEX_VERSION - 1, false), (INDEX_VERSION + 1, true)] {
        house.catch_up();
        let database = house.open_index().expect("an index");
        let meta = database.family(Family::Meta).expect("a family");
        database.db().put_cf(meta, SCHEMA_KEY, version.to_be_bytes()).expect("written");
        drop(database);
        if refused {
            let answer = house.open_index();
            assert!(matches!(answer, Err(OpenStoreError::NewerSchema { .. })), "{answer:?}");
        } else {
            assert_eq!(house.catch_up().height, Height::ZERO, "it began anew");
        }
    }
}

#[test]
fn s04_a_damaged_index_is_made_anew() {
    let mut house = House::new("damage");
    house.extend(9);
    house.catch_up();
    let path = house.folder.path().join("index");
    // A value that cannot have been written is met by a reader, which says so; the next start begins anew.
    let database = house.open_index().expect("an index");
    let family = database.family(Family::Rows).expect("a family");
    let key = [address_prefix(COIN, &address(1)).as_slice(), &[0; 40]].concat();
    database.db().put_cf(family, key, [0; 3]).expect("written");
    let snapshot = database.snapshot();
    let coins: Result<Vec<IndexedCoin>, _> = snapshot.address_coins(&address(1)).expect("coins").collect();
    let error = coins.expect_err("a damaged row").to_string();
    assert!(error.contains("the index is damaged"), "{error}");
    drop(snapshot);
    drop(database);
    assert!(path.join(DAMAGED_FILE).exists());
    assert_eq!(house.catch_up().height, Height::ZERO, "it began anew");
    assert_eq!(house.catch_up(), tip_of(&house.ledger), "and is whole now");
    // So does an index whose files are gone.
    std::fs::remove_file(path.join("CURRENT")).expect("a file of every database");
    std::fs::write(path.join("CURRENT"), "nonsense").expect("written");
    assert_eq!(house.catch_up().height, Height::ZERO, "it began anew");
}

#[test]
fn s03_an_index_ahead_of_its_blocks_is_made_anew() {
    let mut house = House::new("ahead");
    house.extend(6);
    house.catch_up();
    // The store was made anew and knows other blocks, or none.
    let chain = house.builder.chain.clone();
    drop(std::mem::replace(&mut house.ledger, open_ledger(&house.folder.path().join("other"), &chain)));
    assert_eq!(house.catch_up().height, Height::ZERO, "it began anew");
}

#[test]
fn s12_the_thread_follows_stops_and_reports_its_failure() {
    let mut house = House::new("thread");
    house.extend(5);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (handle, end) =
        spawn(house.open_index().expect("an index"), house.ledger.store().reader()).expect("a thread");
    let mut progress = handle.progress();
    let mut wait_for = |tip: BlockId| {
        runtime
            .block_on(async { progress.wait_for(|now| now.tip == tip).await.map(|_| ()) })
            .expect("it runs");
    };
    wait_for(tip_of(&house.ledger));
    house.extend(3);
    handle.wake();
    wait_for(tip_of(&house.ledger));
    handle.stop();
    runtime.block_on(end).expect("no panic").expect("an orderly end");
    drop(handle);
    assert_eq!(house.catch_up(), tip_of(&house.ledger), "nothing was left to do");

    // A block that is missing in the middle of the way ends the thread with an error.
    house.extend(3);
    let source = Lossy(house.ledger.store().reader());
    let (handle, end) = spawn(house.open_index().expect("an index"), source).expect("a thread");
    let error = runtime.block_on(end).expect("no panic").expect_err("a lost block").to_string();
    assert!(error.contains("its undo data, which is not here"), "{error}");
    drop(handle);
}

/// A store that has lost its undo data.
struct Lossy(super::super::super::StoreReader);

impl super::super::BlockSource for Lossy {
    fn tip(&self) -> Result<BlockId, chain::store::StoreError> {
        super::super::BlockSource::tip(&self.0)
    }

    fn header(&self, hash: &BlockHash) -> Result<Option<chain::block::Header>, chain::store::StoreError> {
        self.0.header(hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<Option<super::super::SourceBlock>, chain::store::StoreError> {
        super::super::BlockSource::block(&self.0, hash)
    }

    fn undo(
        &self,
        _: &BlockHash,
    ) -> Result<Option<std::sync::Arc<chain::utxo::Undo>>, chain::store::StoreError> {
        Ok(None)
    }
}
