//! The ledger: one chain's headers, bodies and coins, moved by one function, [`Ledger::submit`].
//!
//! The only room that touches the store. It follows the valid chain with the most work (rule L1), however
//! deep the reorganisation, one block at a time, so that memory does not grow with depth. What happened
//! comes out as a value, [`Update`]; nobody is called back. A storage failure is passed on and judges no
//! block (threat C06).

use std::collections::HashMap;

use rayon::prelude::*;
use thiserror::Error;

use crate::{
    block::{Block, Header},
    check::{CheckedBlock, SpendContext, check_header, connect_block, external_inputs},
    error::{BlockError, HeaderError, SubmitError},
    genesis::Chain,
    hash::{BlockHash, TxId},
    height::Height,
    pow::{CompactTarget, Work},
    store::{Store, StoreError},
    time::Time,
    transaction::{OutPoint, Output},
    tree::{NodeId, Tree},
    utxo::Coin,
};

/// A block's place and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: BlockHash,
}

/// What a submission changed. Ids, not bodies, so that a deep reorganisation stays small.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Blocks that left the active chain, from the old tip downwards.
    pub reverted: Vec<BlockId>,
    /// Blocks that joined it, upwards to the new tip.
    pub applied: Vec<BlockId>,
    /// Blocks that were found invalid when they were to be connected.
    pub refused: Vec<(BlockId, BlockError)>,
}

impl Update {
    /// Whether the tip moved.
    #[must_use]
    pub fn moved_tip(&self) -> bool {
        !self.reverted.is_empty() || !self.applied.is_empty()
    }

    /// Why the block with this hash was refused, if it was.
    #[must_use]
    pub fn refusal(&self, hash: &BlockHash) -> Option<&BlockError> {
        self.refused.iter().find(|(id, _)| id.hash == *hash).map(|(_, error)| error)
    }
}

/// The tip of the active chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Height and hash.
    pub id: BlockId,
    /// The header.
    pub header: Header,
    /// The work of the whole chain.
    pub work: Work,
    /// The median time past of the next block.
    pub median_time_past: Time,
}

/// Why a store cannot be opened as this chain's ledger.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Reading failed.
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// What was read is not a tree of this chain's headers.
    #[error("the stored headers do not belong together: {0}")]
    Damaged(String),
}

/// The ledger over a store.
#[derive(Debug)]
pub struct Ledger<S> {
    chain: Chain,
    tree: Tree,
    store: S,
    /// The active chain by height.
    active: Vec<NodeId>,
    next_order: u64,
}

impl<S: Store> Ledger<S> {
    /// Opens the ledger of `chain` over what `store` holds, and finishes a reorganisation that a crash cut
    /// off.
    ///
    /// # Errors
    /// [`OpenError`] where the store cannot be read or holds something else.
    pub fn open(chain: Chain, store: S) -> Result<Self, OpenError> {
        let stored = store.load()?;
        let mut tree = Tree::new(&chain.genesis().header);
        let damaged = |hash: &BlockHash, why: &str| OpenError::Damaged(format!("{hash} {why}"));
        let mut next_order = 1;
        let mut invalid = Vec::new();
        for (header, status) in &stored.headers {
            let hash = header.hash();
            let parent = tree.find(&header.previous);
            let parent = parent.ok_or_else(|| damaged(&hash, "has no block below it"))?;
            let target = header.bits.to_target().map_err(|_| damaged(&hash, "has malformed bits"))?;
            let id = tree
                .insert(*header, hash, parent, target.work())
                .map_err(|error| damaged(&hash, &error.to_string()))?;
            if let Some(order) = status.body {
                tree.set_body(id, order);
                next_order = next_order.max(order.saturating_add(1));
            }
            if status.invalid {
                invalid.push(id);
            }
        }
        for id in invalid {
            tree.mark_invalid(id);
        }
        let tip = match stored.tip {
            None => NodeId::GENESIS,
            Some(hash) => tree.find(&hash).ok_or_else(|| damaged(&hash, "is the tip, but is not here"))?,
        };
        let mut active = vec![tip];
        while let Some(parent) = active.last().and_then(|last| tree.node(*last).parent()) {
            active.push(parent);
        }
        active.reverse();
        active.iter().for_each(|id| tree.set_connected(*id));
        let mut ledger = Self { chain, tree, store, active, next_order };
        ledger.activate(None)?;
        Ok(ledger)
    }

    /// The chain.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// All headers.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The store, to read from.
    #[must_use]
    pub const fn store(&self) -> &S {
        &self.store
    }

    fn tip_node(&self) -> NodeId {
        self.active.last().copied().unwrap_or(NodeId::GENESIS)
    }

    /// The tip.
    #[must_use]
    pub fn tip(&self) -> Tip {
        let id = self.tip_node();
        let node = self.tree.node(id);
        Tip {
            id: self.id(id),
            header: *node.header(),
            work: node.work(),
            median_time_past: self.tree.median_time_past(id),
        }
    }

    fn id(&self, id: NodeId) -> BlockId {
        let node = self.tree.node(id);
        BlockId { height: node.height(), hash: node.hash() }
    }

    /// The node of the active chain at `height`.
    #[must_use]
    pub fn active(&self, height: Height) -> Option<NodeId> {
        self.active.get(usize::try_from(height.get()).ok()?).copied()
    }

    /// Whether a node is on the active chain.
    #[must_use]
    pub fn is_active(&self, id: NodeId) -> bool {
        self.active(self.tree.node(id).height()) == Some(id)
    }

    /// The block, if its body is here; the genesis block always is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError> {
        if *hash == self.chain.id() {
            return Ok(Some(self.chain.genesis().clone()));
        }
        self.store.block(hash)
    }

    /// Where the next block's transactions are judged.
    #[must_use]
    pub fn next_spend_context(&self) -> SpendContext<'_> {
        let tip = self.tip();
        // Above the last height there is no block, and any height will do.
        let height = tip.id.height.next().unwrap_or(tip.id.height);
        SpendContext { chain: &self.chain, height, median_time_past: tip.median_time_past }
    }

    /// The bits that the next block on the tip must carry (rule W4).
    #[must_use]
    pub fn next_bits(&self) -> CompactTarget {
        self.tree.context(self.tip_node()).expected_bits(self.chain.params())
    }

    /// Adds headers, each standing on one before it or on one that is known. Their work is checked on all
    /// cores before anything is kept. Returns how many were new; those before a fault stay.
    ///
    /// # Errors
    /// [`SubmitError`] of the first header that is refused.
    pub fn submit_headers(&mut self, headers: &[Header], now: Time) -> Result<usize, SubmitError> {
        let hashes: Vec<BlockHash> = headers.par_iter().map(Header::hash).collect();
        let mut added = Vec::new();
        let mut fault = None;
        for (header, hash) in headers.iter().zip(&hashes) {
            match self.place_header(header, hash, now) {
                Ok(true) => added.push(*header),
                Ok(false) => {}
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
        }
        if !added.is_empty() {
            self.store.add_headers(&added)?;
        }
        fault.map_or(Ok(added.len()), Err)
    }

    /// Holds a header against its rules and hangs it into the tree; whether it was new.
    fn place_header(&mut self, header: &Header, hash: &BlockHash, now: Time) -> Result<bool, SubmitError> {
        if let Some(known) = self.tree.find(hash) {
            return if self.tree.node(known).is_invalid() {
                Err(SubmitError::KnownInvalid(*hash))
            } else {
                Ok(false)
            };
        }
        let parent = self.tree.find(&header.previous);
        let parent = parent.ok_or(SubmitError::UnknownParent(header.previous))?;
        if self.tree.node(parent).is_invalid() {
            return Err(HeaderError::InvalidParent(header.previous).into());
        }
        let work = check_header(header, hash, &self.tree.context(parent), self.chain.params(), now)?;
        self.tree.insert(*header, *hash, parent, work)?;
        Ok(true)
    }

    /// Takes a block: holds it against all rules as far as can be, keeps it, and follows the chain with the
    /// most work.
    ///
    /// # Errors
    /// [`SubmitError`] where the block was not kept. A block that was kept and found invalid when it was to
    /// be connected is in [`Update::refused`].
    pub fn submit(&mut self, block: Block, now: Time) -> Result<Update, SubmitError> {
        let hash = block.hash();
        if self.tree.find(&hash).is_some_and(|known| self.tree.node(known).has_body()) {
            let invalid = self.tree.find(&hash).is_some_and(|known| self.tree.node(known).is_invalid());
            return Err(if invalid { SubmitError::KnownInvalid(hash) } else { SubmitError::Duplicate });
        }
        self.submit_headers(&[block.header], now)?;
        let id = self.tree.find(&hash).ok_or(SubmitError::UnknownParent(block.header.previous))?;
        let checked = match CheckedBlock::check(block, &self.chain) {
            Ok(checked) => checked,
            Err(error) => {
                // Only the body that the header commits to can make the header invalid (threat C12).
                if matches!(error, SubmitError::Invalid(_)) {
                    self.mark_invalid(id)?;
                }
                return Err(error);
            }
        };
        // The height is known already: a body that names another one need not wait to be connected (rule K1).
        let (named, actual) = (checked.coinbase().height, self.tree.node(id).height());
        if named != actual {
            self.mark_invalid(id)?;
            return Err(BlockError::CoinbaseHeight { named, actual }.into());
        }
        self.store.add_body(&checked, self.next_order)?;
        self.tree.set_body(id, self.next_order);
        self.next_order = self.next_order.saturating_add(1);
        Ok(self.activate(Some(checked))?)
    }

    fn mark_invalid(&mut self, id: NodeId) -> Result<(), StoreError> {
        let marked = self.tree.mark_invalid(id);
        let hashes: Vec<BlockHash> = marked.iter().map(|id| self.tree.node(*id).hash()).collect();
        self.store.mark_invalid(&hashes)
    }

    /// Moves to the best tip. `fresh` is a block that was just checked, so that it need not be read back.
    fn activate(&mut self, fresh: Option<CheckedBlock>) -> Result<Update, StoreError> {
        let before = self.tip_node();
        let mut refused = Vec::new();
        loop {
            let tip = self.tip_node();
            // Measured against the tip that was active, not against where a refusal left us: an invalid block
            // must not tip the scales between equals (rule L1).
            let goal = self.tree.choose(before);
            if goal == tip {
                break;
            }
            let path = self.tree.reorg_path(tip, goal);
            for _ in &path.reverted {
                self.disconnect_tip()?;
            }
            for id in path.applied {
                if let Err(error) = self.connect(id, fresh.as_ref())? {
                    refused.push((self.id(id), error));
                    self.mark_invalid(id)?;
                    break;
                }
            }
        }
        let after = self.tip_node();
        self.tree.settle(after);
        let path = self.tree.reorg_path(before, after);
        let ids = |nodes: &[NodeId]| nodes.iter().map(|id| self.id(*id)).collect();
        Ok(Update { reverted: ids(&path.reverted), applied: ids(&path.applied), refused })
    }

    fn connect(
        &mut self,
        id: NodeId,
        fresh: Option<&CheckedBlock>,
    ) -> Result<Result<(), BlockError>, StoreError> {
        let hash = self.tree.node(id).hash();
        if let Some(block) = fresh.filter(|fresh| fresh.hash() == hash) {
            return self.connect_checked(id, block);
        }
        let block = self.store.block(&hash)?.ok_or_else(|| missing(&hash, "body"))?;
        match CheckedBlock::check(block, &self.chain) {
            Ok(block) => self.connect_checked(id, &block),
            // It was checked before it was stored: what was read is not what was written.
            Err(error) => Err(StoreError::new(format!("the stored body of {hash} is damaged: {error}"))),
        }
    }

    fn connect_checked(
        &mut self,
        id: NodeId,
        block: &CheckedBlock,
    ) -> Result<Result<(), BlockError>, StoreError> {
        let context = self.next_spend_context();
        let wanted = external_inputs(block);
        let coins = self.store.coins(&wanted)?;
        let fetched: HashMap<OutPoint, Coin> =
            wanted.into_iter().zip(coins).filter_map(|(outpoint, coin)| Some((outpoint, coin?))).collect();
        let connected = match connect_block(block, fetched, &context) {
            Ok(connected) => connected,
            Err(error) => return Ok(Err(error)),
        };
        self.store.connect(block, &connected)?;
        self.active.push(id);
        self.tree.set_connected(id);
        Ok(Ok(()))
    }

    fn disconnect_tip(&mut self) -> Result<(), StoreError> {
        let hash = self.tip().id.hash;
        let block = self.store.block(&hash)?.ok_or_else(|| missing(&hash, "body"))?;
        let undo = self.store.undo(&hash)?.ok_or_else(|| missing(&hash, "undo data"))?;
        self.store.disconnect(&block, &created_coins(&block), &undo)?;
        self.active.pop();
        Ok(())
    }
}

fn missing(hash: &BlockHash, what: &str) -> StoreError {
    StoreError::new(format!("the {what} of {hash} should be stored, but is not"))
}

/// The coins that a block leaves unspent: its outputs to addresses, less those that it spends itself.
#[must_use]
pub fn created_coins(block: &Block) -> Vec<OutPoint> {
    let ids: Vec<TxId> = block.transactions.iter().map(crate::transaction::Transaction::txid).collect();
    let outpoints = |txid: TxId, outputs: &[Output]| {
        let payments = (0..).zip(outputs).filter(|(_, output)| output.address().is_some());
        payments.map(|(index, _)| OutPoint { txid, index }).collect::<Vec<_>>()
    };
    let mut created: std::collections::BTreeSet<OutPoint> =
        outpoints(block.coinbase.txid(), &block.coinbase.outputs).into_iter().collect();
    for (transaction, txid) in block.transactions.iter().zip(ids) {
        created.extend(outpoints(txid, &transaction.outputs));
    }
    for input in block.transactions.iter().flat_map(|transaction| &transaction.inputs) {
        created.remove(input);
    }
    created.into_iter().collect()
}
