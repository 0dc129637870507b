//! Buckets of addresses. Where an address may stand in is decided by a keyed hash, so that whoever floods a table
//! reaches few of its buckets, and cannot foresee which.

use std::collections::BTreeMap;

use super::{address::NetAddress, chance::Chance};

/// Places of a bucket.
pub(super) const BUCKET_PLACES: u64 = 64;

/// A place of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) bucket: u16,
    pub(super) place: u8,
}

/// A table; only places that are taken occupy memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(BTreeMap<u16, BTreeMap<u8, NetAddress>>);

impl Table {
    /// Who stands there.
    pub(super) fn get(&self, slot: Slot) -> Option<NetAddress> {
        self.0.get(&slot.bucket)?.get(&slot.place).copied()
    }

    /// Puts an address there, in whoever's place.
    pub(super) fn put(&mut self, slot: Slot, address: NetAddress) {
        self.0.entry(slot.bucket).or_default().insert(slot.place, address);
    }

    /// Empties a place.
    pub(super) fn clear(&mut self, slot: Slot) {
        if let Some(bucket) = self.0.get_mut(&slot.bucket) {
            bucket.remove(&slot.place);
            if bucket.is_empty() {
                self.0.remove(&slot.bucket);
            }
        }
    }

    /// Anyone: first each bucket that holds somebody is as likely as the other, so that a group that fills one
    /// bucket is drawn no more often than one that is alone in its own.
    pub(super) fn draw(&self, chance: &mut Chance) -> Option<NetAddress> {
        let bucket = self.0.values().nth(chance.index(self.0.len()))?;
        bucket.values().nth(chance.index(bucket.len())).copied()
    }

    /// Whether nobody is there.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Places taken.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }
}
