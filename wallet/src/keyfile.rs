//! The encrypted key file: this crate's only input and output.
//!
//! One JSON object: a public header (version, the chain that the wallet belongs to, the cost of guessing a
//! passphrase, salt and nonce) and the ciphertext of [`Contents`]. Argon2id (RFC 9106) makes the key from the
//! passphrase, XChaCha20-Poly1305 encrypts, and every field of the header is authenticated as additional
//! data. The file is exactly the bytes that we would write: any other form of the same JSON is refused, so
//! that no altered byte goes unnoticed (threat W03).
//!
//! An empty passphrase goes the same way as any other. Against guessing it protects nothing whatever the
//! cost, so devnets give their throw-away wallets [`KdfCost::LIGHT`] and open at once; wallets with coins that
//! are worth something take [`KdfCost::STANDARD`].
//!
//! It must never write a secret in the clear, overwrite a file it did not open, or say whether it was the
//! passphrase or the file that was wrong (threat W14).

mod disk;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use borsh::{BorshDeserialize, BorshSerialize};
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use chain::{hash::BlockHash, params::MAX_PREFIX_BYTES};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    randomness::{RandomnessError, Source},
    seed::MAX_BIP39_PASSPHRASE_BYTES,
};

/// The version of the format that this code writes and reads.
pub const VERSION: u32 = 1;

/// The most bytes of a key file; the longest that we write has under 4 KiB.
pub const MAX_FILE_BYTES: u64 = 16 * 1_024;

/// The most memory that a key file may demand, in KiB: 1 GiB, checked before any of it is allocated.
pub const MAX_KDF_MEMORY_KIB: u32 = 1 << 20;

/// The most passes over the memory that a key file may demand; with all memory about 15 seconds.
pub const MAX_KDF_PASSES: u32 = 16;

/// The most lanes that a key file may demand; each needs 8 KiB at least (RFC 9106, 3.1).
pub const MAX_KDF_LANES: u32 = 16;

/// The most bytes of a passphrase.
pub const MAX_PASSPHRASE_BYTES: usize = 1_024;

/// What separates this additional data from everything else that is ever authenticated.
const DOMAIN: &str = "cairn/wallet-file";
const KDF: &str = "argon2id";
const CIPHER: &str = "xchacha20poly1305";
/// RFC 9106 recommends 128 bits.
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
/// Room for the contents and the tag, so that no growing buffer leaves a copy behind.
const PLAINTEXT_CAPACITY: usize = MAX_BIP39_PASSPHRASE_BYTES + 128;

/// What a key file is written with that is not its contents: how costly a guess at the passphrase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize)]
pub struct KdfCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes, computed one after the other here: more help an attacker with many cores, not us.
    pub lanes: u32,
}

impl KdfCost {
    /// For wallets that hold value: about a second on a core of 2026 (threat W14 asks for half a one).
    pub const STANDARD: Self = Self { memory_kib: 256 * 1_024, passes: 4, lanes: 1 };

    /// For wallets without a passphrase, a devnet's and tests': a fraction of a millisecond. A passphrase
    /// under this cost is guessed quickly.
    pub const LIGHT: Self = Self { memory_kib: 64, passes: 1, lanes: 1 };

    fn check(self) -> Result<(), KeyFileError> {
        let lanes_fit = (1..=MAX_KDF_LANES).contains(&self.lanes);
        let memory_fits = lanes_fit && (8 * self.lanes..=MAX_KDF_MEMORY_KIB).contains(&self.memory_kib);
        if memory_fits && (1..=MAX_KDF_PASSES).contains(&self.passes) {
            Ok(())
        } else {
            Err(KeyFileError::KdfCost(self))
        }
    }

    /// Argon2id of `passphrase`, NFKD as BIP-39 does it, so that two keyboards agree on one text.
    fn derive(self, passphrase: &str, salt: &[u8]) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyFileError> {
        self.check()?;
        if passphrase.len() > MAX_PASSPHRASE_BYTES {
            return Err(KeyFileError::PassphraseLength(passphrase.len()));
        }
        let mut text = passphrase.into();
        bip39::Mnemonic::normalize_utf8_cow(&mut text);
        let text = Zeroizing::new(text.into_owned());
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY_BYTES))
            .expect("check() is stricter than Argon2's own limits");
        // Reserving may fail where the machine has less memory than the file asks for: an error, no abort.
        let mut memory: Vec<Block> = Vec::new();
        memory.try_reserve_exact(params.block_count()).map_err(|_| KeyFileError::Memory(self.memory_kib))?;
        memory.resize(params.block_count(), Block::new());
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let derived =
            argon.hash_password_into_with_memory(text.as_bytes(), salt, key.as_mut_slice(), &mut memory);
        memory.zeroize();
        derived.expect("salt, passphrase and key have lengths that Argon2 allows");
        Ok(key)
    }
}

/// The chain that a wallet belongs to.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct WalletChain {
    /// The chain's id: the hash of its genesis block.
    pub id: BlockHash,
    /// The prefix of its addresses.
    pub prefix: String,
}

/// What is encrypted.
#[derive(Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Zeroize, ZeroizeOnDrop)]
pub struct Contents {
    /// The entropy of the mnemonic; keys are derived from it, never stored (threat W02).
    pub entropy: Vec<u8>,
    /// The BIP-39 passphrase that goes with the words, mostly empty.
    pub bip39_passphrase: String,
    /// The first receiving address that was not given out yet.
    pub next_receive: u32,
    /// The first change address that was not used yet.
    pub next_change: u32,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contents(secret, next {} and {})", self.next_receive, self.next_change)
    }
}

/// Why a key file could not be made, opened or saved.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// `create` never overwrites.
    #[error("{0} exists already: choose another name, or open it")]
    Exists(PathBuf),
    /// Nothing at this path.
    #[error("there is no wallet at {0}: make one with `new` or `restore`, or name another file")]
    Missing(PathBuf),
    /// The operating system refused.
    #[error("could not {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Not a file of ours, byte for byte.
    #[error("this is not a wallet file, or it is damaged: name another file, or restore from the words")]
    NotAKeyFile,
    /// A format of another time.
    #[error("the wallet file has version {0}, this program reads version {VERSION}: use a newer one")]
    Version(u32),
    /// The file demands more than we give, or less than Argon2 allows.
    #[error(
        "the wallet file asks for {} KiB, {} passes, {} lanes to open it; allowed are 8 KiB a lane to \
         {MAX_KDF_MEMORY_KIB} KiB, {MAX_KDF_PASSES} passes, {MAX_KDF_LANES} lanes: restore from the words",
        .0.memory_kib, .0.passes, .0.lanes
    )]
    KdfCost(KdfCost),
    /// The machine lacks the memory.
    #[error("opening the wallet takes {0} KiB of memory, which this machine does not give: free some")]
    Memory(u32),
    /// Wrong passphrase and damage are one error: which of them it was is nobody's business.
    #[error("wrong passphrase, or the wallet file is damaged: try again, or restore from the words")]
    Locked,
    /// A passphrase beyond [`MAX_PASSPHRASE_BYTES`].
    #[error("the passphrase has {0} bytes, at most {MAX_PASSPHRASE_BYTES} are allowed")]
    PassphraseLength(usize),
    /// A prefix that no chain has (rule G1).
    #[error(
        "an address prefix has 1 to {MAX_PREFIX_BYTES} lower-case letters (rule G1): take the chain's own"
    )]
    Prefix,
    /// No salt, no nonce, no file.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
}

impl KeyFileError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::AlreadyExists => Self::Exists(path),
            io::ErrorKind::NotFound if action == "open" => Self::Missing(path),
            _ => Self::Io { action, path, source },
        }
    }
}

/// The file's JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    chain_id: BlockHash,
    prefix: String,
    kdf: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    cipher: String,
    nonce: String,
    ciphertext: String,
}

/// The public part of a key file, checked: its limits hold.
struct Header {
    chain: WalletChain,
    cost: KdfCost,
    salt: [u8; SALT_BYTES],
}

impl Header {
    /// Everything in the file but the ciphertext, as the cipher authenticates it.
    fn additional_data(&self, nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
        borsh::to_vec(&(DOMAIN, VERSION, &self.chain, KDF, self.cost, self.salt, CIPHER, nonce))
            .expect("a vector takes every byte")
    }

    fn to_file(&self, nonce: &[u8; NONCE_BYTES], ciphertext: &[u8]) -> Vec<u8> {
        let document = Document {
            version: VERSION,
            chain_id: self.chain.id,
            prefix: self.chain.prefix.clone(),
            kdf: KDF.to_owned(),
            memory_kib: self.cost.memory_kib,
            passes: self.cost.passes,
            lanes: self.cost.lanes,
            salt: const_hex::encode(self.salt),
            cipher: CIPHER.to_owned(),
            nonce: const_hex::encode(nonce),
            ciphertext: const_hex::encode(ciphertext),
        };
        let mut bytes = serde_json::to_vec_pretty(&document).expect("strings and numbers are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// The header, nonce and ciphertext of a file whose every byte is as we would write it.
    fn parse(bytes: &[u8]) -> Result<(Self, [u8; NONCE_BYTES], Vec<u8>), KeyFileError> {
        let document: Document = serde_json::from_slice(bytes).map_err(|_| KeyFileError::NotAKeyFile)?;
        if document.version != VERSION {
            return Err(KeyFileError::Version(document.version));
        }
        let cost =
            KdfCost { memory_kib: document.memory_kib, passes: document.passes, lanes: document.lanes };
        let ciphertext = const_hex::decode(&document.ciphertext).map_err(|_| KeyFileError::NotAKeyFile)?;
        let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
        const_hex::decode_to_slice(&document.salt, &mut salt).map_err(|_| KeyFileError::NotAKeyFile)?;
        const_hex::decode_to_slice(&document.nonce, &mut nonce).map_err(|_| KeyFileError::NotAKeyFile)?;
        let chain = WalletChain { id: document.chain_id, prefix: document.prefix };
        let header = Self { chain, cost, salt };
        // This also settles the names of the algorithms, the case of hexadecimal digits and white space.
        if header.to_file(&nonce, &ciphertext) != bytes {
            return Err(KeyFileError::NotAKeyFile);
        }
        cost.check()?;
        check_prefix(&header.chain.prefix)?;
        Ok((header, nonce, ciphertext))
    }
}

fn check_prefix(prefix: &str) -> Result<(), KeyFileError> {
    let length_fits = (1..=MAX_PREFIX_BYTES).contains(&prefix.len());
    if length_fits && prefix.bytes().all(|byte| byte.is_ascii_lowercase()) {
        Ok(())
    } else {
        Err(KeyFileError::Prefix)
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    disk::read(path, MAX_FILE_BYTES).map_err(KeyFileError::io("open", path))?.ok_or(KeyFileError::NotAKeyFile)
}

/// An open key file. The key stays in memory, the passphrase does not: saving costs no second derivation.
pub struct KeyFile {
    path: PathBuf,
    header: Header,
    key: Zeroizing<[u8; KEY_BYTES]>,
    random: Source,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile")
            .field("path", &self.path)
            .field("chain", &self.header.chain)
            .finish_non_exhaustive()
    }
}

impl KeyFile {
    /// Writes a new key file, mode 0600.
    ///
    /// # Errors
    /// [`KeyFileError::Exists`] when anything is at `path`; costs, lengths, randomness, the operating system.
    pub fn create(
        path: &Path,
        passphrase: &str,
        chain: WalletChain,
        cost: KdfCost,
        contents: &Contents,
    ) -> Result<Self, KeyFileError> {
        Self::create_from(path, passphrase, chain, cost, contents, crate::randomness::operating_system)
    }

    fn create_from(
        path: &Path,
        passphrase: &str,
        chain: WalletChain,
        cost: KdfCost,
        contents: &Contents,
        random: Source,
    ) -> Result<Self, KeyFileError> {
        check_prefix(&chain.prefix)?;
        // Said before the derivation's second of work; the last step makes sure of it.
        if path.symlink_metadata().is_ok() {
            return Err(KeyFileError::Exists(path.to_owned()));
        }
        let mut salt = [0; SALT_BYTES];
        random(&mut salt)?;
        let key = cost.derive(passphrase, &salt)?;
        let file = Self { path: path.to_owned(), header: Header { chain, cost, salt }, key, random };
        let bytes = file.seal(contents)?;
        disk::create(path, &bytes).map_err(KeyFileError::io("create", path))?;
        Ok(file)
    }

    /// Opens a key file.
    ///
    /// # Errors
    /// [`KeyFileError::Locked`] for a wrong passphrase and for damage alike; limits, the operating system.
    pub fn open(path: &Path, passphrase: &str) -> Result<(Self, Contents), KeyFileError> {
        Self::unlock(path, &read_file(path)?, passphrase)
    }

    fn unlock(path: &Path, file: &[u8], passphrase: &str) -> Result<(Self, Contents), KeyFileError> {
        let (header, nonce, ciphertext) = Header::parse(file)?;
        let key = header.cost.derive(passphrase, &header.salt)?;
        let mut buffer = Zeroizing::new(ciphertext);
        XChaCha20Poly1305::new(&(*key).into())
            .decrypt_in_place(&XNonce::from(nonce), &header.additional_data(&nonce), &mut *buffer)
            .map_err(|_| KeyFileError::Locked)?;
        let contents = borsh::from_slice(&buffer).map_err(|_| KeyFileError::Locked)?;
        let random = crate::randomness::operating_system;
        Ok((Self { path: path.to_owned(), header, key, random }, contents))
    }

    /// The chain that the wallet at `path` says it belongs to, without its passphrase, hence not yet
    /// authenticated: to find the node and the prefix, not to trust.
    ///
    /// # Errors
    /// When it is no key file of ours, or cannot be read.
    pub fn read_chain(path: &Path) -> Result<WalletChain, KeyFileError> {
        Ok(Header::parse(&read_file(path)?)?.0.chain)
    }

    /// What the wallet at `path` says a guess at its passphrase costs, without the passphrase, hence not yet
    /// authenticated: [`KdfCost::LIGHT`] lets one try the empty passphrase before anybody is asked.
    ///
    /// # Errors
    /// When it is no key file of ours, or cannot be read.
    pub fn read_cost(path: &Path) -> Result<KdfCost, KeyFileError> {
        Ok(Header::parse(&read_file(path)?)?.0.cost)
    }

    /// Replaces the file by one with new contents: after a crash at any moment it is the old or the new one.
    ///
    /// # Errors
    /// Randomness or the operating system failed; the old file is as it was.
    pub fn save(&self, contents: &Contents) -> Result<(), KeyFileError> {
        let bytes = self.seal(contents)?;
        disk::replace(&self.path, &bytes).map_err(KeyFileError::io("save", &self.path))
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The chain that the wallet belongs to.
    #[must_use]
    pub fn chain(&self) -> &WalletChain {
        &self.header.chain
    }

    /// The whole file: a fresh 192-bit nonce each time, so that the key may be used again.
    fn seal(&self, contents: &Contents) -> Result<Vec<u8>, KeyFileError> {
        let mut nonce = [0; NONCE_BYTES];
        (self.random)(&mut nonce)?;
        let mut buffer = Zeroizing::new(Vec::with_capacity(PLAINTEXT_CAPACITY + TAG_BYTES));
        contents.serialize(&mut *buffer).expect("a vector takes every byte");
        XChaCha20Poly1305::new(&(*self.key).into())
            .encrypt_in_place(&XNonce::from(nonce), &self.header.additional_data(&nonce), &mut *buffer)
            .expect("the contents are far below the cipher's limit of 256 GiB");
        Ok(self.header.to_file(&nonce, &buffer))
    }
}

#[cfg(test)]
mod tests;
