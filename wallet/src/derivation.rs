//! SLIP-0010 for ed25519: a tree of keys from one seed, hardened steps only.
//!
//! A wallet's keys lie at `m/44'/4411982'/0'/BRANCH'/INDEX'`: purpose 44 (BIP-44), the coin type
//! [`COIN_TYPE`], account 0, branch 0 for addresses that are given to payers and 1 for change, then the
//! address's index. **One index, one key, one policy**: a signature authorises every input and every branch
//! that holds its key, so a key at this path appears only in the single-key policy of its own address; other
//! kinds of policy take their keys from another account. The same words on two chains give the same keys:
//! signatures commit to the chain, so nothing can be replayed.

use std::fmt;

use chain::policy::PublicKey;
use ed25519_dalek::SigningKey;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use thiserror::Error;
use zeroize::Zeroizing;

/// The coin type of all Cairn chains: the letters `CRN` as a number (0x43524e). SLIP-0044 lists no coin there.
pub const COIN_TYPE: u32 = 4_411_982;

/// The first index of hardened steps; ed25519 has no others (SLIP-0010).
pub const HARDENED: u32 = 1 << 31;

/// The most steps of a path; ours have five.
pub const MAX_PATH_DEPTH: usize = 16;

/// Why a key could not be derived.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DerivationError {
    /// SLIP-0010 seeds have 16 to 64 bytes.
    #[error("a SLIP-0010 seed has 16 to 64 bytes, not {0}")]
    SeedLength(usize),
    /// ed25519 keys have hardened children only.
    #[error("step {0:?} of the path is not hardened, ed25519 has no such keys: write {0}'")]
    NotHardened(String),
    /// Not a path.
    #[error("{0:?} is not a path: write m/44'/4411982'/0'/0'/0', numbers below 2147483648")]
    Malformed(String),
    /// An index that leaves the hardened range.
    #[error("index {0} is beyond the last one, 2147483647")]
    IndexTooLarge(u32),
}

/// A private key and its chain code: a node of the tree.
#[derive(Clone)]
pub struct ExtendedKey {
    secret: Zeroizing<[u8; 32]>,
    chain_code: Zeroizing<[u8; 32]>,
}

impl ExtendedKey {
    /// The root of the tree (`m`).
    ///
    /// # Errors
    /// [`DerivationError::SeedLength`] unless the seed has 16 to 64 bytes.
    pub fn master(seed: &[u8]) -> Result<Self, DerivationError> {
        if !(16..=64).contains(&seed.len()) {
            return Err(DerivationError::SeedLength(seed.len()));
        }
        Ok(Self::split(b"ed25519 seed", &[seed]))
    }

    /// The hardened child `index'`.
    ///
    /// # Errors
    /// [`DerivationError::IndexTooLarge`] from 2^31 on: there the caller means a hardened index already.
    pub fn child(&self, index: u32) -> Result<Self, DerivationError> {
        if index >= HARDENED {
            return Err(DerivationError::IndexTooLarge(index));
        }
        let index = (index | HARDENED).to_be_bytes();
        Ok(Self::split(self.chain_code.as_slice(), &[&[0], self.secret.as_slice(), &index]))
    }

    /// The node at a path like `m/44'/0'`, from this node on; `h` may stand for the apostrophe.
    ///
    /// # Errors
    /// [`DerivationError::NotHardened`] for a step without the apostrophe, else [`DerivationError::Malformed`].
    pub fn descend(&self, path: &str) -> Result<Self, DerivationError> {
        let malformed = || DerivationError::Malformed(path.chars().take(80).collect());
        let mut steps = path.split('/');
        if steps.next() != Some("m") || path.split('/').count() > MAX_PATH_DEPTH + 1 {
            return Err(malformed());
        }
        steps.try_fold(self.clone(), |node, step| {
            let digits = step.strip_suffix(['\'', 'h']);
            let number = digits.unwrap_or(step);
            // `parse` alone would take a plus sign.
            if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(malformed());
            }
            let index: u32 = number.parse().map_err(|_| malformed())?;
            if digits.is_none() {
                return Err(DerivationError::NotHardened(number.to_owned()));
            }
            node.child(index).map_err(|_| malformed())
        })
    }

    /// The key that signs.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.secret)
    }

    /// The key that others see.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.signing_key().verifying_key().to_bytes())
    }

    /// HMAC-SHA512 under `key`, its left half the secret and its right half the chain code.
    fn split(key: &[u8], parts: &[&[u8]]) -> Self {
        let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(part);
        }
        let both = Zeroizing::new(<[u8; 64]>::from(mac.finalize().into_bytes()));
        let mut node = Self { secret: Zeroizing::new([0; 32]), chain_code: Zeroizing::new([0; 32]) };
        node.secret.copy_from_slice(&both[..32]);
        node.chain_code.copy_from_slice(&both[32..]);
        node
    }
}

impl fmt::Debug for ExtendedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExtendedKey(secret)")
    }
}

/// Which of a wallet's two rows of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Branch {
    /// Addresses that are given to payers.
    Receive,
    /// Addresses that only this wallet pays.
    Change,
}

impl Branch {
    /// Both branches.
    pub const ALL: [Self; 2] = [Self::Receive, Self::Change];
}

/// Where in the wallet a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath {
    /// The row.
    pub branch: Branch,
    /// The place in the row, from 0, below 2^31.
    pub index: u32,
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let branch = match self.branch {
            Branch::Receive => 0,
            Branch::Change => 1,
        };
        write!(f, "m/44'/{COIN_TYPE}'/0'/{branch}'/{}'", self.index)
    }
}

/// The two branches of a wallet's account; all that remains in memory of its seed.
#[derive(Clone, Debug)]
pub struct AccountKeys {
    receive: ExtendedKey,
    change: ExtendedKey,
}

impl AccountKeys {
    /// The account at `m/44'/4411982'/0'`.
    ///
    /// # Errors
    /// [`DerivationError::SeedLength`] unless the seed has 16 to 64 bytes.
    pub fn from_seed(seed: &[u8]) -> Result<Self, DerivationError> {
        let account = ExtendedKey::master(seed)?.child(44)?.child(COIN_TYPE)?.child(0)?;
        Ok(Self { receive: account.child(0)?, change: account.child(1)? })
    }

    /// The node at `path`.
    ///
    /// # Errors
    /// [`DerivationError::IndexTooLarge`] from index 2^31 on.
    pub fn key(&self, path: KeyPath) -> Result<ExtendedKey, DerivationError> {
        match path.branch {
            Branch::Receive => self.receive.child(path.index),
            Branch::Change => self.change.child(path.index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 64] = [9; 64];

    #[test]
    fn w12_steps_that_are_not_hardened_are_errors() {
        let master = ExtendedKey::master(&SEED).expect("64 bytes");
        for (path, step) in
            [("m/0", "0"), ("m/44'/0", "0"), ("m/44/0'", "44"), ("m/2147483647", "2147483647")]
        {
            assert_eq!(master.descend(path).err(), Some(DerivationError::NotHardened(step.to_owned())));
        }
        assert_eq!(master.child(HARDENED).err(), Some(DerivationError::IndexTooLarge(HARDENED)));
    }

    #[test]
    fn what_is_not_a_path_is_refused() {
        let master = ExtendedKey::master(&SEED).expect("64 bytes");
        let deep = "m".to_owned() + &"/0'".repeat(MAX_PATH_DEPTH + 1);
        for path in [
            "",
            "0'",
            "M/0'",
            "m/",
            "m//0'",
            "m/'",
            "m/+1'",
            "m/-1'",
            "m/1''",
            "m/x'",
            "m/2147483648'",
            &deep,
        ] {
            assert!(matches!(master.descend(path), Err(DerivationError::Malformed(_))), "{path}");
        }
        assert!(master.descend(&deep[..deep.len() - 3]).is_ok());
        assert!(ExtendedKey::master(&[0; 15]).is_err() && ExtendedKey::master(&[0; 65]).is_err());
    }

    #[test]
    fn account_keys_lie_at_the_documented_path() {
        let master = ExtendedKey::master(&SEED).expect("64 bytes");
        let account = AccountKeys::from_seed(&SEED).expect("64 bytes");
        for branch in Branch::ALL {
            for index in [0, 1, 19, HARDENED - 1] {
                let path = KeyPath { branch, index };
                let by_text = master.descend(&path.to_string()).expect("a hardened path");
                let direct = account.key(path).expect("an index in range");
                assert_eq!(by_text.secret, direct.secret, "{path}");
            }
        }
        assert_eq!(KeyPath { branch: Branch::Change, index: 7 }.to_string(), "m/44'/4411982'/0'/1'/7'");
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        let account = AccountKeys::from_seed(&SEED).expect("64 bytes");
        assert!(!format!("{account:?}").contains(|c: char| c.is_ascii_digit()));
    }
}
