//! Addresses: what an output pays to, and the text in which people pass it on (rule A1 and A2).

use std::{fmt, sync::LazyLock};

use bech32::{
    Bech32m, Hrp,
    primitives::decode::{CharError, CheckedHrpstring, CheckedHrpstringError, UncheckedHrpstringError},
};
use borsh::{BorshDeserialize, BorshSerialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{
    hash::{HashWriter, tagged_hasher},
    policy::Policy,
};

/// The only version of addresses today: the hash of a spend policy (rule A2).
const VERSION: u8 = 0;

/// The longest text that is looked at: BIP-173's limit.
const MAX_TEXT_BYTES: usize = 90;

/// The hash of a spend policy: `tagged(cairn/policy, borsh(policy))` (rule A1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Address([u8; 32]);

/// Why a text is no address of this chain (rule A2).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Not bech32m: a wrong character, mixed case, a wrong checksum, a wrong length.
    #[error("not an address: {why}; copy it whole (addresses of this chain begin with {expected}1)")]
    Malformed {
        /// What is wrong.
        why: &'static str,
        /// The prefix of this chain.
        expected: String,
    },
    /// An address of another chain.
    #[error("this address begins with {found:?}, but addresses of this chain begin with {expected:?}")]
    OtherChain {
        /// The prefix of this chain.
        expected: String,
        /// The prefix of the text.
        found: String,
    },
    /// An address of a later version than this program knows.
    #[error("this address has version {0}, which this program does not know: a newer one is needed")]
    UnknownVersion(u8),
}

impl Address {
    /// The address of a policy: whoever satisfies `policy` can spend what was paid to it.
    #[must_use]
    pub fn of_policy(policy: &Policy) -> Self {
        // Made once: the tag costs as much hashing as most policies do.
        static TAG: LazyLock<Sha256> = LazyLock::new(|| tagged_hasher("cairn/policy"));
        let mut writer = HashWriter(TAG.clone());
        policy.serialize(&mut writer).expect("writing into a hasher does not fail");
        Self(writer.0.finalize().into())
    }

    /// From the 32 bytes of the hash.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The address as people pass it on: bech32m (BIP-350) of the version byte and the hash.
    ///
    /// # Panics
    /// Never for the prefix of a [`crate::genesis::Chain`], which was checked when the chain was made.
    #[must_use]
    pub fn encode(&self, prefix: &str) -> String {
        let hrp = Hrp::parse(prefix).expect("a chain's prefix was checked when the chain was made");
        let mut data = [VERSION; 33];
        data[1..].copy_from_slice(&self.0);
        bech32::encode::<Bech32m>(hrp, &data).expect("33 bytes and a short prefix fit into bech32m")
    }

    /// Reads an address of the chain with this prefix.
    ///
    /// # Errors
    /// [`AddressError`] where the text is damaged, of another chain, or of a later version.
    pub fn decode(prefix: &str, text: &str) -> Result<Self, AddressError> {
        let malformed = |why| AddressError::Malformed { why, expected: prefix.into() };
        if text.len() > MAX_TEXT_BYTES {
            return Err(malformed("it is too long"));
        }
        let checked =
            CheckedHrpstring::new::<Bech32m>(text).map_err(|error| malformed(why_unreadable(&error)))?;
        let found = checked.hrp().to_lowercase();
        if found != prefix {
            return Err(AddressError::OtherChain { expected: prefix.into(), found });
        }
        let data: Vec<u8> = checked.byte_iter().collect();
        let (version, hash) = data.split_first().ok_or_else(|| malformed("it is empty"))?;
        if *version != VERSION {
            return Err(AddressError::UnknownVersion(*version));
        }
        let hash = hash.try_into().map_err(|_| malformed("it has a wrong length"))?;
        let address = Self(hash);
        // The last character carries padding bits: only zeros are an address's one and only text.
        if address.encode(prefix) != text.to_lowercase() {
            return Err(malformed("its padding is not zero"));
        }
        Ok(address)
    }
}

/// What whoever typed or copied a text can make of the library's error.
fn why_unreadable(error: &CheckedHrpstringError) -> &'static str {
    match error {
        CheckedHrpstringError::Parse(UncheckedHrpstringError::Char(CharError::MixedCase)) => {
            "it mixes small and capital letters"
        }
        CheckedHrpstringError::Checksum(_) => "a character is wrong or missing",
        _ => "it lacks its beginning or has a character that no address has",
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", const_hex::encode(self.0))
    }
}
