//! Reading records one after the other: to check what a crash may have torn, and to build rows anew.

use std::fs;

use chain::hash::BlockHash;

use super::{
    FIRST_OFFSET, FileError, FlatFiles, HEADER_DISTANCE, Mark, Position,
    record::{Place, RECORD_HEADER_BYTES, RecordHeader},
};

/// Where a walk through a file ended, and why.
#[derive(Debug)]
pub(super) struct Walked {
    /// The end of the last whole record.
    pub(super) end: Mark,
    pub(super) stop: Stop,
}

/// Why a walk through a file ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// At its end, exactly behind a record.
    End,
    /// The last record is longer than what is left.
    Short,
    /// What comes next is no record.
    Damaged(&'static str),
}

/// What a scan over all records found at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct ScanEnd {
    /// Behind the last whole record.
    pub(in crate::store) end: Mark,
    /// Whether a record that was cut short follows.
    pub(in crate::store) torn: bool,
}

impl FlatFiles {
    /// Reads record after record of one file, each held against its checksum, until the offset `until`.
    pub(super) fn walk<E: From<FileError>>(
        &self,
        from: Mark,
        until: u64,
        visit: &mut impl FnMut(Position, BlockHash, &[u8]) -> Result<(), E>,
    ) -> Result<Walked, E> {
        let file = self.file(from.file)?;
        let mut at = from;
        let mut header_bytes = [0; RECORD_HEADER_BYTES];
        let mut payload = Vec::new();
        let stop = loop {
            let left = until.saturating_sub(at.offset);
            if left == 0 {
                break Stop::End;
            }
            if left < HEADER_DISTANCE {
                break Stop::Short;
            }
            self.read_at(&file, at, &mut header_bytes)?;
            let place = Place { file: at.file, offset: at.offset };
            let Some(header) = RecordHeader::read(place, &header_bytes) else {
                break Stop::Damaged("no record begins here");
            };
            let position = Position { file: at.file, offset: at.offset, length: header.length };
            if position.end().offset > until {
                break Stop::Short;
            }
            payload.resize(usize::try_from(header.length).unwrap_or(usize::MAX), 0);
            let behind = Mark { offset: at.offset.saturating_add(HEADER_DISTANCE), ..at };
            self.read_at(&file, behind, &mut payload)?;
            if !RecordHeader::covers(place, &header_bytes, &payload) {
                break Stop::Damaged("its checksum is wrong");
            }
            visit(position, header.hash, &payload)?;
            at = position.end();
        };
        Ok(Walked { end: at, stop })
    }

    /// Reads all records of all files in the order in which they were written. Only the newest file may end
    /// in the middle of a record, or of its own header.
    ///
    /// # Errors
    /// What `visit` returns, and [`FileError`] where a file is missing or damaged.
    pub(in crate::store) fn scan<E: From<FileError>>(
        &self,
        mut visit: impl FnMut(Position, BlockHash, &[u8]) -> Result<(), E>,
    ) -> Result<ScanEnd, E> {
        let numbers = self.numbers()?;
        let mut found = ScanEnd { end: Mark::START, torn: false };
        for (expected, number) in (0..).zip(&numbers) {
            let first = Mark { file: expected, offset: FIRST_OFFSET };
            if expected != *number {
                return Err(self.damaged(Mark { offset: 0, ..first }, "it is not there").into());
            }
            let is_newest = numbers.last() == Some(number);
            let metadata = fs::metadata(self.path(expected));
            let length = metadata.map_err(|source| self.failed("measuring", first, source))?.len();
            if is_newest && length < FIRST_OFFSET {
                return Ok(ScanEnd { end: first, torn: true });
            }
            let walked = self.walk(first, length, &mut visit)?;
            found = match walked.stop {
                Stop::End => ScanEnd { end: walked.end, torn: false },
                Stop::Short if is_newest => ScanEnd { end: walked.end, torn: true },
                Stop::Short => return Err(self.damaged(walked.end, "the file ends in a record").into()),
                Stop::Damaged(why) => return Err(self.damaged(walked.end, why).into()),
            };
        }
        Ok(found)
    }
}
