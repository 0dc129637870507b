//! What blocks put into the index and take out of it again, gathered over several blocks until it is written.
//!
//! Rows are sorted before they are written: RocksDB takes neighbouring keys for a fraction of what it takes
//! scattered ones for. What one batch both adds and removes is not written at all.

use std::collections::{BTreeMap, HashMap};

use chain::{
    address::Address,
    amount::Amount,
    hash::TxId,
    height::Height,
    store::StoreError,
    transaction::{OutPoint, Output},
    utxo::Coin,
};

use super::{
    super::fault::Fault,
    schema::{
        COIN_BYTES, COIN_KEY_BYTES, HISTORY_BYTES, HISTORY_KEY_BYTES, TIP_KEY, TRANSACTION_BYTES,
        TRANSACTION_KEY_BYTES, coin_key, history_key, transaction_key, write_coin, write_place, write_touch,
    },
    source::{Entry, SourceBlock},
};

/// What happens to one key.
#[derive(Clone, Copy)]
struct Change<const K: usize, const V: usize> {
    key: [u8; K],
    /// The new value; nothing where the row is removed.
    value: Option<[u8; V]>,
}

/// Changes of one family, in the order in which they come about.
pub(super) struct Changes<const K: usize, const V: usize>(Vec<Change<K, V>>);

impl<const K: usize, const V: usize> Changes<K, V> {
    fn push(&mut self, key: [u8; K], value: Option<[u8; V]>) {
        self.0.push(Change { key, value });
    }

    fn bytes(&self) -> usize {
        self.0.len() * size_of::<Change<K, V>>()
    }

    /// What is to be done in the end, sorted by key. A row is added and removed by turns, so that the first and the
    /// last change of a key tell whether it was there before and whether it is there in the end. What was not
    /// there and will not be is not written at all. With `fixed`, one key always has the same value, and what was
    /// there and will be again is not written either.
    pub(super) fn net(&self, fixed: bool) -> impl Iterator<Item = (&[u8; K], Option<&[u8; V]>)> {
        // The first byte is the same in all of them.
        let prefix = |key: &[u8; K]| key[1..].first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        let mut order: Vec<(u64, &Change<K, V>)> =
            self.0.iter().map(|change| (prefix(&change.key), change)).collect();
        // Most keys differ in their first bytes, which are compared as one number. Stable: changes of one key
        // stay in their order.
        order.sort_by(|(a, left), (b, right)| a.cmp(b).then_with(|| left.key.cmp(&right.key)));
        let mut rest = order.into_iter().peekable();
        std::iter::from_fn(move || {
            loop {
                let (_, first) = rest.next()?;
                let mut last = first;
                while let Some((_, next)) = rest.next_if(|(_, next)| next.key == first.key) {
                    last = next;
                }
                let (was_there, is_there) = (first.value.is_none(), last.value.is_some());
                if (was_there || is_there) && !(fixed && was_there && is_there) {
                    return Some((&last.key, last.value.as_ref()));
                }
            }
        })
    }
}

/// Whether a block's rows are added or removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Apply,
    Revert,
}

/// The changes of some blocks.
pub(super) struct Rows {
    pub(super) transactions: Changes<TRANSACTION_KEY_BYTES, TRANSACTION_BYTES>,
    pub(super) history: Changes<HISTORY_KEY_BYTES, HISTORY_BYTES>,
    pub(super) coins: Changes<COIN_KEY_BYTES, COIN_BYTES>,
}

/// An output that was spent, as far as the indexes care.
#[derive(Clone, Copy)]
struct SpentOutput {
    address: Address,
    amount: Amount,
    height: Height,
    coinbase: bool,
}

/// What one transaction did to one address.
#[derive(Clone, Copy)]
struct Touch {
    received: Amount,
    sent: Amount,
}

impl Rows {
    pub(super) const fn new() -> Self {
        Self { transactions: Changes(Vec::new()), history: Changes(Vec::new()), coins: Changes(Vec::new()) }
    }

    /// The memory that all of it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.transactions.bytes() + self.history.bytes() + self.coins.bytes()
    }

    /// Gives all that is to be written, the row of the tip among it, in ascending order of the keys.
    pub(super) fn write<E>(
        &self,
        tip: Option<&[u8]>,
        mut write: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        write(TIP_KEY, tip)?;
        for (key, value) in self.transactions.net(false) {
            write(key, value.map(<[u8; _]>::as_slice))?;
        }
        for (key, value) in self.history.net(false) {
            write(key, value.map(<[u8; _]>::as_slice))?;
        }
        for (key, value) in self.coins.net(true) {
            write(key, value.map(<[u8; _]>::as_slice))?;
        }
        Ok(())
    }

    /// Adds a block on top of the chain. `undo` is what it spent, in the order of its inputs.
    pub(super) fn apply(
        &mut self,
        block: &SourceBlock,
        undo: &[(OutPoint, Coin)],
        height: Height,
    ) -> Result<(), StoreError> {
        self.change(&block.entries(), undo, height, Direction::Apply)
    }

    /// Takes the topmost block away again.
    pub(super) fn revert(
        &mut self,
        block: &SourceBlock,
        undo: &[(OutPoint, Coin)],
        height: Height,
    ) -> Result<(), StoreError> {
        self.change(&block.entries(), undo, height, Direction::Revert)
    }

    fn change(
        &mut self,
        entries: &[Entry<'_>],
        undo: &[(OutPoint, Coin)],
        height: Height,
        direction: Direction,
    ) -> Result<(), StoreError> {
        let damaged = |why: String| Fault::damaged(format!("the undo data of height {height}"), why);
        let mut undo = undo.iter();
        let first = self.coins.0.len();
        let mut inside = Inside::default();
        let mut touches: Vec<(Address, Touch)> = Vec::new();
        for (position, entry) in (0u32..).zip(entries) {
            let row = (direction == Direction::Apply).then(|| write_place(height, position));
            self.transactions.push(transaction_key(&entry.txid), row);
            touches.clear();
            for input in entry.inputs {
                // The undo data has the coins of earlier blocks in the order of the inputs; a coin that is not
                // the next one was made in this block.
                let next = undo.as_slice().first().filter(|(outpoint, _)| outpoint == input);
                let spent = if let Some((_, coin)) = next {
                    undo.next();
                    coin_of(coin)
                } else {
                    inside.output(entries, input).and_then(|output| {
                        let address = *output.address()?;
                        Some(SpentOutput { address, amount: output.amount, height, coinbase: false })
                    })
                };
                let spent = spent.ok_or_else(|| damaged(format!("it lacks {input}")))?;
                add(&mut touch(&mut touches, spent.address).sent, spent.amount, &entry.txid)?;
                let row = (direction == Direction::Revert).then(|| write_coin(spent.amount, spent.coinbase));
                self.coins.push(coin_key(&spent.address, spent.height, input), row);
            }
            for (index, output) in (0u32..).zip(entry.outputs) {
                let Some(address) = output.address() else { continue };
                add(&mut touch(&mut touches, *address).received, output.amount, &entry.txid)?;
                let row = (direction == Direction::Apply).then(|| write_coin(output.amount, position == 0));
                self.coins.push(coin_key(address, height, &OutPoint { txid: entry.txid, index }), row);
            }
            merge(&mut touches, &entry.txid)?;
            for (address, touch) in &touches {
                let row = (direction == Direction::Apply)
                    .then(|| write_touch(&entry.txid, touch.received, touch.sent));
                self.history.push(history_key(address, height, position), row);
            }
        }
        if direction == Direction::Revert {
            // What happens last is taken back first: a coin that the block made and spent comes back before it goes,
            // so that the first change of its key says truly that it was not there.
            self.coins.0[first..].reverse();
        }
        match undo.next() {
            Some((outpoint, _)) => Err(damaged(format!("no input spends {outpoint}")).into()),
            None => Ok(()),
        }
    }
}

fn coin_of(coin: &Coin) -> Option<SpentOutput> {
    let (address, amount) = (*coin.output.address()?, coin.output.amount);
    Some(SpentOutput { address, amount, height: coin.height, coinbase: coin.coinbase })
}

/// How many of the last touches are searched for the same address: enough for a payment and its change. The rest
/// is merged by sorting, so that a transaction of thousands of outputs costs no square of them.
const RECENT_TOUCHES: usize = 4;

fn touch(touches: &mut Vec<(Address, Touch)>, address: Address) -> &mut Touch {
    let from = touches.len().saturating_sub(RECENT_TOUCHES);
    let at = touches[from..].iter().position(|(other, _)| *other == address).map(|at| from + at);
    let at = at.unwrap_or_else(|| {
        touches.push((address, Touch { received: Amount::ZERO, sent: Amount::ZERO }));
        touches.len() - 1
    });
    &mut touches[at].1
}

/// Leaves one touch of each address.
fn merge(touches: &mut Vec<(Address, Touch)>, txid: &TxId) -> Result<(), StoreError> {
    if touches.len() <= RECENT_TOUCHES {
        return Ok(());
    }
    let mut merged: BTreeMap<Address, Touch> = BTreeMap::new();
    for (address, touch) in touches.drain(..) {
        let nothing = Touch { received: Amount::ZERO, sent: Amount::ZERO };
        let sum = merged.entry(address).or_insert(nothing);
        add(&mut sum.received, touch.received, txid)?;
        add(&mut sum.sent, touch.sent, txid)?;
    }
    touches.extend(merged);
    Ok(())
}

fn add(sum: &mut Amount, amount: Amount, txid: &TxId) -> Result<(), StoreError> {
    // All amounts of a valid transaction together are below 2^63 (rules T11 and S4).
    let total = sum.checked_add(amount);
    *sum = total.ok_or_else(|| Fault::damaged(format!("the transaction {txid}"), "its amounts overflow"))?;
    Ok(())
}

/// The transactions of a block by their ids; made when the first of them is spent within the block.
#[derive(Default)]
struct Inside(Option<HashMap<TxId, usize>>);

impl Inside {
    fn output<'a>(&mut self, entries: &'a [Entry<'_>], outpoint: &OutPoint) -> Option<&'a Output> {
        let positions = self.0.get_or_insert_with(|| {
            entries.iter().enumerate().map(|(position, entry)| (entry.txid, position)).collect()
        });
        let entry = entries.get(*positions.get(&outpoint.txid)?)?;
        entry.outputs.get(usize::try_from(outpoint.index).ok()?)
    }
}
