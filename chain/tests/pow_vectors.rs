//! Compact targets, proof of work and chain work against Bitcoin Core's vectors and by properties.

use chain::{
    block::Header,
    hash::BlockHash,
    pow::{CompactTarget, PowError, Target, Work},
};
use proptest::prelude::*;
use ruint::aliases::U256;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/pow/compact_bits.json")).expect("the file is JSON")
}

fn rows<'a>(file: &'a Value, name: &str) -> &'a Vec<Value> {
    file[name].as_array().unwrap_or_else(|| panic!("{name} is a list"))
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_else(|| panic!("{field} is a string in {row}"))
}

fn flag(row: &Value, field: &str) -> bool {
    row[field].as_bool().unwrap_or_else(|| panic!("{field} is a flag in {row}"))
}

fn bits(text: &str) -> CompactTarget {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn target(text: &str) -> Target {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn c09_compact_bits_decode_as_in_bitcoin_core() {
    let file = vectors();
    let rows = rows(&file, "compact");
    assert_eq!(rows.len(), 20);
    for row in rows {
        let compact = bits(text(row, "compact"));
        let decoded = compact.to_target();
        if flag(row, "overflow") {
            assert_eq!(decoded, Err(PowError::Overflow(compact)), "{row}");
        } else if text(row, "target") == "0".repeat(64) {
            assert_eq!(decoded, Err(PowError::Zero(compact)), "{row}");
        } else if flag(row, "negative") {
            assert_eq!(decoded, Err(PowError::Negative(compact)), "{row}");
            // Core's reader goes on with the value and its sign apart; ours refuses. The writer gives the
            // digits of that value all the same.
            let written = target(text(row, "target")).to_compact().to_u32();
            assert!(flag(row, "reencode_sign"), "{row}");
            assert_eq!(written, bits(text(row, "reencoded")).to_u32() & !0x0080_0000, "{row}");
        } else {
            let decoded = decoded.unwrap_or_else(|error| panic!("{row}: {error}"));
            assert_eq!(decoded, target(text(row, "target")), "{row}");
            assert_eq!(decoded.to_compact(), bits(text(row, "reencoded")), "{row}");
            assert_eq!(compact.is_canonical(), text(row, "compact") == text(row, "reencoded"), "{row}");
        }
        assert!(decoded.is_ok() || !compact.is_canonical(), "{row}");
    }
}

#[test]
fn c09_written_bits_never_carry_the_sign() {
    let file = vectors();
    let rows = rows(&file, "target_to_compact");
    assert_eq!(rows.len(), 1);
    for row in rows {
        assert_eq!(target(text(row, "target")).to_compact(), bits(text(row, "compact")), "{row}");
    }
}

#[test]
fn c09_proofs_that_bitcoin_core_refuses_are_refused() {
    let file = vectors();
    let limit = target(text(&file, "pow_limit"));
    let rows = rows(&file, "check_proof_of_work");
    assert_eq!(rows.len(), 5);
    for row in rows {
        let compact = bits(text(row, "bits"));
        let hash: BlockHash = text(row, "hash").parse().unwrap_or_else(|error| panic!("{row}: {error}"));
        let decoded = compact.to_target();
        match text(row, "name") {
            "negative_target" => assert_eq!(decoded, Err(PowError::Negative(compact))),
            "overflow_target" => assert_eq!(decoded, Err(PowError::Overflow(compact))),
            "zero_target" => assert_eq!(decoded, Err(PowError::Zero(compact))),
            "too_easy_target" => assert!(decoded.is_ok_and(|easy| easy > limit && easy.is_met_by(&hash))),
            "bigger_hash_than_target" => {
                assert!(decoded.is_ok_and(|met| met <= limit && !met.is_met_by(&hash)));
            }
            name => panic!("a new case: {name}"),
        }
        assert!(!flag(row, "valid"), "{row}");
    }
}

/// The encodings that mean the same target as the canonical one are all told from it.
#[test]
fn c09_every_other_encoding_of_a_target_is_not_canonical() {
    for (canonical, others) in [
        ("1d00ffff", vec![]),
        ("04123456", vec!["05001234"]),
        ("02123400", vec!["03001234", "02123456", "021234ff"]),
        ("01120000", vec!["01123456", "02001200", "03000012"]),
        ("1c100000", vec!["1d001000", "1e000010"]),
        ("207fffff", vec!["21007fff"]),
    ] {
        let right = bits(canonical);
        assert!(right.is_canonical(), "{canonical}");
        let expected = right.to_target().unwrap_or_else(|error| panic!("{error}"));
        for other in others {
            assert!(!bits(other).is_canonical(), "{other}");
            let same = bits(other).to_target().unwrap_or_else(|error| panic!("{error}"));
            // Where digits lie below the three that fit, the other stands for a lower target.
            assert!(same <= expected && same.to_compact() <= right, "{other}");
        }
    }
}

/// Ten blocks of Bitcoin's first week against one of height 100,000: real headers, each with a real proof.
#[test]
fn c20_ten_easy_headers_are_less_work_than_one_hard() {
    let easy: Vec<Header> = include_bytes!("vectors/blocks/mainnet_headers_0_10236.bin")
        .as_chunks::<80>()
        .0
        .iter()
        .take(10)
        .map(Header::from_bytes)
        .collect();
    let blocks: Value =
        serde_json::from_str(include_str!("vectors/blocks/merkle_blocks.json")).expect("JSON");
    let hard = blocks
        .as_array()
        .expect("a list")
        .iter()
        .find(|block| block["height"] == 100_000)
        .map(|block| const_hex::decode_to_array(text(block, "header")).expect("80 bytes of hexadecimal"))
        .map(|bytes: [u8; 80]| Header::from_bytes(&bytes))
        .expect("block 100,000 is in the file");
    let total = |headers: &[Header]| {
        headers.iter().fold(Work::ZERO, |sum, header| {
            let target = header.bits.to_target().expect("mainnet's bits are good");
            assert!(target.is_met_by(&header.hash()));
            sum.checked_add(target.work()).expect("eleven headers fit")
        })
    };
    assert_eq!(easy.len(), 10);
    assert!(total(&easy) < total(&[hard]), "length must not count");
    assert!(total(&easy) > total(&easy[..9]), "of equal targets the longer chain has more work");
}

prop_compose! {
    /// A target of any size: a uniform number is almost always one of the highest.
    fn any_target()(bytes in any::<[u8; 32]>(), shift in 0_usize..256) -> Target {
        Target::from_u256(U256::from_be_bytes(bytes) >> shift)
    }
}

proptest! {
    #[test]
    fn c09_canonical_bits_come_back(word in any::<u32>()) {
        let compact = CompactTarget::from_u32(word);
        if let Ok(target) = compact.to_target() {
            let written = target.to_compact();
            prop_assert_eq!(compact.is_canonical(), written == compact);
            prop_assert!(written.is_canonical());
            prop_assert_eq!(written.to_target(), Ok(target), "23 bits lose nothing");
        } else {
            prop_assert!(!compact.is_canonical());
        }
    }

    #[test]
    fn compact_bits_cut_and_never_raise(target in any_target()) {
        let cut = target.to_compact().to_target().expect("a target is neither zero nor too high");
        prop_assert!(cut <= target);
        // What is cut lies below the mantissa, which has at least 16 significant bits.
        prop_assert!(target.to_u256() - cut.to_u256() <= target.to_u256() >> 15);
        prop_assert_eq!(cut.to_compact(), target.to_compact());
    }

    #[test]
    fn bits_and_targets_have_the_same_order(one in any_target(), other in any_target()) {
        if one <= other {
            prop_assert!(one.to_compact() <= other.to_compact());
        } else {
            prop_assert!(one.to_compact() >= other.to_compact());
        }
    }

    #[test]
    fn c20_lower_targets_are_never_less_work(one in any_target(), other in any_target()) {
        if one <= other {
            prop_assert!(one.work() >= other.work());
        } else {
            prop_assert!(one.work() <= other.work());
        }
        prop_assert!(one.work() > Work::ZERO);
    }

    #[test]
    fn expected_hashes_are_the_inverse_of_work(hashes in 1_u64..) {
        prop_assert_eq!(Target::from_expected_hashes(hashes).work().to_u256(), U256::from(hashes));
    }

    #[test]
    fn a_hash_is_compared_as_a_little_endian_number(target in any_target(), hash in any::<[u8; 32]>()) {
        let mut big_endian = hash;
        big_endian.reverse();
        prop_assert_eq!(target.is_met_by(&BlockHash::from_bytes(hash)), big_endian <= target.to_be_bytes());
    }

    #[test]
    fn strings_and_bytes_come_back(word in any::<u32>(), target in any_target()) {
        let compact = CompactTarget::from_u32(word);
        prop_assert_eq!(compact.to_string().parse(), Ok(compact));
        prop_assert_eq!(borsh::to_vec(&compact).expect("a vector takes all"), word.to_le_bytes());
        prop_assert_eq!(target.to_string().parse(), Ok(target));
        prop_assert_eq!(Work::from_be_bytes(target.work().to_be_bytes()), target.work());
    }
}
