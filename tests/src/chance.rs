//! Chance that can be replayed: a seed is printed, and `CAIRN_SEED` brings the same run again.

use std::{
    env,
    hash::{BuildHasher, RandomState},
};

/// The variable that holds the seed of an earlier run.
const SEED_VARIABLE: &str = "CAIRN_SEED";

/// Numbers drawn from a seed (`SplitMix64`; Steele, Lea, Flood 2014).
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// Takes the seed from `CAIRN_SEED`, or a new one, and prints how to replay.
    ///
    /// # Panics
    /// Where `CAIRN_SEED` is no number.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "whoever reads a failing test's output needs the seed")]
    pub fn from_environment() -> Self {
        let seed = env::var(SEED_VARIABLE).map_or_else(
            |_| RandomState::new().hash_one(0),
            |text| text.parse().expect("CAIRN_SEED is a whole number"),
        );
        eprintln!("replay with {SEED_VARIABLE}={seed}");
        Self(seed)
    }

    /// Chance from a seed that was printed before.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// Where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let bound = u64::try_from(bound).expect("a bound fits into 64 bits");
        usize::try_from(mixed % bound).expect("it is below a usize")
    }
}
