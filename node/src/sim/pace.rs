//! How fast a chain may grow, whatever times its miners write (threat C07).
//!
//! ASERT counts from an anchor: a chain is ahead of its schedule only by as much as its target has fallen. So
//! `height <= (time - anchor parent's time) / spacing + half-life / spacing * log2(anchor target / tip target) + 1`
//! holds of every tip, where `time` is the later of the tip's and its parent's: the parent's sets the tip's target, and
//! a tip may be older than its parent. Here it is asked with integers and a logarithm of its own.

use chain::{ledger::Tip, params::Params, pow::CompactTarget, time::Time};

/// Binary digits of the logarithm after the point.
const LOG_BITS: u32 = 12;
/// What rounding may add up to, in thousandths of a second: the cubic's error and the target's cut to compact form.
const SLACK_MS: i128 = 1_000;

/// The bound of one chain.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    spacing_secs: i128,
    half_life_secs: i128,
    anchor_bits: CompactTarget,
    anchor_time: Option<Time>,
}

impl Pace {
    pub(super) fn new(params: &Params) -> Self {
        Self {
            spacing_secs: params.spacing_secs.into(),
            half_life_secs: params.half_life_secs.into(),
            anchor_bits: params.initial_bits,
            anchor_time: None,
        }
    }

    /// The time of block 1, which every branch has for itself.
    pub(super) const fn anchor(&mut self, time: Option<Time>) {
        self.anchor_time = time;
    }

    /// Holds a tip against the bound.
    ///
    /// # Errors
    /// How far it is above it.
    pub(super) fn check(&self, tip: &Tip, parent_time: Time) -> Result<(), String> {
        let Some(anchor_time) = self.anchor_time.filter(|_| self.half_life_secs > 0) else { return Ok(()) };
        let (Some(easiest), Some(now)) = (leading(self.anchor_bits), leading(tip.header.bits)) else {
            return Ok(());
        };
        let parent_secs = i128::from(anchor_time.secs()) - self.spacing_secs;
        let latest = tip.header.time.max(parent_time);
        let elapsed_ms = (i128::from(latest.secs()) - parent_secs) * 1_000;
        let harder_ms = (self.half_life_secs * 1_000 * log2(easiest, now)) >> LOG_BITS;
        let allowed_ms = elapsed_ms + harder_ms + self.spacing_secs * 1_000 + SLACK_MS;
        let height = i128::from(tip.id.height.get());
        if height * self.spacing_secs * 1_000 > allowed_ms {
            let most = allowed_ms / (self.spacing_secs * 1_000);
            return Err(format!("is at height {height}, where ASERT allows {most}"));
        }
        Ok(())
    }
}

/// The first 64 bits of a target.
fn leading(bits: CompactTarget) -> Option<u64> {
    let bytes = bits.to_target().ok()?.to_be_bytes();
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    Some(u64::from_be_bytes(first)).filter(|first| *first > 0)
}

/// The logarithm of a quotient to the base 2, in units of 2^-[`LOG_BITS`], rounded down; 0 below 1.
fn log2(numerator: u64, denominator: u64) -> i128 {
    let mut quotient = (u128::from(numerator) << 32) / u128::from(denominator.max(1));
    let one = 1u128 << 32;
    if quotient < one {
        return 0;
    }
    let mut whole = 0i128;
    while quotient >= 2 * one {
        quotient >>= 1;
        whole += 1;
    }
    let mut logarithm = whole;
    for _ in 0..LOG_BITS {
        quotient = (quotient * quotient) >> 32;
        logarithm *= 2;
        if quotient >= 2 * one {
            quotient >>= 1;
            logarithm += 1;
        }
    }
    logarithm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_right_to_the_last_digit() {
        for (numerator, denominator, expected) in [(8, 1, 3 << 12), (1, 1, 0), (3, 2, 2_396), (10, 1, 13_606)]
        {
            assert_eq!(log2(numerator, denominator), expected);
        }
    }
}
