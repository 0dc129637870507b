//! The engine's own thread: bounded queues in, facts out.
//!
//! One thread owns the engine, so that there are no locks around the ledger and every reader sees one tip.
//! Whoever wants something sends a closure; whoever wants to know what happened watches [`Pulse`] or follows
//! the broadcast of updates.

use std::{
    collections::VecDeque,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use chain::{
    block::Block,
    check::CheckedBlock,
    error::SubmitError,
    ledger::{Tip, Update},
    store::StoreError,
};
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, watch};

use super::{
    clock::Clock,
    saved_files::{MEMPOOL_FILE, OWN_FILE, SavedFiles},
};
use crate::{
    engine::{Action, Engine, Event, Now},
    metrics::Metrics,
    p2p::{FromNet, ToNet},
    store::{RocksStore, failpoint, index::IndexHandle},
};

/// Closures that wait for the engine, at the most; then callers wait.
const MAX_CALLS: usize = 256;
/// Messages to the network that wait, at the most; then the engine waits, which the network never does.
pub const MAX_TO_NET: usize = 1_024;
/// Messages from the network that wait, at the most; then the network stops reading.
pub const MAX_FROM_NET: usize = 256;
/// Updates that a follower may lag behind before it must look at the chain itself.
const MAX_UPDATES: usize = 1_024;
/// How often the engine is told that time passes.
const TICK: Duration = Duration::from_secs(1);
/// How long what a block changed stays in memory alone while nothing else is to come: a block crosses a network first,
/// on the cores that several nodes may share. Its body is in its file before.
const FLUSH_DELAY: Duration = Duration::from_millis(100);
/// Transactions of the saved mempool that are verified between two events, at the most.
const MAX_RESTORED: usize = 500;

/// The engine of a running node.
pub type LiveEngine = Engine<RocksStore>;

type Call = Box<dyn FnOnce(&mut LiveEngine, Now) + Send>;

/// What changes most often, for those who watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// The tip.
    pub tip: Tip,
    /// How often the mempool has changed.
    pub mempool_changes: u64,
    /// How many blocks the best header is above the tip.
    pub blocks_behind: u32,
}

/// The engine has ended: the node is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the node is shutting down")]
pub struct Stopped;

/// A way to reach the engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    calls: mpsc::Sender<Call>,
    pulse: watch::Receiver<Pulse>,
    updates: broadcast::Sender<Arc<Update>>,
    clock: Clock,
}

impl EngineHandle {
    /// Runs `call` on the engine's thread, between two events, and returns its result. It holds up the whole
    /// node, so it must be short.
    ///
    /// # Errors
    /// [`Stopped`] where the engine has ended.
    pub async fn call<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut LiveEngine, Now) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (answer, result) = tokio::sync::oneshot::channel();
        let call: Call = Box::new(move |engine, now| {
            // Whoever asked may have gone; then nobody wants the answer.
            drop(answer.send(call(engine, now)));
        });
        self.calls.send(call).await.map_err(|_| Stopped)?;
        result.await.map_err(|_| Stopped)
    }

    /// As [`Self::call`], from a thread that may block.
    ///
    /// # Errors
    /// [`Stopped`] where the engine has ended.
    pub fn blocking_call<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut LiveEngine, Now) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (answer, result) = tokio::sync::oneshot::channel();
        let call: Call = Box::new(move |engine, now| drop(answer.send(call(engine, now))));
        self.calls.blocking_send(call).map_err(|_| Stopped)?;
        result.blocking_recv().map_err(|_| Stopped)
    }

    /// Has a block taken that was mined here or submitted by a user: its outcome, and the tip after it. It is
    /// announced first and connected then, so that the whole network works on it at once.
    ///
    /// # Errors
    /// [`Stopped`] where the engine has ended.
    pub async fn submit_block(&self, block: Block) -> Result<(Result<Update, SubmitError>, Tip), Stopped> {
        let handle = self.clone();
        // Whoever asked may go in between: what was announced is taken all the same.
        let taken = tokio::spawn(async move {
            let found = handle.call(move |engine, now| announce(engine, block, now)).await?;
            handle
                .call(move |engine, now| {
                    let outcome = found.and_then(|found| found.take(engine, now));
                    (outcome, engine.ledger().tip())
                })
                .await
        });
        taken.await.unwrap_or(Err(Stopped))
    }

    /// As [`Self::submit_block`], from a thread that may block.
    ///
    /// # Errors
    /// [`Stopped`] where the engine has ended.
    pub fn blocking_submit_block(&self, block: Block) -> Result<Result<Update, SubmitError>, Stopped> {
        let found = self.blocking_call(move |engine, now| announce(engine, block, now))?;
        self.blocking_call(move |engine, now| found.and_then(|found| found.take(engine, now)))
    }

    /// The tip and the mempool's count of changes, whenever they change.
    #[must_use]
    pub fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.clone()
    }

    /// Every update from now on. A follower that lags looks at the chain from the last block that it saw.
    #[must_use]
    pub fn updates(&self) -> broadcast::Receiver<Arc<Update>> {
        self.updates.subscribe()
    }

    /// The node's clock.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// A block that was announced and is still to be taken.
struct Announced {
    block: CheckedBlock,
    /// Whether it was here before.
    was_here: bool,
}

fn announce(engine: &mut LiveEngine, block: Block, now: Now) -> Result<Announced, SubmitError> {
    let tree = engine.ledger().tree();
    let was_here = tree.find(&block.hash()).is_some_and(|id| tree.node(id).has_body());
    Ok(Announced { block: engine.announce_found(block, now)?, was_here })
}

impl Announced {
    fn take(self, engine: &mut LiveEngine, now: Now) -> Result<Update, SubmitError> {
        match engine.submit_checked(self.block, now) {
            // A peer that was faster has given it back to us in between: it is taken, by another way.
            Err(SubmitError::Duplicate) if !self.was_here => {
                Ok(Update { reverted: Vec::new(), applied: Vec::new(), refused: Vec::new() })
            }
            outcome => outcome,
        }
    }
}

/// The engine's queues to and from the network.
#[derive(Debug)]
pub struct NetQueues {
    /// What the network tells.
    pub from: mpsc::Receiver<FromNet>,
    /// What the network is told.
    pub to: mpsc::Sender<ToNet>,
}

/// Why the engine ended.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The thread or its runtime could not be started.
    #[error("the engine's thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
    /// The store failed; the node must stop (threat C06).
    #[error(transparent)]
    Storage(#[from] StoreError),
}

/// What the engine's thread keeps up beside the engine.
#[derive(Clone, Debug)]
pub struct Beside {
    /// The files that what waits and what users sent are taken back from at the start, and written to at an orderly
    /// end.
    pub saved: SavedFiles,
    /// The indexer, which is woken while it is behind the tip.
    pub index: Option<IndexHandle>,
    /// Where what happens is counted.
    pub metrics: Metrics,
}

/// Starts the engine's thread. It ends when `shutdown` turns true or the store fails; the receiver then gets the
/// result, or an error where the thread panicked.
///
/// # Errors
/// [`EngineError::Thread`].
pub fn spawn(
    engine: LiveEngine,
    clock: Clock,
    net: NetQueues,
    beside: Beside,
    shutdown: watch::Receiver<bool>,
) -> Result<(EngineHandle, tokio::sync::oneshot::Receiver<Result<(), EngineError>>), EngineError> {
    let (calls, incoming) = mpsc::channel(MAX_CALLS);
    let (pulse_sender, pulse) = watch::channel(pulse_of(&engine));
    let (updates, _) = broadcast::channel(MAX_UPDATES);
    let handle = EngineHandle { calls, pulse, updates: updates.clone(), clock };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (ended, end) = tokio::sync::oneshot::channel();
    let live = Live { engine, clock, to_net: net.to, pulse: pulse_sender, updates, beside };
    thread::Builder::new().name("engine".into()).spawn(move || {
        // Nobody waits for the end where the whole node is being torn down.
        drop(ended.send(runtime.block_on(live.run(net.from, incoming, shutdown))));
    })?;
    Ok((handle, end))
}

fn pulse_of(engine: &LiveEngine) -> Pulse {
    let ledger = engine.ledger();
    let (tip, tree) = (ledger.tip(), ledger.tree());
    let best = tree.node(tree.best_header()).height();
    Pulse {
        tip,
        mempool_changes: engine.mempool().changes(),
        blocks_behind: best.since(tip.id.height).unwrap_or(0),
    }
}

/// Waits until a time of the clock that never goes back, in milliseconds; for ever where there is none.
async fn sleep_until(wake_ms: Option<u64>, clock: &Clock) {
    match wake_ms {
        Some(wake_ms) => {
            let left_ms = wake_ms.saturating_sub(clock.now().monotonic_ms);
            tokio::time::sleep(Duration::from_millis(left_ms)).await;
        }
        None => std::future::pending().await,
    }
}

/// Waits for a moment; for ever where there is none.
async fn until_due(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

struct Live {
    engine: LiveEngine,
    clock: Clock,
    to_net: mpsc::Sender<ToNet>,
    pulse: watch::Sender<Pulse>,
    updates: broadcast::Sender<Arc<Update>>,
    beside: Beside,
}

impl Live {
    /// What waits and what users sent is worth keeping, and not worth an error.
    fn save(&self) {
        let saved = &self.beside.saved;
        if let Err(error) = saved.save_own(&self.engine) {
            tracing::warn!(file = OWN_FILE, %error, "what users sent is not saved");
        }
        // A file that is not read to its end yet holds more than the mempool does.
        if !self.engine.is_restoring()
            && let Err(error) = saved.save_mempool(&self.engine)
        {
            tracing::warn!(file = MEMPOOL_FILE, %error, "the mempool is not saved");
        }
    }

    /// Does what the engine wants done, and then has it connect what it passed on.
    async fn act(&mut self, mut actions: Vec<Action>, mut begun: Instant) -> Result<(), EngineError> {
        loop {
            let took = begun.elapsed();
            for action in actions {
                match action {
                    // The network ends before the engine only at shutdown; then there is nobody to tell.
                    Action::Net(message) => drop(self.to_net.send(message).await),
                    // Nobody may be following.
                    Action::Update(update) => {
                        self.beside.metrics.moved(&update, took);
                        drop(self.updates.send(update));
                    }
                }
            }
            if !self.engine.has_pushed() {
                return Ok(());
            }
            begun = Instant::now();
            actions = self.engine.on(Event::Ready, self.clock.now())?;
        }
    }

    async fn run(
        mut self,
        mut from_net: mpsc::Receiver<FromNet>,
        mut calls: mpsc::Receiver<Call>,
        mut shutdown: watch::Receiver<bool>,
    ) -> Result<(), EngineError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let chain = self.engine.ledger().chain().id();
        // Verified anew between other events: who starts with a full mempool answers at once.
        let mut saved = VecDeque::from(self.beside.saved.read_mempool(&chain));
        self.engine.set_restoring(!saved.is_empty());
        let own = self.beside.saved.restore_own(&mut self.engine, self.clock.now());
        tracing::debug!(transactions = own, "what users sent is looked after again");
        let mut flushed = self.pulse.borrow().tip;
        // When what the last blocks changed is to be on the disk.
        let mut flush_due: Option<Instant> = None;
        loop {
            failpoint::beat("engine");
            let mut is_tick = false;
            let wake_ms = self.engine.next_wake_ms();
            let begun;
            let actions = tokio::select! {
                // On an orderly exit all is on the disk, so that not even a power loss costs a block.
                _ = shutdown.wait_for(|stop| *stop) => {
                    self.save();
                    self.engine.flush()?;
                    return Ok(self.engine.ledger().store().sync()?);
                }
                Some(message) = from_net.recv() => {
                    begun = Instant::now();
                    self.engine.on(Event::Net(message), self.clock.now())?
                }
                Some(call) = calls.recv() => {
                    begun = Instant::now();
                    call(&mut self.engine, self.clock.now());
                    self.engine.check_storage()?;
                    self.engine.drain()
                }
                // What has come already is heard first: what it says may be what was waited for.
                () = sleep_until(wake_ms, &self.clock), if wake_ms.is_some() && from_net.is_empty() => {
                    begun = Instant::now();
                    self.engine.on(Event::Wake, self.clock.now())?
                }
                () = std::future::ready(()), if self.engine.has_ready() => {
                    begun = Instant::now();
                    self.engine.on(Event::Ready, self.clock.now())?
                }
                () = until_due(flush_due), if flush_due.is_some() && !self.engine.is_catching_up() => {
                    begun = Instant::now();
                    Vec::new()
                }
                _ = ticks.tick() => {
                    is_tick = true;
                    begun = Instant::now();
                    self.engine.on(Event::Tick, self.clock.now())?
                }
                () = std::future::ready(()), if !saved.is_empty() => {
                    begun = Instant::now();
                    let batch = saved.drain(..saved.len().min(MAX_RESTORED)).collect();
                    let restored = self.engine.restore_mempool(batch, self.clock.now())?;
                    self.engine.set_restoring(!saved.is_empty());
                    tracing::debug!(taken = restored.taken, dropped = restored.dropped, "mempool restored");
                    self.engine.drain()
                }
            };
            self.act(actions, begun).await?;
            let pulse = pulse_of(&self.engine);
            let rests = is_tick && self.pulse.borrow().tip.id == pulse.tip.id;
            self.pulse.send_if_modified(|last| {
                let changed = *last != pulse;
                *last = pulse;
                changed
            });
            // After the tip was announced, and when the block is likely to have crossed the network: nobody waits for
            // the disk, and what is there to lose stays small. While there is more to come, the store decides when a
            // batch is worth it; but what is said to come and does not must not keep coins off the disk.
            if flushed != pulse.tip && flush_due.is_none() {
                flush_due = Some(Instant::now() + FLUSH_DELAY);
            }
            let is_due = flush_due.is_some_and(|due| due <= Instant::now());
            if rests || ((is_due || is_tick) && !self.engine.is_catching_up()) {
                let begun = Instant::now();
                self.engine.flush()?;
                flush_due = None;
                if flushed != pulse.tip {
                    flushed = pulse.tip;
                    self.beside.metrics.flushed(begun.elapsed());
                }
            }
            // What is flushed later, at a tick, is seen at a later turn: until then the index is behind.
            if let Some(index) = self.beside.index.as_ref().filter(|index| index.tip() != pulse.tip.id) {
                index.wake();
            }
        }
    }
}
