//! `make bench`: how fast Cairn is, as ratios within one run, so that a slower machine tells the same story.
//!
//! Writes `bench.json`, flat numbers, and prints them as a table. Measures only; judges nothing.

mod cpu;
mod devnet;
mod ledger;
mod nonce;

use std::{collections::BTreeMap, error::Error, path::Path};

/// The figures, by name.
pub type Figures = BTreeMap<&'static str, f64>;

/// What each figure says.
const MEANINGS: [(&str, &str); 12] = [
    (
        "nonce_per_digest_loop",
        "one thread's nonce search : a plain loop over the digest (x faster, best of 5)",
    ),
    ("nonce_two_threads", "two threads' nonce search : one thread's (x faster, best of 5)"),
    ("nonce_megahashes_per_sec", "one thread's nonce search, millions of hashes a second"),
    ("verify_strict_us", "one strict verification with ed25519-dalek: the unit (microseconds)"),
    ("connect_cold_per_verify", "CPU a payment to connect blocks, nothing cached, indexes on : unit"),
    ("connect_payments", "payments in those blocks"),
    ("connect_coins", "coins in the UTXO set below them"),
    ("accept_per_verify", "CPU a payment to enter the mempool, one by one : unit"),
    (
        "template_ms",
        "a template of the best 2 MB of 50,000 transactions after a tip change (ms, median of 5)",
    ),
    ("devnet_cpu_cores", "CPU seconds a second of a devnet of four nodes that mines (cores)"),
    ("devnet_ready_secs", "from `cairn devnet` to ready, four nodes, an empty folder (seconds)"),
    ("bench_secs", "how long these measurements took (seconds)"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let started = std::time::Instant::now();
    let mut figures = Figures::new();
    for (name, measure) in [
        ("nonce search", nonce::measure as fn(&mut Figures) -> Result<(), Box<dyn Error>>),
        ("devnet", devnet::measure),
        ("ledger", ledger::measure),
    ] {
        say(&format!("measuring: {name} ..."));
        measure(&mut figures)?;
    }
    figures.insert("bench_secs", started.elapsed().as_secs_f64());
    std::fs::write(Path::new("bench.json"), serde_json::to_string_pretty(&figures)? + "\n")?;
    for (name, meaning) in MEANINGS {
        if let Some(figure) = figures.get(name) {
            say(&format!("{name:<26} {figure:>12.3}  {meaning}"));
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a program whose answer is a table")]
fn say(line: &str) {
    println!("{line}");
}
