//! Stores that are right, and stores in which something is not.

use std::path::Path;

use chain::{
    amount::Amount,
    block::Block,
    genesis::Chain,
    ledger::{Ledger, created_coins},
    store::Store,
};
use tempfile::tempdir;

use super::{blocks, easy_chain, extend, submit, unheard};
use crate::{
    store::{RocksStore, StoreOptions},
    transfer::{
        Progress,
        audit::{AuditError, Audited, SCRATCH_FOLDER, audit},
    },
};

fn open(folder: &Path, chain: &Chain) -> RocksStore {
    RocksStore::open(folder, chain, &StoreOptions::default()).expect("the store opens")
}

fn audited(folder: &Path, chain: &Chain) -> Result<Audited, AuditError> {
    let store = open(folder, chain);
    let outcome = audit(&store, chain, folder, &StoreOptions::default(), &mut unheard);
    assert!(!folder.join(SCRATCH_FOLDER).exists(), "the scratch folder is gone");
    outcome
}

fn stored(folder: &Path, chain: &Chain, blocks: &[Block]) {
    let mut ledger = Ledger::open(chain.clone(), open(folder, chain)).expect("the ledger opens");
    submit(&mut ledger, blocks);
    ledger.flush().expect("flushed");
}

#[test]
fn s10_a_store_that_is_right_passes() {
    let folder = tempdir().expect("a folder");
    let chain = easy_chain("audit");
    let empty = audited(folder.path(), &chain).expect("an empty store is right");
    assert_eq!((empty.coins, empty.supply), (0, Amount::ZERO));
    // A reorganisation, and a branch that lost.
    let trunk = blocks(&chain, 5, 1);
    stored(folder.path(), &chain, &trunk);
    stored(folder.path(), &chain, &extend(&chain, &trunk[..2], 8, 2));
    let store = open(folder.path(), &chain);
    let mut steps = 0;
    let options = StoreOptions::default();
    let outcome = audit(&store, &chain, folder.path(), &options, &mut |progress| match progress {
        Progress::Total(blocks) => assert_eq!(blocks, 10),
        Progress::Done(step) => steps += step.blocks,
        Progress::Skipped(_) => panic!("nothing is passed over"),
    });
    let outcome = outcome.expect("the store is right");
    assert_eq!((steps, outcome.tip.height.get(), outcome.coins), (10, 10, 10));
    assert_eq!(outcome.utxo_hash, store.snapshot().utxo_stats().expect("it can be read").hash);
}

#[test]
fn s10_a_coin_that_is_not_what_it_should_be_is_found() {
    let chain = easy_chain("audit");
    let made = blocks(&chain, 6, 1);
    let below = &made[4].hash();
    let folder = tempdir().expect("a folder");
    stored(folder.path(), &chain, &made);
    let mut store = open(folder.path(), &chain);
    let mut undo = store.undo(&made[5].hash()).expect("readable").expect("it is connected");
    undo[0].1.output.amount = Amount::from_pebbles(1);
    store.disconnect(&made[5], &created_coins(&made[5]), &undo).expect("it is the tip");
    store.flush().expect("flushed");
    assert_eq!(store.load().expect("readable").tip, Some(*below));
    drop(store);
    let error = audited(folder.path(), &chain).expect_err("a coin is wrong");
    assert!(matches!(error, AuditError::Differs { what: "the supply", .. }), "{error}");
    assert!(error.to_string().contains("--reindex"), "it says what to do: {error}");
}

#[test]
fn s10_what_a_killed_audit_left_behind_is_in_nobodys_way() {
    let folder = tempdir().expect("a folder");
    let chain = easy_chain("audit");
    stored(folder.path(), &chain, &blocks(&chain, 3, 1));
    std::fs::create_dir(folder.path().join(SCRATCH_FOLDER)).expect("made");
    std::fs::write(folder.path().join(SCRATCH_FOLDER).join("CURRENT"), "nonsense").expect("written");
    audited(folder.path(), &chain).expect("the store is right");
}
