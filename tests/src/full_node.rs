//! One real node, `cairn node`, in a data folder of a story.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
};

use node::config::{CONFIG_FILE, Settings};
use rpc::{
    auth::COOKIE_FILE,
    client::{Client, Login},
};

use crate::{
    answers::answer,
    chains::LabChain,
    command::{cairn, cairn_failpoints, run, word},
    process::Process,
    wait::{require, until},
};

/// Settings of a node on a chain, on loopback ports that the system chooses.
#[must_use]
pub fn settings(chain: &LabChain) -> Settings {
    Settings {
        chain: Some(chain.file.display().to_string()),
        listen: Some(vec!["/ip4/127.0.0.1/tcp/0".into()]),
        rpc_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        ..Settings::default()
    }
}

/// Writes a node's `cairn.toml`.
///
/// # Panics
/// Where it cannot be written.
pub fn configure(datadir: &Path, settings: &Settings) {
    fs::create_dir_all(datadir).expect("the data folder is made");
    let text = toml::to_string(settings).expect("settings can be written as TOML");
    fs::write(datadir.join(CONFIG_FILE), text).expect("cairn.toml is written");
}

/// The command that runs a node on a data folder. It ends with the test that started it, however that ends.
#[must_use]
pub fn node_command(datadir: &Path) -> Command {
    as_node(cairn(), datadir)
}

/// As [`node_command`], with the fail point that `armed` names: `name:count` or `name:count:action`.
#[must_use]
pub fn failpoint_command(datadir: &Path, armed: &str) -> Command {
    let mut command = as_node(cairn_failpoints(), datadir);
    command.env("CAIRN_FAILPOINT", armed);
    command
}

fn as_node(mut command: Command, datadir: &Path) -> Command {
    command.arg("node").arg("--datadir").arg(datadir).arg("--exit-with-stdin");
    command
}

/// A node that runs.
#[derive(Debug)]
pub struct FullNode {
    /// Its process.
    pub process: Process,
    datadir: PathBuf,
    client: Client,
}

impl FullNode {
    /// Starts a node on a new folder.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    #[track_caller]
    pub fn start(datadir: &Path, settings: &Settings) -> Self {
        configure(datadir, settings);
        Self::start_again(datadir)
    }

    /// Starts a node on a folder that has its `cairn.toml`.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    #[track_caller]
    pub fn start_again(datadir: &Path) -> Self {
        Self::start_command(datadir, node_command(datadir)).unwrap_or_else(|mut process| {
            let status = process.wait();
            panic!("the node on {} ended with {status}:\n{}", datadir.display(), process.log())
        })
    }

    /// Starts a node by a command of one's own, see [`node_command`].
    ///
    /// # Errors
    /// Its process, where that ends before the node is up.
    ///
    /// # Panics
    /// Where it neither comes up nor ends.
    #[track_caller]
    pub fn start_command(datadir: &Path, command: Command) -> Result<Self, Process> {
        let mut process = spawn_command(datadir, command);
        let name = datadir.display();
        let address = until(format!("the node on {name} is up"), || {
            if process.status().is_some() {
                return Ok(None);
            }
            rpc_address(&process.log()).map(Some).ok_or_else(|| "its log does not say so".into())
        });
        let Some(address) = address else { return Err(process) };
        let client = Client::new(format!("http://{address}"), Login::CookieFile(datadir.join(COOKIE_FILE)));
        let up = until(format!("the node on {name} answers"), || match answer(client.uptime()) {
            Ok(_) => Ok(true),
            Err(_) if process.status().is_some() => Ok(false),
            Err(error) => Err(error),
        });
        if up { Ok(Self { process, datadir: datadir.into(), client }) } else { Err(process) }
    }

    /// Its RPC.
    #[must_use]
    pub fn rpc(&self) -> &Client {
        &self.client
    }

    /// Its data folder.
    #[must_use]
    pub fn datadir(&self) -> &Path {
        &self.datadir
    }

    /// What `--bootstrap` and `addnode` take.
    ///
    /// # Panics
    /// Where it listens nowhere.
    #[must_use]
    #[track_caller]
    pub fn p2p_address(&self) -> String {
        until("the node listens", || {
            let addresses = answer(self.client.getnetworkinfo())?.localaddresses;
            addresses.into_iter().next().ok_or_else(|| "it listens nowhere".into())
        })
    }

    /// Connects to another node and waits until they are.
    ///
    /// # Panics
    /// Where they never are.
    #[track_caller]
    pub fn connect(&self, other: &Self) {
        let address = other.p2p_address();
        self.client.addnode(address, "add".into()).expect("the address is good");
        let identity = other.client.getnetworkinfo().expect("it answers").peer_id;
        until("the nodes are connected", || {
            let peers = answer(self.client.getpeerinfo())?;
            require(peers.iter().any(|peer| peer.peer_id == identity), || format!("its peers: {peers:?}"))
        });
    }

    /// Tells it to end, and waits for the end, which must be orderly. What it leaves behind must be what a
    /// replay of its blocks gives (threat S10).
    ///
    /// # Panics
    /// Where it ends in another way or not at all, or has stored something else.
    #[track_caller]
    pub fn stop(mut self) {
        self.end();
        verify_stored(&self.datadir);
    }

    /// Tells it to end, and waits for the end, which must be orderly. For where there is no room for a replay.
    ///
    /// # Panics
    /// Where it ends in another way or not at all.
    #[track_caller]
    pub fn end(&mut self) {
        self.client.stop().expect("it answers");
        let status = self.process.wait();
        assert!(status.success(), "{status}: {}", self.process.log());
    }
}

/// Holds that a node that has ended stored what a replay of its blocks gives: `cairn chain verify` (threat S10).
///
/// # Panics
/// Where it did not.
#[track_caller]
pub fn verify_stored(datadir: &Path) {
    let said = run(["chain", "verify", "--datadir", word(datadir)]).success();
    assert!(said.contains("UTXO hash"), "{said}");
}

/// Starts the process of a node, which may come up or not.
#[must_use]
pub fn spawn(datadir: &Path) -> Process {
    spawn_command(datadir, node_command(datadir))
}

/// As [`spawn`], by a command of one's own.
#[must_use]
pub fn spawn_command(datadir: &Path, command: Command) -> Process {
    // Beside the folder, so that nothing of the test lies in it; a log for each start.
    let start =
        (1..).find(|start: &u32| !log_path(datadir, *start).exists()).expect("there are numbers left");
    let out = datadir.with_extension(format!("{start}.out"));
    Process::start(format!("the node on {}", datadir.display()), command, &out, &log_path(datadir, start))
}

fn log_path(datadir: &Path, start: u32) -> PathBuf {
    datadir.with_extension(format!("{start}.log"))
}

/// The address that a node's log names once it is up: `node started rpc=127.0.0.1:40001`.
fn rpc_address(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("node started"))?;
    let (_, rest) = line.split_once("rpc=")?;
    rest.split_whitespace().next()?.parse().ok()
}
