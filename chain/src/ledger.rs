//! The ledger: one chain's headers, bodies and coins, moved by one function, [`Ledger::submit`].
//!
//! The only room that touches the store. It follows the valid chain with the most work (rule L1), however
//! deep the reorganisation, in runs of a bounded size, so that memory does not grow with depth. What happened
//! comes out as a value, [`Update`]; nobody is called back. A storage failure is passed on and judges no
//! block (threat C06).

mod activation;
mod advice;
mod assumed;

use std::sync::Arc;

use rayon::prelude::*;
use thiserror::Error;

use self::{activation::Fresh, assumed::Assumed};
pub use self::{activation::created_coins, advice::AdviceError};
use crate::{
    block::{Block, Header},
    check::{CheckedBlock, NewBlock, SpendContext, VerdictCache, VerifiedTransaction, check_header_on},
    error::{BlockError, HeaderError, SubmitError},
    genesis::Chain,
    hash::BlockHash,
    height::Height,
    plant::Plant,
    pow::{CompactTarget, Work},
    store::{Store, StoreError},
    time::Time,
    transaction::OutPoint,
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

/// What became of blocks that were submitted together.
#[derive(Debug)]
pub struct Submitted {
    /// What they changed.
    pub update: Update,
    /// Each block's hash, and why it was not kept if it was not, in the order of the blocks.
    pub outcomes: Vec<(BlockHash, Result<(), SubmitError>)>,
}

/// Who is told how far a long walk is: the height of the tip, and of the chain that it goes to.
pub type Watch<'a> = &'a mut dyn FnMut(Height, Height);

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
    verdicts: VerdictCache,
    fresh: Fresh,
    assumed: Option<Assumed>,
}

impl<S: Store> Ledger<S> {
    /// Opens the ledger of `chain` over what `store` holds: goes on from the tip that was flushed last, over all
    /// blocks above it whose bodies are here.
    ///
    /// # Errors
    /// [`OpenError`] where the store cannot be read or holds something else.
    pub fn open(chain: Chain, store: S) -> Result<Self, OpenError> {
        Self::open_watched(chain, store, &mut |_, _| {})
    }

    /// As [`Self::open`]; `watch` is told after each step how high the tip is and how high the chain that it
    /// goes to.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_watched(chain: Chain, store: S, watch: Watch<'_>) -> Result<Self, OpenError> {
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
        let (verdicts, fresh) = (VerdictCache::default(), Fresh::default());
        let mut ledger = Self { chain, tree, store, active, next_order, verdicts, fresh, assumed: None };
        // The process may have died between a block's being declared invalid and the flush of what followed.
        while ledger.tree.node(ledger.tip_node()).is_invalid() {
            ledger.disconnect_tip()?;
        }
        ledger.activate(watch)?;
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

    /// The store, for what is its own affair: closing it in order.
    pub const fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// The unspent coins at these outpoints at the tip, in their order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError> {
        self.store.coins(outpoints)
    }

    /// Makes the tip, its coins and undo data survive the death of the process.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.store.flush()
    }

    /// Verdicts on transactions that were verified before.
    #[must_use]
    pub const fn verdicts(&self) -> &VerdictCache {
        &self.verdicts
    }

    /// Remembers that all rules of a transaction hold, so that a block that holds it is connected without its
    /// signatures.
    pub fn remember(&mut self, verified: Arc<VerifiedTransaction>) {
        self.verdicts.remember(verified);
    }

    /// The block with what its check has learned, if its body is here; never the genesis block. Those that came
    /// last are in memory.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn checked_block(&self, hash: &BlockHash) -> Result<Option<Arc<CheckedBlock>>, StoreError> {
        if let Some(block) = self.fresh.find(hash) {
            return Ok(Some(Arc::clone(block)));
        }
        let Some(block) = self.store.block(hash)? else { return Ok(None) };
        match CheckedBlock::check_knowing(block, &self.chain, &self.verdicts) {
            Ok(block) => Ok(Some(Arc::new(block))),
            // It was checked before it was stored: what was read is not what was written.
            Err(error) => Err(StoreError::new(format!("the stored body of {hash} is damaged: {error}"))),
        }
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
        self.tree.context(self.tip_node()).expected_bits_on(&self.chain)
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
        let work = check_header_on(&self.chain, header, hash, &self.tree.context(parent), now)?;
        self.tree.insert(*header, *hash, parent, work)?;
        Ok(true)
    }

    /// Takes a block: holds it against all rules as far as can be, keeps it, and follows the chain with the
    /// most work.
    ///
    /// # Errors
    /// [`SubmitError`] where the block was not kept. A block that was kept and found invalid when it was to
    /// be connected is in [`Update::refused`].
    pub fn submit(&mut self, block: impl Into<NewBlock>, now: Time) -> Result<Update, SubmitError> {
        let block = block.into();
        let hash = block.header().hash();
        self.place_block(block.header(), &hash, now)?;
        let checked = CheckedBlock::check_knowing(block, &self.chain, &self.verdicts);
        self.keep_body(&hash, checked)?;
        Ok(self.activate(&mut |_, _| {})?)
    }

    /// As [`Self::submit`], for whoever held the block against the isolated rules already, to announce it before
    /// its coins are looked up.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn submit_checked(&mut self, block: CheckedBlock, now: Time) -> Result<Update, SubmitError> {
        let hash = block.hash();
        self.place_block(block.header(), &hash, now)?;
        self.keep_body(&hash, Ok(block))?;
        Ok(self.activate(&mut |_, _| {})?)
    }

    /// Takes blocks that follow one another, all of them before it moves the tip once: bodies are checked side by
    /// side, and signatures verified in batches that span blocks. What [`Self::submit`] would say of each is
    /// in the answer.
    ///
    /// # Errors
    /// [`StoreError`]: nothing is said about any block.
    pub fn submit_many(
        &mut self,
        blocks: Vec<impl Into<NewBlock>>,
        now: Time,
    ) -> Result<Submitted, StoreError> {
        let mut hashes = Vec::with_capacity(blocks.len());
        let mut placed = Vec::with_capacity(blocks.len());
        for block in blocks {
            let block = block.into();
            let hash = block.header().hash();
            hashes.push(hash);
            placed.push(self.place_block(block.header(), &hash, now).map(|()| block));
        }
        let (chain, verdicts) = (&self.chain, &self.verdicts);
        let check = |block: NewBlock| CheckedBlock::check_knowing(block, chain, verdicts);
        let checked: Vec<_> = placed.into_par_iter().map(|block| block.and_then(check)).collect();
        let mut outcomes = Vec::with_capacity(checked.len());
        for (hash, checked) in hashes.into_iter().zip(checked) {
            match self.keep_body(&hash, checked) {
                Err(SubmitError::Storage(error)) => return Err(error),
                outcome => outcomes.push((hash, outcome)),
            }
        }
        Ok(Submitted { update: self.activate(&mut |_, _| {})?, outcomes })
    }

    /// Sees to the header of a block whose body is new.
    fn place_block(&mut self, header: &Header, hash: &BlockHash, now: Time) -> Result<(), SubmitError> {
        if let Some(known) = self.tree.find(hash).map(|known| self.tree.node(known))
            && known.has_body()
        {
            return Err(if known.is_invalid() {
                SubmitError::KnownInvalid(*hash)
            } else {
                SubmitError::Duplicate
            });
        }
        self.submit_headers(&[*header], now).map(drop)
    }

    /// Keeps the body of a header that is known, or what its fault says about the header.
    fn keep_body(
        &mut self,
        hash: &BlockHash,
        checked: Result<CheckedBlock, SubmitError>,
    ) -> Result<(), SubmitError> {
        let block = match (checked, self.tree.find(hash)) {
            // Only the body that the header commits to can make the header invalid (threat C12).
            (Err(error @ SubmitError::Invalid(_)), Some(id)) => {
                self.mark_invalid(id)?;
                return Err(error);
            }
            (Err(error @ SubmitError::WrongBody(_)), Some(id))
                if self.chain.has_plant(Plant::BodyFaultOnHeader) =>
            {
                self.mark_invalid(id)?;
                return Err(error);
            }
            (checked, _) => checked?,
        };
        let id = self.tree.find(hash).ok_or(SubmitError::UnknownParent(block.header().previous))?;
        if self.tree.node(id).is_invalid() {
            return Err(SubmitError::KnownInvalid(*hash));
        }
        if self.tree.node(id).has_body() {
            return Err(SubmitError::Duplicate);
        }
        // The height is known already: a body that names another one need not wait to be connected (rule K1).
        let (named, actual) = (block.coinbase().height, self.tree.node(id).height());
        if named != actual {
            self.mark_invalid(id)?;
            return Err(BlockError::CoinbaseHeight { named, actual }.into());
        }
        self.store.add_body(&block, self.next_order)?;
        self.tree.set_body(id, self.next_order);
        self.next_order = self.next_order.saturating_add(1);
        self.fresh.keep(Arc::new(block));
        Ok(())
    }

    fn mark_invalid(&mut self, id: NodeId) -> Result<(), StoreError> {
        let marked = self.tree.mark_invalid(id);
        let hashes: Vec<BlockHash> = marked.iter().map(|id| self.tree.node(*id).hash()).collect();
        self.store.set_invalid(&hashes, true)
    }
}
