//! New coins: what a block may create beyond the fees that it collects, and the sum of it all.
//!
//! The schedule is Bitcoin's: a reward that halves every so many blocks, rounded down. The shift is
//! checked: a halving counter that reaches the width of the integer must mean zero, not the full reward
//! again (BIP-42, threat C15). The sum bounds every amount and every running sum of the ledger.

use crate::{amount::Amount, height::Height, params::Params};

/// What the coinbase of the block at `height` may claim beyond the block's fees: nothing in the
/// genesis block, `reward >> (height / halving)` above it.
#[must_use]
pub fn subsidy(params: &Params, height: Height) -> Amount {
    Amount::from_pebbles(pebbles_at(params.reward.pebbles(), params.halving_blocks, height.get()))
}

/// The sum of the subsidies of all heights that there are. `None` from 2^63 pebbles on, which
/// no chain may have.
#[must_use]
pub fn max_supply(params: &Params) -> Option<Amount> {
    pebbles_of_all(params.reward.pebbles(), params.halving_blocks).map(Amount::from_pebbles)
}

/// Pebbles at a height. A halving of zero blocks is refused in parameters; here it means never.
fn pebbles_at(reward: u64, halving_blocks: u32, height: u32) -> u64 {
    if height == 0 {
        return 0;
    }
    let halvings = height.checked_div(halving_blocks).unwrap_or(0);
    reward.checked_shr(halvings).unwrap_or(0)
}

/// The sum over all heights, one addition for each halving.
fn pebbles_of_all(reward: u64, halving_blocks: u32) -> Option<u64> {
    let mut sum = 0_u128;
    let mut first_height = 1_u32;
    // From 64 halvings on a subsidy is zero.
    for halvings in 0..u64::BITS {
        // The first height of the next run, or none if this run reaches the highest height.
        let next = match halving_blocks {
            0 => None,
            blocks => (halvings + 1).checked_mul(blocks),
        };
        let blocks = match next {
            Some(next) => next - first_height,
            None => u32::MAX - first_height + 1,
        };
        // At most 2^64 times 2^32, 64 times over.
        sum += u128::from(pebbles_at(reward, halving_blocks, first_height)) * u128::from(blocks);
        match next {
            Some(next) => first_height = next,
            None => break,
        }
    }
    u64::try_from(sum).ok().filter(|sum| *sum < 1 << 63)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BITCOIN_REWARD: u64 = 5_000_000_000;

    #[test]
    fn c15_the_reward_halves_and_ends() {
        let at = |height| pebbles_at(BITCOIN_REWARD, 210_000, height);
        assert_eq!(at(0), 0);
        assert_eq!(at(1), 5_000_000_000);
        assert_eq!(at(209_999), 5_000_000_000);
        assert_eq!(at(210_000), 2_500_000_000);
        assert_eq!(at(419_999), 2_500_000_000);
        assert_eq!(at(840_000), 312_500_000);
        assert_eq!(at(32 * 210_000), 1);
        assert_eq!(at(33 * 210_000), 0);
    }

    #[test]
    fn c15_shifts_of_the_integers_width_are_zero() {
        // In C++ these shifts wrapped: the full reward came back after 64 halvings.
        for height in [63 * 210_000, 64 * 210_000, 65 * 210_000, 128 * 210_000, u32::MAX] {
            assert_eq!(pebbles_at(BITCOIN_REWARD, 210_000, height), 0, "{height}");
        }
        assert_eq!(pebbles_at(u64::MAX, 1, 63), 1);
        for height in [64, 65, 127, 128, 256, u32::MAX] {
            assert_eq!(pebbles_at(u64::MAX, 1, height), 0, "{height}");
        }
        assert_eq!(pebbles_at(u64::MAX, 0, u32::MAX), u64::MAX);
    }

    #[test]
    fn c15_the_sum_of_all_subsidies_is_the_published_cap() {
        // Bitcoin's 20,999,999.9769 coins, less the 50 of its genesis block, which here has none.
        assert_eq!(pebbles_of_all(BITCOIN_REWARD, 210_000), Some(2_099_999_997_690_000 - BITCOIN_REWARD));
        let one_by_one: u64 =
            (0..34 * 210_000).map(|height| pebbles_at(BITCOIN_REWARD, 210_000, height)).sum();
        assert_eq!(pebbles_of_all(BITCOIN_REWARD, 210_000), Some(one_by_one));
    }

    #[test]
    fn c15_the_sum_stays_below_two_to_the_63() {
        let heights = u64::from(u32::MAX);
        let highest = ((1 << 63) - 1) / heights;
        for never in [0, u32::MAX] {
            assert!(pebbles_of_all(highest, never).is_some());
        }
        assert_eq!(pebbles_of_all(highest, 0), Some(highest * heights));
        assert_eq!(pebbles_of_all(highest + 1, 0), None);
        assert_eq!(pebbles_of_all(u64::MAX, 0), None);
        assert_eq!(pebbles_of_all(u64::MAX, u32::MAX), None);
        assert_eq!(pebbles_of_all(0, 0), Some(0));
        // The highest height has a run of its own: one block of half the reward.
        assert_eq!(pebbles_of_all(10, u32::MAX), Some(10 * (heights - 1) + 5));
        // Runs of one block: the powers of two from 2^62 down add up to 2^63 - 1, one more is too much.
        assert_eq!(pebbles_of_all(1 << 63, 1), Some((1 << 63) - 1));
        assert_eq!(pebbles_of_all((1 << 63) + 2, 1), None);
    }

    proptest! {
        #[test]
        fn the_sum_equals_one_by_one(reward in any::<u32>(), halving_blocks in 1_u32..300) {
            let reward = u64::from(reward);
            let heights = 0..64 * halving_blocks;
            let one_by_one: u64 = heights.map(|height| pebbles_at(reward, halving_blocks, height)).sum();
            prop_assert_eq!(pebbles_of_all(reward, halving_blocks), Some(one_by_one));
        }

        #[test]
        fn subsidies_never_rise(
            reward in any::<u64>(), halving_blocks in any::<u32>(), height in 1_u32..u32::MAX,
        ) {
            prop_assert!(
                pebbles_at(reward, halving_blocks, height + 1) <= pebbles_at(reward, halving_blocks, height)
            );
        }
    }
}
