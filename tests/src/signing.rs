//! Payments signed with a wallet's file and not sent, so that a story can send two of one coin at the same moment.

use std::path::Path;

use chain::{
    amount::Amount,
    transaction::{OutPoint, Transaction},
};
use rpc::{client::Client, methods::Addresses, types::AddressCoinInfo};
use wallet::{FeeRate, FoundCoin, Payment, SendRequest, Wallet};

/// The mature coins of the wallet in `file`, whose passphrase is empty, that nobody is spending.
///
/// # Panics
/// Where the file or the node's answer is of no use.
#[must_use]
#[track_caller]
pub fn spendable_coins(file: &Path, node: &Client) -> Vec<AddressCoinInfo> {
    let wallet = Wallet::open(file, "").expect("the wallet opens without a passphrase");
    let addresses = wallet.addresses().iter().map(|(_, address)| wallet.encode(address)).collect();
    let listed = node.getaddressutxos(Addresses(addresses)).expect("the node answers");
    listed.utxos.into_iter().filter(|coin| coin.mature && coin.spentby.is_none()).collect()
}

/// A payment of exactly this coin, signed and not sent.
///
/// # Panics
/// Where the wallet does not sign.
#[must_use]
#[track_caller]
pub fn sign(file: &Path, node: &Client, coin: &AddressCoinInfo, to: &str, amount: Amount) -> Transaction {
    let mut wallet = Wallet::open(file, "").expect("the wallet opens without a passphrase");
    let info = node.getblockchaininfo().expect("the node answers");
    let found = FoundCoin {
        outpoint: OutPoint { txid: coin.txid, index: coin.vout },
        amount: coin.amount.0,
        address: wallet.decode(&coin.address).expect("a node writes addresses of its chain"),
        height: coin.height,
        coinbase: coin.coinbase,
    };
    let coins = wallet.coins(&[found], info.blocks, info.maturity).expect("the coin is the wallet's");
    let to = wallet.decode(to).expect("the address is one of this chain");
    let request = SendRequest { payments: vec![Payment { to, amount }], fee_rate: FeeRate::DEFAULT };
    let plan = wallet.plan_exactly(&request, &coins).expect("the coin is worth more than is paid");
    wallet.sign(&plan).expect("the wallet signs")
}
