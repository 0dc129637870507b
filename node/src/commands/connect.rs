//! Finding a node and the right to call it: flags, the node's data folder, a devnet's `devnet.json`, defaults.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use rpc::{
    auth::{COOKIE_FILE, Credentials},
    client::{Client, Login},
};
use serde::Deserialize;

use crate::{
    chain_file::ChainSpec,
    cli::ConnectArgs,
    config::{Settings, default_datadir, default_ports},
    live::rpc_url,
};

/// The file in which a running devnet tells of itself.
const DEVNET_FILE: &str = "devnet.json";
/// The file that every devnet's folder has, whether or not it runs.
const DEVNET_RECORD: &str = "devnet.toml";
/// The most bytes of that file; 26 nodes need some 10 KiB.
const MAX_DEVNET_FILE_BYTES: u64 = 1 << 20;

/// What a devnet tells of itself, as far as it is of use here.
#[derive(Debug, Deserialize)]
pub struct Devnet {
    /// The chain file.
    pub chain: PathBuf,
    nodes: Vec<DevnetNode>,
    #[serde(default)]
    wallets: Vec<DevnetWallet>,
    /// Where this was read; relative paths in it are relative to that.
    #[serde(skip)]
    folder: PathBuf,
}

#[derive(Debug, Deserialize)]
struct DevnetNode {
    name: String,
    rpc_url: String,
    cookie_file: PathBuf,
}

#[derive(Debug, Deserialize)]
struct DevnetWallet {
    file: PathBuf,
    node: String,
}

/// What is found by walking up from a folder.
#[derive(Debug)]
pub enum Near {
    /// A devnet that runs.
    Running(Devnet),
    /// The folder of one that does not.
    Stopped(PathBuf),
    /// No devnet.
    None,
}

/// Why nobody can be asked in the folder of a devnet that does not run.
pub fn not_running(folder: &Path) -> anyhow::Error {
    let folder = folder.display();
    anyhow::anyhow!(
        "the devnet in {folder} is not running: start it with `cairn devnet --datadir {folder}`, or name another \
         node with --node or --datadir, or a chain with --chain"
    )
}

impl Devnet {
    /// The devnet in `folder` or in the nearest folder above it that has one.
    ///
    /// # Errors
    /// When there is a `devnet.json` that cannot be read or understood.
    pub fn above(folder: &Path) -> anyhow::Result<Near> {
        let has = |folder: &Path, name: &str| folder.join(name).is_file();
        let mut above = folder.ancestors();
        let Some(folder) = above.find(|folder| has(folder, DEVNET_FILE) || has(folder, DEVNET_RECORD)) else {
            return Ok(Near::None);
        };
        if !has(folder, DEVNET_FILE) {
            return Ok(Near::Stopped(folder.into()));
        }
        let path = folder.join(DEVNET_FILE);
        let read = || -> anyhow::Result<Self> {
            if fs::metadata(&path)?.len() > MAX_DEVNET_FILE_BYTES {
                bail!("it has more than {MAX_DEVNET_FILE_BYTES} bytes");
            }
            Ok(serde_json::from_slice(&fs::read(&path)?)?)
        };
        let mut devnet = read().with_context(|| {
            format!("{} cannot be used; name the node with --node and --cookie-file", path.display())
        })?;
        devnet.folder = folder.into();
        devnet.chain = folder.join(&devnet.chain);
        Ok(Near::Running(devnet))
    }

    /// The cookie file of the node at `url`.
    fn cookie_of(&self, url: &str) -> Option<PathBuf> {
        let node = self.nodes.iter().find(|node| plain_url(&node.rpc_url) == url)?;
        Some(self.folder.join(&node.cookie_file))
    }

    /// The address of the node that the wallet uses; else of the first node.
    fn url_for(&self, wallet: Option<&Path>) -> Option<String> {
        let same =
            |file: &Path| match (fs::canonicalize(self.folder.join(file)), wallet.map(fs::canonicalize)) {
                (Ok(one), Some(Ok(other))) => one == other,
                _ => false,
            };
        let home = self.wallets.iter().find(|wallet| same(&wallet.file)).map(|wallet| wallet.node.as_str());
        let at_home = |node: &&DevnetNode| home.is_some_and(|home| node.name == home || node.rpc_url == home);
        let node = self.nodes.iter().find(at_home).or(self.nodes.first())?;
        Some(plain_url(&node.rpc_url))
    }
}

/// Where a wallet's file is and to which chain it belongs, where a wallet is what wants the node.
#[derive(Debug, Clone, Copy)]
pub struct ForWallet<'a> {
    /// The file.
    pub file: &'a Path,
    /// The name of its chain, when it is a built-in one.
    pub chain: Option<&'a str>,
}

/// A client of the node that is meant.
///
/// # Errors
/// When the flags contradict one another, or a file that they name cannot be read.
pub fn client(args: &ConnectArgs, wallet: Option<ForWallet<'_>>) -> anyhow::Result<Client> {
    let cwd = env::current_dir().context("the current folder is gone; change to another one")?;
    let (url, login) = find(args, wallet, &cwd)?;
    Ok(Client::new(url, login))
}

/// The devnet above the wallet, else the one above the current folder.
///
/// # Errors
/// As [`Devnet::above`].
pub fn devnet_near(wallet: Option<&Path>, cwd: &Path) -> anyhow::Result<Near> {
    match wallet.and_then(|file| cwd.join(file).parent().map(Path::to_path_buf)) {
        Some(folder) => match Devnet::above(&folder)? {
            Near::None => Devnet::above(cwd),
            near => Ok(near),
        },
        None => Devnet::above(cwd),
    }
}

fn find(args: &ConnectArgs, wallet: Option<ForWallet<'_>>, cwd: &Path) -> anyhow::Result<(String, Login)> {
    let settings = match &args.datadir {
        Some(datadir) => Settings::of_datadir(datadir)?,
        None => Settings::default(),
    };
    let wallet_file = wallet.map(|wallet| wallet.file);
    let chain_name = || -> anyhow::Result<String> {
        match args.chain.as_ref().or(settings.chain.as_ref()) {
            Some(chain) => chain_name(chain),
            None => match wallet {
                None => Ok("main".into()),
                Some(ForWallet { chain: Some(name), .. }) => Ok(name.into()),
                Some(ForWallet { file, chain: None }) => match &args.datadir {
                    Some(datadir) => bail!(
                        "no node runs on {}: start it, or name another one with --node",
                        datadir.display()
                    ),
                    None => bail!(
                        "{} belongs to a chain of somebody's own: name its node with --node and --cookie-file, \
                         or with --datadir, or the chain's file with --chain",
                        file.display()
                    ),
                },
            },
        }
    };
    let default_url = || -> anyhow::Result<String> {
        Ok(format!("http://127.0.0.1:{}", default_ports(&chain_name()?).rpc))
    };
    // Whoever names a node or a chain does not mean a devnet that is not running.
    let devnet = || match devnet_near(wallet_file, cwd)? {
        Near::Running(devnet) => Ok(Some(devnet)),
        Near::Stopped(folder) if args.node.is_none() && args.chain.is_none() => Err(not_running(&folder)),
        Near::Stopped(_) | Near::None => Ok(None),
    };
    let url = if let Some(url) = &args.node {
        if url.starts_with("https://") {
            bail!(
                "--node {url}: a node speaks plain HTTP; reach a distant one through an SSH tunnel or a VPN"
            );
        }
        plain_url(url)
    } else if let Some(datadir) = &args.datadir {
        let cannot = || format!("{} cannot be used; name the node with --node", datadir.display());
        match (rpc_url::read(datadir).with_context(cannot)?, settings.rpc_listen) {
            (Some(url), _) => url,
            (None, Some(listen)) => rpc_url::url_of(listen),
            (None, None) => default_url()?,
        }
    } else if let Some(url) = devnet()?.and_then(|devnet| devnet.url_for(wallet_file)) {
        url
    } else {
        default_url()?
    };
    let login = match (&args.user, &args.password) {
        (Some(user), Some(password)) => {
            let credentials = Credentials::new(user, password).context("--user must not hold a colon")?;
            Login::Credentials(credentials)
        }
        (None, None) => Login::CookieFile(match (&args.cookie_file, &args.datadir) {
            (Some(file), _) => file.clone(),
            (None, Some(datadir)) => datadir.join(COOKIE_FILE),
            (None, None) => match devnet()?.and_then(|devnet| devnet.cookie_of(&url)) {
                Some(file) => file,
                None => default_datadir(&chain_name()?)?.join(COOKIE_FILE),
            },
        }),
        _ => bail!("--user and --password go together: give both or none"),
    };
    Ok((url, login))
}

/// The name of a chain that is named or whose file is named.
fn chain_name(name_or_path: &str) -> anyhow::Result<String> {
    Ok(match name_or_path {
        name @ ("main" | "test" | "dev") => name.into(),
        path => ChainSpec::load(path)?.chain.params().name.clone(),
    })
}

/// An address as the client takes it: with a scheme, without a slash at its end.
fn plain_url(url: &str) -> String {
    let url = url.trim_end_matches('/');
    if url.contains("://") { url.into() } else { format!("http://{url}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVNET: &str = r#"{"chain": "chain.toml", "ready": true, "nodes": [
        {"name": "a", "rpc_url": "http://127.0.0.1:4001", "cookie_file": "a/.cookie", "p2p_address": "x",
         "datadir": "a", "pid": 7},
        {"name": "b", "rpc_url": "http://127.0.0.1:4003/", "cookie_file": "/else/.cookie"}],
        "wallets": [{"name": "bob", "file": "wallets/bob.json", "address": "y", "node": "b"}]}"#;

    fn devnet() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("wallets/deep")).expect("a folder");
        fs::write(folder.path().join("wallets/bob.json"), "").expect("a file");
        fs::write(folder.path().join(DEVNET_FILE), DEVNET).expect("a file");
        folder
    }

    fn found(args: &ConnectArgs, wallet: Option<&Path>, cwd: &Path) -> (String, PathBuf) {
        let wallet = wallet.map(|file| ForWallet { file, chain: None });
        match find(args, wallet, cwd).expect("found") {
            (url, Login::CookieFile(file)) => (url, file),
            (_, Login::Credentials(_)) => panic!("no user was named"),
        }
    }

    #[test]
    fn a_devnet_is_found_by_walking_up() {
        let folder = devnet();
        let deep = folder.path().join("wallets/deep");
        let first = ("http://127.0.0.1:4001".into(), folder.path().join("a/.cookie"));
        assert_eq!(found(&ConnectArgs::default(), None, &deep), first);
        let named = ConnectArgs { node: Some("127.0.0.1:4003".into()), ..ConnectArgs::default() };
        let second = ("http://127.0.0.1:4003".into(), PathBuf::from("/else/.cookie"));
        assert_eq!(found(&named, None, &deep), second);
    }

    #[test]
    fn a_wallet_finds_the_devnet_above_its_file() {
        let (folder, elsewhere) = (devnet(), tempfile::tempdir().expect("a folder"));
        let bob = folder.path().join("wallets/bob.json");
        let second = ("http://127.0.0.1:4003".into(), PathBuf::from("/else/.cookie"));
        assert_eq!(found(&ConnectArgs::default(), Some(&bob), elsewhere.path()), second);
        let stranger = folder.path().join("wallets/new.json");
        let first = ("http://127.0.0.1:4001".into(), folder.path().join("a/.cookie"));
        assert_eq!(found(&ConnectArgs::default(), Some(&stranger), elsewhere.path()), first);
    }

    #[test]
    fn flags_win_over_what_lies_around() {
        let (folder, datadir) = (devnet(), tempfile::tempdir().expect("a folder"));
        let text = "chain = \"dev\"\nrpc_listen = \"0.0.0.0:5005\"\n";
        fs::write(datadir.path().join(crate::config::CONFIG_FILE), text).expect("a file");
        let args = ConnectArgs { datadir: Some(datadir.path().into()), ..ConnectArgs::default() };
        let cookie = datadir.path().join(COOKIE_FILE);
        assert_eq!(found(&args, None, folder.path()), ("http://127.0.0.1:5005".into(), cookie));
        let args = ConnectArgs { cookie_file: Some("/c".into()), ..args };
        assert_eq!(found(&args, None, folder.path()).1, PathBuf::from("/c"));
    }

    #[test]
    fn what_a_running_node_has_written_wins_over_its_configuration() {
        let datadir = tempfile::tempdir().expect("a folder");
        let args = ConnectArgs { datadir: Some(datadir.path().into()), ..ConnectArgs::default() };
        let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 29_001));
        let running = rpc_url::RpcUrlFile::create(datadir.path(), listen).expect("written");
        let url = |args: &ConnectArgs| found(args, None, datadir.path()).0;
        assert_eq!(url(&args), "http://127.0.0.1:29001");
        let text = "chain = \"dev\"\nrpc_listen = \"127.0.0.1:5005\"\n";
        fs::write(datadir.path().join(crate::config::CONFIG_FILE), text).expect("a file");
        assert_eq!(url(&args), "http://127.0.0.1:29001");
        let named = ConnectArgs { node: Some("h:1".into()), ..args.clone() };
        assert_eq!(url(&named), "http://h:1");
        drop(running);
        assert_eq!(url(&args), "http://127.0.0.1:5005");
    }

    #[test]
    fn a_devnet_that_does_not_run_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let alice = folder.path().join("alice");
        fs::create_dir(&alice).expect("a folder");
        fs::write(folder.path().join(DEVNET_RECORD), "").expect("a file");
        let elsewhere = tempfile::tempdir().expect("a folder");
        let wallet = ForWallet { file: &alice.join("wallet.json"), chain: Some("dev") };
        let cookie_file = Some("/c".into());
        for (wallet, cwd) in [(None, alice.as_path()), (Some(wallet), elsewhere.path())] {
            let refused = find(&ConnectArgs::default(), wallet, cwd).expect_err("refused").to_string();
            let start = format!("cairn devnet --datadir {}", folder.path().display());
            assert!(refused.contains("is not running") && refused.contains(&start), "{refused}");
            // Another node may be meant.
            let named = ConnectArgs {
                node: Some("h:1".into()),
                cookie_file: cookie_file.clone(),
                ..Default::default()
            };
            assert_eq!(find(&named, wallet, cwd).expect("found").0, "http://h:1");
            let chain = ConnectArgs {
                chain: Some("test".into()),
                cookie_file: cookie_file.clone(),
                ..Default::default()
            };
            assert_eq!(find(&chain, wallet, cwd).expect("found").0, "http://127.0.0.1:18445");
        }
    }

    #[test]
    fn without_anything_the_default_port_is_taken() {
        let nowhere = tempfile::tempdir().expect("a folder");
        let args = |chain: &str| ConnectArgs {
            chain: Some(chain.into()),
            cookie_file: Some("/c".into()),
            ..ConnectArgs::default()
        };
        assert_eq!(found(&args("dev"), None, nowhere.path()).0, "http://127.0.0.1:28445");
        assert_eq!(found(&args("test"), None, nowhere.path()).0, "http://127.0.0.1:18445");
        let dev_wallet = ForWallet { file: Path::new("/w/w.json"), chain: Some("dev") };
        let args = ConnectArgs { cookie_file: Some("/c".into()), ..ConnectArgs::default() };
        let (url, _) = find(&args, Some(dev_wallet), nowhere.path()).expect("found");
        assert_eq!(url, "http://127.0.0.1:28445");
    }

    #[test]
    fn contradictions_are_refused() {
        let cwd = tempfile::tempdir().expect("a folder");
        let refused = |args: ConnectArgs| find(&args, None, cwd.path()).expect_err("refused").to_string();
        let half = ConnectArgs { user: Some("u".into()), ..ConnectArgs::default() };
        assert!(refused(half).contains("go together"));
        let own = ForWallet { file: Path::new("/w/w.json"), chain: None };
        let own = find(&ConnectArgs::default(), Some(own), cwd.path()).expect_err("refused").to_string();
        assert!(own.contains("--node"), "{own}");
        let secure = ConnectArgs { node: Some("https://h".into()), ..ConnectArgs::default() };
        assert!(refused(secure).contains("plain HTTP"));
        fs::write(cwd.path().join(DEVNET_FILE), "{").expect("a file");
        assert!(refused(ConnectArgs::default()).contains("--node"));
    }
}
