//! The long-running miner: takes jobs, finds blocks, rests when there is nothing to do.
//!
//! One thread conducts, the threads of a [`Search`] hash. Every change (a new job, another throttle, a stop)
//! begins a new *epoch*; workers compare the epoch before each chunk, and whoever waits for the throttle is
//! woken, so that nothing goes on with old work for longer than a chunk takes. Nobody ever polls or sleeps:
//! without a job all threads wait to be woken.

use std::{
    io,
    num::NonZeroUsize,
    ops::{ControlFlow, RangeInclusive},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use chain::block::Block;
use parking_lot::{Condvar, Mutex};
use thiserror::Error;

use crate::{
    meter::Meter,
    midstate::Midstate,
    roll::Roll,
    search::{ALL_NONCES, Cursor, Gate, Search, SearchError},
    template::Template,
    throttle::{Grant, Throttle},
};

/// How a miner works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinerConfig {
    /// How many threads hash; `None` takes one for each core.
    pub threads: Option<NonZeroUsize>,
    /// The most hashes a second, of all threads together; `None` is no bound, zero pauses.
    pub throttle_hashes_per_sec: Option<u64>,
}

/// What to search.
#[derive(Debug, Clone)]
pub struct Job {
    /// The block that wants a proof of work.
    pub template: Arc<Template>,
    /// The nonces of each header; all of them but in tests and where several miners share a template.
    pub nonces: RangeInclusive<u32>,
    /// The extranonce to begin with.
    pub extranonce: u64,
}

impl Job {
    /// A search over everything that the template allows.
    #[must_use]
    pub const fn new(template: Arc<Template>) -> Self {
        Self { template, nonces: ALL_NONCES, extranonce: 0 }
    }
}

/// Why a miner could not be started or ended badly.
#[derive(Debug, Error)]
pub enum MinerError {
    /// The hashing threads could not be started.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The conducting thread could not be started.
    #[error("could not start the miner's thread: {0}")]
    Thread(#[from] io::Error),
    /// A thread of the miner panicked; the message was printed where it happened.
    #[error("the miner's thread panicked")]
    Panicked,
}

/// A running miner. Dropping it stops it.
#[derive(Debug)]
pub struct Miner {
    shared: Arc<Shared>,
    conductor: Option<JoinHandle<()>>,
    threads: usize,
}

impl Miner {
    /// Starts a miner, which rests until it gets a job. `on_block` gets every block that it finds, on the
    /// miner's own thread. It should hand the block on and return: while it runs, nothing is mined. A block
    /// may come from a job that has just been replaced; the receiver's rules judge it as any other block.
    /// After a block the miner rests until the next job.
    ///
    /// # Errors
    /// When the operating system refuses the threads.
    pub fn spawn(
        config: &MinerConfig,
        on_block: impl FnMut(Block) + Send + 'static,
    ) -> Result<Self, MinerError> {
        let threads = config.threads.unwrap_or_else(every_core);
        let search = Search::new(threads)?;
        let shared = Arc::new(Shared::new(config.throttle_hashes_per_sec));
        let conducted = Arc::clone(&shared);
        let conductor = thread::Builder::new()
            .name("miner".to_owned())
            .spawn(move || conduct(&conducted, &search, on_block))?;
        Ok(Self { shared, conductor: Some(conductor), threads: threads.get() })
    }

    /// Replaces the job, at once; `None` lets the miner rest.
    pub fn set_job(&self, job: Option<Job>) {
        self.shared.change(|state| {
            state.jobs_set += 1;
            state.job = job.map(|job| (state.jobs_set, job));
        });
    }

    /// Replaces the bound on hashes a second, at once and without losing the place in the job; `None` is no
    /// bound, zero pauses.
    pub fn set_throttle(&self, hashes_per_sec: Option<u64>) {
        let now = self.shared.now();
        self.shared.change(|state| state.throttle = hashes_per_sec.map(|rate| Throttle::new(rate, now)));
    }

    /// Hashes a second over the last ten seconds.
    #[must_use]
    pub fn hashes_per_sec(&self) -> u64 {
        self.shared.meter.lock().hashes_per_sec(self.shared.now())
    }

    /// Hashes since the miner was started.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.shared.hashes.load(Ordering::Relaxed)
    }

    /// How many threads hash.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Whether there is a job: false before the first one, after a block, and when a job is used up.
    #[must_use]
    pub fn has_job(&self) -> bool {
        self.shared.state.lock().job.is_some()
    }

    /// Stops the miner and waits for its threads; `on_block` is not called afterwards. Must not be called
    /// from `on_block`, nor by a thread that `on_block` waits for.
    ///
    /// # Errors
    /// When one of its threads had panicked.
    pub fn stop(mut self) -> Result<(), MinerError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), MinerError> {
        self.shared.change(|state| state.stopping = true);
        match self.conductor.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(MinerError::Panicked),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        // A panic was printed where it happened, and `drop` has nobody to tell; `stop` tells.
        drop(self.join());
    }
}

/// One thread for each core that the operating system gives this process.
fn every_core() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// What the handle, the conductor and the workers share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Signalled at every change of `state`.
    changed: Condvar,
    /// Counts the changes; written only while `state` is locked.
    epoch: AtomicU64,
    hashes: AtomicU64,
    meter: Mutex<Meter>,
    started: Instant,
}

#[derive(Debug)]
struct State {
    /// The job, with the number that tells it from others.
    job: Option<(u64, Job)>,
    jobs_set: u64,
    throttle: Option<Throttle>,
    stopping: bool,
}

impl Shared {
    fn new(throttle_hashes_per_sec: Option<u64>) -> Self {
        let throttle = throttle_hashes_per_sec.map(|rate| Throttle::new(rate, Duration::ZERO));
        Self {
            state: Mutex::new(State { job: None, jobs_set: 0, throttle, stopping: false }),
            changed: Condvar::new(),
            epoch: AtomicU64::new(0),
            hashes: AtomicU64::new(0),
            meter: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// Monotonic time since the start.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Changes the state and begins a new epoch.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        self.epoch.fetch_add(1, Ordering::Release);
        self.changed.notify_all();
    }

    /// Ends a job that is solved or used up, unless another one has taken its place.
    fn finish(&self, number: u64) {
        let mut state = self.state.lock();
        if state.job.as_ref().is_some_and(|(current, _)| *current == number) {
            state.job = None;
        }
    }

    fn is_current(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Acquire) == epoch
    }
}

/// The gate of one epoch's workers.
struct EpochGate<'a> {
    shared: &'a Shared,
    epoch: u64,
    throttled: bool,
}

impl Gate for EpochGate<'_> {
    fn admit(&self, want: u64) -> Option<u64> {
        if !self.throttled {
            return self.shared.is_current(self.epoch).then_some(want);
        }
        let mut state = self.shared.state.lock();
        while self.shared.is_current(self.epoch) {
            let grant = state.throttle.as_mut().map(|throttle| throttle.grant(self.shared.now(), want));
            match grant {
                None => return Some(want),
                Some(Grant::Hashes(hashes)) => return Some(hashes),
                Some(Grant::Wait(wait)) => {
                    // Whether time passed or a change woke us is seen at the next turn.
                    let _ = self.shared.changed.wait_for(&mut state, wait);
                }
                Some(Grant::Never) => self.shared.changed.wait(&mut state),
            }
        }
        None
    }

    fn record(&self, tested: u64) {
        self.shared.hashes.fetch_add(tested, Ordering::Relaxed);
        self.shared.meter.lock().record(self.shared.now(), tested);
    }
}

/// A job and how far its search has come.
struct Progress {
    number: u64,
    job: Job,
    roll: Roll,
    midstate: Midstate,
    cursor: Cursor,
}

impl Progress {
    fn new(number: u64, job: Job) -> Self {
        let roll = Roll { time: job.template.time, extranonce: job.extranonce };
        let (midstate, cursor) = prepare(&job, roll);
        Self { number, job, roll, midstate, cursor }
    }

    /// Goes on to the next header; false when there is none.
    fn advance(&mut self) -> bool {
        let template = &self.job.template;
        let next = self.roll.next(&(template.time..=template.max_time));
        let Some(roll) = next.filter(|_| !self.job.nonces.is_empty()) else { return false };
        self.roll = roll;
        (self.midstate, self.cursor) = prepare(&self.job, roll);
        true
    }
}

fn prepare(job: &Job, roll: Roll) -> (Midstate, Cursor) {
    let header = job.template.header_with(0, roll.time, roll.extranonce);
    (Midstate::new(&header.to_bytes()), Cursor::new(&job.nonces))
}

/// The conductor: waits for a job, searches it header by header, delivers blocks.
fn conduct(shared: &Shared, search: &Search, mut on_block: impl FnMut(Block)) {
    let mut progress: Option<Progress> = None;
    loop {
        let (gate, workers, number, job) = {
            let mut state = shared.state.lock();
            let (number, job) = loop {
                if state.stopping {
                    return;
                }
                if let Some((number, job)) = &state.job {
                    break (*number, job.clone());
                }
                shared.changed.wait(&mut state);
            };
            let throttle = state.throttle.as_ref();
            let workers = throttle.map_or(search.threads(), |throttle| throttle.workers(search.threads()));
            let epoch = shared.epoch.load(Ordering::Acquire);
            (EpochGate { shared, epoch, throttled: throttle.is_some() }, workers, number, job)
        };
        // The same job again means that only the throttle changed: the search keeps its place.
        let mut current = match progress.take() {
            Some(progress) if progress.number == number => progress,
            _ => Progress::new(number, job),
        };
        let solved = search_header(search, &current, workers, &gate);
        if let Some(nonce) = solved {
            shared.finish(number);
            on_block(current.job.template.solve_with(nonce, current.roll.time, current.roll.extranonce));
        } else if current.cursor.is_used_up() && !current.advance() {
            shared.finish(number);
        } else {
            progress = Some(current);
        }
    }
}

/// Searches the nonces that are left of the current header: the nonce that solves it, or none before they
/// are used up or the epoch ends.
fn search_header(search: &Search, current: &Progress, workers: usize, gate: &EpochGate<'_>) -> Option<u32> {
    let solution = Mutex::new(None);
    let target = current.job.template.target.to_be_bytes();
    search.run(&current.midstate, &target, &current.cursor, workers, gate, &|nonce| {
        solution.lock().get_or_insert(nonce);
        ControlFlow::Break(())
    });
    solution.into_inner()
}

#[cfg(test)]
mod tests;
