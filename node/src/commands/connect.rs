//! Finding a node and the right to call it: flags, the node's data folder, a devnet's `devnet.json`, defaults.

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
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
};

/// The file in which a devnet tells of itself.
const DEVNET_FILE: &str = "devnet.json";
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

impl Devnet {
    /// The devnet whose file lies in `folder` or in the nearest folder above it that has one.
    ///
    /// # Errors
    /// When there is such a file that cannot be read or understood.
    pub fn above(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(folder) = folder.ancestors().find(|folder| folder.join(DEVNET_FILE).is_file()) else {
            return Ok(None);
        };
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
        Ok(Some(devnet))
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

/// The folders from which a `devnet.json` is looked for: the wallet's, then the current one.
///
/// # Errors
/// As [`Devnet::above`].
pub fn devnet_near(wallet: Option<&Path>, cwd: &Path) -> anyhow::Result<Option<Devnet>> {
    if let Some(folder) = wallet.and_then(|file| cwd.join(file).parent().map(Path::to_path_buf))
        && let Some(devnet) = Devnet::above(&folder)?
    {
        return Ok(Some(devnet));
    }
    Devnet::above(cwd)
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
                Some(ForWallet { file, chain: None }) => bail!(
                    "{} belongs to a chain of somebody's own: name its node with --node and --cookie-file, or with \
                     --datadir, or the chain's file with --chain",
                    file.display()
                ),
            },
        }
    };
    let default_url = || -> anyhow::Result<String> {
        Ok(format!("http://127.0.0.1:{}", default_ports(&chain_name()?).rpc))
    };
    let url = if let Some(url) = &args.node {
        if url.starts_with("https://") {
            bail!(
                "--node {url}: a node speaks plain HTTP; reach a distant one through an SSH tunnel or a VPN"
            );
        }
        plain_url(url)
    } else if args.datadir.is_some() {
        match settings.rpc_listen {
            Some(listen) => url_of(listen),
            None => default_url()?,
        }
    } else if let Some(url) = devnet_near(wallet_file, cwd)?.and_then(|devnet| devnet.url_for(wallet_file)) {
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
            (None, None) => match devnet_near(wallet_file, cwd)?.and_then(|devnet| devnet.cookie_of(&url)) {
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

/// How to reach a server on this machine that listens at `listen`.
fn url_of(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
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
