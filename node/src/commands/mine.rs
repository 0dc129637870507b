//! `cairn mine --benchmark`: what this machine can do, and what the search gains over a plain loop.

use std::{num::NonZeroUsize, thread, time::Duration};

use anyhow::bail;
use miner::benchmark::{Rates, benchmark, measure_plain_loop};
use serde_json::{Value, json};

use super::{answer, answer_json, progress::Waiting};
use crate::cli::MineArgs;

/// Nonces of the short run that tells how many the plain loop can test in the time that is asked for.
const CALIBRATION_NONCES: u32 = 200_000;

/// Measures and prints.
///
/// # Errors
/// Without `--benchmark`, and when the system gives no threads.
pub fn run(args: &MineArgs) -> anyhow::Result<()> {
    if !args.benchmark {
        bail!("to mine, run `cairn node --mine ADDRESS`; `cairn mine --benchmark` measures this machine");
    }
    let threads = args.threads.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let duration = Duration::from_secs(args.secs);
    let waiting = Waiting::start("measuring a plain loop");
    let speed = measure_plain_loop(CALIBRATION_NONCES).hashes_per_sec;
    let nonces = u32::try_from(speed.saturating_mul(args.secs)).unwrap_or(u32::MAX);
    let plain = measure_plain_loop(nonces);
    waiting.say("measuring one thread");
    let one = benchmark(NonZeroUsize::MIN, duration)?;
    waiting.say("measuring all threads");
    let all = if threads == NonZeroUsize::MIN { one } else { benchmark(threads, duration)? };
    drop(waiting);
    if args.json {
        return answer_json(&json!({
            "plain_loop": to_json(&plain),
            "one_thread": to_json(&one),
            "all_threads": to_json(&all),
            "one_thread_to_plain_loop": ratio(&one, &plain),
            "all_threads_to_one_thread": ratio(&all, &one),
            "all_threads_to_plain_loop": ratio(&all, &plain),
        }));
    }
    let row = |name: &str, rates: &Rates, compared: String| {
        answer(format!("{name:<12} {:>14} hashes/s{compared}", grouped(rates.hashes_per_sec)))
    };
    row("plain loop", &plain, String::new())?;
    row("one thread", &one, format!("  {:.2} x the plain loop", ratio(&one, &plain)))?;
    let compared =
        format!("  {:.2} x one thread, {:.2} x the plain loop", ratio(&all, &one), ratio(&all, &plain));
    let name = if all.threads == 1 { "1 thread".into() } else { format!("{} threads", all.threads) };
    row(&name, &all, compared)
}

fn to_json(rates: &Rates) -> Value {
    json!({
        "threads": rates.threads,
        "hashes": rates.hashes,
        "secs": rates.elapsed.as_secs_f64(),
        "hashes_per_sec": rates.hashes_per_sec,
    })
}

/// How many times as fast `one` is as `other`, to the hundredth.
fn ratio(one: &Rates, other: &Rates) -> f64 {
    let hundredths = one.hashes_per_sec.saturating_mul(100) / other.hashes_per_sec.max(1);
    u32::try_from(hundredths).map_or(f64::INFINITY, f64::from) / 100.0
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn ratios_are_rates_by_rates() {
        let rates =
            |hashes_per_sec| Rates { threads: 1, hashes: 1, elapsed: Duration::from_secs(1), hashes_per_sec };
        assert!((ratio(&rates(300), &rates(200)) - 1.5).abs() < f64::EPSILON);
        assert!(ratio(&rates(1), &rates(0)).is_finite());
    }
}
