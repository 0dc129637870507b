//! Published vectors of texts and counts: BIP-350's strings, Bitcoin's CompactSize, and addresses that were
//! typed wrongly (threat W08).

use chain::{address::Address, encode::read_compact_size, hash::sha256};
use serde_json::Value;

const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn address(number: u32) -> Address {
    Address::from_bytes(sha256(&number.to_le_bytes()))
}

/// The text, which need not be UTF-8's one byte a character, of a row that is a string or has one.
fn texts<'a>(file: &'a Value, list: &str) -> Vec<&'a str> {
    let rows = file[list].as_array().unwrap_or_else(|| panic!("the file has {list}"));
    rows.iter().map(|row| row.as_str().or_else(|| row["s"].as_str()).expect("a text")).collect()
}

#[test]
fn a2_bip_350_strings_are_told_apart() {
    let file = json(include_str!("vectors/bech32/bip350.json"));
    let (valid, invalid) = (texts(&file, "bech32m_valid"), texts(&file, "bech32m_invalid"));
    assert!(valid.len() >= 7 && invalid.len() >= 13);
    let is_bech32m =
        |text: &str| bech32::primitives::decode::CheckedHrpstring::new::<bech32::Bech32m>(text).is_ok();
    for text in &valid {
        assert!(is_bech32m(text), "{text:?}");
        // Good bech32m, and no address: another prefix, or not 33 bytes.
        assert!(Address::decode("crn", text).is_err(), "{text:?}");
    }
    for text in &invalid {
        assert!(!is_bech32m(text), "{text:?}");
        let prefix = text.rsplit_once('1').map_or("crn", |(prefix, _)| prefix);
        assert!(Address::decode(prefix, text).is_err(), "{text:?}");
    }
    for text in texts(&file, "bech32_valid_therefore_invalid_bech32m") {
        assert!(!is_bech32m(text), "{text:?} has the checksum of BIP-173");
    }
}

#[test]
fn w08_every_single_substitution_in_100_addresses_is_refused() {
    let mut tried = 0;
    for number in 0..100 {
        let text = address(number).encode("crn").into_bytes();
        // Behind the prefix and its separator.
        for place in 4..text.len() {
            for letter in CHARSET {
                let mut typed = text.clone();
                if typed[place] == *letter {
                    continue;
                }
                typed[place] = *letter;
                let typed = String::from_utf8(typed).expect("ASCII");
                assert!(Address::decode("crn", &typed).is_err(), "{typed}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 100 * 59 * 31);
}

#[test]
fn w08_double_substitutions_are_refused() {
    let mut tried = 0;
    for (salt, number) in (0..100).enumerate() {
        let text = address(number).encode("crn").into_bytes();
        for first in 4..text.len() {
            for second in first + 1..text.len() {
                let mut typed = text.clone();
                for place in [first, second] {
                    let old = CHARSET.iter().position(|letter| *letter == typed[place]).expect("of the set");
                    let step = 1 + (salt * 7 + first * 3 + second * 5 + place) % 31;
                    typed[place] = CHARSET[(old + step) % 32];
                }
                let typed = String::from_utf8(typed).expect("ASCII");
                assert!(Address::decode("crn", &typed).is_err(), "{typed}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 100 * 59 * 58 / 2);
}

#[test]
fn w08_swaps_cuts_cases_and_other_chains_are_refused() {
    for number in 0..100 {
        let text = address(number).encode("crn");
        for cut in 0..text.len() {
            assert!(Address::decode("crn", &text[..cut]).is_err());
        }
        for place in 4..text.len() - 1 {
            let mut swapped = text.clone().into_bytes();
            swapped.swap(place, place + 1);
            let swapped = String::from_utf8(swapped).expect("ASCII");
            assert_eq!(Address::decode("crn", &swapped).is_ok(), swapped == text);
        }
        let (lower, upper) = text.split_at(20);
        assert!(Address::decode("crn", &format!("{lower}{}", upper.to_uppercase())).is_err());
        for other in ["tcrn", "dcrn", "cr", "crnn"] {
            assert!(Address::decode(other, &text).is_err());
        }
        for extra in ["q", "p", " ", "\n"] {
            assert!(Address::decode("crn", &format!("{text}{extra}")).is_err());
            assert!(Address::decode("crn", &format!("{extra}{text}")).is_err());
        }
    }
}

#[test]
fn c24_compact_sizes_that_are_not_the_shortest_are_refused() {
    let cases = json(include_str!("vectors/encoding/compactsize_noncanonical.json"));
    let cases = cases.as_array().expect("a list");
    assert_eq!(cases.len(), 7);
    for case in cases {
        let bytes = const_hex::decode(case["hex"].as_str().expect("a text")).expect("hexadecimal");
        let mut rest = bytes.as_slice();
        let read = read_compact_size(&mut rest).ok();
        assert_eq!(read.is_some(), case["valid"].as_bool().expect("a verdict"), "{case}");
        assert_eq!(read, case["value"].as_u64(), "{case}");
    }
}
