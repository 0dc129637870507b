//! Maps and sets by ids, whose hash has keys that nobody outside knows.
//!
//! Transaction ids can be ground, so a hash without keys would let somebody put all coins into one place of
//! a table. Folded multiplication (as in wyhash and foldhash) of 16 bytes a step with secret keys is a
//! fifth of the cost of std's SipHash. The keys decide where things lie in memory and nothing else: whoever
//! walks such a map must not let its order show.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hasher, RandomState},
};

/// A map whose keys are ids, or hold one.
pub type KeyedMap<K, V> = HashMap<K, V, KeyedState>;
/// A set of ids, or of what holds one.
pub type KeyedSet<K> = HashSet<K, KeyedState>;

/// Bytes that one step takes.
const STEP_BYTES: usize = 16;

/// The keys of one table, or of several that are made of clones.
#[derive(Clone, Debug)]
pub struct KeyedState {
    keys: [u64; 3],
}

impl KeyedState {
    /// Fresh keys, from the system's randomness as std's own tables have it.
    #[must_use]
    pub fn new() -> Self {
        let random = RandomState::new();
        Self { keys: [random.hash_one(0u8), random.hash_one(1u8), random.hash_one(2u8)] }
    }
}

impl Default for KeyedState {
    fn default() -> Self {
        Self::new()
    }
}

impl BuildHasher for KeyedState {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { state: self.keys[0], keys: [self.keys[1], self.keys[2]] }
    }
}

/// A hash under way.
#[derive(Clone, Debug)]
pub struct KeyedHasher {
    state: u64,
    keys: [u64; 2],
}

impl KeyedHasher {
    fn step(&mut self, low: u64, high: u64) {
        let (product_low, product_high) = (low ^ self.state).carrying_mul(high ^ self.keys[0], self.keys[1]);
        self.state = product_low ^ product_high.rotate_left(23);
    }
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let length = bytes.len().min(word.len());
    word[..length].copy_from_slice(&bytes[..length]);
    u64::from_le_bytes(word)
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(STEP_BYTES) {
            let (low, high) = chunk.split_at(chunk.len().min(8));
            self.step(word(low), word(high));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.step(value.into(), 0);
    }

    // The length of an array, which is always the same.
    fn write_usize(&mut self, _value: usize) {}

    fn finish(&self) -> u64 {
        self.state
    }
}
