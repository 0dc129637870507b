//! Transactions: announced, judged when gossiped, and announced again while they wait.

use std::sync::Arc;

use chain::{
    check::CheckedTransaction,
    hash::TxId,
    store::{Store, StoreError},
    time::Time,
    transaction::Transaction,
};

use crate::{
    engine::{
        Engine, Now,
        conduct::fault_of_transaction,
        mempool::{AcceptError, Giver},
        trails,
    },
    p2p::{Peer, ToNet, wire::Verdict},
};

/// Transactions that are announced again at once, at the most.
pub(in crate::engine) const MAX_REANNOUNCED: usize = 200;
/// How often what waits is announced again: gossip forgets what it has seen after a minute.
const REANNOUNCE_INTERVAL_MS: u64 = 65_000;
/// How long a transaction must have waited to be announced again.
const REANNOUNCE_AGE_SECS: u32 = 60;

impl<S: Store> Engine<S> {
    /// Announces a transaction of the mempool once more; whether it is there.
    pub fn publish_waiting(&mut self, txid: &TxId) -> bool {
        let Some(checked) = self.mempool.get(txid).map(|entry| entry.transaction().clone()) else {
            return false;
        };
        self.publish(&checked);
        true
    }

    /// Announces a transaction.
    pub(in crate::engine) fn publish(&mut self, checked: &CheckedTransaction) {
        self.send(ToNet::Publish(Arc::clone(checked.transaction())));
    }

    /// Judges what a peer gossiped.
    pub(in crate::engine) fn judge_gossip(
        &mut self,
        peer: Peer,
        transaction: Transaction,
        now: Now,
    ) -> Result<Verdict, StoreError> {
        let giver = Giver(peer.0);
        let span = trails::payment(Some(peer), || transaction.txid());
        let mut outcomes =
            self.mempool.accept_from(giver, vec![Arc::new(transaction)], &self.ledger, now.wall);
        let outcome = outcomes.pop().expect("one transaction has one outcome");
        trails::judged(&span, &outcome);
        match outcome {
            Ok(txid) => {
                tracing::debug!(%peer, %txid, "transaction accepted");
                self.remember(&txid);
                Ok(Verdict::Accept)
            }
            Err(AcceptError::Storage(error)) => Err(error),
            Err(error) => {
                tracing::debug!(%peer, %error, "transaction not taken");
                let Some(fault) = fault_of_transaction(&error) else { return Ok(Verdict::Ignore) };
                self.blame(peer, fault);
                Ok(Verdict::Reject)
            }
        }
    }

    /// Announces again what pays best and still waits: whoever has it passes over it, and whoever restarted or
    /// was cut off when it was announced hears of it.
    pub(in crate::engine) fn reannounce(&mut self, now: Now) {
        if now.monotonic_ms.saturating_sub(self.reannounced_ms) < REANNOUNCE_INTERVAL_MS {
            return;
        }
        self.reannounced_ms = now.monotonic_ms;
        let latest = now.wall.secs().saturating_sub(REANNOUNCE_AGE_SECS);
        for checked in self.mempool.best_before(Time::from_secs(latest), MAX_REANNOUNCED) {
            self.publish(&checked);
        }
    }
}
