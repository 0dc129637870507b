//! What can go wrong with the database, always with what was being read or written.

use std::{io, path::PathBuf};

use chain::{hash::BlockHash, store::StoreError};
use thiserror::Error;

use super::files::FileError;

/// A failure of a running store. It reaches the ledger as a [`StoreError`], on which the node stops.
#[derive(Debug, Error)]
pub(super) enum Fault {
    /// The database could not read.
    #[error("reading {what}: {source}")]
    Read {
        /// What was to be read.
        what: String,
        /// The database's reason.
        source: rocksdb::Error,
    },
    /// The database could not write.
    #[error("writing {what}: {source}; is the disk full or read-only?")]
    Write {
        /// What was to be written.
        what: String,
        /// The reason of the database or of the system.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was read is not what can have been written.
    #[error("{what} is damaged: {why}; check the disk, then begin again with an empty data folder")]
    Damaged {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The caller moves the ledger in a way that does not fit what is stored.
    #[error("{what} does not fit the store: {why}")]
    Mismatch {
        /// What was to be done.
        what: String,
        /// Why it cannot be.
        why: String,
    },
}

impl Fault {
    /// Damage to something.
    pub(super) fn damaged(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), why: why.into() }
    }

    /// A write that failed.
    pub(super) fn write(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Write { what: what.into(), source: source.into() }
    }

    /// A step that does not fit.
    pub(super) fn mismatch(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Mismatch { what: what.into(), why: why.into() }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        Self::from(Box::<dyn std::error::Error + Send + Sync>::from(fault))
    }
}

/// Why a folder cannot be opened as the store of a chain.
#[derive(Debug, Error)]
pub enum OpenStoreError {
    /// The folder cannot be made.
    #[error("the folder {} cannot be made: {source}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The database does not open: it is damaged, in use, or its files cannot be read.
    #[error(
        "the database in {} cannot be opened: {source}; stop any other process that uses it, and check the disk",
        .path.display()
    )]
    Database {
        /// The folder.
        path: PathBuf,
        /// The database's reason.
        source: rocksdb::Error,
    },
    /// The folder holds a database of some other program.
    #[error("{} holds a database that is not Cairn's: choose another folder with --datadir", .path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// The folder belongs to another chain (threat S08).
    #[error(
        "{} holds the chain with genesis block {found}, not {expected}: choose the right --chain, or another \
         folder with --datadir",
        .path.display()
    )]
    OtherChain {
        /// The folder.
        path: PathBuf,
        /// The id of the chain that is stored.
        found: BlockHash,
        /// The id of the chain that was asked for.
        expected: BlockHash,
    },
    /// A newer program wrote the folder (threat S08).
    #[error(
        "{} was written by a newer version of this program (schema {found}; this one knows {known}): use that \
         version, or another folder with --datadir",
        .path.display()
    )]
    NewerSchema {
        /// The folder.
        path: PathBuf,
        /// The stored version.
        found: u32,
        /// This program's version.
        known: u32,
    },
    /// An older program wrote the folder, in a form that this one does not read (threat S08).
    #[error(
        "{} was written by an older version of this program (schema {found}; this one knows {known}): begin \
         again with an empty folder, and the blocks will be fetched from peers",
        .path.display()
    )]
    OlderSchema {
        /// The folder.
        path: PathBuf,
        /// The stored version.
        found: u32,
        /// This program's version.
        known: u32,
    },
    /// A block or undo file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Reading or writing failed.
    #[error("the database in {}: {source}", .path.display())]
    Storage {
        /// The folder.
        path: PathBuf,
        /// What failed.
        source: StoreError,
    },
}
