//! The address index: what wallets and explorers ask. All addresses of one call are read at one tip.

use chain::{address::Address, amount::Amount, genesis::Chain, height::Height, ledger::BlockId};

use super::{Addresses, confirmations, parse_address};
use crate::{
    backend::{AddressBalance as Balance, AddressCoin, Backend, IndexView, View, ViewError},
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
    fn list(view: &dyn View, index: &dyn IndexView, addresses: &[Address]) -> Result<Listed, ViewError> {
        let mut listed = Vec::new();
        for address in addresses {
            // One more than fits tells whether the list is complete.
            let room = MAX_LISTED_COINS + 1 - listed.len();
            listed.extend(index.address_coins(address, room)?.into_iter().map(|coin| (*address, coin)));
            if listed.len() > MAX_LISTED_COINS {
                listed.truncate(MAX_LISTED_COINS);
                return Ok((view.tip().id, false, listed));
            }
        }
        Ok((view.tip().id, true, listed))
    }

    let chain = backend.chain();
    let wanted = parse(chain, &addresses)?;
    let (tip, complete, listed) =
        backend.read_indexed(move |view, index| list(view, index, &wanted)).await??;
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

pub(super) async fn getaddressbalance<B: Backend>(
    backend: &B,
    addresses: Addresses,
) -> Result<AddressBalance, RpcError> {
    fn overflow() -> RpcError {
        RpcError::new(code::INTERNAL, "the sum of the coins overflows")
    }
    fn sum(
        view: &dyn View,
        index: &dyn IndexView,
        addresses: &[Address],
    ) -> Result<(BlockId, Balance), RpcError> {
        let mut sums = Balance::default();
        for address in addresses {
            let found = index.address_balance(address)?;
            let add = |sum: Amount, amount| sum.checked_add(amount).ok_or_else(overflow);
            sums = Balance {
                immature: add(sums.immature, found.immature)?,
                spending: add(sums.spending, found.spending)?,
                spendable: add(sums.spendable, found.spendable)?,
                unconfirmed: add(sums.unconfirmed, found.unconfirmed)?,
            };
        }
        Ok((view.tip().id, sums))
    }

    let wanted = parse(backend.chain(), &addresses)?;
    let (tip, sums) = backend.read_indexed(move |view, index| sum(view, index, &wanted)).await??;
    Ok(AddressBalance {
        height: tip.height,
        bestblock: tip.hash,
        confirmed: Coins(sums.confirmed().ok_or_else(overflow)?),
        immature: Coins(sums.immature),
        spending: Coins(sums.spending),
        unconfirmed: Coins(sums.unconfirmed),
        spendable: Coins(sums.spendable),
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
        .read_indexed(move |view, index| {
            let mut events = Vec::new();
            for address in &wanted {
                let found = index.address_history(address, skip, limit)?;
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
