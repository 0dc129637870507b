//! `cairn wallet`: keys in a file on this machine, coins as a node tells of them.

mod create;
mod secret;
mod send;
mod show;
mod source;

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use chain::{height::Height, params::Params};
use wallet::{KdfCost, KeyFileError, Wallet, WalletChain, WalletError, keyfile::KeyFile};

use self::source::Source;
use super::{
    connect::{self, Devnet, ForWallet, Near},
    explain,
};
use crate::{
    chain_file::ChainSpec,
    cli::{ConnectArgs, WalletArgs, WalletCommand},
    config::{Settings, check_folder, default_datadir},
    store::is_store,
};

/// The name of a wallet's file where none is named.
const WALLET_FILE: &str = "wallet.json";
/// The chains that need no file.
const BUILT_IN: [&str; 3] = ["main", "test", "dev"];

/// Does what was asked.
///
/// # Errors
/// What the wallet, its file or the node refuses.
pub fn run(args: &WalletArgs) -> anyhow::Result<()> {
    match &args.command {
        WalletCommand::New { words } => create::new(args, *words),
        WalletCommand::Restore => create::restore(args),
        WalletCommand::Address { new, list } => show::address(args, *new, *list),
        WalletCommand::Balance => show::balance(args),
        WalletCommand::Coins => show::coins(args),
        WalletCommand::Send(send) => send::send(args, send),
        WalletCommand::History { count } => show::history(args, *count),
    }
}

/// The chain that flags, data folder, node or devnet name; `main` where nothing does.
fn chain_spec(args: &WalletArgs) -> anyhow::Result<ChainSpec> {
    let ConnectArgs { chain, datadir, node, .. } = &args.connect;
    if let Some(chain) = chain {
        return Ok(ChainSpec::load(chain)?);
    }
    if let Some(datadir) = datadir
        && let settings @ Settings { chain: Some(_), .. } = Settings::of_datadir(datadir)?
    {
        return Ok(settings.chain_spec()?);
    }
    let cwd = env::current_dir().context("the current folder is gone; change to another one")?;
    let wallet = args.wallet.as_deref();
    if node.is_none() && datadir.is_none() {
        return match connect::devnet_near(wallet, &cwd)? {
            Near::Running(devnet) => devnet_chain(&devnet),
            Near::Stopped(folder) => Err(connect::not_running(&folder)),
            Near::None => Ok(ChainSpec::load("main")?),
        };
    }
    // Whether or not there is such a file: its folder may be a devnet's.
    let for_wallet = wallet.map(|file| ForWallet { file, chain: Some("main") });
    let client = connect::client(&args.connect, for_wallet)?;
    let genesis = match client.getblockhash(Height::ZERO) {
        Ok(genesis) => genesis,
        // A new folder, for a wallet alone, belongs to no chain yet.
        Err(_) if node.is_none() && datadir.as_ref().is_some_and(|datadir| !is_of_a_node(datadir)) => {
            return Ok(ChainSpec::load("main")?);
        }
        Err(error) => {
            return Err(explain(error).context("no node says which chain is meant: give it with --chain"));
        }
    };
    if let Near::Running(devnet) = connect::devnet_near(wallet, &cwd)?
        && let spec = devnet_chain(&devnet)?
        && spec.chain.id() == genesis
    {
        return Ok(spec);
    }
    for name in BUILT_IN {
        let spec = ChainSpec::load(name)?;
        if spec.chain.id() == genesis {
            return Ok(spec);
        }
    }
    bail!(
        "the node at {} runs a chain of somebody's own, {genesis}: give the chain's file with --chain FILE",
        client.url()
    )
}

fn devnet_chain(devnet: &Devnet) -> anyhow::Result<ChainSpec> {
    Ok(ChainSpec::load(&devnet.chain.display().to_string())?)
}

/// Whether a node has kept its blocks in this folder.
fn is_of_a_node(datadir: &Path) -> bool {
    is_store(datadir)
}

/// The wallet's file: as named, else in the data folder of the chain.
fn file(args: &WalletArgs) -> anyhow::Result<PathBuf> {
    if let Some(file) = &args.wallet {
        return Ok(file.clone());
    }
    let folder = match &args.connect.datadir {
        Some(datadir) => {
            check_folder(datadir)?;
            datadir.clone()
        }
        None => default_datadir(&chain_spec(args)?.chain.params().name)?,
    };
    Ok(folder.join(WALLET_FILE))
}

/// Opens the wallet. Only a wallet whose file was written without a passphrase opens without asking.
fn open(args: &WalletArgs) -> anyhow::Result<Wallet> {
    let file = file(args)?;
    let cost = KeyFile::read_cost(&file).map_err(|error| match error {
        KeyFileError::Missing(path) => anyhow::anyhow!(
            "there is no wallet at {}: make one with `cairn wallet new` or `cairn wallet restore`, or name \
             another file with --wallet",
            path.display()
        ),
        error => error.into(),
    })?;
    let without = || (cost == KdfCost::LIGHT).then(|| Wallet::open(&file, "").ok()).flatten();
    match secret::given(args.passphrase_file.as_deref())? {
        Some(passphrase) => match Wallet::open(&file, &passphrase) {
            // The environment holds the passphrase of another wallet, and this one has none.
            Err(WalletError::KeyFile(KeyFileError::Locked)) if !passphrase.is_empty() => {
                Ok(without().ok_or(KeyFileError::Locked)?)
            }
            outcome => Ok(outcome?),
        },
        None => match without() {
            Some(wallet) => Ok(wallet),
            None => Ok(Wallet::open(&file, &secret::ask(&file)?)?),
        },
    }
}

/// The node that tells of the wallet's coins, which must run its chain.
fn source(args: &WalletArgs, wallet: &Wallet) -> anyhow::Result<Source> {
    let for_wallet = ForWallet { file: wallet.path(), chain: built_in_name(wallet.chain()) };
    Source::connect(connect::client(&args.connect, Some(for_wallet))?, wallet)
}

/// The name of the built-in chain whose prefix this is: enough to guess a port. Whether the node runs the
/// wallet's chain is asked of the node.
fn built_in_name(chain: &WalletChain) -> Option<&'static str> {
    let prefixes = [("main", Params::main()), ("test", Params::test()), ("dev", Params::dev())];
    prefixes.into_iter().find(|(_, params)| params.prefix == chain.prefix).map(|(name, _)| name)
}

/// A path as it is shown.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
