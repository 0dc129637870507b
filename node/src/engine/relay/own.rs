//! Transactions that this node's users sent, until they are mined.
//!
//! The network forgets: a node restarts, a mempool is full, and somebody may have a transaction replaced by one
//! that is replaced itself by one that leaves its coins alone (threat M03, replacement cycling). So what a user
//! sent is offered to the mempool and announced again, ever more rarely, until it is mined or one of its coins
//! is spent by another transaction that is.

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
/// When one is announced again for the first time, in milliseconds: gossip forgets after a minute.
pub(super) const FIRST_INTERVAL_MS: u64 = 65_000;
/// The longest interval, in milliseconds: an hour.
pub(super) const MAX_INTERVAL_MS: u64 = 3_600_000;
/// Those that are announced again at once.
pub(super) const MAX_DUE: usize = 50;

#[derive(Debug)]
struct Sent {
    transaction: Arc<Transaction>,
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
        self.remove(&txid);
        let (interval_ms, due_ms) = (FIRST_INTERVAL_MS, now_ms.saturating_add(FIRST_INTERVAL_MS));
        for input in &transaction.inputs {
            self.spends.entry(*input).or_default().push(txid);
        }
        self.bytes += transaction.memory_bytes();
        self.sent.insert(txid, Sent { transaction: Arc::clone(transaction), interval_ms, due_ms });
        self.order.push_back(txid);
        while self.sent.len() > MAX_OWN || self.bytes > MAX_OWN_BYTES {
            let Some(oldest) = self.order.front().copied() else { break };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, txid: &TxId) {
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
