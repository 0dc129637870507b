//! `verifychain`: holds what the store says of the last blocks against itself and against the rules. Nothing is
//! written, nothing is mended; coins are undone and made again in memory, above one snapshot.
//!
//! It runs on a thread of its own and never on the engine's. It walks down from the tip by the blocks' own links,
//! so that it needs no list of them, however many are asked for.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chain::{
    block::Block,
    check::{CheckedBlock, SpendContext, connect_block, external_inputs},
    genesis::Chain,
    hash::{BlockHash, TxId},
    height::Height,
    ledger::BlockId,
    store::StoreError,
    time::Time,
    transaction::{OutPoint, Output},
    utxo::{Coin, Undo},
};
use rpc::backend::CheckLevel;

use crate::store::Snapshot;

/// The most coins that may differ in memory from the snapshot: some 120 MB, dozens of full blocks.
pub(super) const MAX_COINS: usize = 1_000_000;
/// The number of blocks whose times make a median time past (rule C1).
const MEDIAN_BLOCKS: u32 = 11;

/// What is checked: bodies, undo data and coins as of one tip.
pub(super) trait Held {
    /// The block, if its body is here.
    fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError>;
    /// What the block spent.
    fn undo(&self, hash: &BlockHash) -> Result<Option<Undo>, StoreError>;
    /// The coins at these outpoints, in their order.
    fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError>;
}

impl Held for Snapshot<'_> {
    fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError> {
        Snapshot::block(self, hash)
    }
    fn undo(&self, hash: &BlockHash) -> Result<Option<Undo>, StoreError> {
        Snapshot::undo(self, hash)
    }
    fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError> {
        Snapshot::coins(self, outpoints)
    }
}

/// Why an audit ended before all was found to be well.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Something is wrong: what, and where.
    Damaged(String),
    /// The node is shutting down.
    Stopped,
    /// More coins change than memory is allowed to hold.
    TooMuch,
}

impl From<StoreError> for Finding {
    // What cannot be read is as damaged as what reads wrongly.
    fn from(error: StoreError) -> Self {
        Self::Damaged(error.to_string())
    }
}

fn damaged<T>(what: String) -> Result<T, Finding> {
    Err(Finding::Damaged(what))
}

/// One check of the blocks below a tip.
pub(super) struct Audit<'a, H> {
    /// What is checked.
    pub(super) held: &'a H,
    /// Its chain.
    pub(super) chain: &'a Chain,
    /// How thoroughly.
    pub(super) level: CheckLevel,
    /// The most coins that may differ from what is held.
    pub(super) max_coins: usize,
    /// Whether the node is shutting down.
    pub(super) stopped: &'a dyn Fn() -> bool,
}

impl<H: Held> Audit<'_, H> {
    /// Checks the last `blocks` blocks up to `tip`, all of them for `None`.
    pub(super) fn run(&self, tip: BlockId, blocks: Option<u32>) -> Result<(), Finding> {
        let mut at = tip;
        let mut coins = Overlay { held: self.held, changed: HashMap::new(), max: self.max_coins };
        let mut undone = Vec::new();
        for _ in 0..blocks.unwrap_or(u32::MAX).min(tip.height.get()) {
            if (self.stopped)() {
                return Err(Finding::Stopped);
            }
            let block = self.body(&at)?;
            let below = BlockId {
                height: Height::new(at.height.get().saturating_sub(1)),
                hash: block.header.previous,
            };
            if self.level >= CheckLevel::Rules {
                let checked = Arc::new(self.check(&at, block)?);
                if self.level >= CheckLevel::Undo {
                    let undo = self.undo(&at, &checked)?;
                    if self.level >= CheckLevel::Disconnect {
                        coins.disconnect(&at, &checked, &undo)?;
                    }
                }
            }
            if self.level >= CheckLevel::Connect {
                undone.push(at);
            }
            at = below;
        }
        if at.height == Height::ZERO && at.hash != self.chain.id() {
            return damaged(format!("the chain of {} does not end at the genesis block", tip.hash));
        }
        self.reconnect(coins, undone)
    }

    /// The body of a block of the active chain.
    fn body(&self, id: &BlockId) -> Result<Block, Finding> {
        let BlockId { height, hash } = id;
        let Some(block) = self.held.block(hash)? else {
            return damaged(format!("the body of block {hash} at height {height} is not here"));
        };
        if block.hash() != *hash || block.coinbase.height != *height {
            return damaged(format!("the body of block {hash} at height {height} is another block's"));
        }
        Ok(block)
    }

    fn check(&self, id: &BlockId, block: Block) -> Result<CheckedBlock, Finding> {
        CheckedBlock::check(block, self.chain)
            .map_err(|error| Finding::Damaged(format!("block {} at height {}: {error}", id.hash, id.height)))
    }

    /// The undo data of a block, which names exactly what the block takes from earlier ones.
    fn undo(&self, id: &BlockId, block: &CheckedBlock) -> Result<Undo, Finding> {
        let BlockId { height, hash } = id;
        let Some(undo) = self.held.undo(hash)? else {
            return damaged(format!("the undo data of block {hash} at height {height} is not here"));
        };
        let spent = external_inputs(block);
        let fits = undo.len() == spent.len()
            && undo
                .iter()
                .zip(&spent)
                .all(|((outpoint, coin), spent)| outpoint == spent && coin.height < *height);
        if fits {
            Ok(undo)
        } else {
            damaged(format!("the undo data of block {hash} does not fit its inputs"))
        }
    }

    /// Connects what was undone, the highest first in the list, and holds the coins against what is held.
    fn reconnect(&self, mut coins: Overlay<'_, H>, undone: Vec<BlockId>) -> Result<(), Finding> {
        let Some(lowest) = undone.last() else { return Ok(()) };
        let mut times = self.times_below(lowest)?;
        for id in undone.iter().rev() {
            if (self.stopped)() {
                return Err(Finding::Stopped);
            }
            let block = Arc::new(self.check(id, self.body(id)?)?);
            let context =
                SpendContext { chain: self.chain, height: id.height, median_time_past: median(&times) };
            let inputs = external_inputs(&block);
            let found = coins.find(&inputs)?;
            let fetched =
                inputs.into_iter().zip(found).filter_map(|(outpoint, coin)| Some((outpoint, coin?)));
            let connected = connect_block(&block, fetched.collect(), &context).map_err(|error| {
                Finding::Damaged(format!("block {} at height {}: {error}", id.hash, id.height))
            })?;
            let delta = connected.into_delta();
            coins.change(delta.spent.into_iter().map(|(outpoint, _)| (outpoint, None)))?;
            coins.change(delta.created.into_iter().map(|(outpoint, coin)| (outpoint, Some(coin))))?;
            times.push(block.header().time);
            if times.len() > MEDIAN_BLOCKS as usize {
                times.remove(0);
            }
        }
        coins.require_unchanged()
    }

    /// The times of the blocks below one, the lowest first: as many as make a median.
    fn times_below(&self, id: &BlockId) -> Result<Vec<Time>, Finding> {
        let mut times = Vec::new();
        let mut at = BlockId { height: id.height, hash: self.body(id)?.header.previous };
        for _ in 0..MEDIAN_BLOCKS {
            let Some(height) = at.height.get().checked_sub(1) else { break };
            at.height = Height::new(height);
            let header = match height {
                0 => self.chain.genesis().header,
                _ => self.body(&at)?.header,
            };
            times.push(header.time);
            at.hash = header.previous;
        }
        times.reverse();
        Ok(times)
    }
}

/// Rule C1: the element floor(n/2), counted from 0, of the sorted times.
fn median(times: &[Time]) -> Time {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The coins that are held, and what differs from them in memory.
struct Overlay<'a, H> {
    held: &'a H,
    changed: HashMap<OutPoint, Option<Coin>>,
    max: usize,
}

impl<H: Held> Overlay<'_, H> {
    fn find(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, Finding> {
        let unknown: Vec<OutPoint> =
            outpoints.iter().filter(|outpoint| !self.changed.contains_key(outpoint)).copied().collect();
        let mut held = self.held.coins(&unknown)?.into_iter();
        let coin = |outpoint| match self.changed.get(outpoint) {
            Some(coin) => coin.clone(),
            None => held.next().flatten(),
        };
        Ok(outpoints.iter().map(coin).collect())
    }

    fn change(&mut self, coins: impl Iterator<Item = (OutPoint, Option<Coin>)>) -> Result<(), Finding> {
        self.changed.extend(coins);
        if self.changed.len() > self.max { Err(Finding::TooMuch) } else { Ok(()) }
    }

    /// Takes away what a block made, which must be there, and brings back what it spent, which must not.
    fn disconnect(&mut self, id: &BlockId, block: &CheckedBlock, undo: &Undo) -> Result<(), Finding> {
        let made = made_coins(block, id.height);
        let outpoints: Vec<OutPoint> = made.iter().map(|(outpoint, _)| *outpoint).collect();
        for ((outpoint, coin), found) in made.iter().zip(self.find(&outpoints)?) {
            if found.as_ref() != Some(coin) {
                let state = if found.is_some() { "is another one" } else { "is not in the UTXO set" };
                return damaged(format!("the coin {outpoint} of block {} {state}", id.hash));
            }
        }
        self.change(outpoints.into_iter().map(|outpoint| (outpoint, None)))?;
        let outpoints: Vec<OutPoint> = undo.iter().map(|(outpoint, _)| *outpoint).collect();
        if let Some(at) = self.find(&outpoints)?.iter().position(Option::is_some) {
            let spent = &undo[at].0;
            return damaged(format!("the coin {spent}, which block {} spent, is in the UTXO set", id.hash));
        }
        self.change(undo.iter().map(|(outpoint, coin)| (*outpoint, Some(coin.clone()))))
    }

    /// All blocks are back: so must all coins be.
    fn require_unchanged(&self) -> Result<(), Finding> {
        let outpoints: Vec<OutPoint> = self.changed.keys().copied().collect();
        let held = self.held.coins(&outpoints)?;
        for (outpoint, held) in outpoints.iter().zip(held) {
            if self.changed.get(outpoint) != Some(&held) {
                return damaged(format!(
                    "the coin {outpoint} in the UTXO set is not what the blocks make it"
                ));
            }
        }
        Ok(())
    }
}

/// The coins that a block leaves unspent.
fn made_coins(block: &CheckedBlock, height: Height) -> Vec<(OutPoint, Coin)> {
    let spent: HashSet<&OutPoint> =
        block.transactions().iter().flat_map(|checked| &checked.transaction().inputs).collect();
    let coins = |txid: TxId, outputs: &[Output], coinbase: bool| {
        let payments = (0..).zip(outputs).filter(|(_, output)| output.address().is_some());
        let coin = payments.map(|(index, output)| {
            (OutPoint { txid, index }, Coin { output: output.clone(), height, coinbase })
        });
        coin.filter(|(outpoint, _)| !spent.contains(outpoint)).collect::<Vec<_>>()
    };
    let mut made = coins(block.coinbase_txid(), &block.coinbase().outputs, true);
    for checked in block.transactions() {
        made.extend(coins(checked.txid(), &checked.transaction().outputs, false));
    }
    made
}

#[cfg(test)]
mod tests;
