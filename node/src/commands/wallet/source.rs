//! What a node tells a wallet: its coins, its payments, the state of the chain.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, bail};
use chain::{
    address::Address,
    hash::{BlockHash, TxId},
    height::Height,
    time::Time,
    transaction::{OutPoint, Transaction},
};
use rpc::{
    client::{Client, ClientError},
    methods::{Addresses, MAX_ADDRESSES, Verbosity},
    types::{AddressCoins, AddressEventInfo, OneOf, OutputTarget},
};
use wallet::{Coin, FeeRate, FoundCoin, Wallet};

use super::super::explain;

/// How often a node is asked again whose tip moves between two answers that belong together.
const MAX_TRIES: u32 = 10;
/// The node's word for something named by a hash that it does not know.
const NOT_FOUND: i64 = rpc::error::code::INVALID_ADDRESS_OR_KEY;

/// A node that runs the wallet's chain.
pub struct Source {
    client: Client,
    maturity_blocks: u32,
}

/// A coin as the node lists it, and the transaction of the mempool that spends it.
type Listed = (FoundCoin, Option<TxId>);

/// What the node found at the wallet's addresses.
pub struct Found {
    /// The coins that nothing in the mempool spends.
    pub coins: Vec<Coin>,
    /// Those that a transaction of the mempool spends, with its id.
    pub spending: Vec<(Coin, TxId)>,
}

/// A transaction of the wallet.
pub struct Event {
    /// Its id.
    pub txid: TxId,
    /// Its block's height; nothing while it is in the mempool.
    pub height: Option<Height>,
    /// Its block; nothing while it is in the mempool.
    pub block: Option<BlockHash>,
    /// How many blocks confirm it.
    pub confirmations: u32,
    /// When it was made, or came into the mempool.
    pub time: Time,
    /// Whether it is a coinbase.
    pub coinbase: bool,
    /// What came to the wallet's addresses, in pebbles; change is part of it.
    pub received: u64,
    /// What left them, in pebbles.
    pub sent: u64,
}

impl Source {
    /// Makes sure that the node runs the wallet's chain.
    ///
    /// # Errors
    /// When it does not, or does not answer.
    pub fn connect(client: Client, wallet: &Wallet) -> anyhow::Result<Self> {
        wallet.check_chain(client.getblockhash(Height::ZERO).map_err(explain)?)?;
        let maturity_blocks = client.getblockchaininfo().map_err(explain)?.maturity;
        Ok(Self { client, maturity_blocks })
    }

    /// The wallet's coins. Learns which of its addresses are used on the way.
    ///
    /// # Errors
    /// When the node does not answer, or tells what cannot be.
    pub fn coins(&self, wallet: &mut Wallet) -> anyhow::Result<Found> {
        loop {
            let (tip, found) = self.list(wallet)?;
            if wallet.note_used(found.iter().map(|(coin, _)| &coin.address))? {
                continue;
            }
            let (unspent, spent): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, by)| by.is_none());
            let judge = |listed: &[Listed]| {
                let coins: Vec<_> = listed.iter().map(|(coin, _)| *coin).collect();
                wallet.coins(&coins, tip, self.maturity_blocks)
            };
            let spenders = spent.iter().filter_map(|(_, by)| *by);
            return Ok(Found {
                coins: judge(&unspent)?,
                spending: judge(&spent)?.into_iter().zip(spenders).collect(),
            });
        }
    }

    /// All coins at the wallet's addresses as of one tip.
    fn list(&self, wallet: &Wallet) -> anyhow::Result<(Height, Vec<Listed>)> {
        for _ in 0..MAX_TRIES {
            let mut answers = Vec::new();
            for addresses in batches(wallet) {
                answers.push(self.client.getaddressutxos(addresses).map_err(explain)?);
            }
            let tip = answers.first().map(|answer| (answer.height, answer.bestblock));
            if answers.iter().any(|answer| Some((answer.height, answer.bestblock)) != tip) {
                continue;
            }
            let height = tip.map_or(Height::ZERO, |(height, _)| height);
            let mut seen = HashSet::new();
            let mut listed = Vec::new();
            for AddressCoins { complete, utxos, .. } in answers {
                if !complete {
                    bail!(
                        "the node has more coins of this wallet than it lists in one answer: name some with \
                         --coins and send them to yourself in one payment"
                    );
                }
                for coin in utxos {
                    let outpoint = OutPoint { txid: coin.txid, index: coin.vout };
                    if !seen.insert(outpoint) {
                        bail!("the node lists the coin {outpoint} twice: use another node");
                    }
                    let found = FoundCoin {
                        outpoint,
                        amount: coin.amount.0,
                        address: wallet.decode(&coin.address)?,
                        height: coin.height,
                        coinbase: coin.coinbase,
                    };
                    listed.push((found, coin.spentby));
                }
            }
            return Ok((height, listed));
        }
        bail!("blocks come faster than the node can be asked about this wallet: try again")
    }

    /// Lets the wallet find its used addresses, after a restore.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn rescan(&self, wallet: &mut Wallet) -> anyhow::Result<()> {
        loop {
            let events = self.events(wallet, 1)?;
            let used: Vec<Address> =
                events.iter().map(|event| wallet.decode(&event.address)).collect::<Result<_, _>>()?;
            if !wallet.note_used(&used)? {
                return Ok(());
            }
        }
    }

    /// The transactions of the wallet, the oldest first, those of the mempool last; of each address at most
    /// `count`, the newest.
    ///
    /// # Errors
    /// When the node does not answer, or tells what cannot be.
    pub fn history(&self, wallet: &mut Wallet, count: u32) -> anyhow::Result<Vec<Event>> {
        self.rescan(wallet)?;
        let mut events: BTreeMap<TxId, Event> = BTreeMap::new();
        for told in self.events(wallet, count)? {
            let event = events.entry(told.txid).or_insert_with(|| Event {
                txid: told.txid,
                height: told.height,
                block: told.blockhash,
                confirmations: told.confirmations,
                time: told.time,
                coinbase: told.coinbase,
                received: 0,
                sent: 0,
            });
            let sum = |one: u64, other: u64| {
                one.checked_add(other).context("the node tells of more coins than can exist: use another one")
            };
            event.received = sum(event.received, told.received.0.pebbles())?;
            event.sent = sum(event.sent, told.sent.0.pebbles())?;
        }
        let mut events: Vec<Event> = events.into_values().collect();
        events.sort_by_key(|event| {
            (event.height.map_or(u64::MAX, |height| u64::from(height.get())), event.time)
        });
        Ok(events)
    }

    fn events(&self, wallet: &Wallet, count: u32) -> anyhow::Result<Vec<AddressEventInfo>> {
        let mut events = Vec::new();
        for addresses in batches(wallet) {
            let answer = self.client.getaddresshistory(addresses, Some(count), None).map_err(explain)?;
            events.extend(answer.history);
        }
        Ok(events)
    }

    /// Coins by name, spent or not, as the node knows them.
    ///
    /// # Errors
    /// When the node knows no such output, or it pays no address of the wallet.
    pub fn named(&self, wallet: &Wallet, outpoints: &[OutPoint]) -> anyhow::Result<Vec<Coin>> {
        let tip = self.client.getblockcount().map_err(explain)?;
        let found = outpoints.iter().map(|outpoint| self.output(wallet, *outpoint, tip));
        let found: Vec<FoundCoin> = found.collect::<Result<_, _>>()?;
        Ok(wallet.coins(&found, tip, self.maturity_blocks)?)
    }

    fn output(&self, wallet: &Wallet, outpoint: OutPoint, tip: Height) -> anyhow::Result<FoundCoin> {
        let height_of = |confirmations: i64| {
            let above = u32::try_from(confirmations.checked_sub(1)?).ok()?;
            tip.get().checked_sub(above).map(Height::new)
        };
        // Without the mempool: a coin that a waiting transaction spends is still a coin of the chain.
        let OutPoint { txid, index } = outpoint;
        if let Some(coin) = self.client.gettxout(txid, index, Some(false)).map_err(explain)? {
            return Ok(FoundCoin {
                outpoint,
                amount: coin.value.0,
                address: own(wallet, outpoint, &coin.target)?,
                height: height_of(coin.confirmations),
                coinbase: coin.coinbase,
            });
        }
        let transaction = match self.client.getrawtransaction(txid, Some(Verbosity(1)), None) {
            Ok(OneOf::Long(transaction)) => transaction,
            Ok(OneOf::Short(_)) => {
                bail!("the node answers with bytes where an object was asked for: update it")
            }
            Err(error) if error.code() == Some(NOT_FOUND) => bail!(
                "the node knows no transaction {txid}, so the coin {outpoint} cannot be spent: check its name, \
                 or wait until it arrives"
            ),
            Err(error) => return Err(explain(error)),
        };
        let position = usize::try_from(index).ok();
        let output = position.and_then(|position| transaction.vout.get(position)).with_context(|| {
            let count = transaction.vout.len();
            format!("there is no coin {outpoint}: that transaction has {count} outputs, counted from 0")
        })?;
        Ok(FoundCoin {
            outpoint,
            amount: output.value.0,
            address: own(wallet, outpoint, &output.target)?,
            height: transaction.confirmations.and_then(height_of),
            coinbase: transaction.vin.first().is_some_and(|input| input.coinbase.is_some()),
        })
    }

    /// The fee rate that a payment should offer: the wallet's own, or what the node's mempool asks for now.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn fee_rate(&self) -> anyhow::Result<FeeRate> {
        let asked = self.client.getmempoolinfo().map_err(explain)?.mempoolminfee.0;
        Ok(FeeRate::from_pebbles_per_kb(asked.pebbles()).max(FeeRate::DEFAULT))
    }

    /// Offers a transaction to the network.
    ///
    /// # Errors
    /// The node's refusal.
    pub fn send(&self, transaction: &Transaction) -> Result<TxId, ClientError> {
        self.client.sendrawtransaction(const_hex::encode(transaction.to_bytes()), None)
    }
}

/// The address of an output, if it pays one of the wallet's chain.
fn own(wallet: &Wallet, outpoint: OutPoint, target: &OutputTarget) -> anyhow::Result<Address> {
    let address = target.address.as_ref().with_context(|| {
        format!("{outpoint} is data and no coin, so it cannot be spent: name another one")
    })?;
    Ok(wallet.decode(address)?)
}

/// The wallet's addresses, as many at a time as a node takes.
fn batches(wallet: &Wallet) -> Vec<Addresses> {
    let all: Vec<String> = wallet.addresses().iter().map(|(_, address)| wallet.encode(address)).collect();
    all.chunks(MAX_ADDRESSES).map(|some| Addresses(some.to_vec())).collect()
}
