//! The indexer: a thread of its own that follows the tip that the store has flushed.
//!
//! It is woken after a flush, finds the way from its own tip to the store's, takes blocks back down to the fork
//! and adds blocks upwards, many in one batch while it catches up. Every batch holds the tip that it leads to, so
//! that the process may die at any point: the next start goes on from there. It never looks at a clock, never
//! writes into the store, and never goes on after a failure: its end is the node's end (threat S12).
//!
//! Memory is bounded by one batch, the hashes of [`MAX_PLANNED_BLOCKS`] blocks and one block.

use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use chain::{genesis::Chain, hash::BlockHash, height::Height, ledger::BlockId, store::StoreError};
use tokio::sync::{oneshot, watch};

use super::{
    super::{
        database::MergedFiles,
        failpoint,
        fault::{Fault, OpenStoreError},
    },
    database::IndexDb,
    options::IndexOptions,
    reading::IndexSnapshot,
    source::{BlockSource, SourceBlock},
};

/// The most blocks whose hashes are held while catching up: 2.25 MiB. What is above them is planned later.
const MAX_PLANNED_BLOCKS: usize = 65_536;
/// From how many blocks on catching up is worth a line in the log.
const LOGGED_BLOCKS: u32 = 1_000;
/// By how much the indexer gives way to all other threads, of this and of other nodes of the machine.
#[cfg(target_os = "linux")]
const INDEXER_NICENESS: i32 = 10;

/// How far the index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexProgress {
    /// The block up to which the index speaks.
    pub tip: BlockId,
    /// The height of the block that it is on its way to.
    pub target: Height,
}

/// A running indexer, for those who read the index. Cheap to clone.
#[derive(Clone, Debug)]
pub struct IndexHandle {
    database: Arc<IndexDb>,
    wake: SyncSender<()>,
    stop: Arc<AtomicBool>,
    progress: watch::Receiver<IndexProgress>,
}

impl IndexHandle {
    /// Says that the store may have flushed another tip. Never waits.
    pub fn wake(&self) {
        // One waiting call is enough; and an indexer that ended is reported by its end.
        self.wake.try_send(()).ok();
    }

    /// Ends the indexer after the block that it is at.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// The block up to which the index speaks, as far as it was told.
    #[must_use]
    pub fn tip(&self) -> BlockId {
        self.progress.borrow().tip
    }

    /// How far the index is, whenever that changes.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<IndexProgress> {
        self.progress.clone()
    }

    /// The index as it is now.
    #[must_use]
    pub fn snapshot(&self) -> IndexSnapshot<'_> {
        self.database.snapshot()
    }

    /// Waits until the index's database has nothing left to do for what was written. For measurements.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn settle(&self) -> Result<(), StoreError> {
        self.database.settle()
    }

    /// Merges the index's files as its database does by itself when enough of them wait. For measurements.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn merge(&self) -> Result<MergedFiles, StoreError> {
        self.database.merge()
    }

    /// The bytes of all files of the index.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.database.disk_bytes()
    }
}

/// Opens the index of `chain` in the folder `path`, to follow `source`. As [`IndexDb::open`]; and an index whose tip
/// cannot be reached from the blocks that are here, because a power loss took them or because the store was made
/// anew, begins anew too.
///
/// # Errors
/// [`OpenStoreError`].
pub fn open(
    path: &Path,
    chain: &Chain,
    options: &IndexOptions,
    source: &impl BlockSource,
) -> Result<IndexDb, OpenStoreError> {
    let failed = |source| OpenStoreError::Storage { path: path.to_path_buf(), source };
    let database = IndexDb::open(path, chain, options)?;
    if can_follow(&database, source).map_err(failed)? {
        return Ok(database);
    }
    drop(database);
    IndexDb::open_anew(path, chain, options, "its tip is not among the blocks that are here")
}

/// Whether all blocks that must be taken back are here.
fn can_follow(database: &IndexDb, source: &impl BlockSource) -> Result<bool, StoreError> {
    let mut tip = database.tip()?;
    let genesis = database.genesis();
    if tip != genesis && source.header(&tip.hash)?.is_none() {
        return Ok(false);
    }
    let fork = Plan::new(database, source, &AtomicBool::new(false))?.fork;
    while tip != fork {
        let Some(block) = source.block(&tip.hash)? else { return Ok(false) };
        let Some(below) = tip.height.get().checked_sub(1) else { return Ok(false) };
        if source.undo(&tip.hash)?.is_none() {
            return Ok(false);
        }
        tip = BlockId { height: Height::new(below), hash: block.previous() };
    }
    Ok(true)
}

/// Starts the thread. It ends when it is stopped or fails, and the receiver then gets the result, or an error
/// where the thread panicked.
///
/// # Errors
/// Where the thread cannot be started, or the index cannot be read.
pub fn spawn(
    database: IndexDb,
    source: impl BlockSource,
) -> io::Result<(IndexHandle, oneshot::Receiver<Result<(), StoreError>>)> {
    let database = Arc::new(database);
    let stop = Arc::new(AtomicBool::new(false));
    let tip = database.tip().map_err(io::Error::other)?;
    let (publisher, progress) = watch::channel(IndexProgress { tip, target: tip.height });
    let (wake, woken) = sync_channel(1);
    let (ended, end) = oneshot::channel();
    let follower =
        Follower { database: Arc::clone(&database), source, stop: Arc::clone(&stop), publisher, plan: None };
    thread::Builder::new().name("indexer".into()).spawn(move || {
        give_way();
        // Nobody waits for the end where the whole node is being torn down.
        drop(ended.send(follower.run(&woken)));
    })?;
    Ok((IndexHandle { database, wake, stop, progress }, end))
}

/// Lets all else go first: a block is to be on its way through the network before anybody looks up what is in it.
/// Where a thread has no priority of its own, or may not change it, it is as fast as the others.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(INDEXER_NICENESS) {
        tracing::debug!(%error, "the indexer's priority stays as it is");
    }
}

/// The way from the index's tip to the store's.
struct Plan {
    target: BlockId,
    /// The highest block that both have.
    fork: BlockId,
    /// What is added to it, the lowest first: at most [`MAX_PLANNED_BLOCKS`].
    up: VecDeque<BlockId>,
}

impl Plan {
    fn new(database: &IndexDb, source: &impl BlockSource, stop: &AtomicBool) -> Result<Self, StoreError> {
        let target = source.tip()?;
        let (mut mine, mut theirs) = (database.tip()?, target);
        let mut up = VecDeque::new();
        while mine != theirs && !stop.load(Ordering::Relaxed) {
            if theirs.height >= mine.height {
                up.push_front(theirs);
                up.truncate(MAX_PLANNED_BLOCKS);
                theirs = below(source, &theirs)?;
            } else {
                mine = below(source, &mine)?;
            }
        }
        Ok(Self { target, fork: mine, up })
    }
}

fn lost(hash: &BlockHash, what: &str) -> StoreError {
    let why = format!("the index needs {what}, which is not here");
    Fault::damaged(format!("the block {hash}"), why).into()
}

/// The block below a block.
fn below(source: &impl BlockSource, id: &BlockId) -> Result<BlockId, StoreError> {
    let height = id.height.get().checked_sub(1).ok_or_else(|| lost(&id.hash, "a block of this chain"))?;
    let header = source.header(&id.hash)?.ok_or_else(|| lost(&id.hash, "its header"))?;
    Ok(BlockId { height: Height::new(height), hash: header.previous })
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The index was at the store's tip.
    AtTip,
    /// A batch was written.
    Moved,
}

/// The indexer's work, apart from its thread.
pub(super) struct Follower<S> {
    pub(super) database: Arc<IndexDb>,
    pub(super) source: S,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) publisher: watch::Sender<IndexProgress>,
    plan: Option<Plan>,
}

impl<S: BlockSource> Follower<S> {
    #[cfg(test)]
    pub(super) fn new(database: IndexDb, source: S) -> Self {
        let (publisher, _) = watch::channel(IndexProgress { tip: database.genesis(), target: Height::ZERO });
        let stop = Arc::new(AtomicBool::new(false));
        Self { database: Arc::new(database), source, stop, publisher, plan: None }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn run(mut self, woken: &Receiver<()>) -> Result<(), StoreError> {
        loop {
            failpoint::beat("indexer");
            let mut steps: u64 = 0;
            while !self.is_stopped() && self.step()? == Step::Moved {
                steps += 1;
            }
            if steps > 1 {
                let progress = *self.publisher.borrow();
                tracing::info!(height = %progress.tip.height, of = %progress.target, "the index has caught up");
            }
            // Where all handles are gone, nobody can ask for anything.
            if self.is_stopped() || woken.recv().is_err() {
                return self.database.sync();
            }
        }
    }

    /// Goes on by at most one batch.
    pub(super) fn step(&mut self) -> Result<Step, StoreError> {
        let mut batch = self.database.batch()?;
        let start = batch.tip();
        if self.source.tip()? == start {
            self.plan = None;
            self.publisher.send_replace(IndexProgress { tip: start, target: start.height });
            return Ok(Step::AtTip);
        }
        let mut plan = match self.plan.take() {
            Some(plan) => plan,
            None => {
                let plan = Plan::new(&self.database, &self.source, &self.stop)?;
                let (height, of) = (start.height, plan.target.height);
                if of.get().saturating_sub(height.get()) >= LOGGED_BLOCKS {
                    tracing::info!(%height, %of, "the index is catching up");
                }
                plan
            }
        };
        let mut is_current = true;
        while !batch.is_full() && !self.is_stopped() && is_current {
            let tip = batch.tip();
            if tip != plan.fork {
                let block = self.body(&tip.hash)?;
                let undo = self.source.undo(&tip.hash)?.ok_or_else(|| lost(&tip.hash, "its undo data"))?;
                batch.revert(&block, &undo)?;
            } else if let Some(next) = plan.up.pop_front() {
                let block = self.body(&next.hash)?;
                match self.source.undo(&next.hash)? {
                    Some(undo) => batch.apply(next, &block, &undo)?,
                    // The store has moved away while this was under way.
                    None if self.source.tip()? != plan.target => is_current = false,
                    None => return Err(lost(&next.hash, "its undo data")),
                }
                plan.fork = batch.tip();
            } else {
                is_current = false;
            }
        }
        let (tip, target) = (batch.tip(), plan.target.height);
        if tip != start {
            batch.commit()?;
        }
        if is_current && !plan.up.is_empty() {
            self.plan = Some(plan);
        }
        self.publisher.send_replace(IndexProgress { tip, target });
        Ok(Step::Moved)
    }

    fn body(&self, hash: &BlockHash) -> Result<SourceBlock, StoreError> {
        self.source.block(hash)?.ok_or_else(|| lost(hash, "its body"))
    }
}
