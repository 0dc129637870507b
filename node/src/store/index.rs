//! The indexes over the active chain: where each transaction is, what touched each address, which coins it
//! has. They move with the tip, and every key belongs to one block alone, so that disconnecting a block
//! leaves exactly what was there before.

use std::collections::{BTreeMap, HashMap};

use chain::{
    address::Address,
    amount::Amount,
    block::Block,
    check::CheckedBlock,
    hash::TxId,
    height::Height,
    store::StoreError,
    transaction::{OutPoint, Output},
    utxo::{Coin, Undo},
};

use super::{
    codec::{Place, Touch, write_place, write_touch},
    database::Batch,
    fault::Fault,
    schema::{Family, address_coin_key, history_key},
};

/// A transaction or coinbase, as far as the indexes care.
struct Entry<'a> {
    txid: TxId,
    inputs: &'a [OutPoint],
    outputs: &'a [Output],
}

/// What the indexes say about one block.
pub(super) struct BlockIndex {
    height: Height,
    txids: Vec<TxId>,
    /// By address and position.
    touches: BTreeMap<(Address, u32), Touch>,
}

impl BlockIndex {
    /// Of a block that is to be connected.
    pub(super) fn of_checked(block: &CheckedBlock, spent: &Undo) -> Result<Self, StoreError> {
        let coinbase = block.coinbase();
        let mut entries =
            vec![Entry { txid: block.coinbase_txid(), inputs: &[], outputs: &coinbase.outputs }];
        entries.extend(block.transactions().iter().map(|checked| {
            let transaction = checked.transaction();
            Entry { txid: checked.txid(), inputs: &transaction.inputs, outputs: &transaction.outputs }
        }));
        Self::of_entries(coinbase.height, &entries, spent)
    }

    /// Of a block that is to be disconnected.
    pub(super) fn of_block(block: &Block, spent: &Undo) -> Result<Self, StoreError> {
        let coinbase = &block.coinbase;
        let mut entries = vec![Entry { txid: coinbase.txid(), inputs: &[], outputs: &coinbase.outputs }];
        entries.extend(block.transactions.iter().map(|transaction| Entry {
            txid: transaction.txid(),
            inputs: &transaction.inputs,
            outputs: &transaction.outputs,
        }));
        Self::of_entries(coinbase.height, &entries, spent)
    }

    fn of_entries(height: Height, entries: &[Entry<'_>], spent: &Undo) -> Result<Self, StoreError> {
        let mut coins: HashMap<OutPoint, (Address, Amount)> = HashMap::new();
        let remember = |coins: &mut HashMap<_, _>, outpoint: OutPoint, output: &Output| {
            if let Some(address) = output.address() {
                coins.insert(outpoint, (*address, output.amount));
            }
        };
        for (outpoint, coin) in spent {
            remember(&mut coins, *outpoint, &coin.output);
        }
        let mut touches = BTreeMap::new();
        for (position, entry) in (0..).zip(entries) {
            for input in entry.inputs {
                let (address, amount) = coins.remove(input).ok_or_else(|| {
                    Fault::damaged(format!("the undo data of height {height}"), format!("it lacks {input}"))
                })?;
                let touch = touch(&mut touches, address, position, entry.txid);
                add(&mut touch.sent, amount, &entry.txid)?;
            }
            for (index, output) in (0..).zip(entry.outputs) {
                let Some(address) = output.address() else { continue };
                remember(&mut coins, OutPoint { txid: entry.txid, index }, output);
                let touch = touch(&mut touches, *address, position, entry.txid);
                add(&mut touch.received, output.amount, &entry.txid)?;
            }
        }
        Ok(Self { height, txids: entries.iter().map(|entry| entry.txid).collect(), touches })
    }

    /// Adds the entries of a block that is connected. `number` is its header's.
    pub(super) fn put(&self, number: u32, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        for (position, txid) in (0..).zip(&self.txids) {
            batch.put(Family::Transactions, txid.as_bytes(), write_place(Place { number, position }))?;
        }
        for ((address, position), touch) in &self.touches {
            let key = history_key(address, self.height, *position);
            batch.put(Family::History, key, write_touch(touch))?;
        }
        Ok(())
    }

    /// Removes the entries of a block that is disconnected.
    pub(super) fn delete(&self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        for txid in &self.txids {
            batch.delete(Family::Transactions, txid.as_bytes())?;
        }
        for (address, position) in self.touches.keys() {
            batch.delete(Family::History, history_key(address, self.height, *position))?;
        }
        Ok(())
    }
}

fn touch(
    touches: &mut BTreeMap<(Address, u32), Touch>,
    address: Address,
    position: u32,
    txid: TxId,
) -> &mut Touch {
    let nothing = Touch { txid, received: Amount::ZERO, sent: Amount::ZERO };
    touches.entry((address, position)).or_insert(nothing)
}

fn add(sum: &mut Amount, amount: Amount, txid: &TxId) -> Result<(), StoreError> {
    // All amounts of a valid transaction together are below 2^63 (rules T11 and S4).
    let total = sum.checked_add(amount);
    *sum = total.ok_or_else(|| Fault::damaged(format!("the transaction {txid}"), "its amounts overflow"))?;
    Ok(())
}

/// Adds a coin to those of its address.
pub(super) fn put_address_coin(
    batch: &mut Batch<'_>,
    outpoint: &OutPoint,
    coin: &Coin,
) -> Result<(), StoreError> {
    coin.output.address().map_or(Ok(()), |address| {
        batch.put(Family::AddressCoins, address_coin_key(address, coin.height, outpoint), [])
    })
}

/// Removes a coin from those of its address.
pub(super) fn delete_address_coin(
    batch: &mut Batch<'_>,
    outpoint: &OutPoint,
    coin: &Coin,
) -> Result<(), StoreError> {
    coin.output.address().map_or(Ok(()), |address| {
        batch.delete(Family::AddressCoins, address_coin_key(address, coin.height, outpoint))
    })
}
