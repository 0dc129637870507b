//! A wallet: a key file, the keys and addresses that come from it, and payments planned and signed.
//!
//! It knows nothing of the network. Who uses it asks a node about [`Wallet::addresses`], hands over what the
//! node found ([`Wallet::coins`]), plans, asks the owner, signs, and sends the transaction.

use std::{collections::HashMap, path::Path};

use chain::{
    address::{Address, AddressError},
    amount::Amount,
    hash::BlockHash,
    height::Height,
    transaction::{Output, Transaction},
};
use thiserror::Error;

use crate::{
    build,
    coins::{Coin, FoundCoin},
    derivation::{AccountKeys, Branch, DerivationError, KeyPath},
    keyfile::{Contents, KdfCost, KeyFile, KeyFileError, WalletChain},
    seed::{Mnemonic, SeedError},
    selection::{FeeRate, Selection, SelectionError, Target},
};

/// How many addresses beyond the last one that was given out are watched in each branch (BIP-44). A wallet
/// that is restored from its words finds every payment as long as no more addresses than this in a row
/// were never paid.
pub const GAP_LIMIT: u32 = 20;

/// The most addresses that a wallet gives out in each branch: all are derived when it is opened.
pub const MAX_ADDRESSES: u32 = 100_000;

/// Why a wallet did not do what it was asked.
#[derive(Debug, Error)]
pub enum WalletError {
    /// The key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The words or their passphrase.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// A key's path.
    #[error(transparent)]
    Derivation(#[from] DerivationError),
    /// The payment.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// A coin at an address that is none of ours.
    #[error(
        "{0} is not an address of this wallet, so it cannot sign for it: open the wallet that was paid there"
    )]
    NotOurs(String),
    /// The node runs another chain.
    #[error(
        "this wallet belongs to the chain {wallet}, the node runs {node}: use a node of the wallet's chain"
    )]
    OtherChain {
        /// The wallet's chain.
        wallet: BlockHash,
        /// The node's.
        node: BlockHash,
    },
    /// All addresses were given out.
    #[error("the wallet has given out all of its {MAX_ADDRESSES} addresses: make a new wallet")]
    NoMoreAddresses,
}

/// What a new wallet is made from. To restore one, take [`Mnemonic::from_words`], then let the node look for
/// its payments (see [`Wallet::note_used`]).
#[derive(Debug)]
pub struct NewWallet<'a> {
    /// The words; show new ones to the owner before anything is paid to the wallet.
    pub mnemonic: &'a Mnemonic,
    /// The BIP-39 passphrase that goes with the words; empty unless the owner wants one.
    pub bip39_passphrase: &'a str,
    /// What encrypts the key file; may be empty.
    pub passphrase: &'a str,
    /// The chain that it is for.
    pub chain: WalletChain,
    /// What a guess at the passphrase costs: [`KdfCost::STANDARD`], or [`KdfCost::LIGHT`] on a devnet.
    pub cost: KdfCost,
}

/// A payment to one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    /// Whom.
    pub to: Address,
    /// How much.
    pub amount: Amount,
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendRequest {
    /// The payments, in the order that their outputs will have.
    pub payments: Vec<Payment>,
    /// What the miner gets for each 1,000 bytes.
    pub fee_rate: FeeRate,
}

/// What comes back to the wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// How much.
    pub amount: Amount,
    /// To which of our addresses.
    pub address: Address,
    /// Where its key is.
    pub key: KeyPath,
}

/// A payment that was planned: inputs = outputs + fee, to be shown to the owner and then signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    inputs: Vec<Coin>,
    outputs: Vec<Output>,
    fee: Amount,
    change: Option<Change>,
    size_bytes: u64,
}

impl Plan {
    /// The coins that will be spent.
    #[must_use]
    pub fn inputs(&self) -> &[Coin] {
        &self.inputs
    }

    /// The outputs: the payments in the order of the request, then the change if there is any.
    #[must_use]
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// What the miner gets.
    #[must_use]
    pub const fn fee(&self) -> Amount {
        self.fee
    }

    /// What comes back; nothing when it would be dust, which then is part of the fee.
    #[must_use]
    pub const fn change(&self) -> Option<&Change> {
        self.change.as_ref()
    }

    /// Bytes of the signed transaction.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

/// An open wallet. Its secrets are wiped from memory when it is dropped.
#[derive(Debug)]
pub struct Wallet {
    file: KeyFile,
    contents: Contents,
    keys: AccountKeys,
    /// Every address in the window, with the key behind it.
    owned: HashMap<Address, KeyPath>,
    /// How many addresses of each branch are in `owned`.
    window: (u32, u32),
}

impl Wallet {
    /// Makes a wallet and its key file at `path`, where nothing may be yet.
    ///
    /// # Errors
    /// [`KeyFileError::Exists`], limits, randomness, or what the operating system says; then there is no file.
    pub fn create(path: &Path, new: &NewWallet<'_>) -> Result<Self, WalletError> {
        let contents = Contents {
            entropy: new.mnemonic.entropy().to_vec(),
            bip39_passphrase: new.bip39_passphrase.to_owned(),
            next_receive: 0,
            next_change: 0,
        };
        // The seed first: a BIP-39 passphrase that is refused must not leave a file behind.
        let keys = account(&contents)?;
        let file = KeyFile::create(path, new.passphrase, new.chain.clone(), new.cost, &contents)?;
        Self::assemble(file, contents, keys)
    }

    /// Opens the wallet at `path`.
    ///
    /// # Errors
    /// [`KeyFileError::Locked`] for a wrong passphrase and for a damaged file alike; what else went wrong.
    pub fn open(path: &Path, passphrase: &str) -> Result<Self, WalletError> {
        let (file, contents) = KeyFile::open(path, passphrase)?;
        let keys = account(&contents)?;
        Self::assemble(file, contents, keys)
    }

    fn assemble(file: KeyFile, contents: Contents, keys: AccountKeys) -> Result<Self, WalletError> {
        let mut wallet = Self { file, contents, keys, owned: HashMap::new(), window: (0, 0) };
        wallet.extend_window()?;
        Ok(wallet)
    }

    /// The chain that the wallet belongs to.
    #[must_use]
    pub fn chain(&self) -> &WalletChain {
        self.file.chain()
    }

    /// Where its key file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Makes sure that a node runs the wallet's chain.
    ///
    /// # Errors
    /// [`WalletError::OtherChain`]: no signature of this wallet would be valid there.
    pub fn check_chain(&self, node: BlockHash) -> Result<(), WalletError> {
        let wallet = self.chain().id;
        if wallet == node { Ok(()) } else { Err(WalletError::OtherChain { wallet, node }) }
    }

    /// An address as people write it on the wallet's chain.
    #[must_use]
    pub fn encode(&self, address: &Address) -> String {
        address.encode(&self.chain().prefix)
    }

    /// The address that somebody wrote.
    ///
    /// # Errors
    /// What is wrong with it; an address of another chain is an error.
    pub fn decode(&self, text: &str) -> Result<Address, AddressError> {
        Address::decode(&self.chain().prefix, text)
    }

    /// The receiving address with this index, whether or not it was given out.
    ///
    /// # Errors
    /// [`WalletError::NoMoreAddresses`] from index [`MAX_ADDRESSES`] on.
    pub fn address(&self, index: u32) -> Result<Address, WalletError> {
        self.address_at(KeyPath { branch: Branch::Receive, index })
    }

    /// The receiving address that was given out last; gives out the first one if none was yet.
    ///
    /// # Errors
    /// When the file could not be saved.
    pub fn latest_address(&mut self) -> Result<Address, WalletError> {
        match self.contents.next_receive.checked_sub(1) {
            Some(index) => self.address(index),
            None => self.new_address(),
        }
    }

    /// The next receiving address that nobody was given yet. The file is saved before it is returned, so
    /// that no two payers get the same one.
    ///
    /// # Errors
    /// [`WalletError::NoMoreAddresses`], or the file could not be saved: then nothing was given out.
    pub fn new_address(&mut self) -> Result<Address, WalletError> {
        let index = self.contents.next_receive;
        let address = self.address(index)?;
        self.give_out(index + 1, self.contents.next_change)?;
        Ok(address)
    }

    /// How many receiving addresses were given out.
    #[must_use]
    pub fn addresses_given_out(&self) -> u32 {
        self.contents.next_receive
    }

    /// All addresses to ask a node about, of both branches: those that were used and [`GAP_LIMIT`] more, in
    /// the order of their keys.
    #[must_use]
    pub fn addresses(&self) -> Vec<(KeyPath, Address)> {
        let mut all: Vec<_> = self.owned.iter().map(|(address, key)| (*key, *address)).collect();
        all.sort_unstable();
        all
    }

    /// Where the key of an address is; nothing when it is none of [`Wallet::addresses`].
    #[must_use]
    pub fn key_of(&self, address: &Address) -> Option<KeyPath> {
        self.owned.get(address).copied()
    }

    /// Learns which addresses the chain knows, after a restore or when the same words are used elsewhere.
    /// Returns whether [`Wallet::addresses`] has grown by it: then ask the node again, until it has not.
    ///
    /// # Errors
    /// The file could not be saved.
    pub fn note_used<'a>(
        &mut self,
        used: impl IntoIterator<Item = &'a Address>,
    ) -> Result<bool, WalletError> {
        let (mut receive, mut change) = (self.contents.next_receive, self.contents.next_change);
        for key in used.into_iter().filter_map(|address| self.owned.get(address)) {
            match key.branch {
                Branch::Receive => receive = receive.max(key.index + 1),
                Branch::Change => change = change.max(key.index + 1),
            }
        }
        if (receive, change) == (self.contents.next_receive, self.contents.next_change) {
            return Ok(false);
        }
        let before = self.owned.len();
        self.give_out(receive, change)?;
        Ok(self.owned.len() > before)
    }

    /// What a node found, as coins of this wallet, judged for the block after `tip`. Coins that are to be
    /// named to [`Wallet::plan_exactly`] may be spent already: nothing here asks.
    ///
    /// # Errors
    /// [`WalletError::NotOurs`] when one lies at an address that is none of [`Wallet::addresses`].
    pub fn coins(
        &self,
        found: &[FoundCoin],
        tip: Height,
        maturity_blocks: u32,
    ) -> Result<Vec<Coin>, WalletError> {
        let ours = |coin: &FoundCoin| {
            let key = self.key_of(&coin.address);
            let key = key.ok_or_else(|| WalletError::NotOurs(self.encode(&coin.address)))?;
            Ok(Coin::new(coin, key, tip, maturity_blocks))
        };
        found.iter().map(ours).collect()
    }

    /// Plans a payment from the spendable of `coins`, which the wallet chooses.
    ///
    /// # Errors
    /// [`SelectionError`] says what is missing and what to do.
    pub fn plan(&self, request: &SendRequest, coins: &[Coin]) -> Result<Plan, WalletError> {
        self.plan_with(request, |target| target.choose(coins))
    }

    /// Plans a payment that spends exactly `coins`, all of them, whatever their state: spent, immature or
    /// unknown to the node. Whether that is valid is for the node to say.
    ///
    /// # Errors
    /// [`SelectionError`] says what is missing and what to do.
    pub fn plan_exactly(&self, request: &SendRequest, coins: &[Coin]) -> Result<Plan, WalletError> {
        self.plan_with(request, |target| target.take_all(coins))
    }

    fn plan_with(
        &self,
        request: &SendRequest,
        select: impl FnOnce(&Target) -> Result<Selection, SelectionError>,
    ) -> Result<Plan, WalletError> {
        let pay = |payment: &Payment| Output::pay(payment.to, payment.amount);
        let mut outputs: Vec<Output> = request.payments.iter().map(pay).collect();
        let Selection { inputs, fee, change, size_bytes } =
            select(&Target::new(&outputs, request.fee_rate)?)?;
        let change = if change == Amount::ZERO {
            None
        } else {
            let key = KeyPath { branch: Branch::Change, index: self.contents.next_change };
            Some(Change { amount: change, address: self.address_at(key)?, key })
        };
        outputs.extend(change.map(|change| Output::pay(change.address, change.amount)));
        Ok(Plan { inputs, outputs, fee, change, size_bytes })
    }

    /// Signs a plan. The file is saved first, so that the address of its change is never used again.
    ///
    /// # Errors
    /// [`WalletError::NotOurs`] for a plan of another wallet; or the file could not be saved.
    pub fn sign(&mut self, plan: &Plan) -> Result<Transaction, WalletError> {
        let mut signers = Vec::with_capacity(plan.inputs.len());
        for coin in &plan.inputs {
            if self.key_of(&coin.address) != Some(coin.key) {
                return Err(WalletError::NotOurs(self.encode(&coin.address)));
            }
            signers.push((*coin, self.keys.key(coin.key)?.signing_key()));
        }
        if let Some(change) = plan.change.filter(|change| change.key.index >= self.contents.next_change) {
            self.give_out(self.contents.next_receive, change.key.index + 1)?;
        }
        Ok(build::sign(&self.chain().id, &signers, plan.outputs.clone()))
    }

    fn address_at(&self, key: KeyPath) -> Result<Address, WalletError> {
        if key.index >= MAX_ADDRESSES {
            return Err(WalletError::NoMoreAddresses);
        }
        Ok(Address::of_policy(&build::policy_of(self.keys.key(key)?.public_key())))
    }

    /// Saves new counters, and only then goes by them.
    fn give_out(&mut self, next_receive: u32, next_change: u32) -> Result<(), WalletError> {
        let mut contents = self.contents.clone();
        contents.next_receive = next_receive;
        contents.next_change = next_change;
        self.file.save(&contents)?;
        self.contents = contents;
        self.extend_window()
    }

    /// Derives the addresses that have come into the window.
    fn extend_window(&mut self) -> Result<(), WalletError> {
        let end = |next: u32| next.saturating_add(GAP_LIMIT).min(MAX_ADDRESSES);
        let ends = (end(self.contents.next_receive), end(self.contents.next_change));
        let new = (self.window.0..ends.0)
            .map(|index| KeyPath { branch: Branch::Receive, index })
            .chain((self.window.1..ends.1).map(|index| KeyPath { branch: Branch::Change, index }));
        for key in new {
            self.owned.insert(self.address_at(key)?, key);
        }
        self.window = ends;
        Ok(())
    }
}

/// The keys behind a key file's contents.
fn account(contents: &Contents) -> Result<AccountKeys, WalletError> {
    let seed = Mnemonic::from_entropy(&contents.entropy)?.seed(&contents.bip39_passphrase)?;
    Ok(AccountKeys::from_seed(seed.as_bytes())?)
}
