//! Fee rates, compared exactly, and diagrams of what a miner earns with the best bytes first.

use std::cmp::Ordering;

/// A fee and the bytes that it pays for. Compared by the cross product, never by a quotient: two rates are
/// equal where they pay the same for the same bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct FeeRate {
    /// Pebbles.
    pub fee: u64,
    /// Bytes.
    pub bytes: u32,
}

impl FeeRate {
    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        // Fees are bounded by the supply and bytes by a cluster's limit: the sums fit.
        Self { fee: self.fee.saturating_add(other.fee), bytes: self.bytes.saturating_add(other.bytes) }
    }

    /// What is left without `other`, which is part of it.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self { fee: self.fee.saturating_sub(other.fee), bytes: self.bytes.saturating_sub(other.bytes) }
    }

    /// Pebbles for 1,000 bytes, rounded up, so that whoever pays it is not below.
    #[must_use]
    pub fn pebbles_per_kb(self) -> u64 {
        let rate = (u128::from(self.fee) * 1_000).div_ceil(u128::from(self.bytes.max(1)));
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

impl PartialEq for FeeRate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for FeeRate {}

impl PartialOrd for FeeRate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FeeRate {
    fn cmp(&self, other: &Self) -> Ordering {
        let mine = u128::from(self.fee) * u128::from(other.bytes);
        let theirs = u128::from(other.fee) * u128::from(self.bytes);
        mine.cmp(&theirs)
    }
}

/// What a miner earns with a given number of bytes, of some clusters, the best chunk first: a curve through the
/// running sums of the chunks, which bends downwards and is level behind its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagram {
    /// Running sums of fees and bytes, from (0, 0) on.
    points: Vec<(u128, u128)>,
}

impl Diagram {
    /// The diagram of chunks, which come in any order.
    #[must_use]
    pub fn new(mut chunks: Vec<FeeRate>) -> Self {
        chunks.sort_unstable_by(|a, b| b.cmp(a));
        let mut sum = (0, 0);
        let mut points = vec![sum];
        let mut last: Option<FeeRate> = None;
        for chunk in chunks {
            // Chunks of one rate make one straight line, in whatever order they come.
            if last.replace(chunk).is_some_and(|last| last == chunk) {
                points.pop();
            }
            sum = (sum.0 + u128::from(chunk.fee), sum.1 + u128::from(chunk.bytes));
            points.push(sum);
        }
        Self { points }
    }

    /// The fee at `bytes` as a fraction.
    fn at(&self, bytes: u128) -> (u128, u128) {
        let next = self.points.partition_point(|(_, end)| *end < bytes);
        match (next.checked_sub(1).and_then(|before| self.points.get(before)), self.points.get(next)) {
            (Some((fee, from)), Some((end_fee, end))) => {
                let width = (end - from).max(1);
                // Sums of fees are below 2^64 and of bytes below 2^40: the products fit.
                (fee * width + (end_fee - fee) * (bytes - from), width)
            }
            (None, Some((fee, _))) | (Some((fee, _)), None) => (*fee, 1),
            (None, None) => (0, 1),
        }
    }

    /// Whether this one is nowhere below `other` and somewhere above: then every miner, however much room there
    /// is, earns no less with it.
    #[must_use]
    pub fn is_better_than(&self, other: &Self) -> bool {
        let mut above = false;
        for (_, bytes) in self.points.iter().chain(&other.points) {
            let ((mine, mine_of), (theirs, theirs_of)) = (self.at(*bytes), other.at(*bytes));
            match (mine * theirs_of).cmp(&(theirs * mine_of)) {
                Ordering::Less => return false,
                Ordering::Equal => {}
                Ordering::Greater => above = true,
            }
        }
        above
    }
}
