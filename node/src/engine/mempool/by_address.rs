//! Who waits, by address: asked by whoever runs a wallet, and kept up at every arrival and departure.
//!
//! A look-up costs what is found, never a walk over the mempool. Departures are only counted, and swept away when
//! they are the half of an address's list: what is listed and has left is passed over by whoever reads.

use std::collections::HashMap;

use chain::address::Address;

use super::graph::Slot;

/// Transactions by the addresses that they pay to or spend from.
#[derive(Clone, Debug, Default)]
pub(super) struct ByAddress {
    lists: HashMap<Address, List>,
}

/// Those of one address, in the order of their arrival.
#[derive(Clone, Debug, Default)]
struct List {
    /// Number of arrival, and slot. Some may have left, and another may have their slot.
    waiting: Vec<(u64, Slot)>,
    left: usize,
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
            let list = self.lists.entry(*address).or_default();
            if list.waiting.last() != Some(&(sequence, slot)) {
                // Most addresses are seen once.
                list.waiting.reserve_exact(usize::from(list.waiting.is_empty()));
                list.waiting.push((sequence, slot));
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
            let Some(list) = self.lists.get_mut(address) else { continue };
            // An address that comes twice in one transaction is listed once: sweeping tells for sure.
            if list.waiting.binary_search_by_key(&sequence, |(number, _)| *number).is_err() {
                continue;
            }
            list.left += 1;
            if list.left * 2 >= list.waiting.len() {
                list.waiting.retain(|(number, slot)| stays(*number, *slot));
                list.left = 0;
            }
            if list.waiting.is_empty() {
                self.lists.remove(address);
            }
        }
    }

    /// What is listed for an address, in the order of arrival; some may have left.
    pub(super) fn find(&self, address: &Address) -> &[(u64, Slot)] {
        self.lists.get(address).map_or(&[], |list| list.waiting.as_slice())
    }
}
