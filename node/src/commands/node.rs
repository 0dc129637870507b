//! `cairn node`: a full node until it is told to end.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use tokio::time::MissedTickBehavior;

use super::progress::SyncBar;
use crate::{
    cli::NodeArgs,
    config::{Settings, default_datadir},
    engine::sync::Phase,
    live::{self, NodeConfig, thread::EngineHandle},
    shutdown, telemetry,
};

/// Threads of the runtime that serves network and RPC. A laptop runs four nodes; what takes long, the engine,
/// the miner and the checking of signatures, has threads of its own.
const RUNTIME_THREADS: usize = 2;

/// How often the log tells what its budget has kept back.
const LOG_BUDGET_INTERVAL: Duration = Duration::from_secs(60);
/// How often the bar of a node that catches up moves, at the most.
const BAR_INTERVAL: Duration = Duration::from_millis(500);
/// From how many blocks on catching up is worth a bar.
const LEAST_BEHIND: u32 = 12;

/// How long what cannot be interrupted may hold up the end of the process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs a node.
///
/// # Errors
/// What could not start, or what failed.
pub fn run(args: &NodeArgs) -> anyhow::Result<()> {
    let config = configuration(args)?;
    let _telemetry = telemetry::start_with("info", &config.telemetry);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build()
        .context("the system gives no threads; end other programs")?;
    let exit_with_stdin = args.exit_with_stdin;
    let stop = async move {
        let signalled = async {
            if let Err(error) = shutdown::signalled().await {
                tracing::warn!(%error, "signals cannot be heard: end the node with `cairn rpc stop`");
                std::future::pending::<()>().await;
            }
        };
        let stdin_closed = async {
            if exit_with_stdin { shutdown::stdin_closed().await } else { std::future::pending().await }
        };
        tokio::select! {
            () = signalled => {}
            () = stdin_closed => {}
        }
    };
    let started = |engine: &EngineHandle| {
        tokio::spawn(report_log_budget());
        if std::io::stderr().is_terminal() {
            tokio::spawn(show_catching_up(engine.clone()));
        }
    };
    let outcome = runtime.block_on(live::run(config, stop, started));
    telemetry::report_suppressed();
    // Work that cannot be interrupted, such as a search that somebody asked for, is left behind.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    Ok(outcome?)
}

/// Says now and then how many log lines were kept back.
async fn report_log_budget() {
    let mut ticks = tokio::time::interval(LOG_BUDGET_INTERVAL);
    loop {
        ticks.tick().await;
        telemetry::report_suppressed();
    }
}

/// Shows a bar while the node catches up with its peers.
async fn show_catching_up(engine: EngineHandle) {
    let mut shown: Option<SyncBar> = None;
    let mut ticks = tokio::time::interval(BAR_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(progress) = engine.call(|engine, _| engine.sync_progress()).await else { return };
        let behind = progress.of_blocks.saturating_sub(progress.blocks);
        if progress.phase == Phase::Done || (progress.phase == Phase::Blocks && behind == 0) {
            shown = None;
        } else if behind >= LEAST_BEHIND || progress.phase == Phase::Presync || shown.is_some() {
            shown.get_or_insert_with(|| SyncBar::start(&progress)).advance(&progress);
        }
    }
}

/// Flags and environment over the configuration file over defaults.
fn configuration(args: &NodeArgs) -> anyhow::Result<NodeConfig> {
    let flags = args.settings();
    let (settings, datadir) = match &args.config {
        Some(file) => {
            let settings = flags.over(Settings::read(file)?);
            let datadir = match &args.datadir {
                Some(datadir) => datadir.clone(),
                None => default_datadir(&settings.chain_spec()?.chain.params().name)?,
            };
            (settings, datadir)
        }
        None => over_datadir(flags, args.datadir.as_deref())?,
    };
    Ok(NodeConfig { reindex: args.reindex, ..settings.complete(datadir)? })
}

/// Flags and environment over the configuration file of the data folder, and that folder.
///
/// # Errors
/// A folder or file of no use.
pub fn over_datadir(flags: Settings, datadir: Option<&Path>) -> anyhow::Result<(Settings, PathBuf)> {
    let datadir = match datadir {
        Some(datadir) => datadir.to_path_buf(),
        None => default_datadir(&flags.chain_spec()?.chain.params().name)?,
    };
    let file = Settings::of_datadir(&datadir)?;
    Ok((flags.over(file), datadir))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::CONFIG_FILE;

    #[test]
    fn flags_win_over_the_file_in_the_data_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "chain = \"dev\"\nrpc_listen = \"127.0.0.1:5001\"\nclock_offset_secs = 3\n";
        fs::write(folder.path().join(CONFIG_FILE), text).expect("a file");
        let args =
            NodeArgs { datadir: Some(folder.path().into()), clock_offset: Some(-9), ..NodeArgs::default() };
        let config = configuration(&args).expect("complete");
        assert_eq!(config.chain.params().name, "dev");
        assert_eq!(config.rpc_listen.port(), 5_001);
        assert_eq!(config.clock_offset_secs, -9);
        assert_eq!(config.datadir, folder.path());
    }

    #[test]
    fn a_named_file_takes_the_place_of_the_one_in_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let named = folder.path().join("other.toml");
        fs::write(folder.path().join(CONFIG_FILE), "chain = \"nonsense\"\n").expect("a file");
        fs::write(&named, "chain = \"dev\"\n").expect("a file");
        let args =
            NodeArgs { datadir: Some(folder.path().into()), config: Some(named), ..NodeArgs::default() };
        assert_eq!(configuration(&args).expect("complete").chain.params().name, "dev");
        let missing = NodeArgs { config: Some(folder.path().join("none.toml")), ..NodeArgs::default() };
        assert!(configuration(&missing).expect_err("missing").to_string().contains("none.toml"));
    }
}
