//! The store held against the reference store, against faults, and against its own promises.

pub(super) mod builder;
mod crash;
mod faults;
mod opening;
mod random;
mod reading;

use std::path::Path;

use chain::{genesis::Chain, ledger::Ledger};
use rocksdb::{IteratorMode, ReadOptions};

use super::{OpenStoreError, RocksStore, StoreOptions, schema::Family};

/// Every row of a store.
type Dump = Vec<(Family, Box<[u8]>, Box<[u8]>)>;

fn dump(store: &RocksStore) -> Dump {
    let snapshot = store.snapshot();
    let mut rows = Vec::new();
    for family in Family::ALL {
        for row in snapshot.rows(family, IteratorMode::Start, ReadOptions::default()).expect("a family") {
            let (key, value) = row.expect("a row");
            rows.push((family, key, value));
        }
    }
    rows
}

fn open(path: &Path, chain: &Chain) -> Result<RocksStore, OpenStoreError> {
    RocksStore::open(path, chain, &StoreOptions::default())
}

fn open_ledger(path: &Path, chain: &Chain) -> Ledger<RocksStore> {
    Ledger::open(chain.clone(), open(path, chain).expect("the store opens")).expect("the ledger opens")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder for the test")
}
