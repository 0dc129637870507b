//! `make bench`: how fast Cairn is, as ratios within one run, so that a slower machine tells the same story.
//!
//! Writes `bench.json`, flat numbers, and prints them as a table. Measures only; judges nothing. With names of
//! parts as arguments it measures those alone: `nonce devnet connect indexed mempool growth start sync relay`;
//! `payments=N` makes the chain of `sync` a shorter one.
//!
//! CPU time is the process's, all threads, until the database has nothing left to do: flushes and the compactions
//! that the work causes are in it. Payments have one input and two outputs, and each its own key. What is
//! connected or accepted comes as bytes, and decoding it is in the figure; making and signing it is not.

mod connect;
mod cpu;
mod crooked;
mod devnet;
mod figures;
mod forge;
mod funding;
mod growth;
mod house;
mod mempool;
mod nonce;
mod payments;
mod relay;
mod start;
mod sync;

use std::{collections::BTreeMap, error::Error, path::Path};

use chain::signature::verify_all;

use self::{
    connect::World,
    cpu::{Taken, Unit, Yardstick},
    figures::MEANINGS,
};

/// Signatures that are verified in batches, to see what they cost alone.
const BATCHED: u64 = 40_960;
/// As many of them at once as blocks of a run have together.
const A_PART: usize = 8_192;

/// What is measured and what it needs.
struct Bench {
    figures: BTreeMap<&'static str, f64>,
    yardstick: Yardstick,
    /// What several parts share, made by the first that needs it.
    world: Option<World>,
    /// Payments of the chain that is synced, where it is not to be the usual one.
    payments: Option<usize>,
}

impl Bench {
    /// Notes a figure, and shows it at once: the table comes late.
    fn put(&mut self, name: &'static str, figure: f64) {
        say(&format!("  {name} {figure:.3}"));
        self.figures.insert(name, figure);
    }

    /// Notes what each of `count` pieces of some work costs, which is done in parts, in units that are measured
    /// between them.
    fn put_per_verify<P>(
        &mut self,
        name: &'static str,
        count: usize,
        parts: impl IntoIterator<Item = P>,
        work: impl FnMut(P) -> Result<(), Box<dyn Error>>,
    ) -> Result<(Unit, Taken), Box<dyn Error>> {
        let (unit, taken) = self.yardstick.between(parts, work)?;
        say(&format!("  the unit was {:.1} us", unit.micros()));
        self.put(name, unit.per_piece(taken, count)?);
        Ok((unit, taken))
    }

    /// Notes a quotient.
    fn put_ratio(&mut self, name: &'static str, sum: u64, count: u64) -> Result<(), Box<dyn Error>> {
        let ratio = f64::from(u32::try_from(sum)?) / f64::from(u32::try_from(count)?);
        self.put(name, ratio);
        Ok(())
    }

    /// The chain with a million coins; whoever takes it puts it back.
    fn take_world(&mut self) -> Result<World, Box<dyn Error>> {
        match self.world.take() {
            Some(world) => Ok(world),
            None => World::measure(self),
        }
    }
}

type Measure = fn(&mut Bench) -> Result<(), Box<dyn Error>>;

fn measure_connect(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    bench.world = Some(bench.take_world()?);
    Ok(())
}

fn measure_growth(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    // Nobody needs the other chain any more, and this one will be large.
    bench.world = None;
    growth::measure(bench)
}

/// All parts, in their order.
const PARTS: [(&str, Measure); 9] = [
    ("nonce", nonce::measure),
    ("devnet", devnet::measure),
    ("connect", measure_connect),
    ("indexed", connect::measure_indexed),
    ("mempool", mempool::measure),
    ("growth", measure_growth),
    ("start", start::measure),
    ("sync", sync::measure),
    ("relay", relay::measure),
];

fn main() -> Result<(), Box<dyn Error>> {
    let started = std::time::Instant::now();
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    let payments =
        wanted.iter().find_map(|word| word.strip_prefix("payments=")).map(str::parse).transpose()?;
    wanted.retain(|word| !word.starts_with("payments="));
    if let Some(unknown) = wanted.iter().find(|name| !PARTS.iter().any(|(part, _)| part == name)) {
        let names: Vec<&str> = PARTS.iter().map(|(part, _)| *part).collect();
        return Err(format!("there is no part {unknown}, only {}", names.join(" ")).into());
    }
    let mut bench = Bench { figures: BTreeMap::new(), yardstick: Yardstick::make(), world: None, payments };
    let claims = cpu::claims(BATCHED);
    let (unit, _) =
        bench.put_per_verify("batch_per_verify", claims.len(), claims.chunks(A_PART), |part| {
            verify_all(part).map_err(|claim| format!("signature {claim} does not hold").into())
        })?;
    bench.put("verify_strict_us", unit.micros());
    for (name, measure) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|part| part == name) {
            let begun = std::time::Instant::now();
            say(&format!("measuring: {name} ..."));
            measure(&mut bench)?;
            say(&format!("  {:.0} s", begun.elapsed().as_secs_f64()));
        }
    }
    bench.put("bench_secs", started.elapsed().as_secs_f64());
    std::fs::write(Path::new("bench.json"), serde_json::to_string_pretty(&bench.figures)? + "\n")?;
    for (name, meaning) in MEANINGS {
        if let Some(figure) = bench.figures.get(name) {
            say(&format!("{name:<32} {figure:>10.3}  {meaning}"));
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a program whose answer is a table")]
fn say(line: &str) {
    println!("{line}");
}
