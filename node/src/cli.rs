//! What can be typed: the commands of `cairn`, their flags, and the environment variables behind them.
//!
//! Other people's scripts rely on every name here: names are added, never changed.

mod chain;
mod formats;
mod numbers;

use std::{
    net::SocketAddr,
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
};

use ::chain::{amount::Amount, hash::BlockHash, pow::Work, transaction::OutPoint};
use clap::{ArgAction, Args, Parser, Subcommand};
use clap_complete::Shell;

pub use self::chain::{
    ChainArgs, ChainCommand, ChainExportArgs, ChainImportArgs, ChainNewArgs, ChainVerifyArgs, StoredChainArgs,
};
pub use self::formats::LogFormat;
use self::numbers::{amount, db_cache, whole, word_count};
use crate::config::Settings;

/// A proof-of-work ledger: node, wallet, miner and devnet in one program.
#[derive(Debug, Parser)]
#[command(name = "cairn", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:\n  cairn devnet\n  cairn node --chain dev\n  cairn wallet balance\n  \
    cairn rpc getblockchaininfo")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a full node
    Node(Box<NodeArgs>),
    /// Keep keys, receive and send coins
    Wallet(Box<WalletArgs>),
    /// Measure how fast this machine mines
    Mine(MineArgs),
    /// Run several real nodes on this machine
    Devnet(DevnetArgs),
    /// Call a method of a node and print its result
    Rpc(RpcArgs),
    /// Make a chain of your own; move a chain as one file; verify a stored one
    Chain(ChainArgs),
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  cairn completions bash > ~/.local/share/bash-completion/completions/cairn"
    )]
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// `cairn node`.
#[derive(Debug, Default, Args)]
#[command(
    after_help = "Settings come from flags, else from CAIRN_* in the environment, else from cairn.toml in \
    the data folder.\nLogs go to stderr; RUST_LOG=debug shows more.\n\nExamples:\n  cairn node --chain dev\n  \
    cairn node --datadir /srv/cairn --mine crn1...\n  \
    cairn node --chain class.toml --bootstrap /ip4/192.0.2.7/tcp/28444"
)]
pub struct NodeArgs {
    /// The chain: main, test, dev, or a file that `cairn chain new` has made [default: main]
    #[arg(long, env = "CAIRN_CHAIN", value_name = "NAME-OR-FILE")]
    pub chain: Option<String>,
    /// The folder that belongs to this node alone [default: ~/.cairn/<chain>]
    #[arg(long, env = "CAIRN_DATADIR", value_name = "DIR")]
    pub datadir: Option<PathBuf>,
    /// The configuration file [default: cairn.toml in the data folder]
    #[arg(long, env = "CAIRN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where peers may connect, as a multiaddress; may be repeated
    #[arg(long, env = "CAIRN_LISTEN", value_name = "MULTIADDR", value_delimiter = ',')]
    pub listen: Option<Vec<String>>,
    /// Where the RPC server listens
    #[arg(long, env = "CAIRN_RPC_LISTEN", value_name = "IP:PORT")]
    pub rpc_listen: Option<SocketAddr>,
    /// A user for the RPC, beside the cookie file
    #[arg(long, env = "CAIRN_RPC_USER", value_name = "USER")]
    pub rpc_user: Option<String>,
    /// That user's password; the environment hides it from other users of this machine
    #[arg(long, env = "CAIRN_RPC_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    pub rpc_password: Option<String>,
    /// Let the RPC server listen where other machines reach it
    #[arg(long, env = "CAIRN_RPC_ALLOW_PUBLIC", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub rpc_allow_public: Option<bool>,
    /// A peer to stay connected to, as a multiaddress or HOST:PORT; may be repeated
    #[arg(long, env = "CAIRN_BOOTSTRAP", value_name = "ADDR", value_delimiter = ',')]
    pub bootstrap: Option<Vec<String>>,
    /// Peers to find and stay connected to beside those [default: 8; 0 where the node listens on loopback alone]
    #[arg(long, env = "CAIRN_OUTBOUND", value_name = "N", allow_negative_numbers = true,
        value_parser = whole::<u8>(0..=16))]
    pub outbound: Option<u8>,
    /// Look for no nodes on the local network
    #[arg(long, env = "CAIRN_NO_MDNS", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub no_mdns: Option<bool>,
    /// Mine, and let the blocks pay this address
    #[arg(long, env = "CAIRN_MINE", value_name = "ADDRESS")]
    pub mine: Option<String>,
    /// Threads that mine [default: one for each core]
    #[arg(long, env = "CAIRN_MINING_THREADS", value_name = "N")]
    pub mining_threads: Option<NonZeroUsize>,
    /// Mine with at most so many hashes a second
    #[arg(long, env = "CAIRN_THROTTLE", value_name = "HASHES", allow_negative_numbers = true,
        value_parser = whole::<NonZeroU64>(1..=u64::MAX))]
    pub throttle: Option<NonZeroU64>,
    /// Add so many seconds to this machine's clock
    #[arg(long, env = "CAIRN_CLOCK_OFFSET", value_name = "SECS", allow_negative_numbers = true)]
    pub clock_offset: Option<i64>,
    /// Keep no index of transactions and addresses: no answers about addresses, nor about mined transactions by id
    #[arg(long, env = "CAIRN_NO_INDEX", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub no_index: Option<bool>,
    /// Memory for the coins, in MiB
    #[arg(long, env = "CAIRN_DB_CACHE", value_name = "MIB", allow_negative_numbers = true,
        value_parser = db_cache)]
    pub db_cache: Option<u32>,
    /// Verify no signatures up to this block, once it is on the chain with the most work; everything else is verified
    #[arg(long, env = "CAIRN_ASSUME_VALID", value_name = "HASH")]
    pub assume_valid: Option<BlockHash>,
    /// Keep no headers of a chain that shows less work than this, 64 hexadecimal digits as in `chainwork`
    #[arg(long, env = "CAIRN_MINIMUM_WORK", value_name = "WORK")]
    pub minimum_work: Option<Work>,
    /// Serve metrics for Prometheus at http://IP:PORT/metrics, without a password: bind 127.0.0.1 or a private address
    #[arg(long, env = "CAIRN_METRICS_LISTEN", value_name = "IP:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// Send spans of blocks and payments to an OpenTelemetry collector, by OTLP over HTTP
    #[arg(long, env = "CAIRN_OTLP", value_name = "URL")]
    pub otlp: Option<String>,
    /// How log lines are written
    #[arg(long, env = "CAIRN_LOG_FORMAT", value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// Let the RPC delay, lose and block the traffic with peers, on chains for development alone
    #[arg(long, env = "CAIRN_LAB", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub lab: Option<bool>,
    /// Make everything but the block files anew from them, then go on
    #[arg(long)]
    pub reindex: bool,
    /// End in good order when standard input ends, so that no node outlives what has started it
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
}

impl NodeArgs {
    /// The layer of settings that flags and environment make.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            chain: self.chain.clone(),
            listen: self.listen.clone(),
            rpc_listen: self.rpc_listen,
            rpc_allow_public: self.rpc_allow_public,
            rpc_user: self.rpc_user.clone(),
            rpc_password: self.rpc_password.clone(),
            bootstrap: self.bootstrap.clone(),
            outbound: self.outbound,
            no_mdns: self.no_mdns,
            mine: self.mine.clone(),
            mining_threads: self.mining_threads,
            throttle_hashes_per_sec: self.throttle.map(NonZeroU64::get),
            clock_offset_secs: self.clock_offset,
            no_index: self.no_index,
            db_cache_mib: self.db_cache,
            assume_valid: self.assume_valid,
            minimum_work: self.minimum_work,
            metrics_listen: self.metrics_listen,
            otlp: self.otlp.clone(),
            log_format: self.log_format.map(Into::into),
            lab: self.lab,
        }
    }
}

/// `cairn devnet`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  cairn devnet\n  cairn devnet --nodes 3 --datadir /tmp/net --spacing 2")]
pub struct DevnetArgs {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 4, allow_negative_numbers = true,
        value_parser = whole::<u8>(1..=26))]
    pub nodes: u8,
    /// The folder for their data [default: ~/.cairn/devnet]
    #[arg(long, value_name = "DIR")]
    pub datadir: Option<PathBuf>,
    /// Node i takes the ports P+2i for peers and P+2i+1 for the RPC [default: free ones, picked once]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    pub base_port: Option<u16>,
    /// The aim: seconds between blocks
    #[arg(long, value_name = "SECS", default_value_t = 5, allow_negative_numbers = true,
        value_parser = whole::<u32>(1..=u64::from(u32::MAX)))]
    pub spacing: u32,
    /// How fast each node mines, in hashes a second
    #[arg(long, value_name = "HASHES", default_value_t = 2_000, allow_negative_numbers = true,
        value_parser = whole::<u64>(1..=u64::MAX))]
    pub hash_rate: u64,
}

/// How to reach a node: flags that `cairn rpc` and `cairn wallet` share.
#[derive(Debug, Default, Clone, Args)]
pub struct ConnectArgs {
    /// The node's RPC, such as http://127.0.0.1:8445
    #[arg(long, global = true, env = "CAIRN_NODE", value_name = "URL")]
    pub node: Option<String>,
    /// The node's data folder: a running node has put there how to reach it
    #[arg(long, global = true, env = "CAIRN_DATADIR", value_name = "DIR")]
    pub datadir: Option<PathBuf>,
    /// The node's cookie file
    #[arg(long, global = true, env = "CAIRN_COOKIE_FILE", value_name = "FILE")]
    pub cookie_file: Option<PathBuf>,
    /// A user instead of the cookie
    #[arg(long, global = true, env = "CAIRN_RPC_USER", value_name = "USER")]
    pub user: Option<String>,
    /// That user's password
    #[arg(long, global = true, env = "CAIRN_RPC_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// The chain, for its default port and folder: main, test, dev, or a chain file
    #[arg(long, global = true, env = "CAIRN_CHAIN", value_name = "NAME-OR-FILE")]
    pub chain: Option<String>,
}

/// `cairn rpc`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --node and --datadir the node is the first one of the devnet.json in this folder \
    or above it, else\nthe one at the chain's default port.\n\nExamples:\n  cairn rpc help\n  \
    cairn rpc getblock \"$(cairn rpc getbestblockhash)\" 2\n  cairn rpc --chain dev generatetoaddress 1 dcrn1..."
)]
pub struct RpcArgs {
    /// Which node.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// The method; `help` lists them
    pub method: String,
    /// Its parameters: JSON where they are JSON, else text
    #[arg(allow_negative_numbers = true)]
    pub args: Vec<String>,
}

/// `cairn wallet`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cairn wallet new --chain dev\n  cairn wallet --wallet alice.json balance\n  \
    cairn wallet send crn1... 1.5 --fee-rate 2000\n  \
    cairn wallet --wallet alice.json --node http://127.0.0.1:28445 send dcrn1... 1.5 --yes --json"
)]
pub struct WalletArgs {
    /// The wallet's file [default: wallet.json in the data folder of the chain, ~/.cairn/<chain>]
    #[arg(long, global = true, env = "CAIRN_WALLET", value_name = "FILE")]
    pub wallet: Option<PathBuf>,
    /// Which node.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// A file whose first line is the passphrase; else CAIRN_PASSPHRASE, else you are asked
    #[arg(long, global = true, env = "CAIRN_PASSPHRASE_FILE", value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Ask nothing
    #[arg(long, short, global = true)]
    pub yes: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: WalletCommand,
}

/// What a wallet can do.
#[derive(Debug, Subcommand)]
pub enum WalletCommand {
    /// Make a wallet and show its words, once
    #[command(after_help = "Example:\n  cairn wallet new --chain dev --wallet alice.json")]
    New {
        /// How many words: 12 or 24
        #[arg(long, value_name = "N", default_value_t = 24, value_parser = word_count)]
        words: u8,
    },
    /// Make a wallet again from its words, asked for or read from standard input
    #[command(after_help = "Example:\n  cairn wallet restore --chain dev --wallet alice.json < words.txt")]
    Restore,
    /// Print an address to be paid at
    #[command(after_help = "Example:\n  cairn wallet address --new")]
    Address {
        /// One that nobody was given yet
        #[arg(long, conflicts_with = "list")]
        new: bool,
        /// All that were given out
        #[arg(long)]
        list: bool,
    },
    /// Print what the wallet holds
    #[command(after_help = "Example:\n  cairn wallet balance --json")]
    Balance,
    /// Print the coins one by one
    #[command(after_help = "Example:\n  cairn wallet coins")]
    Coins,
    /// Pay somebody
    #[command(after_help = "Examples:\n  cairn wallet send crn1... 1.5\n  \
        cairn wallet send crn1... 1.5 --fee-rate 2000 --yes --json\n  \
        cairn wallet send crn1... 1.5 --coins TXID:0,TXID:1")]
    Send(SendArgs),
    /// Print the payments, the newest last
    #[command(after_help = "Example:\n  cairn wallet history --count 10")]
    History {
        /// At most so many, the newest
        #[arg(long, value_name = "N", default_value_t = 100, allow_negative_numbers = true,
            value_parser = whole::<u32>(1..=1_000))]
        count: u32,
    },
}

/// `cairn wallet send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Whom
    pub address: String,
    /// How many CRN, with at most 8 decimals
    #[arg(allow_negative_numbers = true, value_parser = amount)]
    pub amount: Amount,
    /// Pebbles that the miner gets for each 1,000 bytes [default: 1000, or what the node asks for]
    #[arg(long, value_name = "PEBBLES", allow_negative_numbers = true, value_parser = whole::<u64>(0..=u64::MAX))]
    pub fee_rate: Option<u64>,
    /// Spend exactly these coins, even where they are spent already; may be repeated
    #[arg(long, value_name = "TXID:INDEX", value_delimiter = ',', action = ArgAction::Append)]
    pub coins: Vec<OutPoint>,
}

/// `cairn mine`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cairn mine --benchmark --secs 5")]
pub struct MineArgs {
    /// Measure: a plain loop, one thread, all threads
    #[arg(long)]
    pub benchmark: bool,
    /// Threads of the last measurement [default: one for each core]
    #[arg(long, value_name = "N", requires = "benchmark")]
    pub threads: Option<NonZeroUsize>,
    /// Seconds for each of the three measurements
    #[arg(long, value_name = "SECS", default_value_t = 3, requires = "benchmark",
        allow_negative_numbers = true, value_parser = whole::<u64>(1..=3_600))]
    pub secs: u64,
    /// Print JSON
    #[arg(long, requires = "benchmark")]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn visit(command: &clap::Command) {
            let leaf = command.get_subcommands().next().is_none();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(!leaf || help.contains("Example"), "{} shows no example", command.get_name());
            command.get_subcommands().for_each(visit);
        }
        visit(&Cli::command());
    }

    #[test]
    fn wallet_flags_stand_on_either_side() {
        let sent = |line: &str| match parse(line).expect(line).command {
            Command::Wallet(args) => match args.command {
                WalletCommand::Send(send) => {
                    let wallet = args.wallet.expect("named");
                    (wallet, args.connect.node, args.json, args.yes, send.amount, send.fee_rate)
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        let before = sent("cairn wallet --wallet a.json --node u --yes --json send crn1x 1.5 --fee-rate 7");
        let after = sent("cairn wallet send crn1x 1.5 --fee-rate 7 --wallet a.json --node u --yes --json");
        assert_eq!(before, after);
        assert_eq!(before.4, Amount::from_pebbles(150_000_000));
    }

    #[test]
    fn coins_are_repeated_or_separated_by_commas() {
        let (one, two) = (format!("{}:0", "ab".repeat(32)), format!("{}:1", "cd".repeat(32)));
        for coins in [format!("--coins {one},{two}"), format!("--coins {one} --coins {two}")] {
            let Command::Wallet(args) =
                parse(&format!("cairn wallet send x 1 {coins}")).expect("parses").command
            else {
                panic!("not a wallet command")
            };
            let WalletCommand::Send(send) = args.command else { panic!("not a payment") };
            let named: Vec<_> = send.coins.iter().map(ToString::to_string).collect();
            assert_eq!(named, [one.clone(), two.clone()]);
        }
    }

    #[test]
    fn node_flags_become_settings() {
        let line = "cairn node --chain dev --listen /ip4/127.0.0.1/tcp/1 --listen /ip4/127.0.0.1/tcp/2 \
            --rpc-allow-public --clock-offset -5 --throttle 9 --mining-threads 1";
        let Command::Node(args) = parse(line).expect("parses").command else { panic!("not a node") };
        let settings = args.settings();
        assert_eq!(settings.listen.map(|listen| listen.len()), Some(2));
        assert_eq!(settings.rpc_allow_public, Some(true));
        assert_eq!(settings.clock_offset_secs, Some(-5));
        assert_eq!(settings.throttle_hashes_per_sec, Some(9));
        assert_eq!(settings.bootstrap, None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for line in [
            "cairn",
            "cairn walk",
            "cairn node --mining-threads 0",
            "cairn node --throttle 0",
            "cairn node --rpc-listen localhost",
            "cairn wallet send crn1x",
            "cairn wallet send crn1x 0.000000001",
            "cairn wallet send crn1x -1",
            "cairn wallet send crn1x 1 --coins nonsense",
            "cairn wallet new --words 13",
            "cairn wallet address --new --list",
            "cairn devnet --nodes 0",
            "cairn devnet --nodes 27",
            "cairn mine --threads 2",
            "cairn chain new --name x --out f --initial-bits 1d00ffff --hash-rate 5",
            "cairn chain new --name x --out f --limit-bits 7",
            "cairn completions klingon",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn rpc_takes_negative_numbers_and_flags_behind_its_parameters() {
        let Command::Rpc(args) =
            parse("cairn rpc getblockhash -1 --node http://h:1").expect("parses").command
        else {
            panic!("not rpc")
        };
        assert_eq!(args.args, ["-1"]);
        assert_eq!(args.connect.node.as_deref(), Some("http://h:1"));
    }
}
