//! Published vectors, every row: BIP-39 (python-mnemonic), SLIP-0010, Argon2id (RFC 9106, PHC).

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use serde_json::Value;
use wallet::{Mnemonic, derivation::ExtendedKey};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("vectors are JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("vectors hold strings here")
}

fn bytes(value: &Value) -> Vec<u8> {
    const_hex::decode(text(value)).expect("vectors hold hexadecimal here")
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().expect("vectors hold numbers here")).expect("small")
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().expect("vectors hold lists here")
}

#[test]
fn w12_bip39() {
    let vectors = json(include_str!("vectors/bip39/trezor_vectors_english.json"));
    let mut tested = 0;
    for row in rows(&vectors["english"]) {
        let (entropy, words) = (bytes(&row[0]), text(&row[1]));
        let made = Mnemonic::from_entropy(&entropy).expect("a length of BIP-39");
        assert_eq!(made.words().as_str(), words);
        let read = Mnemonic::from_words(words).expect("words of BIP-39");
        assert_eq!(*read.entropy(), entropy);
        assert_eq!(read.seed("TREZOR").expect("short").as_bytes().as_slice(), bytes(&row[2]));
        tested += 1;
    }
    assert_eq!(tested, 24);
}

#[test]
fn w12_bip39_word_list() {
    let list: Vec<&str> = include_str!("vectors/bip39/english.txt").lines().collect();
    assert_eq!(list.len(), 2_048);
    // Eleven bits a word: entropy that begins with the index, and the first word that it makes.
    for (index, word) in list.iter().enumerate() {
        let index = u16::try_from(index).expect("2,048 words");
        let mut entropy = [0; 16];
        entropy[..2].copy_from_slice(&(index << 5).to_be_bytes());
        let words = Mnemonic::from_entropy(&entropy).expect("16 bytes").words();
        assert_eq!(words.split(' ').next(), Some(*word));
    }
}

#[test]
fn w12_slip10() {
    let vectors = json(include_str!("vectors/slip10/slip10_ed25519.json"));
    let mut tested = 0;
    for seed in rows(&vectors) {
        let master = ExtendedKey::master(&bytes(&seed["seed"])).expect("a seed");
        for node in rows(&seed["chain"]) {
            let key = master.descend(text(&node["path"])).expect("hardened");
            assert_eq!(key.signing_key().to_bytes().as_slice(), bytes(&node["private"]));
            assert_eq!([&[0], key.public_key().0.as_slice()].concat(), bytes(&node["public"]));
            tested += 1;
        }
    }
    assert_eq!(tested, 12);
}

/// RFC 9106's own vector has a secret and associated data, which key files have not: it holds the crate that
/// they use against the standard. Vectors without them are tested on the key file's own derivation.
#[test]
fn w03_argon2id() {
    let vectors = json(include_str!("vectors/keyfile/argon2id.json"));
    let rfc = &vectors["rfc9106"];
    let params = ParamsBuilder::new()
        .m_cost(number(&rfc["m_kib"]))
        .t_cost(number(&rfc["t"]))
        .p_cost(number(&rfc["p"]))
        .data(AssociatedData::new(&bytes(&rfc["ad_hex"])).expect("short"))
        .build()
        .expect("parameters of RFC 9106");
    let secret = bytes(&rfc["secret_hex"]);
    let argon = Argon2::new_with_secret(&secret, Algorithm::Argon2id, Version::V0x13, params).expect("short");
    let mut tag = [0; 32];
    argon
        .hash_password_into(&bytes(&rfc["password_hex"]), &bytes(&rfc["salt_hex"]), &mut tag)
        .expect("lengths of RFC 9106");
    assert_eq!(tag.as_slice(), bytes(&rfc["tag"]));
}
