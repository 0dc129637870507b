//! Compact blocks: a new block as six bytes a transaction, for whoever has most of them waiting already.
//!
//! The idea is BIP-152's: the header, the coinbase, whole transactions that the sender itself lacked, and short
//! ids of all others. A short id is SipHash-2-4 of the witness id under a key that the header and a nonce make,
//! so that nobody can find two transactions beforehand that look alike in somebody else's block. Two that look
//! alike nevertheless are nobody's fault: the Merkle root tells, and the block is fetched whole.
//!
//! Data and arithmetic alone. It must never believe a count or an index that a peer names.

use std::{collections::BTreeSet, io, io::Write, sync::Arc};

use borsh::{BorshDeserialize, BorshSerialize};
use chain::{
    block::{Block, HEADER_BYTES, Header},
    check::CheckedBlock,
    encode::MAX_TRANSACTIONS,
    hash::{BlockHash, WitnessTxId, sha256},
    transaction::{Coinbase, Transaction},
};

use super::{LENGTH_BYTES, MAX_BLOCK_BYTES, MAX_TRANSACTIONS_RESPONSE_BYTES, WireError, read_list};

/// Bytes of a short id (BIP-152).
pub const SHORT_ID_BYTES: usize = 6;
/// Transactions of a compact block, at the most: as many as any block may have.
pub const MAX_COMPACT_TRANSACTIONS: usize = MAX_TRANSACTIONS as usize;
/// Bytes of a compact block, at the most: the largest block, all of it prefilled, with an index of four bytes
/// for each of its transactions, a nonce and the length of a second list.
pub const MAX_COMPACT_BYTES: usize = MAX_BLOCK_BYTES + 4 * MAX_COMPACT_TRANSACTIONS + 16;

/// Six bytes that stand for a transaction in one compact block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct ShortId(pub [u8; SHORT_ID_BYTES]);

/// What short ids of one compact block are made with.
#[derive(Clone, Copy, Debug)]
pub struct ShortKey {
    first: u64,
    second: u64,
}

impl ShortKey {
    /// The key: the first sixteen bytes of SHA-256 of the header and the nonce.
    #[must_use]
    pub fn new(header: &Header, nonce: u64) -> Self {
        let mut bytes = [0; HEADER_BYTES + 8];
        bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        bytes[HEADER_BYTES..].copy_from_slice(&nonce.to_le_bytes());
        let digest = sha256(&bytes);
        Self { first: word(&digest, 0), second: word(&digest, 1) }
    }

    /// The short id of a transaction: the lower six bytes of its SipHash.
    #[must_use]
    pub fn id(&self, witness_txid: &WitnessTxId) -> ShortId {
        let hash = sip_hash(self.first, self.second, witness_txid.as_bytes()).to_le_bytes();
        let mut id = [0; SHORT_ID_BYTES];
        id.copy_from_slice(&hash[..SHORT_ID_BYTES]);
        ShortId(id)
    }
}

/// Eight bytes of 32, as a number.
fn word(bytes: &[u8; 32], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[8 * at..8 * at + 8]);
    u64::from_le_bytes(word)
}

/// SipHash-2-4 of 32 bytes (Aumasson and Bernstein, 2012).
fn sip_hash(first: u64, second: u64, message: &[u8; 32]) -> u64 {
    let mut state = [
        0x736f_6d65_7073_6575 ^ first,
        0x646f_7261_6e64_6f6d ^ second,
        0x6c79_6765_6e65_7261 ^ first,
        0x7465_6462_7974_6573 ^ second,
    ];
    // The last word holds the length, modulo 256, in its highest byte, and what is left of the message: nothing.
    let words = [word(message, 0), word(message, 1), word(message, 2), word(message, 3), 32 << 56];
    for word in words {
        state[3] ^= word;
        sip_round(&mut state);
        sip_round(&mut state);
        state[0] ^= word;
    }
    state[2] ^= 0xff;
    for _ in 0..4 {
        sip_round(&mut state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

const fn sip_round(state: &mut [u64; 4]) {
    state[0] = state[0].wrapping_add(state[1]);
    state[2] = state[2].wrapping_add(state[3]);
    state[1] = state[1].rotate_left(13) ^ state[0];
    state[3] = state[3].rotate_left(16) ^ state[2];
    state[0] = state[0].rotate_left(32);
    state[2] = state[2].wrapping_add(state[1]);
    state[0] = state[0].wrapping_add(state[3]);
    state[1] = state[1].rotate_left(17) ^ state[2];
    state[3] = state[3].rotate_left(21) ^ state[0];
    state[2] = state[2].rotate_left(32);
}

/// A transaction that a compact block carries whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefilled {
    /// Its place in the block, the coinbase not counted.
    pub index: u32,
    /// The transaction.
    pub transaction: Arc<Transaction>,
}

impl BorshSerialize for Prefilled {
    fn serialize<W: Write>(&self, writer: &mut W) -> io::Result<()> {
        self.index.serialize(writer)?;
        self.transaction.serialize(writer)
    }
}

impl BorshDeserialize for Prefilled {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let index = u32::deserialize_reader(reader)?;
        Ok(Self { index, transaction: Arc::new(Transaction::deserialize_reader(reader)?) })
    }
}

/// A block as it is announced.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct CompactBlock {
    /// The header, whose work pays for all that follows.
    pub header: Header,
    /// What the key of the short ids is made with, beside the header.
    pub nonce: u64,
    /// The coinbase, which nobody can know yet.
    pub coinbase: Coinbase,
    /// The transactions that are not prefilled, in the order of the block.
    pub short_ids: Vec<ShortId>,
    /// Those that the sender lacked itself, and so, most likely, does the receiver; by ascending index.
    pub prefilled: Vec<Prefilled>,
}

impl CompactBlock {
    /// A block in short; those of its transactions for which `is_rare` is true are carried whole.
    #[must_use]
    pub fn of(block: &CheckedBlock, nonce: u64, is_rare: impl Fn(&WitnessTxId) -> bool) -> Self {
        let key = ShortKey::new(block.header(), nonce);
        let (mut short_ids, mut prefilled) = (Vec::new(), Vec::new());
        for (index, checked) in (0..).zip(block.transactions()) {
            let id = checked.witness_txid();
            if is_rare(&id) {
                prefilled.push(Prefilled { index, transaction: Arc::clone(checked.transaction()) });
            } else {
                short_ids.push(key.id(&id));
            }
        }
        let (header, coinbase) = (*block.header(), block.coinbase().clone());
        Self { header, nonce, coinbase, short_ids, prefilled }
    }

    /// A block of which nobody is thought to have any transaction.
    #[must_use]
    pub fn whole(block: &Block) -> Self {
        let whole = |(index, transaction): (u32, &Arc<Transaction>)| Prefilled {
            index,
            transaction: Arc::clone(transaction),
        };
        Self {
            header: block.header,
            nonce: 0,
            coinbase: block.coinbase.clone(),
            short_ids: Vec::new(),
            prefilled: (0..).zip(&block.transactions).map(whole).collect(),
        }
    }

    /// The block's hash.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        self.header.hash()
    }

    /// How many transactions the block has, the coinbase not counted.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.short_ids.len() + self.prefilled.len()
    }

    /// Whether the block has a coinbase alone.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The short ids with their places in the block, which are those that no prefilled transaction takes.
    pub fn places(&self) -> impl Iterator<Item = (u32, ShortId)> {
        let taken: BTreeSet<u32> = self.prefilled.iter().map(|prefilled| prefilled.index).collect();
        let free = (0..).filter(move |index| !taken.contains(index));
        free.zip(self.short_ids.iter().copied())
    }

    /// The same with more transactions whole: those that were missing here will be missing elsewhere.
    #[must_use]
    pub fn with_prefilled(&self, more: Vec<Prefilled>) -> Self {
        let rare: BTreeSet<u32> = more.iter().map(|prefilled| prefilled.index).collect();
        let short_ids = self.places().filter(|(index, _)| !rare.contains(index)).map(|(_, id)| id).collect();
        let mut prefilled = self.prefilled.clone();
        prefilled.extend(more);
        prefilled.sort_by_key(|prefilled| prefilled.index);
        Self { header: self.header, nonce: self.nonce, coinbase: self.coinbase.clone(), short_ids, prefilled }
    }

    pub(super) fn read(rest: &mut &[u8]) -> Result<Self, WireError> {
        let compact = Self {
            header: Header::deserialize_reader(rest)?,
            nonce: u64::deserialize_reader(rest)?,
            coinbase: Coinbase::deserialize_reader(rest)?,
            short_ids: read_list(rest, "short ids", MAX_COMPACT_TRANSACTIONS)?,
            prefilled: read_list(rest, "prefilled transactions", MAX_COMPACT_TRANSACTIONS)?,
        };
        let claimed = compact.len();
        if claimed > MAX_COMPACT_TRANSACTIONS {
            let (what, limit) = ("transactions of a compact block", MAX_COMPACT_TRANSACTIONS);
            return Err(WireError::TooMany { what, claimed, limit });
        }
        let indexes = || compact.prefilled.iter().map(|prefilled| prefilled.index);
        let last = indexes().next_back().and_then(|last| usize::try_from(last).ok());
        if !indexes().is_sorted_by(|a, b| a < b) || last.is_some_and(|last| last >= claimed) {
            return Err(WireError::Indexes);
        }
        Ok(compact)
    }
}

/// A request for transactions of a block that was pushed in short.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct MissingRequest {
    /// The block.
    pub hash: BlockHash,
    /// Places in it, the coinbase not counted, ascending, at most [`MAX_COMPACT_TRANSACTIONS`].
    pub indexes: Vec<u32>,
}

impl MissingRequest {
    pub(super) fn read(rest: &mut &[u8]) -> Result<Self, WireError> {
        let hash = BlockHash::deserialize_reader(rest)?;
        let indexes: Vec<u32> = read_list(rest, "places", MAX_COMPACT_TRANSACTIONS)?;
        if !indexes.is_sorted_by(|a, b| a < b) {
            return Err(WireError::Indexes);
        }
        Ok(Self { hash, indexes })
    }
}

/// What is made of a pushed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum CompactReply {
    /// New to me, and worth its header's work; what I lack of it I shall ask you for.
    Accepted,
    /// I have it, or am getting it.
    Known,
    /// Its parent is unknown: ask me for nothing, I shall ask you for headers.
    Orphan,
    /// Its time is too far ahead of my clock (rule C2): nobody's fault.
    NotYet,
    /// Invalid, or not wanted.
    Refused,
}

/// The first transactions whose encodings together stay within [`MAX_TRANSACTIONS_RESPONSE_BYTES`].
pub(super) fn write_transactions(transactions: &[Arc<Transaction>]) -> Vec<u8> {
    let mut bytes = vec![0; LENGTH_BYTES];
    let mut count = 0u32;
    for transaction in transactions {
        let encoding = transaction.to_bytes();
        if bytes.len() - LENGTH_BYTES + encoding.len() > MAX_TRANSACTIONS_RESPONSE_BYTES {
            break;
        }
        bytes.extend(encoding);
        count += 1;
    }
    bytes[..LENGTH_BYTES].copy_from_slice(&count.to_le_bytes());
    bytes
}

pub(super) fn read_transactions(rest: &mut &[u8], limit: usize) -> Result<Vec<Arc<Transaction>>, WireError> {
    let transactions: Vec<Transaction> = read_list(rest, "transactions", limit)?;
    Ok(transactions.into_iter().map(Arc::new).collect())
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_hash_is_sip_hash_2_4(first: u64, second: u64, message: [u8; 32]) {
            #[expect(deprecated, reason = "the standard library's own is SipHash-2-4, and says so")]
            let mut reference = std::hash::SipHasher::new_with_keys(first, second);
            reference.write(&message);
            prop_assert_eq!(sip_hash(first, second, &message), reference.finish());
        }
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // The reference implementation's vector for a message of 32 bytes, 00 to 1f, under the key 00 to 0f.
        let mut message = [0; 32];
        (0..).zip(&mut message).for_each(|(value, byte)| *byte = value);
        let key = |from: u8| u64::from_le_bytes(std::array::from_fn(|at| message[usize::from(from) + at]));
        assert_eq!(sip_hash(key(0), key(8), &message), 0x7127_512f_72f2_7cce);
    }
}
