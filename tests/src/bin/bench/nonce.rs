//! The nonce search against a plain loop over the digest, and two threads against one.

use std::{error::Error, num::NonZeroUsize, time::Duration};

use miner::benchmark::{Rates, benchmark, measure_plain_loop, measure_search};

use crate::Bench;

const ROUNDS: usize = 5;
/// Hashes of one measurement: about a second.
const HASHES: u32 = 8_000_000;
const THREADS_TIME: Duration = Duration::from_secs(3);

#[expect(clippy::cast_precision_loss, reason = "hash rates are far below 2^52")]
fn per_sec(rates: &Rates) -> f64 {
    rates.hashes_per_sec as f64
}

/// The best of five of each, taken in turn, so that a slow second of the machine falls on both.
pub fn measure(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let (mut search, mut plain) = (0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        search = search.max(per_sec(&measure_search(HASHES)));
        plain = plain.max(per_sec(&measure_plain_loop(HASHES)));
    }
    bench.put("nonce_per_digest_loop", search / plain);
    bench.put("nonce_megahashes_per_sec", search / 1e6);
    let (mut one, mut two) = (0.0_f64, 0.0_f64);
    let second = NonZeroUsize::MIN.saturating_add(1);
    for _ in 0..ROUNDS {
        one = one.max(per_sec(&benchmark(NonZeroUsize::MIN, THREADS_TIME)?));
        two = two.max(per_sec(&benchmark(second, THREADS_TIME)?));
    }
    bench.put("nonce_two_threads", two / one);
    Ok(())
}
