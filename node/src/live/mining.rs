//! The node's own miner: whenever the tip moves it gets a new template at once, and now and then one with
//! the transactions that have come since. What it finds goes the way of any block.

use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use chain::{address::Address, block::Block, error::SubmitError, transaction::FREE_RUN_BYTES};
use miner::{Job, Miner, MinerConfig, MinerError, Template, TemplateError, TemplateRequest};
use tokio::{sync::watch, time::Instant};

use super::thread::{EngineHandle, LiveEngine, Pulse, Stopped};
use crate::{engine::Now, store::failpoint};

/// How long a template may be worked on before it gets the transactions that came since, and the time.
const REFRESH: Duration = Duration::from_secs(2);
/// How long a template may be worked on after that where nothing changes: its time should not lag far behind.
const LONGEST: Duration = Duration::from_secs(30);
/// How many blocks behind the best header a node still mines: a block or two may be on their way.
const MAX_BLOCKS_BEHIND: u32 = 6;
/// How long the tip may rest while better headers are known. Headers whose bodies nobody gives must not stop
/// the mining of a whole network.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a node mines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MiningConfig {
    /// Whom its blocks pay.
    pub address: Address,
    /// Threads that search; all cores if none is given.
    pub threads: Option<NonZeroUsize>,
    /// Hashes a second, at the most.
    pub throttle_hashes_per_sec: Option<u64>,
}

/// Where a series of templates' numbers begins. Drawn anew for each series, so that two nodes that mine for one
/// address never search the same blocks, nor a node and those who ask it for templates.
#[must_use]
pub fn first_number() -> u64 {
    // The standard library's random keys: numbers need to differ, nothing more.
    RandomState::new().hash_one(0)
}

/// A template on the tip, paying `address`. `number` opens the coinbase's free run behind the extranonce, so
/// that no two templates are alike.
///
/// # Errors
/// [`TemplateError`] where no block can stand on the tip.
pub fn template(
    engine: &LiveEngine,
    address: Address,
    number: u64,
    now: Now,
) -> Result<Template, TemplateError> {
    let ledger = engine.ledger();
    let tip = ledger.tip();
    let context = ledger.next_spend_context();
    let mut free_run = [0; FREE_RUN_BYTES];
    free_run[8..16].copy_from_slice(&number.to_le_bytes());
    let request = TemplateRequest {
        params: ledger.chain().params(),
        previous: tip.id.hash,
        height: context.height,
        bits: ledger.next_bits(),
        median_time_past: tip.median_time_past,
        now: now.wall,
        pay_to: address,
        free_run,
    };
    Template::new(&request, engine.mempool().packages())
}

/// Starts the miner's threads. What they find is submitted through `engine`.
///
/// # Errors
/// [`MinerError`] where threads cannot be started.
pub fn start(config: &MiningConfig, engine: EngineHandle) -> Result<Miner, MinerError> {
    let threads =
        MinerConfig { threads: config.threads, throttle_hashes_per_sec: config.throttle_hashes_per_sec };
    Miner::spawn(&threads, move |block| submit(&engine, block))
}

fn submit(engine: &EngineHandle, block: Block) {
    let hash = block.hash();
    match engine.blocking_submit_block(block) {
        Ok(Ok(update)) => match update.refusal(&hash) {
            None => tracing::info!(%hash, "block mined"),
            Some(error) => tracing::error!(%hash, %error, "our own block is refused"),
        },
        // A rival block came first.
        Ok(Err(SubmitError::TooEarly { .. } | SubmitError::Duplicate)) => {
            tracing::debug!(%hash, "mined block not taken");
        }
        Ok(Err(error)) => tracing::error!(%hash, %error, "our own block is refused"),
        Err(Stopped) => tracing::debug!(%hash, "mined block lost to the shutdown"),
    }
}

/// Keeps the miner on the tip until `shutdown` or the engine's end.
pub async fn run(
    miner: Arc<Miner>,
    address: Address,
    engine: EngineHandle,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut pulse = engine.pulse();
    let mut number = first_number();
    let (mut tip, mut moved_at) = (pulse.borrow().tip.id, Instant::now());
    loop {
        failpoint::beat("miner");
        let seen = *pulse.borrow_and_update();
        if seen.tip.id != tip {
            (tip, moved_at) = (seen.tip.id, Instant::now());
        }
        number = number.wrapping_add(1);
        let catching_up = seen.blocks_behind > MAX_BLOCKS_BEHIND && moved_at.elapsed() < PATIENCE;
        if catching_up {
            miner.set_job(None);
        } else if set_job(&miner, address, &engine, number).await.is_err() {
            break;
        }
        let next = async {
            // A new tip is worth a new template at once; a new transaction, or a time that lags behind the
            // clock, only after a while.
            let moved = |pulse: &Pulse| pulse.tip.id != seen.tip.id;
            if let Ok(moved) = tokio::time::timeout(REFRESH, pulse.wait_for(moved)).await {
                return moved.map(drop);
            }
            let changed = |pulse: &Pulse| moved(pulse) || pulse.mempool_changes != seen.mempool_changes;
            let longest = if miner.has_job() { LONGEST } else { Duration::ZERO };
            tokio::time::timeout(longest, pulse.wait_for(changed))
                .await
                .map_or(Ok(()), |changed| changed.map(drop))
        };
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            result = next => if result.is_err() { break },
        }
    }
    miner.set_job(None);
}

async fn set_job(miner: &Miner, address: Address, engine: &EngineHandle, number: u64) -> Result<(), Stopped> {
    match engine.call(move |engine, now| template(engine, address, number, now)).await? {
        Ok(template) => miner.set_job(Some(Job::new(Arc::new(template)))),
        Err(error) => {
            tracing::warn!(%error, "not mining: no template can be made now");
            miner.set_job(None);
        }
    }
    Ok(())
}
