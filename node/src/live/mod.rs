//! A running node: the engine on its thread, the network, the RPC server and the miner in their tasks.
//!
//! [`run`] starts everything in the order in which it depends on one another and ends it in reverse. The end
//! of any part ends the node: a half-dead node is worse than none (threat S12).

pub mod backend;
pub mod clock;
mod descriptors;
pub mod mining;
pub mod rpc_url;
pub mod saved_files;
pub mod thread;
mod watched;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use chain::{
    genesis::Chain,
    hash::BlockHash,
    ledger::{Ledger, OpenError},
    pow::Work,
    store::StoreError,
};
use miner::MinerError;
use rpc::{
    auth::{Accounts, Cookie, CookieError, Credentials},
    server::{ServeError, ServerConfig},
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
};

use self::{
    backend::{Connections, NodeBackend},
    clock::Clock,
    mining::MiningConfig,
    rpc_url::RpcUrlFile,
    saved_files::SavedFiles,
    thread::{Beside, EngineError, EngineHandle, NetQueues},
    watched::Watched,
};
use crate::{
    engine::Engine,
    metrics::{self, Metrics},
    p2p::{ConnectionCaps, NetConfig, NetError, Service, conditions::Lab},
    store::{
        DataDirLock, LockError, OpenStoreError, RocksStore, StoreOptions, StoreReader,
        index::{self, IndexHandle, IndexOptions},
    },
    telemetry,
};

/// How long a second process waits for a dying one to let go of the data folder.
pub const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How often a long start says how far it is.
const TELLING_INTERVAL: Duration = Duration::from_secs(2);
/// The folder, in the data folder, that holds the indexes.
pub const INDEX_FOLDER: &str = "index";
/// How this program introduces itself to peers.
pub const AGENT: &str = concat!("/cairn:", env!("CARGO_PKG_VERSION"), "/");

/// Everything that a node must be told.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The chain.
    pub chain: Chain,
    /// Whether blocks may be made on demand: on chains for development alone.
    pub lab: bool,
    /// The folder that belongs to this node alone.
    pub datadir: PathBuf,
    /// How the store is opened.
    pub store: StoreOptions,
    /// Whether everything but the block files is made anew before the node starts.
    pub reindex: bool,
    /// Multiaddresses to listen on for peers.
    pub listen: Vec<String>,
    /// Addresses of peers to stay connected to.
    pub bootstrap: Vec<String>,
    /// Peers that the node finds and stays connected to by itself.
    pub outbound: usize,
    /// Whether nodes on the local network are looked for.
    pub search_nearby: bool,
    /// Where the RPC server listens.
    pub rpc_listen: SocketAddr,
    /// Whether the RPC server may listen where other machines reach it.
    pub rpc_allow_public: bool,
    /// User and password for the RPC, beside the cookie.
    pub rpc_account: Option<(String, String)>,
    /// Whether and how to mine.
    pub mining: Option<MiningConfig>,
    /// What to add to the system's time.
    pub clock_offset_secs: i64,
    /// Whether transactions and addresses are indexed.
    pub index: bool,
    /// A block whose signatures, and those of all below it, are taken for good once it is on the best chain.
    pub assume_valid: Option<BlockHash>,
    /// The work that a chain must show before its headers are kept.
    pub minimum_work: Work,
    /// Where metrics are served, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether the RPC may make the network worse, which needs a chain for development.
    pub has_conditions: bool,
    /// How the node tells of itself.
    pub telemetry: telemetry::Options,
}

/// Why a node could not start or had to stop.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The data folder is in use.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The store cannot be opened.
    #[error(transparent)]
    OpenStore(#[from] OpenStoreError),
    /// What is stored is no ledger.
    #[error(transparent)]
    OpenLedger(#[from] OpenError),
    /// The engine ended.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The indexer ended.
    #[error("the indexer has failed, and the node cannot go on: {0}")]
    Index(StoreError),
    /// The indexer's thread cannot be started.
    #[error("the indexer's thread cannot be started: {0}")]
    IndexThread(std::io::Error),
    /// The network ended.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The RPC server ended.
    #[error(transparent)]
    Rpc(#[from] ServeError),
    /// The miner cannot be started.
    #[error(transparent)]
    Miner(#[from] MinerError),
    /// A file in the data folder cannot be written.
    #[error("{path}: {error}; check that the folder exists, is yours and has room")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// The cookie cannot be written.
    #[error(transparent)]
    Cookie(#[from] CookieError),
    /// The configured account is no account.
    #[error("rpc_user must not be empty or hold a colon, and rpc_password must not be empty")]
    RpcAccount,
    /// A part of the node panicked.
    #[error("{0} has panicked; this is a bug, and the node cannot go on")]
    Panicked(&'static str),
}

/// The tasks of a running node. The end of any of them ends the node.
type Parts = JoinSet<Result<(), NodeError>>;

/// Runs a node until `stop` is done, its RPC is told to stop, or a part of it fails. `started` is called once the
/// engine runs, with a way to watch it.
///
/// # Errors
/// [`NodeError`]: what could not start, or what failed.
pub async fn run(
    config: NodeConfig,
    stop: impl Future<Output = ()>,
    started: impl FnOnce(&EngineHandle),
) -> Result<(), NodeError> {
    std::fs::create_dir_all(&config.datadir)
        .map_err(|error| NodeError::File { path: config.datadir.clone(), error })?;
    let lock = Arc::new(DataDirLock::acquire(&config.datadir, LOCK_WAIT)?);
    let shutdown = Arc::new(watch::channel(false).0);
    let mut parts = Parts::new();
    let first = serve(config, lock.clone(), &shutdown, &mut parts, stop, started).await;
    tracing::info!("shutting down");
    shutdown.send_replace(true);
    // The engine drops the ledger and the store with it, so that the folder is free before the lock is. What
    // a part says of its end counts even where another part's end was seen first.
    let mut outcome = first;
    while let Some(end) = parts.join_next().await {
        outcome = outcome.and(part_ended(end));
    }
    drop(lock);
    outcome
}

/// Starts the parts and waits for the first end of any of them, or for `stop`.
async fn serve(
    config: NodeConfig,
    lock: Arc<DataDirLock>,
    shutdown: &Arc<watch::Sender<bool>>,
    parts: &mut Parts,
    stop: impl Future<Output = ()>,
    started: impl FnOnce(&EngineHandle),
) -> Result<(), NodeError> {
    let stopping = shutdown.subscribe();
    let mut ledger = open_ledger(&config)?;
    if let Some(hash) = config.assume_valid {
        ledger.assume_valid(hash, config.minimum_work);
    }
    let tip = ledger.tip().id;
    tracing::info!(chain = %config.chain.params().name, height = %tip.height, hash = %tip.hash, "ledger open");

    let (mut registry, snapshot) = metrics::registry();
    let metrics = Metrics::register(&mut registry, &config.chain.params().name);
    let net = NetConfig {
        chain: config.chain.id(),
        listen: config.listen.clone(),
        bootstrap: config.bootstrap.clone(),
        identity_file: config.datadir.join("p2p.key"),
        peers_file: config.datadir.join("peers.dat"),
        outbound_places: config.outbound,
        search_nearby: config.search_nearby,
        caps: descriptors::fit(ConnectionCaps::default()),
    };
    let mut service = Service::metered(net, &mut registry)?;
    let lab = config.has_conditions.then(|| Arc::new(Lab::default()));
    if let Some(lab) = &lab {
        tracing::warn!("the network's conditions can be made worse by RPC");
        service = service.with_lab(Arc::clone(lab));
    }
    let net_view = service.view();
    telemetry::otlp::name_node(net_view.identity());
    let listener = rpc::server::bind(config.rpc_listen, config.rpc_allow_public).await?;
    let rpc_address = listener.local_addr().map_err(ServeError::Listener)?;
    let (_cookie, accounts) = accounts(&config)?;
    let _rpc_url = RpcUrlFile::create(&config.datadir, rpc_address)
        .map_err(|error| NodeError::File { path: config.datadir.clone(), error })?;

    let (to_net, commands) = mpsc::channel(thread::MAX_TO_NET);
    let (events, from_net) = mpsc::channel(thread::MAX_FROM_NET);
    let queues = NetQueues { from: from_net, to: to_net.clone() };
    let clock = Clock::new(config.clock_offset_secs);
    let index = if config.index {
        Some(start_index(&config, ledger.store().reader(), stopping.clone(), parts)?)
    } else {
        None
    };
    let engine = Engine::new(ledger, AGENT.into()).with_minimum_work(config.minimum_work);
    let saved = SavedFiles::in_folder(&config.datadir);
    let beside = Beside { saved, index: index.clone(), metrics: metrics.clone() };
    let (engine, engine_end) = thread::spawn(engine, clock, queues, beside, stopping.clone())?;
    parts.spawn(async { Ok(engine_end.await.map_err(|_| NodeError::Panicked("the engine"))??) });
    started(&engine);
    let net = service.run(commands, events, until(stopping.clone()));
    parts.spawn(async { Ok(net.await?) });

    let miner = match &config.mining {
        Some(mining) => Some((mining.clone(), Arc::new(mining::start(mining, engine.clone())?))),
        None => None,
    };
    if let Some((mining, miner)) = &miner {
        let task = mining::run(miner.clone(), mining.address, engine.clone(), stopping.clone());
        parts.spawn(async {
            task.await;
            Ok(())
        });
    }
    if let Some(address) = config.metrics_listen {
        let watched = Watched {
            registry,
            snapshot,
            engine: engine.clone(),
            net: net_view.clone(),
            index: index.clone(),
            coin_cache_limit_bytes: config.store.db_cache_bytes,
        };
        watched::serve(address, watched, stopping.clone(), parts).await?;
    }
    let connections = Connections {
        engine,
        to_net,
        net: net_view.clone(),
        miner,
        shutdown: shutdown.clone(),
        index,
        lock,
        lab,
    };
    let backend = Arc::new(NodeBackend::new(&config, connections));
    let server = ServerConfig { accounts, allowed_hosts: Vec::new(), observer: Some(Arc::new(metrics)) };
    let rpc = rpc::server::serve(listener, backend, server, until(stopping.clone()));
    parts.spawn(async { Ok(rpc.await?) });
    tracing::info!(rpc = %rpc_address, "node started");

    tokio::select! {
        () = stop => Ok(()),
        () = until(stopping) => Ok(()),
        Some(end) = parts.join_next() => part_ended(end),
    }
}

/// Opens the index and starts the indexer as one of the parts.
fn start_index(
    config: &NodeConfig,
    reader: StoreReader,
    stopping: watch::Receiver<bool>,
    parts: &mut Parts,
) -> Result<IndexHandle, NodeError> {
    let path = config.datadir.join(INDEX_FOLDER);
    let database = index::open(&path, &config.chain, &IndexOptions::default(), &reader)?;
    let (handle, mut end) = index::spawn(database, reader).map_err(NodeError::IndexThread)?;
    let stop = handle.clone();
    parts.spawn(async move {
        let ended = tokio::select! {
            ended = &mut end => ended,
            () = until(stopping) => {
                stop.stop();
                end.await
            }
        };
        ended.map_err(|_| NodeError::Panicked("the indexer"))?.map_err(NodeError::Index)
    });
    Ok(handle)
}

/// Opens the store and the ledger over it. What is above the flushed tip, and after `--reindex` everything, is
/// connected again, which may take long and is told in the log.
fn open_ledger(config: &NodeConfig) -> Result<Ledger<RocksStore>, NodeError> {
    let store = if config.reindex {
        tracing::info!("making everything but the block files anew");
        RocksStore::reindex(&config.datadir, &config.chain, &config.store)?
    } else {
        RocksStore::open(&config.datadir, &config.chain, &config.store)?
    };
    let mut told = Instant::now();
    let mut ledger = Ledger::open_watched(config.chain.clone(), store, &mut |height, goal| {
        if told.elapsed() >= TELLING_INTERVAL {
            told = Instant::now();
            tracing::info!(%height, of = %goal, "connecting the blocks that are here");
        }
    })?;
    // The indexer follows the tip on the disk; it need not walk down to one that is passed already.
    ledger.flush().map_err(OpenError::from)?;
    Ok(ledger)
}

fn part_ended(end: Result<Result<(), NodeError>, JoinError>) -> Result<(), NodeError> {
    end.unwrap_or(Err(NodeError::Panicked("a task")))
}

/// Who may call the RPC: whoever reads the cookie, and the configured account. The cookie is removed when the
/// value is dropped.
fn accounts(config: &NodeConfig) -> Result<(Cookie, Accounts), NodeError> {
    let cookie = Cookie::create(&config.datadir)?;
    let mut accounts = vec![cookie.credentials().clone()];
    if let Some((user, password)) = &config.rpc_account {
        accounts.push(Credentials::new(user, password).ok_or(NodeError::RpcAccount)?);
    }
    Ok((cookie, Accounts::new(accounts)))
}

async fn until(mut stopping: watch::Receiver<bool>) {
    // The sender's end means the same.
    drop(stopping.wait_for(|stop| *stop).await);
}
