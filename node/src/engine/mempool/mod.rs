//! The mempool: transactions that are valid on the tip and wait for a block.
//!
//! Every transaction here could be mined now, parents first. Of two that spend the same coin the first one
//! stays, and the second is refused with the name of the first. After a reorganisation everything that is
//! still valid is back. Policy, not consensus: a block may hold what this room refuses.

mod entry;
mod error;
pub mod graph;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use chain::{
    amount::Amount,
    check::{CheckedTransaction, verify_transaction},
    hash::TxId,
    height::Height,
    ledger::{Ledger, Update},
    store::{Store, StoreError},
    time::Time,
    transaction::{OutPoint, Transaction},
    utxo::Coin,
};
use miner::Candidate;

use self::entry::{FeeRate, Rank};
pub use self::{entry::Entry, error::AcceptError};

/// The most bytes of transactions that the mempool holds.
pub const MAX_MEMPOOL_BYTES: u64 = 64_000_000;
/// The lowest fee rate that is relayed, in pebbles per 1,000 bytes: a hundredth of a CRN for a megabyte.
pub const MIN_RELAY_FEE_RATE: u64 = 1_000;
/// What a block holds beside its transactions, with room for a coinbase of some outputs.
const BLOCK_OVERHEAD_BYTES: u32 = 400;
/// The most unconfirmed ancestors of a transaction, so that no chain of payments grows without end.
pub const MAX_ANCESTORS: usize = 25;

/// Which rules beyond validity a transaction must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// All of them: it is new.
    Relay,
    /// None: it was in a block or here before, and returns after a reorganisation if it is valid.
    Return,
}

/// The mempool.
#[derive(Debug, Default)]
pub struct Mempool {
    entries: HashMap<TxId, Entry>,
    spends: HashMap<OutPoint, TxId>,
    ranks: BTreeSet<Rank>,
    bytes: u64,
    max_bytes: u64,
    next_sequence: u64,
    changes: u64,
}

impl Mempool {
    /// An empty mempool of at most `max_bytes` bytes of transactions.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, ..Self::default() }
    }

    /// The transaction with this id.
    #[must_use]
    pub fn get(&self, txid: &TxId) -> Option<&Entry> {
        self.entries.get(txid)
    }

    /// All transactions, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Who spends a coin.
    #[must_use]
    pub fn spender(&self, outpoint: &OutPoint) -> Option<TxId> {
        self.spends.get(outpoint).copied()
    }

    /// How many transactions wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of all transactions.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The most bytes that it holds.
    #[must_use]
    pub const fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// A number that grows with every change, so that a reader knows whether to look again.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Takes a transaction if it is valid on the tip, conflicts with none, and pays enough.
    ///
    /// # Errors
    /// [`AcceptError`]; the mempool is then as it was.
    pub fn accept<S: Store>(
        &mut self,
        transaction: impl Into<Arc<Transaction>>,
        ledger: &Ledger<S>,
        now: Time,
    ) -> Result<TxId, AcceptError> {
        self.accept_by(transaction, ledger, now, Policy::Relay)
    }

    fn accept_by<S: Store>(
        &mut self,
        transaction: impl Into<Arc<Transaction>>,
        ledger: &Ledger<S>,
        now: Time,
        policy: Policy,
    ) -> Result<TxId, AcceptError> {
        let checked = Arc::new(CheckedTransaction::check(transaction, ledger.chain())?);
        let fee = self.judge_by(&checked, ledger, policy)?;
        self.make_room(&checked, fee)?;
        let txid = checked.txid();
        self.insert(checked, fee, now, ledger.tip().id.height);
        Ok(txid)
    }

    /// Whether a transaction would be taken, without taking it; its fee.
    ///
    /// # Errors
    /// [`AcceptError`], as [`Self::accept`] but for a full mempool.
    pub fn judge<S: Store>(
        &self,
        checked: &Arc<CheckedTransaction>,
        ledger: &Ledger<S>,
    ) -> Result<Amount, AcceptError> {
        self.judge_by(checked, ledger, Policy::Relay)
    }

    fn judge_by<S: Store>(
        &self,
        checked: &Arc<CheckedTransaction>,
        ledger: &Ledger<S>,
        policy: Policy,
    ) -> Result<Amount, AcceptError> {
        let params = ledger.chain().params();
        let (bytes, signatures) = (checked.size(), checked.signatures());
        let room = params.max_block_bytes.saturating_sub(BLOCK_OVERHEAD_BYTES);
        if bytes > room || signatures > params.max_block_signatures {
            return Err(AcceptError::Unminable { bytes, signatures });
        }
        if self.entries.contains_key(&checked.txid()) {
            return Err(AcceptError::Known);
        }
        let inputs = &checked.transaction().inputs;
        for outpoint in inputs {
            if let Some(by) = self.spender(outpoint) {
                return Err(AcceptError::Conflict { outpoint: *outpoint, by });
            }
        }
        let ancestors = self.ancestors(inputs.iter().map(|input| input.txid));
        if policy == Policy::Relay && ancestors.len() > MAX_ANCESTORS {
            return Err(AcceptError::LongChain);
        }
        let context = ledger.next_spend_context();
        let stored = ledger.store().coins(inputs)?;
        let coins: HashMap<OutPoint, Coin> = inputs
            .iter()
            .zip(stored)
            .filter_map(|(outpoint, stored)| {
                let waiting = || self.output(outpoint, context.height);
                Some((*outpoint, stored.or_else(waiting)?))
            })
            .collect();
        let fee = verify_transaction(Arc::clone(checked), &coins, &context)?.fee();
        let needed =
            Amount::from_pebbles(u64::from(bytes).saturating_mul(MIN_RELAY_FEE_RATE).div_ceil(1_000));
        if policy == Policy::Relay && fee < needed {
            Err(AcceptError::LowFee { fee, needed, bytes })
        } else {
            Ok(fee)
        }
    }

    /// An output of a transaction that waits here, as the coin that it will be in the next block.
    #[must_use]
    pub fn output(&self, outpoint: &OutPoint, height: Height) -> Option<Coin> {
        let made = &self.entries.get(&outpoint.txid)?.transaction.transaction().outputs;
        let output = made.get(usize::try_from(outpoint.index).ok()?)?;
        output.address()?;
        Some(Coin { output: output.clone(), height, coinbase: false })
    }

    fn ancestors(&self, of: impl Iterator<Item = TxId>) -> HashSet<TxId> {
        let mut found = HashSet::new();
        let mut pending: Vec<TxId> = of.collect();
        while let Some(txid) = pending.pop() {
            if let Some(entry) = self.entries.get(&txid)
                && found.insert(txid)
            {
                pending.extend(&entry.parents);
            }
        }
        found
    }

    /// Evicts what pays less than the newcomer until it fits; nothing is evicted if it would not.
    fn make_room(&mut self, checked: &CheckedTransaction, fee: Amount) -> Result<(), AcceptError> {
        let size = u64::from(checked.size());
        let rate = FeeRate { fee: fee.pebbles(), bytes: checked.size() };
        // What the newcomer stands on cannot make room for it.
        let below = self.ancestors(checked.transaction().inputs.iter().map(|input| input.txid));
        let mut victims = HashSet::new();
        let mut freed = 0;
        for rank in &self.ranks {
            if self.bytes - freed + size <= self.max_bytes {
                break;
            }
            if rank.rate >= rate {
                return Err(AcceptError::Full);
            }
            for txid in self.descendants(rank.txid) {
                if below.contains(&txid) {
                    return Err(AcceptError::Full);
                }
                if let Some(entry) = self.entries.get(&txid)
                    && victims.insert(txid)
                {
                    freed += u64::from(entry.transaction.size());
                }
            }
        }
        if self.bytes - freed + size > self.max_bytes {
            return Err(AcceptError::Full);
        }
        for victim in victims {
            self.take(&victim);
        }
        Ok(())
    }

    /// A transaction and all that stand on it.
    fn descendants(&self, of: TxId) -> Vec<TxId> {
        let mut seen = HashSet::from([of]);
        let mut found = vec![of];
        let mut next = 0;
        while let Some(txid) = found.get(next) {
            let children = self.entries.get(txid).map(|entry| entry.children.clone()).unwrap_or_default();
            found.extend(children.into_iter().filter(|child| seen.insert(*child)));
            next += 1;
        }
        found
    }

    fn insert(&mut self, transaction: Arc<CheckedTransaction>, fee: Amount, time: Time, height: Height) {
        let txid = transaction.txid();
        let inputs = &transaction.transaction().inputs;
        let parents: BTreeSet<TxId> =
            inputs.iter().map(|input| input.txid).filter(|id| self.entries.contains_key(id)).collect();
        for parent in &parents {
            if let Some(entry) = self.entries.get_mut(parent) {
                entry.children.insert(txid);
            }
        }
        self.spends.extend(inputs.iter().map(|input| (*input, txid)));
        self.bytes += u64::from(transaction.size());
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.changes += 1;
        let entry = Entry { transaction, fee, time, height, sequence, parents, children: BTreeSet::new() };
        self.ranks.insert(entry.rank());
        self.entries.insert(txid, entry);
    }

    /// Removes one transaction and its place in the lists of others.
    fn take(&mut self, txid: &TxId) -> Option<Entry> {
        let entry = self.entries.remove(txid)?;
        self.ranks.remove(&entry.rank());
        for input in &entry.transaction.transaction().inputs {
            self.spends.remove(input);
        }
        for parent in &entry.parents {
            if let Some(parent) = self.entries.get_mut(parent) {
                parent.children.remove(txid);
            }
        }
        for child in &entry.children {
            if let Some(child) = self.entries.get_mut(child) {
                child.parents.remove(txid);
            }
        }
        self.bytes -= u64::from(entry.transaction.size());
        self.changes += 1;
        Some(entry)
    }

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
        for id in &update.applied {
            if self.is_empty() {
                break;
            }
            let block = ledger.block(&id.hash)?;
            for transaction in block.iter().flat_map(|block| &block.transactions) {
                self.take(&transaction.txid());
                for input in &transaction.inputs {
                    if let Some(loser) = self.spender(input) {
                        for txid in self.descendants(loser) {
                            self.take(&txid);
                        }
                    }
                }
            }
        }
        if update.reverted.is_empty() {
            // Heights and median times only grew, so that what was valid still is.
            return Ok(Vec::new());
        }
        self.refill(update, ledger, now)
    }

    /// Judges everything anew after a reorganisation: first what blocks gave back, lowest block first, then
    /// what was here, oldest first, so that parents come before children.
    fn refill<S: Store>(
        &mut self,
        update: &Update,
        ledger: &Ledger<S>,
        now: Time,
    ) -> Result<Vec<Arc<CheckedTransaction>>, StoreError> {
        let changes = self.changes;
        let mut waiting: Vec<Entry> =
            std::mem::replace(self, Self::new(self.max_bytes)).entries.into_values().collect();
        waiting.sort_unstable_by_key(|entry| entry.sequence);
        self.changes = changes + 1;
        let mut returned = Vec::new();
        for id in update.reverted.iter().rev() {
            let block = ledger.block(&id.hash)?;
            for transaction in block.into_iter().flat_map(|block| block.transactions) {
                match self.accept_by(transaction, ledger, now, Policy::Return) {
                    Ok(txid) => returned.extend(self.get(&txid).map(|entry| entry.transaction.clone())),
                    Err(AcceptError::Storage(error)) => return Err(error),
                    Err(refused) => tracing::debug!(%refused, "a reverted transaction does not return"),
                }
            }
        }
        for entry in waiting {
            let transaction = Arc::clone(entry.transaction.transaction());
            match self.accept_by(transaction, ledger, entry.time, Policy::Return) {
                Ok(_) => {}
                Err(AcceptError::Storage(error)) => return Err(error),
                Err(refused) => tracing::debug!(%refused, "a waiting transaction is dropped"),
            }
        }
        Ok(returned)
    }

    /// The transactions with the best fee rates that have waited since `before`, at most `limit`.
    #[must_use]
    pub fn best_before(&self, before: Time, limit: usize) -> Vec<Arc<CheckedTransaction>> {
        let entries = self.ranks.iter().rev().filter_map(|rank| self.entries.get(&rank.txid));
        let waiting = entries.filter(|entry| entry.time <= before);
        waiting.take(limit).map(|entry| entry.transaction.clone()).collect()
    }

    /// What a miner may put into the next block: the best fee rate first, parents before children.
    #[must_use]
    pub fn candidates(&self) -> Vec<Candidate> {
        let mut placed = HashSet::with_capacity(self.entries.len());
        let mut candidates = Vec::with_capacity(self.entries.len());
        let mut pending = Vec::new();
        for rank in self.ranks.iter().rev() {
            pending.push(rank.txid);
            while let Some(txid) = pending.last().copied() {
                let Some(entry) = self.entries.get(&txid).filter(|_| !placed.contains(&txid)) else {
                    pending.pop();
                    continue;
                };
                let before = pending.len();
                pending.extend(entry.parents.iter().filter(|parent| !placed.contains(*parent)));
                if pending.len() == before {
                    pending.pop();
                    placed.insert(txid);
                    candidates.push(Candidate { transaction: entry.transaction.clone(), fee: entry.fee });
                }
            }
        }
        candidates
    }
}
