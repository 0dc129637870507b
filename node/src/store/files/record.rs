//! The bytes of a file of records: its header, and the header of each record.
//!
//! | file header | bytes | | record header | bytes |
//! | --- | --- | --- | --- | --- |
//! | `cairnrec` | 8 | | `rec:` | 4 |
//! | format version, u32 | 4 | | length of what follows the header, u32 | 4 |
//! | kind, u32: 1 blocks, 2 undo data | 4 | | hash of the block | 32 |
//! | number of the file, u32 | 4 | | checksum of the record's header | 4 |
//! | chain id (genesis hash) | 32 | | checksum of the record | 8 |
//! | checksum | 8 | | | |
//!
//! Integers are big-endian. A checksum is the first bytes of an XXH3 of 64 bits: of the file header before it; of the
//! file's number, the record's offset and the record header before the checksum; of the same and what
//! follows the header. So a record that stands in the wrong place is as wrong as one with a flipped byte,
//! and a flipped length is told from a file that ends too early. It guards against decay, not against whoever can write
//! into the folder; a hash that did both was a twentieth of the cost of a block whose payments all waited. Every version of the format keeps the file
//! header as it is, so that a later version is told from damage.

use chain::hash::BlockHash;
use xxhash_rust::xxh3::Xxh3;

/// The version of this page.
pub(in crate::store) const FORMAT_VERSION: u32 = 2;
/// Bytes of a file's header.
pub(in crate::store) const FILE_HEADER_BYTES: usize = 60;
/// Bytes of a record's header.
pub(in crate::store) const RECORD_HEADER_BYTES: usize = 52;
/// The most bytes of a record beside its header: undo data of a block of nothing but inputs is 9 MB.
pub(in crate::store) const MAX_RECORD_BYTES: u32 = 16 << 20;

const FILE_MAGIC: [u8; 8] = *b"cairnrec";
const RECORD_MAGIC: [u8; 4] = *b"rec:";
/// Bytes of a checksum.
const CHECKSUM_BYTES: usize = 8;
/// Bytes of a file's header that its checksum covers.
const FILE_COVERED_BYTES: usize = FILE_HEADER_BYTES - CHECKSUM_BYTES;
/// Bytes of the checksum of a record's header.
const HEADER_CHECKSUM_BYTES: usize = 4;
/// Bytes of a record's header that the checksum of the record covers.
const RECORD_COVERED_BYTES: usize = RECORD_HEADER_BYTES - CHECKSUM_BYTES;
/// Bytes of a record's header that its own checksum covers.
const HEADER_COVERED_BYTES: usize = RECORD_COVERED_BYTES - HEADER_CHECKSUM_BYTES;

/// What a file's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct FileHeader {
    pub(in crate::store) version: u32,
    pub(in crate::store) kind: u32,
    pub(in crate::store) number: u32,
    pub(in crate::store) chain: BlockHash,
}

/// Takes the first bytes off, of which there must be enough.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*array)
}

/// The first bytes of the XXH3 of all parts.
fn checksum<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut hasher = Xxh3::new();
    parts.iter().for_each(|part| hasher.update(part));
    let hash = hasher.digest().to_be_bytes();
    let mut checksum = [0; N];
    checksum.copy_from_slice(&hash[..N]);
    checksum
}

impl FileHeader {
    /// The bytes of the header.
    pub(in crate::store) fn to_bytes(self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[..8].copy_from_slice(&FILE_MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.kind.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.number.to_be_bytes());
        bytes[20..FILE_COVERED_BYTES].copy_from_slice(self.chain.as_bytes());
        let checksum: [u8; CHECKSUM_BYTES] = checksum(&[&bytes[..FILE_COVERED_BYTES]]);
        bytes[FILE_COVERED_BYTES..].copy_from_slice(&checksum);
        bytes
    }

    /// Reads a header; nothing where it is damaged.
    pub(in crate::store) fn read(bytes: &[u8; FILE_HEADER_BYTES]) -> Option<Self> {
        let (covered, found) = bytes.split_at(FILE_COVERED_BYTES);
        if checksum::<CHECKSUM_BYTES>(&[covered]) != *found {
            return None;
        }
        let mut rest = covered;
        if take(&mut rest)? != FILE_MAGIC {
            return None;
        }
        Some(Self {
            version: u32::from_be_bytes(take(&mut rest)?),
            kind: u32::from_be_bytes(take(&mut rest)?),
            number: u32::from_be_bytes(take(&mut rest)?),
            chain: BlockHash::from_bytes(take(&mut rest)?),
        })
    }
}

/// What a record's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct RecordHeader {
    /// Bytes that follow the header.
    pub(in crate::store) length: u32,
    /// The block.
    pub(in crate::store) hash: BlockHash,
}

/// Where a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: u32,
    pub(super) offset: u64,
}

impl Place {
    /// A checksum of what stands here.
    fn checksum<const N: usize>(self, covered: &[u8], payload: &[u8]) -> [u8; N] {
        checksum(&[&self.file.to_be_bytes(), &self.offset.to_be_bytes(), covered, payload])
    }
}

impl RecordHeader {
    /// The header of a record that begins at `place`.
    pub(super) fn write(
        place: Place,
        hash: &BlockHash,
        length: u32,
        payload: &[u8],
    ) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        bytes[4..8].copy_from_slice(&length.to_be_bytes());
        bytes[8..HEADER_COVERED_BYTES].copy_from_slice(hash.as_bytes());
        let own: [u8; HEADER_CHECKSUM_BYTES] = place.checksum(&bytes[..HEADER_COVERED_BYTES], &[]);
        bytes[HEADER_COVERED_BYTES..RECORD_COVERED_BYTES].copy_from_slice(&own);
        let whole: [u8; CHECKSUM_BYTES] = place.checksum(&bytes[..RECORD_COVERED_BYTES], payload);
        bytes[RECORD_COVERED_BYTES..].copy_from_slice(&whole);
        bytes
    }

    /// Reads the header at `place`; nothing where it is not what was written.
    pub(super) fn read(place: Place, bytes: &[u8; RECORD_HEADER_BYTES]) -> Option<Self> {
        let mut rest = bytes.as_slice();
        if take(&mut rest)? != RECORD_MAGIC {
            return None;
        }
        let length = u32::from_be_bytes(take(&mut rest)?);
        let hash = BlockHash::from_bytes(take(&mut rest)?);
        let own: [u8; HEADER_CHECKSUM_BYTES] = take(&mut rest)?;
        if length > MAX_RECORD_BYTES || own != place.checksum(&bytes[..HEADER_COVERED_BYTES], &[]) {
            return None;
        }
        Some(Self { length, hash })
    }

    /// Whether `payload` is what was written behind the header `bytes` at `place`.
    pub(super) fn covers(place: Place, bytes: &[u8; RECORD_HEADER_BYTES], payload: &[u8]) -> bool {
        let (covered, found) = bytes.split_at(RECORD_COVERED_BYTES);
        place.checksum::<CHECKSUM_BYTES>(covered, payload) == *found
    }
}
