//! `make soak SEEDS=N`: simulated networks with faults and hostile peers, one after the other on all cores, until one
//! breaks an invariant. It prints the seed that brings that run back, and what the node did last.

use std::{
    env,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Instant,
};

use node::sim::{self, Attack, Plant, Report, eclipse};

/// Seeds unless asked otherwise.
const SEEDS: u64 = 100;
/// The first seed unless asked otherwise.
const FIRST: u64 = 1;
/// Seeds between two lines that say how far it is.
const REPORT_EVERY: u64 = 100;

/// What was asked for.
struct Wish {
    seeds: u64,
    first: u64,
    plant: Option<Plant>,
    lists: bool,
}

/// Reads `--seeds N`, `--seed S`, `--plant NAME` and `--plants`.
fn wish() -> Result<Wish, String> {
    let mut wish = Wish { seeds: SEEDS, first: FIRST, plant: None, lists: false };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("not a number: {text:?}"));
        match word.as_str() {
            "--seeds" => wish.seeds = number(next()?)?,
            "--seed" => wish.first = number(next()?)?,
            "--plant" => {
                let name = next()?;
                let plant = Plant::find(&name);
                let known = || Plant::names().collect::<Vec<_>>().join(", ");
                wish.plant = Some(plant.ok_or_else(|| format!("{name:?} is not one of {}", known()))?);
            }
            "--plants" => wish.lists = true,
            _ => {
                return Err(format!(
                    "{word:?} is not known: --seeds N, --seed FIRST, --plant NAME, --plants"
                ));
            }
        }
    }
    Ok(wish)
}

/// What all runs came to.
#[derive(Default)]
struct Tally {
    done: AtomicU64,
    events: AtomicU64,
    virtual_ms: AtomicU64,
    blocks: AtomicU64,
    reorganisations: AtomicU64,
    crashes: AtomicU64,
    bans: AtomicU64,
    payments: AtomicU64,
}

impl Tally {
    fn add(&self, report: &Report) -> u64 {
        let add = |counter: &AtomicU64, count: u64| counter.fetch_add(count, Ordering::Relaxed);
        add(&self.events, report.stats.events);
        add(&self.virtual_ms, report.virtual_ms);
        add(&self.blocks, report.stats.found);
        add(&self.reorganisations, report.stats.reorganisations);
        add(&self.crashes, report.stats.crashes);
        add(&self.bans, report.stats.bans);
        add(&self.payments, report.stats.payments);
        add(&self.done, 1) + 1
    }

    fn line(&self, begin: Instant) -> String {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let elapsed_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        // Hundredths of virtual hours a real second.
        let pace = of(&self.virtual_ms).saturating_mul(1_000) / 36_000 / elapsed_ms;
        format!(
            "{} seeds, {} virtual hours, {}.{:02} virtual hours a second; {} events, {} blocks, {} \
             reorganisations, {} crashes, {} bans, {} payments",
            of(&self.done),
            of(&self.virtual_ms) / 3_600_000,
            pace / 100,
            pace % 100,
            of(&self.events),
            of(&self.blocks),
            of(&self.reorganisations),
            of(&self.crashes),
            of(&self.bans),
            of(&self.payments),
        )
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this program is to be read")]
fn main() -> ExitCode {
    let wish = match wish() {
        Ok(wish) => wish,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    if wish.lists {
        Plant::names().for_each(|name| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let begin = Instant::now();
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let tally = Tally::default();
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!(
        "seeds {} to {} on {cores} cores",
        wish.first,
        wish.first.saturating_add(wish.seeds).saturating_sub(1)
    );
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= wish.seeds {
                        return;
                    }
                    let seed = wish.first.saturating_add(number);
                    let report = sim::run(seed, wish.plant);
                    let done = tally.add(&report);
                    if report.failure.is_some() {
                        failed.store(true, Ordering::Relaxed);
                        print_failure(seed, &report, wish.seeds == 1);
                    } else if wish.seeds == 1 {
                        println!(
                            "seed {seed}: events hash to {:016x}, {:?}",
                            report.event_hash, report.stats
                        );
                    } else if done.is_multiple_of(REPORT_EVERY) {
                        println!("{}", tally.line(begin));
                    }
                }
            });
        }
    });
    println!("{}", tally.line(begin));
    if failed.load(Ordering::Relaxed) {
        return ExitCode::FAILURE;
    }
    println!("no invariant is broken");
    if wish.plant.is_none() && !resist_eclipse(&wish, cores) {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Lets somebody with a thousand addresses of four networks try to be all that a node is connected to, as many times as
/// there are seeds; whether fewer than one in a hundred succeed.
#[expect(clippy::print_stdout, reason = "this program is to be read")]
fn resist_eclipse(wish: &Wish, cores: usize) -> bool {
    let next = AtomicU64::new(0);
    let run = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let seeds = numbers.take_while(|number| *number < wish.seeds);
        let seeds = seeds.map(|number| wish.first.saturating_add(number));
        seeds.map(|seed| eclipse(seed, Attack::USUAL).honest).collect::<Vec<_>>()
    };
    let honest: Vec<usize> = thread::scope(|scope| {
        let running: Vec<_> = (0..cores).map(|_| scope.spawn(run)).collect();
        let ended = running.into_iter().map(|thread| thread.join().expect("its panic is ours to pass on"));
        ended.flatten().collect()
    });
    let eclipsed = honest.iter().filter(|honest| **honest == 0).count();
    println!(
        "eclipse: {} of {} restarts ended with an honest outbound peer, the worst with {}",
        honest.len() - eclipsed,
        honest.len(),
        honest.iter().min().copied().unwrap_or_default()
    );
    eclipsed * 100 <= honest.len()
}

/// Says what broke, and what its node did last; of a seed that is run alone what all nodes did last.
#[expect(clippy::print_stdout, reason = "this program is to be read")]
fn print_failure(seed: u64, report: &Report, is_alone: bool) {
    let Some(failure) = &report.failure else { return };
    let who = failure.node.map_or_else(|| "the world".to_owned(), |node| format!("node {node}"));
    println!(
        "FAILED: seed {seed}, at {}.{:03} s: {who} {}",
        failure.ms / 1_000,
        failure.ms % 1_000,
        failure.what
    );
    println!(
        "  replay: make soak SEEDS=1 SEED={seed} (with the same PLANT); events hash to {:016x}",
        report.event_hash
    );
    println!("  {:?}", report.stats);
    for (node, trace) in report.traces.iter().enumerate() {
        if is_alone || failure.node == Some(node) {
            println!("  what node {node} did last:\n{trace}");
        }
    }
}
