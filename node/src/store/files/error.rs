//! What can go wrong with a file of records, always with the file and the place in it.

use std::{io, path::PathBuf};

use chain::{hash::BlockHash, store::StoreError};
use thiserror::Error;

/// Why a file of records cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system could not read or write.
    #[error("{action} {} at byte {offset}: {source}; is the disk full or read-only?", .path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Where in the file, in bytes from its start.
        offset: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// What was read is not what can have been written (threat S04).
    #[error(
        "the file {} is damaged at byte {offset}: {why}; check the disk, then begin again with an empty data \
         folder",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes from its start.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// The file belongs to another chain (threat S08).
    #[error(
        "the file {} belongs to the chain with genesis block {found}, not {expected}: choose the right --chain, \
         or another folder with --datadir",
        .path.display()
    )]
    OtherChain {
        /// The file.
        path: PathBuf,
        /// The id of the chain that it names.
        found: BlockHash,
        /// The id of the chain that was asked for.
        expected: BlockHash,
    },
    /// The file has another format (threat S08).
    #[error(
        "the file {} was written by another version of this program (format {found}; this one knows {known}): \
         use that version, or another folder with --datadir",
        .path.display()
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The version that it names.
        found: u32,
        /// This program's version.
        known: u32,
    },
    /// A record is longer than any block or undo data can be.
    #[error("a record of {bytes} bytes for {} is too long", .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes of the record.
        bytes: usize,
    },
    /// An earlier write failed in a way that left the file's end unknown.
    #[error("the file {} is not written any more, because an earlier write failed", .path.display())]
    Stopped {
        /// The file.
        path: PathBuf,
    },
}

impl From<FileError> for StoreError {
    fn from(error: FileError) -> Self {
        Self::from(Box::<dyn std::error::Error + Send + Sync>::from(error))
    }
}
