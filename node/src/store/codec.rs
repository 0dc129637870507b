//! Values to bytes and back, as [`super::schema`] lists them. What cannot be read is an error with a reason,
//! never a panic: the disk is not trusted.

use chain::{
    address::Address,
    amount::Amount,
    block::{HEADER_BYTES, Header},
    hash::TxId,
    height::Height,
    store::HeaderStatus,
    transaction::Output,
    utxo::Coin,
};

/// Flag of a header: it, or one below it, is invalid.
const INVALID_FLAG: u8 = 1;
/// Flag of a header: its body is here.
const BODY_FLAG: u8 = 2;
/// Bytes of a value of the family `headers`.
const HEADER_ROW_BYTES: usize = HEADER_BYTES + 1 + 8;

/// Why stored bytes are not what they should be.
pub(super) type Malformed = &'static str;

/// Where a transaction of the active chain is, as the index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of its block's header.
    pub(super) number: u32,
    /// Its position in the block; the coinbase's is 0.
    pub(super) position: u32,
}

/// What one transaction did to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touch {
    /// The transaction.
    pub(super) txid: TxId,
    /// What it pays to the address.
    pub(super) received: Amount,
    /// What it spends of the address.
    pub(super) sent: Amount,
}

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

/// The value of a header and its status.
pub(super) fn write_header(header: &Header, status: &HeaderStatus) -> [u8; HEADER_ROW_BYTES] {
    let mut bytes = [0; HEADER_ROW_BYTES];
    bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    if status.invalid {
        bytes[HEADER_BYTES] |= INVALID_FLAG;
    }
    if let Some(order) = status.body {
        bytes[HEADER_BYTES] |= BODY_FLAG;
        bytes[HEADER_BYTES + 1..].copy_from_slice(&order.to_be_bytes());
    }
    bytes
}

/// Reads a header and its status.
pub(super) fn read_header(mut bytes: &[u8]) -> Result<(Header, HeaderStatus), Malformed> {
    let header = Header::from_bytes(&read_array(&mut bytes)?);
    let [flags] = read_array(&mut bytes)?;
    let order = u64::from_be_bytes(read_array(&mut bytes)?);
    end(bytes)?;
    if flags & !(INVALID_FLAG | BODY_FLAG) != 0 {
        return Err("it has unknown flags");
    }
    let body = (flags & BODY_FLAG != 0).then_some(order);
    if body.is_none() && order != 0 {
        return Err("it has the order of a body, but no body");
    }
    Ok((header, HeaderStatus { body, invalid: flags & INVALID_FLAG != 0 }))
}

/// The value of a coin; nothing for a data output, which is never a coin.
pub(super) fn write_coin(coin: &Coin) -> Option<Vec<u8>> {
    let address = coin.output.address()?;
    let mut bytes = Vec::with_capacity(48);
    write_varint(u64::from(coin.height.get()) << 1 | u64::from(coin.coinbase), &mut bytes);
    write_varint(coin.output.amount.pebbles(), &mut bytes);
    bytes.extend_from_slice(address.as_bytes());
    Some(bytes)
}

/// Reads a coin.
pub(super) fn read_coin(mut bytes: &[u8]) -> Result<Coin, Malformed> {
    let origin = read_varint(&mut bytes)?;
    let height = u32::try_from(origin >> 1).map_err(|_| "its height is too large")?;
    let amount = Amount::from_pebbles(read_varint(&mut bytes)?);
    let address = Address::from_bytes(read_array(&mut bytes)?);
    end(bytes)?;
    let output = Output::pay(address, amount);
    Ok(Coin { output, height: Height::new(height), coinbase: origin & 1 == 1 })
}

/// The value of a transaction's place.
pub(super) fn write_place(place: Place) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&place.number.to_be_bytes());
    bytes[4..].copy_from_slice(&place.position.to_be_bytes());
    bytes
}

/// Reads a transaction's place.
pub(super) fn read_place(mut bytes: &[u8]) -> Result<Place, Malformed> {
    let number = u32::from_be_bytes(read_array(&mut bytes)?);
    let position = u32::from_be_bytes(read_array(&mut bytes)?);
    end(bytes)?;
    Ok(Place { number, position })
}

/// The value of what a transaction did to an address.
pub(super) fn write_touch(touch: &Touch) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(48);
    bytes.extend_from_slice(touch.txid.as_bytes());
    write_varint(touch.received.pebbles(), &mut bytes);
    write_varint(touch.sent.pebbles(), &mut bytes);
    bytes
}

/// Reads what a transaction did to an address.
pub(super) fn read_touch(mut bytes: &[u8]) -> Result<Touch, Malformed> {
    let txid = TxId::from_bytes(read_array(&mut bytes)?);
    let received = Amount::from_pebbles(read_varint(&mut bytes)?);
    let sent = Amount::from_pebbles(read_varint(&mut bytes)?);
    end(bytes)?;
    Ok(Touch { txid, received, sent })
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
    use chain::transaction::Destination;
    use proptest::prelude::*;

    use super::*;

    fn header() -> impl Strategy<Value = Header> {
        proptest::collection::vec(any::<u8>(), HEADER_BYTES)
            .prop_map(|bytes| Header::from_bytes(bytes.as_slice().try_into().expect("80 bytes")))
    }

    #[test]
    fn a_data_output_is_no_coin() {
        let output = Output { amount: Amount::ZERO, to: Destination::Data(vec![1]) };
        assert_eq!(write_coin(&Coin { output, height: Height::ZERO, coinbase: false }), None);
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
            let bytes = write_coin(&coin).expect("a payment");
            prop_assert_eq!(read_coin(&bytes), Ok(coin));
            for length in 0..bytes.len() {
                prop_assert!(read_coin(&bytes[..length]).is_err());
            }
            prop_assert!(read_coin(&[bytes, vec![0]].concat()).is_err());
        }

        #[test]
        fn headers_are_read_back(header in header(), body: Option<u64>, invalid: bool) {
            let status = HeaderStatus { body, invalid };
            let bytes = write_header(&header, &status);
            prop_assert_eq!(read_header(&bytes), Ok((header, status)));
            prop_assert!(read_header(&bytes[1..]).is_err());
        }

        #[test]
        fn index_entries_are_read_back(number: u32, position: u32, txid: [u8; 32], received: u64, sent: u64) {
            let place = Place { number, position };
            prop_assert_eq!(read_place(&write_place(place)), Ok(place));
            let amount = Amount::from_pebbles;
            let touch =
                Touch { txid: TxId::from_bytes(txid), received: amount(received), sent: amount(sent) };
            prop_assert_eq!(read_touch(&write_touch(&touch)), Ok(touch));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            // What is read is written back as it was: no value has two encodings.
            if let Ok(coin) = read_coin(&bytes) {
                prop_assert_eq!(write_coin(&coin), Some(bytes.clone()));
            }
            if let Ok((header, status)) = read_header(&bytes) {
                prop_assert_eq!(write_header(&header, &status).to_vec(), bytes.clone());
            }
            if let Ok(touch) = read_touch(&bytes) {
                prop_assert_eq!(write_touch(&touch), bytes);
            }
        }
    }
}
