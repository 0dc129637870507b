//! Following the ledger's tip.
//!
//! Going up nothing is judged anew: what was mined leaves, what spends the same coins leaves with its descendants,
//! and heights and median times only grow, so that all others stay valid. After a reorganisation only that is
//! judged again which it can have touched: what spends coins of the blocks that were reverted, what has a
//! condition on height, time or age, what spends a coinbase. All other coins are as they were. A reverted block may
//! hold a longer chain of payments than a cluster may: the rest of it is parked, and returns as blocks make room.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use chain::{
    check::CheckedTransaction,
    error::SpendError,
    hash::{BlockHash, TxId},
    ledger::{Ledger, Update},
    store::{Store, StoreError},
    time::Time,
    transaction::OutPoint,
};

use super::{
    AcceptError, Departed, Departure, Entry, Mempool,
    acceptance::{Offer, Policy},
    graph::Slot,
    memories::MAX_DEPARTED,
};

/// Transactions that are judged again together, at the most.
const MAX_BATCH: usize = 1_000;
/// The most memory of transactions that are parked, in bytes.
const MAX_PARKED_BYTES: usize = 16_000_000;

impl Mempool {
    /// Follows the ledger to its new tip. What was mined leaves, with all that conflicts with it; what was
    /// reverted and is still valid returns. Returns what came back, parents first, so that it can be
    /// announced again.
    ///
    /// # Errors
    /// [`StoreError`]: the node must stop.
    pub fn follow<S: Store>(
        &mut self,
        update: &Update,
        ledger: &Ledger<S>,
        now: Time,
    ) -> Result<Vec<Arc<CheckedTransaction>>, StoreError> {
        self.refused.clear();
        for id in &update.applied {
            if self.is_empty() {
                break;
            }
            let Some(block) = ledger.checked_block(&id.hash)? else { continue };
            let mut mined = Vec::with_capacity(block.transactions().len().min(self.len()));
            let mut losers = Vec::new();
            for checked in block.transactions() {
                // Its id commits to the coins that it spends: where it waits, nobody else here spends them.
                if let Some(own) = self.slots.get(&checked.txid()) {
                    mined.push(*own);
                    continue;
                }
                let inputs = checked.transaction().inputs.iter();
                let spenders = inputs.filter_map(|input| self.spends.get(input));
                losers.extend(spenders.map(|slot| (*slot, checked.txid())));
            }
            mined.sort_unstable();
            self.take(&mined);
            for (slot, with) in losers {
                self.drop_with_descendants([slot], Departure::Conflict { with, block: id.hash }, now);
            }
        }
        let mut returned =
            if update.reverted.is_empty() { Vec::new() } else { self.refill(update, ledger, now)? };
        if !self.parked.waiting.is_empty() {
            returned.extend(self.unpark(ledger, now)?);
        }
        Ok(returned)
    }

    /// Judges again what a reorganisation can have touched: first what blocks gave back, the lowest block first,
    /// then what was here, oldest first, so that parents come before children.
    fn refill<S: Store>(
        &mut self,
        update: &Update,
        ledger: &Ledger<S>,
        now: Time,
    ) -> Result<Vec<Arc<CheckedTransaction>>, StoreError> {
        let mut touched: BTreeSet<Slot> = BTreeSet::new();
        for listed in self.arrivals.listed() {
            if self.listed(*listed).is_some_and(Entry::depends_on_height) {
                touched.insert(listed.1);
            }
        }
        for id in &update.reverted {
            let Some(block) = ledger.checked_block(&id.hash)? else { continue };
            let made =
                block.transactions().iter().map(|checked| (checked.txid(), &checked.transaction().outputs));
            for (txid, outputs) in made.chain([(block.coinbase_txid(), &block.coinbase().outputs)]) {
                let outpoints = (0..).zip(outputs).map(|(index, _)| OutPoint { txid, index });
                touched.extend(outpoints.filter_map(|outpoint| self.spends.get(&outpoint)));
            }
        }
        let touched = self.with_descendants(touched);
        let mut waiting = self.take(&touched);
        waiting.sort_unstable_by_key(|entry| entry.sequence);
        let mut returned = Vec::new();
        let mut lost: Vec<Arc<CheckedTransaction>> = Vec::new();
        for id in update.reverted.iter().rev() {
            let Some(block) = ledger.checked_block(&id.hash)? else { continue };
            for batch in block.transactions().chunks(MAX_BATCH) {
                let back: Vec<Returning> = batch
                    .iter()
                    .map(|checked| Returning { checked: Arc::clone(checked), time: now })
                    .collect();
                for (checked, outcome) in batch.iter().zip(self.bring_back(&back, ledger, now)?) {
                    match outcome {
                        Ok(txid) => returned.push(txid),
                        Err(_) if lost.len() < MAX_DEPARTED => lost.push(Arc::clone(checked)),
                        Err(_) => {}
                    }
                }
            }
        }
        self.note_lost(&lost, update, ledger, now)?;
        for batch in waiting.chunks(MAX_BATCH) {
            let back =
                |entry: &Entry| Returning { checked: Arc::clone(entry.transaction()), time: entry.time };
            let outcomes = self.bring_back(&batch.iter().map(back).collect::<Vec<_>>(), ledger, now)?;
            for (entry, outcome) in batch.iter().zip(outcomes) {
                let txid = entry.transaction().txid();
                if outcome.is_err() && self.get(&txid).is_none() && !self.parked.holds(&txid) {
                    self.departed.insert(txid, Departed { why: Departure::Invalidated, time: now });
                }
            }
        }
        let still_here = |txid: TxId| self.get(&txid).map(|entry| entry.transaction().clone());
        Ok(returned.into_iter().filter_map(still_here).collect())
    }

    /// Notes what became of transactions of reverted blocks that do not return: whoever was paid by one asks for it.
    fn note_lost<S: Store>(
        &mut self,
        lost: &[Arc<CheckedTransaction>],
        update: &Update,
        ledger: &Ledger<S>,
        now: Time,
    ) -> Result<(), StoreError> {
        let lost: Vec<_> = lost.iter().filter(|checked| !self.parked.holds(&checked.txid())).collect();
        if lost.is_empty() {
            return Ok(());
        }
        let inputs = lost.iter().flat_map(|checked| &checked.transaction().inputs);
        let mut spenders: HashMap<OutPoint, Option<(TxId, BlockHash)>> =
            inputs.map(|input| (*input, None)).collect();
        for id in &update.applied {
            let Some(block) = ledger.checked_block(&id.hash)? else { continue };
            for checked in block.transactions() {
                for input in &checked.transaction().inputs {
                    if let Some(spender) = spenders.get_mut(input) {
                        *spender = Some((checked.txid(), id.hash));
                    }
                }
            }
        }
        for checked in lost {
            let txid = checked.txid();
            let mut found =
                checked.transaction().inputs.iter().filter_map(|input| spenders.get(input)?.as_ref());
            let why = match found.next() {
                // It is in a block of the new branch as well.
                Some((by, _)) if *by == txid => continue,
                Some((with, block)) => Departure::Conflict { with: *with, block: *block },
                None => Departure::Invalidated,
            };
            self.departed.insert(txid, Departed { why, time: now });
        }
        Ok(())
    }

    /// Takes what is still valid. What only finds its cluster full, or stands on such a one, is parked until
    /// blocks have made room.
    fn bring_back<S: Store>(
        &mut self,
        back: &[Returning],
        ledger: &Ledger<S>,
        now: Time,
    ) -> Result<Vec<Result<TxId, AcceptError>>, StoreError> {
        let offer = |back: &Returning| Offer { checked: Ok(Arc::clone(&back.checked)), time: back.time };
        let outcomes = self.accept_by(back.iter().map(offer).collect(), Policy::Return, ledger, now);
        for (back, outcome) in back.iter().zip(&outcomes) {
            match outcome {
                Err(AcceptError::Storage(error)) => return Err(StoreError::new(error.to_string())),
                Err(AcceptError::ClusterFull) => self.parked.push(back),
                Err(AcceptError::Spend(SpendError::MissingCoin { outpoint, .. }))
                    if self.parked.holds(&outpoint.txid) =>
                {
                    self.parked.push(back);
                }
                Err(refused) => tracing::debug!(%refused, "a transaction does not return"),
                Ok(_) => {}
            }
        }
        Ok(outcomes)
    }

    /// Tries again what was parked, in its order.
    fn unpark<S: Store>(
        &mut self,
        ledger: &Ledger<S>,
        now: Time,
    ) -> Result<Vec<Arc<CheckedTransaction>>, StoreError> {
        let parked = std::mem::take(&mut self.parked).waiting;
        let mut returned = Vec::new();
        for batch in parked.chunks(MAX_BATCH) {
            for outcome in self.bring_back(batch, ledger, now)? {
                let entry = outcome.ok().and_then(|txid| self.get(&txid));
                returned.extend(entry.map(|entry| Arc::clone(entry.transaction())));
            }
        }
        Ok(returned)
    }
}

/// A transaction that is on its way back.
#[derive(Clone, Debug)]
struct Returning {
    checked: Arc<CheckedTransaction>,
    /// Since when it waits.
    time: Time,
}

/// Valid transactions of reverted blocks that the limits of clusters keep out for now: a block may hold longer
/// chains of payments than may wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Parked {
    /// Parents before children.
    waiting: Vec<Returning>,
    ids: HashSet<TxId>,
    memory_bytes: usize,
}

impl Parked {
    fn holds(&self, txid: &TxId) -> bool {
        self.ids.contains(txid)
    }

    fn push(&mut self, back: &Returning) {
        let memory_bytes = self.memory_bytes + back.checked.memory_bytes();
        if memory_bytes <= MAX_PARKED_BYTES && self.ids.insert(back.checked.txid()) {
            self.memory_bytes = memory_bytes;
            self.waiting.push(back.clone());
        }
    }
}
