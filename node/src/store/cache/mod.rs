//! The coins at the tip, in front of the database: what changed since the last flush, and what was read.
//!
//! A coin is *dirty* where the database does not have it as it is now, and *fresh* where the database has
//! nothing under its name. A fresh coin that is spent vanishes and never reaches the disk; a stored coin that
//! is spent becomes a tombstone until the next flush. (Bitcoin Core's `CCoinsViewCache` has the same two
//! marks.) Here a name that is in the cache not at all is not in the database either when a coin is made
//! under it: transaction ids never repeat, because a coinbase names its height (threat C05), so making a coin
//! needs no look-up on the disk.
//!
//! After a flush coins stay while there is room: two generations of equal size. What is new goes into the
//! younger one; when that is full of what the disk has too, it becomes the older one, and the older one is
//! dropped. That costs no list of who was used when. Coins are plain 88 bytes in the table, without an
//! allocation each. The table's hash is keyed, because ids can be ground.
//!
//! It never reads or writes the disk, and never judges: what does not fit is a [`Misfit`], on which the store
//! stops.

#[cfg(test)]
mod tests;

use std::mem;

use chain::{
    address::Address,
    amount::Amount,
    height::Height,
    keyed::{KeyedMap, KeyedState},
    transaction::{OutPoint, Output},
    utxo::Coin,
};

/// The coin differs from what the database has.
const DIRTY: u8 = 1;
/// The database has nothing under this name.
const FRESH: u8 = 2;
/// There is no coin: it was spent.
const SPENT: u8 = 4;
/// A coinbase made the coin.
const COINBASE: u8 = 8;

/// Bytes of one place in a table: the name, the coin, and the table's own byte.
const PLACE_BYTES: usize = size_of::<(OutPoint, Slot)>() + 1;
/// The fewest places of a generation: a cache below this would flush at every block.
const MIN_PLACES: usize = 1 << 10;

/// A coin, as small as it can be without an allocation, or a tombstone.
#[derive(Clone, Copy, Debug)]
struct Slot {
    amount: Amount,
    address: Address,
    height: Height,
    flags: u8,
}

impl Slot {
    /// Nothing for a data output, which is never a coin.
    fn new(coin: &Coin, flags: u8) -> Option<Self> {
        let coinbase = if coin.coinbase { COINBASE } else { 0 };
        let (amount, height) = (coin.output.amount, coin.height);
        Some(Self { amount, address: *coin.output.address()?, height, flags: flags | coinbase })
    }

    const fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn coin(&self) -> Option<Coin> {
        let output = Output::pay(self.address, self.amount);
        let coin = Coin { output, height: self.height, coinbase: self.is(COINBASE) };
        Some(coin).filter(|_| !self.is(SPENT))
    }

    fn equals(&self, coin: &Coin) -> bool {
        !self.is(SPENT)
            && self.amount == coin.output.amount
            && self.height == coin.height
            && self.is(COINBASE) == coin.coinbase
            && coin.output.address() == Some(&self.address)
    }
}

/// The first bytes of a name: names stand in the order of these words, as far as those differ.
fn first_word(outpoint: &OutPoint) -> u64 {
    outpoint.txid.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

type Table = KeyedMap<OutPoint, Slot>;

/// What the cache knows of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// There is this coin.
    Coin(Coin),
    /// There is none: it was spent.
    Spent,
    /// The database must be asked.
    Unknown,
}

/// Why a step does not fit what is in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// A coin is spent that is unknown here. Remembered first, it may be spent.
    Unknown,
    /// A coin is spent that was spent before, or is another one (threat C02).
    NotThere,
    /// A coin is made that exists already (threat C05).
    Exists,
    /// A data output is no coin.
    Data,
}

/// The coins at the tip, as far as they are in memory.
#[derive(Debug)]
pub(super) struct CoinCache {
    young: Table,
    /// None of them is dirty, and none is in `young` too.
    old: Table,
    /// How many are dirty.
    dirty: usize,
    /// The most coins of a generation.
    max_coins: usize,
}

impl CoinCache {
    /// An empty cache that takes at most about `budget_bytes`.
    pub(super) fn new(budget_bytes: usize) -> Self {
        // Tables have a power of two of places, of which seven eighths are used.
        let places = (budget_bytes / 2 / PLACE_BYTES).max(MIN_PLACES);
        let places = places.checked_next_power_of_two().filter(|it| *it <= places).unwrap_or_else(|| {
            // The power of two below.
            1 << (usize::BITS - 1).saturating_sub(places.leading_zeros())
        });
        let state = KeyedState::new();
        let table = || Table::with_hasher(state.clone());
        Self { young: table(), old: table(), dirty: 0, max_coins: places / 8 * 7 }
    }

    /// What is known of a name.
    pub(super) fn get(&self, outpoint: &OutPoint) -> Known {
        match self.young.get(outpoint).or_else(|| self.old.get(outpoint)) {
            Some(slot) => slot.coin().map_or(Known::Spent, Known::Coin),
            None => Known::Unknown,
        }
    }

    /// Keeps a coin that the database has. Nothing happens to a name that is known.
    pub(super) fn remember(&mut self, outpoint: &OutPoint, coin: &Coin) {
        if self.old.contains_key(outpoint) {
            return;
        }
        // However much is dirty, a quarter is left for coins that are only read, so that ageing, which looks
        // at every coin, stays rare.
        let clean = self.young.len() - self.dirty;
        let room = self.max_coins.saturating_sub(self.dirty).max(self.max_coins / 4);
        if clean >= room && !self.young.contains_key(outpoint) {
            self.age();
        }
        if let Some(slot) = Slot::new(coin, 0) {
            self.young.entry(*outpoint).or_insert(slot);
        }
    }

    /// Spends a coin, which must be there and equal.
    pub(super) fn spend(&mut self, outpoint: &OutPoint, coin: &Coin) -> Result<(), Misfit> {
        match self.young.get_mut(outpoint) {
            Some(slot) if !slot.equals(coin) => return Err(Misfit::NotThere),
            Some(slot) if slot.is(FRESH) => {
                self.young.remove(outpoint);
                self.dirty -= 1;
            }
            Some(slot) => {
                if !slot.is(DIRTY) {
                    self.dirty += 1;
                }
                slot.flags = DIRTY | SPENT;
            }
            None => {
                let mut slot = self.old.remove(outpoint).ok_or(Misfit::Unknown)?;
                if !slot.equals(coin) {
                    return Err(Misfit::NotThere);
                }
                slot.flags = DIRTY | SPENT;
                self.young.insert(*outpoint, slot);
                self.dirty += 1;
            }
        }
        Ok(())
    }

    /// Makes a coin, or brings one back. It must not be there, as far as is known without the database.
    pub(super) fn create(&mut self, outpoint: &OutPoint, coin: &Coin) -> Result<(), Misfit> {
        let fresh = Slot::new(coin, DIRTY | FRESH).ok_or(Misfit::Data)?;
        if self.old.contains_key(outpoint) {
            return Err(Misfit::Exists);
        }
        match self.young.entry(*outpoint) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(fresh);
                self.dirty += 1;
            }
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                let slot = entry.get_mut();
                if !slot.is(SPENT) {
                    return Err(Misfit::Exists);
                }
                // A tombstone: the database has the coin that was spent, perhaps of another height.
                *slot = Slot { flags: fresh.flags & !FRESH, ..fresh };
            }
        }
        Ok(())
    }

    /// Whether it is time to flush at the next block boundary.
    pub(super) const fn is_full(&self) -> bool {
        self.dirty >= self.max_coins / 4 * 3
    }

    /// What a flush writes, in ascending order: each name and its coin, or nothing where it was spent.
    pub(super) fn pending(&self) -> impl Iterator<Item = (&OutPoint, Option<Coin>)> {
        let mut dirty: Vec<(u64, &OutPoint, &Slot)> = Vec::with_capacity(self.dirty);
        let changed = self.young.iter().filter(|(_, slot)| slot.is(DIRTY));
        dirty.extend(changed.map(|(outpoint, slot)| (first_word(outpoint), outpoint, slot)));
        // Names are hashes: their first bytes mostly tell them apart, without a look at where each of them lies.
        dirty.sort_unstable_by(|one, other| one.0.cmp(&other.0).then_with(|| one.1.cmp(other.1)));
        dirty.into_iter().map(|(_, outpoint, slot)| (outpoint, slot.coin()))
    }

    /// The database has everything that was pending.
    pub(super) fn settle(&mut self) {
        self.dirty = 0;
        self.young.retain(|_, slot| {
            slot.flags &= COINBASE | SPENT;
            !slot.is(SPENT)
        });
        if self.young.len() > self.max_coins / 2 {
            self.age();
        }
    }

    /// Forgets everything that is not pending, of the older generation all.
    fn age(&mut self) {
        // Both tables keep their memory, so that nothing is allocated in the long run.
        self.old.clear();
        if self.dirty == 0 {
            mem::swap(&mut self.young, &mut self.old);
        } else {
            self.old.extend(self.young.extract_if(|_, slot| !slot.is(DIRTY)));
        }
    }

    /// Forgets everything, pending or not.
    #[cfg(test)]
    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
        self.dirty = 0;
    }

    /// Bytes that the cache takes.
    pub(super) fn bytes(&self) -> usize {
        let places = |table: &Table| table.capacity().saturating_mul(8) / 7;
        places(&self.young).saturating_add(places(&self.old)).saturating_mul(PLACE_BYTES)
    }

    /// How many coins and tombstones await a flush.
    pub(super) const fn dirty(&self) -> usize {
        self.dirty
    }
}
