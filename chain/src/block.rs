//! Blocks and their headers. The header is Bitcoin's, bit for bit: 80 bytes that any miner knows (rule H1).

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{
    encode::{
        self, DecodeError, MAX_TRANSACTIONS, invalid, read_compact_size, read_list, write_compact_size,
        write_count,
    },
    hash::{BlockHash, MerkleRoot, sha256d},
    pow::CompactTarget,
    time::Time,
    transaction::{Coinbase, Transaction},
};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 80;

/// A block's header (rule H1). Every version is valid: miners may roll its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Header {
    /// Free for miners to roll; templates use 0x20000000.
    pub version: i32,
    /// The hash of the block below; zero for the genesis block.
    pub previous: BlockHash,
    /// The root over all leaves of the body (rule M1).
    pub merkle_root: MerkleRoot,
    /// When the miner says that the block was found (rules C1 and C2).
    pub time: Time,
    /// The target, compact (rule W4).
    pub bits: CompactTarget,
    /// What the miner searched for.
    pub nonce: u32,
}

impl Header {
    /// The 80 bytes, all integers little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.version.to_le_bytes());
        bytes[4..36].copy_from_slice(self.previous.as_bytes());
        bytes[36..68].copy_from_slice(self.merkle_root.as_bytes());
        bytes[68..72].copy_from_slice(&self.time.secs().to_le_bytes());
        bytes[72..76].copy_from_slice(&self.bits.to_u32().to_le_bytes());
        bytes[76..].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// From 80 bytes: every 80 bytes are a header.
    ///
    /// # Panics
    /// Never: the fields of a header cover any 80 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Self {
        borsh::from_slice(bytes).expect("the fields of a header cover any 80 bytes")
    }

    /// SHA-256d of the 80 bytes.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        BlockHash::from_bytes(sha256d(&self.to_bytes()))
    }
}

/// A block: `header, coinbase, transactions`. That only the first transaction is a coinbase cannot be
/// violated (rule B3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The transaction that makes new money.
    pub coinbase: Coinbase,
    /// All others; each may spend outputs of earlier ones (rule S1). Shared, since most of them wait in the
    /// mempool as well, and so that a block is copied without copying them.
    pub transactions: Vec<Arc<Transaction>>,
}

impl Block {
    /// The hash of the header, which names the block.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        self.header.hash()
    }

    /// The consensus encoding, whose length the byte limit bounds (rule B1).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode::to_bytes(self)
    }

    /// Reads a block from all of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] where they are anything but one block (rules E1, E2, T1).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        encode::from_bytes(bytes)
    }

    /// The bytes in which miners submit a block: header, CompactSize(1 + n), coinbase, n transactions
    /// (rule X1).
    ///
    /// # Panics
    /// Never: writing into a vector does not fail.
    #[must_use]
    pub fn to_submission(&self) -> Vec<u8> {
        let mut bytes = self.header.to_bytes().to_vec();
        write_compact_size(self.transactions.len() as u64 + 1, &mut bytes);
        self.coinbase.serialize(&mut bytes).expect("writing into a vector does not fail");
        for transaction in &self.transactions {
            transaction.serialize(&mut bytes).expect("writing into a vector does not fail");
        }
        bytes
    }

    /// Reads a submission (rule X1).
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are anything but one block.
    pub fn from_submission(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self::read_submission(bytes)?)
    }

    fn read_submission(mut bytes: &[u8]) -> io::Result<Self> {
        let rest = &mut bytes;
        let header = Header::deserialize_reader(rest)?;
        let count = read_compact_size(rest)?;
        if count == 0 || count > u64::from(MAX_TRANSACTIONS) {
            return Err(invalid("a block has a coinbase and a bounded number of transactions (rule X1)"));
        }
        let coinbase = Coinbase::deserialize_reader(rest)?;
        let mut transactions = Vec::new();
        for _ in 1..count {
            transactions.push(Arc::new(Transaction::deserialize_reader(rest)?));
        }
        if !rest.is_empty() {
            return Err(invalid("bytes follow the block (rule E1)"));
        }
        Ok(Self { header, coinbase, transactions })
    }
}

impl BorshSerialize for Block {
    fn serialize<W: Write>(&self, writer: &mut W) -> io::Result<()> {
        self.header.serialize(writer)?;
        self.coinbase.serialize(writer)?;
        write_count(self.transactions.len(), writer)?;
        self.transactions.iter().try_for_each(|transaction| transaction.serialize(writer))
    }
}

/// A transaction as a block holds it.
struct Shared(Arc<Transaction>);

impl BorshDeserialize for Shared {
    fn deserialize_reader<R: Read>(reader: &mut R) -> io::Result<Self> {
        Ok(Self(Arc::new(Transaction::deserialize_reader(reader)?)))
    }
}

impl BorshDeserialize for Block {
    fn deserialize_reader<R: Read>(reader: &mut R) -> io::Result<Self> {
        Ok(Self {
            header: Header::deserialize_reader(reader)?,
            coinbase: Coinbase::deserialize_reader(reader)?,
            transactions: read_list::<Shared, _>(reader, MAX_TRANSACTIONS)?
                .into_iter()
                .map(|shared| shared.0)
                .collect(),
        })
    }
}
