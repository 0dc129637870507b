//! Reading the index: everything that is asked of one [`IndexSnapshot`] is seen at one tip (threat R16), whatever
//! is written meanwhile.

use chain::{
    address::Address, amount::Amount, hash::TxId, height::Height, ledger::BlockId, store::StoreError,
    transaction::OutPoint,
};
use rocksdb::{Direction, IteratorMode, ReadOptions};

use super::{
    database::IndexDb,
    options::scan_options,
    schema::{
        COIN, Family, HISTORY, TIP_KEY, address_prefix, history_key, read_coin, read_coin_key,
        read_history_key, read_place, read_tip, read_touch, transaction_key,
    },
};

/// The most entries that [`IndexSnapshot::address_history`] gives, whatever is asked for.
pub const MAX_HISTORY_ENTRIES: usize = 10_000;

/// Where a transaction is in the chain that the index speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionPlace {
    /// The height of its block.
    pub height: Height,
    /// Its position in the block: 0 is the coinbase, `i` is `transactions[i - 1]`.
    pub position: u32,
}

/// What a transaction did to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The transaction.
    pub txid: TxId,
    /// The height of its block.
    pub height: Height,
    /// Its position in the block: 0 is the coinbase.
    pub position: u32,
    /// The sum of its outputs to the address.
    pub received: Amount,
    /// The sum of the address's coins that it spends.
    pub sent: Amount,
}

/// An unspent output of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexedCoin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// The height of its block.
    pub height: Height,
    /// What it is worth.
    pub amount: Amount,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

/// A key and its value.
type Row = (Box<[u8]>, Box<[u8]>);

/// The index as it was at one moment. Short-lived: what it sees cannot be tidied up while it lives.
pub struct IndexSnapshot<'a> {
    database: &'a IndexDb,
    snapshot: rocksdb::Snapshot<'a>,
}

impl<'a> IndexSnapshot<'a> {
    pub(super) fn new(database: &'a IndexDb) -> Self {
        Self { database, snapshot: database.db().snapshot() }
    }

    /// Rows in the order of their keys.
    pub(super) fn rows(
        &self,
        mode: IteratorMode<'_>,
        mut options: ReadOptions,
    ) -> Result<impl Iterator<Item = Result<Row, StoreError>> + use<'_, 'a>, StoreError> {
        // The filter speaks of transactions alone.
        options.set_total_order_seek(true);
        let rows = self.snapshot.iterator_cf_opt(self.database.family(Family::Rows)?, options, mode);
        let failed = move |source| self.database.failed_read("the rows of the index".to_owned(), source);
        Ok(rows.map(move |row| row.map_err(failed)))
    }

    /// The block up to which everything here speaks.
    ///
    /// # Errors
    /// [`StoreError`]; so for all methods. An index that is found damaged is made anew at the next start.
    pub fn tip(&self) -> Result<BlockId, StoreError> {
        let what = || "the index's tip".to_owned();
        let value = self.snapshot.get_pinned_cf(self.database.family(Family::Rows)?, TIP_KEY);
        let value = value.map_err(|source| self.database.failed_read(what(), source))?;
        let Some(bytes) = value else { return Ok(self.database.genesis()) };
        read_tip(&bytes).map_err(|why| self.database.damaged(what(), why))
    }

    /// Where a transaction or coinbase is.
    pub fn transaction(&self, txid: &TxId) -> Result<Option<TransactionPlace>, StoreError> {
        let what = || format!("the entry of transaction {txid}");
        let value = self.snapshot.get_pinned_cf(self.database.family(Family::Rows)?, transaction_key(txid));
        let value = value.map_err(|source| self.database.failed_read(what(), source))?;
        let Some(bytes) = value else { return Ok(None) };
        let (height, position) = read_place(&bytes).map_err(|why| self.database.damaged(what(), why))?;
        Ok(Some(TransactionPlace { height, position }))
    }

    /// What touched an address, the newest first, after the first `skip`: at most `limit` entries and at most
    /// [`MAX_HISTORY_ENTRIES`].
    pub fn address_history(
        &self,
        address: &Address,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        let last = history_key(address, Height::new(u32::MAX), u32::MAX);
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(address_prefix(HISTORY, address));
        let rows = self.rows(IteratorMode::From(&last, Direction::Reverse), options)?;
        let damaged = |why| self.database.damaged("an entry of an address's history", why);
        rows.skip(skip)
            .take(limit.min(MAX_HISTORY_ENTRIES))
            .map(|row| {
                let (key, value) = row?;
                let (height, position) = read_history_key(&key).map_err(damaged)?;
                let (txid, received, sent) = read_touch(&value).map_err(damaged)?;
                Ok(HistoryEntry { txid, height, position, received, sent })
            })
            .collect()
    }

    /// All coins of an address, the oldest first, one after the other and however many they are.
    pub fn address_coins(
        &self,
        address: &Address,
    ) -> Result<impl Iterator<Item = Result<IndexedCoin, StoreError>> + use<'_, 'a>, StoreError> {
        let first = address_prefix(COIN, address);
        let mut options = scan_options();
        options.set_iterate_range(rocksdb::PrefixRange(first.as_slice()));
        let rows = self.rows(IteratorMode::From(&first, Direction::Forward), options)?;
        let damaged = |why| self.database.damaged("a coin of an address", why);
        Ok(rows.map(move |row| {
            let (key, value) = row?;
            let (height, outpoint) = read_coin_key(&key).map_err(damaged)?;
            let (amount, coinbase) = read_coin(&value).map_err(damaged)?;
            Ok(IndexedCoin { outpoint, height, amount, coinbase })
        }))
    }
}
