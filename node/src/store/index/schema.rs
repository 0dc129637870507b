//! What lies where in the index: every column family, on one page.
//!
//! | family | key                                         | value                                             |
//! | ------ | ------------------------------------------- | ------------------------------------------------- |
//! | `meta` | `schema`                                    | [`INDEX_VERSION`], u32                            |
//! |        | `chain`                                     | the chain id (genesis hash), 32 bytes             |
//! | `rows` | 0                                           | the *tip*: height u32, hash of the block up to    |
//! |        |                                             | which all rows speak; absent for the genesis block |
//! |        | 1, txid                                     | the transaction: height u32, position u32         |
//! |        | 2, address, height u32, position u32        | its history: txid, received u64, sent u64         |
//! |        | 3, address, height u32, txid, index u32     | its coins: amount u64, 1 if a coinbase made it    |
//! |        |                                             | and else 0 u8                                     |
//!
//! The *position* of a transaction counts within its block, and the coinbase is 0. All integers are
//! big-endian, so that keys sort by value: history by age, coins by age and then by outpoint. All rows speak of
//! the chain that ends with the tip and of no other, and the tip is written in one batch with them: they are one
//! family, so that a sorted file, which the database takes in whole, brings all of them. Heights stand for
//! blocks: they cost 4 bytes and not 32, and whoever reads at the tip knows the block at each height. A coin's
//! row holds all that is asked of a coin, so that no answer depends on the UTXO set of the same tip.
//!
//! A change of any of this raises [`INDEX_VERSION`]; an index of a lower one is made anew from the blocks.

use chain::{
    address::Address,
    amount::Amount,
    hash::{BlockHash, TxId},
    height::Height,
    ledger::BlockId,
    transaction::OutPoint,
};

/// The version of everything on this page.
pub const INDEX_VERSION: u32 = 2;

/// Key of the version in [`Family::Meta`].
pub(super) const SCHEMA_KEY: &[u8] = b"schema";
/// Key of the chain id in [`Family::Meta`].
pub(super) const CHAIN_KEY: &[u8] = b"chain";
/// Key of the tip in [`Family::Rows`].
pub(super) const TIP_KEY: &[u8] = &[0];
/// First byte of a key of where a transaction is, in [`Family::Rows`].
pub(super) const TRANSACTION: u8 = 1;
/// First byte of a key of what a transaction did to an address, in [`Family::Rows`].
pub(super) const HISTORY: u8 = 2;
/// First byte of a key of a coin of an address, in [`Family::Rows`].
pub(super) const COIN: u8 = 3;

/// Bytes of a key of where a transaction is.
pub(super) const TRANSACTION_KEY_BYTES: usize = 33;
/// Bytes of where a transaction is.
pub(super) const TRANSACTION_BYTES: usize = 8;
/// Bytes of a key of what a transaction did to an address.
pub(super) const HISTORY_KEY_BYTES: usize = 41;
/// Bytes of what a transaction did to an address.
pub(super) const HISTORY_BYTES: usize = 48;
/// Bytes of a key of a coin of an address.
pub(super) const COIN_KEY_BYTES: usize = 73;
/// Bytes of a coin of an address.
pub(super) const COIN_BYTES: usize = 9;

/// A column family of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// Version and chain.
    Meta,
    /// The tip, where each transaction is, which transactions touched an address, and which coins it has.
    Rows,
}

impl Family {
    /// All families.
    pub(super) const ALL: [Self; 2] = [Self::Meta, Self::Rows];

    /// Its name on the disk.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Rows => "rows",
        }
    }
}

/// What cannot be read, in words.
pub(super) type Malformed = &'static str;

/// The value of the tip.
pub(super) fn write_tip(tip: &BlockId) -> [u8; 36] {
    let mut bytes = [0; 36];
    bytes[..4].copy_from_slice(&tip.height.get().to_be_bytes());
    bytes[4..].copy_from_slice(tip.hash.as_bytes());
    bytes
}

/// Reads the tip.
pub(super) fn read_tip(bytes: &[u8]) -> Result<BlockId, Malformed> {
    let mut bytes = Bytes(bytes);
    let tip = BlockId { height: bytes.height()?, hash: BlockHash::from_bytes(bytes.array()?) };
    bytes.end(tip)
}

/// The value of where a transaction is.
pub(super) fn write_place(height: Height, position: u32) -> [u8; TRANSACTION_BYTES] {
    let mut bytes = [0; TRANSACTION_BYTES];
    bytes[..4].copy_from_slice(&height.get().to_be_bytes());
    bytes[4..].copy_from_slice(&position.to_be_bytes());
    bytes
}

/// Reads where a transaction is.
pub(super) fn read_place(bytes: &[u8]) -> Result<(Height, u32), Malformed> {
    let mut bytes = Bytes(bytes);
    let place = (bytes.height()?, bytes.number()?);
    bytes.end(place)
}

/// Key of where a transaction is.
pub(super) fn transaction_key(txid: &TxId) -> [u8; TRANSACTION_KEY_BYTES] {
    let mut key = [TRANSACTION; TRANSACTION_KEY_BYTES];
    key[1..].copy_from_slice(txid.as_bytes());
    key
}

/// What all keys of an address's rows of a kind begin with.
pub(super) fn address_prefix(kind: u8, address: &Address) -> [u8; 33] {
    let mut prefix = [kind; 33];
    prefix[1..].copy_from_slice(address.as_bytes());
    prefix
}

/// Key of what a transaction did to an address.
pub(super) fn history_key(address: &Address, height: Height, position: u32) -> [u8; HISTORY_KEY_BYTES] {
    let mut key = [HISTORY; HISTORY_KEY_BYTES];
    key[1..33].copy_from_slice(address.as_bytes());
    key[33..37].copy_from_slice(&height.get().to_be_bytes());
    key[37..].copy_from_slice(&position.to_be_bytes());
    key
}

/// Height and position that a key of [`history_key`] names.
pub(super) fn read_history_key(key: &[u8]) -> Result<(Height, u32), Malformed> {
    let mut bytes = Bytes(key);
    let _prefix: [u8; 33] = bytes.array()?;
    let place = (bytes.height()?, bytes.number()?);
    bytes.end(place)
}

/// The value of what a transaction did to an address.
pub(super) fn write_touch(txid: &TxId, received: Amount, sent: Amount) -> [u8; HISTORY_BYTES] {
    let mut bytes = [0; HISTORY_BYTES];
    bytes[..32].copy_from_slice(txid.as_bytes());
    bytes[32..40].copy_from_slice(&received.pebbles().to_be_bytes());
    bytes[40..].copy_from_slice(&sent.pebbles().to_be_bytes());
    bytes
}

/// Reads what a transaction did to an address: its id, what the address received and what was sent from it.
pub(super) fn read_touch(bytes: &[u8]) -> Result<(TxId, Amount, Amount), Malformed> {
    let mut bytes = Bytes(bytes);
    let touch = (TxId::from_bytes(bytes.array()?), bytes.amount()?, bytes.amount()?);
    bytes.end(touch)
}

/// Key of a coin of an address.
pub(super) fn coin_key(address: &Address, height: Height, outpoint: &OutPoint) -> [u8; COIN_KEY_BYTES] {
    let mut key = [COIN; COIN_KEY_BYTES];
    key[1..33].copy_from_slice(address.as_bytes());
    key[33..37].copy_from_slice(&height.get().to_be_bytes());
    key[37..69].copy_from_slice(outpoint.txid.as_bytes());
    key[69..].copy_from_slice(&outpoint.index.to_be_bytes());
    key
}

/// Height and outpoint that a key of [`coin_key`] names.
pub(super) fn read_coin_key(key: &[u8]) -> Result<(Height, OutPoint), Malformed> {
    let mut bytes = Bytes(key);
    let _prefix: [u8; 33] = bytes.array()?;
    let height = bytes.height()?;
    let outpoint = OutPoint { txid: TxId::from_bytes(bytes.array()?), index: bytes.number()? };
    bytes.end((height, outpoint))
}

/// The value of a coin of an address.
pub(super) fn write_coin(amount: Amount, coinbase: bool) -> [u8; COIN_BYTES] {
    let mut bytes = [0; COIN_BYTES];
    bytes[..8].copy_from_slice(&amount.pebbles().to_be_bytes());
    bytes[8] = u8::from(coinbase);
    bytes
}

/// Reads amount and origin of a coin of an address.
pub(super) fn read_coin(bytes: &[u8]) -> Result<(Amount, bool), Malformed> {
    let mut bytes = Bytes(bytes);
    let amount = bytes.amount()?;
    let coinbase = match bytes.array()? {
        [0] => false,
        [1] => true,
        _ => return Err("it has an unknown origin"),
    };
    bytes.end((amount, coinbase))
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or("it is too short")?;
        self.0 = rest;
        Ok(*array)
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn height(&mut self) -> Result<Height, Malformed> {
        Ok(Height::new(self.number()?))
    }

    fn amount(&mut self) -> Result<Amount, Malformed> {
        Ok(Amount::from_pebbles(u64::from_be_bytes(self.array()?)))
    }

    fn end<T>(self, value: T) -> Result<T, Malformed> {
        if self.0.is_empty() { Ok(value) } else { Err("it is too long") }
    }
}
