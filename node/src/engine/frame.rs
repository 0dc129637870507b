//! The frame of the files in which the engine is saved: how they begin and end, and why one is refused. Pure: bytes
//! in, bytes out; `live/` writes and reads them.
//!
//! `magic | u32 version | chain id | content | SHA-256 of all before`, integers little-endian. A file that is cut off,
//! changed, of another chain or version is refused as a whole, with the reason.

use borsh::{BorshDeserialize, BorshSerialize};
use chain::hash::{BlockHash, sha256};
use thiserror::Error;

/// Bytes of the checksum at the end.
const CHECKSUM_BYTES: usize = 32;

/// Why a file is not read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// It is not such a file, or is cut off, or its bytes have changed.
    #[error("it is cut off or damaged")]
    Damaged,
    /// It is larger than any that is written.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// Another version of the program wrote it.
    #[error("it has version {found}, and this program reads version {known}")]
    Version {
        /// Its version.
        found: u32,
        /// The one that is read.
        known: u32,
    },
    /// It is of another chain.
    #[error("it is of another chain, {0}")]
    OtherChain(BlockHash),
}

/// What all files of one kind have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// How they begin.
    pub(super) magic: &'static [u8],
    /// The version of the format.
    pub(super) version: u32,
    /// The largest that is read, in bytes.
    pub(super) max_bytes: u64,
}

impl Frame {
    /// The file with a content, which may come in parts.
    pub(super) fn seal(&self, chain: &BlockHash, content: &[&[u8]]) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        (self.version, chain).serialize(&mut bytes).expect("writing into a vector does not fail");
        for part in content {
            bytes.extend_from_slice(part);
        }
        let checksum = sha256(&bytes);
        bytes.extend(checksum);
        bytes
    }

    /// The content of a file of this chain.
    pub(super) fn open<'a>(&self, bytes: &'a [u8], chain: &BlockHash) -> Result<&'a [u8], FileError> {
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > self.max_bytes {
            return Err(FileError::TooLarge(self.max_bytes));
        }
        let end = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(FileError::Damaged)?;
        let (body, checksum) = bytes.split_at(end);
        if sha256(body) != checksum {
            return Err(FileError::Damaged);
        }
        let mut rest = body.strip_prefix(self.magic).ok_or(FileError::Damaged)?;
        let damaged = |_| FileError::Damaged;
        let found = u32::deserialize_reader(&mut rest).map_err(damaged)?;
        if found != self.version {
            return Err(FileError::Version { found, known: self.version });
        }
        let found = BlockHash::deserialize_reader(&mut rest).map_err(damaged)?;
        if found == *chain { Ok(rest) } else { Err(FileError::OtherChain(found)) }
    }
}
