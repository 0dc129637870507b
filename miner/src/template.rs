//! Templates: a block with everything but the proof of work.
//!
//! A template is valid by construction: it keeps to the limits, pays exactly the subsidy and the fees, and
//! its time lies between the chain's median time past and what other nodes accept. Time, extranonce and
//! nonce are what a search may vary; since leaf 0 is the coinbase, the branch of leaf 0 gives the Merkle root
//! for any extranonce without the other transactions.

use std::sync::Arc;

use chain::{
    address::Address,
    amount::Amount,
    block::{Block, HEADER_BYTES, Header},
    check::CheckedTransaction,
    genesis::TEMPLATE_VERSION,
    hash::BlockHash,
    height::Height,
    merkle,
    params::Params,
    pow::{CompactTarget, PowError, Target},
    subsidy::subsidy,
    time::Time,
    transaction::{Coinbase, FREE_RUN_BYTES, Output},
};
use thiserror::Error;

use crate::selection::{Package, Room, Selection, select};

/// Bytes of the extranonce, which opens the coinbase's free run: a little-endian u64.
pub const EXTRANONCE_BYTES: usize = 8;

/// Bytes of the count before a block's transactions (borsh: u32).
const COUNT_BYTES: u64 = 4;

/// What a template is made for.
#[derive(Debug, Clone, Copy)]
pub struct TemplateRequest<'a> {
    /// The chain's parameters, checked ([`Params::check`]).
    pub params: &'a Params,
    /// The tip that the block stands on.
    pub previous: BlockHash,
    /// The block's height: one above the tip's.
    pub height: Height,
    /// The bits that the difficulty rule demands of the block.
    pub bits: CompactTarget,
    /// The median time past at the tip: the block's time must be above it.
    pub median_time_past: Time,
    /// The node's clock.
    pub now: Time,
    /// Who gets the subsidy and the fees.
    pub pay_to: Address,
    /// What the coinbase's free run holds; the first [`EXTRANONCE_BYTES`] are the extranonce's.
    pub free_run: [u8; FREE_RUN_BYTES],
}

/// Why there is no template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// The bits are no target.
    #[error("no target for the template: {0}")]
    Bits(#[from] PowError),
    /// The chain's median time lies further ahead of the clock than other nodes accept of a block.
    #[error(
        "the clock says {now} but the chain has reached {median_time_past}, which is more than \
         {max_future_secs} seconds ahead: set the clock"
    )]
    ClockBehind {
        /// The node's clock, in Unix seconds.
        now: u32,
        /// The median time past at the tip, in Unix seconds.
        median_time_past: u32,
        /// How far ahead a block's time may be.
        max_future_secs: u32,
    },
}

/// A block without its proof of work.
#[derive(Debug, Clone)]
pub struct Template {
    /// The header's version.
    pub version: i32,
    /// The tip that the block stands on.
    pub previous: BlockHash,
    /// The header's bits.
    pub bits: CompactTarget,
    /// The target of `bits`.
    pub target: Target,
    /// The time to begin with: the clock's, or the earliest allowed one if that is later.
    pub time: Time,
    /// The earliest time that the block may have: the median time past plus one.
    pub min_time: Time,
    /// The latest time that nodes with the same clock accept.
    pub max_time: Time,
    /// The block's height.
    pub height: Height,
    /// The coinbase, with extranonce zero or whatever the request's free run began with.
    pub coinbase: Coinbase,
    /// All other transactions.
    pub transactions: Vec<Arc<CheckedTransaction>>,
    /// The fees of `transactions` together; the coinbase claims them and the subsidy.
    pub fees: Amount,
    /// The signatures of `transactions` together.
    pub signatures: u64,
    /// Bytes of the whole block.
    pub bytes: u64,
    /// The siblings of leaf 0 on the way to the Merkle root, bottom up.
    pub branch: Vec<[u8; 32]>,
}

impl Template {
    /// Makes a template of the packages that fit, taken in their order. They come as the mempool keeps
    /// them: each once, parents before children, all of them valid in the block at the request's height. No more
    /// of them are asked for than it takes to fill the block.
    ///
    /// # Errors
    /// When the request's bits are no target, or no time is both above the median time past and acceptable
    /// to other nodes.
    pub fn new<P: Into<Package>>(
        request: &TemplateRequest<'_>,
        packages: impl IntoIterator<Item = P>,
    ) -> Result<Self, TemplateError> {
        let target = request.bits.to_target()?;
        let (min_time, max_time) = time_bounds(request)?;
        let mut coinbase = Coinbase { height: request.height, free: request.free_run, outputs: Vec::new() };
        let Selection { transactions, fees, claim, signatures, bytes } =
            select(&room(request, &coinbase), packages);
        if claim != Amount::ZERO {
            coinbase.outputs.push(Output::pay(request.pay_to, claim));
        }
        // Each transaction's leaf was hashed when it was checked: what is left is the tree above the leaves.
        let leaves: Vec<[u8; 32]> = std::iter::once(coinbase.txid().to_bytes())
            .chain(transactions.iter().map(|transaction| transaction.witness_txid().to_bytes()))
            .collect();
        let branch = merkle::branch(&leaves, 0).expect("leaf 0 is the coinbase, which is always there");
        Ok(Self {
            version: TEMPLATE_VERSION,
            previous: request.previous,
            bits: request.bits,
            target,
            time: request.now.max(min_time),
            min_time,
            max_time,
            height: request.height,
            coinbase,
            transactions,
            fees,
            signatures,
            bytes,
            branch,
        })
    }

    /// The coinbase with this extranonce.
    #[must_use]
    pub fn coinbase_with(&self, extranonce: u64) -> Coinbase {
        let mut coinbase = self.coinbase.clone();
        coinbase.free[..EXTRANONCE_BYTES].copy_from_slice(&extranonce.to_le_bytes());
        coinbase
    }

    /// The header with this nonce, time and extranonce.
    #[must_use]
    pub fn header_with(&self, nonce: u32, time: Time, extranonce: u64) -> Header {
        self.header_over(&self.coinbase_with(extranonce), nonce, time)
    }

    /// The block with this nonce, time and extranonce. Whether its hash meets the target is the caller's to
    /// know.
    #[must_use]
    pub fn solve_with(&self, nonce: u32, time: Time, extranonce: u64) -> Block {
        let coinbase = self.coinbase_with(extranonce);
        let header = self.header_over(&coinbase, nonce, time);
        let transactions =
            self.transactions.iter().map(|transaction| transaction.transaction().clone()).collect();
        Block { header, coinbase, transactions }
    }

    fn header_over(&self, coinbase: &Coinbase, nonce: u32, time: Time) -> Header {
        Header {
            version: self.version,
            previous: self.previous,
            merkle_root: merkle::root_from_branch(coinbase.txid().to_bytes(), &self.branch, 0),
            time,
            bits: self.bits,
            nonce,
        }
    }
}

/// The earliest and the latest time that the block may have.
fn time_bounds(request: &TemplateRequest<'_>) -> Result<(Time, Time), TemplateError> {
    let max_future_secs = request.params.max_future_secs();
    let max_time = request.now.saturating_add_secs(max_future_secs);
    let min_time = request.median_time_past.secs().checked_add(1).map(Time::from_secs);
    min_time.filter(|min_time| *min_time <= max_time).map(|min_time| (min_time, max_time)).ok_or(
        TemplateError::ClockBehind {
            now: request.now.secs(),
            median_time_past: request.median_time_past.secs(),
            max_future_secs,
        },
    )
}

/// The room for transactions beside `coinbase`, which has no output yet.
fn room(request: &TemplateRequest<'_>, coinbase: &Coinbase) -> Room {
    let length = |coinbase: &Coinbase| coinbase.to_bytes().len() as u64;
    let bare = length(coinbase);
    let mut paying = coinbase.clone();
    paying.outputs.push(Output::pay(request.pay_to, Amount::ZERO));
    Room {
        max_bytes: request.params.max_block_bytes.into(),
        max_signatures: request.params.max_block_signatures.into(),
        fixed_bytes: HEADER_BYTES as u64 + bare + COUNT_BYTES,
        claim_bytes: length(&paying) - bare,
        subsidy: subsidy(request.params, request.height),
    }
}

#[cfg(test)]
mod tests;
