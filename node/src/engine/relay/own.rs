//! Transactions that this node's users sent, until they are mined.
//!
//! The network forgets: a node restarts, a mempool is full, and somebody may have a transaction replaced by one
//! that is replaced itself by one that leaves its coins alone (threat M03, replacement cycling). So what a user
//! sent is offered to the mempool and announced again, ever more rarely, until it is mined or one of its coins
//! is spent by another transaction that is. The list outlives the node's process as a file ([`file`]).
//!
//! Blocks that this list has not seen, since a file of it was older than they are, tell it nothing: what they mined
//! is let go when it is offered, and what they made impossible when it was refused often enough.

mod file;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use chain::{
    check::CheckedTransaction,
    hash::TxId,
    transaction::{OutPoint, Transaction},
};

/// Transactions that are looked after, at the most; the oldest is left to the others.
pub(super) const MAX_OWN: usize = 1_000;
/// What they occupy in memory, in bytes.
pub(super) const MAX_OWN_BYTES: usize = 4 << 20;
/// The largest file of them that is read, in bytes: they are smaller in it than in memory.
pub const MAX_OWN_FILE_BYTES: u64 = 8 << 20;
/// Refusals in a row, for what does not pass by itself, after which one is given up: at most an hour lies between
/// two, so two weeks of them, as long as the mempool keeps anything.
const MAX_REFUSALS: u32 = 14 * 24;
/// When one is announced again for the first time, in milliseconds: gossip forgets after a minute.
pub(super) const FIRST_INTERVAL_MS: u64 = 65_000;
/// The longest interval, in milliseconds: an hour.
pub(super) const MAX_INTERVAL_MS: u64 = 3_600_000;
/// Those that are announced again at once.
pub(super) const MAX_DUE: usize = 50;

#[derive(Debug)]
struct Sent {
    transaction: Arc<Transaction>,
    /// How often in a row it was refused for what does not pass by itself.
    refusals: u32,
    interval_ms: u64,
    due_ms: u64,
}

/// All that are looked after.
#[derive(Debug, Default)]
pub(super) struct Own {
    sent: BTreeMap<TxId, Sent>,
    /// Those of them that spend a coin: one, or a transaction and what its sender replaced it by.
    spends: BTreeMap<OutPoint, Vec<TxId>>,
    order: VecDeque<TxId>,
    bytes: usize,
}

impl Own {
    /// A user sent a transaction; again is as for the first time.
    pub(super) fn add(&mut self, txid: TxId, transaction: &Arc<Transaction>, now_ms: u64) {
        let (interval_ms, due_ms) = (FIRST_INTERVAL_MS, now_ms.saturating_add(FIRST_INTERVAL_MS));
        self.insert(txid, Sent { transaction: Arc::clone(transaction), refusals: 0, interval_ms, due_ms });
    }

    /// A user sent a transaction before the node was started: it is due at once, and then as for the first time.
    fn put_back(&mut self, transaction: Arc<Transaction>, refusals: u32, now_ms: u64) {
        let interval_ms = FIRST_INTERVAL_MS / 2;
        self.insert(transaction.txid(), Sent { transaction, refusals, interval_ms, due_ms: now_ms });
    }

    fn insert(&mut self, txid: TxId, sent: Sent) {
        self.remove(&txid);
        for input in &sent.transaction.inputs {
            self.spends.entry(*input).or_default().push(txid);
        }
        self.bytes += sent.transaction.memory_bytes();
        self.sent.insert(txid, sent);
        self.order.push_back(txid);
        while self.sent.len() > MAX_OWN || self.bytes > MAX_OWN_BYTES {
            let Some(oldest) = self.order.front().copied() else { break };
            self.remove(&oldest);
        }
    }

    /// Lets one go.
    pub(super) fn remove(&mut self, txid: &TxId) {
        let Some(sent) = self.sent.remove(txid) else { return };
        self.bytes -= sent.transaction.memory_bytes();
        self.order.retain(|other| other != txid);
        for input in &sent.transaction.inputs {
            if let Some(spenders) = self.spends.get_mut(input) {
                spenders.retain(|spender| spender != txid);
                if spenders.is_empty() {
                    self.spends.remove(input);
                }
            }
        }
    }

    /// A transaction was mined: it is done, and so is all that spends the same coins.
    pub(super) fn mined(&mut self, mined: &CheckedTransaction) {
        for input in &mined.transaction().inputs {
            for spender in self.spends.get(input).cloned().unwrap_or_default() {
                self.remove(&spender);
            }
        }
    }

    /// Those whose time has come, oldest first, so that parents come before children.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Vec<(TxId, Arc<Transaction>)> {
        let mut due = Vec::new();
        for txid in &self.order {
            let Some(sent) = self.sent.get_mut(txid).filter(|sent| sent.due_ms <= now_ms) else { continue };
            sent.interval_ms = sent.interval_ms.saturating_mul(2).min(MAX_INTERVAL_MS);
            sent.due_ms = now_ms.saturating_add(sent.interval_ms);
            due.push((*txid, Arc::clone(&sent.transaction)));
            if due.len() == MAX_DUE {
                break;
            }
        }
        due
    }

    /// One waits in the mempool: what it was refused for before is over.
    pub(super) fn waits(&mut self, txid: &TxId) {
        if let Some(sent) = self.sent.get_mut(txid) {
            sent.refusals = 0;
        }
    }

    /// One was refused for what does not pass by itself; whether it is given up, for it was refused too often.
    pub(super) fn refused(&mut self, txid: &TxId) -> bool {
        let Some(sent) = self.sent.get_mut(txid) else { return false };
        sent.refusals = sent.refusals.saturating_add(1);
        let is_given_up = sent.refusals >= MAX_REFUSALS;
        if is_given_up {
            self.remove(txid);
        }
        is_given_up
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// How many are looked after.
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether one is looked after.
    #[cfg(test)]
    pub(super) fn holds(&self, txid: &TxId) -> bool {
        self.sent.contains_key(txid)
    }
}
