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

use anyhow::Context;
use chain::params::Params;
use wallet::{KdfCost, KeyFileError, Wallet, WalletChain, keyfile::KeyFile};

use self::source::Source;
use super::connect::{self, ForWallet};
use crate::{
    chain_file::ChainSpec,
    cli::{WalletArgs, WalletCommand},
    config::{Settings, default_datadir},
};

/// The name of a wallet's file where none is named.
const WALLET_FILE: &str = "wallet.json";

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

/// The chain that flags, data folder or devnet name; `main` where nothing does.
fn chain_spec(args: &WalletArgs) -> anyhow::Result<ChainSpec> {
    if let Some(chain) = &args.connect.chain {
        return Ok(ChainSpec::load(chain)?);
    }
    if let Some(datadir) = &args.connect.datadir {
        return Ok(Settings::of_datadir(datadir)?.chain_spec()?);
    }
    let cwd = env::current_dir().context("the current folder is gone; change to another one")?;
    match connect::devnet_near(args.wallet.as_deref(), &cwd)? {
        Some(devnet) => Ok(ChainSpec::load(&devnet.chain.display().to_string())?),
        None => Ok(ChainSpec::load("main")?),
    }
}

/// The wallet's file: as named, else in the data folder of the chain.
fn file(args: &WalletArgs) -> anyhow::Result<PathBuf> {
    if let Some(file) = &args.wallet {
        return Ok(file.clone());
    }
    let folder = match &args.connect.datadir {
        Some(datadir) => datadir.clone(),
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
    if let Some(passphrase) = secret::given(args.passphrase_file.as_deref())? {
        return Ok(Wallet::open(&file, &passphrase)?);
    }
    if cost == KdfCost::LIGHT
        && let Ok(wallet) = Wallet::open(&file, "")
    {
        return Ok(wallet);
    }
    Ok(Wallet::open(&file, &secret::ask(&file)?)?)
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
