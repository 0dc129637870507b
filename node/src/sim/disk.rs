//! A disk that forgets what was not flushed: the store of a simulated node.
//!
//! It keeps the promises of [`Store`] and not one more. Headers, what is known of them, and bodies are kept as soon
//! as they are written. Coins, undo data and the tip come back as of the last flush when the node dies, and the
//! ledger connects the blocks above again. A crash can be ordered at any write: that write fails, and the node
//! must stop as it must on any failure of a disk (threat C06).

use std::{collections::HashMap, sync::Arc};

use chain::{
    block::{Block, Header},
    check::{CheckedBlock, ConnectedBlock},
    hash::BlockHash,
    store::{HeaderStatus, Store, StoreError, Stored},
    transaction::OutPoint,
    utxo::{Coin, Undo},
};
use parking_lot::{Mutex, MutexGuard};

/// What is on the disk, and what the process has in memory above it.
#[derive(Debug, Default)]
struct Contents {
    headers: Vec<Header>,
    statuses: HashMap<BlockHash, HeaderStatus>,
    blocks: HashMap<BlockHash, Block>,
    coins: HashMap<OutPoint, Coin>,
    undo: HashMap<BlockHash, Undo>,
    tip: Option<BlockHash>,
    /// What coins, undo data and tip were before each change since the last flush, the newest last.
    journal: Vec<Change>,
    /// Writes until the one that fails.
    writes_left: Option<u64>,
    flaw: DiskFlaw,
}

/// What one change found.
#[derive(Debug)]
enum Change {
    Coin(OutPoint, Option<Coin>),
    Undo(BlockHash, Option<Undo>),
    Tip(Option<BlockHash>),
}

/// A bug that is planted in a disk (see [`super::Plant`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskFlaw {
    /// None.
    #[default]
    None,
    /// The tip survives a crash, the coins that belong to it do not.
    TipWithoutCoins,
    /// A block that is undone does not bring back the last coin that it spent.
    ForgottenUndo,
}

impl Contents {
    /// Counts a write; fails where it is the one that the crash comes at.
    fn write(&mut self) -> Result<(), StoreError> {
        match &mut self.writes_left {
            Some(0) => Err(StoreError::new("the simulated process dies at this write")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn remove_coin(&mut self, outpoint: &OutPoint) -> Option<Coin> {
        let found = self.coins.remove(outpoint);
        self.journal.push(Change::Coin(*outpoint, found.clone()));
        found
    }

    fn insert_coin(&mut self, outpoint: OutPoint, coin: Coin) -> Option<Coin> {
        let found = self.coins.insert(outpoint, coin);
        self.journal.push(Change::Coin(outpoint, found.clone()));
        found
    }

    fn set_tip(&mut self, tip: BlockHash) {
        let before = self.tip.replace(tip);
        self.journal.push(Change::Tip(before));
    }
}

/// A node's disk. Clones are the same disk, so that it outlives the process that writes to it.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Contents>>);

impl Disk {
    /// An empty disk with a flaw.
    #[must_use]
    pub fn with_flaw(flaw: DiskFlaw) -> Self {
        Self(Arc::new(Mutex::new(Contents { flaw, ..Contents::default() })))
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock()
    }

    /// Has the process die at a write: after so many more.
    pub fn fail_after(&self, writes: u64) {
        self.contents().writes_left = Some(writes);
    }

    /// Whether a write was to fail and has.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.contents().writes_left == Some(0)
    }

    /// The process is gone: what was not flushed is forgotten.
    pub fn crash(&self) {
        let mut contents = self.contents();
        contents.writes_left = None;
        let kept = (contents.flaw == DiskFlaw::TipWithoutCoins).then_some(contents.tip);
        while let Some(change) = contents.journal.pop() {
            match change {
                Change::Coin(outpoint, Some(coin)) => drop(contents.coins.insert(outpoint, coin)),
                Change::Coin(outpoint, None) => drop(contents.coins.remove(&outpoint)),
                Change::Undo(hash, Some(undo)) => drop(contents.undo.insert(hash, undo)),
                Change::Undo(hash, None) => drop(contents.undo.remove(&hash)),
                Change::Tip(tip) => contents.tip = tip,
            }
        }
        if let Some(tip) = kept {
            contents.tip = tip;
        }
    }

    /// Whether a write is to fail that has not come yet.
    #[must_use]
    pub fn is_doomed(&self) -> bool {
        self.contents().writes_left.is_some()
    }

    /// How many coins there are.
    #[must_use]
    pub fn coin_count(&self) -> usize {
        self.contents().coins.len()
    }
}

impl Store for Disk {
    fn load(&self) -> Result<Stored, StoreError> {
        let contents = self.contents();
        let status = |header: &Header| contents.statuses.get(&header.hash()).copied().unwrap_or_default();
        let headers = contents.headers.iter().map(|header| (*header, status(header))).collect();
        Ok(Stored { headers, tip: contents.tip })
    }

    fn add_headers(&mut self, headers: &[Header]) -> Result<(), StoreError> {
        let mut contents = self.contents();
        contents.write()?;
        for header in headers {
            if contents.statuses.insert(header.hash(), HeaderStatus::default()).is_some() {
                return Err(StoreError::new("a header was added twice"));
            }
            contents.headers.push(*header);
        }
        Ok(())
    }

    fn add_body(&mut self, block: &CheckedBlock, order: u64) -> Result<(), StoreError> {
        let mut contents = self.contents();
        contents.write()?;
        let status = contents.statuses.get_mut(&block.hash());
        status.ok_or_else(|| StoreError::new("a body came before its header"))?.body = Some(order);
        contents.blocks.insert(block.hash(), block.to_block());
        Ok(())
    }

    fn set_invalid(&mut self, hashes: &[BlockHash], invalid: bool) -> Result<(), StoreError> {
        let mut contents = self.contents();
        contents.write()?;
        for hash in hashes {
            let status = contents.statuses.get_mut(hash);
            status.ok_or_else(|| StoreError::new("an unknown header is marked"))?.invalid = invalid;
        }
        Ok(())
    }

    fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError> {
        Ok(self.contents().blocks.get(hash).cloned())
    }

    fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError> {
        let contents = self.contents();
        Ok(outpoints.iter().map(|outpoint| contents.coins.get(outpoint).cloned()).collect())
    }

    fn undo(&self, hash: &BlockHash) -> Result<Option<Undo>, StoreError> {
        Ok(self.contents().undo.get(hash).cloned())
    }

    fn connect(&mut self, block: &Arc<CheckedBlock>, connected: ConnectedBlock) -> Result<(), StoreError> {
        let mut contents = self.contents();
        contents.write()?;
        let hash = block.hash();
        let delta = connected.into_delta();
        for (outpoint, coin) in &delta.spent {
            if contents.remove_coin(outpoint).as_ref() != Some(coin) {
                return Err(StoreError::new(format!("the coin {outpoint} is spent, but is not here")));
            }
        }
        for (outpoint, coin) in delta.created {
            if contents.insert_coin(outpoint, coin).is_some() {
                return Err(StoreError::new(format!("the coin {outpoint} is made twice")));
            }
        }
        let before = contents.undo.insert(hash, delta.spent);
        contents.journal.push(Change::Undo(hash, before));
        contents.set_tip(hash);
        Ok(())
    }

    fn disconnect(&mut self, block: &Block, created: &[OutPoint], undo: &Undo) -> Result<(), StoreError> {
        let mut contents = self.contents();
        contents.write()?;
        let hash = block.hash();
        if contents.tip != Some(hash) {
            return Err(StoreError::new(format!("{hash} is disconnected, but is not the tip")));
        }
        for outpoint in created {
            if contents.remove_coin(outpoint).is_none() {
                return Err(StoreError::new(format!("the coin {outpoint} is not here to be unmade")));
            }
        }
        let forgotten = usize::from(contents.flaw == DiskFlaw::ForgottenUndo);
        for (outpoint, coin) in &undo[..undo.len().saturating_sub(forgotten)] {
            if contents.insert_coin(*outpoint, coin.clone()).is_some() {
                return Err(StoreError::new(format!("the coin {outpoint} was never spent")));
            }
        }
        let before = contents.undo.remove(&hash);
        contents.journal.push(Change::Undo(hash, before));
        contents.set_tip(block.header.previous);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let mut contents = self.contents();
        if contents.journal.is_empty() {
            return Ok(());
        }
        contents.write()?;
        contents.journal.clear();
        Ok(())
    }
}
