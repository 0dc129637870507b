//! What lies where in the index: every column family, on one page.
//!
//! | family          | key                                    | value                                             |
//! | --------------- | -------------------------------------- | ------------------------------------------------- |
//! | `meta`          | `schema`                               | [`INDEX_VERSION`], u32                            |
//! |                 | `chain`                                | the chain id (genesis hash), 32 bytes             |
//! |                 | `tip`                                  | height u32, hash of the block up to which all     |
//! |                 |                                        | rows speak; absent for the genesis block          |
//! | `transactions`  | txid                                   | height u32, position u32                          |
//! | `history`       | address, height u32, position u32      | txid, received u64, sent u64                      |
//! | `address_coins` | address, height u32, txid, index u32   | amount u64, 1 if a coinbase made it and else 0 u8 |
//!
//! The *position* of a transaction counts within its block, and the coinbase is 0. All integers are
//! big-endian, so that keys sort by value: history by age, coins by age and then by outpoint. All rows speak of
//! the chain that ends with `tip` and of no other, and `tip` is written in one batch with them. Heights stand for
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
pub const INDEX_VERSION: u32 = 1;

/// Key of the version in [`Family::Meta`].
pub(super) const SCHEMA_KEY: &[u8] = b"schema";
/// Key of the chain id in [`Family::Meta`].
pub(super) const CHAIN_KEY: &[u8] = b"chain";
/// Key of the tip in [`Family::Meta`].
pub(super) const TIP_KEY: &[u8] = b"tip";

/// Bytes of a key of [`Family::Transactions`].
pub(super) const TRANSACTION_KEY_BYTES: usize = 32;
/// Bytes of a value of [`Family::Transactions`].
pub(super) const TRANSACTION_BYTES: usize = 8;
/// Bytes of a key of [`Family::History`].
pub(super) const HISTORY_KEY_BYTES: usize = 40;
/// Bytes of a value of [`Family::History`].
pub(super) const HISTORY_BYTES: usize = 48;
/// Bytes of a key of [`Family::AddressCoins`].
pub(super) const COIN_KEY_BYTES: usize = 72;
/// Bytes of a value of [`Family::AddressCoins`].
pub(super) const COIN_BYTES: usize = 9;

/// A column family of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// Version, chain and tip.
    Meta,
    /// Where each transaction is.
    Transactions,
    /// Which transactions touched an address.
    History,
    /// Which coins an address has.
    AddressCoins,
}

impl Family {
    /// All families.
    pub(super) const ALL: [Self; 4] = [Self::Meta, Self::Transactions, Self::History, Self::AddressCoins];

    /// Its name on the disk.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Transactions => "transactions",
            Self::History => "history",
            Self::AddressCoins => "address_coins",
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

/// Key of what a transaction did to an address.
pub(super) fn history_key(address: &Address, height: Height, position: u32) -> [u8; HISTORY_KEY_BYTES] {
    let mut key = [0; HISTORY_KEY_BYTES];
    key[..32].copy_from_slice(address.as_bytes());
    key[32..36].copy_from_slice(&height.get().to_be_bytes());
    key[36..].copy_from_slice(&position.to_be_bytes());
    key
}

/// Height and position that a key of [`Family::History`] names.
pub(super) fn read_history_key(key: &[u8]) -> Result<(Height, u32), Malformed> {
    let mut bytes = Bytes(key);
    let _address: [u8; 32] = bytes.array()?;
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
    let mut key = [0; COIN_KEY_BYTES];
    key[..32].copy_from_slice(address.as_bytes());
    key[32..36].copy_from_slice(&height.get().to_be_bytes());
    key[36..68].copy_from_slice(outpoint.txid.as_bytes());
    key[68..].copy_from_slice(&outpoint.index.to_be_bytes());
    key
}

/// Height and outpoint that a key of [`Family::AddressCoins`] names.
pub(super) fn read_coin_key(key: &[u8]) -> Result<(Height, OutPoint), Malformed> {
    let mut bytes = Bytes(key);
    let _address: [u8; 32] = bytes.array()?;
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
