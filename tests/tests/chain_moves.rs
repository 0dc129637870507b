//! A chain leaves one data folder as a file and enters another one, also where that is cut off; and an operator
//! makes mistakes with the commands for it.

use std::{fs, path::Path};

use node::store::STORE_FOLDER;
use rpc::auth::COOKIE_FILE;
use tempfile::{TempDir, tempdir};
use tests::{
    chains::{LabChain, lab_chain},
    chance::Chance,
    command::{cairn, run, word},
    crash::stage::build,
    full_node::{FullNode, node_command, settings, verify_stored},
    process::{Process, Signal},
    wait::pause_unless,
};

/// Blocks of the chain that moves.
const BLOCKS: u32 = 300;
/// How often an import is killed.
const KILLS: usize = 4;
/// An import takes about so long, in milliseconds; a kill comes within it.
const IMPORT_MS: usize = 400;

/// A node's folder with blocks in it, and its tip.
fn filled(folder: &TempDir) -> (LabChain, std::path::PathBuf, String) {
    let chain = lab_chain(folder.path(), "moves", |_| ());
    let node = FullNode::start(&folder.path().join("from"), &settings(&chain));
    build(node.rpc(), &chain, "alice", BLOCKS);
    let tip = node.rpc().getbestblockhash().expect("it answers").to_string();
    let datadir = node.datadir().to_path_buf();
    node.stop();
    (chain, datadir, tip)
}

fn export(datadir: &Path, out: &Path) -> tests::command::Outcome {
    run(["chain", "export", "--datadir", word(datadir), "--out", word(out)])
}

fn import_words<'a>(chain: &'a LabChain, datadir: &'a Path, file: &'a Path) -> [&'a str; 7] {
    ["chain", "import", "--chain", word(&chain.file), "--datadir", word(datadir), word(file)]
}

#[test]
fn a_chain_moves_as_one_file_also_where_the_import_is_killed() {
    let folder = tempdir().expect("a folder");
    let (chain, from, tip) = filled(&folder);
    let file = folder.path().join("moves.cairn");
    assert_eq!(export(&from, &file).success().trim(), tip, "nothing but the tip is the answer");

    let to = folder.path().join("to");
    let mut chance = Chance::from_environment();
    for kill in 0..KILLS {
        let mut command = cairn();
        command.args(import_words(&chain, &to, &file));
        let at = |kind: &str| folder.path().join(format!("import-{kill}.{kind}"));
        let mut process = Process::start("an import", command, &at("out"), &at("log"));
        let moment = std::time::Duration::from_millis(chance.below(IMPORT_MS) as u64);
        pause_unless(moment, || process.status().is_some());
        process.signal(Signal::KILL);
        process.wait();
    }
    assert_eq!(run(import_words(&chain, &to, &file)).success().trim(), tip);
    assert_eq!(run(import_words(&chain, &to, &file)).success().trim(), tip, "once more changes nothing");
    let said = |datadir: &Path| {
        run(["chain", "verify", "--chain", word(&chain.file), "--datadir", word(datadir), "--json"]).json()
    };
    assert_eq!(said(&from), said(&to));
    assert_eq!(said(&to)["tip"], tip.as_str());
    let node = FullNode::start(&to, &settings(&chain));
    assert_eq!(node.rpc().getbestblockhash().expect("it answers").to_string(), tip);
    node.stop();
}

#[test]
fn s04_a_damaged_file_is_named_with_the_place_and_what_came_before_is_kept() {
    let folder = tempdir().expect("a folder");
    let (chain, from, tip) = filled(&folder);
    let file = folder.path().join("moves.cairn");
    export(&from, &file).success();
    let whole = fs::read(&file).expect("readable");
    let to = folder.path().join("to");

    fs::write(&file, &whole[..whole.len() / 2]).expect("written");
    let said = run(import_words(&chain, &to, &file)).failure();
    assert!(said.contains("is damaged at block ") && said.contains("what came before is kept"), "{said}");
    let mut flipped = whole.clone();
    let middle = flipped.len() * 3 / 4;
    flipped[middle] ^= 1;
    fs::write(&file, flipped).expect("written");
    let said = run(import_words(&chain, &to, &file)).failure();
    assert!(said.contains("its checksum does not fit") && said.contains("moves.cairn"), "{said}");
    let node = FullNode::start(&to, &settings(&chain));
    let height = node.rpc().getblockcount().expect("it answers").get();
    assert!(height > BLOCKS / 2 && height < BLOCKS, "{height}");
    node.stop();

    fs::write(&file, whole).expect("written");
    assert_eq!(run(import_words(&chain, &to, &file)).success().trim(), tip);
    verify_stored(&to);
}

#[test]
fn s07_a_folder_in_use_is_nobody_elses() {
    let folder = tempdir().expect("a folder");
    let (chain, from, _) = filled(&folder);
    let file = folder.path().join("moves.cairn");
    export(&from, &file).success();
    let node = FullNode::start_again(&from);
    let used = format!("process {}", node.process.pid());
    let out = folder.path().join("other.cairn");
    let said = export(&from, &out).failure();
    assert!(said.contains(&used) && !out.exists(), "{said}");
    let said = run(import_words(&chain, &from, &file)).failure();
    assert!(said.contains(&used), "{said}");
    let said = run(["chain", "verify", "--datadir", word(&from)]).failure();
    assert!(said.contains(&used), "{said}");
    assert!(from.join(COOKIE_FILE).exists(), "the node goes on");
    node.stop();
}

#[test]
fn mistakes_with_chains_are_named() {
    let folder = tempdir().expect("a folder");
    let (chain, from, _) = filled(&folder);
    let file = folder.path().join("moves.cairn");
    export(&from, &file).success();
    let before = fs::read(&file).expect("readable");
    let said = export(&from, &file).failure();
    assert!(said.contains("exists already") && said.contains("--out"), "{said}");
    assert_eq!(fs::read(&file).expect("readable"), before, "nothing was written over");
    let said = export(&from, &folder.path().join("nowhere/x")).failure();
    assert!(said.contains("there is no folder"), "{said}");

    let out = folder.path().join("out.cairn");
    let missing = folder.path().join("missing");
    let said = export(&missing, &out).failure();
    assert!(said.contains("there is no folder") && !missing.exists(), "nothing is made: {said}");
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).expect("made");
    for words in [
        vec!["export", "--chain", word(&chain.file), "--datadir", word(&empty), "--out", word(&out)],
        vec!["verify", "--chain", word(&chain.file), "--datadir", word(&empty)],
    ] {
        let said = run(std::iter::once("chain").chain(words)).failure();
        assert!(said.contains("is no data folder of a node"), "{said}");
        assert_eq!(fs::read_dir(&empty).expect("readable").count(), 0, "nothing is made: {said}");
    }
    // A folder, a file and a chain that do not belong together.
    let other = lab_chain(folder.path(), "other", |_| ());
    let id = other.chain.id().to_string();
    let said = run(["chain", "verify", "--chain", word(&other.file), "--datadir", word(&from)]).failure();
    assert!(said.contains(&id), "{said}");
    let new = folder.path().join("new");
    let said = run(import_words(&other, &new, &file)).failure();
    assert!(said.contains(&id) && said.contains("--chain") && !new.exists(), "nothing is made: {said}");
    let said = run(import_words(&chain, &new, &chain.file)).failure();
    assert!(said.contains("is no exported chain") && !new.exists(), "{said}");
    let said = run(import_words(&chain, &new, &folder.path().join("none"))).failure();
    assert!(said.contains("No such file") && said.contains("none"), "{said}");
    let said = run(["chain", "verify", "--db-cache", "1", "--datadir", word(&from)]).failure();
    assert!(said.contains("from 4 to 65536"), "{said}");
}

#[test]
fn s09_a_reindex_gives_the_same_coins() {
    let folder = tempdir().expect("a folder");
    let (_, datadir, tip) = filled(&folder);
    let verify = || run(["chain", "verify", "--json", "--datadir", word(&datadir)]).json();
    let before = verify();
    let mut command = node_command(&datadir);
    command.arg("--reindex");
    let node = FullNode::start_command(&datadir, command);
    let node = node.unwrap_or_else(|process| panic!("it does not start: {}", process.log()));
    assert_eq!(node.rpc().getbestblockhash().expect("it answers").to_string(), tip, "it goes on as a node");
    node.stop();
    assert_eq!(verify(), before);
    // The database is gone, or is nonsense: the blocks are enough.
    let store = datadir.join(STORE_FOLDER);
    for nonsense in [false, true] {
        fs::remove_dir_all(&store).expect("nobody uses it");
        if nonsense {
            fs::create_dir(&store).expect("made");
            fs::write(store.join("CURRENT"), "nonsense").expect("written");
        }
        let mut command = node_command(&datadir);
        command.arg("--reindex");
        let node = FullNode::start_command(&datadir, command);
        node.unwrap_or_else(|process| panic!("it does not start: {}", process.log())).stop();
        assert_eq!(verify(), before);
    }
}
