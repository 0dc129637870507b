//! The nonce search over all cores: one header, one span of nonces, many workers.
//!
//! Workers take chunks of the span from one [`Cursor`], so that none is idle while another has work, and no
//! nonce is tested twice or missed. Before each chunk a worker asks the [`Gate`] whether it may go on: a
//! new tip therefore ends the search within one chunk a worker, some milliseconds at most.

use std::{
    num::NonZeroUsize,
    ops::{ControlFlow, RangeInclusive},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use rayon::{ThreadPool, ThreadPoolBuilder};
use thiserror::Error;

use crate::midstate::Midstate;

/// The most nonces that a worker tests before it asks its gate again: about a millisecond's work for a core
/// with SHA instructions, ten for one without.
pub const CHUNK_NONCES: u64 = 8_192;

/// Every nonce that a header can hold.
pub const ALL_NONCES: RangeInclusive<u32> = 0..=u32::MAX;

/// Decides when the workers of a [`Search`] may go on, and hears of what they did.
pub trait Gate: Sync {
    /// How many nonces the calling worker may test now: at least one and at most `want`. May wait. `None`
    /// ends that worker's search.
    fn admit(&self, want: u64) -> Option<u64>;

    /// Called with the number of nonces that a worker has tested, after each chunk.
    fn record(&self, tested: u64);
}

/// What is left of a span of nonces.
#[derive(Debug)]
pub struct Cursor {
    /// The first nonce that nobody took yet; counted in 64 bits, so that the last nonce has a successor.
    next: AtomicU64,
    /// One past the last nonce.
    end: u64,
}

impl Cursor {
    /// A cursor at the start of `nonces`.
    #[must_use]
    pub fn new(nonces: &RangeInclusive<u32>) -> Self {
        let start = u64::from(*nonces.start());
        let end = if nonces.is_empty() { start } else { u64::from(*nonces.end()) + 1 };
        Self { next: AtomicU64::new(start), end }
    }

    /// Takes the next nonces, at most `most` (at least one); `None` when the span is used up. Each nonce is
    /// handed out once, whoever asks.
    pub fn take(&self, most: u64) -> Option<RangeInclusive<u32>> {
        let step = |next: u64| (next < self.end).then(|| self.end.min(next.saturating_add(most.max(1))));
        // The cursor orders nothing but itself, so relaxed is enough.
        let first = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).ok()?;
        let last = step(first).expect("the update has just gone through with this value") - 1;
        let nonce = |value| u32::try_from(value).expect("a span of u32 nonces holds nothing larger");
        Some(nonce(first)..=nonce(last))
    }

    /// Whether every nonce was handed out.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.end
    }
}

/// Why a search could not be set up.
#[derive(Debug, Error)]
pub enum SearchError {
    /// The operating system refused the threads.
    #[error("could not start {threads} mining threads ({source}): ask for fewer")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the operating system said.
        source: rayon::ThreadPoolBuildError,
    },
}

/// A pool of threads that search nonces, apart from rayon's global pool, so that mining never holds up the
/// checking of blocks.
#[derive(Debug)]
pub struct Search {
    pool: ThreadPool,
}

impl Search {
    /// Starts `threads` threads, which rest until there is something to search.
    ///
    /// # Errors
    /// When the operating system refuses to start them.
    pub fn new(threads: NonZeroUsize) -> Result<Self, SearchError> {
        let threads = threads.get();
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("mine-{index}"))
            .build()
            .map_err(|source| SearchError::Threads { threads, source })?;
        Ok(Self { pool })
    }

    /// How many threads search.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Tests the nonces that `cursor` has left, with the first `workers` threads, and returns when they are
    /// used up, when `gate` ends it, or when `on_solution` breaks. `on_solution` is called by the worker
    /// that found a nonce whose hash meets `target` (32 bytes, big-endian). Every nonce that was taken from
    /// the cursor has been tested when this returns, unless `on_solution` broke: so after a stop the search
    /// can go on with the same cursor.
    pub fn run(
        &self,
        midstate: &Midstate,
        target: &[u8; 32],
        cursor: &Cursor,
        workers: usize,
        gate: &impl Gate,
        on_solution: &(impl Fn(u32) -> ControlFlow<()> + Sync),
    ) {
        let broken = AtomicBool::new(false);
        self.pool.broadcast(|worker| {
            if worker.index() >= workers {
                return;
            }
            while !broken.load(Ordering::Relaxed) && !cursor.is_used_up() {
                let Some(admitted) = gate.admit(CHUNK_NONCES) else { return };
                let Some(nonces) = cursor.take(admitted) else { return };
                let tested = midstate.scan(target, nonces, |nonce| {
                    let flow = on_solution(nonce);
                    if flow.is_break() {
                        broken.store(true, Ordering::Relaxed);
                    }
                    flow
                });
                gate.record(tested);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::{Condvar, Mutex};
    use proptest::prelude::*;

    use super::*;
    use crate::benchmark::plain_loop;

    /// Admits until `limit` nonces were tested.
    struct Limit {
        limit: u64,
        tested: AtomicU64,
    }

    impl Limit {
        fn new(limit: u64) -> Self {
            Self { limit, tested: AtomicU64::new(0) }
        }

        fn tested(&self) -> u64 {
            self.tested.load(Ordering::SeqCst)
        }
    }

    impl Gate for Limit {
        fn admit(&self, want: u64) -> Option<u64> {
            (self.tested() < self.limit).then_some(want)
        }

        fn record(&self, tested: u64) {
            self.tested.fetch_add(tested, Ordering::SeqCst);
        }
    }

    fn search(threads: usize) -> Search {
        Search::new(NonZeroUsize::new(threads).expect("not zero")).expect("a few threads")
    }

    /// All solutions that a search over `nonces` finds, sorted, and the number of nonces tested.
    fn find_all(
        search: &Search,
        header: &[u8; 80],
        target: &[u8; 32],
        nonces: &RangeInclusive<u32>,
    ) -> (Vec<u32>, u64) {
        let (gate, found) = (Limit::new(u64::MAX), Mutex::new(Vec::new()));
        let cursor = Cursor::new(nonces);
        search.run(&Midstate::new(header), target, &cursor, search.threads(), &gate, &|nonce| {
            found.lock().push(nonce);
            ControlFlow::Continue(())
        });
        assert!(cursor.is_used_up());
        let mut found = found.into_inner();
        found.sort_unstable();
        (found, gate.tested())
    }

    #[test]
    fn every_nonce_is_taken_once_by_whoever_asks() {
        let nonces = u32::MAX - 100_000..=u32::MAX;
        let cursor = Cursor::new(&nonces);
        let taken = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for most in [1, 7, 64, 1_000] {
                let (cursor, taken) = (&cursor, &taken);
                scope.spawn(move || {
                    while let Some(chunk) = cursor.take(most) {
                        assert!(u64::from(chunk.end() - chunk.start()) < most);
                        taken.lock().extend(chunk);
                    }
                });
            }
        });
        let mut taken = taken.into_inner();
        taken.sort_unstable();
        assert!(taken.into_iter().eq(nonces));
    }

    #[test]
    fn the_whole_space_has_an_end() {
        let cursor = Cursor::new(&ALL_NONCES);
        assert_eq!(cursor.take(1 << 31), Some(0..=(1 << 31) - 1));
        assert_eq!(cursor.take(u64::MAX), Some(1 << 31..=u32::MAX));
        assert!(cursor.is_used_up());
        assert_eq!(cursor.take(1), None);
    }

    #[test]
    fn an_impossible_target_costs_each_nonce_once() {
        let (found, tested) = find_all(&search(3), &[1; 80], &[0; 32], &(5..=200_004));
        assert_eq!((found, tested), (vec![], 200_000));
    }

    #[test]
    fn a_stop_costs_at_most_a_chunk_a_worker() {
        let search = search(4);
        let (gate, cursor) = (Limit::new(100_000), Cursor::new(&ALL_NONCES));
        search.run(&Midstate::new(&[1; 80]), &[0; 32], &cursor, 4, &gate, &|_| ControlFlow::Continue(()));
        assert!((100_000..=100_000 + 4 * CHUNK_NONCES).contains(&gate.tested()), "{}", gate.tested());
        // The search goes on where it stopped: nothing lost, nothing tested again.
        let before = gate.tested();
        assert_eq!(cursor.take(1), Some(u32::try_from(before).map(|next| next..=next).expect("small")));
    }

    /// Admits the first worker at once and all others when that one has reported.
    #[derive(Default)]
    struct FirstAlone {
        asked: AtomicU64,
        tested: Mutex<u64>,
        reported: Condvar,
    }

    impl Gate for FirstAlone {
        fn admit(&self, want: u64) -> Option<u64> {
            if self.asked.fetch_add(1, Ordering::SeqCst) > 0 {
                let mut tested = self.tested.lock();
                self.reported.wait_while(&mut tested, |tested| *tested == 0);
            }
            Some(want)
        }

        fn record(&self, tested: u64) {
            *self.tested.lock() += tested;
            self.reported.notify_all();
        }
    }

    #[test]
    fn a_solution_stops_the_others_within_a_chunk() {
        let (search, gate) = (search(4), FirstAlone::default());
        let cursor = Cursor::new(&(0..=1_000_000));
        let solutions = AtomicU64::new(0);
        // Every nonce is a solution; only the first one breaks.
        search.run(&Midstate::new(&[2; 80]), &[0xff; 32], &cursor, 4, &gate, &|_| match solutions
            .fetch_add(1, Ordering::SeqCst)
        {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        // Workers that had passed the check already finish one chunk, and begin no other.
        assert!(gate.tested.into_inner() <= 8 + 3 * CHUNK_NONCES);
    }

    #[test]
    fn workers_beyond_those_asked_for_rest() {
        let search = search(3);
        let names = Mutex::new(std::collections::BTreeSet::new());
        let cursor = Cursor::new(&(0..=100_000));
        search.run(&Midstate::new(&[3; 80]), &[0xff; 32], &cursor, 1, &Limit::new(u64::MAX), &|_| {
            names.lock().insert(std::thread::current().name().map(str::to_owned));
            ControlFlow::Continue(())
        });
        assert_eq!(names.into_inner().into_iter().collect::<Vec<_>>(), [Some("mine-0".to_owned())]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Many workers find together what the plain loop finds alone.
        #[test]
        fn workers_find_what_the_plain_loop_finds(
            bytes in proptest::collection::vec(any::<u8>(), 80),
            threads in 1_usize..5,
            zero_bits in 3_u32..12,
            first in any::<u32>(),
            length in 0_u32..40_000,
        ) {
            let header: [u8; 80] = bytes.try_into().expect("80 bytes");
            let mut target = [0xff; 32];
            target[..4].copy_from_slice(&(u32::MAX >> zero_bits).to_be_bytes());
            let nonces = first..=first.saturating_add(length);
            let (found, tested) = find_all(&search(threads), &header, &target, &nonces);
            prop_assert_eq!(found, plain_loop(&header, &target, nonces.clone()));
            prop_assert_eq!(tested, u64::from(nonces.end() - nonces.start()) + 1);
        }
    }
}
