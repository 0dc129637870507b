//! The engine: what a node does, without sockets, clocks, threads or chance.
//!
//! One ledger, one mempool, and the conversation with peers. An event and the time go in, actions come out:
//! `on(event, now) -> actions`. The same engine runs live (`live/`) and on a simulator's clock, and the same
//! events give the same actions. A storage failure is the only error, and it must stop the node (threat C06).

mod advice;
pub mod conduct;
mod conversation;
pub mod figures;
pub mod frame;
pub mod mempool;
mod peers;
mod relay;
mod sizes;
pub mod sync;
#[cfg(test)]
mod tests;
mod trails;

use std::{collections::BTreeMap, sync::Arc};

use chain::{
    block::Block,
    check::NewBlock,
    error::SubmitError,
    hash::{BlockHash, TxId},
    ledger::{BlockId, Ledger, Submitted, Update},
    pow::Work,
    store::{Store, StoreError},
    time::Time,
    transaction::Transaction,
};

use self::{
    mempool::{
        AcceptError, MAX_MEMPOOL_MEMORY_BYTES, Mempool,
        file::{Restored, Saved},
    },
    peers::PeerState,
    relay::{Early, Relay},
    sync::{Pace, Window},
    trails::Trails,
};
pub use self::{
    relay::MAX_OWN_FILE_BYTES,
    sizes::{EnginePlants, Size},
};
use crate::p2p::{FromNet, Peer, RequestId, ToNet};

/// The time, as the engine is told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock, for rules alone.
    pub wall: Time,
    /// Milliseconds on a clock that never goes back, for everything that waits (threat S11).
    pub monotonic_ms: u64,
}

/// What happens to an engine.
#[derive(Debug)]
pub enum Event {
    /// The network speaks.
    Net(FromNet),
    /// Time passes; to be told about once a second.
    Tick,
    /// It is the time that [`Engine::next_wake_ms`] named.
    Wake,
    /// What [`Engine::has_ready`] said is ready may be done now; other events may come between.
    Ready,
}

/// What an engine wants done.
#[derive(Debug)]
pub enum Action {
    /// To be done by the network.
    Net(ToNet),
    /// To be told to whoever follows the chain.
    Update(Arc<Update>),
}

/// A node's engine.
#[derive(Debug)]
pub struct Engine<S> {
    ledger: Ledger<S>,
    mempool: Mempool,
    peers: BTreeMap<Peer, PeerState>,
    window: Window,
    pace: Pace,
    minimum_work: Work,
    relay: Relay,
    next_request: u64,
    agent: String,
    actions: Vec<Action>,
    storage_failed: Option<String>,
    /// When the last event came.
    heard_ms: u64,
    is_restoring: bool,
    /// The way of each block, for those who watch.
    trails: Trails,
    plants: EnginePlants,
}

impl<S: Store> Engine<S> {
    /// An engine over a ledger; `agent` is how it introduces itself to peers.
    #[must_use]
    pub fn new(ledger: Ledger<S>, agent: String) -> Self {
        Self {
            ledger,
            mempool: Mempool::new(MAX_MEMPOOL_MEMORY_BYTES),
            peers: BTreeMap::new(),
            window: Window::default(),
            pace: Pace::default(),
            minimum_work: Work::ZERO,
            relay: Relay::default(),
            next_request: 0,
            agent,
            actions: Vec::new(),
            storage_failed: None,
            heard_ms: 0,
            is_restoring: false,
            trails: Trails::default(),
            plants: EnginePlants::default(),
        }
    }

    /// The same with an empty mempool that occupies at most so much memory.
    #[must_use]
    pub fn with_mempool_limit(mut self, max_memory_bytes: u64) -> Self {
        self.mempool = Mempool::new(max_memory_bytes);
        self
    }

    /// The same that keeps no header of a chain that has not shown so much work (threat P01).
    #[must_use]
    pub const fn with_minimum_work(mut self, minimum_work: Work) -> Self {
        self.minimum_work = minimum_work;
        self
    }

    /// The ledger, to read from.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger<S> {
        &self.ledger
    }

    /// Puts the tip on the disk, for whoever needs the disk's state.
    ///
    /// # Errors
    /// [`StoreError`]; the node must stop.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        let flushed = self.ledger.flush();
        match &flushed {
            Ok(()) => self.trails.flushed(),
            Err(error) => self.note_storage(error),
        }
        flushed
    }

    /// The mempool, to read from.
    #[must_use]
    pub const fn mempool(&self) -> &Mempool {
        &self.mempool
    }

    /// Whether blocks are known to exist that are not here yet.
    #[must_use]
    pub fn is_catching_up(&self) -> bool {
        let tree = self.ledger.tree();
        tree.node(tree.best_header()).work() > self.ledger.tip().work
    }

    /// Takes in one event and returns what is to be done about it, in order.
    ///
    /// # Errors
    /// [`StoreError`]: the node must stop.
    pub fn on(&mut self, event: Event, now: Now) -> Result<Vec<Action>, StoreError> {
        self.heard_ms = now.monotonic_ms;
        self.connect_pushed(now)?;
        if !self.window.is_ready {
            self.window.idle_since_ms.get_or_insert(now.monotonic_ms);
        }
        match event {
            Event::Net(FromNet::Connected { peer, quota, .. }) => self.greet(peer, quota, now),
            Event::Net(FromNet::Disconnected { peer }) => {
                self.peers.remove(&peer);
                self.window.forget_peer(peer);
                self.forget_relay_peer(peer);
                self.drop_unwanted();
                self.fetch(now);
            }
            Event::Net(FromNet::Request { peer, reply, request }) => {
                self.answer(peer, reply, request, now)?;
            }
            Event::Net(FromNet::Response { peer, id, result }) => {
                self.on_response(peer, id, result, now)?;
            }
            Event::Net(FromNet::Transaction { peer, gossip, transaction }) => {
                self.on_gossip(peer, gossip, *transaction, now)?;
            }
            Event::Net(FromNet::Fault { peer, misconduct }) => self.blame(peer, misconduct),
            // Where we listen concerns whoever bootstraps from us, not the ledger.
            Event::Net(FromNet::Listening { .. }) => {}
            Event::Tick => {
                self.mempool.expire(now.wall);
                self.on_tick(now)?;
            }
            Event::Wake => {
                self.watch_stalls(now);
                self.fetch(now);
            }
            Event::Ready if self.window.is_ready => self.connect_ready(now)?,
            Event::Ready => {}
        }
        Ok(self.drain())
    }

    /// Whether there is more to do at once, with [`Event::Ready`]: bodies that came are connected in steps, so that
    /// nobody waits long, and a block that was passed on is connected once that was sent. An engine that is not told
    /// goes on at its next event, or tick.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.window.is_ready || self.has_pushed()
    }

    /// Whether a block that was passed on waits for [`Event::Ready`].
    #[must_use]
    pub fn has_pushed(&self) -> bool {
        self.relay.has_ready()
    }

    /// Whether the store failed under a call whose own error went to somebody else: then the node must stop,
    /// whatever that somebody makes of it (threat C06).
    ///
    /// # Errors
    /// [`StoreError`], in the words of the first failure.
    pub fn check_storage(&self) -> Result<(), StoreError> {
        self.storage_failed.as_ref().map_or(Ok(()), |why| Err(StoreError::new(why.clone())))
    }

    fn note_storage(&mut self, error: &StoreError) {
        self.storage_failed.get_or_insert_with(|| error.to_string());
    }

    /// What is to be done since the last call.
    pub fn drain(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    fn send(&mut self, message: ToNet) {
        self.actions.push(Action::Net(message));
    }

    fn next_request_id(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// Takes a block that was mined here or submitted by a user, and announces it. Who can have actions done in
    /// between calls [`Self::announce_found`] and [`Self::submit_checked`].
    ///
    /// # Errors
    /// Why it was not taken. [`SubmitError::Storage`] must stop the node.
    pub fn submit_block(&mut self, block: Block, now: Now) -> Result<Update, SubmitError> {
        let checked = self.announce_found(block, now)?;
        self.submit_checked(checked, now)
    }

    /// Takes a transaction from a user, and announces it.
    ///
    /// # Errors
    /// Why it was not taken. [`AcceptError::Storage`] must stop the node.
    pub fn submit_transaction(
        &mut self,
        transaction: impl Into<Arc<Transaction>>,
        now: Now,
    ) -> Result<TxId, AcceptError> {
        let mut outcomes = self.submit_transactions(vec![transaction.into()], now);
        outcomes.pop().expect("one transaction has one outcome")
    }

    /// Takes transactions from a user, parents before children, and announces them: all coins are looked up
    /// together and all signatures verified together.
    ///
    /// # Errors
    /// For each, why it was not taken. [`AcceptError::Storage`] must stop the node.
    pub fn submit_transactions(
        &mut self,
        transactions: Vec<Arc<Transaction>>,
        now: Now,
    ) -> Vec<Result<TxId, AcceptError>> {
        let spans: Vec<_> =
            transactions.iter().map(|transaction| trails::payment(None, || transaction.txid())).collect();
        let outcomes = self.mempool.accept_batch(transactions, &self.ledger, now.wall);
        for (outcome, span) in outcomes.iter().zip(&spans) {
            trails::judged(span, outcome);
            match outcome {
                Ok(txid) => {
                    self.remember(txid);
                    self.relay.arrived_transaction(txid);
                    self.look_after(txid, now);
                    self.publish_waiting(txid);
                }
                Err(AcceptError::Storage(error)) => self.note_storage(error),
                Err(_) => {}
            }
        }
        outcomes
    }

    /// Says whether there is more to come of what [`Self::restore_mempool`] takes back.
    pub const fn set_restoring(&mut self, is_restoring: bool) {
        self.is_restoring = is_restoring;
    }

    /// Whether the mempool's file holds more than the mempool does yet, so that it must not be written.
    #[must_use]
    pub const fn is_restoring(&self) -> bool {
        self.is_restoring
    }

    /// Takes transactions of a file in which the mempool was saved.
    ///
    /// # Errors
    /// [`StoreError`]: the node must stop.
    pub fn restore_mempool(&mut self, saved: Vec<Saved>, now: Now) -> Result<Restored, StoreError> {
        let ids: Vec<TxId> = saved.iter().map(|saved| saved.transaction.txid()).collect();
        let restored = self.mempool.restore(saved, &self.ledger, now.wall)?;
        ids.iter().for_each(|txid| self.remember(txid));
        Ok(restored)
    }

    /// The ledger need not verify again, in a block, what waits here.
    fn remember(&mut self, txid: &TxId) {
        if let Some(entry) = self.mempool.get(txid) {
            self.ledger.remember(Arc::clone(entry.verified()));
        }
    }

    /// Gives a block to the ledger and sees to all that follows from it but its announcement.
    fn take_block(&mut self, block: Arc<Block>, now: Now) -> Result<Update, SubmitError> {
        let outcome = self.take_new(Block::clone(&block).into(), now);
        if let Err(SubmitError::TooEarly { .. }) = outcome {
            self.keep_early(Early::Block(block), now);
        }
        outcome
    }

    /// As [`Self::take_block`], but a block that comes too early is not kept.
    fn take_new(&mut self, block: NewBlock, now: Now) -> Result<Update, SubmitError> {
        let Submitted { update, mut outcomes } = self.take_blocks(vec![block], now)?;
        match outcomes.pop() {
            Some((_, Err(error))) => Err(error),
            _ => Ok(update),
        }
    }

    /// As [`Self::take_block`], for blocks that came together and whose headers are known: their signatures are
    /// verified together.
    fn take_blocks(&mut self, blocks: Vec<NewBlock>, now: Now) -> Result<Submitted, StoreError> {
        let mut payments = BTreeMap::new();
        for block in &blocks {
            let (hash, count) = (block.header().hash(), block.transaction_count());
            payments.insert(hash, count as u64);
            self.trails.arrived(hash, count);
        }
        let submitted = self.ledger.submit_many(blocks, now.wall)?;
        for (hash, outcome) in &submitted.outcomes {
            self.note_arrival(hash);
            if let Err(error) = outcome {
                self.trails.refused(hash, error);
            }
        }
        self.look_for_ready();
        self.follow_update(&submitted.update, &payments, now)?;
        Ok(submitted)
    }

    /// A body is here, whoever sent it: nobody needs to send it any more.
    fn note_arrival(&mut self, hash: &BlockHash) {
        if let Some(id) = self.stored_id(hash) {
            self.window.arrived(&id);
        }
        self.relay.arrived(hash);
    }

    /// The place of a block whose body is here, or not needed.
    fn stored_id(&self, hash: &BlockHash) -> Option<BlockId> {
        let tree = self.ledger.tree();
        let node = tree.find(hash).map(|id| tree.node(id))?;
        (node.has_body() || node.is_invalid()).then_some(BlockId { height: node.height(), hash: *hash })
    }

    /// Sees to what follows from an update but its announcement; `payments` says how many each of the blocks has that
    /// came with it.
    fn follow_update(
        &mut self,
        update: &Update,
        payments: &BTreeMap<BlockHash, u64>,
        now: Now,
    ) -> Result<(), StoreError> {
        let mut connected = 0;
        for id in &update.applied {
            connected += match payments.get(&id.hash) {
                Some(count) => *count,
                // It came earlier and waited for more work, or for an order.
                None => {
                    self.ledger.checked_block(&id.hash)?.map_or(0, |block| block.transactions().len() as u64)
                }
            };
        }
        self.pace.connected(update.applied.len() as u64, connected);
        for (id, error) in &update.refused {
            tracing::warn!(hash = %id.hash, height = %id.height, %error, "block refused");
        }
        self.trails.moved(update);
        if update.moved_tip() { self.follow(update, now) } else { Ok(()) }
    }

    fn follow(&mut self, update: &Update, now: Now) -> Result<(), StoreError> {
        let tip = self.ledger.tip();
        if update.reverted.is_empty() {
            tracing::info!(height = %tip.id.height, hash = %tip.id.hash, "new tip");
        } else {
            let depth = update.reverted.len();
            tracing::warn!(height = %tip.id.height, hash = %tip.id.hash, depth, "reorganisation");
        }
        let returned = if self.plants.stale_mempool {
            Vec::new()
        } else {
            self.mempool.follow(update, &self.ledger, now.wall)?
        };
        for checked in returned.iter().take(relay::MAX_REANNOUNCED) {
            self.publish(checked);
        }
        self.note_mined(update)?;
        self.actions.push(Action::Update(Arc::new(update.clone())));
        Ok(())
    }
}
