//! A chain as one file: what `cairn chain export` writes and `cairn chain import` reads.
//!
//! ```text
//! magic            8 bytes   "CRNCHAIN"
//! format version   u32       1
//! chain id         32 bytes  the hash of the genesis block
//! blocks           u32       how many follow: those at the heights 1, 2, ... of one branch
//! checksum         8 bytes   of everything before it
//! for each block:
//!   length         u32       bytes of the block
//!   checksum       8 bytes   of the length and the block
//!   block                    in the consensus encoding
//! digest           32 bytes  SHA-256 of everything before it
//! ```
//!
//! Numbers are little-endian; a checksum is the beginning of a SHA-256. The checksums name the place of a
//! fault before anything is made of the bytes there, the digest says that nothing is missing, added or
//! exchanged. Neither makes a block valid: whoever reads the file holds its blocks against all rules.
//!
//! A file appears under its name whole or not at all, and never in the place of another one.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use chain::{
    block::{Block, Header},
    encode,
    genesis::Chain,
    hash::BlockHash,
    height::Height,
};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// How a file begins.
const MAGIC: [u8; 8] = *b"CRNCHAIN";
/// The version of the format that is written and read.
pub const FORMAT_VERSION: u32 = 1;
/// The bytes of a checksum.
const CHECKSUM_BYTES: usize = 8;
/// The bytes of the digest at the end.
const DIGEST_BYTES: usize = 32;
/// The bytes of a header, with which each block begins.
const HEADER_BYTES: usize = 80;
/// What is read and written at once, in bytes.
const BUFFER_BYTES: usize = 1 << 20;
/// What the name of a file that is being written ends with.
const PARTIAL: &str = ".partial";

/// Where in a file something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In what comes before the first block.
    Beginning,
    /// In a block.
    Block {
        /// Its height.
        height: Height,
        /// Where it begins, in bytes from the beginning of the file.
        offset: u64,
    },
    /// In the digest behind the last block, or in what follows it.
    End {
        /// Where the digest begins.
        offset: u64,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => write!(f, "the beginning"),
            Self::Block { height, offset } => write!(f, "block {height} (at byte {offset})"),
            Self::End { offset } => write!(f, "the end (at byte {offset})"),
        }
    }
}

/// Why a file cannot be written or read.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// Something of this name is there.
    #[error("{} exists already: choose another name with --out", .0.display())]
    Exists(PathBuf),
    /// Another process is writing it.
    #[error("{} is being written by another process: wait for it, or choose another name with --out", .0.display())]
    Busy(PathBuf),
    /// The system refuses.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// Not a file of this format.
    #[error("{} is no exported chain: name a file that `cairn chain export` has written", .0.display())]
    Foreign(PathBuf),
    /// A file of another version of the format.
    #[error(
        "{} has format version {found}, and this program knows {FORMAT_VERSION}: export the chain again, or use \
         the program that wrote it",
        .path.display()
    )]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A file of another chain.
    #[error("{} holds the chain {found}, not {expected}: name its chain with --chain", .path.display())]
    OtherChain {
        /// Which file.
        path: PathBuf,
        /// Its chain.
        found: BlockHash,
        /// The chain that was asked for.
        expected: BlockHash,
    },
    /// The file is torn, or bytes of it were changed.
    #[error("{} is damaged at {place}: {why}; get the file again", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What is wrong there.
        why: String,
    },
}

fn checksum(parts: [&[u8]; 2]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new().chain_update(parts[0]).chain_update(parts[1]).finalize();
    let mut short = [0; CHECKSUM_BYTES];
    short.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    short
}

/// A file that is being written; dropped before its end, it leaves nothing.
#[derive(Debug)]
pub struct ArchiveWriter {
    path: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    digest: Sha256,
    left: u32,
    finished: bool,
}

impl ArchiveWriter {
    /// Begins a file of so many blocks of a chain.
    ///
    /// # Errors
    /// [`ArchiveError::Exists`] where there is something of this name, [`ArchiveError::Busy`] where somebody
    /// writes it, [`ArchiveError::Io`].
    pub fn create(path: &Path, chain: &BlockHash, blocks: u32) -> Result<Self, ArchiveError> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(ArchiveError::Exists(path.into()));
        }
        let mut name = path.as_os_str().to_owned();
        name.push(PARTIAL);
        let partial = PathBuf::from(name);
        let io = |error| ArchiveError::Io { path: partial.clone(), error };
        // What a killed export left behind is in nobody's way.
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&partial).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ArchiveError::Busy(path.into())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        file.set_len(0).map_err(io)?;
        let mut head = MAGIC.to_vec();
        head.extend(FORMAT_VERSION.to_le_bytes());
        head.extend(chain.as_bytes());
        head.extend(blocks.to_le_bytes());
        head.extend(checksum([&head, &[]]));
        let mut writer = Self {
            path: path.into(),
            partial: partial.clone(),
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            digest: Sha256::new(),
            left: blocks,
            finished: false,
        };
        writer.write(&head)?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.digest.update(bytes);
        self.file.write_all(bytes).map_err(|error| ArchiveError::Io { path: self.partial.clone(), error })
    }

    /// Adds the block on top of the last one.
    ///
    /// # Errors
    /// [`ArchiveError::Io`], also where there are more blocks than were named at the beginning.
    pub fn add(&mut self, block: &Block) -> Result<(), ArchiveError> {
        let bytes = block.to_bytes();
        let io = |error| ArchiveError::Io { path: self.partial.clone(), error };
        let too_many = || io(io::Error::other("more blocks than were announced"));
        self.left = self.left.checked_sub(1).ok_or_else(too_many)?;
        let length = u32::try_from(bytes.len()).map_err(|_| io(io::ErrorKind::FileTooLarge.into()))?;
        let length = length.to_le_bytes();
        self.write(&length)?;
        self.write(&checksum([&length, &bytes]))?;
        self.write(&bytes)
    }

    /// Ends the file and gives it its name, where there is still nothing of that name.
    ///
    /// # Errors
    /// [`ArchiveError::Exists`], [`ArchiveError::Io`]; so also where blocks are missing.
    pub fn finish(mut self) -> Result<(), ArchiveError> {
        let (path, partial) = (self.path.clone(), self.partial.clone());
        let io = |error| ArchiveError::Io { path: partial.clone(), error };
        if self.left > 0 {
            return Err(io(io::Error::other(format!("{} blocks are missing", self.left))));
        }
        let digest: [u8; DIGEST_BYTES] = self.digest.clone().finalize().into();
        self.write(&digest)?;
        self.file.flush().map_err(io)?;
        self.file.get_ref().sync_all().map_err(io)?;
        // A link fails where there is something of that name; a rename would take its place.
        match fs::hard_link(&partial, &path) {
            Ok(()) => fs::remove_file(&partial).map_err(io)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(ArchiveError::Exists(path));
            }
            // There are file systems without links.
            Err(_) if fs::symlink_metadata(&path).is_ok() => return Err(ArchiveError::Exists(path)),
            Err(_) => fs::rename(&partial, &path).map_err(io)?,
        }
        self.finished = true;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| ArchiveError::Io { path: folder.into(), error })
    }
}

impl Drop for ArchiveWriter {
    fn drop(&mut self) {
        if !self.finished {
            // A leftover is in nobody's way: the next export writes over it.
            drop(fs::remove_file(&self.partial));
        }
    }
}

/// A block as it stands in a file: its checksum is right, nothing else is known of it.
#[derive(Clone, Debug)]
pub struct ArchivedBlock {
    /// Its height.
    pub height: Height,
    /// Where it begins in the file.
    pub offset: u64,
    bytes: Vec<u8>,
}

impl ArchivedBlock {
    /// The bytes of the block.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its header's hash, without a look at the rest; none where there is no header.
    #[must_use]
    pub fn hash(&self) -> Option<BlockHash> {
        let header = self.bytes.get(..HEADER_BYTES)?;
        encode::from_bytes::<Header>(header).ok().map(|header| header.hash())
    }
}

/// A file that is being read, block by block.
#[derive(Debug)]
pub struct ArchiveReader {
    path: PathBuf,
    file: BufReader<File>,
    digest: Sha256,
    offset: u64,
    blocks: u32,
    read: u32,
    max_block_bytes: u32,
}

impl ArchiveReader {
    /// Opens a file of `chain`.
    ///
    /// # Errors
    /// [`ArchiveError`] where it is none.
    pub fn open(path: &Path, chain: &Chain) -> Result<Self, ArchiveError> {
        let io = |error| ArchiveError::Io { path: path.into(), error };
        let file = File::open(path).map_err(io)?;
        if !file.metadata().map_err(io)?.is_file() {
            return Err(ArchiveError::Foreign(path.into()));
        }
        let mut reader = Self {
            path: path.into(),
            file: BufReader::with_capacity(BUFFER_BYTES, file),
            digest: Sha256::new(),
            offset: 0,
            blocks: 0,
            read: 0,
            max_block_bytes: chain.params().max_block_bytes,
        };
        let magic: [u8; MAGIC.len()] = match reader.take(Place::Beginning) {
            Ok(magic) => magic,
            Err(ArchiveError::Damaged { .. }) => return Err(ArchiveError::Foreign(path.into())),
            Err(error) => return Err(error),
        };
        if magic != MAGIC {
            return Err(ArchiveError::Foreign(path.into()));
        }
        let version: [u8; 4] = reader.take(Place::Beginning)?;
        let id: [u8; 32] = reader.take(Place::Beginning)?;
        let blocks: [u8; 4] = reader.take(Place::Beginning)?;
        let named: [u8; CHECKSUM_BYTES] = reader.take(Place::Beginning)?;
        let found = u32::from_le_bytes(version);
        // Another version may have another beginning: it is named before its checksum is looked at.
        if found != FORMAT_VERSION {
            return Err(ArchiveError::Version { path: path.into(), found });
        }
        let head = [&magic[..], &version, &id, &blocks].concat();
        if checksum([&head, &[]]) != named {
            return Err(reader.damaged(Place::Beginning, "its checksum does not fit"));
        }
        let found = BlockHash::from_bytes(id);
        if found != chain.id() {
            return Err(ArchiveError::OtherChain { path: path.into(), found, expected: chain.id() });
        }
        reader.blocks = u32::from_le_bytes(blocks);
        Ok(reader)
    }

    /// How many blocks the file has.
    #[must_use]
    pub const fn blocks(&self) -> u32 {
        self.blocks
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// That a block of this file is damaged.
    #[must_use]
    pub fn damaged(&self, place: Place, why: impl Into<String>) -> ArchiveError {
        ArchiveError::Damaged { path: self.path.clone(), place, why: why.into() }
    }

    /// The next block; none behind the last one, when the digest and the file's end are as they must be.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] names the place; [`ArchiveError::Io`].
    pub fn next_block(&mut self) -> Result<Option<ArchivedBlock>, ArchiveError> {
        if self.read == self.blocks {
            self.end()?;
            return Ok(None);
        }
        let (height, offset) = (Height::new(self.read.saturating_add(1)), self.offset);
        let place = Place::Block { height, offset };
        let length: [u8; 4] = self.take(place)?;
        let named: [u8; CHECKSUM_BYTES] = self.take(place)?;
        let bytes = u32::from_le_bytes(length);
        // Not so much is read for a length that cannot be.
        if bytes > self.max_block_bytes {
            let why = format!("its length of {bytes} bytes is above the chain's limit");
            return Err(self.damaged(place, why));
        }
        let mut block = Vec::new();
        let io = |error| ArchiveError::Io { path: self.path.clone(), error };
        let got = (&mut self.file).take(u64::from(bytes)).read_to_end(&mut block).map_err(io)?;
        if got < usize::try_from(bytes).unwrap_or(usize::MAX) {
            return Err(self.damaged(place, "the file ends in it"));
        }
        self.digest.update(&block);
        self.offset = self.offset.saturating_add(u64::from(bytes));
        if checksum([&length, &block]) != named {
            return Err(self.damaged(place, "its checksum does not fit"));
        }
        self.read = self.read.saturating_add(1);
        Ok(Some(ArchivedBlock { height, offset, bytes: block }))
    }

    fn end(&mut self) -> Result<(), ArchiveError> {
        let place = Place::End { offset: self.offset };
        let expected: [u8; DIGEST_BYTES] = self.digest.clone().finalize().into();
        let named: [u8; DIGEST_BYTES] = self.take(place)?;
        if named != expected {
            return Err(self.damaged(place, "the digest does not fit what stands before it"));
        }
        let io = |error| ArchiveError::Io { path: self.path.clone(), error };
        if self.file.read(&mut [0]).map_err(io)? > 0 {
            return Err(self.damaged(place, "something follows it"));
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self, place: Place) -> Result<[u8; N], ArchiveError> {
        let mut bytes = [0; N];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.damaged(place, "the file ends in it"));
            }
            Err(error) => return Err(ArchiveError::Io { path: self.path.clone(), error }),
        }
        self.digest.update(bytes);
        self.offset = self.offset.saturating_add(N as u64);
        Ok(bytes)
    }
}
