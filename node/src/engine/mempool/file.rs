//! The mempool as a file: what waits survives a restart. Pure: bytes in, bytes out; `live/` writes and reads them.
//!
//! In its frame ([`crate::engine::frame`]) stands `u32 count | count x (u32 time, transaction)`, integers
//! little-endian. Parents stand before children. A file that is cut off, changed, of another chain or version is
//! refused as a whole, with the reason; its transactions are verified again like any others (threat M09).

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use chain::{
    hash::BlockHash,
    ledger::Ledger,
    store::{Store, StoreError},
    time::Time,
    transaction::Transaction,
};

use super::{
    AcceptError, Mempool,
    acceptance::{Offer, Policy},
    room::EXPIRY_SECS,
};
use crate::engine::frame::{FileError, Frame};

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 512 << 20;
/// Transactions that are verified together when a file is read, at the most.
const MAX_BATCH: usize = 1_000;
/// What the file begins and ends with.
const FRAME: Frame = Frame { magic: b"cairn mempool\n", version: 1, max_bytes: MAX_FILE_BYTES };

/// A transaction of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Since when it waits.
    pub time: Time,
    /// The transaction.
    pub transaction: Arc<Transaction>,
}

/// What became of a file's transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Those that wait again.
    pub taken: usize,
    /// Those that are mined, invalid or too old by now, or do not fit.
    pub dropped: usize,
}

/// Reads a file.
///
/// # Errors
/// [`FileError`], for whatever bytes; it never panics.
pub fn from_bytes(bytes: &[u8], chain: &BlockHash) -> Result<Vec<Saved>, FileError> {
    let mut rest = FRAME.open(bytes, chain)?;
    let reader = &mut rest;
    let damaged = |_| FileError::Damaged;
    let count = u32::deserialize_reader(reader).map_err(damaged)?;
    let mut saved = Vec::new();
    for _ in 0..count {
        let time = Time::deserialize_reader(reader).map_err(damaged)?;
        let transaction = Arc::new(Transaction::deserialize_reader(reader).map_err(damaged)?);
        saved.push(Saved { time, transaction });
    }
    if reader.is_empty() { Ok(saved) } else { Err(FileError::Damaged) }
}

impl Mempool {
    /// The file of what waits. What lies beyond [`MAX_FILE_BYTES`] is left out, the youngest first.
    ///
    /// # Panics
    /// Never: writing into a vector does not fail.
    #[must_use]
    pub fn to_bytes(&self, chain: &BlockHash) -> Vec<u8> {
        let mut entries = Vec::new();
        let mut count: u32 = 0;
        let limit = usize::try_from(MAX_FILE_BYTES / 2).unwrap_or(usize::MAX);
        for entry in self.entries() {
            if entries.len() > limit || count == u32::MAX {
                break;
            }
            let transaction: &Transaction = entry.transaction().transaction();
            (entry.time, transaction).serialize(&mut entries).expect("writing into a vector does not fail");
            count += 1;
        }
        FRAME.seal(chain, &[count.to_le_bytes().as_slice(), entries.as_slice()])
    }

    /// Takes the transactions of a file that are still valid, with the times since when they wait.
    ///
    /// # Errors
    /// [`StoreError`]: the node must stop.
    pub fn restore<S: Store>(
        &mut self,
        saved: Vec<Saved>,
        ledger: &Ledger<S>,
        now: Time,
    ) -> Result<Restored, StoreError> {
        let mut restored = Restored::default();
        let fresh = |saved: &Saved| now.secs().saturating_sub(saved.time.secs()) <= EXPIRY_SECS;
        let (fresh, old): (Vec<Saved>, Vec<Saved>) = saved.into_iter().partition(fresh);
        restored.dropped += old.len();
        let mut fresh = fresh.into_iter();
        loop {
            // The clock may have been ahead when the file was written.
            let offers: Vec<Offer> = fresh
                .by_ref()
                .take(MAX_BATCH)
                .map(|saved| Offer::new(saved.transaction, ledger, saved.time.min(now)))
                .collect();
            if offers.is_empty() {
                return Ok(restored);
            }
            for outcome in self.accept_by(offers, Policy::Relay(None), ledger, now) {
                match outcome {
                    Ok(_) => restored.taken += 1,
                    Err(AcceptError::Storage(error)) => return Err(error),
                    Err(_) => restored.dropped += 1,
                }
            }
        }
    }
}
