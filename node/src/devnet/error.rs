//! What can go wrong with a devnet, each with what to do about it.

use std::{io, path::PathBuf};

use chain::store::StoreError;
use thiserror::Error;
use wallet::SeedError;

use super::premine::PremineError;
use crate::{
    chain_file::ChainFileError,
    store::{Holder, LockError, OpenStoreError},
};

/// Why a devnet cannot start or go on.
#[derive(Debug, Error)]
pub enum DevnetError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// A file of the devnet is not what it should be.
    #[error("{path} is not understood: {reason}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// Another supervisor runs a devnet in the folder.
    #[error(
        "a devnet is running in {folder} already, under {}; end it first, or choose another folder with --datadir",
        .holder.as_ref().map_or_else(|| "another process".to_owned(), ToString::to_string)
    )]
    Running {
        /// The folder.
        folder: PathBuf,
        /// Who runs it, where that is known.
        holder: Option<Holder>,
    },
    /// A lock file cannot be used, or a node's folder is in use.
    #[error(transparent)]
    Lock(LockError),
    /// Something of a name that the devnet needs is in its way.
    #[error(
        "{0} is in the way, and no devnet made it: move it away, or choose another folder with --datadir"
    )]
    InTheWay(PathBuf),
    /// The folder holds a devnet of another size.
    #[error(
        "the devnet in {folder} has {has} nodes, not {wanted}: start it with --nodes {has}, or choose another \
        folder with --datadir"
    )]
    OtherSize {
        /// The folder.
        folder: PathBuf,
        /// How many it has.
        has: u8,
        /// How many were asked for.
        wanted: u8,
    },
    /// More or fewer nodes than there can be.
    #[error("a devnet has 1 to 26 nodes, not {0}")]
    Nodes(u8),
    /// The ports from the base on run out.
    #[error("--base-port {base_port} leaves no room for two ports for each of {nodes} nodes: at most {most}")]
    BasePort {
        /// The first port.
        base_port: u16,
        /// How many nodes.
        nodes: u8,
        /// The highest base port.
        most: u16,
    },
    /// A port is taken.
    #[error(
        "the port {port} on 127.0.0.1, which {name} needs for {what}, is not free ({error}): end what uses it, \
        or give the devnet other ports with --base-port"
    )]
    PortTaken {
        /// Which port.
        port: u16,
        /// The node.
        name: &'static str,
        /// What it needs it for.
        what: &'static str,
        /// The system's words.
        error: io::Error,
    },
    /// No free ports are to be had.
    #[error("no free port on 127.0.0.1: {0}")]
    NoPort(io::Error),
    /// The first blocks would take too long.
    #[error(
        "this devnet's first blocks would take {hashes} hashes, at most {most} are allowed: ask for less with \
        --hash-rate, --spacing or --nodes"
    )]
    TooMuchWork {
        /// How many hashes they are expected to take.
        hashes: u64,
        /// How many they may.
        most: u64,
    },
    /// The chain file cannot be written or read.
    #[error(transparent)]
    Chain(#[from] ChainFileError),
    /// New words for a wallet.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// A wallet cannot be made.
    #[error(transparent)]
    Wallet(#[from] wallet::WalletError),
    /// The first blocks.
    #[error(transparent)]
    Premine(#[from] PremineError),
    /// A node's store cannot be opened.
    #[error(transparent)]
    OpenStore(#[from] OpenStoreError),
    /// A node's store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A node cannot be started.
    #[error("{program} cannot be started for {name}: {error}")]
    Spawn {
        /// What was to be run.
        program: PathBuf,
        /// For which node.
        name: &'static str,
        /// The system's words.
        error: io::Error,
    },
    /// A node ended before the devnet was ready.
    #[error("{name} has {how} before the devnet was ready; the end of {log}:\n{tail}")]
    EndedEarly {
        /// The node.
        name: &'static str,
        /// How it ended.
        how: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of its log.
        tail: String,
    },
    /// Something else answers where a node should.
    #[error(
        "what answers at {url} runs another chain than {name} should: end it, or give the devnet other ports \
        with --base-port"
    )]
    Stranger {
        /// The node.
        name: &'static str,
        /// Its RPC.
        url: String,
    },
    /// Time is up.
    #[error("after {secs} s the devnet is not ready: {missing}; the nodes' logs are {folder}/*/node.log")]
    NotReady {
        /// How long it took.
        secs: u64,
        /// What was missing.
        missing: String,
        /// The devnet's folder.
        folder: PathBuf,
    },
    /// The system lets us watch neither children nor time.
    #[error("the nodes cannot be supervised: {0}")]
    Supervision(io::Error),
    /// A task of the supervisor panicked.
    #[error("the devnet's supervisor has panicked; this is a bug")]
    Panicked,
}

impl DevnetError {
    /// The error of a file.
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::File { path, error }
    }
}
