//! What a node is told: defaults, below `cairn.toml`, below `CAIRN_*` in the environment, below flags.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use chain::{
    address::{Address, AddressError},
    hash::BlockHash,
    pow::Work,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    chain_file::{ChainFileError, ChainSpec},
    live::{NodeConfig, mining::MiningConfig},
    p2p::book::outbound,
    store::StoreOptions,
    telemetry::{self, LogFormat},
};

/// The name of the configuration file in a data folder.
pub const CONFIG_FILE: &str = "cairn.toml";
/// The most bytes of a configuration file.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// How much memory coins may be given, in MiB.
pub const DB_CACHE_MIB: RangeInclusive<u32> = 4..=65_536;

/// One layer of settings: a file, or flags and environment. What is absent is left to the layer below.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `main`, `test`, `dev`, or the path of a chain file.
    pub chain: Option<String>,
    /// Multiaddresses to listen on for peers.
    pub listen: Option<Vec<String>>,
    /// Where the RPC server listens.
    pub rpc_listen: Option<SocketAddr>,
    /// Whether other machines may reach the RPC server.
    pub rpc_allow_public: Option<bool>,
    /// A user for the RPC, beside the cookie.
    pub rpc_user: Option<String>,
    /// The user's password.
    pub rpc_password: Option<String>,
    /// Multiaddresses of peers to stay connected to.
    pub bootstrap: Option<Vec<String>>,
    /// How many peers the node finds and keeps connected to by itself.
    pub outbound: Option<u8>,
    /// Whether to look for no nodes on the local network.
    pub no_mdns: Option<bool>,
    /// The address that mined blocks pay; without one the node does not mine.
    pub mine: Option<String>,
    /// Threads that mine.
    pub mining_threads: Option<NonZeroUsize>,
    /// Hashes a second, at the most.
    pub throttle_hashes_per_sec: Option<u64>,
    /// What to add to the system's time, in seconds.
    pub clock_offset_secs: Option<i64>,
    /// Whether to go without the indexes of transactions and addresses.
    pub no_index: Option<bool>,
    /// Memory for the coins, in MiB.
    pub db_cache_mib: Option<u32>,
    /// A block below which signatures are not verified, once it is on the best chain.
    pub assume_valid: Option<BlockHash>,
    /// The work that a chain must show before its headers are kept, 64 hexadecimal digits.
    pub minimum_work: Option<Work>,
    /// Where metrics are served.
    pub metrics_listen: Option<SocketAddr>,
    /// The OpenTelemetry collector that spans are sent to.
    pub otlp: Option<String>,
    /// How log lines are written.
    pub log_format: Option<LogFormat>,
    /// Whether the network's conditions can be made worse by RPC.
    pub lab: Option<bool>,
}

/// Why settings make no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// The file is not a configuration.
    #[error("{path} is not understood: {error}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        error: String,
    },
    /// The chain cannot be loaded.
    #[error(transparent)]
    Chain(#[from] ChainFileError),
    /// The mining address is not one of this chain.
    #[error("the mining address {address:?}: {error}")]
    MiningAddress {
        /// The address as given.
        address: String,
        /// Why.
        error: AddressError,
    },
    /// Half an account.
    #[error("rpc_user and rpc_password go together: give both or none")]
    HalfAccount,
    /// A budget that is too small or too large.
    #[error(
        "db_cache_mib = {0}: a whole number from {least} to {most} is needed",
        least = DB_CACHE_MIB.start(),
        most = DB_CACHE_MIB.end()
    )]
    DbCache(u32),
    /// Conditions on demand where there is something to lose.
    #[error(
        "--lab breaks the network on demand and is for chains for development alone, which {0} is not: leave it \
         out, or use --chain dev"
    )]
    LabOnRealChain(String),
    /// The collector's URL is of no use.
    #[error(transparent)]
    Otlp(#[from] telemetry::otlp::UrlError),
    /// The data folder is a file.
    #[error("the data folder {0} is a file: name a folder with --datadir")]
    NotAFolder(PathBuf),
    /// There is no home folder to put data into.
    #[error("no home folder is known: give --datadir")]
    NoHome,
}

impl Settings {
    /// Reads a configuration file; a relative chain file in it is relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let io = |error| ConfigError::Io { path: path.into(), error };
        let malformed = |error: String| ConfigError::Malformed { path: path.into(), error };
        if fs::metadata(path).map_err(io)?.len() > MAX_FILE_BYTES {
            return Err(malformed(format!("it has more than {MAX_FILE_BYTES} bytes")));
        }
        let text = fs::read_to_string(path).map_err(io)?;
        let mut settings: Self = toml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        if let (Some(chain), Some(folder)) = (&settings.chain, path.parent())
            && folder.join(chain).is_file()
        {
            settings.chain = Some(folder.join(chain).display().to_string());
        }
        Ok(settings)
    }

    /// Reads the configuration file of a data folder, if there is one.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn of_datadir(datadir: &Path) -> Result<Self, ConfigError> {
        check_folder(datadir)?;
        let path = datadir.join(CONFIG_FILE);
        if path.is_file() { Self::read(&path) } else { Ok(Self::default()) }
    }

    /// These settings over those of `below`.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            chain: self.chain.or(below.chain),
            listen: self.listen.or(below.listen),
            rpc_listen: self.rpc_listen.or(below.rpc_listen),
            rpc_allow_public: self.rpc_allow_public.or(below.rpc_allow_public),
            rpc_user: self.rpc_user.or(below.rpc_user),
            rpc_password: self.rpc_password.or(below.rpc_password),
            bootstrap: self.bootstrap.or(below.bootstrap),
            outbound: self.outbound.or(below.outbound),
            no_mdns: self.no_mdns.or(below.no_mdns),
            mine: self.mine.or(below.mine),
            mining_threads: self.mining_threads.or(below.mining_threads),
            throttle_hashes_per_sec: self.throttle_hashes_per_sec.or(below.throttle_hashes_per_sec),
            clock_offset_secs: self.clock_offset_secs.or(below.clock_offset_secs),
            no_index: self.no_index.or(below.no_index),
            db_cache_mib: self.db_cache_mib.or(below.db_cache_mib),
            assume_valid: self.assume_valid.or(below.assume_valid),
            minimum_work: self.minimum_work.or(below.minimum_work),
            metrics_listen: self.metrics_listen.or(below.metrics_listen),
            otlp: self.otlp.or(below.otlp),
            log_format: self.log_format.or(below.log_format),
            lab: self.lab.or(below.lab),
        }
    }

    /// How the store is to be opened.
    ///
    /// # Errors
    /// [`ConfigError::DbCache`].
    pub fn store_options(&self) -> Result<StoreOptions, ConfigError> {
        let options = StoreOptions::default();
        let Some(mib) = self.db_cache_mib else { return Ok(options) };
        let bytes = usize::try_from(mib).ok().and_then(|mib| mib.checked_mul(1 << 20));
        let bytes = bytes.filter(|_| DB_CACHE_MIB.contains(&mib)).ok_or(ConfigError::DbCache(mib))?;
        Ok(StoreOptions { db_cache_bytes: bytes, ..options })
    }

    /// The chain of these settings; `main` where none is named.
    ///
    /// # Errors
    /// [`ChainFileError`].
    pub fn chain_spec(&self) -> Result<ChainSpec, ChainFileError> {
        ChainSpec::load(self.chain.as_deref().unwrap_or("main"))
    }

    /// The complete configuration of a node on `datadir`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn complete(self, datadir: PathBuf) -> Result<NodeConfig, ConfigError> {
        check_folder(&datadir)?;
        let ChainSpec { chain, lab } = self.chain_spec()?;
        let ports = default_ports(&chain.params().name);
        let store = self.store_options()?;
        let has_conditions = self.lab.unwrap_or(false);
        if has_conditions && !lab {
            return Err(ConfigError::LabOnRealChain(chain.params().name.clone()));
        }
        if let Some(url) = &self.otlp {
            telemetry::otlp::check_url(url)?;
        }
        let rpc_account = match (self.rpc_user, self.rpc_password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            _ => return Err(ConfigError::HalfAccount),
        };
        let mining = match self.mine {
            None => None,
            Some(text) => {
                let address = Address::decode(&chain.params().prefix, &text)
                    .map_err(|error| ConfigError::MiningAddress { address: text, error })?;
                Some(MiningConfig {
                    address,
                    threads: self.mining_threads,
                    throttle_hashes_per_sec: self.throttle_hashes_per_sec,
                })
            }
        };
        let listen = self.listen.unwrap_or_else(|| vec![format!("/ip4/0.0.0.0/tcp/{}", ports.p2p)]);
        // Who can be reached from this machine alone is part of somebody's experiment, and connects as it is told.
        let finds = listen.iter().any(|address| !is_loopback(address));
        let default_outbound = if finds { outbound::DEFAULT_PLACES } else { 0 };
        Ok(NodeConfig {
            outbound: self.outbound.map_or(default_outbound, usize::from),
            search_nearby: finds && !self.no_mdns.unwrap_or(false),
            lab,
            has_conditions,
            metrics_listen: self.metrics_listen,
            telemetry: telemetry::Options { format: self.log_format.unwrap_or_default(), otlp: self.otlp },
            datadir,
            store,
            reindex: false,
            listen,
            bootstrap: self.bootstrap.unwrap_or_default(),
            rpc_listen: self.rpc_listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, ports.rpc))),
            rpc_allow_public: self.rpc_allow_public.unwrap_or(false),
            rpc_account,
            mining,
            clock_offset_secs: self.clock_offset_secs.unwrap_or(0),
            index: !self.no_index.unwrap_or(false),
            assume_valid: self.assume_valid,
            minimum_work: self.minimum_work.unwrap_or_default(),
            chain,
        })
    }
}

/// Whether a multiaddress is this machine's own.
fn is_loopback(address: &str) -> bool {
    address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/")
}

/// Refuses a data folder that is a file; it may be missing.
///
/// # Errors
/// [`ConfigError::NotAFolder`].
pub fn check_folder(datadir: &Path) -> Result<(), ConfigError> {
    if datadir.exists() && !datadir.is_dir() {
        return Err(ConfigError::NotAFolder(datadir.into()));
    }
    Ok(())
}

/// The ports of a chain where none are configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// For peers.
    pub p2p: u16,
    /// For the RPC.
    pub rpc: u16,
}

/// The default ports of the chain with this name; a chain of one's own has those of `dev`.
#[must_use]
pub fn default_ports(chain_name: &str) -> Ports {
    match chain_name {
        "main" => Ports { p2p: 8_444, rpc: 8_445 },
        "test" => Ports { p2p: 18_444, rpc: 18_445 },
        _ => Ports { p2p: 28_444, rpc: 28_445 },
    }
}

/// Where a chain's data lies unless told otherwise: `~/.cairn/NAME`.
///
/// # Errors
/// [`ConfigError::NoHome`].
pub fn default_datadir(chain_name: &str) -> Result<PathBuf, ConfigError> {
    std::env::home_dir()
        .filter(|home| !home.as_os_str().is_empty())
        .map(|home| home.join(".cairn").join(chain_name))
        .ok_or(ConfigError::NoHome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d03_unknown_keys_and_wrong_types_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(CONFIG_FILE);
        for (text, accepted) in [
            ("", true),
            ("chain = \"dev\"\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n", true),
            ("chian = \"dev\"", false),
            ("listen = \"/ip4/127.0.0.1/tcp/0\"", false),
            ("rpc_listen = \"localhost\"", false),
            ("mining_threads = 0", false),
            ("throttle_hashes_per_sec = -1", false),
            ("outbound = 3\nno_mdns = true", true),
            ("outbound = -1", false),
            ("db_cache_mib = 64", true),
            ("db_cache_mib = -1", false),
            ("db_cache_mib = \"64\"", false),
            ("minimum_work = \"12\"", false),
            ("assume_valid = \"nonsense\"", false),
            ("metrics_listen = \"127.0.0.1:9464\"\notlp = \"http://127.0.0.1:4318\"", true),
            ("metrics_listen = \"9464\"", false),
            ("log_format = \"json\"\nlab = true", true),
            ("log_format = \"xml\"", false),
            ("lab = \"yes\"", false),
            ("[node]\nchain = \"dev\"", false),
        ] {
            fs::write(&path, text).expect("writable");
            assert_eq!(Settings::read(&path).is_ok(), accepted, "{text:?}");
        }
    }

    #[test]
    fn upper_layers_win() {
        let file = Settings { chain: Some("dev".into()), clock_offset_secs: Some(5), ..Settings::default() };
        let flags = Settings { chain: Some("test".into()), ..Settings::default() };
        let both = flags.over(file);
        assert_eq!(both.chain.as_deref(), Some("test"));
        assert_eq!(both.clock_offset_secs, Some(5));
        let config = both.complete(PathBuf::from("/nowhere")).expect("complete");
        assert_eq!(config.rpc_listen.to_string(), "127.0.0.1:18445");
        assert_eq!(config.listen, ["/ip4/0.0.0.0/tcp/18444"]);
        assert!(config.outbound == 8 && config.search_nearby);
    }

    #[test]
    fn a_node_on_loopback_finds_nobody_unless_told() {
        let complete = |outbound| {
            let listen = Some(vec!["/ip4/127.0.0.1/tcp/0".into()]);
            let settings = Settings { chain: Some("dev".into()), listen, outbound, ..Settings::default() };
            settings.complete(PathBuf::from("/nowhere")).expect("complete")
        };
        assert_eq!((complete(None).outbound, complete(None).search_nearby), (0, false));
        assert_eq!((complete(Some(3)).outbound, complete(Some(3)).search_nearby), (3, false));
    }

    #[test]
    fn wrong_settings_are_explained() {
        let wrong = |settings: Settings| settings.complete(PathBuf::new()).expect_err("wrong").to_string();
        let half =
            wrong(Settings { chain: Some("dev".into()), rpc_user: Some("u".into()), ..Settings::default() });
        assert!(half.contains("go together"), "{half}");
        let file = tempfile::NamedTempFile::new().expect("a file");
        let said = Settings::of_datadir(file.path()).expect_err("a file").to_string();
        assert!(said.contains("is a file"), "{said}");
        let mine =
            Settings { chain: Some("dev".into()), mine: Some("crn1abc".into()), ..Settings::default() };
        let mine = wrong(mine);
        assert!(mine.contains("mining address"), "{mine}");
        for real in ["main", "test"] {
            let lab = Settings { chain: Some(real.into()), lab: Some(true), ..Settings::default() };
            let lab = wrong(lab);
            assert!(lab.contains("--lab") && lab.contains(real), "{lab}");
        }
        let otlp = Some("https://collector".into());
        let otlp = wrong(Settings { chain: Some("dev".into()), otlp, ..Settings::default() });
        assert!(otlp.contains("http://127.0.0.1:4318"), "{otlp}");
        for mib in [0, 3, 65_537] {
            let cache =
                Settings { chain: Some("dev".into()), db_cache_mib: Some(mib), ..Settings::default() };
            let cache = wrong(cache);
            assert!(cache.contains("from 4 to 65536"), "{cache}");
        }
    }
}
