//! Wallets: keys of everybody, and payments of every kind that a mempool must understand.

use std::collections::BTreeMap;

use chain::{
    address::Address,
    amount::Amount,
    genesis::Chain,
    ledger::Ledger,
    transaction::{OutPoint, Output, Transaction},
    utxo::Coin,
};
use wallet::{
    CoinState,
    build::{policy_of, sign},
    derivation::{Branch, ExtendedKey, KeyPath},
};

use super::{chance::Chance, disk::Disk, node::SimEngine, replay::Replay};

/// The lowest fee of a payment, in pebbles: what a mempool takes of one with a few outputs.
const MIN_FEE: u64 = 1_000;
/// Below this a coin is not worth spending, in pebbles.
const MIN_COIN: u64 = 100_000;

/// The keys of all wallets.
#[derive(Debug)]
pub(super) struct Purse {
    chain: Chain,
    keys: Vec<ExtendedKey>,
    addresses: Vec<Address>,
    by_address: BTreeMap<Address, usize>,
}

impl Purse {
    /// So many wallets, a key each.
    pub(super) fn new(chain: &Chain, count: usize) -> Self {
        let mut purse = Self {
            chain: chain.clone(),
            keys: Vec::new(),
            addresses: Vec::new(),
            by_address: BTreeMap::new(),
        };
        for number in 0..count {
            let Ok(key) = ExtendedKey::master(format!("simulated wallet {number:04}").as_bytes()) else {
                continue;
            };
            let address = Address::of_policy(&policy_of(key.public_key()));
            purse.by_address.insert(address, purse.addresses.len());
            purse.addresses.push(address);
            purse.keys.push(key);
        }
        purse
    }

    /// The address of a wallet.
    pub(super) fn address(&self, wallet: usize) -> Address {
        self.addresses.get(wallet).copied().unwrap_or_else(|| Address::from_bytes([0; 32]))
    }

    fn count(&self) -> usize {
        self.addresses.len()
    }

    /// A transaction that spends coins of a wallet, signed.
    pub(super) fn signed(
        &self,
        owner: usize,
        coins: &[(OutPoint, Amount)],
        outputs: Vec<Output>,
    ) -> Transaction {
        let Some(key) = self.keys.get(owner) else {
            return Transaction { inputs: Vec::new(), outputs, witnesses: Vec::new() };
        };
        let coin = |(outpoint, amount): &(OutPoint, Amount)| {
            let coin = wallet::Coin {
                outpoint: *outpoint,
                amount: *amount,
                address: self.addresses[owner],
                key: KeyPath { branch: Branch::Receive, index: 0 },
                height: None,
                coinbase: false,
                state: CoinState::Spendable,
            };
            (coin, key.signing_key())
        };
        sign(&self.chain.id(), &coins.iter().map(coin).collect::<Vec<_>>(), outputs)
    }

    /// A coin of somebody on a node's chain, and whose it is.
    pub(super) fn any_coin(
        &self,
        ledger: &Ledger<Disk>,
        chance: &mut Chance,
    ) -> Option<(OutPoint, Coin, usize)> {
        // The coinbase of a random block: mostly unspent, mostly mature.
        let tip = u64::from(ledger.tip().id.height.get());
        let height = u32::try_from(chance.between(1, tip.max(1))).ok()?;
        let id = ledger.active(chain::height::Height::new(height))?;
        let block = ledger.block(&ledger.tree().node(id).hash()).ok()??;
        let outpoint = OutPoint { txid: block.coinbase.txid(), index: 0 };
        let coin = ledger.coins(&[outpoint]).ok()?.pop()??;
        let owner = *self.by_address.get(coin.output.address()?)?;
        Some((outpoint, coin, owner))
    }

    /// A payment by a wallet that sees the world as a node does: mostly of a coin that is there, sometimes of one that
    /// waits itself, sometimes in place of a payment that waits, with a better fee.
    pub(super) fn payment(
        &self,
        owner: usize,
        engine: &SimEngine,
        replay: &Replay,
        chance: &mut Chance,
    ) -> Option<Transaction> {
        let address = self.address(owner);
        let mempool = engine.mempool();
        let wish = chance.below(10);
        let coin = if wish < 3 {
            // An output of a payment that waits.
            let waiting: Vec<(OutPoint, u64)> = mempool
                .of_address(&address)
                .flat_map(|entry| {
                    let txid = entry.transaction().txid();
                    let outputs = (0..).zip(&entry.transaction().transaction().outputs);
                    outputs.map(move |(index, output)| (OutPoint { txid, index }, output))
                })
                .filter(|(_, output)| output.address() == Some(&address))
                .map(|(outpoint, output)| (outpoint, output.amount.pebbles()))
                .collect();
            chance.pick(&waiting).copied().map(|(outpoint, pebbles)| (outpoint, pebbles, MIN_FEE))
        } else {
            let mature: Vec<(OutPoint, u64)> = replay
                .coins_of(&address)
                .filter_map(|outpoint| {
                    let coin = replay.coin(&outpoint)?;
                    replay.is_mature(coin).then_some((outpoint, coin.pebbles))
                })
                .collect();
            let (outpoint, pebbles) = chance.pick(&mature).copied()?;
            match mempool.spender(&outpoint).and_then(|txid| mempool.get(&txid)) {
                // It has to pay for its own relay, and for all that goes with what it replaces.
                Some(entry) if wish < 6 => {
                    let fee = entry.fee().pebbles().saturating_mul(2) + 20_000;
                    Some((outpoint, pebbles, fee))
                }
                Some(_) => None,
                None => Some((outpoint, pebbles, MIN_FEE)),
            }
        };
        let (outpoint, pebbles, least_fee) = coin.filter(|(_, pebbles, _)| *pebbles >= MIN_COIN)?;
        let fee = least_fee + chance.below(30_000);
        let ways = chance.between(1, 3);
        let share = pebbles.checked_sub(fee)? / ways;
        let outputs = (0..ways)
            .map(|_| Output::pay(self.address(chance.index(self.count())), Amount::from_pebbles(share)))
            .collect();
        (share >= MIN_FEE).then(|| self.signed(owner, &[(outpoint, Amount::from_pebbles(pebbles))], outputs))
    }
}
