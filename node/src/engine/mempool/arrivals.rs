//! Who waits in the order of arrival, and who has waited longest.
//!
//! A departure costs nothing here: what has left is passed over, told by its number of arrival, and swept away
//! when it is more than what waits. The lists are never longer than twice what waits, and a little.

use std::{cmp::Reverse, collections::BinaryHeap};

use chain::time::Time;

use super::graph::Slot;

/// So many may have left before anything is swept away, however few wait.
const MAX_LEFT: usize = 1_000;

/// Waiting transactions by arrival.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    /// Number of arrival and slot, ascending. Some may have left, and others may have their slots.
    order: Vec<(u64, Slot)>,
    /// The same by the time since when they wait, the longest first.
    ages: BinaryHeap<Reverse<(Time, u64, Slot)>>,
}

impl Arrivals {
    /// Lists a transaction, which came after all that are listed, but may wait since an earlier time.
    pub(super) fn add(&mut self, time: Time, sequence: u64, slot: Slot) {
        self.order.push((sequence, slot));
        self.ages.push(Reverse((time, sequence, slot)));
    }

    /// Numbers of arrival and slots, ascending; some may have left.
    pub(super) fn listed(&self) -> &[(u64, Slot)] {
        &self.order
    }

    /// Transactions have left: `waiting` are still here, those that `stays` knows.
    pub(super) fn sweep(&mut self, waiting: usize, stays: impl Fn(u64, Slot) -> bool) {
        let most = waiting.saturating_mul(2).saturating_add(MAX_LEFT);
        if self.order.len() > most {
            self.order.retain(|(number, slot)| stays(*number, *slot));
        }
        // Those that expired are not in this list any more, so that it is counted for itself.
        if self.ages.len() > most {
            self.ages.retain(|Reverse((_, number, slot))| stays(*number, *slot));
        }
    }

    /// Takes those off that have `waited` too long; some may have left before.
    pub(super) fn take_expired(&mut self, waited: impl Fn(Time) -> bool) -> Vec<(u64, Slot)> {
        let mut expired = Vec::new();
        while let Some(Reverse((time, number, slot))) = self.ages.peek()
            && waited(*time)
        {
            expired.push((*number, *slot));
            self.ages.pop();
        }
        expired
    }
}
