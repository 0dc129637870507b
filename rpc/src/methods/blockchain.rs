//! Blocks, headers, branches and coins.

use std::sync::Arc;

use chain::{
    amount::Amount,
    block::{Block, Header},
    genesis::Chain,
    hash::{BlockHash, TxId},
    height::Height,
    params::Params,
    pow::Target,
    subsidy::subsidy,
    transaction::OutPoint,
};

use super::{Verbosity, confirmations};
use crate::{
    backend::{Backend, BlockStatus, HeaderEntry, View},
    error::{RpcError, code},
    types::*,
};

pub(super) async fn getblockchaininfo<B: Backend>(backend: &B) -> Result<BlockchainInfo, RpcError> {
    let (tip, best_header, sync) = backend.read(|view| (view.tip(), view.best_header(), view.sync())).await?;
    let chain = backend.chain();
    let params = chain.params();
    Ok(BlockchainInfo {
        chain: params.name.clone(),
        blocks: tip.id.height,
        headers: best_header.height,
        bestblockhash: tip.id.hash,
        bits: tip.header.bits,
        target: tip_target(&tip.header)?,
        difficulty: difficulty(tip.header.bits),
        time: tip.header.time,
        mediantime: tip.median_time_past,
        verificationprogress: sync.progress,
        initialblockdownload: sync.initial_download,
        chainwork: tip.work,
        size_on_disk: sync.disk_bytes,
        pruned: false,
        genesishash: chain.id(),
        addressprefix: params.prefix.clone(),
        maturity: params.maturity_blocks,
        spacing: params.spacing_secs,
        warnings: Vec::new(),
    })
}

/// The target of a header of the active chain, whose bits were checked.
pub(super) fn tip_target(header: &Header) -> Result<Target, RpcError> {
    header.bits.to_target().map_err(|error| RpcError::new(code::INTERNAL, error.to_string()))
}

pub(super) async fn getdifficulty<B: Backend>(backend: &B) -> Result<f64, RpcError> {
    Ok(difficulty(backend.read(|view| view.tip().header.bits).await?))
}

pub(super) async fn getblockcount<B: Backend>(backend: &B) -> Result<Height, RpcError> {
    Ok(backend.read(|view| view.tip().id.height).await?)
}

pub(super) async fn getbestblockhash<B: Backend>(backend: &B) -> Result<BlockHash, RpcError> {
    Ok(backend.read(|view| view.tip().id.hash).await?)
}

pub(super) async fn getblockhash<B: Backend>(backend: &B, height: Height) -> Result<BlockHash, RpcError> {
    let (found, tip) = backend.read(move |view| (view.active_hash(height), view.tip().id.height)).await?;
    found.ok_or_else(|| {
        RpcError::invalid_parameter(format!("Block height out of range: the tip is at height {tip}"))
    })
}

/// A header with its neighbours, as of one tip.
pub(super) struct HeaderInContext {
    /// The header.
    pub(super) entry: HeaderEntry,
    next: Option<BlockHash>,
    tip: Height,
}

impl HeaderInContext {
    /// Finds a header on any branch.
    pub(super) fn find(view: &dyn View, hash: &BlockHash) -> Option<Self> {
        let entry = view.header(hash)?;
        let active = entry.status == BlockStatus::Active;
        let next = if active { entry.id.height.next().and_then(|next| view.active_hash(next)) } else { None };
        Some(Self { entry, next, tip: view.tip().id.height })
    }

    /// 1 for the tip, -1 outside the active chain, as in Bitcoin Core.
    pub(super) fn confirmations(&self) -> i64 {
        match self.entry.status {
            BlockStatus::Active => i64::from(confirmations(self.tip, self.entry.id.height)),
            _ => -1,
        }
    }

    fn previous(&self) -> Option<BlockHash> {
        Some(self.entry.header.previous).filter(|previous| *previous != BlockHash::ZERO)
    }
}

/// The error for a hash that no known header has.
pub(super) fn block_not_found() -> RpcError {
    RpcError::not_found("Block not found; getblockhash gives the hash at a height")
}

/// The error for a block of which only the header is known.
pub(super) fn body_not_found() -> RpcError {
    RpcError::new(code::MISC, "Block not available (not fully downloaded); getblockheader shows its header")
}

pub(super) async fn getblockheader<B: Backend>(
    backend: &B,
    blockhash: BlockHash,
    verbose: Option<bool>,
) -> Result<OneOf<String, HeaderInfo>, RpcError> {
    let found = backend.read(move |view| HeaderInContext::find(view, &blockhash)).await?;
    let context = found.ok_or_else(block_not_found)?;
    let entry = &context.entry;
    let header = &entry.header;
    if !verbose.unwrap_or(true) {
        return Ok(OneOf::Short(const_hex::encode(header.to_bytes())));
    }
    let body = backend.read_block(blockhash, false).await?;
    let transactions = body.and_then(|body| u32::try_from(body.block.transactions.len() + 1).ok());
    Ok(OneOf::Long(HeaderInfo {
        hash: entry.id.hash,
        confirmations: context.confirmations(),
        height: entry.id.height,
        version: header.version,
        version_hex: format!("{:08x}", header.version),
        merkleroot: header.merkle_root,
        time: header.time,
        mediantime: entry.median_time_past,
        nonce: header.nonce,
        bits: header.bits,
        target: header.bits.to_target().ok(),
        difficulty: difficulty(header.bits),
        chainwork: entry.work,
        transactions,
        previousblockhash: context.previous(),
        nextblockhash: context.next,
    }))
}

/// A block, and its header as of one tip. The body is the same whatever the tip is.
struct BlockInContext {
    context: HeaderInContext,
    block: Arc<Block>,
    fees: Option<Vec<Amount>>,
}

impl BlockInContext {
    fn to_json(&self, chain: &Chain, whole: bool) -> BlockInfo {
        let Self { context, block, fees } = self;
        let entry = &context.entry;
        let header = &block.header;
        let tx = if whole {
            let fees = fees.iter().flatten().map(|fee| Some(Coins(*fee))).chain(std::iter::repeat(None));
            let payments = block.transactions.iter().zip(fees).map(|(transaction, fee)| {
                OneOf::Long(TransactionInfo { fee, ..TransactionInfo::new(transaction, chain) })
            });
            let coinbase = OneOf::Long(TransactionInfo::of_coinbase(&block.coinbase, chain));
            std::iter::once(coinbase).chain(payments).collect()
        } else {
            let ids = block.transactions.iter().map(|transaction| transaction.txid());
            std::iter::once(block.coinbase.txid()).chain(ids).map(OneOf::Short).collect()
        };
        BlockInfo {
            hash: entry.id.hash,
            confirmations: context.confirmations(),
            height: entry.id.height,
            version: header.version,
            version_hex: format!("{:08x}", header.version),
            merkleroot: header.merkle_root,
            time: header.time,
            mediantime: entry.median_time_past,
            nonce: header.nonce,
            bits: header.bits,
            target: header.bits.to_target().ok(),
            difficulty: difficulty(header.bits),
            chainwork: entry.work,
            transactions: block.transactions.len() as u64 + 1,
            previousblockhash: context.previous(),
            nextblockhash: context.next,
            size: block.to_bytes().len() as u64,
            tx,
        }
    }
}

pub(super) async fn getblock<B: Backend>(
    backend: &B,
    blockhash: BlockHash,
    verbosity: Option<Verbosity>,
) -> Result<OneOf<String, BlockInfo>, RpcError> {
    let verbosity = verbosity.unwrap_or(Verbosity(1)).0;
    let context = backend.read(move |view| HeaderInContext::find(view, &blockhash)).await?;
    let context = context.ok_or_else(block_not_found)?;
    let body = backend.read_block(blockhash, verbosity >= 2).await?.ok_or_else(body_not_found)?;
    let fees = body.fees();
    let found = BlockInContext { context, block: body.block, fees };
    Ok(match verbosity {
        0 => OneOf::Short(const_hex::encode(found.block.to_submission())),
        verbosity => OneOf::Long(found.to_json(backend.chain(), verbosity >= 2)),
    })
}

pub(super) async fn getchaintips<B: Backend>(backend: &B) -> Result<Vec<ChainTip>, RpcError> {
    let mut tips = backend.read(|view| view.branch_tips()).await?;
    // The highest first, as Bitcoin Core orders them; hashes make the order of equals the same every time.
    tips.sort_by_key(|tip| (std::cmp::Reverse(tip.id.height), tip.branch_length, tip.id.hash));
    let tips = tips.into_iter().map(|tip| ChainTip {
        height: tip.id.height,
        hash: tip.id.hash,
        branchlen: tip.branch_length,
        status: status_name(tip.status).into(),
    });
    Ok(tips.collect())
}

/// Bitcoin Core's words.
fn status_name(status: BlockStatus) -> &'static str {
    match status {
        BlockStatus::Active => "active",
        BlockStatus::ValidFork => "valid-fork",
        BlockStatus::ValidHeaders => "valid-headers",
        BlockStatus::HeadersOnly => "headers-only",
        BlockStatus::Invalid => "invalid",
    }
}

pub(super) async fn gettxout<B: Backend>(
    backend: &B,
    txid: TxId,
    n: u32,
    include_mempool: Option<bool>,
) -> Result<Option<CoinInfo>, RpcError> {
    let outpoint = OutPoint { txid, index: n };
    let include_mempool = include_mempool.unwrap_or(true);
    let (tip, coin) =
        backend.read(move |view| (view.tip().id, view.coin(&outpoint, include_mempool))).await?;
    Ok(coin?.map(|coin| {
        let depth = coin.height.map_or(0, |height| i64::from(confirmations(tip.height, height)));
        CoinInfo::new(tip.hash, depth, &coin.output, coin.coinbase, backend.chain())
    }))
}

pub(super) async fn gettxoutsetinfo<B: Backend>(backend: &B) -> Result<CoinSetInfo, RpcError> {
    let set = backend.coin_set().await?;
    let issued = issued(backend.chain().params(), set.tip.height);
    Ok(CoinSetInfo {
        height: set.tip.height,
        bestblock: set.tip.hash,
        txouts: set.count,
        hash_serialized: const_hex::encode(set.hash),
        disk_size: set.disk_bytes,
        total_amount: Coins(set.amount),
        total_issued: Coins(issued),
        total_unspendable_amount: Coins(issued.checked_sub(set.amount).unwrap_or(Amount::ZERO)),
        supply_ok: set.amount <= issued,
    })
}

/// The sum of the subsidies of all heights up to `height`, one addition for each halving.
fn issued(params: &Params, height: Height) -> Amount {
    let mut sum = 0_u128;
    let mut first = 1_u32;
    while first <= height.get() {
        let each = u128::from(subsidy(params, Height::new(first)).pebbles());
        // The last height before the next halving.
        let run_end = first
            .checked_div(params.halving_blocks)
            .and_then(|halvings| halvings.checked_add(1)?.checked_mul(params.halving_blocks)?.checked_sub(1));
        let last = run_end.unwrap_or(u32::MAX).min(height.get());
        sum += each * (u128::from(last - first) + 1);
        // When every later subsidy is nothing, or there is no later height, the sum is complete.
        match last.checked_add(1) {
            Some(next) if each > 0 => first = next,
            _ => break,
        }
    }
    // All subsidies of a chain together are below 2^63 pebbles (rule G1).
    Amount::from_pebbles(u64::try_from(sum).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_issued_is_the_sum_of_all_subsidies() {
        let params = Params { halving_blocks: 7, reward: Amount::from_pebbles(1_001), ..Params::dev() };
        let mut sum = 0;
        for height in (0..200).map(Height::new) {
            sum += subsidy(&params, height).pebbles();
            assert_eq!(issued(&params, height).pebbles(), sum, "{height}");
        }
        assert_eq!(issued(&params, Height::new(u32::MAX)), params.max_supply());
        let main = Params::main();
        assert_eq!(issued(&main, Height::new(u32::MAX)), main.max_supply());
        let never = Params { halving_blocks: u32::MAX, ..Params::dev() };
        assert_eq!(issued(&never, Height::new(3)).pebbles(), 3 * never.reward.pebbles());
    }
}
