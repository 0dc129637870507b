//! Records against everything that a disk, a crash or a confused person can do to their files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chain::hash::{BlockHash, sha256};

use super::{scan::ScanEnd, *};
use crate::store::failpoint;

const SMALL_FILE_BYTES: u64 = 700;

fn chain(seed: u8) -> BlockHash {
    BlockHash::from_bytes([seed; 32])
}

fn files(folder: &Path, max_file_bytes: u64) -> Arc<FlatFiles> {
    FlatFiles::new(folder, Kind::Blocks, chain(1), max_file_bytes).expect("a folder")
}

/// What record number `index` is.
fn record(index: u8) -> (BlockHash, Vec<u8>) {
    let payload = vec![index; usize::from(index) * 13 % 90];
    (BlockHash::from_bytes(sha256(&[index])), payload)
}

/// Files with `count` records, and where each is.
fn written(folder: &Path, count: u8, max_file_bytes: u64) -> (Appender, Vec<Position>) {
    let opened = Appender::open(files(folder, max_file_bytes), Mark::START, Mark::START);
    let (mut appender, torn) = opened.expect("an empty folder");
    assert_eq!(torn, None);
    let positions = (0..count).map(|index| {
        let (hash, payload) = record(index);
        appender.append(&hash, &payload).expect("written")
    });
    let positions = positions.collect();
    (appender, positions)
}

fn read_all(files: &FlatFiles, positions: &[Position]) -> Result<(), FileError> {
    for (index, position) in (0..).zip(positions) {
        let (hash, payload) = record(index);
        assert_eq!(files.read(position, &hash)?, payload);
    }
    Ok(())
}

fn first_path(folder: &Path) -> PathBuf {
    folder.join("blocks-00000.dat")
}

#[test]
fn what_is_written_is_read_in_any_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut appender, positions) = written(folder.path(), 40, SMALL_FILE_BYTES);
    assert!(positions.last().is_some_and(|last| last.file > 4), "files were rotated");
    assert!(positions.is_sorted());
    let mut backwards = files(folder.path(), SMALL_FILE_BYTES);
    for (index, position) in (0..40).zip(&positions).rev() {
        let (hash, payload) = record(index);
        assert_eq!(backwards.read(position, &hash).expect("a record"), payload);
        assert_eq!(appender.files().read(position, &hash).expect("a record"), payload);
    }
    for number in backwards.numbers().expect("names") {
        assert!(fs::metadata(backwards.path(number)).expect("a file").len() <= SMALL_FILE_BYTES);
    }
    assert!(backwards.open.lock().len() <= MAX_OPEN_FILES);
    // Another process goes on where this one ended.
    appender.sync().expect("on the disk");
    assert_eq!(appender.synced(), appender.end());
    let end = appender.end();
    drop(appender);
    backwards = files(folder.path(), SMALL_FILE_BYTES);
    let (mut appender, torn) = Appender::open(backwards, end, end).expect("whole files");
    assert_eq!(torn, None);
    let (hash, payload) = record(40);
    let position = appender.append(&hash, &payload).expect("written");
    assert_eq!(appender.files().read(&position, &hash).expect("a record"), payload);
    read_all(appender.files(), &positions).expect("still there");
}

#[test]
fn s09_a_scan_gives_every_record_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let (appender, positions) = written(folder.path(), 30, SMALL_FILE_BYTES);
    let scan = |found: &mut Vec<Position>| {
        files(folder.path(), SMALL_FILE_BYTES).scan(|position, hash, payload| {
            assert_eq!((hash, payload.to_vec()), record(u8::try_from(found.len()).expect("few")));
            found.push(position);
            Ok::<_, FileError>(())
        })
    };
    let mut found = Vec::new();
    let end = scan(&mut found).expect("whole files");
    assert_eq!(found, positions);
    assert_eq!(end, ScanEnd { end: appender.end(), torn: false });
    // The newest file may be torn, the others may not.
    let newest = appender.files().path(appender.end().file);
    let file = fs::OpenOptions::new().write(true).open(newest).expect("a file");
    file.set_len(appender.end().offset - 1).expect("cut");
    found.clear();
    let end = scan(&mut found).expect("a torn end");
    assert!(end.torn);
    assert_eq!(found, positions[..positions.len() - 1]);
    let file = fs::OpenOptions::new().write(true).open(first_path(folder.path())).expect("a file");
    file.set_len(file.metadata().expect("a length").len() - 1).expect("cut");
    let error = scan(&mut Vec::new()).expect_err("the first file is short").to_string();
    assert!(error.contains("blocks-00000.dat is damaged at byte "), "{error}");
    fs::remove_file(first_path(folder.path())).expect("removed");
    let error = scan(&mut Vec::new()).expect_err("the first file is gone").to_string();
    assert!(error.contains("blocks-00000.dat is damaged at byte 0: it is not there"), "{error}");
}

#[test]
fn s03_a_file_that_is_torn_at_any_length_keeps_its_whole_records() {
    let folder = tempfile::tempdir().expect("a folder");
    let (appender, positions) = written(folder.path(), 8, MAX_FILE_BYTES);
    let (end, whole) = (appender.end(), fs::read(first_path(folder.path())).expect("bytes"));
    assert_eq!(end.offset, whole.len() as u64);
    for (length, synced) in (0..=whole.len())
        .flat_map(|length| [(length, Mark::START), (length, positions[5].end()), (length, end)])
    {
        let torn_folder = tempfile::tempdir().expect("a folder");
        fs::write(first_path(torn_folder.path()), &whole[..length]).expect("written");
        let opened = Appender::open(files(torn_folder.path(), MAX_FILE_BYTES), end, synced);
        let (mut appender, torn) = opened.expect("a torn end is no damage");
        let ends = std::iter::once(Mark::START).chain(positions.iter().map(Position::end));
        let expected = ends.filter(|mark| mark.offset <= length as u64).max().unwrap_or(Mark::START);
        assert_eq!(torn, Some(expected).filter(|mark| *mark != end), "length {length}");
        assert_eq!(appender.end(), expected);
        let kept = positions.iter().take_while(|position| !position.is_behind(expected)).count();
        read_all(appender.files(), &positions[..kept]).expect("whole records");
        // It goes on, and the file is then what it would have been.
        for (index, position) in (0..).zip(&positions).skip(kept) {
            let (hash, payload) = record(index);
            assert_eq!(appender.append(&hash, &payload).expect("written"), *position);
        }
        assert_eq!(fs::read(first_path(torn_folder.path())).expect("bytes"), whole);
    }
}

#[test]
fn s03_what_no_row_names_is_cut_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let (appender, positions) = written(folder.path(), 30, SMALL_FILE_BYTES);
    drop(appender);
    for kept in (0..positions.len()).rev() {
        let end = positions[kept].end();
        let (mut appender, torn) =
            Appender::open(files(folder.path(), SMALL_FILE_BYTES), end, Mark::START).expect("whole files");
        assert_eq!((torn, appender.end()), (None, end));
        let numbers = appender.files().numbers().expect("names");
        assert_eq!(numbers.last(), Some(&end.file));
        let length = fs::metadata(appender.files().path(end.file)).expect("a file").len();
        assert_eq!(length, end.offset);
        read_all(appender.files(), &positions[..=kept]).expect("what rows name");
        // What an earlier process wrote is synced by this one.
        appender.sync().expect("on the disk");
        assert_eq!(appender.synced(), end);
    }
    let (appender, _) = Appender::open(files(folder.path(), SMALL_FILE_BYTES), Mark::START, Mark::START)
        .expect("no row at all");
    assert_eq!(appender.end(), Mark::START);
    assert!(appender.files().is_empty().expect("names"));
}

#[test]
fn s03_an_unsynced_end_that_is_not_what_was_written_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (appender, positions) = written(folder.path(), 8, MAX_FILE_BYTES);
    let (end, whole) = (appender.end(), fs::read(first_path(folder.path())).expect("bytes"));
    let synced = positions[3].end();
    for offset in 0..whole.len() {
        let torn_folder = tempfile::tempdir().expect("a folder");
        let mut bytes = whole.clone();
        bytes[offset] ^= 0x20;
        fs::write(first_path(torn_folder.path()), &bytes).expect("written");
        let opened = Appender::open(files(torn_folder.path(), MAX_FILE_BYTES), end, synced);
        let offset = offset as u64;
        if offset < FIRST_OFFSET {
            opened.expect_err("the header is damaged");
        } else if offset < synced.offset {
            // It was synced, so it is not looked at here; whoever reads it finds it.
            let (appender, torn) = opened.expect("it is not read");
            assert_eq!(torn, None);
            read_all(appender.files(), &positions).expect_err("a damaged record");
        } else {
            let hit = positions.iter().rfind(|position| position.offset <= offset).expect("a record");
            let (_, torn) = opened.expect("a torn end is no damage");
            assert_eq!(torn, Some(Mark { file: 0, offset: hit.offset }), "at {offset}");
        }
    }
}

#[test]
fn s04_every_flipped_byte_is_found_and_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, positions) = written(folder.path(), 6, MAX_FILE_BYTES);
    let whole = fs::read(first_path(folder.path())).expect("bytes");
    for offset in 0..whole.len() {
        for flip in [0x01, 0x80] {
            let mut bytes = whole.clone();
            bytes[offset] ^= flip;
            fs::write(first_path(folder.path()), &bytes).expect("written");
            let files = files(folder.path(), MAX_FILE_BYTES);
            let error = read_all(&files, &positions).expect_err("a flipped byte").to_string();
            let record = positions.iter().rfind(|position| position.offset <= offset as u64);
            let at = record.map_or(0, |position| position.offset);
            assert!(error.contains(&format!("blocks-00000.dat is damaged at byte {at}: ")), "{error}");
            let scanned = files.scan(|_, _, _| Ok::<_, FileError>(())).expect_err("a flipped byte");
            assert_eq!(scanned.to_string().split(':').next(), error.split(':').next());
        }
    }
}

#[test]
fn s04_a_record_of_another_block_is_not_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let (appender, positions) = written(folder.path(), 6, MAX_FILE_BYTES);
    let files = appender.files();
    let error = files.read(&positions[2], &record(3).0).expect_err("another block").to_string();
    assert!(error.contains(&format!("it is of block {}", record(2).0)), "{error}");
    for wrong in [
        Position { length: positions[2].length + 1, ..positions[2] },
        Position { offset: positions[2].offset + 1, ..positions[2] },
        Position { length: u32::MAX, ..positions[2] },
        Position { offset: u64::MAX >> 2, ..positions[2] },
        Position { file: 7, ..positions[2] },
    ] {
        let error = files.read(&wrong, &record(2).0).expect_err("no record");
        assert!(matches!(error, FileError::Damaged { .. }), "{error}");
    }
    // A whole record in the place of another one of the same length.
    let mut bytes = fs::read(first_path(folder.path())).expect("bytes");
    let place = |position: &Position| {
        let offset = usize::try_from(position.offset).expect("small");
        offset..offset + RECORD_HEADER_BYTES
    };
    let header = bytes[place(&positions[0])].to_vec();
    bytes[place(&positions[1])].copy_from_slice(&header);
    fs::write(first_path(folder.path()), &bytes).expect("written");
    files.read(&positions[1], &record(0).0).expect_err("a record that was moved");
}

#[test]
fn s08_files_of_another_chain_kind_number_or_version_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (appender, positions) = written(folder.path(), 3, MAX_FILE_BYTES);
    let end = appender.end();
    let other = FlatFiles::new(folder.path(), Kind::Blocks, chain(2), MAX_FILE_BYTES).expect("a folder");
    let error = Appender::open(other, end, end).expect_err("another chain");
    let FileError::OtherChain { found, expected, .. } = &error else { panic!("{error}") };
    assert_eq!((*found, *expected), (chain(1), chain(2)));
    let rename = |to: &str| fs::copy(first_path(folder.path()), folder.path().join(to)).expect("copied");
    rename("undo-00000.dat");
    let undo = FlatFiles::new(folder.path(), Kind::Undo, chain(1), MAX_FILE_BYTES).expect("a folder");
    let error = Appender::open(undo, end, end).expect_err("another kind").to_string();
    assert!(error.contains("undo-00000.dat is damaged at byte 0: it is file 0 of kind 1"), "{error}");
    rename("blocks-00001.dat");
    let moved = Position { file: 1, ..positions[1] };
    let error = appender.files().read(&moved, &record(1).0).expect_err("another number").to_string();
    assert!(error.contains("blocks-00001.dat is damaged at byte 0: it is file 0"), "{error}");
    let newer = FileHeader { version: FORMAT_VERSION + 1, ..appender.files().header(0) };
    let mut bytes = fs::read(first_path(folder.path())).expect("bytes");
    bytes[..FILE_HEADER_BYTES].copy_from_slice(&newer.to_bytes());
    fs::write(first_path(folder.path()), bytes).expect("written");
    let error = Appender::open(files(folder.path(), MAX_FILE_BYTES), end, end).expect_err("a newer format");
    let FileError::OtherVersion { found, known, .. } = &error else { panic!("{error}") };
    assert_eq!((*found, *known), (FORMAT_VERSION + 1, FORMAT_VERSION));
    assert!(error.to_string().contains("blocks-00000.dat"), "{error}");
}

#[test]
fn s05_a_write_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut appender, mut positions) = written(folder.path(), 2, SMALL_FILE_BYTES);
    for index in 2..12 {
        let (hash, payload) = record(index);
        for point in ["blocks.append.before", "blocks.append.after"] {
            failpoint::arm(point, 1);
            let error = appender.append(&hash, &payload).expect_err("a full disk");
            assert!(matches!(error, FileError::Io { .. }), "{error}");
            assert!(error.to_string().contains("blocks-0000"), "{error}");
            let end = appender.end();
            assert_eq!(fs::metadata(appender.files().path(end.file)).expect("a file").len(), end.offset);
        }
        failpoint::disarm();
        positions.push(appender.append(&hash, &payload).expect("room again"));
    }
    read_all(appender.files(), &positions).expect("whole records");
    for point in ["blocks.sync.before", "blocks.sync.after"] {
        let synced = appender.synced();
        failpoint::arm(point, 1);
        appender.sync().expect_err("a full disk");
        assert_eq!(appender.synced(), synced);
    }
    failpoint::disarm();
    appender.sync().expect("room again");
    let (hash, _) = record(0);
    let error = appender.append(&hash, &vec![0; 17 << 20]).expect_err("larger than any block");
    assert!(matches!(error, FileError::TooLong { .. }), "{error}");
}

#[test]
fn s01_a_new_file_that_was_cut_off_while_it_was_made_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut appender, mut positions) = written(folder.path(), 3, SMALL_FILE_BYTES);
    for point in ["blocks.create.before", "blocks.create.after"] {
        loop {
            let (hash, payload) = record(u8::try_from(positions.len()).expect("few"));
            failpoint::arm(point, 1);
            match appender.append(&hash, &payload) {
                Ok(position) => positions.push(position),
                Err(_) => break,
            }
        }
        failpoint::disarm();
        let end = appender.end();
        let (again, torn) =
            Appender::open(files(folder.path(), SMALL_FILE_BYTES), end, end).expect("whole files");
        assert_eq!((again.end(), torn), (end, None));
        appender = again;
        read_all(appender.files(), &positions).expect("whole records");
    }
}
