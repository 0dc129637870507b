//! Real Bitcoin headers: 80 bytes, hashes, links, proofs of work and Merkle roots, bit for bit.

use chain::{
    block::Header,
    hash::{BlockHash, MerkleRoot, TxId},
    merkle::root_and_mutation,
    pow::{CompactTarget, Work},
};
use serde_json::Value;

fn headers() -> Vec<[u8; 80]> {
    let (headers, rest) = include_bytes!("vectors/blocks/mainnet_headers_0_10236.bin").as_chunks::<80>();
    assert!(rest.is_empty() && headers.len() == 10_237);
    headers.to_vec()
}

fn parse<T: std::str::FromStr>(value: &Value) -> T {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is a string"));
    text.parse().unwrap_or_else(|_| panic!("{text} is malformed"))
}

#[test]
fn ten_thousand_headers_link_and_carry_their_work() {
    let mut previous = BlockHash::ZERO;
    let mut total = Work::ZERO;
    let mut previous_time = None;
    let mut earlier_than_parent = 0;
    for (height, bytes) in headers().iter().enumerate() {
        let header = Header::from_bytes(bytes);
        assert_eq!(&header.to_bytes(), bytes, "height {height}");
        assert_eq!(header.previous, previous, "height {height}");
        let target = header.bits.to_target().unwrap_or_else(|error| panic!("height {height}: {error}"));
        assert!(header.bits.is_canonical(), "height {height}");
        assert!(target.is_met_by(&header.hash()), "height {height}");
        total = total.checked_add(target.work()).expect("far below 2^256");
        earlier_than_parent += usize::from(previous_time.is_some_and(|time| header.time < time));
        previous_time = Some(header.time);
        previous = header.hash();
    }
    assert_eq!(earlier_than_parent, 49, "a parent's time is no bound: only the median time past is");
    // 10,237 blocks of difficulty 1, 0x100010001 hashes each.
    let expected = 10_237_u128 * 0x1_0001_0001;
    assert_eq!(total.to_be_bytes()[16..], expected.to_be_bytes());
    assert_eq!(total.to_be_bytes()[..16], [0; 16]);
}

#[test]
fn c09_a_header_with_one_bit_flipped_has_no_proof() {
    for bytes in headers().iter().step_by(100) {
        for bit in 0..640 {
            let mut changed = *bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            let header = Header::from_bytes(&changed);
            assert_eq!(header.to_bytes(), changed);
            // Flipped bits may mean another target, but never a hash that meets the original one.
            let original = Header::from_bytes(bytes).bits.to_target().expect("mainnet's bits are good");
            assert!(!original.is_met_by(&header.hash()), "bit {bit} of {}", Header::from_bytes(bytes).hash());
        }
    }
}

#[test]
fn the_first_256_blocks_have_their_fields_and_roots() {
    let rows: Vec<Value> =
        serde_json::from_str(include_str!("vectors/blocks/mainnet_0_255.json")).expect("the file is JSON");
    assert_eq!(rows.len(), 256);
    let raw = headers();
    for (height, row) in rows.iter().enumerate() {
        assert_eq!(row["height"], height);
        assert_eq!(row["header"], const_hex::encode(raw[height]), "height {height}");
        assert_matches(row, &raw[height]);
    }
}

#[test]
fn later_blocks_have_their_fields_and_roots() {
    let rows: Vec<Value> =
        serde_json::from_str(include_str!("vectors/blocks/merkle_blocks.json")).expect("the file is JSON");
    assert_eq!(rows.len(), 9);
    for row in &rows {
        let text = row["header"].as_str().expect("a string");
        let bytes = const_hex::decode_to_array(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_matches(row, &bytes);
    }
}

/// Holds a header against the fields and the ids that were published for it.
fn assert_matches(row: &Value, bytes: &[u8; 80]) {
    let header = Header::from_bytes(bytes);
    assert_eq!(&header.to_bytes(), bytes, "{row}");
    assert_eq!(header.hash(), parse::<BlockHash>(&row["hash"]), "{row}");
    assert_eq!(header.hash().to_string(), row["hash"].as_str().expect("a string"), "{row}");
    assert_eq!(row["version"], header.version, "{row}");
    assert_eq!(header.previous, parse::<BlockHash>(&row["prev"]), "{row}");
    assert_eq!(header.merkle_root, parse::<MerkleRoot>(&row["merkle_root"]), "{row}");
    assert_eq!(row["time"], header.time.secs(), "{row}");
    assert_eq!(header.bits, parse::<CompactTarget>(&row["bits"]), "{row}");
    assert_eq!(row["nonce"], header.nonce, "{row}");
    assert!(header.bits.to_target().is_ok_and(|target| target.is_met_by(&header.hash())), "{row}");
    let ids: Vec<[u8; 32]> = row["txids"]
        .as_array()
        .unwrap_or_else(|| panic!("txids is a list: {row}"))
        .iter()
        .map(|id| parse::<TxId>(id).to_bytes())
        .collect();
    assert_eq!(row["ntx"], ids.len(), "{row}");
    assert_eq!(root_and_mutation(&ids), (header.merkle_root, false), "{row}");
}
