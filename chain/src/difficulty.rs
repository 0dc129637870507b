//! The difficulty schedule: ASERT, as Bitcoin Cash's aserti3-2d.
//!
//! The target of the next block depends on nothing but an anchor block and the parent's height and time:
//! it doubles for every half-life that the chain is behind its schedule, and halves for every half-life
//! that it is ahead. Blocks that come early or late therefore never add up to a drift, and no order of
//! timestamps is worth more than their sum (threat C07). The arithmetic is part of consensus: integers
//! only, the published cubic, divisions that truncate toward zero, and the results of unbounded integers
//! whatever the arguments are (threat C08). There is no minimum-difficulty exception (threat C10).

use ruint::aliases::{U256, U512};

use crate::{
    height::Height,
    pow::{CompactTarget, PowError, Target},
    time::Time,
};

/// The fixed-point unit of the exponent and of the cubic's factor: 16 binary digits after the point.
const RADIX: i128 = 1 << RADIX_BITS;
const RADIX_BITS: u32 = 16;

/// The block at which the schedule begins (rule W4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    height: Height,
    parent_time_secs: i64,
    bits: CompactTarget,
    target: Target,
}

impl Anchor {
    /// The block at `height` with `bits`, whose parent has (or is taken to have) the time
    /// `parent_time_secs`, in seconds, which may lie before 1970.
    ///
    /// # Errors
    /// [`PowError`] if `bits` stand for no target.
    pub fn new(height: Height, parent_time_secs: i64, bits: CompactTarget) -> Result<Self, PowError> {
        Ok(Self { height, parent_time_secs, bits, target: bits.to_target()? })
    }

    /// The anchor of a branch: its own block 1, which has the genesis bits, with a parent one `spacing`
    /// before it. So a genesis of last year owes no blocks.
    ///
    /// # Errors
    /// [`PowError`] if the genesis bits stand for no target.
    pub fn at_first_block(
        first_time: Time,
        genesis_bits: CompactTarget,
        spacing_secs: u32,
    ) -> Result<Self, PowError> {
        let parent_time_secs = i64::from(first_time.secs()) - i64::from(spacing_secs);
        Self::new(Height::new(1), parent_time_secs, genesis_bits)
    }
}

/// The parameters of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asert {
    /// The time that a block shall take, in seconds.
    pub spacing_secs: u32,
    /// How far behind or ahead of schedule doubles or halves the target, in seconds. Zero: the anchor's
    /// bits hold for ever.
    pub half_life_secs: u32,
    /// The highest target that a block may have.
    pub limit: Target,
}

/// The `bits` that the child of a block at `parent_height` and `parent_time` must carry (rule W4).
#[must_use]
pub fn next_bits(anchor: Anchor, parent_height: Height, parent_time: Time, rules: &Asert) -> CompactTarget {
    if rules.half_life_secs == 0 {
        return anchor.bits;
    }
    let time_diff_secs = i128::from(parent_time.secs()) - i128::from(anchor.parent_time_secs);
    let height_diff = i64::from(parent_height.get()) - i64::from(anchor.height.get());
    next_target(anchor.target, time_diff_secs, height_diff, rules).to_compact()
}

/// [`next_bits`] with the mistake of rounding the exponent down, which forks a chain as soon as a block is early
/// (threat C08): a bug to plant ([`crate::plant`]).
pub(crate) fn next_bits_rounded_down(
    anchor: Anchor,
    parent_height: Height,
    parent_time: Time,
    rules: &Asert,
) -> CompactTarget {
    if rules.half_life_secs == 0 {
        return anchor.bits;
    }
    let time_diff_secs = i128::from(parent_time.secs()) - i128::from(anchor.parent_time_secs);
    let height_diff = i64::from(parent_height.get()) - i64::from(anchor.height.get());
    let late = late_secs(time_diff_secs, height_diff, rules) * RADIX;
    target_after(anchor.target, late.div_euclid(i128::from(rules.half_life_secs)), rules).to_compact()
}

/// How far the parent is behind its schedule, in seconds; negative where it is early.
fn late_secs(time_diff_secs: i128, height_diff: i64, rules: &Asert) -> i128 {
    time_diff_secs - i128::from(rules.spacing_secs) * (i128::from(height_diff) + 1)
}

/// The next target before it is cut to compact form: `anchor` times two to the power of (time passed -
/// time scheduled) / half-life, at least 1 and at most the limit. `time_diff_secs` runs from the anchor's
/// parent, `height_diff` from the anchor, both to the parent of the block in question.
fn next_target(anchor: Target, time_diff_secs: i128, height_diff: i64, rules: &Asert) -> Target {
    // Below 2^65 + 2^97 seconds times 2^16: far from the bounds of i128. `/` truncates toward zero.
    let late_secs = late_secs(time_diff_secs, height_diff, rules);
    target_after(anchor, late_secs * RADIX / i128::from(rules.half_life_secs), rules)
}

/// `anchor` times two to the power of `exponent`, which counts in units of 1 / [`RADIX`].
fn target_after(anchor: Target, exponent: i128, rules: &Asert) -> Target {
    let doublings = exponent.div_euclid(RADIX);
    // 2^x for 0 <= x < 1 as a cubic whose error is below 0.013 %, in units of 1 / 65,536.
    let fraction = exponent.rem_euclid(RADIX).unsigned_abs();
    let cubic = 195_766_423_245_049 * fraction + 971_821_376 * fraction.pow(2) + 5_127 * fraction.pow(3);
    let factor = RADIX.unsigned_abs() + ((cubic + (1 << 47)) >> 48);

    // A target of 256 bits times a factor of 17 bits fits into 512.
    let scaled = U512::from(anchor.to_u256()).wrapping_mul(U512::from(factor));
    let target = shift(scaled, doublings - i128::from(RADIX_BITS)).unwrap_or(rules.limit);
    target.min(rules.limit)
}

/// `value` times 2^`doublings`, rounded down, at least 1; `None` from 2^256 on.
fn shift(value: U512, doublings: i128) -> Option<Target> {
    // Further than this every shift has the same result: 0 to the right, above 2^256 to the left.
    let distance = usize::try_from(doublings.unsigned_abs()).map_or(U512::BITS, |bits| bits.min(U512::BITS));
    let shifted = if doublings < 0 {
        value.wrapping_shr(distance)
    } else if value.bit_len() + distance <= U256::BITS {
        value.wrapping_shl(distance)
    } else {
        return None;
    };
    U256::checked_from_limbs_slice(shifted.as_limbs()).map(Target::from_u256)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(bits: u32) -> Target {
        CompactTarget::from_u32(bits).to_target().expect("the test's bits are good")
    }

    fn anchor(height: u32, parent_time_secs: i64, bits: u32) -> Anchor {
        Anchor::new(Height::new(height), parent_time_secs, CompactTarget::from_u32(bits)).expect("good bits")
    }

    const DEV: Asert = Asert { spacing_secs: 5, half_life_secs: 1_440, limit: Target::MAX };

    /// Edge cases of Bitcoin Cash Node's `calculate_asert_test`, which gives whole targets: they reach
    /// what compact bits hide.
    #[test]
    fn c08_calculate_asert_matches_bitcoin_cash_node() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../tests/vectors/asert/calculate_asert.json")).expect("JSON");
        let parse = |value: &serde_json::Value| -> Target {
            value.as_str().expect("a string").parse().expect("64 digits")
        };
        let limit = parse(&file["pow_limit"]);
        let rules = Asert { spacing_secs: 600, half_life_secs: 172_800, limit };
        let cases = file["cases"].as_array().expect("a list");
        assert_eq!(cases.len(), 18);
        for case in cases {
            let time_diff_secs = case["time_diff_to_anchor_parent"].as_i64().expect("seconds");
            let height_diff = case["height_diff"].as_i64().expect("blocks");
            let next = next_target(parse(&case["ref_target"]), time_diff_secs.into(), height_diff, &rules);
            assert_eq!(next, parse(&case["next_target"]), "{case}");
            assert_eq!(next.to_compact().to_string(), case["next_bits"].as_str().expect("bits"), "{case}");
        }
    }

    #[test]
    fn c08_a_half_life_of_zero_keeps_the_anchors_bits() {
        let rules = Asert { half_life_secs: 0, ..DEV };
        // Not even a target that is not canonical changes.
        for bits in [0x207f_ffff, 0x1d00_ffff, 0x0412_3456, 0x2000_0001] {
            for (height, time) in [(1, 0), (2, u32::MAX), (u32::MAX, 0)] {
                let next = next_bits(anchor(1, 0, bits), Height::new(height), Time::from_secs(time), &rules);
                assert_eq!(next.to_u32(), bits);
            }
        }
    }

    #[test]
    fn c08_bits_without_a_target_are_no_anchor() {
        for bits in [0, 0x1d80_ffff, 0xff7f_ffff] {
            assert!(Anchor::new(Height::new(1), 0, CompactTarget::from_u32(bits)).is_err(), "{bits:08x}");
        }
    }

    #[test]
    fn the_first_block_is_on_schedule_whenever_it_comes() {
        for (first_time, spacing_secs) in
            [(1_231_006_505, 600), (3, 600), (u32::MAX, u32::MAX), (0, u32::MAX)]
        {
            let rules = Asert { spacing_secs, half_life_secs: 172_800, limit: target(0x207f_ffff) };
            let first_time = Time::from_secs(first_time);
            let bits = CompactTarget::from_u32(0x1f12_3456);
            let anchor = Anchor::at_first_block(first_time, bits, spacing_secs).expect("good bits");
            assert_eq!(next_bits(anchor, Height::new(1), first_time, &rules), bits);
        }
    }

    /// (anchor bits, seconds since the anchor's parent, blocks since the anchor, spacing, half-life, next
    /// bits), computed with integers of any size. An anchor near 2^255 is beyond what the published vectors
    /// reach: times the factor it needs 272 bits.
    const UNBOUNDED: [(u32, i64, u32, u32, u32, u32); 17] = [
        (0x207f_ffff, 5, 0, 5, 1_440, 0x207f_ffff),
        (0x207f_ffff, 4, 0, 5, 1_440, 0x207f_f07f),
        (0x207f_ffff, 0, 1_440, 5, 1_440, 0x2003_fd8d),
        (0x207f_ffff, 1_000, 100_000, 5, 1_440, 0x0101_0000),
        (0x207f_ffff, 0, 72_000, 5, 1_440, 0x011f_0000),
        (0x207f_ffff, 0, 73_728, 5, 1_440, 0x0101_0000),
        (0x207f_ffff, 0, u32::MAX, u32::MAX, u32::MAX, 0x0101_0000),
        (0x2000_ffff, 1_445, 0, 5, 1_440, 0x2001_fffe),
        (0x2000_ffff, 11_525, 0, 5, 1_440, 0x207f_ffff),
        (0x1f12_3456, 4_294_967_295, 0, 5, u32::MAX, 0x1f24_6899),
        (0x1f12_3456, 4_294_967_295, 0, 5, 1_440, 0x207f_ffff),
        (0x1f12_3456, -1, 0, 5, 1_440, 0x1f12_26ee),
        (0x1f12_3456, 7, 0, 5, 1_440, 0x1f12_38d0),
        (0x1f12_3456, 777_777, 155_555, 5, 1_440, 0x1f12_2da6),
        (0x1b04_04cb, 600_000, 777, 600, 172_800, 0x1b06_db85),
        (0x0101_0000, 365_765, 0, 5, 1_440, 0x2040_0000),
        (0x0101_0000, 367_205, 0, 5, 1_440, 0x207f_ffff),
    ];

    #[test]
    fn c08_results_are_those_of_unbounded_integers() {
        for case in UNBOUNDED {
            let (bits, time_diff_secs, height_diff, spacing_secs, half_life_secs, next) = case;
            let rules = Asert { spacing_secs, half_life_secs, limit: target(0x207f_ffff) };
            let result = next_target(target(bits), time_diff_secs.into(), height_diff.into(), &rules);
            assert_eq!(result.to_compact(), CompactTarget::from_u32(next), "{case:x?}");
        }
    }

    #[test]
    fn c08_extremes_saturate() {
        let limit = target(0x207f_ffff);
        for half_life_secs in [1, 2, 1_440, u32::MAX] {
            for spacing_secs in [1, 600, u32::MAX] {
                let rules = Asert { spacing_secs, half_life_secs, limit };
                for (time_diff_secs, height_diff) in [
                    (i128::from(i64::MAX) + i128::from(u32::MAX), 0),
                    (i128::from(i64::MIN), i64::from(u32::MAX)),
                    (0, -i64::from(u32::MAX)),
                    (0, i64::from(u32::MAX)),
                ] {
                    let next = next_target(limit, time_diff_secs, height_diff, &rules);
                    assert!(
                        (Target::MIN..=limit).contains(&next),
                        "{rules:?} {time_diff_secs} {height_diff}"
                    );
                }
            }
        }
        let rules = Asert { limit, ..DEV };
        assert_eq!(next_target(Target::MIN, i128::from(u32::MAX), 0, &rules), limit);
        assert_eq!(next_target(limit, 0, i64::from(u32::MAX), &rules), Target::MIN);
    }

    proptest! {
        /// A later parent never makes the next block harder, a higher one never easier.
        #[test]
        fn targets_follow_time_and_height(
            exponent in 3_u32..=0x20, mantissa in 1_u32..=0x007f_ffff,
            height in 1_u32.., time in any::<u32>(),
            more_secs in any::<u32>(), more_blocks in any::<u32>(), half_life_secs in 1_u32..,
            spacing_secs in 1_u32..,
        ) {
            let bits = CompactTarget::from_u32(exponent << 24 | mantissa);
            let rules = Asert { spacing_secs, half_life_secs, limit: target(0x207f_ffff) };
            let anchor = Anchor::new(Height::new(1), 0, bits).expect("just decoded");
            let next = |height: u32, time: u32| {
                next_bits(anchor, Height::new(height), Time::from_secs(time), &rules)
                    .to_target().expect("at least 1")
            };
            let here = next(height, time);
            prop_assert!(here >= Target::MIN && here <= rules.limit);
            prop_assert!(next(height, time.saturating_add(more_secs)) >= here);
            prop_assert!(next(height.saturating_add(more_blocks), time) <= here);
        }

        /// One half-life doubles, to the last digit, wherever nothing is cut off.
        #[test]
        fn a_half_life_doubles(mantissa in 1_u64.., seconds in -86_400_i64..86_400) {
            let anchor = Target::from_u256(U256::from(mantissa) << 128);
            let once = next_target(anchor, seconds.into(), 0, &DEV).to_u256();
            let twice = next_target(anchor, i128::from(seconds) + 1_440, 0, &DEV).to_u256();
            // Truncation toward zero makes the step across the schedule one unit of the exponent smaller.
            let crosses = (-1_440..0).contains(&(seconds - 5));
            prop_assume!(!crosses);
            prop_assert!(twice == once << 1 || twice == (once << 1) + U256::ONE, "{once} {twice}");
        }
    }
}
