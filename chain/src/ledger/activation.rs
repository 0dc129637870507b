//! Moving the tip: down from one branch and up another, in runs of blocks.
//!
//! Signatures are the dearest thing about a block and are cheapest in large batches. So a run of blocks is
//! held against all other rules first, each on what the ones before it in the run do to the coins, and then
//! all their signatures are verified together; only then does the store hear of any of them. While the
//! signatures of a run are verified, the next block is read, checked and its coins are fetched.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use super::{Ledger, Update, Watch};
use crate::{
    amount::Amount,
    block::Block,
    check::{
        CheckedBlock, CheckedTransaction, SpendContext, SpentBlock, VerifiedTransaction, external_inputs,
        spend_block, verify_blocks,
    },
    error::BlockError,
    hash::{BlockHash, TxId},
    keyed::KeyedMap,
    store::{Store, StoreError},
    transaction::{OutPoint, Output},
    tree::NodeId,
    utxo::{Coin, Undo},
};

/// A run ends with the block that brings its signatures to so many: enough for a full batch on each of a few
/// cores.
const RUN_SIGNATURES: usize = 4_096;
/// A run ends with the block that brings its encoding to so many bytes, so that its memory is bounded where
/// blocks have few signatures.
const RUN_BYTES: usize = 4 << 20;
/// A run has at most so many blocks.
const RUN_BLOCKS: usize = 256;
/// Blocks that came last are kept in memory up to so many encoded bytes: whoever follows the tip looks at them
/// next, and blocks that come together should still be here then.
const MAX_FRESH_BYTES: usize = 16 << 20;

/// So many of them at the most: a look through them takes microseconds.
const MAX_FRESH_BLOCKS: usize = 256;

/// The blocks that came last.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    blocks: VecDeque<Arc<CheckedBlock>>,
}

impl Fresh {
    /// Keeps a block until it is trimmed.
    pub(super) fn keep(&mut self, block: Arc<CheckedBlock>) {
        self.blocks.push_back(block);
    }

    /// The block, if it is one of those.
    pub(super) fn find(&self, hash: &BlockHash) -> Option<&Arc<CheckedBlock>> {
        self.blocks.iter().rev().find(|block| block.hash() == *hash)
    }

    /// Forgets all but the youngest; the very youngest stays however large.
    fn trim(&mut self) {
        let mut bytes: usize = self.blocks.iter().map(|block| block.encoded().len()).sum();
        while (bytes > MAX_FRESH_BYTES && self.blocks.len() > 1) || self.blocks.len() > MAX_FRESH_BLOCKS {
            bytes -= self.blocks.pop_front().map_or(0, |block| block.encoded().len());
        }
    }
}

/// Blocks that keep all rules but perhaps those of signatures, and what they do to the coins below.
#[derive(Default)]
struct Run {
    ids: Vec<NodeId>,
    blocks: Vec<SpentBlock>,
    /// Coins that the run makes, and none where it spends one.
    coins: KeyedMap<OutPoint, Option<Coin>>,
    signatures: usize,
    bytes: usize,
}

impl Run {
    fn is_full(&self) -> bool {
        self.signatures >= RUN_SIGNATURES || self.bytes >= RUN_BYTES || self.blocks.len() >= RUN_BLOCKS
    }

    fn push(&mut self, id: NodeId, bytes: usize, block: SpentBlock) {
        self.ids.push(id);
        self.signatures += block.signatures();
        self.bytes += bytes;
        self.blocks.push(block);
    }

    /// Lets the blocks that follow in this run see what the last one did.
    fn show_last(&mut self) {
        let Some(last) = self.blocks.last() else { return };
        let delta = last.delta();
        self.coins.extend(delta.spent.iter().map(|(outpoint, _)| (*outpoint, None)));
        self.coins.extend(delta.created.iter().map(|(outpoint, coin)| (*outpoint, Some(coin.clone()))));
    }
}

/// A block that was refused, and why.
type Refusal = (NodeId, BlockError);

impl<S: Store> Ledger<S> {
    /// Moves to the best tip.
    pub(super) fn activate(&mut self, watch: Watch<'_>) -> Result<Update, StoreError> {
        self.activate_from(self.tip_node(), watch)
    }

    /// Moves to the best tip, after the tip has been moved down from `before` already.
    pub(super) fn activate_from(&mut self, before: NodeId, watch: Watch<'_>) -> Result<Update, StoreError> {
        let start = self.tip_node();
        let mut refused = Vec::new();
        loop {
            let tip = self.tip_node();
            // Measured against the tip that was active, not against where a refusal left us: an invalid block
            // must not tip the scales between equals (rule L1).
            let goal = self.tree.choose(start);
            if goal == tip {
                break;
            }
            let path = self.tree.reorg_path(tip, goal);
            for _ in &path.reverted {
                self.disconnect_tip()?;
                watch(self.tip().id.height, self.tree.node(goal).height());
            }
            if let Some((id, error)) = self.connect_all(&path.applied, watch)? {
                // What a block does to the coins of its parents never changes: they have (threat S10). To mark the
                // block would send us from one branch to the other and back for ever.
                if self.tree.node(id).was_connected() {
                    let hash = self.tree.node(id).hash();
                    let why = format!("{hash} was valid before, now {error}: the stored coins are damaged");
                    return Err(StoreError::new(why));
                }
                refused.push((self.id(id), error));
                self.mark_invalid(id)?;
            }
        }
        let after = self.tip_node();
        self.tree.settle(after);
        self.fresh.trim();
        let path = self.tree.reorg_path(before, after);
        let ids = |nodes: &[NodeId]| nodes.iter().map(|id| self.id(*id)).collect();
        Ok(Update { reverted: ids(&path.reverted), applied: ids(&path.applied), refused })
    }

    /// Connects blocks upwards from the tip until one is refused.
    fn connect_all(&mut self, path: &[NodeId], watch: Watch<'_>) -> Result<Option<Refusal>, StoreError> {
        let mut run = Run::default();
        let mut prepared = None;
        for (at, id) in path.iter().enumerate() {
            let block = match prepared.take() {
                Some(block) => block,
                None => self.body(*id)?,
            };
            let fault = match self.spend(*id, &block, &run)? {
                Ok(spent) => {
                    run.push(*id, block.encoded().len(), spent);
                    None
                }
                Err(error) => Some((*id, error)),
            };
            let next = path.get(at + 1).filter(|_| fault.is_none());
            // Where nothing is to be verified, nothing is gained by waiting for the blocks above, and nothing can be
            // prepared meanwhile.
            let idle = run.signatures == 0;
            if let (Some(_), false) = (next, run.is_full() || idle) {
                run.show_last();
                continue;
            }
            let meanwhile = next.filter(|_| !idle).copied();
            let (refused, ready) = self.settle_run(std::mem::take(&mut run), meanwhile)?;
            prepared = ready;
            if let (Some(id), Some(goal)) = (self.active.last(), path.last()) {
                watch(self.tree.node(*id).height(), self.tree.node(*goal).height());
            }
            // A fault further down is the one that counts.
            if let Some(refusal) = refused.or(fault) {
                return Ok(Some(refusal));
            }
        }
        Ok(None)
    }

    /// Verifies the signatures of a run and connects what holds. Meanwhile the block that comes next is read
    /// and its coins are fetched.
    fn settle_run(
        &mut self,
        run: Run,
        next: Option<NodeId>,
    ) -> Result<(Option<Refusal>, Option<Arc<CheckedBlock>>), StoreError> {
        let Run { ids, blocks, .. } = run;
        let ((connected, fault), prepared) = match next {
            None => (verify_blocks(blocks), Ok(None)),
            Some(next) => {
                let ledger = &*self;
                rayon::join(|| verify_blocks(blocks), || ledger.prepare(next).map(Some))
            }
        };
        let mut ids = ids.into_iter();
        for ((block, connected), id) in connected.into_iter().zip(&mut ids) {
            self.store.connect(&block, connected)?;
            self.active.push(id);
            self.tree.set_connected(id);
        }
        Ok((ids.next().zip(fault), prepared?))
    }

    /// Reads a block and has the store fetch the coins that it spends. What the run in between changes about
    /// them is seen when the block is spent.
    fn prepare(&self, id: NodeId) -> Result<Arc<CheckedBlock>, StoreError> {
        let block = self.body(id)?;
        self.store.coins(&external_inputs(&block))?;
        Ok(block)
    }

    fn body(&self, id: NodeId) -> Result<Arc<CheckedBlock>, StoreError> {
        let hash = self.tree.node(id).hash();
        self.checked_block(&hash)?.ok_or_else(|| missing(&hash, "body"))
    }

    /// Holds a block against all spending rules but the signatures, on the coins at the tip as the run changes
    /// them.
    fn spend(
        &self,
        id: NodeId,
        block: &Arc<CheckedBlock>,
        run: &Run,
    ) -> Result<Result<SpentBlock, BlockError>, StoreError> {
        let node = self.tree.node(id);
        let parent = node.parent().unwrap_or(NodeId::GENESIS);
        let context = SpendContext {
            chain: &self.chain,
            height: node.height(),
            median_time_past: self.tree.median_time_past(parent),
        };
        let coins = self.find_coins(&external_inputs(block), run)?;
        let spent = spend_block(block, coins, &context, &self.verdicts);
        let is_assumed_valid = self.is_assumed_valid(id);
        Ok(spent.map(|spent| if is_assumed_valid { spent.without_signatures() } else { spent }))
    }

    /// The coins at these outpoints as the run leaves them, in their order.
    fn find_coins(&self, wanted: &[OutPoint], run: &Run) -> Result<Vec<Option<Coin>>, StoreError> {
        if run.coins.is_empty() {
            return self.store.coins(wanted);
        }
        let below: Vec<OutPoint> =
            wanted.iter().filter(|outpoint| !run.coins.contains_key(outpoint)).copied().collect();
        let mut below = self.store.coins(&below)?.into_iter();
        let find = |outpoint: &OutPoint| match run.coins.get(outpoint) {
            Some(changed) => changed.clone(),
            None => below.next().flatten(),
        };
        Ok(wanted.iter().map(find).collect())
    }

    /// Moves the tip one block down. What the block's transactions were found to be is remembered: they go back
    /// to waiting, or return with the block.
    pub(super) fn disconnect_tip(&mut self) -> Result<(), StoreError> {
        let hash = self.tip().id.hash;
        let block = self.body(self.tip_node())?;
        let undo = self.store.undo(&hash)?.ok_or_else(|| missing(&hash, "undo data"))?;
        let plain = block.to_block();
        self.store.disconnect(&plain, &created_coins(&plain), &undo)?;
        self.active.pop();
        for verified in verdicts_of(&block, undo) {
            self.verdicts.remember(Arc::new(verified));
        }
        Ok(())
    }
}

fn missing(hash: &BlockHash, what: &str) -> StoreError {
    StoreError::new(format!("the {what} of {hash} should be stored, but is not"))
}

/// What is known of the transactions of a block that was connected, from what it spent. One whose coins cannot
/// be told is left out.
fn verdicts_of(block: &CheckedBlock, undo: Undo) -> Vec<VerifiedTransaction> {
    let height = block.coinbase().height;
    let made: KeyedMap<TxId, &Arc<CheckedTransaction>> = block
        .transactions()
        .iter()
        .filter(|checked| block.is_inner_parent(&checked.txid()))
        .map(|checked| (checked.txid(), checked))
        .collect();
    let inner = |outpoint: &OutPoint| {
        let outputs = &made.get(&outpoint.txid)?.transaction().outputs;
        let output = outputs.get(usize::try_from(outpoint.index).ok()?)?.clone();
        Some(Coin { output, height, coinbase: false })
    };
    let mut spent: KeyedMap<OutPoint, Coin> = undo.into_iter().collect();
    let verified = |checked: &Arc<CheckedTransaction>| {
        let inputs = &checked.transaction().inputs;
        let coins: Option<Vec<Coin>> =
            inputs.iter().map(|input| spent.remove(input).or_else(|| inner(input))).collect();
        let coins = coins?;
        let sum = coins.iter().try_fold(Amount::ZERO, |sum, coin| sum.checked_add(coin.output.amount))?;
        let fee = sum.checked_sub(checked.output_sum())?;
        Some(VerifiedTransaction::of_connected(Arc::clone(checked), coins, fee))
    };
    block.transactions().iter().filter_map(verified).collect()
}

/// The coins that a block leaves unspent: its outputs to addresses, less those that it spends itself.
#[must_use]
pub fn created_coins(block: &Block) -> Vec<OutPoint> {
    let outpoints = |txid: TxId, outputs: &[Output]| {
        let payments = (0..).zip(outputs).filter(|(_, output)| output.address().is_some());
        payments.map(|(index, _)| OutPoint { txid, index }).collect::<Vec<_>>()
    };
    let mut created: BTreeSet<OutPoint> =
        outpoints(block.coinbase.txid(), &block.coinbase.outputs).into_iter().collect();
    for transaction in &block.transactions {
        created.extend(outpoints(transaction.txid(), &transaction.outputs));
    }
    for input in block.transactions.iter().flat_map(|transaction| &transaction.inputs) {
        created.remove(input);
    }
    created.into_iter().collect()
}
