//! Chains through files.

use std::{fs, path::Path};

use chain::{block::Block, genesis::Chain, height::Height, ledger::Ledger, memory::MemoryStore};
use tempfile::tempdir;

use super::{blocks, easy_chain, empty, extend, now, submit, unheard};
use crate::transfer::{
    Progress,
    archive::{ArchiveError, ArchiveReader, ArchiveWriter, Place},
    export::{ExportError, export},
    import::{ImportError, Imported, Refusal, import},
};

/// The bytes before the first block.
const BEGINNING_BYTES: usize = 56;

fn take_in(ledger: &mut Ledger<MemoryStore>, path: &Path) -> Result<Imported, ImportError> {
    let file = ArchiveReader::open(path, ledger.chain())?;
    let now = now(ledger.chain());
    import(ledger, file, now, &mut unheard)
}

/// A chain, its blocks, and the file of them.
fn exported(folder: &Path, count: u32) -> (Chain, Vec<Block>, std::path::PathBuf) {
    let chain = easy_chain("moving");
    let made = blocks(&chain, count, 1);
    let mut ledger = empty(&chain);
    submit(&mut ledger, &made);
    let path = folder.join("chain.cairn");
    let tip = export(&ledger, &path, &mut unheard).expect("it is written");
    assert_eq!(tip, ledger.tip().id);
    (chain, made, path)
}

/// Where each block begins, and where the digest does.
fn beginnings(blocks: &[Block]) -> Vec<usize> {
    let mut offset = BEGINNING_BYTES;
    let mut offsets = vec![offset];
    for block in blocks {
        offset += 12 + block.to_bytes().len();
        offsets.push(offset);
    }
    offsets
}

#[test]
fn a_chain_arrives_as_it_left() {
    let folder = tempdir().expect("a folder");
    let (chain, made, path) = exported(folder.path(), 40);
    let mut other = empty(&chain);
    let (mut total, mut done, mut payments) = (0, 0, 0);
    let file = ArchiveReader::open(&path, &chain).expect("the file opens");
    assert_eq!(file.blocks(), 40);
    let imported = import(&mut other, file, now(&chain), &mut |progress| match progress {
        Progress::Total(blocks) => total = blocks,
        Progress::Done(step) => {
            done += step.blocks;
            payments += step.payments;
        }
        Progress::Skipped(_) => panic!("nothing was here"),
    });
    let imported = imported.expect("all is valid");
    assert_eq!((imported.added, imported.known), (40, 0));
    assert_eq!((total, done, payments), (40, 40, 39));
    assert_eq!(imported.tip.hash, made[39].hash());
    let again = take_in(&mut other, &path).expect("nothing is new");
    assert_eq!((again.added, again.known, again.tip), (0, 40, imported.tip));
    let names: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(names.len(), 1, "nothing but the file is left: {names:?}");
}

#[test]
fn an_empty_chain_is_a_file_too() {
    let folder = tempdir().expect("a folder");
    let (chain, _, path) = exported(folder.path(), 0);
    let imported = take_in(&mut empty(&chain), &path).expect("nothing is wrong with it");
    assert_eq!((imported.added, imported.tip.height), (0, Height::ZERO));
}

#[test]
fn no_file_is_ever_written_over() {
    let folder = tempdir().expect("a folder");
    let (chain, made, path) = exported(folder.path(), 3);
    let before = fs::read(&path).expect("readable");
    let mut ledger = empty(&chain);
    submit(&mut ledger, &made);
    let error = export(&ledger, &path, &mut unheard).expect_err("it exists");
    assert!(matches!(&error, ExportError::Archive(ArchiveError::Exists(_))), "{error}");
    // Nor is one that appeared while the chain was written.
    let late = folder.path().join("late");
    let mut writer = ArchiveWriter::create(&late, &chain.id(), 3).expect("it does not exist");
    let second = ArchiveWriter::create(&late, &chain.id(), 3).expect_err("somebody writes it");
    assert!(matches!(second, ArchiveError::Busy(_)), "{second}");
    made.iter().for_each(|block| writer.add(block).expect("written"));
    fs::write(&late, "mine").expect("written");
    let error = writer.finish().expect_err("it exists now");
    assert!(matches!(error, ArchiveError::Exists(_)), "{error}");
    assert_eq!(fs::read(&late).expect("readable"), b"mine");
    assert_eq!(fs::read(&path).expect("readable"), before);
    // What is given up leaves nothing.
    drop(ArchiveWriter::create(&folder.path().join("given-up"), &chain.id(), 3).expect("it does not exist"));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
}

#[test]
fn s03_a_file_torn_at_any_length_names_the_place_and_keeps_what_came_before() {
    let folder = tempdir().expect("a folder");
    let (chain, made, path) = exported(folder.path(), 4);
    let whole = fs::read(&path).expect("readable");
    let beginnings = beginnings(&made);
    let torn = folder.path().join("torn");
    let mut ledger = empty(&chain);
    for length in 0..whole.len() {
        fs::write(&torn, &whole[..length]).expect("written");
        let error = take_in(&mut ledger, &torn).expect_err("torn");
        let complete = beginnings.iter().filter(|begin| **begin <= length).count().saturating_sub(1);
        assert_eq!(ledger.tip().id.height.get() as usize, complete, "torn at {length}: {error}");
        let ImportError::Archive(error) = error else { panic!("torn at {length}: {error}") };
        match error {
            ArchiveError::Foreign(_) => assert!(length < 8),
            ArchiveError::Damaged { place: Place::Beginning, .. } => assert!(length < BEGINNING_BYTES),
            ArchiveError::Damaged { place: Place::Block { height, offset }, .. } => {
                assert_eq!(height.get() as usize, complete + 1);
                assert_eq!(offset, beginnings[complete] as u64);
            }
            ArchiveError::Damaged { place: Place::End { offset }, .. } => {
                assert_eq!(offset, beginnings[4] as u64);
            }
            other => panic!("torn at {length}: {other}"),
        }
    }
    // The import goes on where the torn one ended.
    let mut ledger = empty(&chain);
    fs::write(&torn, &whole[..beginnings[3] + 5]).expect("written");
    take_in(&mut ledger, &torn).expect_err("torn");
    let imported = take_in(&mut ledger, &path).expect("whole");
    assert_eq!((imported.added, imported.known), (1, 3));
}

#[test]
fn s04_a_flipped_byte_anywhere_is_named_and_nothing_of_it_is_taken() {
    let folder = tempdir().expect("a folder");
    let (chain, made, path) = exported(folder.path(), 3);
    let whole = fs::read(&path).expect("readable");
    let beginnings = beginnings(&made);
    let flipped = folder.path().join("flipped");
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x40;
        fs::write(&flipped, &bytes).expect("written");
        let mut ledger = empty(&chain);
        let error = take_in(&mut ledger, &flipped).expect_err("flipped");
        let before = beginnings[1..].iter().filter(|end| **end <= position).count();
        assert_eq!(ledger.tip().id.height.get() as usize, before, "flipped at {position}: {error}");
        let text = error.to_string();
        assert!(text.contains("flipped"), "it names the file: {text}");
        if position >= BEGINNING_BYTES && before < 3 {
            assert!(text.contains(&format!("block {}", before + 1)), "it names the block: {text}");
        }
    }
    fs::write(&flipped, [&whole[..], b"x"].concat()).expect("written");
    let error = take_in(&mut empty(&chain), &flipped).expect_err("longer");
    assert!(error.to_string().contains("something follows it"), "{error}");
}

#[test]
fn s08_a_file_of_another_chain_is_refused_before_anything_is_made() {
    let folder = tempdir().expect("a folder");
    let (_, _, path) = exported(folder.path(), 2);
    let other = easy_chain("other");
    let error = ArchiveReader::open(&path, &other).expect_err("another chain");
    assert!(matches!(error, ArchiveError::OtherChain { .. }), "{error}");
    assert!(error.to_string().contains(&other.id().to_string()), "{error}");
    let mut bytes = fs::read(&path).expect("readable");
    bytes[8] = 2;
    fs::write(&path, bytes).expect("written");
    let error = ArchiveReader::open(&path, &other).expect_err("another version");
    assert!(matches!(error, ArchiveError::Version { found: 2, .. }), "{error}");
    let error = ArchiveReader::open(folder.path(), &other).expect_err("a folder");
    assert!(matches!(error, ArchiveError::Foreign(_)), "{error}");
}

#[test]
fn a_block_that_breaks_a_rule_is_refused_and_those_below_it_are_kept() {
    let folder = tempdir().expect("a folder");
    let chain = easy_chain("moving");
    let mut made = blocks(&chain, 5, 1);
    // Two coins of one: the coinbase of block 5 is the one of another chain's block, at a wrong height.
    let mut wrong = made[4].clone();
    wrong.coinbase.height = Height::new(9);
    made[4] = super::solve(&chain, &made[3].header, wrong.coinbase, None);
    made.extend(extend(&chain, &made.clone(), 1, 1));
    let path = folder.path().join("wrong");
    let mut writer = ArchiveWriter::create(&path, &chain.id(), 6).expect("it does not exist");
    made.iter().for_each(|block| writer.add(block).expect("written"));
    writer.finish().expect("written");
    let mut ledger = empty(&chain);
    let error = take_in(&mut ledger, &path).expect_err("a rule is broken");
    let ImportError::Refused(Refusal::Invalid { hash, .. }) = &error else { panic!("{error}") };
    assert_eq!(*hash, made[4].hash());
    assert_eq!(ledger.tip().id.hash, made[3].hash());
}
