//! `cairn chain export`, `import` and `verify`: what is done with the chain of a data folder while no node
//! uses it.

use std::{fs, path::PathBuf};

use anyhow::{Context, bail};
use chain::{genesis::Chain, ledger::Ledger};
use serde_json::json;

use super::super::{answer, answer_json, node::over_datadir, progress::BlockBar, say};
use crate::{
    cli::{ChainExportArgs, ChainImportArgs, ChainVerifyArgs, StoredChainArgs},
    config::Settings,
    live::{LOCK_WAIT, clock::Clock},
    store::{DataDirLock, RocksStore, STORE_FOLDER, StoreOptions, is_store},
    telemetry,
    transfer::{archive::ArchiveReader, audit::audit, export, import},
};

/// A data folder that is this process's alone.
struct Place {
    chain: Chain,
    datadir: PathBuf,
    options: StoreOptions,
    clock: Clock,
}

impl Place {
    /// The folder that is meant. Nothing is made or locked yet.
    fn find(args: &StoredChainArgs) -> anyhow::Result<Self> {
        let flags =
            Settings { chain: args.chain.clone(), db_cache_mib: args.db_cache, ..Settings::default() };
        let (settings, datadir) = over_datadir(flags, args.datadir.as_deref())?;
        let options = settings.store_options()?;
        let clock = Clock::new(settings.clock_offset_secs.unwrap_or(0));
        Ok(Self { chain: settings.chain_spec()?.chain, datadir, options, clock })
    }

    /// Locks the folder, in which there must be a store.
    fn lock_existing(&self) -> anyhow::Result<DataDirLock> {
        if !self.datadir.exists() {
            bail!("there is no folder {}: name a node's data folder with --datadir", self.datadir.display());
        }
        if !is_store(&self.datadir) {
            bail!(
                "{} is no data folder of a node: there is no {STORE_FOLDER} in it; name another one with --datadir",
                self.datadir.display()
            );
        }
        Ok(DataDirLock::acquire(&self.datadir, LOCK_WAIT)?)
    }

    fn open(&self) -> anyhow::Result<RocksStore> {
        Ok(RocksStore::open(&self.datadir, &self.chain, &self.options)?)
    }

    fn open_ledger(&self) -> anyhow::Result<Ledger<RocksStore>> {
        Ok(Ledger::open(self.chain.clone(), self.open()?)?)
    }
}

/// Writes the active chain into a file.
///
/// # Errors
/// A folder or file of no use, and a damaged store.
pub fn export(args: &ChainExportArgs) -> anyhow::Result<()> {
    telemetry::start("warn");
    // Not after the folder was locked and the chain read.
    if fs::symlink_metadata(&args.out).is_ok() {
        bail!("{} exists already: choose another name with --out", args.out.display());
    }
    if let Some(folder) =
        args.out.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
    {
        bail!("there is no folder {}: make it, or name another file with --out", folder.display());
    }
    let place = Place::find(&args.stored)?;
    let lock = place.lock_existing()?;
    let ledger = place.open_ledger()?;
    let mut bar = BlockBar::start("exporting");
    let tip = export::export(&ledger, &args.out, &mut |progress| bar.advance(progress))?;
    drop(bar);
    drop(ledger);
    drop(lock);
    let file = args.out.display();
    say(&format!("{file} holds {} blocks. Take it in elsewhere with `cairn chain import`.", tip.height));
    answer(tip.hash)
}

/// Takes a chain from a file.
///
/// # Errors
/// A folder or file of no use, a block that is refused, and a damaged store.
pub fn import(args: &ChainImportArgs) -> anyhow::Result<()> {
    telemetry::start("warn");
    let place = Place::find(&args.stored)?;
    // Nothing is made for a file of no use.
    let file = ArchiveReader::open(&args.file, &place.chain)?;
    let lock = DataDirLock::acquire(&place.datadir, LOCK_WAIT)?;
    let mut ledger = place.open_ledger()?;
    let mut bar = BlockBar::start("importing");
    let now = place.clock.now().wall;
    let outcome = import::import(&mut ledger, file, now, &mut |progress| bar.advance(progress));
    drop(bar);
    // What came before a fault is kept as well.
    let synced = ledger.flush().and_then(|()| ledger.store().sync());
    let tip = ledger.tip().id;
    drop(ledger);
    drop(lock);
    let imported = outcome.with_context(|| {
        format!("the import stopped; what came before is kept, and the tip is {} ({})", tip.height, tip.hash)
    })?;
    synced?;
    say(&format!(
        "{} blocks were taken, {} were here already. The tip is at height {}.",
        imported.added, imported.known, imported.tip.height
    ));
    answer(imported.tip.hash)
}

/// Replays the stored chain and compares.
///
/// # Errors
/// What differs; a folder of no use, and a damaged store.
pub fn verify(args: &ChainVerifyArgs) -> anyhow::Result<()> {
    telemetry::start("warn");
    let place = Place::find(&args.stored)?;
    let lock = place.lock_existing()?;
    let store = place.open()?;
    let mut bar = BlockBar::start("verifying");
    let outcome =
        audit(&store, &place.chain, &place.datadir, &place.options, &mut |progress| bar.advance(progress));
    drop(bar);
    drop(store);
    drop(lock);
    let audited = outcome.context("the audit failed")?;
    let hash = const_hex::encode(audited.utxo_hash);
    if args.json {
        return answer_json(&json!({
            "height": audited.tip.height,
            "tip": audited.tip.hash,
            "coins": audited.coins,
            "supply": audited.supply.to_string(),
            "utxo_hash": hash,
        }));
    }
    answer(format!("tip        {} at height {}", audited.tip.hash, audited.tip.height))?;
    answer(format!("coins      {}", audited.coins))?;
    answer(format!("supply     {} CRN", audited.supply))?;
    answer(format!("UTXO hash  {hash}"))?;
    answer("The replay from genesis gives the same.")
}
