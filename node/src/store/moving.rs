//! Moving the tip: in memory, block by block, and to the disk in one batch.

use std::{collections::HashMap, sync::Arc};

use chain::{
    block::Block,
    check::{CheckedBlock, ConnectedBlock},
    hash::BlockHash,
    store::StoreError,
    transaction::OutPoint,
    utxo::{Coin, Undo},
};
use rocksdb::ReadOptions;

use super::{
    RocksStore,
    cache::{CoinCache, Known, Misfit},
    codec::{write_coin, write_mark, write_position, write_undo},
    fault::Fault,
    files::Position,
    recent::RecentBlock,
    schema::{Family, SYNCED_KEY, TIP_KEY, UNDO_KEY, coin_key},
};

/// The most blocks that wait for a flush: what is connected again after the death of the process.
const MAX_PENDING_BLOCKS: usize = 4_096;

/// What was connected since the last flush, beside the coins.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Undo data that no row names yet, by header number.
    undo: HashMap<u32, Position>,
    /// Blocks that were connected or disconnected.
    moves: usize,
}

impl RocksStore {
    /// The coins at the tip, from memory, else from the database.
    pub(super) fn read_coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError> {
        let mut coins = Vec::with_capacity(outpoints.len());
        let mut missing = Vec::new();
        {
            let cache = self.coins.lock();
            for (at, outpoint) in outpoints.iter().enumerate() {
                coins.push(match cache.get(outpoint) {
                    Known::Coin(coin) => Some(coin),
                    Known::Spent => None,
                    Known::Unknown => {
                        missing.push((*outpoint, at));
                        None
                    }
                });
            }
        }
        if missing.is_empty() {
            return Ok(coins);
        }
        missing.sort_unstable();
        let mut asked: Vec<OutPoint> = missing.iter().map(|(outpoint, _)| *outpoint).collect();
        asked.dedup();
        let found = self.shared.database.coins(&asked, true, &ReadOptions::default())?;
        let mut cache = self.coins.lock();
        let mut missing = missing.into_iter().peekable();
        for (outpoint, coin) in asked.iter().zip(found) {
            if let Some(coin) = &coin {
                cache.remember(outpoint, coin);
            }
            while let Some((_, at)) = missing.next_if(|(it, _)| it == outpoint) {
                coins[at].clone_from(&coin);
            }
        }
        Ok(coins)
    }

    /// Runs a step that changes what is in memory. If it fails half way, nothing of it may reach the disk:
    /// the store writes nothing any more.
    fn step<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.broken {
            return Err(Fault::mismatch("moving the tip", "an earlier step failed half way").into());
        }
        self.broken = true;
        let outcome = step(self)?;
        self.broken = false;
        Ok(outcome)
    }

    /// Takes coins away and adds others.
    fn exchange(
        &mut self,
        gone: &[(OutPoint, Coin)],
        come: &[(OutPoint, Coin)],
        what: &dyn Fn() -> String,
    ) -> Result<(), StoreError> {
        for (outpoint, coin) in gone {
            let mut spent = self.coins.get_mut().spend(outpoint, coin);
            if spent == Err(Misfit::Unknown) {
                // Whoever spends a coin has just asked for it; but it may have been forgotten since.
                self.read_coins(&[*outpoint])?;
                spent = self.coins.get_mut().spend(outpoint, coin);
            }
            // Taking a coin asserts that it is there, unspent and unchanged (threat C02).
            if spent.is_err() {
                let why = format!("the coin {outpoint} is spent, but is not here, or is another one");
                return Err(Fault::mismatch(what(), why).into());
            }
        }
        let cache: &mut CoinCache = self.coins.get_mut();
        for (outpoint, coin) in come {
            let why = match cache.create(outpoint, coin) {
                Ok(()) => continue,
                Err(Misfit::Data) => format!("the coin {outpoint} is a data output"),
                Err(_) => format!("the coin {outpoint} exists already"),
            };
            return Err(Fault::mismatch(what(), why).into());
        }
        Ok(())
    }

    /// Moves the tip up.
    pub(super) fn connect_block(
        &mut self,
        block: &Arc<CheckedBlock>,
        connected: ConnectedBlock,
    ) -> Result<(), StoreError> {
        let hash = block.hash();
        let what = || format!("connecting block {hash}");
        if connected.hash() != hash || self.tip != block.header().previous {
            return Err(Fault::mismatch(what(), format!("the tip is {}", self.tip)).into());
        }
        let number = self.known_number(&hash)?;
        let delta = connected.into_delta();
        self.step(|store| {
            store.exchange(&delta.spent, &delta.created, &what)?;
            if store.undo_position(number)?.is_none() {
                let undo = write_undo(&delta.spent);
                let undo = undo.ok_or_else(|| Fault::mismatch(what(), "it spends a data output"))?;
                let position = store.undo.append(&hash, &undo)?;
                store.pending.undo.insert(number, position);
            }
            store.tip = hash;
            store.pending.moves += 1;
            let undo = Arc::new(delta.spent);
            store.shared.recent.push(RecentBlock { block: Arc::clone(block), undo });
            Ok(())
        })?;
        self.flush_if_full()
    }

    /// Moves the tip down.
    pub(super) fn disconnect_block(
        &mut self,
        block: &Block,
        created: &[OutPoint],
        undo: &Undo,
    ) -> Result<(), StoreError> {
        let hash = block.hash();
        let what = || format!("disconnecting block {hash}");
        if self.tip != hash {
            return Err(Fault::mismatch(what(), format!("the tip is {}", self.tip)).into());
        }
        let coins = self.read_coins(created)?;
        let gone = created.iter().zip(coins).map(|(outpoint, coin)| {
            let why = || format!("the coin {outpoint} is not here to be unmade");
            Ok((*outpoint, coin.ok_or_else(|| Fault::mismatch(what(), why()))?))
        });
        let gone = gone.collect::<Result<Vec<_>, StoreError>>()?;
        self.step(|store| {
            store.exchange(&gone, undo, &what)?;
            store.tip = block.header.previous;
            store.pending.moves += 1;
            Ok(())
        })?;
        self.flush_if_full()
    }

    /// Where the undo data of the block with this header number is, flushed or not.
    pub(super) fn undo_position(&self, number: u32) -> Result<Option<Position>, StoreError> {
        match self.pending.undo.get(&number) {
            Some(position) => Ok(Some(*position)),
            None => self.snapshot().undo_position(number),
        }
    }

    fn flush_if_full(&mut self) -> Result<(), StoreError> {
        let is_full = self.coins.get_mut().is_full() || self.pending.moves >= MAX_PENDING_BLOCKS;
        if is_full { self.flush_all() } else { Ok(()) }
    }

    /// Writes everything that is only in memory. Bodies and undo data reach the disk first, so that coins never
    /// name a block that a power loss took.
    pub(super) fn flush_all(&mut self) -> Result<(), StoreError> {
        if self.broken {
            return Err(Fault::mismatch("the flush", "an earlier step failed half way").into());
        }
        self.blocks.sync()?;
        let is_clean =
            self.tip == self.flushed && self.coins.get_mut().dirty() == 0 && self.pending.undo.is_empty();
        if is_clean && self.blocks.synced() == self.synced {
            return Ok(());
        }
        self.undo.sync()?;
        let (tip, database) = (self.tip, &self.shared.database);
        let is_large = self.coins.get_mut().dirty() >= self.sorted_file_coins;
        let tip_row = Some(tip.as_bytes().as_slice()).filter(|_| tip != database.chain());
        let what = || format!("block {tip} as the tip");
        let mut batch = database.batch();
        for (number, position) in &self.pending.undo {
            batch.put(Family::Undo, number.to_be_bytes(), write_position(*position))?;
        }
        batch.put(Family::Meta, UNDO_KEY, write_mark(self.undo.end()))?;
        batch.put(Family::Meta, SYNCED_KEY, write_mark(self.blocks.synced()))?;
        if is_large {
            // What these rows name is there already, and a block may have undo data before it is connected: then
            // it gets no other. Coins and tip follow all at once.
            batch.commit(("undo.rows.before", "undo.rows.after"), what)?;
            database.sync_log()?;
            let mut file = database.sorted_file()?;
            write_coins(self.coins.get_mut(), tip_row, |key, value| file.add(key, value))?;
            file.commit(("coins.file.before", "coins.file.after"), what)?;
        } else {
            write_coins(self.coins.get_mut(), tip_row, |key, value| match value {
                Some(value) => batch.put(Family::Coins, key, value),
                None => batch.delete(Family::Coins, key),
            })?;
            batch.commit(("coins.flush.before", "coins.flush.after"), what)?;
        }
        self.coins.get_mut().settle();
        self.pending = Pending::default();
        self.synced = self.blocks.synced();
        self.flushed = tip;
        Ok(())
    }

    /// The tip in memory; the genesis block where nothing is connected.
    pub(super) const fn tip(&self) -> BlockHash {
        self.tip
    }
}

/// Gives all rows of coins that are pending, and the tip's among them, in ascending order of their keys.
fn write_coins(
    coins: &CoinCache,
    tip: Option<&[u8]>,
    mut write: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut value = Vec::new();
    let mut is_tip_due = true;
    for (outpoint, coin) in coins.pending() {
        let key = coin_key(outpoint);
        if is_tip_due && key.as_slice() > TIP_KEY {
            is_tip_due = false;
            write(TIP_KEY, tip)?;
        }
        let Some(coin) = coin else {
            write(&key, None)?;
            continue;
        };
        value.clear();
        let what = || Fault::mismatch(format!("the coin {outpoint}"), "it is a data output");
        write_coin(&coin, &mut value).ok_or_else(what)?;
        write(&key, Some(&value))?;
    }
    if is_tip_due { write(TIP_KEY, tip) } else { Ok(()) }
}
