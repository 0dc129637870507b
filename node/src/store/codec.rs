//! Values to bytes and back, as [`super::schema`] lists them. What cannot be read is an error with a reason,
//! never a panic: the disk is not trusted.

use chain::{
    address::Address,
    amount::Amount,
    block::{HEADER_BYTES, Header},
    height::Height,
    store::HeaderStatus,
    transaction::Output,
    utxo::{Coin, Undo},
};

use super::{
    files::{Mark, Position},
    schema::{COIN_KEY_BYTES, coin_key, read_coin_key},
};

/// Flag of a header: it, or one below it, is invalid.
const INVALID_FLAG: u8 = 1;
/// Flag of a header: its body is here.
const BODY_FLAG: u8 = 2;
/// Bytes of a [`Position`].
const POSITION_BYTES: usize = 4 + 8 + 4;
/// Bytes of a value of the family `headers`.
const HEADER_ROW_BYTES: usize = HEADER_BYTES + 1 + 8 + POSITION_BYTES;
/// The most bytes of a coin: two varints and the address.
const MAX_COIN_BYTES: usize = 10 + 10 + 32;

/// Why stored bytes are not what they should be.
pub(super) type Malformed = &'static str;

/// Appends LEB128: seven bits a byte, the lowest first, the highest bit set on all bytes but the last.
fn write_varint(mut value: u64, bytes: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            bytes.push(low & 0x7f);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn read_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value: u64 = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or("a number is cut short")?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << shift;
        if shifted >> shift != bits {
            return Err("a number is too large");
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            let needless = *byte == 0 && shift > 0;
            return if needless { Err("a number has needless bytes") } else { Ok(value) };
        }
    }
    Err("a number is too long")
}

fn read_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (array, rest) = bytes.split_first_chunk().ok_or("it is too short")?;
    *bytes = rest;
    Ok(*array)
}

fn end(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.is_empty() { Ok(()) } else { Err("it is too long") }
}

/// What is kept of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeaderRow {
    pub(super) header: Header,
    /// Whether it, or one below it, is invalid.
    pub(super) invalid: bool,
    /// The order in which its body came, and where it is, if it is here.
    pub(super) body: Option<(u64, Position)>,
}

impl HeaderRow {
    /// A header of which nothing is known yet.
    pub(super) const fn new(header: Header) -> Self {
        Self { header, invalid: false, body: None }
    }

    /// What the ledger cares about.
    pub(super) fn status(&self) -> HeaderStatus {
        HeaderStatus { body: self.body.map(|(order, _)| order), invalid: self.invalid }
    }
}

/// The value of a position.
pub(super) fn write_position(position: Position) -> [u8; POSITION_BYTES] {
    let mut bytes = [0; POSITION_BYTES];
    bytes[..4].copy_from_slice(&position.file.to_be_bytes());
    bytes[4..12].copy_from_slice(&position.offset.to_be_bytes());
    bytes[12..].copy_from_slice(&position.length.to_be_bytes());
    bytes
}

/// Reads a position.
pub(super) fn read_position(mut bytes: &[u8]) -> Result<Position, Malformed> {
    let position = Position {
        file: u32::from_be_bytes(read_array(&mut bytes)?),
        offset: u64::from_be_bytes(read_array(&mut bytes)?),
        length: u32::from_be_bytes(read_array(&mut bytes)?),
    };
    end(bytes)?;
    Ok(position)
}

/// The value of a mark.
pub(super) fn write_mark(mark: Mark) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&mark.file.to_be_bytes());
    bytes[4..].copy_from_slice(&mark.offset.to_be_bytes());
    bytes
}

/// Reads a mark.
pub(super) fn read_mark(mut bytes: &[u8]) -> Result<Mark, Malformed> {
    let file = u32::from_be_bytes(read_array(&mut bytes)?);
    let offset = u64::from_be_bytes(read_array(&mut bytes)?);
    end(bytes)?;
    Ok(Mark { file, offset })
}

/// The value of a header.
pub(super) fn write_header(row: &HeaderRow) -> [u8; HEADER_ROW_BYTES] {
    let mut bytes = [0; HEADER_ROW_BYTES];
    bytes[..HEADER_BYTES].copy_from_slice(&row.header.to_bytes());
    if row.invalid {
        bytes[HEADER_BYTES] |= INVALID_FLAG;
    }
    if let Some((order, position)) = row.body {
        bytes[HEADER_BYTES] |= BODY_FLAG;
        bytes[HEADER_BYTES + 1..HEADER_BYTES + 9].copy_from_slice(&order.to_be_bytes());
        bytes[HEADER_BYTES + 9..].copy_from_slice(&write_position(position));
    }
    bytes
}

/// Reads a header.
pub(super) fn read_header(mut bytes: &[u8]) -> Result<HeaderRow, Malformed> {
    let header = Header::from_bytes(&read_array(&mut bytes)?);
    let [flags] = read_array(&mut bytes)?;
    let order = u64::from_be_bytes(read_array(&mut bytes)?);
    let position = read_position(bytes)?;
    if flags & !(INVALID_FLAG | BODY_FLAG) != 0 {
        return Err("it has unknown flags");
    }
    let body = (flags & BODY_FLAG != 0).then_some((order, position));
    if body.is_none() && (order, position) != (0, Position { file: 0, offset: 0, length: 0 }) {
        return Err("it says where its body is, but has none");
    }
    Ok(HeaderRow { header, invalid: flags & INVALID_FLAG != 0, body })
}

/// Appends the value of a coin; nothing for a data output, which is never a coin.
pub(super) fn write_coin(coin: &Coin, bytes: &mut Vec<u8>) -> Option<()> {
    let address = coin.output.address()?;
    write_varint(u64::from(coin.height.get()) << 1 | u64::from(coin.coinbase), bytes);
    write_varint(coin.output.amount.pebbles(), bytes);
    bytes.extend_from_slice(address.as_bytes());
    Some(())
}

/// Takes a coin off the front of `bytes`.
fn take_coin(bytes: &mut &[u8]) -> Result<Coin, Malformed> {
    let origin = read_varint(bytes)?;
    let height = u32::try_from(origin >> 1).map_err(|_| "its height is too large")?;
    let amount = Amount::from_pebbles(read_varint(bytes)?);
    let address = Address::from_bytes(read_array(bytes)?);
    let output = Output::pay(address, amount);
    Ok(Coin { output, height: Height::new(height), coinbase: origin & 1 == 1 })
}

/// Reads a coin.
pub(super) fn read_coin(mut bytes: &[u8]) -> Result<Coin, Malformed> {
    let coin = take_coin(&mut bytes)?;
    end(bytes)?;
    Ok(coin)
}

/// The record of what a block spent; nothing where a data output is among it.
pub(super) fn write_undo(undo: &Undo) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(undo.len().saturating_mul(COIN_KEY_BYTES + MAX_COIN_BYTES));
    for (outpoint, coin) in undo {
        bytes.extend_from_slice(&coin_key(outpoint));
        write_coin(coin, &mut bytes)?;
    }
    Some(bytes)
}

/// Reads what a block spent.
pub(super) fn read_undo(mut bytes: &[u8]) -> Result<Undo, Malformed> {
    let mut undo = Vec::new();
    while !bytes.is_empty() {
        let key: [u8; COIN_KEY_BYTES] = read_array(&mut bytes)?;
        let outpoint = read_coin_key(&key).ok_or("a coin's name has a wrong length")?;
        undo.push((outpoint, take_coin(&mut bytes)?));
    }
    Ok(undo)
}

/// Reads a number of 4 bytes.
pub(super) fn read_number(bytes: &[u8]) -> Result<u32, Malformed> {
    Ok(u32::from_be_bytes(bytes.try_into().map_err(|_| "it does not have 4 bytes")?))
}

/// Reads a hash.
pub(super) fn read_hash(bytes: &[u8]) -> Result<[u8; 32], Malformed> {
    bytes.try_into().map_err(|_| "it does not have 32 bytes")
}

#[cfg(test)]
mod tests {
    use chain::{
        hash::TxId,
        transaction::{Destination, OutPoint},
    };
    use proptest::prelude::*;

    use super::*;

    fn coin_bytes(coin: &Coin) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        write_coin(coin, &mut bytes).map(|()| bytes)
    }

    fn header() -> impl Strategy<Value = Header> {
        proptest::collection::vec(any::<u8>(), HEADER_BYTES)
            .prop_map(|bytes| Header::from_bytes(bytes.as_slice().try_into().expect("80 bytes")))
    }

    #[test]
    fn a_data_output_is_no_coin() {
        let output = Output { amount: Amount::ZERO, to: Destination::Data(vec![1]) };
        let coin = Coin { output, height: Height::ZERO, coinbase: false };
        assert_eq!(coin_bytes(&coin), None);
        assert_eq!(write_undo(&vec![(OutPoint { txid: TxId::ZERO, index: 0 }, coin)]), None);
    }

    #[test]
    fn a_number_has_one_encoding() {
        assert_eq!(read_varint(&mut [0x80, 0x00].as_slice()), Err("a number has needless bytes"));
        assert_eq!(read_varint(&mut [0x80].as_slice()), Err("a number is cut short"));
        let mut largest = Vec::new();
        write_varint(u64::MAX, &mut largest);
        assert_eq!(read_varint(&mut largest.as_slice()), Ok(u64::MAX));
        largest[9] = 2;
        assert_eq!(read_varint(&mut largest.as_slice()), Err("a number is too large"));
        assert_eq!(read_varint(&mut [0xff; 11].as_slice()), Err("a number is too large"));
        assert_eq!(read_varint(&mut [0x80; 11].as_slice()), Err("a number is too long"));
    }

    proptest! {
        #[test]
        fn coins_are_read_back(height: u32, coinbase: bool, pebbles: u64, shift in 0u32..64, address: [u8; 32]) {
            let output = Output::pay(Address::from_bytes(address), Amount::from_pebbles(pebbles >> shift));
            let coin = Coin { output, height: Height::new(height), coinbase };
            let bytes = coin_bytes(&coin).expect("a payment");
            prop_assert_eq!(read_coin(&bytes), Ok(coin.clone()));
            let undo: Undo = (0..3).map(|index| (OutPoint { txid: TxId::ZERO, index }, coin.clone())).collect();
            let record = write_undo(&undo).expect("payments");
            prop_assert_eq!(read_undo(&record), Ok(undo));
            prop_assert!(read_undo(&record[..record.len() - 1]).is_err());
            for length in 0..bytes.len() {
                prop_assert!(read_coin(&bytes[..length]).is_err());
            }
            prop_assert!(read_coin(&[bytes, vec![0]].concat()).is_err());
        }

        #[test]
        fn headers_are_read_back(header in header(), place: Option<(u64, u32, u64, u32)>, invalid: bool) {
            let body = place.map(|(order, file, offset, length)| (order, Position { file, offset, length }));
            let row = HeaderRow { header, invalid, body };
            let bytes = write_header(&row);
            prop_assert_eq!(read_header(&bytes), Ok(row));
            prop_assert!(read_header(&bytes[1..]).is_err());
            if let Some((_, file, offset, length)) = place {
                let position = Position { file, offset, length };
                prop_assert_eq!(read_position(&write_position(position)), Ok(position));
                prop_assert_eq!(read_mark(&write_mark(position.end())), Ok(position.end()));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            // What is read is written back as it was: no value has two encodings.
            if let Ok(coin) = read_coin(&bytes) {
                prop_assert_eq!(coin_bytes(&coin), Some(bytes.clone()));
            }
            if let Ok(row) = read_header(&bytes) {
                prop_assert_eq!(write_header(&row).to_vec(), bytes);
            }
        }
    }
}
