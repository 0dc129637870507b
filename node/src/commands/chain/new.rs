//! `cairn chain new`: chains of one's own.

use std::{
    num::NonZeroUsize,
    ops::ControlFlow,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use chain::{
    genesis::{Chain, genesis_block},
    height::Height,
    params::{MAX_PREFIX_BYTES, Params, RuleSet},
    pow::{CompactTarget, Target},
    time::Time,
};
use miner::{
    midstate::Midstate,
    search::{ALL_NONCES, Cursor, Gate, Search},
};

use super::super::{answer, progress::Waiting, say};
use crate::{chain_file::ChainSpec, cli::ChainNewArgs};

/// The half-life where none is named: as many spacings as on the built-in chains.
const SPACINGS_PER_HALF_LIFE: u32 = 288;

/// Makes a chain and writes its file.
///
/// # Errors
/// Parameters that make no chain, and a file that cannot be written.
pub fn run(args: &ChainNewArgs) -> anyhow::Result<()> {
    if args.out.exists() {
        bail!("{} exists already: choose another name with --out", args.out.display());
    }
    // Not after the search has taken its time.
    if let Some(folder) =
        args.out.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
    {
        bail!("there is no folder {}: make it, or name another file with --out", folder.display());
    }
    let params = params(args)?;
    let nonce = mine_genesis(&params)?;
    let chain = Chain::new(params, nonce)?;
    let id = chain.id();
    ChainSpec { chain, lab: args.lab }.write(&args.out)?;
    say(&format!(
        "{} is written. Give it to every node of the chain, and start one with `cairn node --chain {}`.",
        args.out.display(),
        args.out.display()
    ));
    answer(id)
}

fn params(args: &ChainNewArgs) -> anyhow::Result<Params> {
    if matches!(args.name.as_str(), "main" | "test" | "dev") {
        bail!("--name {}: this is a built-in chain's name; choose another one", args.name);
    }
    let prefix = match &args.prefix {
        Some(prefix) => prefix.clone(),
        None => args.name.chars().filter(char::is_ascii_lowercase).take(MAX_PREFIX_BYTES).collect(),
    };
    let half_life_secs = match args.half_life {
        Some(secs) => secs,
        None => args.spacing.saturating_mul(SPACINGS_PER_HALF_LIFE),
    };
    let genesis_time = match args.genesis_time {
        Some(secs) => secs,
        None => now_secs()?,
    };
    let params = Params {
        name: args.name.clone(),
        prefix,
        genesis_time: Time::from_secs(genesis_time),
        message: args.message.clone(),
        initial_bits: initial_bits(args),
        limit_bits: args.limit_bits,
        spacing_secs: args.spacing,
        half_life_secs,
        reward: args.reward,
        halving_blocks: args.halving,
        maturity_blocks: args.maturity,
        max_block_bytes: args.max_block_bytes,
        max_block_signatures: args.max_block_signatures,
        rule_sets: vec![RuleSet { from: Height::ZERO, rules: 1 }],
    };
    params.check()?;
    Ok(params)
}

/// The first target: as named, or such that `--hash-rate` finds a block in each spacing, but never easier than
/// the limit.
fn initial_bits(args: &ChainNewArgs) -> CompactTarget {
    match (args.initial_bits, args.hash_rate) {
        (Some(bits), _) => bits,
        (None, None) => args.limit_bits,
        (None, Some(rate)) => {
            let hashes = rate.get().saturating_mul(u64::from(args.spacing));
            let fitting = Target::from_expected_hashes(hashes);
            let easier = args.limit_bits.to_target().is_ok_and(|limit| fitting > limit);
            if easier { args.limit_bits } else { fitting.to_compact() }
        }
    }
}

fn now_secs() -> anyhow::Result<u32> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    since
        .and_then(|since| u32::try_from(since.as_secs()).ok())
        .context("this machine's clock is outside of 1970 to 2106: set it, or give --genesis-time")
}

/// A nonce that solves the genesis block, found with all cores.
fn mine_genesis(params: &Params) -> anyhow::Result<u32> {
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let search = Search::new(threads)?;
    let target = params.initial_bits.to_target()?.to_be_bytes();
    let midstate = Midstate::new(&genesis_block(params, 0).header.to_bytes());
    // Above every nonce while none was found.
    let found = AtomicU64::new(u64::MAX);
    let waiting = Waiting::start("mining the genesis block");
    search.run(&midstate, &target, &Cursor::new(&ALL_NONCES), search.threads(), &Unlimited, &|nonce| {
        found.store(u64::from(nonce), Ordering::SeqCst);
        ControlFlow::Break(())
    });
    drop(waiting);
    u32::try_from(found.into_inner())
        .ok()
        .context("no nonce solves this genesis block: name an easier --initial-bits or --hash-rate")
}

/// Lets workers through until they find what they search.
struct Unlimited;

impl Gate for Unlimited {
    fn admit(&self, want: u64) -> Option<u64> {
        Some(want)
    }

    fn record(&self, _tested: u64) {}
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{ChainArgs, ChainCommand, Cli, Command};

    fn args(line: &str) -> ChainNewArgs {
        let line = format!("cairn chain new --out unused {line}");
        match Cli::try_parse_from(line.split_whitespace()).expect("parses").command {
            Command::Chain(ChainArgs { command: ChainCommand::New(args) }) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hash_rate_gives_the_target_that_fits() {
        let fitting = initial_bits(&args("--name x --spacing 30 --hash-rate 1000000"));
        let work = fitting.to_target().expect("a target").work().to_u256();
        // Cutting to compact form makes the target a little harder, never easier.
        let hashes: u64 = work.try_into().expect("small");
        assert!((30_000_000..30_100_000).contains(&hashes), "{hashes}");
        assert_eq!(initial_bits(&args("--name x --spacing 1 --hash-rate 1")).to_string(), "207fffff");
        assert_eq!(initial_bits(&args("--name x")).to_string(), "207fffff");
        assert_eq!(initial_bits(&args("--name x --initial-bits 1e00ffff")).to_string(), "1e00ffff");
    }

    #[test]
    fn a_chain_is_made_of_its_parameters() {
        let params = params(&args("--name class-7b --genesis-time 1800000000")).expect("valid");
        assert_eq!(params.prefix, "classb");
        assert_eq!(params.half_life_secs, 288 * 60);
        let nonce = mine_genesis(&params).expect("easy");
        assert!(Chain::new(params, nonce).is_ok());
    }

    #[test]
    fn parameters_that_make_no_chain_are_refused() {
        for line in ["--name dev", "--name X", "--name 7", "--name x --spacing 0", "--name x --halving 0"] {
            assert!(params(&args(line)).is_err(), "{line}");
        }
    }
}
