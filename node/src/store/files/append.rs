//! Writing records: one call of the system each, a new file when one is full, and what is made of the newest
//! file at the start.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSlice},
    os::unix::fs::FileExt,
    sync::Arc,
};

use chain::hash::BlockHash;

use super::{
    FIRST_OFFSET, FileError, FlatFiles, MAX_FILE_NUMBER, Mark, Position,
    record::{FILE_HEADER_BYTES, MAX_RECORD_BYTES, Place, RecordHeader},
    scan::Stop,
};
use crate::store::failpoint;

/// The one writer of the files of a kind.
#[derive(Debug)]
pub(in crate::store) struct Appender {
    files: Arc<FlatFiles>,
    /// The newest file, once something is to be written to it.
    newest: Option<File>,
    /// Where the next record begins.
    end: Mark,
    /// What is certainly on the disk.
    synced: Mark,
    /// Whether a write failed and could not be taken back.
    stopped: bool,
}

impl Appender {
    /// Takes over files of which rows name everything before `end`, and of which everything before `synced`
    /// was synced. What no row names is cut off.
    ///
    /// Returns the place from which on records are gone too, if any are: the newest file is shorter than the
    /// rows say, or what was not synced is not what was written. Then `end` is that place, and whoever calls
    /// must forget what the rows say behind it.
    ///
    /// # Errors
    /// [`FileError`] where a file is damaged in any other way, or is another chain's or version's.
    pub(in crate::store) fn open(
        files: Arc<FlatFiles>,
        end: Mark,
        synced: Mark,
    ) -> Result<(Self, Option<Mark>), FileError> {
        let numbers = files.numbers()?;
        // All files but the newest were synced when they were full: none may be missing.
        if let Some(missing) = (0..end.file).find(|number| numbers.binary_search(number).is_err()) {
            return Err(files.damaged(Mark { file: missing, offset: 0 }, "it is not there"));
        }
        let is_here = numbers.binary_search(&end.file).is_ok();
        let mut appender = Self { files, newest: None, end, synced: synced.min(end), stopped: false };
        let torn = appender.find_tear(is_here)?;
        if let Some(mark) = torn {
            appender.end = mark;
            appender.synced = appender.synced.min(mark);
        }
        appender.cut(&numbers)?;
        Ok((appender, torn))
    }

    /// Where the newest file is torn.
    fn find_tear(&self, is_here: bool) -> Result<Option<Mark>, FileError> {
        let (files, end) = (&self.files, self.end);
        let first = Mark { file: end.file, offset: FIRST_OFFSET };
        let length = if is_here {
            let metadata = fs::metadata(files.path(end.file));
            metadata.map_err(|source| files.failed("measuring", end, source))?.len()
        } else {
            0
        };
        if length < FIRST_OFFSET {
            // Not even its header is whole: whatever it held is gone.
            return Ok((end > first).then_some(first));
        }
        files.file(end.file)?;
        if length >= end.offset && self.synced >= end {
            return Ok(None);
        }
        // What was synced is read only where the file is too short to hold all of it, to find where the last
        // whole record ends.
        let synced = if self.synced.file == end.file { self.synced.offset } else { FIRST_OFFSET };
        let from = Mark { file: end.file, offset: if length < synced { FIRST_OFFSET } else { synced } };
        let until = end.offset.min(length);
        let walked = files.walk(from, until, &mut |_, _, _| Ok::<_, FileError>(()))?;
        match walked.stop {
            Stop::End if length >= end.offset => Ok(None),
            // What was synced must be as it was written; behind that, a power loss may have left anything.
            Stop::Damaged(why) if walked.end.offset < synced => Err(files.damaged(walked.end, why)),
            Stop::End | Stop::Short | Stop::Damaged(_) => Ok(Some(walked.end)),
        }
    }

    /// Cuts off everything behind the end: what no row names.
    fn cut(&self, numbers: &[u32]) -> Result<(), FileError> {
        let (files, end) = (&self.files, self.end);
        let (before, after) = files.kind.cut_points();
        let failed = |source| files.failed("cutting", end, source);
        for number in numbers.iter().rev().take_while(|number| **number >= end.file) {
            let path = files.path(*number);
            let length = fs::metadata(&path).map_err(failed)?.len();
            if *number == end.file && length == end.offset {
                break;
            }
            failpoint::hit(before).map_err(failed)?;
            if *number > end.file || length < FIRST_OFFSET {
                tracing::warn!(file = %path.display(), bytes = length, "removing a file that no block needs");
                fs::remove_file(&path).map_err(failed)?;
            } else if length > end.offset {
                let bytes = length.saturating_sub(end.offset);
                tracing::warn!(file = %path.display(), bytes, "cutting off what was not finished");
                let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
                file.set_len(end.offset).map_err(failed)?;
            }
            failpoint::hit(after).map_err(failed)?;
        }
        Ok(())
    }

    /// The files, to read from.
    #[cfg(test)]
    pub(in crate::store) const fn files(&self) -> &Arc<FlatFiles> {
        &self.files
    }

    /// Where the next record begins: rows that name everything before it may be written.
    pub(in crate::store) const fn end(&self) -> Mark {
        self.end
    }

    /// What is certainly on the disk: everything before this.
    pub(in crate::store) const fn synced(&self) -> Mark {
        self.synced
    }

    /// Appends a record with one call of the system. When it returns, the kernel has the record.
    ///
    /// # Errors
    /// [`FileError`]. What was written of the record does not count.
    pub(in crate::store) fn append(
        &mut self,
        hash: &BlockHash,
        payload: &[u8],
    ) -> Result<Position, FileError> {
        let length = u32::try_from(payload.len()).ok().filter(|length| *length <= MAX_RECORD_BYTES);
        let too_long = || FileError::TooLong { path: self.files.path(self.end.file), bytes: payload.len() };
        let length = length.ok_or_else(too_long)?;
        if self.stopped {
            return Err(FileError::Stopped { path: self.files.path(self.end.file) });
        }
        self.make_room(length)?;
        let Mark { file: number, offset } = self.end;
        let position = Position { file: number, offset, length };
        let header = RecordHeader::write(Place { file: number, offset }, hash, length, payload);
        let (before, after) = self.files.kind.append_points();
        let Some(file) = &self.newest else {
            return Err(FileError::Stopped { path: self.files.path(number) });
        };
        let written = failpoint::hit(before)
            .and_then(|()| write_all(file, &header, payload, offset))
            .and_then(|()| failpoint::hit(after));
        if let Err(source) = written {
            // A half of a record would only be cut off at the next start; what cannot be taken back now
            // (a disk that is gone) must not be written behind.
            self.stopped = file.set_len(offset).is_err();
            return Err(self.files.failed("writing", self.end, source));
        }
        self.end = position.end();
        Ok(position)
    }

    /// Sees to it that the newest file is open and has room.
    fn make_room(&mut self, length: u32) -> Result<(), FileError> {
        let record = Position { file: self.end.file, offset: self.end.offset, length };
        let is_full = record.end().offset > self.files.max_file_bytes && self.end.offset > FIRST_OFFSET;
        if is_full {
            self.sync()?;
            let next = self.end.file.checked_add(1).filter(|number| *number <= MAX_FILE_NUMBER);
            let failed = || io::Error::other("there are too many files");
            let next = next.ok_or_else(|| self.files.failed("beginning a file after", self.end, failed()))?;
            self.create(Mark { file: next, offset: FIRST_OFFSET })
        } else if self.newest.is_some() {
            Ok(())
        } else {
            let path = self.files.path(self.end.file);
            match OpenOptions::new().write(true).open(path) {
                Ok(file) => {
                    self.newest = Some(file);
                    Ok(())
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.end.offset == FIRST_OFFSET => {
                    self.create(self.end)
                }
                Err(error) => Err(self.files.failed("opening", self.end, error)),
            }
        }
    }

    /// Begins a file, whose first record will begin at `first`.
    fn create(&mut self, first: Mark) -> Result<(), FileError> {
        let files = &self.files;
        let failed = |source| files.failed("beginning", first, source);
        let (before, after) = files.kind.create_points();
        let header: [u8; FILE_HEADER_BYTES] = files.header(first.file).to_bytes();
        failpoint::hit(before).map_err(failed)?;
        let path = files.path(first.file);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path).map_err(failed)?;
        file.write_all_at(&header, 0).and_then(|()| file.sync_data()).map_err(failed)?;
        // The folder must know the file before rows may count on it.
        File::open(&files.folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        failpoint::hit(after).map_err(failed)?;
        (self.newest, self.end) = (Some(file), first);
        Ok(())
    }

    /// Waits until everything that was appended is on the disk, by an earlier process too.
    ///
    /// # Errors
    /// [`FileError`].
    pub(in crate::store) fn sync(&mut self) -> Result<(), FileError> {
        if self.synced >= self.end || self.end.offset == FIRST_OFFSET {
            return Ok(());
        }
        let failed = |source| self.files.failed("syncing", self.end, source);
        let file = match self.newest.take() {
            Some(file) => file,
            None => {
                let path = self.files.path(self.end.file);
                OpenOptions::new().write(true).open(path).map_err(failed)?
            }
        };
        let (before, after) = self.files.kind.sync_points();
        let synced = failpoint::hit(before).and_then(|()| file.sync_data());
        synced.and_then(|()| failpoint::hit(after)).map_err(failed)?;
        (self.newest, self.synced) = (Some(file), self.end);
        Ok(())
    }
}

/// Writes a header and what follows it at an offset: with one call, unless the system takes less at once.
fn write_all(file: &File, header: &[u8], payload: &[u8], offset: u64) -> io::Result<()> {
    let slices = [IoSlice::new(header), IoSlice::new(payload)];
    let written = rustix::io::retry_on_intr(|| rustix::io::pwritev(file, &slices, offset))?;
    let rest = |bytes: usize| offset.checked_add(bytes as u64).ok_or_else(|| io::Error::other("too far"));
    if written < header.len() {
        file.write_all_at(&header[written..], rest(written)?)?;
        file.write_all_at(payload, rest(header.len())?)
    } else {
        file.write_all_at(&payload[written - header.len()..], rest(written)?)
    }
}
