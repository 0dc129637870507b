//! Long reads: on threads of their own and from snapshots, so that they never hold up the engine.

use std::{path::PathBuf, sync::Arc};

use chain::{
    hash::BlockHash,
    ledger::BlockId,
    store::{Store, StoreError},
};
use rpc::backend::{BlockWithSpent, ChainVerdict, CheckLevel, CoinSet, CommandError, Unavailable};

use tokio::sync::OwnedMutexGuard;

use super::{
    Connections,
    audit::{Audit, Finding, MAX_COINS},
    transactions::{height_of, store_failed},
};
use crate::{
    live::saved_files::SavedFiles,
    store::{StoreReader, failpoint},
};

impl Connections {
    /// Runs `read` on a thread that may block. The data folder is not free before it has ended.
    async fn off_the_engine<R: Send + 'static>(
        &self,
        read: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, CommandError> {
        let lock = self.lock.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let _lock = lock;
            failpoint::beat("reading");
            read()
        });
        reading.await.map_err(store_failed)
    }

    /// A reader that sees the whole chain of this moment: coins and undo data may be held back in memory.
    async fn flushed_reader(&self) -> Result<StoreReader, CommandError> {
        let reader = self.engine.call(|engine, _| engine.flush().map(|()| engine.ledger().store().reader()));
        reader.await?.map_err(store_failed)
    }

    /// A block, and what it spent where that is asked for and known.
    pub(super) async fn read_block(
        &self,
        hash: BlockHash,
        with_spent: bool,
    ) -> Result<Option<BlockWithSpent>, CommandError> {
        let (genesis, reader) = self
            .engine
            .call(move |engine, _| {
                let chain = engine.ledger().chain();
                let genesis = (chain.id() == hash).then(|| chain.genesis().clone());
                (genesis, engine.ledger().store().reader())
            })
            .await?;
        if let Some(block) = genesis {
            return Ok(Some(BlockWithSpent { block: Arc::new(block), spent: Some(Vec::new()) }));
        }
        let read = move || -> Result<_, StoreError> {
            let snapshot = reader.snapshot();
            let spent = if with_spent { snapshot.undo(&hash)? } else { None };
            Ok((snapshot.block(&hash)?, spent))
        };
        let (block, mut spent) = self.off_the_engine(read).await?.map_err(store_failed)?;
        let Some(block) = block else { return Ok(None) };
        if with_spent && spent.is_none() {
            // What was connected last may be known to the ledger's store alone: one block's worth.
            let undo = self.engine.call(move |engine, _| engine.ledger().store().undo(&hash));
            spent = undo.await?.map_err(store_failed)?;
        }
        Ok(Some(BlockWithSpent { block: Arc::new(block), spent }))
    }

    /// Writes the mempool and what users sent to their files: on the engine's thread, as at an orderly end, so that
    /// two writers never meet and what is older never replaces what is newer. The path of the mempool's.
    pub(super) async fn save_mempool(&self, files: SavedFiles) -> Result<PathBuf, CommandError> {
        let saved = self.engine.call(move |engine, _| {
            if engine.is_restoring() {
                // The file would lose what was not taken back from it yet.
                return Err("the mempool is not loaded yet; ask again in a moment".to_owned());
            }
            let saved = files.save_own(engine).and_then(|_| files.save_mempool(engine));
            saved.map_err(|error| error.to_string())
        });
        saved.await?.map_err(CommandError::NotSaved)
    }

    /// Counts and hashes all coins.
    pub(super) async fn coin_set(&self) -> Result<CoinSet, CommandError> {
        let reader = self.flushed_reader().await?;
        let read = move || {
            let snapshot = reader.snapshot();
            let at = snapshot.tip()?;
            snapshot.utxo_stats().map(|stats| (at, stats))
        };
        let (at, stats) = self.off_the_engine(read).await?.map_err(store_failed)?;
        let height = self.engine.call(move |engine, _| height_of(engine, &at)).await?;
        Ok(CoinSet {
            tip: BlockId { height, hash: at },
            count: stats.count,
            amount: stats.amount,
            hash: stats.hash,
            disk_bytes: stats.disk_bytes,
        })
    }

    /// Checks the last blocks again; `turn` is free again when that has ended.
    pub(super) async fn verify_chain(
        &self,
        level: CheckLevel,
        blocks: Option<u32>,
        turn: OwnedMutexGuard<()>,
    ) -> Result<ChainVerdict, CommandError> {
        let reader = self.flushed_reader().await?;
        let chain = self.engine.call(|engine, _| engine.ledger().chain().clone()).await?;
        let (shutdown, engine) = (Arc::clone(&self.shutdown), self.engine.clone());
        let check = move || {
            // Whoever asked may have gone; the work goes on, and so does the turn.
            let _turn = turn;
            let snapshot = reader.snapshot();
            let hash = snapshot.tip()?;
            let height = engine.blocking_call(move |engine, _| height_of(engine, &hash));
            let Ok(height) = height else { return Err(Finding::Stopped) };
            let stopped = || *shutdown.borrow();
            let audit =
                Audit { held: &snapshot, chain: &chain, level, max_coins: MAX_COINS, stopped: &stopped };
            audit.run(BlockId { height, hash }, blocks)
        };
        match self.off_the_engine(check).await? {
            Ok(()) => Ok(ChainVerdict::Sound),
            Err(Finding::Damaged(what)) => Ok(ChainVerdict::Damaged(what)),
            Err(Finding::Stopped) => Err(Unavailable.into()),
            Err(Finding::TooMuch) => Err(CommandError::TooMuch(format!(
                "undoing so many blocks changes more than {MAX_COINS} coins; check fewer, or use checklevel 2 \
                 (or, while the node is stopped, `cairn chain verify`)"
            ))),
        }
    }
}
