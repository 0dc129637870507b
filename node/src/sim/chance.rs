//! Chance that is drawn from a seed: the same seed, the same world.
//!
//! Integers alone, so that a run is the same on every machine.

/// The bits of the fraction of [`Chance::wait_ms`].
const FRACTION_BITS: u32 = 20;

/// Numbers drawn from a seed (`SplitMix64`; Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Chance from a seed.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// Chance of its own for a part of the world, so that what one part draws moves no other one.
    #[must_use]
    pub const fn fork(&mut self) -> Self {
        Self(self.bits())
    }

    /// Sixty-four bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where the bound is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        let bits = self.bits();
        if bound == 0 { 0 } else { bits % bound }
    }

    /// A number from `low` to `high`, both possible.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low.saturating_add(self.below(high.saturating_sub(low).saturating_add(1)))
    }

    /// Whether something happens that happens `times` in `of`.
    pub const fn happens(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times
    }

    /// An index into a list of `length`.
    pub fn index(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        usize::try_from(self.below(length)).unwrap_or(0)
    }

    /// One of a list; none of an empty one.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.index(list.len()))
    }

    /// How long until something happens that has no memory and happens every `mean_ms` milliseconds: a Poisson
    /// process, as finding blocks is. Von Neumann's way (1951), which compares and needs no logarithm.
    pub fn wait_ms(&mut self, mean_ms: u64) -> u64 {
        let mut whole = 0u64;
        loop {
            let first = self.bits() >> (64 - FRACTION_BITS);
            let (mut last, mut run) = (first, 1u32);
            loop {
                let next = self.bits() >> (64 - FRACTION_BITS);
                if next >= last {
                    break;
                }
                (last, run) = (next, run + 1);
            }
            if run % 2 == 1 {
                let units = (whole << FRACTION_BITS) + first;
                return mean_ms.saturating_mul(units) >> FRACTION_BITS;
            }
            whole += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d02_a_seed_gives_the_same_numbers_again() {
        let draw = |seed| {
            let mut chance = Chance::from_seed(seed);
            (0..50).map(|_| chance.wait_ms(1_000) ^ chance.below(7)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn waits_have_the_mean_and_the_spread_of_a_poisson_process() {
        let mut chance = Chance::from_seed(1);
        let waits: Vec<u64> = (0..20_000).map(|_| chance.wait_ms(1_000)).collect();
        let mean = waits.iter().sum::<u64>() / 20_000;
        assert!((970..1_030).contains(&mean), "{mean}");
        // e^-1 of them are longer than the mean, e^-3 longer than three times the mean.
        let longer = |than: u64| waits.iter().filter(|wait| **wait > than).count();
        assert!((7_150..7_560).contains(&longer(1_000)), "{}", longer(1_000));
        assert!((900..1_090).contains(&longer(3_000)), "{}", longer(3_000));
    }
}
