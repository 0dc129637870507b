//! The audit: a stored chain is replayed from genesis with all rules and compared with what is stored
//! (threat S10).
//!
//! The bodies come from the store itself, which is only read; coins and headers of the replay go into a
//! scratch store of its own, so that nothing is copied and memory is bounded however long the chain is.
//! What must be equal: tip, UTXO hash, number and sum of the coins, and the undo data of every block.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use chain::{
    amount::Amount,
    block::{Block, Header},
    check::{CheckedBlock, ConnectedBlock},
    genesis::Chain,
    hash::BlockHash,
    height::Height,
    ledger::{BlockId, Ledger, OpenError},
    store::{Store, StoreError, Stored},
    time::Time,
    transaction::OutPoint,
    utxo::{Coin, Undo},
};
use thiserror::Error;

use super::{MAX_RUN_BLOCKS, MAX_RUN_BYTES, Progress, Report, Step, import::Refusal, submit_run};
use crate::store::{OpenStoreError, RocksStore, StoreOptions, UtxoStats};

/// The folder, in the data folder, in which a replay keeps its coins while it runs.
pub const SCRATCH_FOLDER: &str = "verify.tmp";
/// The clock of a replay. Blocks that were taken once were not too early then (rule C2).
const END_OF_TIME: Time = Time::from_secs(u32::MAX);

/// A figure of a UTXO set, as it is shown and compared.
type Shown = fn(&UtxoStats) -> String;

/// What an audit has found to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audited {
    /// The tip.
    pub tip: BlockId,
    /// How many coins there are.
    pub coins: u64,
    /// The sum of all coins.
    pub supply: Amount,
    /// The hash of the UTXO set.
    pub utxo_hash: [u8; 32],
}

/// What an audit has found to be wrong, or why there could be none.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The store cannot be read.
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// The scratch store cannot be made.
    #[error(transparent)]
    OpenStore(#[from] OpenStoreError),
    /// The scratch store is no ledger.
    #[error(transparent)]
    OpenLedger(#[from] OpenError),
    /// The scratch folder cannot be made or removed.
    #[error("{}: {error}; check that the data folder is yours and has room", .path.display())]
    Scratch {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// The stored tip is no tip of a chain of stored headers with bodies.
    #[error("the stored chain is broken: {0}; start the node once with --reindex")]
    Broken(String),
    /// A stored block is not valid.
    #[error("the stored chain is not valid: {0}; start the node once with --reindex")]
    Invalid(Refusal),
    /// Something that is stored is not what the replay gives.
    #[error(
        "{what} differs at the tip {height}: stored is {stored}, the replay gives {replayed}; start the node \
         once with --reindex"
    )]
    Differs {
        /// What.
        what: &'static str,
        /// The height of the tip.
        height: Height,
        /// What is stored.
        stored: String,
        /// What is right.
        replayed: String,
    },
}

/// Replays the chain of `store` from genesis and compares. `datadir` gets a folder for scratch, which is gone
/// when this returns.
///
/// # Errors
/// [`AuditError`] names what differs.
pub fn audit(
    store: &RocksStore,
    chain: &Chain,
    datadir: &Path,
    options: &StoreOptions,
    report: &mut Report<'_>,
) -> Result<Audited, AuditError> {
    let scratch = Scratch::make(datadir.join(SCRATCH_FOLDER))?;
    let audited = replay(store, chain, &scratch.path, options, report);
    let removed = scratch.remove();
    let audited = audited?;
    removed?;
    Ok(audited)
}

fn replay(
    store: &RocksStore,
    chain: &Chain,
    scratch: &Path,
    options: &StoreOptions,
    report: &mut Report<'_>,
) -> Result<Audited, AuditError> {
    let active = stored_chain(store, chain)?;
    report(Progress::Total(active.len() as u64));
    let replay = Replay { original: store, scratch: RocksStore::open(scratch, chain, options)? };
    let mut ledger = Ledger::open(chain.clone(), replay)?;
    let mut run = Vec::new();
    let mut bytes = 0_usize;
    for (position, hash) in active.iter().enumerate() {
        let block = store.block(hash)?;
        let block = block.ok_or_else(|| AuditError::Broken(format!("the body of {hash} is missing")))?;
        bytes = bytes.saturating_add(block.to_bytes().len());
        run.push(block);
        if run.len() >= MAX_RUN_BLOCKS || bytes >= MAX_RUN_BYTES || position + 1 == active.len() {
            let step = Step::of(&run);
            bytes = 0;
            match submit_run(&mut ledger, std::mem::take(&mut run), END_OF_TIME) {
                Ok(()) => report(Progress::Done(step)),
                Err(Refusal::Storage(error)) => return Err(error.into()),
                Err(refusal) => return Err(AuditError::Invalid(refusal)),
            }
        }
    }
    // What is only in memory is in no snapshot.
    ledger.flush()?;
    compare(store, &ledger, active.last().copied().unwrap_or_else(|| chain.id()))
}

fn compare(
    store: &RocksStore,
    ledger: &Ledger<Replay<'_>>,
    stored_tip: BlockHash,
) -> Result<Audited, AuditError> {
    let tip = ledger.tip().id;
    let differs = |what, stored: String, replayed: String| AuditError::Differs {
        what,
        height: tip.height,
        stored,
        replayed,
    };
    if tip.hash != stored_tip {
        return Err(differs("the tip", stored_tip.to_string(), tip.hash.to_string()));
    }
    let stored = store.snapshot().utxo_stats()?;
    let replayed = ledger.store().scratch.snapshot().utxo_stats()?;
    let pairs: [(&str, Shown); 3] = [
        ("the number of coins", |stats| stats.count.to_string()),
        ("the supply", |stats| format!("{} CRN", stats.amount)),
        ("the UTXO hash", |stats| const_hex::encode(stats.hash)),
    ];
    for (what, value) in pairs {
        let (stored, replayed) = (value(&stored), value(&replayed));
        if stored != replayed {
            return Err(differs(what, stored, replayed));
        }
    }
    Ok(Audited { tip, coins: replayed.count, supply: replayed.amount, utxo_hash: replayed.hash })
}

/// The hashes of the stored chain, from height 1 to the tip to which the stored coins belong.
fn stored_chain(store: &RocksStore, chain: &Chain) -> Result<Vec<BlockHash>, AuditError> {
    let stored = store.load()?;
    let below: HashMap<BlockHash, BlockHash> =
        stored.headers.iter().map(|(header, _)| (header.hash(), header.previous)).collect();
    let mut active = Vec::new();
    let mut hash = stored.tip.unwrap_or_else(|| chain.id());
    while hash != chain.id() {
        active.push(hash);
        // As many steps as there are headers: a circle of hashes there is none.
        let parent = below.get(&hash);
        hash = *parent.ok_or_else(|| AuditError::Broken(format!("the header of {hash} is missing")))?;
    }
    active.reverse();
    Ok(active)
}

/// The store of a replay: bodies and undo data are looked up in the original, all else is the replay's own.
struct Replay<'a> {
    original: &'a RocksStore,
    scratch: RocksStore,
}

impl Store for Replay<'_> {
    fn load(&self) -> Result<Stored, StoreError> {
        self.scratch.load()
    }

    fn add_headers(&mut self, headers: &[Header]) -> Result<(), StoreError> {
        self.scratch.add_headers(headers)
    }

    fn add_body(&mut self, _block: &CheckedBlock, _order: u64) -> Result<(), StoreError> {
        // It came from the original.
        Ok(())
    }

    fn set_invalid(&mut self, _hashes: &[BlockHash], _invalid: bool) -> Result<(), StoreError> {
        // The audit ends here, with the refusal.
        Ok(())
    }

    fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError> {
        self.original.block(hash)
    }

    fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError> {
        self.scratch.coins(outpoints)
    }

    fn undo(&self, hash: &BlockHash) -> Result<Option<Undo>, StoreError> {
        self.scratch.undo(hash)
    }

    fn connect(&mut self, block: &Arc<CheckedBlock>, connected: ConnectedBlock) -> Result<(), StoreError> {
        let hash = connected.hash();
        if self.original.undo(&hash)?.as_ref() != Some(&connected.delta().spent) {
            return Err(StoreError::new(format!(
                "the undo data of block {hash} is not what the block spends; start the node once with --reindex"
            )));
        }
        self.scratch.connect(block, connected)
    }

    fn disconnect(&mut self, block: &Block, created: &[OutPoint], undo: &Undo) -> Result<(), StoreError> {
        self.scratch.disconnect(block, created, undo)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.scratch.flush()
    }
}

/// A folder that is gone when the value is.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes it, in the place of one that a killed audit left behind: the data folder's lock is held.
    fn make(path: PathBuf) -> Result<Self, AuditError> {
        let scratch = Self { path };
        scratch.clear()?;
        let made = fs::create_dir(&scratch.path);
        made.map_err(|error| AuditError::Scratch { path: scratch.path.clone(), error })?;
        Ok(scratch)
    }

    fn clear(&self) -> Result<(), AuditError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(AuditError::Scratch { path: self.path.clone(), error })
            }
            _ => Ok(()),
        }
    }

    fn remove(self) -> Result<(), AuditError> {
        self.clear()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After a panic alone there is still something; the next audit removes it otherwise.
        drop(fs::remove_dir_all(&self.path));
    }
}
