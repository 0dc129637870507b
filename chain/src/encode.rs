//! The consensus encoding: borsh, read strictly (rules E1 and E2).
//!
//! One object has one encoding. Bytes after the object are refused, and no length is believed before it was
//! held against a named limit, so that a few bytes can never make a reader reserve much memory.

use std::io::{self, Read, Write};

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

/// The most bytes that any chain's blocks may have: wire, disk and RPC carry blocks of this size, and a
/// chain's own limit may not exceed it (rule B1).
pub const MAX_BLOCK_BYTES: u32 = 4_000_000;

/// Inputs of a transaction: as many as fit into the largest block (a TxId and an index each).
pub const MAX_INPUTS: u32 = MAX_BLOCK_BYTES / 36;

/// Outputs of a transaction or a coinbase: an amount, a tag and at least an empty length each.
pub const MAX_OUTPUTS: u32 = MAX_BLOCK_BYTES / 13;

/// Transactions of a block: the smallest has about a hundred bytes.
pub const MAX_TRANSACTIONS: u32 = MAX_BLOCK_BYTES / 64;

/// Elements that are reserved at once for a list that claims as many.
const SHORT_LIST: usize = 4;

/// Why bytes are not an object (rules E1 and E2).
#[derive(Debug, Error)]
#[error("not a valid encoding (rule E1): {0}")]
pub struct DecodeError(#[from] io::Error);

/// The consensus encoding of `value`.
///
/// # Panics
/// Never: writing into a vector does not fail, and no field of a consensus type refuses to be written.
#[must_use]
pub fn to_bytes<T: BorshSerialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.serialize(&mut bytes).expect("writing into a vector does not fail");
    bytes
}

/// The object that all of `bytes` encodes.
///
/// # Errors
/// [`DecodeError`] where the bytes are cut short, break a limit, or go on after the object.
pub fn from_bytes<T: BorshDeserialize>(bytes: &[u8]) -> Result<T, DecodeError> {
    Ok(borsh::from_slice(bytes)?)
}

/// An error of decoding, for hand-written readers.
pub(crate) fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Reads the length of a list of at most `limit` elements (rule E2).
pub(crate) fn read_count(bytes: &mut &[u8], limit: u32) -> io::Result<usize> {
    let length = u32::deserialize_reader(bytes)?;
    let length = usize::try_from(length).ok().filter(|_| length <= limit);
    length.ok_or_else(|| invalid("a list is longer than its limit (rule E2)"))
}

/// Steps over so many bytes.
pub(crate) fn step_over(bytes: &mut &[u8], count: usize) -> io::Result<()> {
    *bytes = bytes.get(count..).ok_or_else(|| invalid("the bytes end too early (rule E1)"))?;
    Ok(())
}

/// Reads a list of at most `limit` elements; the length is checked before anything is reserved (rule E2).
pub(crate) fn read_list<T: BorshDeserialize, R: Read>(reader: &mut R, limit: u32) -> io::Result<Vec<T>> {
    let length = u32::deserialize_reader(reader)?;
    if length > limit {
        return Err(invalid("a list is longer than its limit (rule E2)"));
    }
    // What is reserved follows what has been read, never what was claimed; but most lists are short, and fit.
    let mut list =
        Vec::with_capacity(usize::try_from(length).map_or(SHORT_LIST, |length| length.min(SHORT_LIST)));
    for _ in 0..length {
        list.push(T::deserialize_reader(reader)?);
    }
    Ok(list)
}

/// Writes a list as borsh does: its length as u32, then the elements.
pub(crate) fn write_list<T: BorshSerialize, W: Write>(list: &[T], writer: &mut W) -> io::Result<()> {
    list.serialize(writer)
}

/// Writes the length of a list as borsh does, for lists whose elements are written one by one.
pub(crate) fn write_count<W: Write>(count: usize, writer: &mut W) -> io::Result<()> {
    u32::try_from(count).map_err(|_| invalid("a list is longer than its limit (rule E2)"))?.serialize(writer)
}

/// Writes Bitcoin's CompactSize, in which counts are written where Bitcoin's own tools read (rule X1).
pub(crate) fn write_compact_size(value: u64, bytes: &mut Vec<u8>) {
    match (u8::try_from(value), u16::try_from(value), u32::try_from(value)) {
        (Ok(small), ..) if small < 0xfd => bytes.push(small),
        (_, Ok(value), _) => {
            bytes.push(0xfd);
            bytes.extend(value.to_le_bytes());
        }
        (.., Ok(value)) => {
            bytes.push(0xfe);
            bytes.extend(value.to_le_bytes());
        }
        _ => {
            bytes.push(0xff);
            bytes.extend(value.to_le_bytes());
        }
    }
}

/// Reads a CompactSize and refuses an encoding that is longer than necessary (rule X1).
///
/// # Errors
/// An [`io::Error`] where the bytes end early or a shorter encoding exists.
pub fn read_compact_size(bytes: &mut &[u8]) -> io::Result<u64> {
    let first = u8::deserialize_reader(bytes)?;
    let (value, least) = match first {
        0xfd => (u64::from(u16::deserialize_reader(bytes)?), 0xfd),
        0xfe => (u64::from(u32::deserialize_reader(bytes)?), 0x1_0000),
        0xff => (u64::deserialize_reader(bytes)?, 0x1_0000_0000),
        small => (u64::from(small), 0),
    };
    if value < least {
        return Err(invalid("a CompactSize is longer than necessary (rule X1)"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn e2_a_claimed_length_reserves_nothing() {
        let mut bytes = u32::MAX.to_le_bytes().to_vec();
        bytes.extend([0; 8]);
        assert!(read_list::<u64, _>(&mut bytes.as_slice(), 10).is_err());
        // Within the limit, but with nothing behind it: ends at the first element that is missing.
        let bytes = 1_000_000u32.to_le_bytes();
        assert!(read_list::<u64, _>(&mut bytes.as_slice(), 2_000_000).is_err());
    }

    #[test]
    fn e1_trailing_bytes_are_refused() {
        assert!(from_bytes::<u32>(&[1, 0, 0, 0]).is_ok());
        assert!(from_bytes::<u32>(&[1, 0, 0, 0, 0]).is_err());
        assert!(from_bytes::<u32>(&[1, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn x1_compact_sizes_are_read_back(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            write_compact_size(value, &mut bytes);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(read_compact_size(&mut rest).ok(), Some(value));
            prop_assert!(rest.is_empty());
        }
    }
}
