//! Flat files: blocks and undo data as checksummed records in append-only files, `blocks-00000.dat` and
//! `undo-00000.dat`, a new file at [`MAX_FILE_BYTES`].
//!
//! An [`Appender`] writes, from one thread, each record with one call of the system: when it returns, the
//! kernel has the record, and the death of the process cannot take it. [`FlatFiles`] reads on any thread, by
//! [`Position`]. The database says what the files hold: a record that no row names does not count and is cut
//! off at the next start, so that a write that was torn by a crash leaves nothing behind (threat S03). A
//! record that is named and cannot be read as it was written is an error with the file and the place, never
//! served and never mended (threat S04).
//!
//! A file that is full is synced before the next one begins, so that a power loss can only tear the newest.

mod append;
mod error;
mod record;
mod scan;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use chain::hash::BlockHash;
use parking_lot::Mutex;

pub(super) use self::append::Appender;
pub use self::error::FileError;
use self::record::{
    FILE_HEADER_BYTES, FORMAT_VERSION, FileHeader, MAX_RECORD_BYTES, Place, RECORD_HEADER_BYTES, RecordHeader,
};

/// A file is full at this size, in bytes: large enough that a chain of years is some hundred files, small
/// enough that checking the newest one is a matter of a second.
pub(super) const MAX_FILE_BYTES: u64 = 128 << 20;
/// How many files of each kind are held open for reading (threat S06).
const MAX_OPEN_FILES: usize = 4;
/// The highest number of a file: the name has five digits.
const MAX_FILE_NUMBER: u32 = 99_999;
/// [`FILE_HEADER_BYTES`] as an offset.
const FIRST_OFFSET: u64 = FILE_HEADER_BYTES as u64;
/// [`RECORD_HEADER_BYTES`] as a distance.
const HEADER_DISTANCE: u64 = RECORD_HEADER_BYTES as u64;

/// What the records of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Borsh of blocks.
    Blocks,
    /// What blocks spent.
    Undo,
}

/// The fail points around one write.
type Points = (&'static str, &'static str);

impl Kind {
    const fn code(self) -> u32 {
        match self {
            Self::Blocks => 1,
            Self::Undo => 2,
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Blocks => "blocks-",
            Self::Undo => "undo-",
        }
    }

    const fn append_points(self) -> Points {
        match self {
            Self::Blocks => ("blocks.append.before", "blocks.append.after"),
            Self::Undo => ("undo.append.before", "undo.append.after"),
        }
    }

    const fn create_points(self) -> Points {
        match self {
            Self::Blocks => ("blocks.create.before", "blocks.create.after"),
            Self::Undo => ("undo.create.before", "undo.create.after"),
        }
    }

    const fn sync_points(self) -> Points {
        match self {
            Self::Blocks => ("blocks.sync.before", "blocks.sync.after"),
            Self::Undo => ("undo.sync.before", "undo.sync.after"),
        }
    }

    const fn cut_points(self) -> Points {
        match self {
            Self::Blocks => ("blocks.cut.before", "blocks.cut.after"),
            Self::Undo => ("undo.cut.before", "undo.cut.after"),
        }
    }
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// The number of its file.
    pub(super) file: u32,
    /// Where its header begins, in bytes from the start of the file.
    pub(super) offset: u64,
    /// The bytes that follow its header.
    pub(super) length: u32,
}

impl Position {
    /// Where the next record begins, if it goes into the same file.
    pub(super) fn end(&self) -> Mark {
        let length = HEADER_DISTANCE.saturating_add(self.length.into());
        Mark { file: self.file, offset: self.offset.saturating_add(length) }
    }

    const fn place(&self) -> Place {
        Place { file: self.file, offset: self.offset }
    }

    /// Whether the record begins at or behind a mark.
    pub(super) fn is_behind(&self, mark: Mark) -> bool {
        Mark { file: self.file, offset: self.offset } >= mark
    }
}

/// A place between two records: everything before it, in this file and those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    /// The number of the file.
    pub(super) file: u32,
    /// Bytes from its start.
    pub(super) offset: u64,
}

impl Mark {
    /// Before all records.
    pub(super) const START: Self = Self { file: 0, offset: FIRST_OFFSET };
}

/// The files of one kind of one chain, open for reading on any thread.
#[derive(Debug)]
pub(super) struct FlatFiles {
    folder: PathBuf,
    kind: Kind,
    chain: BlockHash,
    max_file_bytes: u64,
    /// The files that were read last, the youngest first.
    open: Mutex<VecDeque<(u32, Arc<File>)>>,
}

impl FlatFiles {
    /// The files of `kind` in `folder`, which is made where it does not exist.
    pub(super) fn new(
        folder: &Path,
        kind: Kind,
        chain: BlockHash,
        max_file_bytes: u64,
    ) -> Result<Arc<Self>, FileError> {
        let files = Self {
            folder: folder.to_path_buf(),
            kind,
            chain,
            max_file_bytes,
            open: Mutex::new(VecDeque::with_capacity(MAX_OPEN_FILES)),
        };
        fs::create_dir_all(folder).map_err(|source| files.folder_failed("making the folder", source))?;
        Ok(Arc::new(files))
    }

    /// The path of a file.
    pub(super) fn path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{}{number:05}.dat", self.kind.prefix()))
    }

    fn failed(&self, action: &'static str, at: Mark, source: io::Error) -> FileError {
        FileError::Io { action, path: self.path(at.file), offset: at.offset, source }
    }

    fn folder_failed(&self, action: &'static str, source: io::Error) -> FileError {
        FileError::Io { action, path: self.folder.clone(), offset: 0, source }
    }

    fn damaged(&self, at: Mark, why: impl Into<String>) -> FileError {
        FileError::Damaged { path: self.path(at.file), offset: at.offset, why: why.into() }
    }

    /// The numbers of the files that are here, in ascending order. What has another name is left alone.
    pub(super) fn numbers(&self) -> Result<Vec<u32>, FileError> {
        let failed = |source| self.folder_failed("listing the files of", source);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(self.kind.prefix()));
            let number = number.and_then(|rest| rest.strip_suffix(".dat"));
            let number = number.filter(|it| it.len() == 5 && it.bytes().all(|byte| byte.is_ascii_digit()));
            numbers.extend(number.and_then(|number| number.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Holds the first file, if its header is whole, against the chain.
    ///
    /// # Errors
    /// [`FileError`] where it belongs to another chain, kind or version, or is damaged.
    pub(super) fn verify(&self) -> Result<(), FileError> {
        match fs::metadata(self.path(0)) {
            Ok(metadata) if metadata.len() >= FIRST_OFFSET => self.file(0).map(drop),
            // It is missing or torn, which is judged when it is known what it should hold.
            _ => Ok(()),
        }
    }

    /// Whether any record was ever written here.
    pub(super) fn is_empty(&self) -> Result<bool, FileError> {
        for number in self.numbers()? {
            let at = Mark { file: number, offset: 0 };
            let metadata = fs::metadata(self.path(number));
            if metadata.map_err(|source| self.failed("measuring", at, source))?.len() > FIRST_OFFSET {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Holds a file's header against what it must be.
    fn verify_header(&self, number: u32, bytes: &[u8; FILE_HEADER_BYTES]) -> Result<(), FileError> {
        let at = Mark { file: number, offset: 0 };
        let found = FileHeader::read(bytes).ok_or_else(|| self.damaged(at, "its header is not whole"))?;
        if found.version != FORMAT_VERSION {
            let (path, found, known) = (self.path(number), found.version, FORMAT_VERSION);
            return Err(FileError::OtherVersion { path, found, known });
        }
        if found.chain != self.chain {
            let (path, found, expected) = (self.path(number), found.chain, self.chain);
            return Err(FileError::OtherChain { path, found, expected });
        }
        if (found.kind, found.number) != (self.kind.code(), number) {
            let why = format!("it is file {} of kind {}, under another name", found.number, found.kind);
            return Err(self.damaged(at, why));
        }
        Ok(())
    }

    const fn header(&self, number: u32) -> FileHeader {
        FileHeader { version: FORMAT_VERSION, kind: self.kind.code(), number, chain: self.chain }
    }

    /// A file, open for reading, its header verified.
    fn file(&self, number: u32) -> Result<Arc<File>, FileError> {
        let mut open = self.open.lock();
        if let Some(index) = open.iter().position(|(it, _)| *it == number) {
            let found = open.remove(index);
            open.extend(found.clone());
            open.rotate_right(1);
            if let Some((_, file)) = found {
                return Ok(file);
            }
        }
        let at = Mark { file: number, offset: 0 };
        let file = match File::open(self.path(number)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.damaged(at, "it is not there"));
            }
            Err(error) => return Err(self.failed("opening", at, error)),
        };
        let mut header = [0; FILE_HEADER_BYTES];
        self.read_at(&file, at, &mut header)?;
        self.verify_header(number, &header)?;
        let file = Arc::new(file);
        open.push_front((number, file.clone()));
        open.truncate(MAX_OPEN_FILES);
        Ok(file)
    }

    /// Fills `buffer` from a place in a file.
    fn read_at(&self, file: &File, at: Mark, buffer: &mut [u8]) -> Result<(), FileError> {
        match file.read_exact_at(buffer, at.offset) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged(at, "the file ends in the middle of it"))
            }
            Err(error) => Err(self.failed("reading", at, error)),
        }
    }

    /// The record at a position, which must be that of the block `hash`.
    ///
    /// # Errors
    /// [`FileError`] where it cannot be read, or is not what was written.
    pub(super) fn read(&self, position: &Position, hash: &BlockHash) -> Result<Vec<u8>, FileError> {
        let at = Mark { file: position.file, offset: position.offset };
        let length = usize::try_from(position.length).ok().filter(|_| position.length <= MAX_RECORD_BYTES);
        let length = length.ok_or_else(|| self.damaged(at, "its row names an impossible length"))?;
        let mut bytes = vec![0; RECORD_HEADER_BYTES + length];
        self.read_at(&*self.file(position.file)?, at, &mut bytes)?;
        let payload = bytes.split_off(RECORD_HEADER_BYTES);
        let header_bytes = bytes.first_chunk().ok_or_else(|| self.damaged(at, "no record begins here"))?;
        let header = RecordHeader::read(position.place(), header_bytes);
        let header = header.ok_or_else(|| self.damaged(at, "no record begins here"))?;
        if header.length != position.length {
            return Err(self.damaged(at, "its length is not the one that its row names"));
        }
        if !RecordHeader::covers(position.place(), header_bytes, &payload) {
            return Err(self.damaged(at, "its checksum is wrong"));
        }
        if header.hash != *hash {
            return Err(self.damaged(at, format!("it is of block {}, not {hash}", header.hash)));
        }
        Ok(payload)
    }

    /// The bytes of all files.
    pub(super) fn disk_bytes(&self) -> Result<u64, FileError> {
        let mut bytes: u64 = 0;
        for number in self.numbers()? {
            let at = Mark { file: number, offset: 0 };
            let metadata = fs::metadata(self.path(number));
            let metadata = metadata.map_err(|source| self.failed("measuring", at, source))?;
            bytes = bytes.saturating_add(metadata.len());
        }
        Ok(bytes)
    }
}
