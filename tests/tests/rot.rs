//! A disk turns over a byte of a data folder, in whatever file. It is detected and named, or it was in a place
//! that says nothing; never does anybody get another chain.

use std::{fs, path::PathBuf};

use tempfile::tempdir;
use tests::{
    chains::lab_chain,
    chance::Chance,
    command::{run, word},
    crash::stage::{build, copy_datadir},
    full_node::{FullNode, settings},
};

/// Blocks in the data folder.
const BLOCKS: u32 = 120;
/// Bytes that are turned over in each file, one at a time.
const FLIPS_A_FILE: usize = 6;

#[test]
fn s04_a_byte_that_a_disk_turns_over_is_found_or_means_nothing() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "rot", |_| ());
    let node = FullNode::start(&folder.path().join("node"), &settings(&chain));
    build(node.rpc(), &chain, "alice", BLOCKS);
    let datadir = node.datadir().to_path_buf();
    node.stop();
    let verify = |datadir: &PathBuf| run(["chain", "verify", "--json", "--datadir", word(datadir)]);
    let right = verify(&datadir).json();
    let mut chance = Chance::from_environment();
    let mut found = 0;
    for file in files(&datadir) {
        let bytes = fs::read(datadir.join(&file)).expect("readable");
        for _ in 0..FLIPS_A_FILE.min(bytes.len()) {
            let position = chance.below(bytes.len());
            let rotten = folder.path().join("rotten");
            if rotten.exists() {
                fs::remove_dir_all(&rotten).expect("nobody uses it");
            }
            copy_datadir(&datadir, &rotten);
            let mut flipped = bytes.clone();
            flipped[position] ^= 1 << chance.below(8);
            fs::write(rotten.join(&file), flipped).expect("written");
            let what = format!("{} at byte {position} of {}", file.display(), bytes.len());
            let outcome = verify(&rotten);
            if !outcome.status.success() {
                let said = outcome.failure();
                assert!(said.starts_with("error: "), "{what}: {said}");
                found += 1;
                continue;
            }
            let stored = outcome.json();
            // The database's log ends for it where a record is damaged: a suffix is lost, as in a power loss.
            let is_log = file.extension().is_some_and(|extension| extension == "log");
            let earlier = is_log && stored["height"].as_u64() < right["height"].as_u64();
            assert!(stored == right || earlier, "{what}: {stored} is not {right}");
        }
    }
    assert!(found > 0, "a byte that matters was turned over");
}

/// The files of a data folder that hold the chain, relative to it.
fn files(datadir: &PathBuf) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![datadir.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("readable").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            // What lies beside is not the chain, and what people read is not read by programs.
            let aside = folder == *datadir && !path.is_dir();
            if path.is_dir() {
                folders.push(path);
            } else if !aside && !name.starts_with("LOG") {
                files.push(path.strip_prefix(datadir).expect("it lies in there").to_path_buf());
            }
        }
    }
    files.sort();
    files
}
