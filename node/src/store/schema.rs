//! What lies where: every column family, on one page.
//!
//! | family          | key                                    | value                                              |
//! | --------------- | -------------------------------------- | -------------------------------------------------- |
//! | `meta`          | `schema`                               | [`SCHEMA_VERSION`], u32                            |
//! |                 | `chain`                                | the chain id (genesis hash), 32 bytes              |
//! |                 | `blocks`                               | end of the block files, as far as rows name them   |
//! |                 | `synced`                               | end of what of them is certainly on the disk       |
//! |                 | `undo`                                 | end of the undo files, all of it on the disk       |
//! | `headers`       | number u32                             | header, 80 bytes; flags u8; order of the body u64; |
//! |                 |                                        | position of the body                               |
//! | `numbers`       | block hash                             | number u32                                         |
//! | `undo`          | number u32                             | position of what the block spent                   |
//! | `coins`         | txid, index u32                        | varint of 2 x height + (1 if a coinbase made it),  |
//! |                 |                                        | varint of the amount, address of 32 bytes          |
//! |                 | `tip`                                  | hash of the tip, 32 bytes; absent for the genesis  |
//!
//! Beside the database lie the flat files ([`super::files`]): `blocks-*.dat` holds borsh of the blocks,
//! `undo-*.dat` what each block spent, as the key and the value of each coin one after the other, in the order
//! of the block's inputs. A *position* is the file's number u32, the record's offset u64 and its length u32; an
//! *end* is a file's number and an offset.
//!
//! The *number* of a header counts headers in the order in which they came, so that a parent's is always
//! below its children's. Flags: bit 0 says that the block is invalid, bit 1 that the body is here. Undo data stays when its block leaves the active chain, and is found again when it comes back.
//!
//! Integers of fixed width are big-endian, so that keys sort by value; a varint is LEB128 without needless
//! bytes. The UTXO set sorts as outpoints do. The genesis block is in none of the families: it has no
//! outputs, and every node has it. The indexes have a database and a page of their own ([`super::index`]).
//!
//! The tip lies among the coins, so that a file of coins that the database takes in whole brings both.
//!
//! A change of any of this raises [`SCHEMA_VERSION`].

use chain::{hash::TxId, transaction::OutPoint};

/// The version of everything on this page. A store of another version is refused.
pub const SCHEMA_VERSION: u32 = 3;

/// Key of the schema version in [`Family::Meta`].
pub(super) const SCHEMA_KEY: &[u8] = b"schema";
/// Key of the chain id in [`Family::Meta`].
pub(super) const CHAIN_KEY: &[u8] = b"chain";
/// Key of the tip in [`Family::Coins`], where no coin has a name of this length.
pub(super) const TIP_KEY: &[u8] = b"tip";
/// Key of the end of the block files in [`Family::Meta`].
pub(super) const BLOCKS_KEY: &[u8] = b"blocks";
/// Key of the end of what is synced of the block files in [`Family::Meta`].
pub(super) const SYNCED_KEY: &[u8] = b"synced";
/// Key of the end of the undo files in [`Family::Meta`].
pub(super) const UNDO_KEY: &[u8] = b"undo";

/// Bytes of a coin's key.
pub(super) const COIN_KEY_BYTES: usize = 36;

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// Schema, chain, and the ends of the flat files.
    Meta,
    /// Headers and what is known of them, in the order in which they came.
    Headers,
    /// From a block's hash to its header's number.
    Numbers,
    /// Where the undo data of blocks is.
    Undo,
    /// The UTXO set, and the tip at which it is that.
    Coins,
}

impl Family {
    /// All families.
    pub(super) const ALL: [Self; 5] = [Self::Meta, Self::Headers, Self::Numbers, Self::Undo, Self::Coins];

    /// Its name on the disk.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Headers => "headers",
            Self::Numbers => "numbers",
            Self::Undo => "undo",
            Self::Coins => "coins",
        }
    }

    /// Whether its keys are hashes that are often asked for in vain, so that a filter saves reads.
    pub(super) const fn is_probed(self) -> bool {
        matches!(self, Self::Numbers | Self::Coins)
    }
}

/// Key of a coin.
pub(super) fn coin_key(outpoint: &OutPoint) -> [u8; COIN_KEY_BYTES] {
    let mut key = [0; COIN_KEY_BYTES];
    key[..32].copy_from_slice(outpoint.txid.as_bytes());
    key[32..].copy_from_slice(&outpoint.index.to_be_bytes());
    key
}

/// The coin that a key names; nothing for a key of another length.
pub(super) fn read_coin_key(key: &[u8]) -> Option<OutPoint> {
    let (txid, index) = key.split_first_chunk()?;
    Some(OutPoint { txid: TxId::from_bytes(*txid), index: u32::from_be_bytes(index.try_into().ok()?) })
}
