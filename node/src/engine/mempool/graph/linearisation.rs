//! The order in which the transactions of one cluster are best mined, and its chunks.
//!
//! Greedy: of all that are left the set of a transaction and its ancestors that pays the best rate is placed
//! next. Then neighbours are merged into chunks wherever the later one pays more, so that the chunks' rates
//! never rise. With at most 64 transactions a set is one word, and the sums of the sets are kept up to date
//! instead of being added up anew: a cluster of n transactions costs about n squared steps, which are counted.

use super::rate::FeeRate;

/// The most transactions of a cluster: as many as a word has bits.
pub const MAX_CLUSTER_COUNT: usize = 64;

/// A transaction of a cluster, as far as its order matters.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// What it pays and its bytes.
    pub rate: FeeRate,
    /// Its parents in the cluster: a bit for each place in the list of items.
    pub parents: u64,
}

/// A run of transactions that is mined as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it ends in the order; it begins where the one before it ends.
    pub end: usize,
    /// What it pays together, and its bytes.
    pub rate: FeeRate,
}

/// How a cluster is best mined.
#[derive(Clone, Debug, Default)]
pub struct Linearisation {
    /// The items' places in the list that was given, parents before children.
    pub order: Vec<usize>,
    /// The chunks, whose rates never rise.
    pub chunks: Vec<Chunk>,
    /// What it cost: looks at a set and changes of a sum.
    pub steps: u64,
}

/// The places of the bits that are set, ascending.
fn places(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = set.trailing_zeros();
        set &= set.checked_sub(1)?;
        usize::try_from(place).ok()
    })
}

/// Orders the items of a cluster, at most [`MAX_CLUSTER_COUNT`]; parents stand before their children in the
/// list. Where rates are equal, what stands first in the list comes first: a parent before its child, alone.
#[must_use]
pub fn linearise(items: &[Item]) -> Linearisation {
    debug_assert!(items.len() <= MAX_CLUSTER_COUNT, "a cluster has at most 64 transactions");
    if let [item] = items {
        return Linearisation { order: vec![0], chunks: vec![Chunk { end: 1, rate: item.rate }], steps: 1 };
    }
    let mut ancestors = [0_u64; MAX_CLUSTER_COUNT];
    let mut descendants = [0_u64; MAX_CLUSTER_COUNT];
    let mut sums = [FeeRate::default(); MAX_CLUSTER_COUNT];
    let mut steps = 0;
    for (place, item) in items.iter().enumerate() {
        ancestors[place] = places(item.parents).fold(1 << place, |set, parent| set | ancestors[parent]);
        for ancestor in places(ancestors[place]) {
            descendants[ancestor] |= 1 << place;
            sums[place] = sums[place].with(items[ancestor].rate);
            steps += 1;
        }
    }
    let mut order = Vec::with_capacity(items.len());
    let mut left = u64::MAX.checked_shr(64 - u32::try_from(items.len()).unwrap_or(64)).unwrap_or(0);
    while left != 0 {
        let rank = |a: usize, b: usize| sums[b].cmp(&sums[a]).then(a.cmp(&b));
        steps += u64::from(left.count_ones());
        let Some(best) = places(left).min_by(|a, b| rank(*a, *b)) else { break };
        let taken = ancestors[best] & left;
        left &= !taken;
        for place in places(taken) {
            order.push(place);
            for descendant in places(descendants[place] & left) {
                sums[descendant] = sums[descendant].without(items[place].rate);
                steps += 1;
            }
        }
    }
    let chunks = merge(items, &order);
    Linearisation { order, chunks, steps }
}

/// Cuts an order into chunks: each transaction is one of its own until the next one pays more.
fn merge(items: &[Item], order: &[usize]) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::with_capacity(order.len());
    for (place, item) in order.iter().enumerate() {
        let mut last = Chunk { end: place + 1, rate: items[*item].rate };
        while let Some(before) = chunks.pop_if(|before| before.rate < last.rate) {
            last.rate = last.rate.with(before.rate);
        }
        chunks.push(last);
    }
    chunks
}
