//! A block as it came: its encoding was read strictly, and most of it was not taken apart.
//!
//! Of a block whose transactions all wait in the mempool nothing is wanted but the hashes of their bytes. So
//! the bytes are walked once, which allocates nothing for everyday payments, and only the transactions that turn
//! out to be unknown are decoded, on all cores. The walk accepts exactly what [`Block::from_bytes`] accepts
//! (rules E1, E2 and T1).

use std::ops::Range;

use borsh::BorshDeserialize;

use crate::{
    block::{Block, HEADER_BYTES, Header},
    encode::{DecodeError, MAX_TRANSACTIONS, invalid, read_count},
    transaction::{Coinbase, step_over_transaction},
};

/// Where a transaction lies in its block's encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// All its bytes, which hash to its witness id.
    pub(crate) bytes: Range<usize>,
    /// How many of them come before the witnesses: they hash to its id.
    pub(crate) unsigned: usize,
}

/// The encoding of a block, and where its transactions lie in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedBlock {
    pub(crate) header: Header,
    pub(crate) coinbase: Coinbase,
    pub(crate) bytes: Vec<u8>,
    /// Where the coinbase lies.
    pub(crate) coinbase_bytes: Range<usize>,
    pub(crate) leaves: Vec<Leaf>,
}

impl EncodedBlock {
    /// Reads a block from all of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] where they are anything but one block (rules E1, E2, T1).
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        let mut rest = bytes.as_slice();
        let place = |rest: &[u8]| bytes.len() - rest.len();
        let header = Header::deserialize_reader(&mut rest)?;
        let coinbase = Coinbase::deserialize_reader(&mut rest)?;
        let coinbase_bytes = HEADER_BYTES..place(rest);
        let count = read_count(&mut rest, MAX_TRANSACTIONS)?;
        // What is reserved follows what came, never what was claimed: the shortest transaction has more bytes.
        let mut leaves = Vec::with_capacity(count.min(rest.len() / size_of::<Leaf>()));
        for _ in 0..count {
            let start = place(rest);
            let unsigned = step_over_transaction(&mut rest)?;
            leaves.push(Leaf { bytes: start..place(rest), unsigned });
        }
        if !rest.is_empty() {
            return Err(invalid("bytes follow the block (rule E1)").into());
        }
        Ok(Self { header, coinbase, bytes, coinbase_bytes, leaves })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The consensus encoding of the whole block.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes all of it apart.
    ///
    /// # Errors
    /// [`DecodeError`]; none where the walk was as strict as it must be.
    pub fn decode(&self) -> Result<Block, DecodeError> {
        Block::from_bytes(&self.bytes)
    }
}
