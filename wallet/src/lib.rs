//! Holding keys: seeds, derived keys, the encrypted key file, coins, and payments built and signed.
//!
//! [`Wallet`] ties the rooms together; they are, in reading order:
//!
//! - [`seed`]: BIP-39 words, from the operating system's randomness or from a backup.
//! - [`derivation`]: SLIP-0010 keys, one for each address.
//! - [`keyfile`]: the encrypted file, the only input and output of this crate.
//! - [`coins`]: what the node's address index tells, and what of it can be spent.
//! - [`selection`]: fee rates and the choice of coins.
//! - [`build`]: exact sizes, and signatures.
//! - [`Wallet`]: the whole.
//!
//! The crate imports only `chain`. It must never write a secret to disk in the clear, print one, speak to a
//! node, or judge whether a transaction is valid: it signs what it is asked to sign, and the node judges.

pub mod build;
pub mod coins;
pub mod derivation;
pub mod keyfile;
mod randomness;
pub mod seed;
pub mod selection;
mod wallet;

pub use coins::{Balance, Coin, CoinState, FoundCoin};
pub use derivation::{Branch, KeyPath};
pub use keyfile::{KdfCost, KeyFileError, WalletChain};
pub use randomness::RandomnessError;
pub use seed::{Mnemonic, SeedError, WordCount};
pub use selection::{FeeRate, SelectionError};
pub use wallet::{
    Change, GAP_LIMIT, MAX_ADDRESSES, NewWallet, Payment, Plan, SendRequest, Wallet, WalletError,
};
