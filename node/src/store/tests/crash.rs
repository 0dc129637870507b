//! Crashes and tears: a write that fails at every fail point, block and undo files cut at every length, a
//! database that is gone.

use std::{collections::BTreeSet, fs, path::Path};

use chain::{encode, error::SubmitError, hash::sha256, ledger::Ledger, store::Store};

use super::{
    super::{
        BLOCKS_FOLDER, OpenStoreError, RocksStore, STORE_FOLDER, StoreOptions, failpoint, files::FileError,
    },
    builder::{Builder, Spend, easy_chain},
    folder, open, open_ledger,
    opening::copy,
};

fn spend(coin: usize) -> Spend {
    Spend { coins: vec![coin], to: 1, data: false, careless: false }
}

/// The names of blocks, a chain of five and a longer branch from its middle, in the order in which they come.
fn make_blocks(builder: &mut Builder) -> Vec<usize> {
    let mut tip = 0;
    let parents = [None, None, None, None, None, Some(2), None, None, None, None];
    let make = |parent: &Option<usize>| {
        tip = builder.make(parent.unwrap_or(tip), 0, &[spend(0), spend(3)]);
        tip
    };
    parents.iter().map(make).collect()
}

/// Gives a ledger what it does not have, flushing after every third block, as a node does that catches up.
fn submit_all(
    ledger: &mut Ledger<RocksStore>,
    builder: &Builder,
    blocks: &[usize],
) -> Result<(), SubmitError> {
    for index in blocks {
        match ledger.submit(builder.made[*index].block.clone(), builder.now()) {
            Ok(_) | Err(SubmitError::Duplicate) => {}
            Err(error) => return Err(error),
        }
        if index % 3 == 0 {
            ledger.flush()?;
        }
    }
    ledger.flush()?;
    Ok(ledger.store().sync()?)
}

/// Holds the coins on the disk against those that were made with the tip's block.
fn assert_whole(ledger: &mut Ledger<RocksStore>, builder: &Builder) {
    ledger.flush().expect("flushed");
    let tip = ledger.tip().id.hash;
    let snapshot = ledger.store().snapshot();
    assert_eq!(snapshot.tip().expect("a tip"), tip);
    let made = builder.made.iter().find(|made| made.block.hash() == tip).expect("one of the blocks");
    let bytes: Vec<u8> = made.coins.iter().flat_map(|pair| encode::to_bytes(&pair)).collect();
    assert_eq!(
        snapshot.utxo_stats().expect("coins").hash,
        sha256(&bytes),
        "the coins at height {}",
        made.height
    );
    for height in 1..=made.height.get() {
        let node = ledger.active(chain::height::Height::new(height)).expect("below the tip");
        let hash = ledger.tree().node(node).hash();
        assert!(snapshot.block(&hash).expect("whole").is_some());
        assert!(snapshot.undo(&hash).expect("whole").is_some());
    }
}

#[test]
fn s01_a_write_that_fails_anywhere_loses_no_block() {
    let chain = easy_chain("points");
    let mut builder = Builder::new(&chain);
    let blocks = make_blocks(&mut builder);
    let best = builder.made[blocks[blocks.len() - 1]].block.hash();
    let mut reached = BTreeSet::new();
    for point in failpoint::NAMES.iter().filter(|name| !name.starts_with("reindex.")) {
        for visit in [1, 2, 5] {
            let folder = folder();
            failpoint::arm(point, visit);
            let mut accepted = BTreeSet::new();
            let failed = (|| {
                let store = open(folder.path(), &chain).map_err(|error| error.to_string())?;
                let mut ledger = Ledger::open(chain.clone(), store).map_err(|error| error.to_string())?;
                for index in &blocks {
                    submit_all(&mut ledger, &builder, &[*index]).map_err(|error| {
                        // A fault of the disk judges no block (threat C06).
                        assert!(matches!(error, SubmitError::Storage(_)), "{error}");
                        error.to_string()
                    })?;
                    accepted.insert(builder.made[*index].block.hash());
                }
                Ok::<_, String>(())
            })();
            failpoint::disarm();
            if let Err(error) = &failed {
                assert!(error.contains("No space left on device"), "{point}: {error}");
                reached.insert(*point);
            }
            // The process ends, and another one goes on.
            let mut ledger = open_ledger(folder.path(), &chain);
            for hash in accepted {
                let node = ledger.tree().find(&hash).expect("an accepted block");
                assert!(ledger.tree().node(node).has_body() && !ledger.tree().node(node).is_invalid());
            }
            assert_whole(&mut ledger, &builder);
            submit_all(&mut ledger, &builder, &blocks).expect("there is room again");
            assert_eq!(ledger.tip().id.hash, best, "{point}");
            assert_whole(&mut ledger, &builder);
        }
    }
    // Only tears and a second file bring the others about.
    let others: Vec<_> = failpoint::NAMES.iter().filter(|name| !reached.contains(*name)).collect();
    let rare = ["cut", "forget", "mark", "reindex"];
    assert!(others.iter().all(|name| rare.iter().any(|rare| name.contains(rare))), "{others:?}");
}

/// A folder with all blocks, flushed and synced.
fn filled(path: &Path) -> (Builder, Vec<usize>) {
    let chain = easy_chain("torn");
    let mut builder = Builder::new(&chain);
    let blocks = make_blocks(&mut builder);
    let mut ledger = open_ledger(path, &chain);
    submit_all(&mut ledger, &builder, &blocks).expect("valid blocks");
    assert_whole(&mut ledger, &builder);
    (builder, blocks)
}

#[test]
fn s03_torn_block_and_undo_files_give_an_earlier_tip_whole() {
    let folder = folder();
    let (whole, torn) = (folder.path().join("whole"), folder.path().join("torn"));
    let (builder, blocks) = filled(&whole);
    let best = builder.made[blocks[blocks.len() - 1]].block.hash();
    for name in ["blocks-00000.dat", "undo-00000.dat"] {
        let length = fs::metadata(whole.join(BLOCKS_FOLDER).join(name)).expect("a file").len();
        let mut tips = BTreeSet::new();
        for cut in 0..40 {
            copy(&whole, &torn);
            let path = torn.join(BLOCKS_FOLDER).join(name);
            let file = fs::OpenOptions::new().write(true).open(&path).expect("a file");
            file.set_len(length * cut / 40).expect("cut");
            drop(file);
            let mut ledger = open_ledger(&torn, &builder.chain);
            assert_whole(&mut ledger, &builder);
            tips.insert(ledger.tip().id.height);
            // It goes on as if nothing had been.
            submit_all(&mut ledger, &builder, &blocks).expect("the blocks that are gone come again");
            assert_eq!(ledger.tip().id.hash, best);
            assert_whole(&mut ledger, &builder);
            drop(ledger);
            assert_whole(&mut open_ledger(&torn, &builder.chain), &builder);
            fs::remove_dir_all(&torn).expect("removed");
        }
        // Without undo data all blocks are still there.
        let expected = if name.starts_with("undo") { 1 } else { 4 };
        assert!(tips.len() >= expected, "{name}: {tips:?}");
    }
}

#[test]
fn s03_a_failure_while_the_coins_are_forgotten_is_no_loss() {
    let folder = folder();
    let (whole, torn) = (folder.path().join("whole"), folder.path().join("torn"));
    let (builder, _) = filled(&whole);
    for point in ["coins.forget.before", "coins.forget.after", "blocks.cut.before", "blocks.cut.after"] {
        copy(&whole, &torn);
        let path = torn.join(BLOCKS_FOLDER).join("blocks-00000.dat");
        let file = fs::OpenOptions::new().write(true).open(&path).expect("a file");
        file.set_len(fs::metadata(&path).expect("a file").len() / 2).expect("cut");
        drop(file);
        failpoint::arm(point, 1);
        let error = open(&torn, &builder.chain).expect_err("a full disk").to_string();
        assert!(error.contains("No space left on device"), "{error}");
        failpoint::disarm();
        assert_whole(&mut open_ledger(&torn, &builder.chain), &builder);
        fs::remove_dir_all(&torn).expect("removed");
    }
}

#[test]
fn s04_a_flipped_byte_in_a_file_is_named_and_not_mended() {
    let folder = folder();
    let (whole, bad) = (folder.path().join("whole"), folder.path().join("bad"));
    let (builder, blocks) = filled(&whole);
    for name in ["blocks-00000.dat", "undo-00000.dat"] {
        let bytes = fs::read(whole.join(BLOCKS_FOLDER).join(name)).expect("bytes");
        for offset in (0..bytes.len()).step_by(53) {
            copy(&whole, &bad);
            let mut flipped = bytes.clone();
            flipped[offset] ^= 4;
            fs::write(bad.join(BLOCKS_FOLDER).join(name), &flipped).expect("written");
            let named =
                |text: String| assert!(text.contains(name) && text.contains("damaged at byte"), "{text}");
            match open(&bad, &builder.chain) {
                Err(error) => named(error.to_string()),
                Ok(store) => {
                    let read = |index: &usize| {
                        let hash = builder.made[*index].block.hash();
                        store.block(&hash).and_then(|_| store.undo(&hash)).err()
                    };
                    let errors: Vec<_> = blocks.iter().filter_map(read).collect();
                    assert_eq!(errors.len(), 1, "at {offset}");
                    errors.iter().for_each(|error| named(error.to_string()));
                }
            }
            // A reindex does not pass over it either, and leaves what is there.
            if name.starts_with("blocks") {
                let error = RocksStore::reindex(&bad, &builder.chain, &StoreOptions::default());
                named(error.expect_err("a damaged block file").to_string());
                assert!(bad.join(STORE_FOLDER).join("CURRENT").exists());
            }
            fs::remove_dir_all(&bad).expect("removed");
        }
    }
}

#[test]
fn s09_a_reindex_gives_the_same_coins() {
    let folder = folder();
    let path = folder.path();
    let (builder, blocks) = filled(path);
    let before = open_ledger(path, &builder.chain).store().snapshot().utxo_stats().expect("coins").hash;
    for round in 0..6 {
        match round {
            // As asked for.
            0 => drop(
                RocksStore::reindex(path, &builder.chain, &StoreOptions::default()).expect("whole files"),
            ),
            // The database is gone.
            1 => fs::remove_dir_all(path.join(STORE_FOLDER)).expect("removed"),
            // An earlier reindex was cut off.
            2 | 3 => {
                let point = ["reindex.rows.before", "reindex.remove.after"][round - 2];
                failpoint::arm(point, 1);
                RocksStore::reindex(path, &builder.chain, &StoreOptions::default()).expect_err("a full disk");
                failpoint::disarm();
            }
            // The newest block was cut off by a crash.
            4 => {
                fs::remove_dir_all(path.join(STORE_FOLDER)).expect("removed");
                let path = path.join(BLOCKS_FOLDER).join("blocks-00000.dat");
                let file = fs::OpenOptions::new().write(true).open(&path).expect("a file");
                file.set_len(fs::metadata(&path).expect("a file").len() - 7).expect("cut");
            }
            _ => {}
        }
        let mut ledger = open_ledger(path, &builder.chain);
        assert_whole(&mut ledger, &builder);
        submit_all(&mut ledger, &builder, &blocks).expect("what is missing comes again");
        assert_eq!(ledger.tip().id.hash, builder.made[blocks[blocks.len() - 1]].block.hash());
        assert_eq!(ledger.store().snapshot().utxo_stats().expect("coins").hash, before);
    }
}

#[test]
fn s09_children_may_come_before_their_parents() {
    let folder = folder();
    let chain = easy_chain("backwards");
    let mut builder = Builder::new(&chain);
    let blocks = make_blocks(&mut builder);
    let mut ledger = open_ledger(folder.path(), &chain);
    let headers: Vec<_> = builder.made.iter().skip(1).map(|made| made.block.header).collect();
    ledger.submit_headers(&headers, builder.now()).expect("valid headers");
    let backwards: Vec<usize> = blocks.iter().rev().copied().collect();
    submit_all(&mut ledger, &builder, &backwards).expect("valid blocks");
    let tip = ledger.tip();
    drop(ledger);
    let store = RocksStore::reindex(folder.path(), &chain, &StoreOptions::default()).expect("whole files");
    let mut ledger = Ledger::open(chain.clone(), store).expect("whole rows");
    assert_eq!(ledger.tip(), tip);
    assert_whole(&mut ledger, &builder);
}

#[test]
fn s08_block_files_of_another_chain_are_refused() {
    let folder = folder();
    let (builder, _) = filled(folder.path());
    let other = easy_chain("another");
    fs::remove_dir_all(folder.path().join(STORE_FOLDER)).expect("removed");
    let error = open(folder.path(), &other).expect_err("another chain");
    assert!(matches!(error, OpenStoreError::File(FileError::OtherChain { .. })), "{error}");
    assert_whole(&mut open_ledger(folder.path(), &builder.chain), &builder);
}

#[test]
fn c06_the_verdict_does_not_depend_on_the_size_of_the_cache() {
    let chain = easy_chain("tiny");
    let mut builder = Builder::new(&chain);
    let mut tip = 0;
    for height in 0..30 {
        let spends: Vec<Spend> = (0..6).map(|coin| spend(coin + height)).collect();
        tip = builder.make(tip, 0, &spends);
    }
    for db_cache_bytes in [0, 1 << 30] {
        let folder = folder();
        let options = StoreOptions { db_cache_bytes, ..StoreOptions::default() };
        let store = RocksStore::open(folder.path(), &chain, &options).expect("a new store");
        let mut ledger = Ledger::open(chain.clone(), store).expect("an empty store");
        for made in builder.made.iter().skip(1) {
            ledger.submit(made.block.clone(), builder.now()).expect("a valid block");
        }
        assert_eq!(ledger.tip().id.hash, builder.made[tip].block.hash());
        assert_whole(&mut ledger, &builder);
    }
}

#[test]
fn what_was_connected_a_moment_ago_is_in_memory() {
    let folder = folder();
    let chain = easy_chain("recent");
    let mut builder = Builder::new(&chain);
    let first = builder.make(0, 0, &[]);
    let mut ledger = open_ledger(folder.path(), &chain);
    let reader = ledger.store().reader();
    let hash = builder.made[first].block.hash();
    assert!(reader.recent(&hash).is_none());
    ledger.submit(builder.made[first].block.clone(), builder.now()).expect("a valid block");
    let recent = reader.recent(&hash).expect("it was connected a moment ago");
    assert_eq!((recent.block.hash(), recent.undo.len()), (hash, 0));
    assert_eq!(reader.header(&hash).expect("read"), Some(builder.made[first].block.header));
    // The tip that is seen is the flushed one.
    assert_eq!(reader.tip().expect("a tip"), chain.id());
    ledger.flush().expect("flushed");
    assert_eq!(reader.tip().expect("a tip"), hash);
}
