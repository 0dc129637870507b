//! The key file: what must be refused, and what must survive.

use std::fs;

use super::*;
use crate::randomness::broken;

/// The least that Argon2 allows: what is tested does not depend on the cost.
const CHEAPEST: KdfCost = KdfCost { memory_kib: 8, passes: 1, lanes: 1 };

fn contents() -> Contents {
    let entropy = (0..32).map(|byte| byte + 100).collect();
    Contents { entropy, bip39_passphrase: "twenty-fifth".to_owned(), next_receive: 3, next_change: 1 }
}

fn chain() -> WalletChain {
    WalletChain { id: BlockHash::from_bytes([7; 32]), prefix: "dev".to_owned() }
}

fn folder_and_path() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("the system has a folder for temporary files");
    let path = folder.path().join("alice.wallet");
    (folder, path)
}

fn created(path: &Path, passphrase: &str) -> KeyFile {
    KeyFile::create(path, passphrase, chain(), CHEAPEST, &contents()).expect("a new file")
}

#[test]
fn what_was_written_is_read() {
    for passphrase in ["", "correct horse", "caf\u{e9}"] {
        let (_folder, path) = folder_and_path();
        drop(created(&path, passphrase));
        let (file, read) = KeyFile::open(&path, passphrase).expect("the right passphrase");
        assert_eq!(read, contents());
        assert_eq!(file.chain(), &chain());
        assert_eq!(file.path(), path);
        assert_eq!(KeyFile::read_chain(&path).expect("public"), chain());
    }
}

#[test]
fn saving_keeps_the_key_and_changes_the_nonce() {
    let (_folder, path) = folder_and_path();
    let file = created(&path, "p");
    let before = fs::read(&path).expect("there");
    let mut later = contents();
    later.next_receive = 50;
    file.save(&later).expect("saved");
    let (_, first_nonce, _) = Header::parse(&before).expect("ours");
    let (_, second_nonce, _) = Header::parse(&fs::read(&path).expect("there")).expect("ours");
    assert_ne!(first_nonce, second_nonce);
    assert_eq!(KeyFile::open(&path, "p").expect("the same passphrase").1, later);
}

#[test]
fn w14_a_wrong_passphrase_and_damage_are_one_error() {
    let (_folder, path) = folder_and_path();
    drop(created(&path, "right"));
    for wrong in ["", "Right", "right ", "wrong"] {
        assert!(matches!(KeyFile::open(&path, wrong), Err(KeyFileError::Locked)), "{wrong}");
    }
    let text = fs::read_to_string(&path).expect("there");
    let digit = text.find("ciphertext\": \"").expect("named") + "ciphertext\": \"".len();
    let other = if &text[digit..=digit] == "0" { "1" } else { "0" };
    fs::write(&path, [&text[..digit], other, &text[digit + 1..]].concat()).expect("writable");
    assert!(matches!(KeyFile::open(&path, "right"), Err(KeyFileError::Locked)));
}

#[test]
fn w03_every_truncation_is_refused() {
    let (_folder, path) = folder_and_path();
    drop(created(&path, ""));
    let whole = fs::read(&path).expect("there");
    for length in 0..whole.len() {
        assert!(
            KeyFile::unlock(&path, &whole[..length], "").is_err(),
            "{length} of {} bytes opened",
            whole.len()
        );
    }
    assert!(KeyFile::unlock(&path, &[&whole[..], b"\n"].concat(), "").is_err(), "a longer file opened");
}

#[test]
fn w03_every_flipped_byte_is_refused() {
    let (_folder, path) = folder_and_path();
    drop(created(&path, ""));
    let whole = fs::read(&path).expect("there");
    let mut refused = 0;
    for position in 0..whole.len() {
        // Each single bit, all of them, and what turns a space into a tab or a letter's case.
        for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255, b' ' ^ b'\t', b'\n' ^ b' '] {
            let mut altered = whole.clone();
            altered[position] ^= flip;
            assert!(
                KeyFile::unlock(&path, &altered, "").is_err(),
                "byte {position} flipped by {flip} opened"
            );
            refused += 1;
        }
    }
    assert_eq!(refused, whole.len() * 11);
    assert!(KeyFile::unlock(&path, &whole, "").is_ok(), "the unaltered file opens");
}

#[test]
fn w03_each_field_of_the_header_is_authenticated() {
    let (_folder, path) = folder_and_path();
    drop(created(&path, ""));
    let whole = fs::read(&path).expect("there");
    let (mut header, nonce, ciphertext) = Header::parse(&whole).expect("ours");
    header.chain.prefix = "main".to_owned();
    fs::write(&path, header.to_file(&nonce, &ciphertext)).expect("writable");
    assert!(matches!(KeyFile::open(&path, ""), Err(KeyFileError::Locked)));
    let (mut header, ..) = Header::parse(&whole).expect("ours");
    header.chain.id = BlockHash::ZERO;
    fs::write(&path, header.to_file(&nonce, &ciphertext)).expect("writable");
    assert!(matches!(KeyFile::open(&path, ""), Err(KeyFileError::Locked)));
}

#[test]
fn w03_hostile_costs_are_refused_before_any_memory_is_taken() {
    let (_folder, path) = folder_and_path();
    drop(created(&path, ""));
    let (mut header, nonce, ciphertext) = Header::parse(&fs::read(&path).expect("there")).expect("ours");
    let cost = |memory_kib, passes, lanes| KdfCost { memory_kib, passes, lanes };
    for hostile in [
        cost(4 << 20, 1, 1),
        cost(u32::MAX, 1, 1),
        cost(MAX_KDF_MEMORY_KIB + 1, 1, 1),
        cost(8, MAX_KDF_PASSES + 1, 1),
        cost(8, u32::MAX, 1),
        cost(8, 0, 1),
        cost(8, 1, 0),
        cost(7, 1, 1),
        cost(15, 1, 2),
        cost(1 << 20, 1, MAX_KDF_LANES + 1),
        cost(8, 1, u32::MAX),
    ] {
        header.cost = hostile;
        fs::write(&path, header.to_file(&nonce, &ciphertext)).expect("writable");
        assert!(matches!(KeyFile::open(&path, ""), Err(KeyFileError::KdfCost(got)) if got == hostile));
        let new = KeyFile::create(&path.with_extension("new"), "", chain(), hostile, &contents());
        assert!(matches!(new, Err(KeyFileError::KdfCost(_))));
    }
    for fine in [KdfCost::STANDARD, KdfCost::LIGHT, CHEAPEST] {
        assert!(fine.check().is_ok());
    }
}

#[test]
fn other_files_and_versions_are_named() {
    let (_folder, path) = folder_and_path();
    assert!(matches!(KeyFile::open(&path, ""), Err(KeyFileError::Missing(_))));
    drop(created(&path, ""));
    let text = fs::read_to_string(&path).expect("there");
    fs::write(&path, text.replace("\"version\": 1", "\"version\": 2")).expect("writable");
    assert!(matches!(KeyFile::open(&path, ""), Err(KeyFileError::Version(2))));
    let endless = usize::try_from(MAX_FILE_BYTES).expect("small") + 1;
    for other in [Vec::new(), b"{}".to_vec(), b"[wallet]".to_vec(), vec![b' '; endless]] {
        fs::write(&path, other).expect("writable");
        assert!(matches!(KeyFile::open(&path, ""), Err(KeyFileError::NotAKeyFile)));
    }
}

#[test]
fn an_existing_file_is_not_overwritten() {
    let (folder, path) = folder_and_path();
    drop(created(&path, "first"));
    let before = fs::read(&path).expect("there");
    let again = KeyFile::create(&path, "second", chain(), CHEAPEST, &contents());
    assert!(matches!(again, Err(KeyFileError::Exists(_))));
    assert_eq!(fs::read(&path).expect("there"), before);
    assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1);
}

#[test]
fn w01_without_randomness_no_file_is_made_or_changed() {
    let (folder, path) = folder_and_path();
    let failed = KeyFile::create_from(&path, "", chain(), CHEAPEST, &contents(), broken);
    assert!(matches!(failed, Err(KeyFileError::Randomness(_))));
    assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0);
    let mut file = created(&path, "");
    let before = fs::read(&path).expect("there");
    file.random = broken;
    assert!(matches!(file.save(&contents()), Err(KeyFileError::Randomness(_))));
    assert_eq!(fs::read(&path).expect("there"), before);
}

#[test]
fn w04_a_save_that_fails_leaves_the_old_file() {
    let (folder, path) = folder_and_path();
    let file = created(&path, "");
    let moved = folder.path().join("moved");
    fs::rename(&path, &moved).expect("movable");
    assert!(matches!(file.save(&contents()), Err(KeyFileError::Io { action: "save", .. })));
    assert_eq!(KeyFile::open(&moved, "").expect("untouched").1, contents());
}

#[test]
fn w06_neither_file_nor_debug_shows_a_secret() {
    let (_folder, path) = folder_and_path();
    let file = created(&path, "open sesame");
    let text = fs::read_to_string(&path).expect("there");
    let entropy = const_hex::encode(&contents().entropy);
    for secret in [entropy.as_str(), "twenty-fifth", "open sesame", &const_hex::encode("twenty-fifth")] {
        assert!(!text.contains(secret) && !format!("{file:?}{:?}", contents()).contains(secret));
    }
}

#[test]
fn lengths_are_bounded() {
    let (_folder, path) = folder_and_path();
    let long = "p".repeat(MAX_PASSPHRASE_BYTES + 1);
    let failed = KeyFile::create(&path, &long, chain(), CHEAPEST, &contents());
    assert!(matches!(failed, Err(KeyFileError::PassphraseLength(1_025))));
    for prefix in [String::new(), "Dev".to_owned(), "d v".to_owned(), "x".repeat(MAX_PREFIX_BYTES + 1)] {
        let chain = WalletChain { prefix, ..chain() };
        let failed = KeyFile::create(&path, "", chain, CHEAPEST, &contents());
        assert!(matches!(failed, Err(KeyFileError::Prefix)));
    }
    // The longest file that we write is well below the longest that we read.
    let mut largest = contents();
    largest.bip39_passphrase = "p".repeat(MAX_BIP39_PASSPHRASE_BYTES);
    let chain = WalletChain { prefix: "x".repeat(MAX_PREFIX_BYTES), ..chain() };
    drop(KeyFile::create(&path, "", chain, CHEAPEST, &largest).expect("within all limits"));
    assert!(fs::metadata(&path).expect("there").len() < MAX_FILE_BYTES / 2);
    assert_eq!(KeyFile::open(&path, "").expect("ours").1, largest);
}

#[test]
fn w03_the_key_is_argon2id_of_the_passphrase() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/vectors/keyfile/argon2id.json")).expect("JSON");
    let rows = vectors["reference_tests"].as_array().expect("a list");
    assert_eq!(rows.len(), 8);
    for row in rows {
        let number = |name: &str| u32::try_from(row[name].as_u64().expect("a number")).expect("small");
        let text = |name: &str| row[name].as_str().expect("a string");
        let cost = KdfCost { memory_kib: number("m_kib"), passes: number("t"), lanes: number("p") };
        let key = cost.derive(text("password"), text("salt").as_bytes()).expect("within the limits");
        assert_eq!(const_hex::encode(key.as_slice()), text("tag"), "{row}");
    }
}
