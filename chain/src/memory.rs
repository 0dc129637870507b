//! The reference store: everything in maps, nothing kept. Tests and simulations run on it.

use std::{collections::HashMap, sync::Arc};

use crate::{
    block::{Block, Header},
    check::{CheckedBlock, ConnectedBlock},
    hash::BlockHash,
    store::{HeaderStatus, Store, StoreError, Stored},
    transaction::OutPoint,
    utxo::{Coin, Undo},
};

/// A store in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    headers: Vec<Header>,
    statuses: HashMap<BlockHash, HeaderStatus>,
    blocks: HashMap<BlockHash, Block>,
    coins: HashMap<OutPoint, Coin>,
    undo: HashMap<BlockHash, Undo>,
    tip: Option<BlockHash>,
}

impl MemoryStore {
    /// The UTXO set.
    #[must_use]
    pub const fn utxo_set(&self) -> &HashMap<OutPoint, Coin> {
        &self.coins
    }
}

impl Store for MemoryStore {
    fn load(&self) -> Result<Stored, StoreError> {
        let status = |header: &Header| self.statuses.get(&header.hash()).copied().unwrap_or_default();
        let headers = self.headers.iter().map(|header| (*header, status(header))).collect();
        Ok(Stored { headers, tip: self.tip })
    }

    fn add_headers(&mut self, headers: &[Header]) -> Result<(), StoreError> {
        for header in headers {
            if self.statuses.insert(header.hash(), HeaderStatus::default()).is_some() {
                return Err(StoreError::new("a header was added twice"));
            }
            self.headers.push(*header);
        }
        Ok(())
    }

    fn add_body(&mut self, block: &CheckedBlock, order: u64) -> Result<(), StoreError> {
        let status = self.statuses.get_mut(&block.hash());
        status.ok_or_else(|| StoreError::new("a body came before its header"))?.body = Some(order);
        self.blocks.insert(block.hash(), block.to_block());
        Ok(())
    }

    fn set_invalid(&mut self, hashes: &[BlockHash], invalid: bool) -> Result<(), StoreError> {
        for hash in hashes {
            let status = self.statuses.get_mut(hash);
            status.ok_or_else(|| StoreError::new("an unknown header is marked"))?.invalid = invalid;
        }
        Ok(())
    }

    fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError> {
        Ok(self.blocks.get(hash).cloned())
    }

    fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError> {
        Ok(outpoints.iter().map(|outpoint| self.coins.get(outpoint).cloned()).collect())
    }

    fn undo(&self, hash: &BlockHash) -> Result<Option<Undo>, StoreError> {
        Ok(self.undo.get(hash).cloned())
    }

    fn connect(&mut self, block: &Arc<CheckedBlock>, connected: ConnectedBlock) -> Result<(), StoreError> {
        let hash = block.hash();
        let delta = connected.into_delta();
        for (outpoint, coin) in &delta.spent {
            // Taking a coin asserts that it was there, unspent and unchanged (threat C02).
            if self.coins.remove(outpoint).as_ref() != Some(coin) {
                return Err(StoreError::new(format!("the coin {outpoint} is spent, but is not here")));
            }
        }
        for (outpoint, coin) in delta.created {
            if self.coins.insert(outpoint, coin).is_some() {
                return Err(StoreError::new(format!("the coin {outpoint} is made twice")));
            }
        }
        self.undo.insert(hash, delta.spent);
        self.tip = Some(hash);
        Ok(())
    }

    fn disconnect(&mut self, block: &Block, created: &[OutPoint], undo: &Undo) -> Result<(), StoreError> {
        let hash = block.hash();
        if self.tip != Some(hash) {
            return Err(StoreError::new(format!("{hash} is disconnected, but is not the tip")));
        }
        for outpoint in created {
            if self.coins.remove(outpoint).is_none() {
                return Err(StoreError::new(format!("the coin {outpoint} is not here to be unmade")));
            }
        }
        for (outpoint, coin) in undo {
            if self.coins.insert(*outpoint, coin.clone()).is_some() {
                return Err(StoreError::new(format!("the coin {outpoint} was never spent")));
            }
        }
        self.undo.remove(&hash);
        self.tip = Some(block.header.previous);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        // Memory is all there is.
        Ok(())
    }
}
