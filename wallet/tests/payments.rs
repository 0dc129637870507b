//! Whole wallets: addresses that are kept, payments that the chain's own rules accept.

use std::{
    fs,
    path::PathBuf,
    sync::{LazyLock, Mutex},
};

use chain::{
    address::Address,
    amount::Amount,
    check::CheckedTransaction,
    genesis::Chain,
    hash::{BlockHash, TxId},
    height::Height,
    params::Params,
    signature::{Claim, signature_message},
    transaction::{OutPoint, Output, Transaction},
};
use proptest::prelude::*;
use wallet::{
    Branch, Coin, FeeRate, FoundCoin, GAP_LIMIT, KdfCost, KeyFileError, KeyPath, Mnemonic, NewWallet,
    Payment, SelectionError, SendRequest, Wallet, WalletChain, WalletError,
};

const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";

static CHAIN: LazyLock<Chain> =
    LazyLock::new(|| Chain::mine(Params::dev()).expect("the development chain has an easy target"));

struct Home {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn home() -> Home {
    let folder = tempfile::tempdir().expect("the system has a folder for temporary files");
    let path = folder.path().join("alice.wallet");
    Home { _folder: folder, path }
}

fn wallet_chain() -> WalletChain {
    WalletChain { id: CHAIN.id(), prefix: CHAIN.params().prefix.clone() }
}

fn create(home: &Home, words: &str, bip39_passphrase: &str) -> Wallet {
    let mnemonic = Mnemonic::from_words(words).expect("words");
    let new = NewWallet {
        mnemonic: &mnemonic,
        bip39_passphrase,
        passphrase: "",
        chain: wallet_chain(),
        cost: KdfCost::LIGHT,
    };
    Wallet::create(&home.path, &new).expect("a new file")
}

fn open(home: &Home) -> Wallet {
    Wallet::open(&home.path, "").expect("the empty passphrase")
}

fn found(number: u32, address: Address, pebbles: u64) -> FoundCoin {
    FoundCoin {
        outpoint: OutPoint { txid: TxId::from_bytes([9; 32]), index: number },
        amount: Amount::from_pebbles(pebbles),
        address,
        height: Some(Height::new(5)),
        coinbase: false,
    }
}

fn coins(wallet: &Wallet, found: &[FoundCoin]) -> Vec<Coin> {
    wallet.coins(found, Height::new(100), 10).expect("ours")
}

fn pay(address: Address, pebbles: u64) -> SendRequest {
    let payments = vec![Payment { to: address, amount: Amount::from_pebbles(pebbles) }];
    SendRequest { payments, fee_rate: FeeRate::DEFAULT }
}

fn stranger() -> Address {
    Address::from_bytes([0xee; 32])
}

/// Holds a signed payment against the chain's own rules: isolated ones, policies, and signatures as blocks
/// verify them (ZIP-215). Returns its size.
fn verify(transaction: &Transaction, spent: &[Output], genesis: &BlockHash) -> Result<u64, String> {
    let bytes = transaction.to_bytes();
    let decoded = Transaction::from_bytes(&bytes).map_err(|error| error.to_string())?;
    let checked = CheckedTransaction::check(decoded, &CHAIN).map_err(|error| error.to_string())?;
    let message = signature_message(genesis, &transaction.id_preimage(), spent);
    for ((witness, output), demands) in transaction.witnesses.iter().zip(spent).zip(checked.demands()) {
        if output.address() != Some(&Address::of_policy(&witness.policy)) {
            return Err("the policy is not the address's".to_owned());
        }
        let [(key, signature)] = demands.signatures[..] else {
            return Err("not one signature".to_owned());
        };
        if !(Claim { key, signature, message }).holds() {
            return Err("a signature does not hold".to_owned());
        }
    }
    Ok(u64::from(checked.size()))
}

fn spent(coins: &[Coin]) -> Vec<Output> {
    coins.iter().map(Coin::output).collect()
}

#[test]
fn w05_the_words_restore_the_wallet() {
    let (first, second) = (home(), home());
    let mut original = create(&first, WORDS, "");
    // Forty payments to addresses that were given out one after the other, and one payment made.
    let given: Vec<Address> = (0..40).map(|_| original.new_address().expect("saved")).collect();
    assert_eq!(original.addresses_given_out(), 40);
    let mut restored = create(&second, WORDS, "");
    let mut rounds = 1;
    while restored.note_used(&given).expect("saved") {
        rounds += 1;
    }
    assert_eq!(restored.addresses_given_out(), 40);
    assert_eq!(restored.addresses(), original.addresses());
    assert_eq!(rounds, 3, "twenty addresses a round, and one round that finds nothing new");
    assert!(!restored.note_used(&given).expect("nothing to save"));
    assert_eq!(open(&second).addresses_given_out(), 40);
}

#[test]
fn every_address_is_given_out_once_and_kept() {
    let home = home();
    let mut wallet = create(&home, WORDS, "");
    assert_eq!(wallet.addresses().len(), 2 * usize::try_from(GAP_LIMIT).expect("small"));
    let first = wallet.latest_address().expect("saved");
    assert_eq!(wallet.latest_address().expect("known"), first);
    assert_eq!(first, wallet.address(0).expect("in range"));
    drop(wallet);
    let mut wallet = open(&home);
    assert_eq!(wallet.latest_address().expect("known"), first);
    let second = wallet.new_address().expect("saved");
    assert_ne!(first, second);
    assert_eq!(wallet.key_of(&second), Some(KeyPath { branch: Branch::Receive, index: 1 }));
    assert_eq!(open(&home).latest_address().expect("known"), second);
    assert!(matches!(wallet.address(u32::MAX), Err(WalletError::NoMoreAddresses)));
}

#[test]
fn a_bip39_passphrase_makes_another_wallet_and_is_kept() {
    let (plain, hidden) = (home(), home());
    let address = create(&plain, WORDS, "").address(0).expect("in range");
    let other = create(&hidden, WORDS, "TREZOR").address(0).expect("in range");
    assert_ne!(address, other);
    assert_eq!(open(&hidden).address(0).expect("in range"), other);
}

/// The addresses of these words must never change: they are people's backups.
#[test]
fn the_first_addresses_of_known_words_are_these() {
    let home = home();
    let wallet = create(&home, WORDS, "");
    let change = wallet.addresses()[usize::try_from(GAP_LIMIT).expect("small")];
    assert_eq!(change.0, KeyPath { branch: Branch::Change, index: 0 });
    let hex = |address: Address| const_hex::encode(address.as_bytes());
    assert_eq!(hex(wallet.address(0).expect("in range")), RECEIVE_0);
    assert_eq!(hex(wallet.address(1).expect("in range")), RECEIVE_1);
    assert_eq!(hex(change.1), CHANGE_0);
}

// Computed by an independent program: PBKDF2, HMAC-SHA512, ed25519, then the tagged hash of `00 | key`.
const RECEIVE_0: &str = "76fb45f72b5d2f5534cb32ab72b06ae4ab76986e2e5b2352d2543b058118186c";
const RECEIVE_1: &str = "2cbaf73baa0a9cd2e3f737c35b19e5a9259d7005d140d28a51ffd20f5b85e9bb";
const CHANGE_0: &str = "eb6e1b2bdf73e0866073f11be809490f1d1d46712df9c224a9ab9ce229503fce";

#[test]
fn a_payment_is_signed_as_the_chain_wants_it() {
    let home = home();
    let mut wallet = create(&home, WORDS, "");
    let address = wallet.new_address().expect("saved");
    let coins = coins(&wallet, &[found(0, address, 5_000_000), found(1, address, 7_000_000)]);
    let plan = wallet.plan(&pay(stranger(), 11_000_000), &coins).expect("enough");
    let change = *plan.change().expect("a million is no dust");
    assert_eq!(plan.outputs().last(), Some(&Output::pay(change.address, change.amount)));
    let transaction = wallet.sign(&plan).expect("our coins");
    let spent = spent(plan.inputs());
    assert_eq!(verify(&transaction, &spent, &CHAIN.id()), Ok(plan.size_bytes()));
    // C28: worth nothing on another chain. And nothing when a node lied about an amount.
    assert!(verify(&transaction, &spent, &BlockHash::ZERO).is_err());
    let mut lie = spent;
    lie[1].amount = Amount::from_pebbles(70_000_000);
    assert!(verify(&transaction, &lie, &CHAIN.id()).is_err());
    // The change is ours, and its address is not used a second time, not even after a restart.
    assert_eq!(wallet.key_of(&change.address), Some(change.key));
    let again = open(&home).plan(&pay(stranger(), 1_000_000), &coins).expect("enough");
    assert_eq!(again.change().expect("not dust").key.index, change.key.index + 1);
}

#[test]
fn a_coin_that_is_named_is_signed_for_twice() {
    let home = home();
    let mut wallet = create(&home, WORDS, "");
    let address = wallet.new_address().expect("saved");
    // Spent already, so that the node knows no height: nothing here asks.
    let spent_already = FoundCoin { height: None, ..found(0, address, 5_000_000) };
    let coin = coins(&wallet, &[spent_already]);
    assert!(!coin[0].is_spendable());
    assert!(wallet.plan(&pay(stranger(), 1_000_000), &coin).is_err());
    let mut sign = |to: Address| {
        let plan = wallet.plan_exactly(&pay(to, 1_000_000), &coin).expect("enough");
        let transaction = wallet.sign(&plan).expect("our coin");
        assert_eq!(verify(&transaction, &spent(&coin), &CHAIN.id()), Ok(plan.size_bytes()));
        transaction
    };
    let (first, second) = (sign(stranger()), sign(address));
    assert_eq!(first.inputs, second.inputs);
    assert_ne!(first.txid(), second.txid());
}

#[test]
fn what_is_not_ours_is_refused() {
    let (ours, theirs) = (home(), home());
    let mut wallet = create(&ours, WORDS, "");
    let refused = wallet.coins(&[found(0, stranger(), 5)], Height::ZERO, 10);
    assert!(matches!(refused, Err(WalletError::NotOurs(_))));
    let other = create(&theirs, WORDS, "other");
    let coin = coins(&other, &[found(0, other.address(0).expect("in range"), 5_000_000)]);
    let plan = other.plan(&pay(stranger(), 1_000_000), &coin).expect("enough");
    assert!(matches!(wallet.sign(&plan), Err(WalletError::NotOurs(_))));
    assert!(wallet.check_chain(CHAIN.id()).is_ok());
    assert!(matches!(wallet.check_chain(BlockHash::ZERO), Err(WalletError::OtherChain { .. })));
    let text = wallet.encode(&stranger());
    assert_eq!(wallet.decode(&text), Ok(stranger()));
    assert!(wallet.decode(&stranger().encode("other")).is_err());
}

#[test]
fn a_counter_that_cannot_be_saved_gives_out_nothing() {
    let home = home();
    let mut wallet = create(&home, WORDS, "");
    let coin = coins(&wallet, &[found(0, wallet.address(0).expect("in range"), 5_000_000)]);
    let plan = wallet.plan(&pay(stranger(), 1_000_000), &coin).expect("enough");
    fs::remove_file(&home.path).expect("there");
    assert!(matches!(wallet.new_address(), Err(WalletError::KeyFile(KeyFileError::Io { .. }))));
    assert_eq!(wallet.addresses_given_out(), 0);
    assert!(matches!(wallet.sign(&plan), Err(WalletError::KeyFile(KeyFileError::Io { .. }))));
}

#[test]
fn a_file_that_exists_stays_and_a_refused_passphrase_leaves_none() {
    let home = home();
    let mnemonic = Mnemonic::from_words(WORDS).expect("words");
    let long = "p".repeat(10_000);
    let mut new = NewWallet {
        mnemonic: &mnemonic,
        bip39_passphrase: &long,
        passphrase: "",
        chain: wallet_chain(),
        cost: KdfCost::LIGHT,
    };
    assert!(matches!(Wallet::create(&home.path, &new), Err(WalletError::Seed(_))));
    assert!(!home.path.exists());
    new.bip39_passphrase = "";
    drop(Wallet::create(&home.path, &new).expect("a new file"));
    let before = fs::read(&home.path).expect("there");
    let again = Wallet::create(&home.path, &new);
    assert!(matches!(again, Err(WalletError::KeyFile(KeyFileError::Exists(_)))));
    assert_eq!(fs::read(&home.path).expect("there"), before);
}

#[test]
fn w06_debug_shows_no_secret() {
    let home = home();
    let wallet = create(&home, WORDS, "secret passphrase");
    let entropy = Mnemonic::from_words(WORDS).expect("words").entropy();
    let text = format!("{wallet:?}");
    assert!(!text.contains("secret passphrase") && !text.contains("legal"));
    assert!(!text.contains(&const_hex::encode(&*entropy)) && !text.contains(&format!("{:?}", &entropy[..])));
}

/// One wallet for all cases of the property: it is only asked to plan and sign.
static SHARED: LazyLock<(Home, Mutex<Wallet>)> = LazyLock::new(|| {
    let home = home();
    let wallet = Mutex::new(create(&home, WORDS, ""));
    (home, wallet)
});

proptest! {
    #[test]
    fn w09_payments_balance_and_have_the_size_that_was_planned(
        amounts in prop::collection::vec((1u64..5_000_000, 0usize..40), 1..20),
        payments in prop::collection::vec((1u64..10_000_000, any::<[u8; 32]>()), 1..5),
        rate in 0u64..50_000,
        named in any::<bool>(),
    ) {
        let mut wallet = SHARED.1.lock().expect("no test panicked while it held the wallet");
        let addresses = wallet.addresses();
        let found: Vec<FoundCoin> = (0..)
            .zip(&amounts)
            .map(|(number, (pebbles, place))| found(number, addresses[*place].1, *pebbles))
            .collect();
        let coins = coins(&wallet, &found);
        let payments: Vec<Payment> = payments
            .iter()
            .map(|(pebbles, to)| Payment {
                to: Address::from_bytes(*to),
                amount: Amount::from_pebbles(*pebbles),
            })
            .collect();
        let request = SendRequest { payments, fee_rate: FeeRate::from_pebbles_per_kb(rate) };
        let planned =
            if named { wallet.plan_exactly(&request, &coins) } else { wallet.plan(&request, &coins) };
        let plan = match planned {
            Ok(plan) => plan,
            Err(WalletError::Selection(SelectionError::InsufficientFunds { needed, available, .. })) => {
                prop_assert!(available < needed);
                return Ok(());
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        };
        let transaction = wallet.sign(&plan).expect("our coins, and a folder to save in");
        let spent = spent(plan.inputs());
        let sum = |outputs: &[Output]| outputs.iter().map(|output| output.amount.pebbles()).sum::<u64>();
        prop_assert_eq!(sum(&spent), sum(&transaction.outputs) + plan.fee().pebbles());
        prop_assert_eq!(verify(&transaction, &spent, &CHAIN.id()), Ok(plan.size_bytes()));
        let least = request.fee_rate.fee(plan.size_bytes()).expect("small");
        prop_assert!(plan.fee() >= least);
        prop_assert!(plan.change().is_none() || plan.fee() == least);
        let paid: Vec<Output> =
            request.payments.iter().map(|payment| Output::pay(payment.to, payment.amount)).collect();
        prop_assert_eq!(&transaction.outputs[..paid.len()], &paid[..]);
        if named {
            prop_assert_eq!(transaction.inputs.len(), coins.len());
        }
    }
}
