//! `cairn chain`: what can be typed of chains.

use std::{num::NonZeroU64, path::PathBuf};

use chain::{amount::Amount, pow::CompactTarget};
use clap::{Args, Subcommand};

use super::numbers::{amount, db_cache, whole};

/// `cairn chain`.
#[derive(Debug, Args)]
pub struct ChainArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ChainCommand,
}

/// What can be done with chains.
#[derive(Debug, Subcommand)]
pub enum ChainCommand {
    /// Write a chain file: every node of the chain needs it, unchanged
    New(Box<ChainNewArgs>),
    /// Write the chain of a data folder into one file
    Export(ChainExportArgs),
    /// Take a chain from such a file, holding every block against all rules
    Import(ChainImportArgs),
    /// Replay a stored chain from genesis and compare the outcome with what is stored
    Verify(ChainVerifyArgs),
}

/// `cairn chain new`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  cairn chain new --name class --spacing 30 --hash-rate 1000000 --out class.toml\n  \
    cairn node --chain class.toml"
)]
pub struct ChainNewArgs {
    /// Lower-case letters, digits, hyphens
    #[arg(long)]
    pub name: String,
    /// What addresses begin with: lower-case letters [default: the letters of the name]
    #[arg(long)]
    pub prefix: Option<String>,
    /// The aim: seconds between blocks
    #[arg(long, value_name = "SECS", default_value_t = 60, allow_negative_numbers = true,
        value_parser = whole::<u32>(0..=u64::from(u32::MAX)))]
    pub spacing: u32,
    /// Seconds of delay after which the target doubles; 0 for a target that never changes [default: 288 spacings]
    #[arg(long, value_name = "SECS")]
    pub half_life: Option<u32>,
    /// CRN for the miner of block 1
    #[arg(long, value_name = "CRN", default_value = "50", allow_negative_numbers = true, value_parser = amount)]
    pub reward: Amount,
    /// Blocks after which the reward halves
    #[arg(long, value_name = "BLOCKS", default_value_t = 210_000, allow_negative_numbers = true,
        value_parser = whole::<u32>(0..=u64::from(u32::MAX)))]
    pub halving: u32,
    /// Blocks after which a miner may spend what was mined
    #[arg(long, value_name = "BLOCKS", default_value_t = 100, allow_negative_numbers = true,
        value_parser = whole::<u32>(0..=u64::from(u32::MAX)))]
    pub maturity: u32,
    /// The most bytes of a block
    #[arg(long, value_name = "BYTES", default_value_t = 2_000_000)]
    pub max_block_bytes: u32,
    /// The most signatures of a block
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub max_block_signatures: u32,
    /// The first target, as 8 hexadecimal digits [default: that of --limit-bits]
    #[arg(long, value_name = "BITS", conflicts_with = "hash_rate")]
    pub initial_bits: Option<CompactTarget>,
    /// A first target that suits so many hashes a second, of all miners together
    #[arg(long, value_name = "HASHES", allow_negative_numbers = true,
        value_parser = whole::<NonZeroU64>(1..=u64::MAX))]
    pub hash_rate: Option<NonZeroU64>,
    /// The easiest target that there may be, as 8 hexadecimal digits
    #[arg(long, value_name = "BITS", default_value = "207fffff")]
    pub limit_bits: CompactTarget,
    /// The time of the genesis block, in Unix seconds [default: now]
    #[arg(long, value_name = "UNIX-SECS")]
    pub genesis_time: Option<u32>,
    /// Words for the genesis block
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub message: String,
    /// Mark it as a chain for development, on which blocks may be made on demand
    #[arg(long)]
    pub lab: bool,
    /// Where to write the file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Which chain in which data folder, as for `cairn node`.
#[derive(Debug, Default, Clone, Args)]
pub struct StoredChainArgs {
    /// The chain: main, test, dev, or a file that `cairn chain new` has made [default: main]
    #[arg(long, env = "CAIRN_CHAIN", value_name = "NAME-OR-FILE")]
    pub chain: Option<String>,
    /// The data folder, which no node may be using [default: ~/.cairn/<chain>]
    #[arg(long, env = "CAIRN_DATADIR", value_name = "DIR")]
    pub datadir: Option<PathBuf>,
    /// Memory for the coins, in MiB
    #[arg(long, env = "CAIRN_DB_CACHE", value_name = "MIB", allow_negative_numbers = true,
        value_parser = db_cache)]
    pub db_cache: Option<u32>,
}

/// `cairn chain export`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cairn chain export --chain dev --out dev.chain")]
pub struct ChainExportArgs {
    /// Of what.
    #[command(flatten)]
    pub stored: StoredChainArgs,
    /// Where to write it; there must be nothing of that name
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `cairn chain import`.
#[derive(Debug, Args)]
#[command(after_help = "An import that was cut off goes on when it is started again.\n\nExample:\n  \
    cairn chain import --chain dev --datadir /srv/cairn dev.chain")]
pub struct ChainImportArgs {
    /// Into what.
    #[command(flatten)]
    pub stored: StoredChainArgs,
    /// The file that `cairn chain export` has written
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `cairn chain verify`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cairn chain verify --chain dev --datadir /srv/cairn")]
pub struct ChainVerifyArgs {
    /// Of what.
    #[command(flatten)]
    pub stored: StoredChainArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
