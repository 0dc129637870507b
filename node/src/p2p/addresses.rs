//! The exchange of addresses: one peer asks another whom it knows.
//!
//! The request also says at which ports the asker itself can be reached; whoever is asked joins these to the address
//! that the connection comes from. So nobody can name a third machine as itself, and nobody needs to know its own
//! address. Data and functions without libp2p, as [`super::wire`], and as strict.

use borsh::BorshSerialize;

use super::{
    book::{Carrier, NetAddress, address::ADDRESS_BYTES},
    wire::{WireError, end, read_list},
};

/// Addresses of one answer.
pub const MAX_ADDRESSES: usize = 1_000;
/// Ports that a node may name as its own.
pub const MAX_LISTENING: usize = 4;
/// Bytes of a list's length.
const LENGTH_BYTES: usize = 4;
/// The most bytes of a request: a length, and a port with its carrier for each.
pub const MAX_REQUEST_BYTES: usize = LENGTH_BYTES + MAX_LISTENING * 3;
/// The most bytes of an answer.
pub const MAX_RESPONSE_BYTES: usize = LENGTH_BYTES + MAX_ADDRESSES * ADDRESS_BYTES;
/// Open requests for addresses that each side may have to the other at a time.
pub const REQUESTS_PER_PEER: usize = 1;
/// Seconds from a request to the end of its answer.
pub const TIMEOUT_SECS: u64 = 20;
/// Seconds in which a connected peer gets one answer; what it asks beyond is answered with nothing.
pub const ANSWER_INTERVAL_SECS: u64 = 3_600;
/// Seconds after which a peer to which we connected is asked again.
pub const ASK_INTERVAL_SECS: u64 = 86_400;

/// Whom do you know? I listen there.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct AddressesRequest {
    /// The ports at which the asker can be reached, at most [`MAX_LISTENING`]; none for who cannot be reached.
    pub listening: Vec<(u16, Carrier)>,
}

impl AddressesRequest {
    /// Reads a request from all of `bytes`.
    ///
    /// # Errors
    /// [`WireError`] where they are anything but one request within its limits.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, WireError> {
        let listening = read_list(&mut bytes, "ports", MAX_LISTENING)?;
        end(bytes)?;
        Ok(Self { listening })
    }
}

/// Reads an answer from all of `bytes`. An address that no node can have is no fault: the book passes over it.
///
/// # Errors
/// [`WireError`] where they are anything but one answer within its limits.
pub fn read_response(mut bytes: &[u8]) -> Result<Vec<NetAddress>, WireError> {
    let addresses = read_list(&mut bytes, "addresses", MAX_ADDRESSES)?;
    end(bytes)?;
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p09_more_than_a_thousand_addresses_are_refused_by_their_length_alone() {
        let address = NetAddress::new([8, 8, 8, 8].into(), 1, Carrier::Quic);
        let most = vec![address; MAX_ADDRESSES];
        let bytes = chain::encode::to_bytes(&most);
        assert_eq!(bytes.len(), MAX_RESPONSE_BYTES);
        assert_eq!(read_response(&bytes), Ok(most));
        let claimed = 1_001_u32.to_le_bytes();
        let refused = Err(WireError::TooMany { what: "addresses", claimed: 1_001, limit: MAX_ADDRESSES });
        assert_eq!(read_response(&claimed), refused);
        assert_eq!(read_response(&[&bytes[..], &[0]].concat()), Err(WireError::Trailing(1)));
        assert!(read_response(&bytes[..bytes.len() - 1]).is_err());

        let request = AddressesRequest { listening: vec![(8_444, Carrier::Tcp); MAX_LISTENING] };
        let bytes = chain::encode::to_bytes(&request);
        assert_eq!(bytes.len(), MAX_REQUEST_BYTES);
        assert_eq!(AddressesRequest::from_bytes(&bytes), Ok(request));
        assert!(AddressesRequest::from_bytes(&5_u32.to_le_bytes()).is_err());
    }
}
