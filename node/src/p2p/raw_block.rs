//! A block as it came: its header read, its body bytes.
//!
//! A body decodes into many times its bytes (policies are trees), so that decoding whatever a peer sends would
//! let it fill our memory with what nobody asked for. Its header says which block it is; whoever wanted that one
//! decodes the body when its turn comes.

use std::{fmt, sync::Arc};

use chain::{
    block::{Block, HEADER_BYTES, Header},
    encode::DecodeError,
    encoded::EncodedBlock,
    hash::BlockHash,
};

use super::wire::{MAX_BLOCK_BYTES, WireError};

/// A block whose header is decoded and whose body is not. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct RawBlock {
    header: Header,
    hash: BlockHash,
    bytes: Arc<[u8]>,
}

impl RawBlock {
    /// From a block's encoding, of which only the header is looked at.
    ///
    /// # Errors
    /// [`WireError`] where the bytes are fewer than a header has, or more than any block has.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Result<Self, WireError> {
        let bytes = bytes.into();
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(WireError::TooLong { claimed: bytes.len(), limit: MAX_BLOCK_BYTES });
        }
        let first: Option<&[u8; HEADER_BYTES]> = bytes.first_chunk();
        let header = first.map(Header::from_bytes);
        let header =
            header.ok_or_else(|| WireError::Encoding("a block is shorter than its header".into()))?;
        Ok(Self { hash: header.hash(), header, bytes })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The header's hash, which names the block.
    #[must_use]
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }

    /// The whole encoding, header included.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Walks over the body and finds its parts, as strictly as if it were decoded, which it is not: what is known
    /// of it need not be, and what is not may take many times its bytes.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no block.
    pub fn walk(&self) -> Result<EncodedBlock, DecodeError> {
        EncodedBlock::from_bytes(self.bytes.to_vec())
    }
}

impl From<&Block> for RawBlock {
    fn from(block: &Block) -> Self {
        Self { header: block.header, hash: block.hash(), bytes: block.to_bytes().into() }
    }
}

impl fmt::Debug for RawBlock {
    /// Without the body, which fills screens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawBlock({}, {} bytes)", self.hash, self.bytes.len())
    }
}
