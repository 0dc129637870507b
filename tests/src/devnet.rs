//! A real devnet, `cairn devnet`: its supervisor, its nodes and its wallets, as `devnet.json` tells of them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rpc::client::{Client, Login};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    command::{Outcome, cairn, run, word},
    process::{Process, Signal, is_running, signal_process, tail},
    wait::{require, until, until_deadline},
};

/// How long an orderly end may take (issue: all within 15 s).
pub const ORDERLY_END: Duration = Duration::from_secs(15);

/// The spacing of a devnet unless asked otherwise, in seconds.
pub const DEFAULT_SPACING_SECS: u32 = 5;
/// A spacing that is short and still many times as long as a block takes to reach every node.
pub const FAST_SPACING_SECS: u32 = 2;

/// `devnet.json`: a contract with other people's scripts, hence written down here a second time. Paths are
/// absolute.
#[derive(Debug, Clone, Deserialize)]
pub struct DevnetFile {
    /// The chain file.
    pub chain: PathBuf,
    /// The nodes.
    pub nodes: Vec<NodeEntry>,
    /// The wallets.
    pub wallets: Vec<WalletEntry>,
    /// Whether payments can be made.
    pub ready: bool,
}

/// A node of `devnet.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeEntry {
    /// Its name.
    pub name: String,
    /// Where its RPC is.
    pub rpc_url: String,
    /// Who may call.
    pub cookie_file: PathBuf,
    /// What `--bootstrap` takes.
    pub p2p_address: String,
    /// Its data folder.
    pub datadir: PathBuf,
    /// Its process id.
    pub pid: u32,
}

/// A wallet of `devnet.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct WalletEntry {
    /// Whose it is.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// Its address.
    pub address: String,
    /// The node that mines for it.
    pub node: String,
}

impl NodeEntry {
    /// The node's RPC.
    #[must_use]
    pub fn rpc(&self) -> Client {
        Client::new(&self.rpc_url, Login::CookieFile(self.cookie_file.clone()))
    }

    /// Whether its process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        is_running(self.pid, word(&self.datadir))
    }
}

/// Reads `devnet.json`.
///
/// # Errors
/// Where it is missing or not what it must be.
pub fn read_file(folder: &Path) -> Result<DevnetFile, String> {
    let path = folder.join("devnet.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}: {text}", path.display()))
}

/// A devnet that runs, and ends with this value.
#[derive(Debug)]
pub struct Devnet {
    /// The supervisor.
    pub supervisor: Process,
    folder: PathBuf,
    file: DevnetFile,
}

impl Devnet {
    /// Starts a devnet of so many nodes in a folder and waits until it is ready.
    ///
    /// # Panics
    /// Where it does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start(folder: &Path, nodes: usize) -> Self {
        Self::when_ready(spawn_supervisor(folder, nodes, DEFAULT_SPACING_SECS), folder)
    }

    /// As [`Devnet::start`], with blocks in quick succession: for stories that wait for many of them.
    ///
    /// # Panics
    /// Where it does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start_fast(folder: &Path, nodes: usize) -> Self {
        Self::when_ready(spawn_supervisor(folder, nodes, FAST_SPACING_SECS), folder)
    }

    /// Waits until a supervisor that was just started has made its devnet ready.
    ///
    /// # Panics
    /// Where it does not.
    #[must_use]
    #[track_caller]
    pub fn when_ready(mut supervisor: Process, folder: &Path) -> Self {
        let file = until("the devnet is ready", || {
            if let Some(status) = supervisor.status() {
                panic!("the supervisor ended with {status}:\n{}", supervisor.log());
            }
            let file = read_file(folder)?;
            require(file.ready, || "it says that it is not".into())?;
            Ok(file)
        });
        Self { supervisor, folder: folder.into(), file }
    }

    /// What `devnet.json` says.
    #[must_use]
    pub fn file(&self) -> &DevnetFile {
        &self.file
    }

    /// The folder of the devnet.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The nodes' RPC, in the order of `devnet.json`.
    #[must_use]
    pub fn clients(&self) -> Vec<Client> {
        self.file.nodes.iter().map(NodeEntry::rpc).collect()
    }

    /// The wallet of this name.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    #[track_caller]
    pub fn wallet(&self, name: &str) -> &WalletEntry {
        let found = self.file.wallets.iter().find(|wallet| wallet.name == name);
        found.unwrap_or_else(|| panic!("there is no wallet {name}: {:?}", self.file.wallets))
    }

    /// Runs `cairn wallet` on somebody's file with the node of this index.
    #[must_use]
    pub fn run_wallet(&self, name: &str, node: usize, words: &[&str]) -> Outcome {
        let file = word(&self.wallet(name).file);
        let url = self.file.nodes[node].rpc_url.as_str();
        run(["wallet", "--wallet", file, "--node", url].iter().chain(words))
    }

    /// Pays with somebody's wallet through the node of this index; the answer.
    ///
    /// # Panics
    /// Where the payment is refused.
    #[must_use]
    #[track_caller]
    pub fn pay(&self, from: &str, node: usize, to: &str, amount: &str) -> Value {
        let address = self.wallet(to).address.clone();
        self.run_wallet(from, node, &["send", &address, amount, "--yes", "--json"]).json()
    }

    /// Waits until no process of the devnet runs any more.
    ///
    /// # Panics
    /// Where one runs on after [`ORDERLY_END`].
    #[track_caller]
    pub fn await_end_of_nodes(&self) {
        until_deadline("all nodes have ended", ORDERLY_END, || {
            let running: Vec<_> = self.file.nodes.iter().filter(|node| node.is_running()).collect();
            require(running.is_empty(), || format!("still running: {running:?}"))
        });
    }

    /// Ends the devnet as Ctrl-C in its terminal would not: by a SIGINT to the supervisor alone.
    ///
    /// # Panics
    /// Where anything runs on.
    #[track_caller]
    pub fn interrupt(&mut self) {
        self.supervisor.signal(Signal::INT);
        let supervisor = &mut self.supervisor;
        let status = until_deadline("the supervisor ends", ORDERLY_END, || {
            supervisor.status().ok_or_else(|| "it still runs".into())
        });
        assert!(status.success(), "{status}: {}", self.supervisor.log());
        self.await_end_of_nodes();
    }
}

impl Drop for Devnet {
    #[expect(clippy::print_stderr, reason = "a failing test shows what its processes said")]
    fn drop(&mut self) {
        if self.supervisor.status().is_none() {
            self.supervisor.kill();
        }
        for node in self.file.nodes.iter().filter(|node| node.is_running()) {
            signal_process(node.pid, Signal::KILL);
        }
        if std::thread::panicking() {
            for path in node_logs(&self.folder) {
                eprintln!("---- the end of {} ----\n{}", path.display(), tail(&path));
            }
        }
    }
}

/// Starts the supervisor of a devnet.
///
/// # Panics
/// Where the folder cannot be made.
#[must_use]
pub fn spawn_supervisor(folder: &Path, nodes: usize, spacing_secs: u32) -> Process {
    fs::create_dir_all(folder).expect("the devnet's folder is made");
    let start = (1..).find(|start: &u32| !folder.with_extension(format!("{start}.log")).exists());
    let start = start.expect("there are numbers left");
    let mut command = cairn();
    command.args(["devnet", "--nodes", &nodes.to_string(), "--datadir", word(folder)]);
    command.args(["--spacing", &spacing_secs.to_string()]);
    let (out, log) =
        (folder.with_extension(format!("{start}.out")), folder.with_extension(format!("{start}.log")));
    Process::start(format!("the supervisor of {}", folder.display()), command, &out, &log)
}

/// The log files in a devnet's folder.
fn node_logs(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| {
        let read = fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
        read.unwrap_or_else(|_| Vec::new())
    };
    let inside = |path: PathBuf| if path.is_dir() { entries(&path) } else { vec![path] };
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    entries(folder).into_iter().flat_map(inside).filter(is_log).collect()
}
