//! Yamux's frames: twelve bytes of header, all numbers big-endian, then the data of data frames.
//! (github.com/hashicorp/yamux, spec.md)

/// Bytes of a header.
pub const HEADER_BYTES: usize = 12;
/// The credit that each side of a new stream has, in bytes.
pub const INITIAL_CREDIT: u32 = 256 * 1_024;

/// Carries data; its length is that of the data.
pub const DATA: u8 = 0;
/// Gives the other side more credit; its length is how much.
pub const WINDOW_UPDATE: u8 = 1;
/// Asks for a sign of life, or gives it; its length is an opaque number.
pub const PING: u8 = 2;
/// Ends the session.
pub const GO_AWAY: u8 = 3;

/// Opens a stream.
pub const SYN: u16 = 1;
/// Confirms one.
pub const ACK: u16 = 2;
/// Ends one side of a stream.
pub const FIN: u16 = 4;
/// Ends a stream at once.
pub const RST: u16 = 8;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version: 0, unless one lies.
    pub version: u8,
    /// [`DATA`], [`WINDOW_UPDATE`], [`PING`], [`GO_AWAY`], or a lie.
    pub kind: u8,
    /// [`SYN`], [`ACK`], [`FIN`], [`RST`].
    pub flags: u16,
    /// The stream: odd numbers are those of whoever dialled.
    pub stream: u32,
    /// What it means depends on the kind.
    pub length: u32,
}

impl Header {
    /// A header of the right version.
    #[must_use]
    pub const fn new(kind: u8, flags: u16, stream: u32, length: u32) -> Self {
        Self { version: 0, kind, flags, stream, length }
    }

    /// The encoding.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![self.version, self.kind];
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(self.length.to_be_bytes());
        bytes
    }

    /// Reads a header.
    #[must_use]
    pub fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Self {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = bytes;
        Self {
            version,
            kind,
            flags: u16::from_be_bytes([f0, f1]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        }
    }
}

/// A data frame.
///
/// # Panics
/// Where there are 4 GiB of data.
#[must_use]
pub fn data(flags: u16, stream: u32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("less than 4 GiB");
    let mut bytes = Header::new(DATA, flags, stream, length).to_bytes();
    bytes.extend(data);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back() {
        let header = Header::new(WINDOW_UPDATE, SYN | FIN, 0x0102_0304, u32::MAX);
        let bytes: [u8; HEADER_BYTES] = header.to_bytes().try_into().expect("twelve bytes");
        assert_eq!(bytes, [0, 1, 0, 5, 1, 2, 3, 4, 255, 255, 255, 255]);
        assert_eq!(Header::from_bytes(bytes), header);
    }
}
