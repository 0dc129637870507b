//! What this machine can do: the figures of `cairn mine --benchmark` and of the benches.
//!
//! [`plain_loop`] is the search as one would write it first. It is the safe twin of the real one: tests hold
//! both to the same nonces, and benches measure how much the real one gains.

use std::{
    hint::black_box,
    num::NonZeroUsize,
    ops::{ControlFlow, RangeInclusive},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use crate::{
    midstate::Midstate,
    search::{ALL_NONCES, Cursor, Gate, Search, SearchError},
};

/// The header that is hashed; which one does not matter.
const HEADER: [u8; 80] = [0x5a; 80];

/// A target that no hash meets in practice, so that a measurement is not cut short.
const UNREACHABLE: [u8; 32] = [0; 32];

/// How fast nonces were tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Threads that searched.
    pub threads: usize,
    /// Nonces that they tested together; each is two SHA-256.
    pub hashes: u64,
    /// How long that took.
    pub elapsed: Duration,
    /// Nonces a second, of all threads together.
    pub hashes_per_sec: u64,
}

impl Rates {
    fn new(threads: usize, hashes: u64, elapsed: Duration) -> Self {
        let nanos = elapsed.as_nanos().max(1);
        let hashes_per_sec = u64::try_from(u128::from(hashes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX);
        Self { threads, hashes, elapsed, hashes_per_sec }
    }
}

/// Searches with `threads` threads for about `duration` and says how fast that was.
///
/// # Errors
/// When the operating system refuses the threads.
pub fn benchmark(threads: NonZeroUsize, duration: Duration) -> Result<Rates, SearchError> {
    let search = Search::new(threads)?;
    let midstate = Midstate::new(&HEADER);
    let (mut hashes, started) = (0, Instant::now());
    // A fast machine uses up the nonces of one header in a long benchmark: begin again then.
    while started.elapsed() < duration {
        let gate = Until { deadline: started + duration, tested: AtomicU64::new(0) };
        let cursor = Cursor::new(&ALL_NONCES);
        search.run(&midstate, &UNREACHABLE, &cursor, search.threads(), &gate, &|_| ControlFlow::Continue(()));
        hashes += gate.tested.into_inner();
    }
    Ok(Rates::new(search.threads(), hashes, started.elapsed()))
}

/// Tests `nonces` nonces from zero on, on the calling thread, with the kernel of the real search.
#[must_use]
pub fn measure_search(nonces: u32) -> Rates {
    measure(nonces, |span| {
        Midstate::new(black_box(&HEADER)).scan(black_box(&UNREACHABLE), span, |_| ControlFlow::Continue(()));
    })
}

/// Tests `nonces` nonces from zero on, on the calling thread, with [`plain_loop`].
#[must_use]
pub fn measure_plain_loop(nonces: u32) -> Rates {
    measure(nonces, |span| {
        black_box(plain_loop(black_box(&HEADER), black_box(&UNREACHABLE), span));
    })
}

fn measure(nonces: u32, test: impl FnOnce(RangeInclusive<u32>)) -> Rates {
    let started = Instant::now();
    test(0..=nonces.saturating_sub(1));
    Rates::new(1, u64::from(nonces.max(1)), started.elapsed())
}

/// The nonces of `nonces` whose hash, SHA-256 of the SHA-256 of the header read as a little-endian number, is
/// at most `target` (32 bytes, big-endian): a plain loop over `sha2`'s digest.
#[must_use]
pub fn plain_loop(header: &[u8; 80], target: &[u8; 32], nonces: RangeInclusive<u32>) -> Vec<u32> {
    let mut header = *header;
    let mut found = Vec::new();
    for nonce in nonces {
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        let hash = Sha256::digest(Sha256::digest(header));
        if hash.iter().rev().le(target) {
            found.push(nonce);
        }
    }
    found
}

/// Lets workers through until a moment.
struct Until {
    deadline: Instant,
    tested: AtomicU64,
}

impl Gate for Until {
    fn admit(&self, want: u64) -> Option<u64> {
        (Instant::now() < self.deadline).then_some(want)
    }

    fn record(&self, tested: u64) {
        self.tested.fetch_add(tested, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_hashes_by_time() {
        let rates = Rates::new(2, 3_000, Duration::from_millis(1_500));
        assert_eq!(rates.hashes_per_sec, 2_000);
        assert_eq!(Rates::new(1, 1, Duration::ZERO).hashes_per_sec, 1_000_000_000);
    }

    #[test]
    fn a_benchmark_searches_with_the_threads_asked_for() {
        let threads = NonZeroUsize::new(2).expect("not zero");
        let rates = benchmark(threads, Duration::from_millis(20)).expect("two threads");
        assert_eq!(rates.threads, 2);
        assert!(rates.hashes > 0 && rates.hashes_per_sec > 0);
    }

    #[test]
    fn measurements_test_what_was_asked() {
        assert_eq!(measure_search(1_000).hashes, 1_000);
        assert_eq!(measure_plain_loop(1_000).hashes, 1_000);
    }
}
