//! The address index: what wallets and explorers ask. All addresses of one call are read at one tip.

use chain::{address::Address, amount::Amount, genesis::Chain, height::Height, ledger::BlockId};

use super::{Addresses, confirmations, parse_address};
use crate::{
    backend::{AddressCoin, Backend, View, ViewError},
    error::{RpcError, code},
    types::*,
};

/// The largest number of coins that `getaddressutxos` lists for one call.
pub const MAX_LISTED_COINS: usize = 100_000;

/// The largest number of entries that `getaddresshistory` lists for one address.
pub const MAX_HISTORY_ENTRIES: u32 = 1_000;

/// The number of entries that `getaddresshistory` lists for one address unless `count` says otherwise.
pub const DEFAULT_HISTORY_ENTRIES: u32 = 100;

/// The addresses without repetitions, so that nothing is counted twice.
fn parse(chain: &Chain, addresses: &Addresses) -> Result<Vec<Address>, RpcError> {
    let mut parsed =
        addresses.0.iter().map(|text| parse_address(chain, text)).collect::<Result<Vec<_>, _>>()?;
    let mut seen = std::collections::BTreeSet::new();
    parsed.retain(|address| seen.insert(*address));
    Ok(parsed)
}

/// Whether maturity lets a coin be spent in the next block.
fn is_mature(coin: &AddressCoin, tip: Height, maturity: u32) -> bool {
    // The next block's height less the coin's is the number of its confirmations.
    !coin.coinbase || coin.height.is_some_and(|height| confirmations(tip, height) >= maturity)
}

pub(super) async fn getaddressutxos<B: Backend>(
    backend: &B,
    addresses: Addresses,
) -> Result<AddressCoins, RpcError> {
    type Listed = (BlockId, bool, Vec<(Address, AddressCoin)>);
    fn list(view: &dyn View, addresses: &[Address]) -> Result<Listed, ViewError> {
        let mut listed = Vec::new();
        for address in addresses {
            // One more than fits tells whether the list is complete.
            let room = MAX_LISTED_COINS + 1 - listed.len();
            listed.extend(view.address_coins(address, room)?.into_iter().map(|coin| (*address, coin)));
            if listed.len() > MAX_LISTED_COINS {
                listed.truncate(MAX_LISTED_COINS);
                return Ok((view.tip().id, false, listed));
            }
        }
        Ok((view.tip().id, true, listed))
    }

    let chain = backend.chain();
    let wanted = parse(chain, &addresses)?;
    let (tip, complete, listed) = backend.read(move |view| list(view, &wanted)).await??;
    let maturity = chain.params().maturity_blocks;
    let utxos = listed.into_iter().map(|(address, coin)| AddressCoinInfo {
        address: address.encode(&chain.params().prefix),
        txid: coin.outpoint.txid,
        vout: coin.outpoint.index,
        amount: Coins(coin.amount),
        height: coin.height,
        confirmations: coin.height.map_or(0, |height| confirmations(tip.height, height)),
        coinbase: coin.coinbase,
        mature: is_mature(&coin, tip.height, maturity),
        spentby: coin.spent_by,
    });
    Ok(AddressCoins { height: tip.height, bestblock: tip.hash, complete, utxos: utxos.collect() })
}

/// The sums of a balance, in pebbles.
#[derive(Default)]
struct Sums {
    confirmed: u64,
    immature: u64,
    spending: u64,
    unconfirmed: u64,
    spendable: u64,
}

impl Sums {
    /// `None` when a sum overflows, which the supply's bound rules out.
    fn add(&mut self, coin: &AddressCoin, tip: Height, maturity: u32) -> Option<()> {
        let amount = coin.amount.pebbles();
        let add = |sum: &mut u64| {
            *sum = sum.checked_add(amount)?;
            Some(())
        };
        if coin.height.is_none() {
            return add(&mut self.unconfirmed);
        }
        add(&mut self.confirmed)?;
        if !is_mature(coin, tip, maturity) {
            add(&mut self.immature)
        } else if coin.spent_by.is_some() {
            add(&mut self.spending)
        } else {
            add(&mut self.spendable)
        }
    }
}

pub(super) async fn getaddressbalance<B: Backend>(
    backend: &B,
    addresses: Addresses,
) -> Result<AddressBalance, RpcError> {
    fn sum(view: &dyn View, addresses: &[Address], maturity: u32) -> Result<(BlockId, Sums), RpcError> {
        let tip = view.tip().id;
        let mut sums = Sums::default();
        for address in addresses {
            for coin in view.address_coins(address, usize::MAX)? {
                sums.add(&coin, tip.height, maturity)
                    .ok_or_else(|| RpcError::new(code::INTERNAL, "the sum of the coins overflows"))?;
            }
        }
        Ok((tip, sums))
    }

    let wanted = parse(backend.chain(), &addresses)?;
    let maturity = backend.chain().params().maturity_blocks;
    let (tip, sums) = backend.read(move |view| sum(view, &wanted, maturity)).await??;
    let coins = |pebbles| Coins(Amount::from_pebbles(pebbles));
    Ok(AddressBalance {
        height: tip.height,
        bestblock: tip.hash,
        confirmed: coins(sums.confirmed),
        immature: coins(sums.immature),
        spending: coins(sums.spending),
        unconfirmed: coins(sums.unconfirmed),
        spendable: coins(sums.spendable),
    })
}

pub(super) async fn getaddresshistory<B: Backend>(
    backend: &B,
    addresses: Addresses,
    count: Option<u32>,
    skip: Option<u32>,
) -> Result<AddressHistory, RpcError> {
    let chain = backend.chain();
    let wanted = parse(chain, &addresses)?;
    let count = count.unwrap_or(DEFAULT_HISTORY_ENTRIES);
    if count > MAX_HISTORY_ENTRIES {
        let message = format!("count: at most {MAX_HISTORY_ENTRIES}; ask for the next ones with skip");
        return Err(RpcError::invalid_parameter(message));
    }
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let (limit, skip) = (size(count), size(skip.unwrap_or(0)));
    let (tip, events) = backend
        .read(move |view| {
            let mut events = Vec::new();
            for address in &wanted {
                let found = view.address_history(address, skip, limit)?;
                events.extend(found.into_iter().map(|event| (*address, event)));
            }
            Ok::<_, ViewError>((view.tip().id, events))
        })
        .await??;
    let history = events.into_iter().map(|(address, event)| AddressEventInfo {
        address: address.encode(&chain.params().prefix),
        txid: event.txid,
        height: event.block.map(|block| block.height),
        blockhash: event.block.map(|block| block.hash),
        confirmations: event.block.map_or(0, |block| confirmations(tip.height, block.height)),
        time: event.time,
        coinbase: event.coinbase,
        received: Coins(event.received),
        sent: Coins(event.sent),
    });
    Ok(AddressHistory { height: tip.height, bestblock: tip.hash, history: history.collect() })
}
