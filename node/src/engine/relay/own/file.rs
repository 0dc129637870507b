//! What users sent as a file: it survives a restart, whether the mempool still holds it or not. Pure: bytes in, bytes
//! out; `live/` writes and reads them.
//!
//! In its frame ([`crate::engine::frame`]) stands `u32 count | count x (u32 refusals, transaction)`, integers
//! little-endian, the oldest first. A file that is cut off, changed, of another chain or version is refused as a whole,
//! with the reason; its transactions are verified when they are offered (threat M09). It is not part of the mempool's
//! file: that is large, holds what anybody sent, and is left as it was by a node that ends before it has read all
//! of it.

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use chain::{hash::BlockHash, transaction::Transaction};

use super::{MAX_OWN_FILE_BYTES, Own};
use crate::engine::frame::{FileError, Frame};

/// What the file begins and ends with.
pub(super) const FRAME: Frame = Frame { magic: b"cairn own\n", version: 1, max_bytes: MAX_OWN_FILE_BYTES };

impl Own {
    /// The file of all that are looked after.
    pub(in crate::engine::relay) fn to_bytes(&self, chain: &BlockHash) -> Vec<u8> {
        let mut entries = Vec::new();
        let mut count: u32 = 0;
        for sent in self.order.iter().filter_map(|txid| self.sent.get(txid)) {
            let entry: (u32, &Transaction) = (sent.refusals, &sent.transaction);
            entry.serialize(&mut entries).expect("writing into a vector does not fail");
            count += 1;
        }
        FRAME.seal(chain, &[count.to_le_bytes().as_slice(), entries.as_slice()])
    }

    /// Reads a file. What lies beyond the limits is left out, the oldest first. All are due at once.
    ///
    /// # Errors
    /// [`FileError`], for whatever bytes; it never panics.
    pub(in crate::engine::relay) fn from_bytes(
        bytes: &[u8],
        chain: &BlockHash,
        now_ms: u64,
    ) -> Result<Self, FileError> {
        let mut rest = FRAME.open(bytes, chain)?;
        let reader = &mut rest;
        let damaged = |_| FileError::Damaged;
        let count = u32::deserialize_reader(reader).map_err(damaged)?;
        let mut own = Self::default();
        for _ in 0..count {
            let refusals = u32::deserialize_reader(reader).map_err(damaged)?;
            let transaction = Transaction::deserialize_reader(reader).map_err(damaged)?;
            own.put_back(Arc::new(transaction), refusals, now_ms);
        }
        if reader.is_empty() { Ok(own) } else { Err(FileError::Damaged) }
    }
}
