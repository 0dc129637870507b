//! Published ed25519 vectors: RFC 8032, ed25519-speccheck in the row of ZIP-215, and ZIP-215's own 196 pairs of
//! small order, alone and in batches.

use chain::{
    policy::PublicKey,
    signature::{Claim, verify_all},
    zip215::{Signed, all_hold},
};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::Value;

fn json(text: &str) -> Vec<Value> {
    serde_json::from_str(text).expect("a JSON list")
}

fn bytes(value: &Value) -> Vec<u8> {
    const_hex::decode(value.as_str().expect("a string")).expect("hexadecimal")
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap_or_else(|bytes: Vec<u8>| panic!("{} bytes, not {N}", bytes.len()))
}

/// What ZIP-215's pairs sign.
fn zcash((key, signature): &([u8; 32], [u8; 64])) -> Signed<'_> {
    Signed { key, signature, message: b"Zcash" }
}

fn claim(number: u8) -> Claim {
    let key = SigningKey::from_bytes(&[number; 32]);
    let message = [number; 32];
    let signature = key.sign(&message).to_bytes();
    Claim { key: PublicKey(key.verifying_key().to_bytes()), signature, message }
}

#[test]
fn c23_rfc_8032_keys_sign_and_verify_as_published() {
    let cases = json(include_str!("vectors/ed25519/rfc8032.json"));
    assert!(cases.len() >= 4);
    for case in &cases {
        let key = SigningKey::from_bytes(&array(&case["secret_key"]));
        let public: [u8; 32] = array(&case["public_key"]);
        let message = bytes(&case["message"]);
        let signature: [u8; 64] = array(&case["signature"]);
        assert_eq!(key.verifying_key().to_bytes(), public, "{}", case["name"]);
        assert_eq!(key.sign(&message).to_bytes(), signature, "{}", case["name"]);
        let signed = Signed { key: &public, signature: &signature, message: &message };
        assert!(signed.holds());
        let altered = [message.as_slice(), &[0]].concat();
        assert!(!Signed { message: &altered, ..signed }.holds());
    }
}

#[test]
fn c23_speccheck_verdicts_are_those_of_zip_215() {
    let cases = json(include_str!("vectors/ed25519/speccheck_cases.json"));
    let table: Value =
        serde_json::from_str(include_str!("vectors/ed25519/speccheck_expected.json")).expect("JSON");
    let row = table["expected"]["zebra (ZIP-215)"].as_str().expect("our row");
    assert_eq!((cases.len(), row.len()), (12, 12));
    for (index, (case, verdict)) in cases.iter().zip(row.chars()).enumerate() {
        let claim = Claim {
            key: PublicKey(array(&case["pub_key"])),
            signature: array(&case["signature"]),
            message: array(&case["message"]),
        };
        let expected = verdict == 'V';
        assert_eq!(claim.holds(), expected, "case {index}");
        assert_eq!(verify_all(&[claim]).is_ok(), expected, "case {index} in a batch of one");
        // Among others, whichever stands first.
        for place in [0, 5, 20, 39] {
            let mut batch: Vec<Claim> = (0..40).map(self::claim).collect();
            batch[place] = claim;
            let verdict = if expected { Ok(()) } else { Err(place) };
            assert_eq!(verify_all(&batch), verdict, "case {index} at {place} of a batch");
        }
    }
}

#[test]
fn c23_zip_215_accepts_all_196_small_order_pairs_singly_and_in_batches() {
    let cases = json(include_str!("vectors/ed25519/zip215.json"));
    assert_eq!(cases.len(), 196);
    let parts: Vec<([u8; 32], [u8; 64])> = cases
        .iter()
        .map(|case| {
            assert_eq!(case["valid_zip215"], true);
            (array(&case["vk_bytes"]), array(&case["sig_bytes"]))
        })
        .collect();
    assert!(parts.iter().all(|parts| zcash(parts).holds()));
    for size in [1, 2, 3, 16, 100, 196] {
        for (number, chunk) in (0..).zip(parts.chunks(size)) {
            assert!(all_hold(chunk.iter().map(zcash), [number; 32]), "{size}");
        }
    }
    // What a claim signs has 32 bytes. A key of small order accepts its signatures for every message that has
    // the right remainder; S = 0 and R = A = the identity hold for any.
    let mut accepted = 0;
    for case in &cases {
        let odd = Claim {
            key: PublicKey(array(&case["vk_bytes"])),
            signature: array(&case["sig_bytes"]),
            message: [7; 32],
        };
        let mut batch: Vec<Claim> = (0..40).map(claim).collect();
        batch.insert(17, odd);
        assert!(odd.holds(), "with the cofactor every pair of small order holds for any message");
        assert_eq!(verify_all(&batch), Ok(()));
        accepted += 1;
    }
    assert_eq!(accepted, 196);
}
