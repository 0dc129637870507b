//! The mempool: transactions that are valid on the tip and wait for a block.
//!
//! Every transaction here could be mined now, parents first. Those that hang together form clusters of at most
//! 64, and all stand in one order by the fee rate of what is mined together ([`graph`]). Of two that spend the
//! same coin the one stays that miners gain more from, by written rules ([`replacement`], `docs/mempool.md`).
//! Memory is bounded as it is occupied, not as transactions are encoded; the worst chunk goes first, and the
//! floor rises ([`room`]). After a reorganisation everything that is still valid is back ([`follow`]).
//!
//! Policy, not consensus: a block may hold what this room refuses. It never takes what was not verified on the
//! tip, never loses count of its bytes, and asks neither a clock nor chance: time is an argument, and nothing
//! walks a map in hash order.

mod acceptance;
mod arrivals;
mod by_address;
mod entry;
mod error;
pub mod file;
mod floor;
mod follow;
pub mod graph;
mod memories;
mod replacement;
mod room;
mod shares;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use chain::{
    address::Address,
    amount::Amount,
    check::{CheckedTransaction, VerifiedTransaction},
    hash::TxId,
    height::Height,
    keyed::KeyedMap,
    time::Time,
    transaction::OutPoint,
    utxo::Coin,
};
use miner::{Candidate, Package};

pub use self::{
    acceptance::{DUST_PEBBLES, MAX_CLUSTER_BYTES},
    entry::Entry,
    error::{AcceptError, ReplacementError},
    floor::{FLOOR_HALF_LIFE_SECS, MIN_RELAY_FEE_RATE},
    graph::{FeeRate, MAX_CLUSTER_COUNT},
    memories::{Departed, Departure, MAX_DEPARTED, MAX_REFUSED},
    replacement::MAX_REPLACED,
    room::EXPIRY_SECS,
    shares::{Giver, MAX_WASTED_SIGNATURES},
};
use self::{
    arrivals::Arrivals,
    by_address::ByAddress,
    entry::{memory_bytes, weight},
    floor::Floor,
    follow::Parked,
    graph::{Graph, Slot},
    memories::{DepartedList, Refused},
    shares::Shares,
};

/// The most memory that waiting transactions occupy, in bytes.
pub const MAX_MEMPOOL_MEMORY_BYTES: u64 = 160_000_000;

/// Some transactions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their fees.
    pub fees: Amount,
}

/// The mempool.
#[derive(Debug, Default)]
pub struct Mempool {
    graph: Graph,
    /// By slot of the graph.
    entries: Vec<Option<Entry>>,
    slots: KeyedMap<TxId, Slot>,
    spends: KeyedMap<OutPoint, Slot>,
    /// Who pays to or spends from an address, by the order of arrival; kept up from the first question on.
    addresses: OnceLock<ByAddress>,
    /// By the order of arrival, and what expires first.
    arrivals: Arrivals,
    bytes: u64,
    memory_bytes: u64,
    max_memory_bytes: u64,
    fees: Amount,
    floor: Floor,
    refused: Refused,
    departed: DepartedList,
    parked: Parked,
    shares: Shares,
    next_sequence: u64,
    changes: u64,
}

impl Mempool {
    /// An empty mempool that occupies at most `max_memory_bytes`.
    #[must_use]
    pub fn new(max_memory_bytes: u64) -> Self {
        Self { max_memory_bytes, ..Self::default() }
    }

    fn entry_at(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot.index())?.as_ref()
    }

    fn entries_at<'a>(
        &'a self,
        slots: impl IntoIterator<Item = &'a Slot>,
    ) -> impl Iterator<Item = &'a Entry> {
        slots.into_iter().filter_map(|slot| self.entry_at(*slot))
    }

    fn id_at(&self, slot: Slot) -> Option<TxId> {
        self.entry_at(slot).map(|entry| entry.transaction().txid())
    }

    fn ids_at(&self, slots: &[Slot]) -> Vec<TxId> {
        self.entries_at(slots).map(|entry| entry.transaction().txid()).collect()
    }

    /// The transaction with this id.
    #[must_use]
    pub fn get(&self, txid: &TxId) -> Option<&Entry> {
        self.entry_at(*self.slots.get(txid)?)
    }

    /// All transactions, in the order of their arrival: parents before children.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.arrivals.listed().iter().filter_map(|listed| self.listed(*listed))
    }

    /// A transaction by its number of arrival and its slot, if it has not left.
    fn listed(&self, (sequence, slot): (u64, Slot)) -> Option<&Entry> {
        self.entry_at(slot).filter(|entry| entry.sequence == sequence)
    }

    /// Those that pay to or spend from an address, in the order of their arrival.
    pub fn of_address(&self, address: &Address) -> impl DoubleEndedIterator<Item = &Entry> {
        let addresses = self.addresses.get_or_init(|| self.list_by_address());
        addresses.find(address).iter().filter_map(|listed| self.listed(*listed))
    }

    /// Who spends a coin.
    #[must_use]
    pub fn spender(&self, outpoint: &OutPoint) -> Option<TxId> {
        self.id_at(*self.spends.get(outpoint)?)
    }

    /// The transactions here whose outputs it spends.
    #[must_use]
    pub fn parents(&self, txid: &TxId) -> Vec<TxId> {
        self.slots.get(txid).map(|slot| self.ids_at(self.graph.parents(*slot))).unwrap_or_default()
    }

    /// The transactions here that spend its outputs.
    #[must_use]
    pub fn children(&self, txid: &TxId) -> Vec<TxId> {
        self.slots.get(txid).map(|slot| self.ids_at(self.graph.children(*slot))).unwrap_or_default()
    }

    /// All that it stands on, itself not among them, oldest first.
    #[must_use]
    pub fn ancestors(&self, txid: &TxId) -> Vec<&Entry> {
        let slots = self.slots.get(txid).map(|slot| self.graph.ancestors(*slot)).unwrap_or_default();
        slots.into_iter().filter_map(|slot| self.entry_at(slot)).collect()
    }

    /// All that stand on it, itself not among them, oldest first.
    #[must_use]
    pub fn descendants(&self, txid: &TxId) -> Vec<&Entry> {
        let slots = self.slots.get(txid).map(|slot| self.graph.descendants(*slot)).unwrap_or_default();
        slots.into_iter().filter_map(|slot| self.entry_at(slot)).collect()
    }

    /// Counts transactions, their bytes and fees.
    #[must_use]
    pub fn totals<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Totals {
        entries.into_iter().fold(Totals::default(), |sum, entry| Totals {
            count: sum.count + 1,
            bytes: sum.bytes + u64::from(entry.transaction().size()),
            // The supply bounds all fees together.
            fees: sum.fees.checked_add(entry.fee()).unwrap_or(sum.fees),
        })
    }

    /// The fee rate at which it will be mined: that of its chunk, which its children may lift.
    #[must_use]
    pub fn chunk_rate(&self, txid: &TxId) -> Option<FeeRate> {
        self.graph.chunk_rate(*self.slots.get(txid)?)
    }

    /// What became of a transaction that is not here any more, unless it was mined or is forgotten.
    #[must_use]
    pub fn departed(&self, txid: &TxId) -> Option<Departed> {
        self.departed.find(txid)
    }

    /// How many refused transactions are remembered, at most [`MAX_REFUSED`].
    #[must_use]
    pub fn refused_count(&self) -> usize {
        self.refused.len()
    }

    /// How many transactions are remembered that have left, at most [`MAX_DEPARTED`].
    #[must_use]
    pub fn departed_count(&self) -> usize {
        self.departed.len()
    }

    /// Transactions that left last without being mined, whole: a miner far away may still put them into a block.
    pub fn recently_departed(&self) -> impl Iterator<Item = &Arc<CheckedTransaction>> {
        self.departed.kept()
    }

    /// How many transactions wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.graph.len()
    }

    /// Whether none waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.graph.is_empty()
    }

    /// The bytes of all transactions.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The fees of all transactions.
    #[must_use]
    pub const fn fees(&self) -> Amount {
        self.fees
    }

    /// What all transactions occupy in memory, in bytes.
    #[must_use]
    pub const fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// The most memory that they may occupy, in bytes.
    #[must_use]
    pub const fn max_memory_bytes(&self) -> u64 {
        self.max_memory_bytes
    }

    /// The lowest fee rate that is taken now, in pebbles per 1,000 bytes.
    #[must_use]
    pub fn min_fee_rate(&self, now: Time) -> u64 {
        self.floor.pebbles_per_kb(now, self.has_room())
    }

    const fn has_room(&self) -> bool {
        self.memory_bytes < self.max_memory_bytes / 2
    }

    /// What the transactions that a giver gave, and that wait, occupy in memory.
    #[must_use]
    pub fn held_by(&self, giver: Giver) -> u64 {
        self.shares.held(giver)
    }

    /// A number that grows with every change, so that a reader knows whether to look again.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// What ordering the transactions has cost so far, in steps.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.graph.steps()
    }

    /// An output of a transaction that waits here, as the coin that it will be in the next block.
    #[must_use]
    pub fn output(&self, outpoint: &OutPoint, height: Height) -> Option<Coin> {
        let made = &self.get(&outpoint.txid)?.transaction().transaction().outputs;
        let output = made.get(usize::try_from(outpoint.index).ok()?)?;
        output.address()?;
        Some(Coin { output: output.clone(), height, coinbase: false })
    }

    /// The transactions with the best fee rates that have waited since `before`, at most `limit`.
    #[must_use]
    pub fn best_before(&self, before: Time, limit: usize) -> Vec<Arc<CheckedTransaction>> {
        let waiting = self.best().filter(|entry| entry.time <= before);
        waiting.take(limit).map(|entry| entry.transaction().clone()).collect()
    }

    /// All transactions in the order in which they are best mined. Lazy.
    pub fn best(&self) -> impl Iterator<Item = &Entry> {
        self.graph.chunks().flat_map(|chunk| self.entries_at(chunk.slots))
    }

    /// What a miner may put into the next block, the best fee rate first. Lazy: a template that takes the best
    /// does not touch the rest.
    pub fn packages(&self) -> impl Iterator<Item = Package> {
        let candidate =
            |entry: &Entry| Candidate { transaction: Arc::clone(entry.transaction()), fee: entry.fee() };
        self.graph.chunks().map(move |chunk| self.entries_at(chunk.slots).map(candidate).collect())
    }

    /// Puts in a transaction that spends outputs of `parents`.
    fn insert(
        &mut self,
        verified: Arc<VerifiedTransaction>,
        parents: &[Slot],
        (time, height): (Time, Height),
        giver: Option<Giver>,
    ) {
        let checked = verified.checked();
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.changes += 1;
        let slot = self.graph.add(weight(checked, verified.fee(), sequence), parents);
        self.slots.insert(checked.txid(), slot);
        self.spends.extend(checked.transaction().inputs.iter().map(|input| (*input, slot)));
        if let Some(lists) = self.addresses.get_mut() {
            lists.add(addresses(checked), sequence, slot);
        }
        self.arrivals.add(time, sequence, slot);
        self.departed.forget(&checked.txid());
        let memory_bytes = memory_bytes(checked);
        self.bytes += u64::from(checked.size());
        self.memory_bytes += memory_bytes;
        self.fees = self.fees.checked_add(verified.fee()).unwrap_or(self.fees);
        if let Some(giver) = giver {
            self.shares.add(giver, memory_bytes);
        }
        if self.entries.len() <= slot.index() {
            self.entries.resize(slot.index() + 1, None);
        }
        self.entries[slot.index()] = Some(Entry {
            checked: Arc::clone(verified.checked()),
            fee: verified.fee(),
            verified,
            time,
            height,
            sequence,
            memory_bytes,
            giver,
        });
    }

    /// Lists all that waits by address.
    fn list_by_address(&self) -> ByAddress {
        let mut lists = ByAddress::default();
        for (sequence, slot) in self.arrivals.listed() {
            if let Some(entry) = self.listed((*sequence, *slot)) {
                lists.add(addresses(entry.transaction()), *sequence, *slot);
            }
        }
        lists
    }

    /// Takes transactions out, named in the order of their slots; those that stand on them must be named as well,
    /// unless they were mined.
    fn take(&mut self, leaving: &[Slot]) -> Vec<Entry> {
        if leaving.is_empty() {
            return Vec::new();
        }
        self.graph.remove(leaving);
        self.changes += 1;
        let mut taken = Vec::with_capacity(leaving.len());
        for slot in leaving {
            let Some(entry) = self.entries.get_mut(slot.index()).and_then(Option::take) else { continue };
            let checked = entry.transaction();
            self.slots.remove(&checked.txid());
            for input in &checked.transaction().inputs {
                self.spends.remove(input);
            }
            if let Some(lists) = self.addresses.get_mut() {
                lists.remove(addresses(checked), entry.sequence, stays_in(&self.entries));
            }
            self.bytes -= u64::from(checked.size());
            self.memory_bytes -= entry.memory_bytes;
            self.fees = self.fees.checked_sub(entry.fee()).unwrap_or_default();
            if let Some(giver) = entry.giver {
                self.shares.free(giver, entry.memory_bytes);
            }
            taken.push(entry);
        }
        self.arrivals.sweep(self.graph.len(), stays_in(&self.entries));
        taken
    }

    /// Takes transactions out, with all that stand on them, and remembers why.
    fn drop_with_descendants(&mut self, slots: impl IntoIterator<Item = Slot>, why: Departure, now: Time) {
        let leaving = self.with_descendants(slots);
        for entry in self.take(&leaving) {
            let txid = entry.transaction().txid();
            tracing::debug!(%txid, ?why, "transaction left the mempool");
            self.departed.keep(entry.transaction());
            self.departed.insert(txid, Departed { why, time: now });
        }
    }

    /// These and all that stand on them, in the order of their slots.
    fn with_descendants(&self, slots: impl IntoIterator<Item = Slot>) -> Vec<Slot> {
        let mut all = BTreeSet::new();
        for slot in slots {
            if all.insert(slot) {
                all.extend(self.graph.descendants(slot));
            }
        }
        all.into_iter().collect()
    }
}

/// Whether the transaction with a number of arrival is still at the slot that it was given.
fn stays_in(entries: &[Option<Entry>]) -> impl Fn(u64, Slot) -> bool {
    |sequence, slot| {
        let entry = entries.get(slot.index()).and_then(Option::as_ref);
        entry.is_some_and(|entry| entry.sequence == sequence)
    }
}

/// The addresses that a transaction pays to or spends from; some may come twice.
fn addresses(checked: &CheckedTransaction) -> impl Iterator<Item = &Address> {
    let outputs = checked.transaction().outputs.iter().filter_map(chain::transaction::Output::address);
    outputs.chain(checked.addresses())
}
