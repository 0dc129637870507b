//! SHA-256, SHA-256d and the newtypes of everything that is named by a hash.
//!
//! A hash of a block can never be passed where the id of a transaction is meant. All are displayed as
//! Bitcoin displays them: the bytes reversed, in hexadecimal (rule E3).

use std::{
    fmt,
    io::{self, Write},
    str::FromStr,
};

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256, block_api::compress256};
use thiserror::Error;

/// SHA-256 (FIPS 180-4) of `data`.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// SHA-256d: SHA-256 of the SHA-256 of `data`, Bitcoin's hash of headers and transactions.
#[must_use]
pub fn sha256d(data: &[u8]) -> [u8; 32] {
    sha256(&sha256(data))
}

/// The state that SHA-256 begins with (FIPS 180-4, section 5.3.3).
pub const SHA256_START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// What follows a message of `bytes` bytes in its last block, from `at` on: a bit, and its length in bits.
const fn padded(at: usize, bytes: u16) -> [u8; 64] {
    let mut block = [0; 64];
    block[at] = 0x80;
    [block[62], block[63]] = (bytes * 8).to_be_bytes();
    block
}

/// SHA-256d of two 32-byte values one after the other: an inner node of a Merkle tree. Three blocks of a known shape,
/// so that nothing is buffered: a block of thousands of transactions has as many of these.
#[must_use]
pub fn sha256d_pair(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    const AFTER_PAIR: [u8; 64] = padded(0, 64);
    const AFTER_HASH: [u8; 64] = padded(32, 32);
    let mut pair = [0; 64];
    pair[..32].copy_from_slice(left);
    pair[32..].copy_from_slice(right);
    let mut state = SHA256_START;
    compress256(&mut state, &[pair, AFTER_PAIR]);
    let mut last = AFTER_HASH;
    last[..32].copy_from_slice(&to_bytes(&state));
    let mut state = SHA256_START;
    compress256(&mut state, &[last]);
    to_bytes(&state)
}

fn to_bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (part, word) in bytes.chunks_exact_mut(4).zip(state) {
        part.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

/// `SHA-256(SHA-256(tag) | SHA-256(tag) | message)` (BIP-340): a hash that belongs to one purpose, so
/// that nothing hashed or signed for it means anything elsewhere (rule E4).
#[must_use]
pub fn tagged(tag: &str, message: &[u8]) -> [u8; 32] {
    let mut hasher = tagged_hasher(tag);
    hasher.update(message);
    hasher.finalize().into()
}

/// A hasher that has taken in everything that [`tagged`] hashes before the message.
pub(crate) fn tagged_hasher(tag: &str) -> Sha256 {
    let tag = sha256(tag.as_bytes());
    let mut hasher = Sha256::new();
    hasher.update(tag);
    hasher.update(tag);
    hasher
}

/// What is written into it is hashed: an encoding needs no room of its own.
pub(crate) struct HashWriter(pub(crate) Sha256);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a string is not a hash.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a hash is 64 hexadecimal digits, got {0:?}")]
pub struct ParseHashError(String);

fn parse_reversed(text: &str) -> Result<[u8; 32], ParseHashError> {
    let mut bytes = [0; 32];
    // `const_hex` accepts a leading `0x`, which no Bitcoin tool prints: the length rules it out.
    if text.len() != 64 || const_hex::decode_to_slice(text, &mut bytes).is_err() {
        return Err(ParseHashError(text.chars().take(80).collect()));
    }
    bytes.reverse();
    Ok(bytes)
}

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, BorshSerialize, BorshDeserialize)]
        pub struct $name([u8; 32]);

        impl $name {
            /// All bytes zero: what the genesis block names as its previous block.
            pub const ZERO: Self = Self([0; 32]);

            /// From the bytes as they are hashed and encoded (not the displayed order).
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes as they are hashed and encoded.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 32] {
                self.0
            }

            /// The bytes as they are hashed and encoded.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut reversed = self.0;
                reversed.reverse();
                f.write_str(&const_hex::encode(reversed))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseHashError;

            fn from_str(text: &str) -> Result<Self, ParseHashError> {
                parse_reversed(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hash_type! {
    /// SHA-256d of a block's 80-byte header.
    BlockHash
}
hash_type! {
    /// SHA-256d of a transaction without its witnesses, or of a whole coinbase: what an outpoint names
    /// (rule T2).
    TxId
}
hash_type! {
    /// SHA-256d of a whole transaction, witnesses included: its leaf in the Merkle tree (rule M1).
    WitnessTxId
}
hash_type! {
    /// The root of the Merkle tree over a block's leaves (rule M1).
    MerkleRoot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_the_empty_string_is_the_published_one() {
        assert_eq!(
            const_hex::encode(sha256(b"")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            const_hex::encode(sha256d(b"hello")),
            "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50"
        );
    }

    #[test]
    fn a_pair_hashes_as_its_concatenation() {
        let mut left = [1; 32];
        for number in 0..100 {
            let right = sha256(&[number]);
            assert_eq!(sha256d_pair(&left, &right), sha256d(&[left, right].concat()));
            left = right;
        }
    }

    #[test]
    fn tags_separate() {
        assert_ne!(tagged("cairn/policy", b"x"), tagged("cairn/spend", b"x"));
    }

    #[test]
    fn hashes_are_displayed_reversed() {
        let mut bytes = [0; 32];
        bytes[0] = 0xab;
        let hash = BlockHash::from_bytes(bytes);
        let text = hash.to_string();
        assert!(text.ends_with("ab") && text.starts_with("00"));
        assert_eq!(text.parse(), Ok(hash));
        for bad in ["", "ab", &text[1..], &format!("0x{}", &text[2..]), &text.replace('0', "g")] {
            assert!(bad.parse::<BlockHash>().is_err(), "{bad}");
        }
    }
}
