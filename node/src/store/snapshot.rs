//! Reading: everything that is asked of one [`Snapshot`] is seen at one tip (threat R16), whatever is
//! written meanwhile.

use chain::{
    amount::Amount,
    block::{Block, Header},
    encode,
    hash::BlockHash,
    store::StoreError,
    transaction::OutPoint,
    utxo::{Coin, Undo},
};
use rocksdb::{DBPinnableSlice, IteratorMode, ReadOptions};
use sha2::{Digest, Sha256};

use super::{
    codec::{HeaderRow, Malformed, read_coin, read_hash, read_header, read_mark, read_number, read_position},
    database::Database,
    fault::Fault,
    files::{Mark, Position},
    options::scan_options,
    reader::Shared,
    schema::{Family, TIP_KEY, coin_key, read_coin_key},
};

/// The UTXO set in four numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UtxoStats {
    /// How many coins there are.
    pub count: u64,
    /// The sum of their amounts.
    pub amount: Amount,
    /// SHA-256 over all coins in ascending order of outpoint: of each borsh(outpoint), then borsh(coin). Two
    /// nodes at one tip have the same, however they store coins.
    pub hash: [u8; 32],
    /// The bytes that the coins take, roughly: in files, and in memory that is written to files next.
    pub disk_bytes: u64,
}

/// A key and its value.
type Row = (Box<[u8]>, Box<[u8]>);

/// The store as it was at one moment: at the tip that was flushed last. Short-lived: what it sees cannot be
/// tidied up while it lives.
pub struct Snapshot<'a> {
    shared: &'a Shared,
    database: &'a Database,
    snapshot: rocksdb::Snapshot<'a>,
}

impl<'a> Snapshot<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        let database = &shared.database;
        Self { shared, database, snapshot: database.db().snapshot() }
    }

    fn get(
        &self,
        family: Family,
        key: &[u8],
        what: impl Fn() -> String,
    ) -> Result<Option<DBPinnableSlice<'_>>, StoreError> {
        let value = self.snapshot.get_pinned_cf(self.database.family(family)?, key);
        Ok(value.map_err(|source| Fault::Read { what: what(), source })?)
    }

    /// Reads one value.
    fn value<T>(
        &self,
        family: Family,
        key: &[u8],
        what: impl Fn() -> String,
        read: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.get(family, key, &what)? else { return Ok(None) };
        Ok(Some(read(&bytes).map_err(|why| Fault::damaged(what(), why))?))
    }

    /// Rows of a family in the order of their keys.
    pub(super) fn rows(
        &self,
        family: Family,
        mode: IteratorMode<'_>,
        options: ReadOptions,
    ) -> Result<impl Iterator<Item = Result<Row, StoreError>> + use<'_, 'a>, StoreError> {
        let rows = self.snapshot.iterator_cf_opt(self.database.family(family)?, options, mode);
        let failed = move |source| Fault::Read { what: format!("the family {}", family.name()), source };
        Ok(rows.map(move |row| Ok(row.map_err(failed)?)))
    }

    /// The tip to which everything here belongs; the genesis block where nothing was connected.
    ///
    /// # Errors
    /// [`StoreError`]; so for all methods.
    pub fn tip(&self) -> Result<BlockHash, StoreError> {
        let tip = self.value(Family::Coins, TIP_KEY, || "the tip".to_owned(), read_hash)?;
        Ok(tip.map_or(self.database.chain(), BlockHash::from_bytes))
    }

    /// The number of a header.
    pub(super) fn number(&self, hash: &BlockHash) -> Result<Option<u32>, StoreError> {
        self.value(Family::Numbers, hash.as_bytes(), || format!("the number of block {hash}"), read_number)
    }

    /// The row of the header with a number.
    pub(super) fn header(&self, number: u32) -> Result<HeaderRow, StoreError> {
        let what = || format!("header number {number}");
        let row = self.value(Family::Headers, &number.to_be_bytes(), what, read_header)?;
        Ok(row.ok_or_else(|| Fault::damaged(what(), "it is not there"))?)
    }

    /// The row of a block's header, if it is here.
    fn row(&self, hash: &BlockHash) -> Result<Option<HeaderRow>, StoreError> {
        let Some(number) = self.number(hash)? else { return Ok(None) };
        self.header(number).map(Some)
    }

    /// The header, if it is here; never the genesis block's.
    pub fn header_of(&self, hash: &BlockHash) -> Result<Option<Header>, StoreError> {
        Ok(self.row(hash)?.map(|row| row.header))
    }

    /// All headers' rows in the order of their numbers.
    pub(super) fn headers(&self) -> Result<Vec<HeaderRow>, StoreError> {
        let mut headers = Vec::new();
        for (number, row) in (0u32..).zip(self.rows(Family::Headers, IteratorMode::Start, scan_options())?) {
            let (key, value) = row?;
            let what = || format!("header number {number}");
            if *key != number.to_be_bytes() {
                return Err(Fault::damaged(what(), "it is not there").into());
            }
            headers.push(read_header(&value).map_err(|why| Fault::damaged(what(), why))?);
        }
        Ok(headers)
    }

    /// The end of files that a row of `meta` names.
    pub(super) fn mark(&self, key: &[u8]) -> Result<Option<Mark>, StoreError> {
        self.value(Family::Meta, key, || format!("the row {}", key.escape_ascii()), read_mark)
    }

    /// Where the undo data of the block with this header number is.
    pub(super) fn undo_position(&self, number: u32) -> Result<Option<Position>, StoreError> {
        let what = || format!("the row of the undo data of header number {number}");
        self.value(Family::Undo, &number.to_be_bytes(), what, read_position)
    }

    /// The number that the next header gets.
    pub(super) fn next_number(&self) -> Result<u32, StoreError> {
        let last =
            self.rows(Family::Headers, IteratorMode::End, ReadOptions::default())?.next().transpose()?;
        let Some((key, _)) = last else { return Ok(0) };
        let damaged = |why: &str| Fault::damaged("the last header's number", why);
        let number = read_number(&key).map_err(damaged)?;
        Ok(number.checked_add(1).ok_or_else(|| damaged("there is none above it"))?)
    }

    /// The block, if its body is here, on whatever branch; never the genesis block.
    pub fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError> {
        let Some(bytes) = self.encoded_block(hash)? else { return Ok(None) };
        let what = || format!("the body of block {hash}");
        let block = Block::from_bytes(&bytes).map_err(|error| Fault::damaged(what(), error.to_string()))?;
        if block.hash() != *hash {
            return Err(Fault::damaged(what(), format!("it is the block {}", block.hash())).into());
        }
        Ok(Some(block))
    }

    /// The block's encoding, if its body is here: as it was written, since its record's checksum holds.
    pub fn encoded_block(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, StoreError> {
        let Some((_, position)) = self.row(hash)?.and_then(|row| row.body) else { return Ok(None) };
        Ok(Some(self.shared.blocks.read(&position, hash)?))
    }

    /// What the block spent, if it was connected, whether or not it still is.
    pub fn undo(&self, hash: &BlockHash) -> Result<Option<Undo>, StoreError> {
        let Some(number) = self.number(hash)? else { return Ok(None) };
        let Some(position) = self.undo_position(number)? else { return Ok(None) };
        self.shared.undo_at(&position, hash).map(Some)
    }

    /// The coin at an outpoint, unless it does not exist or is spent.
    pub fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, StoreError> {
        self.value(Family::Coins, &coin_key(outpoint), || format!("the coin {outpoint}"), read_coin)
    }

    /// The coins at outpoints, in their order.
    pub fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError> {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        self.database.coins(outpoints, false, &options)
    }

    /// All coins in ascending order of outpoint.
    pub fn utxo_set(
        &self,
    ) -> Result<impl Iterator<Item = Result<(OutPoint, Coin), StoreError>> + use<'_, 'a>, StoreError> {
        let rows = self.rows(Family::Coins, IteratorMode::Start, scan_options())?;
        let coins = rows.filter(|row| row.as_ref().map_or(true, |(key, _)| **key != *TIP_KEY));
        Ok(coins.map(|row| {
            let (key, value) = row?;
            let outpoint = read_coin_key(&key);
            let outpoint = outpoint.ok_or_else(|| Fault::damaged("a coin's key", "it has a wrong length"))?;
            let coin = read_coin(&value);
            Ok((outpoint, coin.map_err(|why| Fault::damaged(format!("the coin {outpoint}"), why))?))
        }))
    }

    /// Counts, adds up and hashes the UTXO set. Reads all of it.
    pub fn utxo_stats(&self) -> Result<UtxoStats, StoreError> {
        let mut hasher = Sha256::new();
        let mut count: u64 = 0;
        let mut amount = Amount::ZERO;
        for coin in self.utxo_set()? {
            let (outpoint, coin) = coin?;
            hasher.update(encode::to_bytes(&(outpoint, &coin)));
            count = count.saturating_add(1);
            let sum = amount.checked_add(coin.output.amount);
            amount = sum.ok_or_else(|| Fault::damaged("the UTXO set", "its amounts overflow"))?;
        }
        let disk_bytes = self.database.family_bytes(Family::Coins)?;
        Ok(UtxoStats { count, amount, hash: hasher.finalize().into(), disk_bytes })
    }

    /// The bytes of all files: of the database, the blocks and the undo data.
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        let files = self.shared.blocks.disk_bytes()?.saturating_add(self.shared.undo.disk_bytes()?);
        Ok(self.database.disk_bytes()?.saturating_add(files))
    }
}
