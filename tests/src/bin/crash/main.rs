//! `make crash ROUNDS=N`: real nodes are killed, filled up and torn, and held to what they had promised.
//!
//! Ends at the first broken promise, with the seed that brings it back.

mod tally;

use std::{env, hash::BuildHasher, time::Instant};

use tests::{
    chance::Chance,
    crash::{deep, round, stage::Stage},
};

use self::tally::Tally;

/// Rounds unless asked otherwise.
const ROUNDS: u64 = 50;
/// The depth of the reorganisation at the end, in blocks.
const DEPTH: u32 = 4_000;

/// What was asked for.
struct Wish {
    rounds: u64,
    seed: u64,
    deep: bool,
}

/// Reads `--rounds N`, `--seed S` and `--no-deep`.
fn wish() -> Result<Wish, String> {
    let seed = std::collections::hash_map::RandomState::new().hash_one(0) >> 16;
    let mut wish = Wish { rounds: ROUNDS, seed, deep: true };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            text.parse::<u64>().map_err(|_| format!("{word} needs a number, not {text:?}"))
        };
        match word.as_str() {
            "--rounds" => wish.rounds = number()?,
            "--seed" => wish.seed = number()?,
            "--no-deep" => wish.deep = false,
            _ => return Err(format!("{word:?} is not known: --rounds N, --seed S, --no-deep")),
        }
    }
    Ok(wish)
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this program is to be read")]
fn main() -> std::process::ExitCode {
    let wish = match wish() {
        Ok(wish) => wish,
        Err(error) => {
            eprintln!("error: {error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    let begin = Instant::now();
    println!("{} rounds from seed {}; a round is run again by its seed:", wish.rounds, wish.seed);
    println!("  make crash ROUNDS=1 SEED=...");
    let mut tally = Tally::default();
    if wish.rounds > 0 {
        let mut stage = Stage::set();
        for number in 0..wish.rounds {
            let seed = wish.seed.wrapping_add(number);
            // Before, since a round that fails does not come back.
            let (plan, _) = tests::crash::plan::plan(seed);
            println!("{:>4}/{} seed {seed}: {:?}, {}", number + 1, wish.rounds, plan.phase, plan.end);
            let shown = round::run(&mut stage, seed);
            println!("          {}", tally.add(&shown));
        }
        stage.strike();
    }
    if wish.deep {
        println!("reorganisation of {DEPTH} blocks under {} MiB", deep::MAX_MEMORY_KIB / 1024);
        let shown = deep::run(DEPTH, &mut Chance::from_seed(wish.seed));
        println!("          {} kills, at most {} MiB", shown.kills, shown.memory_kib / 1024);
    }
    println!("{tally}");
    println!("0 lost blocks in {} s", begin.elapsed().as_secs());
    std::process::ExitCode::SUCCESS
}
