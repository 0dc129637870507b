//! A store that fails says nothing about any block (threat C06).

use std::sync::{Arc, Mutex, MutexGuard};

use chain::{
    block::{Block, Header},
    check::{CheckedBlock, ConnectedBlock},
    error::SubmitError,
    hash::BlockHash,
    ledger::{Ledger, OpenError},
    memory::MemoryStore,
    store::{Store, StoreError, Stored},
    transaction::OutPoint,
    utxo::{Coin, Undo},
};

use crate::build::{Key, World, coins, seal, to};

/// A memory store that outlives its ledger and fails at the call that it is told.
#[derive(Clone, Default)]
struct Failing {
    inner: Arc<Mutex<MemoryStore>>,
    /// Calls that still succeed; none means that all do.
    left: Arc<Mutex<Option<u32>>>,
    /// Coins that an undone block had spent do not come back.
    loses_coins: bool,
}

impl Failing {
    fn fail_after(&self, calls: u32) {
        *self.left.lock().expect("no test panics with it") = Some(calls);
    }

    fn recover(&self) {
        *self.left.lock().expect("no test panics with it") = None;
    }

    fn count(&self) -> Result<(), StoreError> {
        match &mut *self.left.lock().expect("no test panics with it") {
            None => Ok(()),
            Some(0) => Err(StoreError::new("the disk is full")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, MemoryStore> {
        self.inner.lock().expect("no test panics with it")
    }
}

impl Store for Failing {
    fn load(&self) -> Result<Stored, StoreError> {
        self.count()?;
        self.inner().load()
    }
    fn add_headers(&mut self, headers: &[Header]) -> Result<(), StoreError> {
        self.count()?;
        self.inner().add_headers(headers)
    }
    fn add_body(&mut self, block: &CheckedBlock, order: u64) -> Result<(), StoreError> {
        self.count()?;
        self.inner().add_body(block, order)
    }
    fn set_invalid(&mut self, hashes: &[BlockHash], invalid: bool) -> Result<(), StoreError> {
        self.count()?;
        self.inner().set_invalid(hashes, invalid)
    }
    fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError> {
        self.count()?;
        self.inner().block(hash)
    }
    fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError> {
        self.count()?;
        self.inner().coins(outpoints)
    }
    fn undo(&self, hash: &BlockHash) -> Result<Option<Undo>, StoreError> {
        self.count()?;
        self.inner().undo(hash)
    }
    fn connect(&mut self, block: &Arc<CheckedBlock>, connected: ConnectedBlock) -> Result<(), StoreError> {
        self.count()?;
        self.inner().connect(block, connected)
    }
    fn disconnect(&mut self, block: &Block, created: &[OutPoint], undo: &Undo) -> Result<(), StoreError> {
        self.count()?;
        let kept = if self.loses_coins { &Undo::new() } else { undo };
        self.inner().disconnect(block, created, kept)
    }
    fn flush(&mut self) -> Result<(), StoreError> {
        self.count()
    }
}

fn reopen(world: &World<Failing>, store: &Failing) -> World<Failing> {
    store.recover();
    World::over(world.chain.clone(), store.clone())
}

/// Submits `block` with a store that fails at every call in turn; after each failure the store is opened
/// again and the block given again, and each time the world must end up with `block` as its tip.
fn fails_everywhere(prepare: impl Fn() -> (World<Failing>, Failing, Block)) -> u32 {
    for calls in 0.. {
        let (mut world, store, block) = prepare();
        store.fail_after(calls);
        match world.submit(&block) {
            Ok(update) => {
                assert_eq!(update.refused, []);
                return calls;
            }
            Err(SubmitError::Storage(error)) => assert!(error.to_string().contains("disk"), "{error}"),
            Err(other) => panic!("a full disk is no fault of the block: {other}"),
        }
        assert!(!world.is_marked(&block), "call {calls}");
        let mut again = reopen(&world, &store);
        assert!(!again.is_marked(&block), "call {calls}");
        match again.submit(&block) {
            Ok(update) => assert_eq!(update.refused, []),
            // Its body was stored before the fault, and opening the store went on from there.
            Err(SubmitError::Duplicate) => {}
            Err(other) => panic!("call {calls}: {other}"),
        }
        assert_eq!(again.tip(), block.hash(), "call {calls}");
        let mut plain = World::over(world.chain.clone(), MemoryStore::default());
        for height in 1..=again.height() {
            let block = again.ledger.block(&again.hash_at(height)).expect("recovered").expect("is here");
            plain.accept(&block);
        }
        let coins = again.ledger.store().inner().utxo_set().clone();
        assert_eq!(&coins, plain.ledger.store().utxo_set(), "call {calls}");
    }
    unreachable!("some number of calls is enough")
}

fn world() -> (World<Failing>, Failing) {
    let store = Failing::default();
    let mut world = World::over(World::easy().chain, store.clone());
    world.mine_empty(3);
    (world, store)
}

#[test]
fn c06_a_fault_while_a_block_is_connected_marks_nothing() {
    let calls = fails_everywhere(|| {
        let (world, store) = world();
        let payment = world.pay(&[world.reward_at(1)], vec![to(&Key::new(1), coins(50))]);
        let block = world.draft(vec![payment]);
        (world, store, block)
    });
    assert_eq!(calls, 4, "headers, body, coins, connect");
}

#[test]
fn c06_a_fault_amid_a_reorganisation_marks_nothing() {
    let calls = fails_everywhere(|| {
        let (mut world, store) = world();
        let fork = world.tip();
        let payment = world.pay(&[world.reward_at(1)], vec![to(&Key::new(1), coins(50))]);
        world.mine(vec![payment.clone()]);
        world.mine_empty(2);
        let mut tip = fork;
        for transactions in [vec![], vec![], vec![payment]] {
            tip = world.mine_on(tip, transactions).hash();
        }
        let block = world.draft_on(tip, Vec::new());
        (world, store, block)
    });
    assert!(calls > 15, "three blocks down and four up: {calls}");
}

#[test]
fn c06_a_fault_while_an_invalid_block_is_marked_is_still_a_fault() {
    let (mut world, store) = world();
    let mut bad = world.draft(Vec::new());
    bad.coinbase.outputs = vec![to(&Key::new(1), coins(51))];
    seal(&mut bad);
    // Headers, body and coins succeed; writing the mark does not.
    store.fail_after(3);
    assert!(matches!(world.submit(&bad), Err(SubmitError::Storage(_))));
    let again = reopen(&world, &store);
    assert!(again.is_marked(&bad), "opening the store found it out again");
    assert_ne!(again.tip(), bad.hash());
}

/// A reorganisation fails on its second block and finds the way back closed, since a coin is gone: that is the
/// store's fault, not the old branch's, and to walk between the two for ever would help nobody.
#[test]
fn s10_a_coin_that_went_missing_is_a_fault_of_the_store() {
    let store = Failing { loses_coins: true, ..Failing::default() };
    let mut world = World::over(World::easy().chain, store.clone());
    world.mine_empty(3);
    let fork = world.tip();
    let payment = world.pay(&[world.reward_at(1)], vec![to(&Key::new(1), coins(50))]);
    let spending = world.mine(vec![payment]);
    let rival = world.mine_on(fork, Vec::new());
    let mut bad = world.draft_on(rival.hash(), Vec::new());
    bad.coinbase.outputs = vec![to(&Key::new(1), coins(51))];
    seal(&mut bad);
    match world.submit(&bad) {
        Err(SubmitError::Storage(error)) => assert!(error.to_string().contains("damaged"), "{error}"),
        other => panic!("expected a fault of the store, got: {other:?}"),
    }
    assert!(!world.is_marked(&spending) && world.is_marked(&bad));
}

#[test]
fn c06_a_store_that_cannot_be_read_is_not_opened() {
    let (world, store) = world();
    store.fail_after(0);
    assert!(matches!(Ledger::open(world.chain, store), Err(OpenError::Storage(_))));
}

#[test]
fn c06_missing_bodies_and_coins_are_faults_of_the_store() {
    // A store that lost the undo data of its tip.
    struct Forgetful(MemoryStore);
    impl Store for Forgetful {
        fn load(&self) -> Result<Stored, StoreError> {
            self.0.load()
        }
        fn add_headers(&mut self, headers: &[Header]) -> Result<(), StoreError> {
            self.0.add_headers(headers)
        }
        fn add_body(&mut self, block: &CheckedBlock, order: u64) -> Result<(), StoreError> {
            self.0.add_body(block, order)
        }
        fn set_invalid(&mut self, hashes: &[BlockHash], invalid: bool) -> Result<(), StoreError> {
            self.0.set_invalid(hashes, invalid)
        }
        fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError> {
            self.0.block(hash)
        }
        fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError> {
            self.0.coins(outpoints)
        }
        fn undo(&self, _hash: &BlockHash) -> Result<Option<Undo>, StoreError> {
            Ok(None)
        }
        fn connect(
            &mut self,
            block: &Arc<CheckedBlock>,
            connected: ConnectedBlock,
        ) -> Result<(), StoreError> {
            self.0.connect(block, connected)
        }
        fn disconnect(&mut self, block: &Block, created: &[OutPoint], undo: &Undo) -> Result<(), StoreError> {
            self.0.disconnect(block, created, undo)
        }
        fn flush(&mut self) -> Result<(), StoreError> {
            self.0.flush()
        }
    }
    let mut world = World::over(World::easy().chain, Forgetful(MemoryStore::default()));
    world.mine_empty(1);
    let root = world.chain.id();
    let one = world.mine_on(root, Vec::new());
    let two = world.draft_on(one.hash(), Vec::new());
    match world.submit(&two) {
        Err(SubmitError::Storage(error)) => assert!(error.to_string().contains("undo data"), "{error}"),
        other => panic!("expected a fault of the store, got: {other:?}"),
    }
    assert!(!world.is_marked(&two));
}

#[test]
fn c06_a_stored_tree_of_another_chain_is_damaged() {
    let (_, store) = world();
    let other =
        World::new(chain::params::Params { message: "Another.".into(), ..crate::build::easy_params() });
    store.recover();
    assert!(matches!(Ledger::open(other.chain, store), Err(OpenError::Damaged(_))));
}
