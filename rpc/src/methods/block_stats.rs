//! `getblockstats`: figures about one block, as Bitcoin Core computes them (`rpc/blockchain.cpp`), with bytes
//! in the place of weight.

use chain::{
    encode,
    genesis::Chain,
    subsidy::subsidy,
    transaction::{Destination, Output, Transaction},
};
use serde_json::Value;

use super::{
    BlockRef, StatNames,
    blockchain::{block_not_found, body_not_found},
};
use crate::{
    backend::{Backend, BlockWithSpent, HeaderEntry},
    error::{RpcError, code, excerpt},
    types::*,
};

/// The figures that are not known without the coins that the block spent.
const NEED_SPENT: [&str; 11] = [
    "avgfee",
    "avgfeerate",
    "feerate_percentiles",
    "maxfee",
    "maxfeerate",
    "medianfee",
    "minfee",
    "minfeerate",
    "totalfee",
    "utxo_size_inc",
    "utxo_size_inc_actual",
];
/// What a coin takes beside its output: transaction id, index, height and a flag, as Bitcoin Core counts.
const COIN_OVERHEAD_BYTES: i64 = 41;
/// The percentiles of `feerate_percentiles`, in hundredths of all bytes.
const PERCENTILES: [u64; 5] = [10, 25, 50, 75, 90];

pub(super) async fn getblockstats<B: Backend>(
    backend: &B,
    hash_or_height: BlockRef,
    stats: Option<StatNames>,
) -> Result<BlockStats, RpcError> {
    let entry = backend.read(move |view| match hash_or_height {
        BlockRef::Hash(hash) => view.header(&hash).ok_or_else(block_not_found),
        BlockRef::Height(height) => {
            let found = view.active_hash(height).and_then(|hash| view.header(&hash));
            let tip = view.tip().id.height;
            found.ok_or_else(|| {
                RpcError::invalid_parameter(format!("Target block height {height} after current tip {tip}"))
            })
        }
    });
    let entry = entry.await??;
    let needs_spent = match &stats {
        Some(names) => names.0.iter().any(|name| NEED_SPENT.contains(&name.as_str())),
        None => true,
    };
    let body = backend.read_block(entry.id.hash, needs_spent).await?.ok_or_else(body_not_found)?;
    let mut figures = count(&entry, &body, backend.chain());
    if needs_spent {
        let costs = costs(&body).ok_or_else(|| {
            let message = "the coins that this block spent are not known, since it is not part of the active \
                           chain; name in stats figures that do not need them (`help getblockstats`)";
            RpcError::new(code::MISC, message)
        })?;
        add_costs(&mut figures, &costs);
    }
    match stats {
        Some(names) => select(&figures, &names),
        None => Ok(figures),
    }
}

/// Keeps the figures that were asked for.
fn select(figures: &BlockStats, names: &StatNames) -> Result<BlockStats, RpcError> {
    let internal = |error: serde_json::Error| RpcError::new(code::INTERNAL, error.to_string());
    let mut members = match serde_json::to_value(figures).map_err(internal)? {
        Value::Object(members) => members,
        _ => serde_json::Map::new(),
    };
    for name in &names.0 {
        if !members.contains_key(name) {
            let name = excerpt(name);
            return Err(RpcError::invalid_parameter(format!("Invalid selected statistic {name}")));
        }
    }
    members.retain(|member, _| names.0.contains(member));
    serde_json::from_value(Value::Object(members)).map_err(internal)
}

/// A transaction's size in bytes and its fee in pebbles.
type Cost = (u64, u64);

struct Costs {
    transactions: Vec<Cost>,
    /// The bytes of the coins that were spent.
    spent_bytes: i64,
    /// The bytes of all outputs, and of those that are coins.
    made_bytes: (i64, i64),
}

fn coin_bytes(output: &Output) -> i64 {
    i64::try_from(encode::to_bytes(output).len()).unwrap_or(i64::MAX).saturating_add(COIN_OVERHEAD_BYTES)
}

fn is_coin(output: &Output) -> bool {
    matches!(output.to, Destination::Address(_))
}

fn size(transaction: &Transaction) -> u64 {
    transaction.to_bytes().len() as u64
}

/// All outputs of the block, the coinbase's first.
fn outputs(body: &BlockWithSpent) -> impl Iterator<Item = &Output> {
    let of_transactions = body.block.transactions.iter().flat_map(|transaction| &transaction.outputs);
    body.block.coinbase.outputs.iter().chain(of_transactions)
}

/// What the transactions pay; `None` when the coins that they spent are not known.
fn costs(body: &BlockWithSpent) -> Option<Costs> {
    let fees = body.fees()?;
    let transactions = body.block.transactions.iter().zip(&fees);
    let spent_bytes = body.inputs()?.iter().flatten().map(coin_bytes).sum();
    let all = outputs(body).map(coin_bytes).sum();
    let coins = outputs(body).filter(|output| is_coin(output)).map(coin_bytes).sum();
    Some(Costs {
        transactions: transactions.map(|(transaction, fee)| (size(transaction), fee.pebbles())).collect(),
        spent_bytes,
        made_bytes: (all, coins),
    })
}

/// The figures that the block alone gives.
fn count(entry: &HeaderEntry, body: &BlockWithSpent, chain: &Chain) -> BlockStats {
    let block = &body.block;
    let sizes: Vec<u64> = block.transactions.iter().map(|transaction| size(transaction)).collect();
    let total_size = sizes.iter().sum::<u64>();
    let ins = block.transactions.iter().map(|transaction| transaction.inputs.len() as u64).sum::<u64>();
    let outs = outputs(body).count() as u64;
    let coins = outputs(body).filter(|output| is_coin(output)).count() as u64;
    let paid = block.transactions.iter().flat_map(|transaction| &transaction.outputs);
    let add = |sum: u64, output: &Output| sum.saturating_add(output.amount.pebbles());
    let increase = |made: u64| Some(i64::try_from(made).ok()?.saturating_sub(i64::try_from(ins).ok()?));
    BlockStats {
        avgtxsize: Some(mean(total_size, sizes.len())),
        blockhash: Some(entry.id.hash),
        height: Some(entry.id.height),
        ins: Some(ins),
        maxtxsize: Some(sizes.iter().copied().max().unwrap_or(0)),
        mediantime: Some(entry.median_time_past),
        mintxsize: Some(sizes.iter().copied().min().unwrap_or(0)),
        mediantxsize: Some(median(sizes)),
        outs: Some(outs),
        subsidy: Some(subsidy(chain.params(), entry.id.height).pebbles()),
        time: Some(block.header.time),
        // Coins that pass through many transactions of one block count each time.
        total_out: Some(paid.fold(0, add)),
        total_size: Some(total_size),
        txs: Some(block.transactions.len() as u64 + 1),
        utxo_increase: increase(outs),
        utxo_increase_actual: increase(coins),
        ..BlockStats::default()
    }
}

/// The figures that the coins give that the block spent.
fn add_costs(figures: &mut BlockStats, costs: &Costs) {
    let of = |cost: &Cost| rate(cost.1, cost.0);
    let transactions = &costs.transactions;
    let fees: Vec<u64> = transactions.iter().map(|(_, fee)| *fee).collect();
    let total = fees.iter().copied().fold(0, u64::saturating_add);
    let bytes = transactions.iter().map(|(size, _)| size).sum();
    figures.avgfee = Some(mean(total, fees.len()));
    figures.avgfeerate = Some(rate(total, bytes));
    figures.feerate_percentiles =
        Some(percentiles(transactions.iter().map(|cost| (of(cost), cost.0)).collect()));
    figures.maxfee = Some(fees.iter().copied().max().unwrap_or(0));
    figures.maxfeerate = Some(transactions.iter().map(of).max().unwrap_or(0));
    figures.minfee = Some(fees.iter().copied().min().unwrap_or(0));
    figures.minfeerate = Some(transactions.iter().map(of).min().unwrap_or(0));
    figures.medianfee = Some(median(fees));
    figures.totalfee = Some(total);
    figures.utxo_size_inc = Some(costs.made_bytes.0.saturating_sub(costs.spent_bytes));
    figures.utxo_size_inc_actual = Some(costs.made_bytes.1.saturating_sub(costs.spent_bytes));
}

fn mean(sum: u64, count: usize) -> u64 {
    sum.checked_div(count as u64).unwrap_or(0)
}

fn rate(fee: u64, bytes: u64) -> u64 {
    fee.checked_div(bytes).unwrap_or(0)
}

/// The middle one, or the mean of the two in the middle, rounded down; 0 of nothing.
fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    let middle = values.len() / 2;
    match (values.get(middle), middle.checked_sub(1).and_then(|below| values.get(below))) {
        (Some(upper), Some(lower)) if values.len().is_multiple_of(2) => lower.midpoint(*upper),
        (Some(middle), _) => *middle,
        (None, _) => 0,
    }
}

/// The rates of the transactions at which 10, 25, 50, 75 and 90 hundredths of all bytes are reached, in
/// ascending order of rate (`CalculatePercentilesByWeight`).
fn percentiles(mut rates: Vec<(u64, u64)>) -> [u64; 5] {
    rates.sort_unstable();
    let all: u64 = rates.iter().map(|(_, bytes)| bytes).sum();
    let highest = rates.last().map_or(0, |(rate, _)| *rate);
    PERCENTILES.map(|percentile| {
        let mut passed = 0;
        let reached = rates.iter().find(|(_, bytes)| {
            passed += bytes;
            passed * 100 >= all * percentile
        });
        reached.map_or(highest, |(rate, _)| *rate)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_are_bitcoin_cores() {
        assert_eq!(
            [median(vec![]), median(vec![7]), median(vec![9, 2]), median(vec![3, 1, 2])],
            [0, 7, 5, 2]
        );
        // Core's `rpc_tests.cpp`: CalculatePercentilesByWeight, as far as whole numbers go.
        assert_eq!(percentiles(vec![]), [0; 5]);
        assert_eq!(percentiles(vec![(1, 200); 1]), [1; 5]);
        assert_eq!(
            percentiles((0..100).map(|at| (if at < 50 { 1 } else { 2 }, 1)).collect()),
            [1, 1, 1, 2, 2]
        );
        let uneven = vec![(1, 9), (2, 16), (4, 50), (5, 10), (9, 15)];
        assert_eq!(percentiles(uneven), [2, 2, 4, 4, 9]);
    }
}
