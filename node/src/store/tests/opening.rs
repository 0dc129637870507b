//! Opening: what is refused, what is made, and what a process that dies leaves behind.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use chain::{encode, hash::sha256, ledger::Ledger};
use rocksdb::{DB, Options};

use super::{
    super::{
        OpenStoreError, RocksStore, SCHEMA_VERSION, STORE_FOLDER,
        database::Database,
        options::StoreOptions,
        schema::{Family, SCHEMA_KEY},
    },
    builder::{Builder, Spend, easy_chain},
    dump, folder, open, open_ledger,
};

fn spend(coin: usize) -> Spend {
    Spend { coins: vec![coin], to: 1, data: false, careless: false }
}

/// The folder of the database.
fn database_path(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join(STORE_FOLDER);
    fs::create_dir_all(&path).expect("a folder");
    path
}

/// Copies a folder's files as they are: what a process that is killed now leaves behind.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

#[test]
fn s08_the_store_of_another_chain_is_refused() {
    let (one, other) = (easy_chain("one"), easy_chain("other"));
    let folder = folder();
    drop(open(folder.path(), &one).expect("a new store"));
    let error = open(folder.path(), &other).expect_err("another chain");
    let OpenStoreError::OtherChain { found, expected, .. } = &error else { panic!("{error}") };
    assert_eq!((*found, *expected), (one.id(), other.id()));
    let text = error.to_string();
    assert!(text.contains("--chain") && text.contains(&one.id().to_string()), "{text}");
    open(folder.path(), &one).expect("it is still what it was");
}

#[test]
fn s08_another_schema_is_refused_and_left_alone() {
    let chain = easy_chain("schema");
    for (version, families) in
        [(SCHEMA_VERSION + 1, vec!["filters"]), (SCHEMA_VERSION + 1, vec![]), (0, vec![])]
    {
        let folder = folder();
        drop(open(folder.path(), &chain).expect("a new store"));
        let mut database = DB::open_cf(
            &Options::default(),
            database_path(&folder),
            Family::ALL.iter().map(|family| family.name()),
        )
        .expect("RocksDB opens it");
        // A later program may have dropped a family and made another.
        for name in &families {
            database.create_cf(name, &Options::default()).expect("a family");
            database.drop_cf(Family::Undo.name()).expect("a family less");
        }
        let meta = database.cf_handle(Family::Meta.name()).expect("it was opened");
        database.put_cf(meta, SCHEMA_KEY, version.to_be_bytes()).expect("written");
        drop(database);
        let before = DB::list_cf(&Options::default(), database_path(&folder)).expect("families");
        let error = open(folder.path(), &chain).expect_err("another schema");
        let known = SCHEMA_VERSION;
        match &error {
            OpenStoreError::NewerSchema { found, .. } => assert_eq!(*found, known + 1),
            OpenStoreError::OlderSchema { found, .. } => assert_eq!(*found, 0),
            _ => panic!("{error}"),
        }
        assert!(error.to_string().contains(&format!("schema {version}; this one knows {known}")), "{error}");
        assert_eq!(DB::list_cf(&Options::default(), database_path(&folder)).expect("families"), before);
    }
}

#[test]
fn s08_a_database_of_another_program_is_refused() {
    let folder = folder();
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    drop(DB::open_cf(&options, database_path(&folder), ["photographs"]).expect("a database"));
    let error = open(folder.path(), &easy_chain("foreign")).expect_err("not ours");
    assert!(matches!(error, OpenStoreError::Foreign { .. }), "{error}");
}

#[test]
fn s01_a_store_that_was_cut_off_while_it_was_made_is_made_anew() {
    let folder = folder();
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let half = Family::ALL.iter().take(4).map(|family| family.name());
    drop(DB::open_cf(&options, database_path(&folder), half).expect("a database"));
    let chain = easy_chain("half");
    drop(open(folder.path(), &chain).expect("nothing was in it yet"));
    open(folder.path(), &chain).expect("and now it is whole");
}

#[test]
fn s01_a_sorted_file_that_a_killed_process_left_behind_is_removed() {
    let chain = easy_chain("left");
    let folder = folder();
    drop(open(folder.path(), &chain).expect("a new store"));
    let left = database_path(&folder).join("coins.sorted");
    fs::write(&left, b"half of a file").expect("a file");
    open(folder.path(), &chain).expect("nothing is lost with it");
    assert!(!left.exists());
}

#[test]
fn s04_a_family_that_is_gone_is_named() {
    let folder = folder();
    let chain = easy_chain("gone");
    drop(open(folder.path(), &chain).expect("a new store"));
    let names = Family::ALL.iter().map(|family| family.name());
    let mut database =
        DB::open_cf(&Options::default(), database_path(&folder), names).expect("RocksDB opens it");
    database.drop_cf(Family::Coins.name()).expect("dropped");
    drop(database);
    let error = open(folder.path(), &chain).expect_err("a family is gone").to_string();
    assert!(error.contains("the family coins is damaged"), "{error}");
}

#[test]
fn s07_a_store_is_opened_once() {
    let folder = folder();
    let chain = easy_chain("once");
    let first = open(folder.path(), &chain).expect("a new store");
    let reader = first.reader();
    drop(first);
    let error = open(folder.path(), &chain).expect_err("a reader still has it");
    assert!(matches!(error, OpenStoreError::Database { .. }), "{error}");
    assert!(error.to_string().contains("stop any other process"), "{error}");
    assert_eq!(reader.snapshot().tip().expect("a tip"), chain.id());
    drop(reader);
    open(folder.path(), &chain).expect("nobody has it");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let error = open(&file.join("below"), &easy_chain("file")).expect_err("a file is no folder");
    assert!(matches!(error, OpenStoreError::Folder { .. }), "{error}");
}

#[test]
fn s02_the_database_runs_with_the_options_that_its_promises_need() {
    let folder = folder();
    drop(open(folder.path(), &easy_chain("options")).expect("a new store"));
    let is_options = |name: &str| name.starts_with("OPTIONS-");
    let files = fs::read_dir(database_path(&folder)).expect("a folder");
    let files = files.map(|entry| entry.expect("an entry"));
    // The newest file says what the database runs with, as RocksDB itself wrote it.
    let newest = files
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| is_options(&name.to_string_lossy())))
        .max()
        .expect("RocksDB writes its options");
    let text = fs::read_to_string(newest).expect("text");
    for option in [
        "wal_recovery_mode=kPointInTimeRecovery",
        "paranoid_checks=true",
        "track_and_verify_wals_in_manifest=true",
        "manual_wal_flush=false",
        "allow_2pc=false",
        "unordered_write=false",
        "max_open_files=64",
        "max_background_jobs=2",
    ] {
        assert!(text.lines().any(|line| line.trim() == option), "{option} is not in\n{text}");
    }
}

/// A ledger of a few blocks that spend, and all states of the store on the way, each as a dump.
fn history_of_states(path: &Path) -> (Builder, Vec<super::Dump>) {
    let chain = easy_chain("states");
    let mut builder = Builder::new(&chain);
    // All of it in the log: sorted files would be on the disk at once.
    let options = StoreOptions { sorted_file_coins: usize::MAX, ..StoreOptions::default() };
    let store = RocksStore::open(path, &chain, &options).expect("the store opens");
    let mut ledger = Ledger::open(chain.clone(), store).expect("the ledger opens");
    let mut states = vec![dump(ledger.store())];
    let mut tip = 0;
    // A chain, and a longer branch from its middle, so that blocks are disconnected too.
    let parents = [None, None, None, None, Some(2), None, None];
    for (miner, parent) in (0..).zip(parents) {
        tip = builder.make(parent.unwrap_or(tip), miner % 3, &[spend(0), spend(3)]);
        let block = builder.made[tip].block.clone();
        ledger.submit(block, builder.now()).expect("a valid block");
        ledger.flush().expect("flushed");
        states.push(dump(ledger.store()));
    }
    assert_eq!(ledger.tip().id.hash, builder.made[tip].block.hash());
    (builder, states)
}

#[test]
fn s01_a_process_that_dies_loses_nothing() {
    let folder = folder();
    let (path, copied) = (folder.path().join("store"), folder.path().join("copy"));
    let chain = easy_chain("dies");
    let mut builder = Builder::new(&chain);
    let mut ledger = open_ledger(&path, &chain);
    for height in 0..8 {
        let index = builder.make(height, 0, &[spend(height)]);
        ledger.submit(builder.made[index].block.clone(), builder.now()).expect("a valid block");
        // The files as a killed process leaves them: nothing is closed or synced, and what was connected last
        // may not be flushed.
        if height % 3 == 0 {
            ledger.flush().expect("flushed");
        }
        copy(&path, &copied);
        let mut survivor = open_ledger(&copied, &chain);
        assert_eq!(survivor.tip(), ledger.tip(), "after block {index}");
        survivor.flush().expect("flushed");
        let stats = survivor.store().snapshot().utxo_stats().expect("coins");
        let made: Vec<_> =
            builder.made[index].coins.iter().flat_map(|pair| encode::to_bytes(&pair)).collect();
        assert_eq!(stats.hash, sha256(&made), "after block {index}");
        drop(survivor);
        fs::remove_dir_all(&copied).expect("removed");
    }
}

#[test]
fn s03_a_torn_log_gives_an_earlier_tip_whole() {
    let folder = folder();
    let (path, torn) = (folder.path().join("store"), folder.path().join("torn"));
    let (builder, states) = history_of_states(&path);
    // Closing has written nothing but the log.
    let log = |path: &Path| {
        let files = fs::read_dir(path.join(STORE_FOLDER)).expect("a folder");
        let files = files.map(|entry| entry.expect("an entry").path());
        files.filter(|path| path.extension().is_some_and(|it| it == "log")).max().expect("a log")
    };
    let length = fs::metadata(log(&path)).expect("a log").len();
    let mut tips = BTreeSet::new();
    for cut in 0..60 {
        copy(&path, &torn);
        let file = fs::OpenOptions::new().write(true).open(log(&torn)).expect("a log");
        file.set_len(length * cut / 60).expect("cut");
        drop(file);
        let mut ledger = open_ledger(&torn, &builder.chain);
        let tip = ledger.tip();
        ledger.flush().expect("flushed");
        assert_eq!(tip.id.hash, ledger.store().snapshot().tip().expect("a tip"));
        // Opening has connected what was complete: the state is one that was there, body for body.
        let found = dump(ledger.store());
        let body_is_here = |state: &super::Dump| {
            let rows = |dump: &super::Dump, family| {
                dump.iter().filter(|row| row.0 == family).cloned().collect::<Vec<_>>()
            };
            [Family::Coins].into_iter().all(|family| rows(state, family) == rows(&found, family))
        };
        assert!(states.iter().any(body_is_here), "cut at {cut}/60: {tip:?}");
        tips.insert(tip.id);
        drop(ledger);
        fs::remove_dir_all(&torn).expect("removed");
    }
    assert!(tips.len() >= 5, "the cuts fall between all blocks: {tips:?}");
}

#[test]
fn a_database_says_how_large_it_is() {
    let folder = folder();
    let chain = easy_chain("size");
    let database = Database::open(folder.path(), &chain, &StoreOptions::default()).expect("a new store");
    let before = database.disk_bytes().expect("sizes");
    let mut batch = database.batch();
    batch.put(Family::Numbers, [0; 4], vec![7; 100_000]).expect("a family");
    let points = ("headers.add.before", "headers.add.after");
    batch.commit(points, || "a value".to_owned()).expect("written");
    assert!(database.disk_bytes().expect("sizes") >= before + 100_000);
    assert!(database.family_bytes(Family::Numbers).expect("a size") >= 100_000);
    database.sync().expect("on the disk");
}
