//! Transactions: announced, judged when they come, and announced again while they wait.

use std::sync::Arc;

use chain::{
    check::CheckedTransaction,
    error::SpendError,
    hash::TxId,
    ledger::Update,
    store::{Store, StoreError},
    time::Time,
    transaction::{OutPoint, Transaction},
};

use super::{orphans::Orphan, own::Own};
use crate::{
    engine::{
        Engine, Now,
        conduct::fault_of_transaction,
        frame::FileError,
        mempool::{AcceptError, Giver},
        peers::Asked,
        trails,
    },
    p2p::{
        Gossip, Peer, RequestId, ToNet,
        wire::{MAX_ASKED_TRANSACTIONS, MAX_TRANSACTIONS_RESPONSE_BYTES, Request, Verdict},
    },
};

/// Transactions that are announced again at once, at the most.
pub(in crate::engine) const MAX_REANNOUNCED: usize = 200;
/// How often what waits is announced again: gossip forgets what it has seen after a minute.
const REANNOUNCE_INTERVAL_MS: u64 = 65_000;
/// How long a transaction must have waited to be announced again.
const REANNOUNCE_AGE_SECS: u32 = 60;
/// Memory of the orphans that are judged again in one turn, in bytes: their signatures are bounded with it, so that
/// whoever else wants something waits no longer than for one large transaction (threat P04).
const TURN_BYTES: usize = 100_000;

/// A transaction of a peer that is to be judged.
struct Given {
    peer: Peer,
    /// What its verdict is owed to, if it was gossiped.
    gossip: Option<Gossip>,
    transaction: Arc<Transaction>,
    since_ms: u64,
}

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

    /// Judges what a peer gossiped. Its verdict may come later, but it comes.
    pub(in crate::engine) fn on_gossip(
        &mut self,
        peer: Peer,
        gossip: Gossip,
        transaction: Transaction,
        now: Now,
    ) -> Result<(), StoreError> {
        let transaction = Arc::new(transaction);
        let given = Given { peer, gossip: Some(gossip), transaction, since_ms: now.monotonic_ms };
        self.judge(given, now)?;
        self.resolve_orphans(now)
    }

    fn judge(&mut self, given: Given, now: Now) -> Result<(), StoreError> {
        let Given { peer, gossip, ref transaction, .. } = given;
        // Not the session's number: who comes back under a new one has the same share as before (threat M08).
        let giver = Giver(self.peers.get(&peer).map_or(peer.0, |state| state.quota));
        let span = trails::payment(Some(peer), || transaction.txid());
        let offered = vec![Arc::clone(transaction)];
        let mut outcomes = self.mempool.accept_from(giver, offered, &self.ledger, now.wall);
        let outcome = outcomes.pop().expect("one transaction has one outcome");
        trails::judged(&span, &outcome);
        match outcome {
            Ok(txid) => {
                tracing::debug!(%peer, %txid, "transaction accepted");
                self.remember(&txid);
                self.relay.arrived_transaction(&txid);
                match gossip {
                    Some(gossip) => self.send(ToNet::Verdict { gossip, verdict: Verdict::Accept }),
                    // Nobody else has forwarded it, or gossip no longer waits to.
                    None => self.send(ToNet::Publish(Arc::clone(transaction))),
                }
            }
            Err(AcceptError::Storage(error)) => return Err(error),
            Err(AcceptError::Spend(SpendError::MissingCoin { .. })) => self.keep_orphan(given, now)?,
            Err(error) => {
                let verdict = self.refuse(peer, &error);
                self.tell_verdict(gossip, verdict);
            }
        }
        Ok(())
    }

    /// What becomes of a transaction that is not taken, and of who gave it.
    fn refuse(&mut self, peer: Peer, error: &AcceptError) -> Verdict {
        tracing::debug!(%peer, %error, "transaction not taken");
        match fault_of_transaction(error) {
            None => Verdict::Ignore,
            Some(fault) => {
                self.blame(peer, fault);
                Verdict::Reject
            }
        }
    }

    fn tell_verdict(&mut self, gossip: Option<Gossip>, verdict: Verdict) {
        if let Some(gossip) = gossip {
            self.send(ToNet::Verdict { gossip, verdict });
        }
    }

    /// Keeps a transaction until what it spends is here, and asks who gave it for that.
    fn keep_orphan(&mut self, given: Given, now: Now) -> Result<(), StoreError> {
        let parents = self.lacking_parents(&given.transaction)?;
        let id = given.transaction.witness_txid();
        let Given { peer, gossip, transaction, since_ms } = given;
        tracing::debug!(%peer, parents = parents.len(), "a transaction came before what it spends");
        let orphan = Orphan { transaction, giver: peer, gossip, parents: parents.clone(), since_ms };
        let evicted = self.relay.orphans.keep(id, orphan);
        self.dismiss_orphans(evicted);
        for parent in &parents {
            if self.relay.orphans.lack(parent) {
                self.relay.parents.want(*parent);
            }
        }
        self.ask_for_parents(peer, &parents, now);
        Ok(())
    }

    /// The transactions that made coins which neither the ledger nor the mempool has. None where an output of
    /// a parent that is here does not exist: such a transaction never becomes valid.
    fn lacking_parents(&self, transaction: &Transaction) -> Result<Vec<TxId>, StoreError> {
        let inputs = &transaction.inputs;
        let waits = |txid: &TxId| self.mempool.get(txid).is_some();
        let coins = self.ledger.coins(inputs)?;
        let mut parents = Vec::new();
        for (input, coin) in inputs.iter().zip(coins) {
            if coin.is_none() && !waits(&input.txid) && !parents.contains(&input.txid) {
                if parents.len() > MAX_ASKED_TRANSACTIONS {
                    break;
                }
                parents.push(input.txid);
            }
        }
        Ok(parents)
    }

    fn dismiss_orphans(&mut self, orphans: Vec<Orphan>) {
        for orphan in orphans {
            self.tell_verdict(orphan.gossip, Verdict::Ignore);
        }
        let orphans = &self.relay.orphans;
        self.relay.parents.retain(|id| orphans.lack(id));
    }

    fn ask_for_parents(&mut self, peer: Peer, parents: &[TxId], now: Now) {
        let ids = self.relay.parents.askable(peer, parents, MAX_ASKED_TRANSACTIONS);
        if ids.is_empty() || !self.peers.contains_key(&peer) {
            return;
        }
        let id = self.next_request_id();
        self.relay.parents.asked(id, peer, ids.clone(), now.monotonic_ms);
        self.remember_request(peer, id, Asked::Transactions, now);
        self.send(ToNet::Request { peer, id, request: Request::Transactions(ids) });
    }

    /// A peer gives transactions that it was asked for.
    pub(in crate::engine) fn on_transactions(
        &mut self,
        peer: Peer,
        id: RequestId,
        given: Vec<Arc<Transaction>>,
        now: Now,
    ) -> Result<(), StoreError> {
        let asked = self.relay.parents.close(id);
        for transaction in given {
            // What was not asked for is not looked at.
            if asked.contains(&transaction.txid()) {
                let given = Given { peer, gossip: None, transaction, since_ms: now.monotonic_ms };
                self.judge(given, now)?;
            }
        }
        self.resolve_orphans(now)?;
        self.seek_parents(now);
        Ok(())
    }

    /// A peer does not answer what it was asked for.
    pub(in crate::engine) fn on_no_transactions(&mut self, id: RequestId, now: Now) {
        self.relay.parents.close(id);
        self.seek_parents(now);
    }

    /// Asks the next peers for what is still lacked, and forgets what nobody has.
    fn seek_parents(&mut self, now: Now) {
        let orphans = &self.relay.orphans;
        self.relay.parents.retain(|id| orphans.lack(id));
        let idle = self.relay.parents.idle();
        let peers: Vec<Peer> = self.peers.keys().copied().collect();
        for id in &idle {
            if self.relay.parents.is_hopeless(id, peers.len()) {
                let lost = self.relay.orphans.take_lacking(id);
                self.dismiss_orphans(lost);
            }
        }
        if idle.is_empty() {
            return;
        }
        for peer in peers {
            self.ask_for_parents(peer, &idle, now);
        }
    }

    /// The transactions that a peer asks for, as far as they wait here.
    pub(in crate::engine) fn waiting_of(&self, ids: &[TxId]) -> Vec<Arc<Transaction>> {
        let mut bytes = 0;
        let mut found = Vec::new();
        for entry in ids.iter().filter_map(|id| self.mempool.get(id)) {
            bytes += usize::try_from(entry.transaction().size()).unwrap_or(usize::MAX);
            if bytes > MAX_TRANSACTIONS_RESPONSE_BYTES {
                break;
            }
            found.push(Arc::clone(entry.transaction().transaction()));
        }
        found
    }

    /// Judges orphans again whose parents have come, within one turn's work; what is left waits for the next event.
    pub(in crate::engine) fn resolve_orphans(&mut self, now: Now) -> Result<(), StoreError> {
        let mut bytes = 0;
        while bytes < TURN_BYTES
            && let Some((_, orphan)) = self.relay.orphans.next_due()
        {
            bytes += orphan.memory_bytes();
            let Orphan { transaction, giver, gossip, since_ms, .. } = orphan;
            self.judge(Given { peer: giver, gossip, transaction, since_ms }, now)?;
        }
        Ok(())
    }

    /// Time passes for all that waits.
    pub(in crate::engine) fn on_transactions_tick(&mut self, now: Now) -> Result<(), StoreError> {
        self.resolve_orphans(now)?;
        let expired = self.relay.orphans.expire(now.monotonic_ms);
        self.dismiss_orphans(expired);
        for gossip in self.relay.orphans.release(now.monotonic_ms) {
            self.tell_verdict(Some(gossip), Verdict::Ignore);
        }
        self.relay.parents.give_up(now.monotonic_ms);
        self.seek_parents(now);
        self.reannounce_own(now)?;
        self.reannounce(now);
        Ok(())
    }

    /// A peer is gone, and with it what it owes.
    pub(in crate::engine) fn forget_relay_peer(&mut self, peer: Peer) {
        self.relay.builds.forget_peer(peer);
        self.relay.parents.forget_peer(peer);
    }

    /// What this node's users sent is done once it, or what spends the same coins, is mined; and what waits for a
    /// parent waits no longer.
    pub(in crate::engine) fn note_mined(&mut self, update: &Update) -> Result<(), StoreError> {
        if self.relay.own.is_empty() && self.relay.orphans.is_empty() {
            return Ok(());
        }
        for id in &update.applied {
            let Some(block) = self.ledger.checked_block(&id.hash)? else { continue };
            for mined in block.transactions() {
                self.relay.own.mined(mined);
                self.relay.arrived_transaction(&mined.txid());
            }
        }
        Ok(())
    }

    /// Looks after a transaction that a user sent.
    pub(in crate::engine) fn look_after(&mut self, txid: &TxId, now: Now) {
        if let Some(checked) = self.mempool.get(txid).map(|entry| Arc::clone(entry.transaction())) {
            self.relay.own.add(*txid, checked.transaction(), now.monotonic_ms);
        }
    }

    /// The file of what users sent and is not mined yet, waiting or not.
    #[must_use]
    pub fn own_to_bytes(&self) -> Vec<u8> {
        self.relay.own.to_bytes(&self.ledger.chain().id())
    }

    /// Looks after what users sent before the node was started, as a file of [`Self::own_to_bytes`] has it; how many
    /// there are. It takes the place of what is looked after so far: to be called before users can send anything.
    ///
    /// # Errors
    /// [`FileError`]; nothing has changed then.
    pub fn restore_own(&mut self, bytes: &[u8], now: Now) -> Result<usize, FileError> {
        self.relay.own = Own::from_bytes(bytes, &self.ledger.chain().id(), now.monotonic_ms)?;
        Ok(self.relay.own.len())
    }

    /// Announces again what users sent, and offers it to the mempool again where it is not there any more.
    fn reannounce_own(&mut self, now: Now) -> Result<(), StoreError> {
        // What is still to come of the mempool's file may be these, or what they stand on.
        if self.is_restoring {
            return Ok(());
        }
        for (txid, transaction) in self.relay.own.take_due(now.monotonic_ms) {
            if self.publish_waiting(&txid) {
                self.relay.own.waits(&txid);
                continue;
            }
            match self.mempool.accept(Arc::clone(&transaction), &self.ledger, now.wall) {
                Ok(_) => {
                    tracing::info!(%txid, "a transaction of this node's users waits again");
                    self.relay.own.waits(&txid);
                    self.remember(&txid);
                    self.relay.arrived_transaction(&txid);
                    self.publish_waiting(&txid);
                }
                Err(AcceptError::Storage(error)) => return Err(error),
                Err(error) => self.refuse_own(&txid, &transaction, &error)?,
            }
        }
        Ok(())
    }

    /// What a user sent is not taken again: it is let go if it was mined, and if it was refused too often for what
    /// neither time nor a better place in the mempool mends.
    fn refuse_own(
        &mut self,
        txid: &TxId,
        transaction: &Transaction,
        error: &AcceptError,
    ) -> Result<(), StoreError> {
        tracing::debug!(%txid, %error, "a transaction of users does not wait again");
        // A coin that is missing may be in one of the blocks that are still to come.
        let counts = !error.may_pass() && !self.is_catching_up();
        if self.has_coins_of(txid, transaction)? {
            tracing::debug!(%txid, "a transaction of users was mined");
            self.relay.own.remove(txid);
        } else if counts && self.relay.own.refused(txid) {
            tracing::warn!(%txid, %error, "a transaction of this node's users is given up");
        }
        Ok(())
    }

    /// Whether coins that a transaction made are on the chain: so it was mined, whoever saw its block connected.
    fn has_coins_of(&self, txid: &TxId, transaction: &Transaction) -> Result<bool, StoreError> {
        let made: Vec<OutPoint> =
            (0..).zip(&transaction.outputs).map(|(index, _)| OutPoint { txid: *txid, index }).collect();
        Ok(self.ledger.coins(&made)?.iter().any(Option::is_some))
    }

    /// Announces again what pays best and still waits: whoever has it passes over it, and whoever restarted or
    /// was cut off when it was announced hears of it.
    fn reannounce(&mut self, now: Now) {
        if now.monotonic_ms.saturating_sub(self.relay.reannounced_ms) < REANNOUNCE_INTERVAL_MS {
            return;
        }
        self.relay.reannounced_ms = now.monotonic_ms;
        let latest = now.wall.secs().saturating_sub(REANNOUNCE_AGE_SECS);
        for checked in self.mempool.best_before(Time::from_secs(latest), MAX_REANNOUNCED) {
            self.publish(&checked);
        }
    }
}
