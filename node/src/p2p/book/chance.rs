//! Chance from a seed: the same seed gives the same draws, and nobody without it can foresee one.

use chain::hash::sha256;

/// A sequence of draws.
#[derive(Clone, Debug)]
pub struct Chance {
    seed: [u8; 32],
    drawn: u64,
}

impl Chance {
    /// The sequence of a seed.
    #[must_use]
    pub const fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        keyed(&self.seed, &[self.drawn])
    }

    /// The next number below `limit`; zero where the limit is zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        // 64 bits against limits of at most a few thousand: the bias cannot be measured.
        self.draw().checked_rem(limit).unwrap_or(0)
    }

    /// The next index of a list of `length`; zero where it is empty.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }
}

/// A hash of numbers that nobody can foresee who does not know the key.
#[must_use]
pub fn keyed(key: &[u8; 32], numbers: &[u64]) -> u64 {
    let mut bytes = Vec::with_capacity(32 + 8 * numbers.len());
    bytes.extend(key);
    for number in numbers {
        bytes.extend(number.to_le_bytes());
    }
    let hash = sha256(&bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_le_bytes(first)
}
