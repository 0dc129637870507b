//! What a devnet consists of and where it lies: names, folders, ports, and the nodes' configuration files.
//!
//! The files are the truth: what is in a node's `cairn.toml` holds at every start, by the supervisor or by hand.

use std::{
    fmt::Display,
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{DevnetError, files};
use crate::config::{CONFIG_FILE, Settings};

/// The nodes' names, and those of their wallets.
pub const NAMES: [&str; 26] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "kate", "liam",
    "mallory", "nina", "olivia", "peggy", "quentin", "rupert", "sybil", "trent", "ursula", "victor",
    "walter", "xenia", "yvonne", "zoe",
];
/// The most bytes of a file that is read here.
const MAX_FILE_BYTES: u64 = 64 * 1_024;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevnetConfig {
    /// Its folder, absolute. It may hold other files.
    pub folder: PathBuf,
    /// How many nodes: 1 to 26.
    pub nodes: u8,
    /// Node `i` gets the ports `base + 2 i` for peers and `base + 2 i + 1` for the RPC; free ones if none is given.
    pub base_port: Option<u16>,
    /// The aim: seconds between blocks. Only for a new devnet.
    pub spacing_secs: u32,
    /// How fast each node mines. Only for a new devnet.
    pub hashes_per_sec: u64,
    /// The program that is run as `PROGRAM node`.
    pub program: PathBuf,
}

/// What a devnet was made with; its file is written last and says that everything else is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) nodes: u8,
    pub(super) spacing_secs: u32,
    pub(super) hashes_per_sec: u64,
}

/// Where the parts of a devnet lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// The layout of the devnet in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The chain file.
    #[must_use]
    pub fn chain_file(&self) -> PathBuf {
        self.folder.join("chain.toml")
    }

    /// What says that payments can be made, and how: there only while they can be made.
    #[must_use]
    pub fn announcement(&self) -> PathBuf {
        self.folder.join("devnet.json")
    }

    /// The data folder of a node.
    #[must_use]
    pub fn datadir(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The wallet of a name, beside its node's data.
    #[must_use]
    pub fn wallet(&self, name: &str) -> PathBuf {
        self.datadir(name).join("wallet.json")
    }

    /// The log of a node.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.datadir(name).join("node.log")
    }

    pub(super) fn record(&self) -> PathBuf {
        self.folder.join("devnet.toml")
    }

    pub(super) fn clock(&self) -> PathBuf {
        self.folder.join("clock.json")
    }

    /// The supervisor's own folder: its lock, and what is not finished yet.
    pub(super) fn private(&self) -> PathBuf {
        self.folder.join(".devnet")
    }

    /// Where files are written before they get their names.
    pub(super) fn aside(&self) -> PathBuf {
        self.private().join("aside")
    }

    /// Where a new devnet is made before it is moved into place.
    pub(super) fn making(&self) -> Self {
        Self { folder: self.private().join("making") }
    }
}

/// The ports of a node, on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePorts {
    /// For peers.
    pub p2p: u16,
    /// For the RPC.
    pub rpc: u16,
}

/// One node, as its configuration file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// Its name.
    pub name: &'static str,
    /// Its data folder.
    pub datadir: PathBuf,
    /// Its ports.
    pub ports: NodePorts,
    /// The address that its blocks pay.
    pub address: String,
}

impl NodePlan {
    /// Where its RPC server answers.
    #[must_use]
    pub fn rpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.rpc)
    }
}

/// The multiaddress of a port on this machine.
fn multiaddress(port: u16) -> String {
    format!("/ip4/127.0.0.1/tcp/{port}")
}

/// The port of such a multiaddress.
fn port_of(multiaddress: &str) -> Option<u16> {
    multiaddress.strip_prefix("/ip4/127.0.0.1/tcp/")?.parse().ok()
}

/// The ports of all nodes: from `base_port` on, or free ones.
pub(super) fn choose_ports(nodes: u8, base_port: Option<u16>) -> Result<Vec<NodePorts>, DevnetError> {
    let Some(base_port) = base_port else { return free_ports(nodes).map_err(DevnetError::NoPort) };
    let most = u16::MAX - 2 * u16::from(nodes) + 1;
    if base_port > most {
        return Err(DevnetError::BasePort { base_port, nodes, most });
    }
    let ports = |node: u16| NodePorts { p2p: base_port + 2 * node, rpc: base_port + 2 * node + 1 };
    Ok((0..u16::from(nodes)).map(ports).collect())
}

fn free_ports(nodes: u8) -> io::Result<Vec<NodePorts>> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // All are held until the last one is known, so that no two are alike.
    let held: Vec<_> =
        (0..nodes).map(|_| Ok::<_, io::Error>((listen()?, listen()?))).collect::<Result<_, _>>()?;
    let ports = |(p2p, rpc): &(TcpListener, TcpListener)| {
        Ok(NodePorts { p2p: p2p.local_addr()?.port(), rpc: rpc.local_addr()?.port() })
    };
    held.iter().map(ports).collect()
}

/// Makes sure that nobody uses the nodes' ports.
pub(super) fn check_ports(plans: &[NodePlan]) -> Result<(), DevnetError> {
    for plan in plans {
        for (port, what) in [(plan.ports.p2p, "its peers"), (plan.ports.rpc, "its RPC")] {
            if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                return Err(DevnetError::PortTaken { port, name: plan.name, what, error });
            }
        }
    }
    Ok(())
}

/// The settings of node `index`; all nodes' `ports` are given.
pub(super) fn settings(ports: &[NodePorts], index: usize, address: &str, hashes_per_sec: u64) -> Settings {
    let mut settings = Settings {
        // Relative to the file, so that the devnet's folder may be moved.
        chain: Some("../chain.toml".into()),
        mine: Some(address.to_owned()),
        mining_threads: Some(NonZeroUsize::MIN),
        throttle_hashes_per_sec: Some(hashes_per_sec),
        ..Settings::default()
    };
    set_ports(&mut settings, ports, index);
    settings
}

/// Gives node `index` its ports, and the other nodes' as peers.
pub(super) fn set_ports(settings: &mut Settings, ports: &[NodePorts], index: usize) {
    let own = ports[index];
    let others = ports.iter().filter(|ports| **ports != own).map(|ports| multiaddress(ports.p2p));
    settings.listen = Some(vec![multiaddress(own.p2p)]);
    settings.rpc_listen = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, own.rpc)));
    settings.bootstrap = Some(others.collect());
}

/// Writes a node's configuration file.
pub(super) fn write_settings(datadir: &Path, aside: &Path, settings: &Settings) -> Result<(), DevnetError> {
    let path = datadir.join(CONFIG_FILE);
    write_toml(&path, aside, "# Of a node of `cairn devnet`, which sets the clock at every start.", settings)
}

/// Reads a node's configuration file as it stands: a relative chain file stays relative.
pub(super) fn read_settings(datadir: &Path) -> Result<Settings, DevnetError> {
    read_toml(&datadir.join(CONFIG_FILE))
}

/// What a node's configuration file says of the node.
pub(super) fn plan_of(
    layout: &Layout,
    name: &'static str,
    settings: &Settings,
) -> Result<NodePlan, DevnetError> {
    let datadir = layout.datadir(name);
    let lacks = |what: &str| DevnetError::Malformed {
        path: datadir.join(CONFIG_FILE),
        reason: format!("{what}, which the devnet needs"),
    };
    let listen = settings.listen.as_deref().unwrap_or_default();
    let p2p = listen.iter().find_map(|address| port_of(address));
    let p2p = p2p.ok_or_else(|| lacks("listen has no /ip4/127.0.0.1/tcp/PORT"))?;
    let rpc = settings.rpc_listen.filter(|address| address.ip() == Ipv4Addr::LOCALHOST);
    let rpc = rpc.ok_or_else(|| lacks("rpc_listen is not 127.0.0.1:PORT"))?.port();
    let address = settings.mine.clone().ok_or_else(|| lacks("mine names no address"))?;
    Ok(NodePlan { name, ports: NodePorts { p2p, rpc }, address, datadir })
}

/// The record of the devnet in the folder, if there is one.
pub(super) fn read_record(layout: &Layout) -> Result<Option<Record>, DevnetError> {
    let path = layout.record();
    if !path.try_exists().map_err(DevnetError::file(&path))? {
        return Ok(None);
    }
    let record: Record = read_toml(&path)?;
    let known = (1..=NAMES.len()).contains(&usize::from(record.nodes));
    let reason = || format!("it speaks of {} nodes", record.nodes);
    if known { Ok(Some(record)) } else { Err(DevnetError::Malformed { path, reason: reason() }) }
}

/// Writes the record.
pub(super) fn write_record(layout: &Layout, record: &Record) -> Result<(), DevnetError> {
    let header = "# What this devnet was made with; `cairn devnet --datadir` of this folder goes on with it.";
    fs::create_dir_all(layout.private()).map_err(DevnetError::file(layout.private()))?;
    write_toml(&layout.record(), &layout.aside(), header, record)
}

fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, DevnetError> {
    let text = files::read(path, MAX_FILE_BYTES).map_err(DevnetError::file(path))?;
    toml::from_str(&text).map_err(|error| malformed(path, error))
}

fn write_toml(path: &Path, aside: &Path, header: &str, value: &impl Serialize) -> Result<(), DevnetError> {
    let text = toml::to_string(value).map_err(|error| malformed(path, error))?;
    files::replace(path, aside, format!("{header}\n{text}").as_bytes()).map_err(DevnetError::file(path))
}

pub(super) fn malformed(path: &Path, reason: impl Display) -> DevnetError {
    DevnetError::Malformed { path: path.to_path_buf(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_begin_with_all_letters_in_turn() {
        let initials: String = NAMES.iter().filter_map(|name| name.chars().next()).collect();
        assert_eq!(initials, "abcdefghijklmnopqrstuvwxyz");
    }

    #[test]
    fn ports_follow_the_base_port() {
        let ports = choose_ports(3, Some(20_000)).expect("room for six");
        let expected = [(20_000, 20_001), (20_002, 20_003), (20_004, 20_005)];
        assert_eq!(ports, expected.map(|(p2p, rpc)| NodePorts { p2p, rpc }));
        assert_eq!(choose_ports(26, Some(65_484)).expect("just fits")[25].rpc, 65_535);
        let error = choose_ports(26, Some(65_485)).expect_err("one too high").to_string();
        assert!(error.contains("at most 65484"), "{error}");
    }

    #[test]
    fn free_ports_are_free_and_all_different() {
        let ports = choose_ports(26, None).expect("free ports");
        let distinct: HashSet<u16> = ports.iter().flat_map(|ports| [ports.p2p, ports.rpc]).collect();
        assert_eq!(distinct.len(), 52);
        assert!(!distinct.contains(&0));
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let rpc = taken.local_addr().expect("bound").port();
        let p2p = choose_ports(1, None).expect("free ports")[0].p2p;
        let plan = |ports| NodePlan { name: "bob", datadir: PathBuf::new(), ports, address: String::new() };
        let error = check_ports(&[plan(NodePorts { p2p, rpc })]).expect_err("taken").to_string();
        assert!(error.contains(&rpc.to_string()) && error.contains("bob needs for its RPC"), "{error}");
        assert!(error.contains("--base-port"), "{error}");
        drop(taken);
        check_ports(&[plan(NodePorts { p2p, rpc })]).expect("free again");
    }

    #[test]
    fn settings_come_back_from_the_file_and_name_the_other_nodes() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path());
        let datadir = layout.datadir("bob");
        fs::create_dir_all(&datadir).expect("made");
        let ports = choose_ports(3, Some(30_000)).expect("ports");
        let mut written = settings(&ports, 1, "dcrn1x", 2_000);
        assert_eq!(written.bootstrap, Some(vec![multiaddress(30_000), multiaddress(30_004)]));
        assert_eq!(written.mining_threads, Some(NonZeroUsize::MIN));
        written.clock_offset_secs = Some(-86_400);
        write_settings(&datadir, &folder.path().join("aside"), &written).expect("written");
        let read = read_settings(&datadir).expect("read");
        assert_eq!(read, written);
        // The node itself understands the file too.
        assert_eq!(
            Settings::read(&datadir.join(CONFIG_FILE)).expect("understood").clock_offset_secs,
            Some(-86_400)
        );
        let plan = plan_of(&layout, "bob", &read).expect("complete");
        assert_eq!((plan.ports, plan.address.as_str()), (ports[1], "dcrn1x"));
        assert_eq!(plan.rpc_url(), "http://127.0.0.1:30003");
        for damage in [
            Settings { listen: Some(vec!["/ip4/0.0.0.0/tcp/1".into()]), ..read.clone() },
            Settings { rpc_listen: None, ..read.clone() },
            Settings { mine: None, ..read },
        ] {
            let error = plan_of(&layout, "bob", &damage).expect_err("incomplete").to_string();
            assert!(error.contains("bob/cairn.toml"), "{error}");
        }
    }

    #[test]
    fn a_record_is_read_back_and_a_wrong_one_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path());
        assert_eq!(read_record(&layout).expect("none"), None);
        let record = Record { nodes: 4, spacing_secs: 5, hashes_per_sec: 2_000 };
        write_record(&layout, &record).expect("written");
        assert_eq!(read_record(&layout).expect("read"), Some(record));
        for wrong in ["nodes = 27\nspacing_secs = 5\nhashes_per_sec = 1", "nodes = 4", "not toml"] {
            fs::write(layout.record(), wrong).expect("written");
            assert!(read_record(&layout).is_err(), "{wrong}");
        }
    }
}
