//! Who waits, by address: asked by whoever runs a wallet, and from then on kept up at every arrival and departure. A
//! node that nobody asks does not pay for it: a fiftieth of the cost of accepting a payment, a tenth of connecting one
//! that waited.
//!
//! Past the first one, which lists all that waits, a look-up costs what is found, never a walk over the mempool.
//! Departures are only counted, and swept away when they are the half of an address's list: what is listed and has
//! left is passed over by whoever reads.

use std::collections::hash_map::Entry;

use chain::{address::Address, keyed::KeyedMap};

use super::graph::Slot;

/// Transactions by the addresses that they pay to or spend from.
#[derive(Clone, Debug, Default)]
pub(super) struct ByAddress {
    lists: KeyedMap<Address, List>,
}

/// A number of arrival, and the slot that was given then. The transaction may have left, and another may have
/// its slot.
type Listed = (u64, Slot);

/// Those of one address, in the order of their arrival.
#[derive(Clone, Debug)]
enum List {
    /// Most addresses are seen once: nothing is allocated for them.
    One(Listed),
    /// Some may have left.
    Many { waiting: Vec<Listed>, left: usize },
}

impl List {
    fn waiting(&self) -> &[Listed] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Many { waiting, .. } => waiting,
        }
    }

    /// Lists what came after all others.
    fn push(&mut self, listed: Listed) {
        match self {
            Self::One(first) => *self = Self::Many { waiting: vec![*first, listed], left: 0 },
            Self::Many { waiting, .. } => waiting.push(listed),
        }
    }

    /// Counts one off; whether none is left.
    fn remove(&mut self, sequence: u64, stays: impl Fn(u64, Slot) -> bool) -> bool {
        match self {
            Self::One((number, _)) => *number == sequence,
            Self::Many { waiting, left } => {
                // An address that comes twice in one transaction is listed once: sweeping tells for sure.
                if waiting.binary_search_by_key(&sequence, |(number, _)| *number).is_err() {
                    return false;
                }
                *left += 1;
                if *left * 2 >= waiting.len() {
                    waiting.retain(|(number, slot)| stays(*number, *slot));
                    *left = 0;
                }
                waiting.is_empty()
            }
        }
    }
}

impl ByAddress {
    /// Lists a transaction, which came after all that are listed.
    pub(super) fn add<'a>(
        &mut self,
        addresses: impl Iterator<Item = &'a Address>,
        sequence: u64,
        slot: Slot,
    ) {
        for address in addresses {
            match self.lists.entry(*address) {
                Entry::Vacant(place) => {
                    place.insert(List::One((sequence, slot)));
                }
                Entry::Occupied(mut place) => {
                    if place.get().waiting().last() != Some(&(sequence, slot)) {
                        place.get_mut().push((sequence, slot));
                    }
                }
            }
        }
    }

    /// Counts a transaction off, which `stays` no longer knows.
    pub(super) fn remove<'a>(
        &mut self,
        addresses: impl Iterator<Item = &'a Address>,
        sequence: u64,
        stays: impl Fn(u64, Slot) -> bool,
    ) {
        for address in addresses {
            if let Entry::Occupied(mut place) = self.lists.entry(*address)
                && place.get_mut().remove(sequence, &stays)
            {
                place.remove();
            }
        }
    }

    /// What is listed for an address, in the order of arrival; some may have left.
    pub(super) fn find(&self, address: &Address) -> &[(u64, Slot)] {
        self.lists.get(address).map_or(&[], List::waiting)
    }
}
