//! What a node tells a wallet: its coins, its payments, the state of the chain.

use std::collections::{BTreeMap, HashMap, HashSet};

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
    methods::{Addresses, MAX_ADDRESSES, MAX_HISTORY_ENTRIES, Verbosity},
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

/// The newest transactions of the wallet.
pub struct History {
    /// The oldest first, those of the mempool last.
    pub events: Vec<Event>,
    /// What is older than these, where something is.
    pub older: Older,
}

/// What a history leaves out at its old end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Older {
    /// Nothing: the history is whole.
    None,
    /// There are older ones than were asked for.
    NotAsked,
    /// The node does not list all that the older ones did.
    NotListed,
}

/// Where a transaction stands in a history: by height, those of the mempool above all, then by time.
type Place = (u64, Time);

/// A transaction of the wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// The newest transactions of the wallet, at most `count`.
    ///
    /// # Errors
    /// When the node does not answer, or tells what cannot be.
    pub fn history(&self, wallet: &mut Wallet, count: u32) -> anyhow::Result<History> {
        self.rescan(wallet)?;
        // What one transaction did is known only when all of the wallet's addresses tell of it, so as much is
        // asked for as there can be.
        combine(self.events(wallet, MAX_HISTORY_ENTRIES)?, MAX_HISTORY_ENTRIES, count)
    }

    /// What happened at all addresses as of one tip, of each address at most `count`, the newest.
    fn events(&self, wallet: &Wallet, count: u32) -> anyhow::Result<Vec<AddressEventInfo>> {
        for _ in 0..MAX_TRIES {
            let mut answers = Vec::new();
            for addresses in batches(wallet) {
                let answer = self.client.getaddresshistory(addresses, Some(count), None).map_err(explain)?;
                answers.push(answer);
            }
            let tip = answers.first().map(|answer| answer.bestblock);
            if answers.iter().all(|answer| Some(answer.bestblock) == tip) {
                return Ok(answers.into_iter().flat_map(|answer| answer.history).collect());
            }
        }
        bail!("blocks come faster than the node can be asked about this wallet: try again")
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

fn place(height: Option<Height>, time: Time) -> Place {
    (height.map_or(u64::MAX, |height| u64::from(height.get())), time)
}

/// What transactions did, of what they did to single addresses: the newest `count` of them. An address with
/// `limit` entries may have older ones that were cut off, so that a transaction at or below the last of them
/// may have done more than is told of it: it is left out, since half of it would be a lie.
fn combine(told: Vec<AddressEventInfo>, limit: u32, count: u32) -> anyhow::Result<History> {
    let mut lists: HashMap<&str, (u32, Place)> = HashMap::new();
    for event in &told {
        let place = place(event.height, event.time);
        let (entries, oldest) = lists.entry(&event.address).or_insert((0, place));
        *entries = entries.saturating_add(1);
        *oldest = place.min(*oldest);
    }
    let cut_at = lists.values().filter(|(entries, _)| *entries >= limit).map(|(_, oldest)| *oldest).max();

    let mut events: BTreeMap<TxId, Event> = BTreeMap::new();
    for told in told {
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
    let whole = |event: &Event| cut_at.is_none_or(|cut| place(event.height, event.time) > cut);
    let mut events: Vec<Event> = events.into_values().filter(whole).collect();
    events.sort_by_key(|event| place(event.height, event.time));
    let surplus = events.len().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
    events.drain(..surplus);
    let older = match (surplus, cut_at) {
        (0, None) => Older::None,
        (0, Some(_)) => Older::NotListed,
        _ => Older::NotAsked,
    };
    Ok(History { events, older })
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

#[cfg(test)]
mod tests {
    use chain::amount::Amount;
    use rpc::types::Coins;

    use super::*;

    fn txid(number: u8) -> TxId {
        TxId::from_bytes([number; 32])
    }

    /// An entry of an address: `height` 0 is the mempool.
    fn entry(address: &str, id: u8, height: u32, received: u64, sent: u64) -> AddressEventInfo {
        let coins = |pebbles| Coins(Amount::from_pebbles(pebbles));
        let height = (height > 0).then(|| Height::new(height));
        AddressEventInfo {
            address: address.into(),
            txid: txid(id),
            height,
            blockhash: height.map(|_| BlockHash::ZERO),
            confirmations: u32::from(height.is_some()),
            time: Time::from_secs(u32::from(id)),
            coinbase: false,
            received: coins(received),
            sent: coins(sent),
        }
    }

    fn shown(told: &[AddressEventInfo], limit: u32, count: u32) -> (Vec<(TxId, u64, u64)>, Older) {
        let history = combine(told.to_vec(), limit, count).expect("small sums");
        let rows = history.events.iter().map(|event| (event.txid, event.received, event.sent));
        (rows.collect(), history.older)
    }

    /// Two payments by `a`, whose change goes to `b` and `c`.
    fn told() -> Vec<AddressEventInfo> {
        vec![
            entry("a", 3, 0, 0, 5),
            entry("a", 2, 7, 0, 9),
            entry("a", 1, 4, 14, 0),
            entry("b", 2, 7, 8, 0),
            entry("c", 3, 0, 4, 0),
        ]
    }

    #[test]
    fn a_transaction_is_one_row_however_many_addresses_it_touches() {
        let rows = [(txid(1), 14, 0), (txid(2), 8, 9), (txid(3), 4, 5)];
        assert_eq!(shown(&told(), 10, 10), (rows.to_vec(), Older::None));
        assert_eq!(shown(&told(), 10, 3), (rows.to_vec(), Older::None));
    }

    #[test]
    fn the_count_is_of_rows_and_the_newest_stay() {
        assert_eq!(shown(&told(), 10, 2), (vec![(txid(2), 8, 9), (txid(3), 4, 5)], Older::NotAsked));
        assert_eq!(shown(&told(), 10, 1), (vec![(txid(3), 4, 5)], Older::NotAsked));
    }

    #[test]
    fn what_may_be_told_by_half_is_not_shown() {
        // The list of `a` ends at height 7: the payment there might have spent more of its coins.
        let mut told = told();
        told.remove(2);
        assert_eq!(shown(&told, 2, 10), (vec![(txid(3), 4, 5)], Older::NotListed));
        // Cut above height 7 it is missing from `a` altogether, and is no payment received by `b`.
        told.remove(1);
        assert_eq!(shown(&told, 1, 10).0, []);
    }

    #[test]
    fn impossible_sums_are_an_error() {
        let told = vec![entry("a", 1, 4, u64::MAX, 0), entry("b", 1, 4, 1, 0)];
        assert!(combine(told, 10, 10).is_err());
    }
}
