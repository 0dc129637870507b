//! The address book: who may be out there, and whom to dial.
//!
//! **What.** Two tables of addresses, as in Bitcoin Core's `addrman`: *new* holds what others told us, *tried* what
//! we once were connected to. Where an address may stand in is decided by a keyed hash of its network group and, in
//! the new table, of the group of whoever told it; so a flooder from few networks reaches few buckets, however many
//! addresses it makes up (threats P09, P10). Beside them are the choice of outbound peers ([`outbound`]), the budget
//! of addresses that one peer may tell ([`budget`]), what is answered to peers that ask ([`answers`]), the choice of
//! who must leave when all inbound places are taken ([`inbound`]), bans ([`bans`]), and the one file that keeps all
//! of it ([`file`]).
//!
//! **Why so.** An attacker that is the only one we are connected to decides what we see. No peer can be trusted to
//! name others, so nobody's word fills more than its share, and nothing displaces an address that works before that
//! was tested and found dead.
//!
//! **What it must never do.** Know a socket, a clock or the system's randomness: time and a seed are given, so that
//! the simulator runs this very code and replays it. Grow beyond its tables. Believe a time that a peer told.

use std::{collections::BTreeMap, net::IpAddr};

pub mod address;
pub mod answers;
pub mod bans;
pub mod budget;
pub mod chance;
pub mod file;
pub mod inbound;
pub mod outbound;
mod table;
#[cfg(test)]
mod tests;

pub use self::address::{Carrier, Group, NetAddress, Reach};
use chain::hash::sha256;

use self::{
    chance::{Chance, keyed},
    table::{BUCKET_PLACES, Slot, Table},
};

/// Buckets of the new table.
const NEW_BUCKETS: u64 = 1_024;
/// Buckets of the tried table.
const TRIED_BUCKETS: u64 = 256;
/// Buckets of the new table that one group's word can reach.
const NEW_BUCKETS_PER_SOURCE: u64 = 64;
/// Buckets of the tried table that one group's addresses can reach.
const TRIED_BUCKETS_PER_GROUP: u64 = 8;
/// Places of the new table that one address may take, when several sources tell it.
const MAX_NEW_PLACES: usize = 8;
/// The most addresses that a book can hold.
pub const MAX_ADDRESSES: u64 = (NEW_BUCKETS + TRIED_BUCKETS) * BUCKET_PLACES;

/// Seconds after which an address of which nobody spoke is worth nothing: 30 days.
const HORIZON_SECS: u64 = 30 * 86_400;
/// Failures after which an address that never answered is worth nothing.
const MAX_FAILURES_NEVER_MET: u32 = 3;
/// Failures after which an address that answered once, but not this week, is worth nothing.
const MAX_FAILURES: u32 = 10;
/// Seconds in which an address that once answered is not given up: a week.
const LOYALTY_SECS: u64 = 7 * 86_400;
/// Seconds after an attempt in which an address is not judged, and hardly drawn again.
const ATTEMPT_SECS: u64 = 60;
/// Seconds after an attempt in which an address is drawn a hundred times less often.
const RECENT_SECS: u64 = 600;

/// Addresses that wait for a place in the tried table while whoever stands there is tested.
const MAX_TESTS: usize = 10;
/// Seconds for which an answer of whoever stands there keeps the place: four hours.
const TEST_KEEP_SECS: u64 = 4 * 3_600;
/// Seconds that a test may wait before the place is given up untested.
const TEST_WINDOW_SECS: u64 = 40 * 60;

/// What is known of an address.
#[derive(Clone, Debug)]
struct Entry {
    /// The group of whoever told it first.
    source: Group,
    heard_secs: u64,
    attempt_secs: u64,
    counted_secs: u64,
    success_secs: u64,
    failures: u32,
    is_tried: bool,
    /// Its places in the new table.
    places: Vec<Slot>,
}

impl Entry {
    const fn new(source: Group, heard_secs: u64) -> Self {
        Self {
            source,
            heard_secs,
            attempt_secs: 0,
            counted_secs: 0,
            success_secs: 0,
            failures: 0,
            is_tried: false,
            places: Vec::new(),
        }
    }

    /// Whether it is not worth its place.
    const fn is_worthless(&self, now_secs: u64) -> bool {
        if now_secs.saturating_sub(self.attempt_secs) < ATTEMPT_SECS {
            return false;
        }
        let never_met = self.success_secs == 0;
        now_secs.saturating_sub(self.heard_secs) > HORIZON_SECS
            || (never_met && self.failures >= MAX_FAILURES_NEVER_MET)
            || (now_secs.saturating_sub(self.success_secs) > LOYALTY_SECS && self.failures >= MAX_FAILURES)
    }

    /// How likely it is kept when drawn, in parts of [`CERTAIN`].
    fn weight(&self, now_secs: u64) -> u64 {
        let recent = now_secs.saturating_sub(self.attempt_secs) < RECENT_SECS;
        let base = if recent { CERTAIN / 100 } else { CERTAIN };
        (0..self.failures.min(8)).fold(base, |weight, _| weight * 2 / 3)
    }
}

/// A weight that is always kept.
const CERTAIN: u64 = 1 << 20;

/// From which table to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// From both, each as often as the other.
    Any,
    /// From what others told alone: for feelers.
    New,
}

/// The address book.
#[derive(Clone, Debug)]
pub struct Book {
    key: [u8; 32],
    chance: Chance,
    entries: BTreeMap<NetAddress, Entry>,
    new: Table,
    tried: Table,
    /// Who waits for a place in the tried table, and since when.
    tests: BTreeMap<NetAddress, u64>,
    last_success_secs: u64,
}

impl Book {
    /// An empty book. The key decides who stands where, and must not be known to anybody else.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self {
            key,
            chance: Chance::new(key),
            entries: BTreeMap::new(),
            new: Table::default(),
            tried: Table::default(),
            tests: BTreeMap::new(),
            // An attempt counts as a failure only after something has succeeded: 1 is before any time and not never.
            last_success_secs: 1,
        }
    }

    /// Addresses in the book.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the book is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Addresses that we once were connected to.
    #[must_use]
    pub fn tried_len(&self) -> usize {
        self.tried.len()
    }

    /// Whether an address is in the book.
    #[must_use]
    pub fn contains(&self, address: &NetAddress) -> bool {
        self.entries.contains_key(address)
    }

    /// Takes in an address that somebody at `source` told. Returns whether it has a new place by that.
    pub fn add(&mut self, address: NetAddress, source: IpAddr, now_secs: u64) -> bool {
        if !address::reach_of(source).may_tell_of(address.reach()) {
            return false;
        }
        self.add_from(address, Group::of(source), now_secs)
    }

    fn add_from(&mut self, address: NetAddress, source: Group, now_secs: u64) -> bool {
        let known_places = match self.entries.get_mut(&address) {
            Some(entry) => {
                entry.heard_secs = entry.heard_secs.max(now_secs);
                if entry.is_tried || entry.places.len() >= MAX_NEW_PLACES {
                    return false;
                }
                entry.places.len()
            }
            None => 0,
        };
        // Each further place is half as likely as the one before.
        if self.chance.below(1 << known_places) != 0 {
            return false;
        }
        let slot = self.new_slot(&address, source);
        if let Some(holder) = self.new.get(slot) {
            if holder == address {
                return false;
            }
            let gives_way = self.entries.get(&holder).is_none_or(|entry| {
                entry.is_worthless(now_secs) || (entry.places.len() > 1 && known_places == 0)
            });
            if !gives_way {
                return false;
            }
            self.leave_new(&holder, slot);
        }
        self.new.put(slot, address);
        let entry = self.entries.entry(address).or_insert_with(|| Entry::new(source, now_secs));
        entry.places.push(slot);
        true
    }

    /// An address is being dialled.
    pub fn attempted(&mut self, address: &NetAddress, now_secs: u64) {
        if let Some(entry) = self.entries.get_mut(address) {
            entry.attempt_secs = now_secs;
            // One failure for each time that the network was seen to work: a node that is offline for a night must
            // not find its book worthless in the morning.
            if entry.counted_secs < self.last_success_secs {
                entry.counted_secs = now_secs;
                entry.failures = entry.failures.saturating_add(1);
            }
        }
    }

    /// Whether an address was not dialled for so many seconds.
    #[must_use]
    pub fn rests(&self, address: &NetAddress, secs: u64, now_secs: u64) -> bool {
        self.entries.get(address).is_none_or(|entry| now_secs.saturating_sub(entry.attempt_secs) >= secs)
    }

    /// A node of our chain was met at an address. One that the book does not know stays unknown.
    pub fn met(&mut self, address: &NetAddress, now_secs: u64) {
        self.met_with(address, now_secs, true);
    }

    fn met_with(&mut self, address: &NetAddress, now_secs: u64, test_first: bool) {
        self.last_success_secs = self.last_success_secs.max(now_secs);
        let Some(entry) = self.entries.get_mut(address) else { return };
        entry.success_secs = now_secs;
        entry.attempt_secs = now_secs;
        entry.heard_secs = entry.heard_secs.max(now_secs);
        entry.failures = 0;
        if entry.is_tried {
            return;
        }
        let slot = self.tried_slot(address);
        if test_first && self.tried.get(slot).is_some() {
            if self.tests.len() < MAX_TESTS {
                self.tests.entry(*address).or_insert(now_secs);
            }
            return;
        }
        self.move_to_tried(*address, slot, now_secs);
    }

    fn move_to_tried(&mut self, address: NetAddress, slot: Slot, now_secs: u64) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        entry.is_tried = true;
        for place in std::mem::take(&mut entry.places) {
            self.new.clear(place);
        }
        if let Some(evicted) = self.tried.get(slot)
            && let Some(entry) = self.entries.get_mut(&evicted)
        {
            // It goes back among the new, where it may find its place taken.
            entry.is_tried = false;
            let source = entry.source;
            if !self.add_from(evicted, source, now_secs) {
                self.entries.remove(&evicted);
            }
        }
        self.tried.put(slot, address);
    }

    /// An address of the tried table that somebody else waits to replace: to be dialled, to see whether it lives.
    pub fn next_test(&mut self) -> Option<NetAddress> {
        let index = self.chance.index(self.tests.len());
        let waiting = *self.tests.keys().nth(index)?;
        self.tried.get(self.tried_slot(&waiting))
    }

    /// Decides the tests that have come to an end.
    pub fn settle_tests(&mut self, now_secs: u64) {
        let waiting: Vec<(NetAddress, u64)> =
            self.tests.iter().map(|(address, since)| (*address, *since)).collect();
        for (address, since_secs) in waiting {
            let holder =
                self.tried.get(self.tried_slot(&address)).and_then(|holder| self.entries.get(&holder));
            let verdict = match holder {
                _ if self.entries.get(&address).is_none_or(|entry| entry.is_tried) => Some(false),
                None => Some(true),
                Some(entry) if now_secs.saturating_sub(entry.success_secs) < TEST_KEEP_SECS => Some(false),
                // It was dialled, had its time, and did not answer.
                Some(entry) if entry.attempt_secs > since_secs => {
                    (now_secs.saturating_sub(entry.attempt_secs) > ATTEMPT_SECS).then_some(true)
                }
                Some(_) => (now_secs.saturating_sub(since_secs) > TEST_WINDOW_SECS).then_some(true),
            };
            if let Some(takes_the_place) = verdict {
                self.tests.remove(&address);
                if takes_the_place {
                    self.move_to_tried(address, self.tried_slot(&address), now_secs);
                }
            }
        }
    }

    /// Draws an address to dial. Those that failed, or were dialled just now, are drawn more seldom.
    pub fn draw(&mut self, draw: Draw, now_secs: u64) -> Option<NetAddress> {
        let from_tried = match draw {
            Draw::New => false,
            Draw::Any => !self.tried.is_empty() && (self.new.is_empty() || self.chance.below(2) == 0),
        };
        let table = if from_tried { &self.tried } else { &self.new };
        let mut factor = CERTAIN;
        loop {
            let address = table.draw(&mut self.chance)?;
            let weight = self.entries.get(&address).map_or(CERTAIN, |entry| entry.weight(now_secs));
            if self.chance.below(CERTAIN) < weight.saturating_mul(factor) / CERTAIN {
                return Some(address);
            }
            // One fifth more each time, and at least one, so that the search ends.
            factor = (factor + factor / 5).min(CERTAIN * CERTAIN / 2);
        }
    }

    /// Addresses at random to give away: at most `most`, and at most `percent` of the book, but for a small book
    /// `least` whatever that is in percent. What is worthless, or not for the asker's eyes, is left out.
    pub fn sample(
        &mut self,
        asker: Reach,
        percent: usize,
        least: usize,
        most: usize,
        now_secs: u64,
    ) -> Vec<NetAddress> {
        let worth = |(address, entry): (&NetAddress, &Entry)| {
            let shown = !entry.is_worthless(now_secs) && asker.may_hear_of(address.reach());
            shown.then_some(*address)
        };
        let mut addresses: Vec<NetAddress> = self.entries.iter().filter_map(worth).collect();
        let count = (addresses.len() * percent / 100).max(least).min(most).min(addresses.len());
        for at in 0..count {
            let with = at + self.chance.index(addresses.len() - at);
            addresses.swap(at, with);
        }
        addresses.truncate(count);
        addresses
    }

    /// Forgets an address, such as one that turned out to be our own.
    pub fn forget(&mut self, address: &NetAddress) {
        let Some(entry) = self.entries.remove(address) else { return };
        for place in entry.places {
            self.new.clear(place);
        }
        if entry.is_tried {
            self.tried.clear(self.tried_slot(address));
        }
        self.tests.remove(address);
    }

    /// Under which number a peer's share of what is scarce is counted (threat M08): its network group, on a site its
    /// address, and where no address is given its identity. Nobody without the key can aim at another's number.
    #[must_use]
    pub fn quota(&self, ip: Option<IpAddr>, identity: &[u8]) -> u64 {
        match ip {
            Some(ip) if Group::of(ip).is_counted() => keyed(&self.key, &[9, Group::of(ip).to_number()]),
            Some(ip) => {
                let [high, low, _] = numbers(&NetAddress::new(ip, 0, Carrier::Tcp));
                keyed(&self.key, &[10, high, low])
            }
            None => keyed(&sha256(identity), &[keyed(&self.key, &[8])]),
        }
    }

    fn leave_new(&mut self, address: &NetAddress, slot: Slot) {
        self.new.clear(slot);
        if let Some(entry) = self.entries.get_mut(address) {
            entry.places.retain(|place| *place != slot);
            if entry.places.is_empty() && !entry.is_tried {
                self.entries.remove(address);
                self.tests.remove(address);
            }
        }
    }

    fn new_slot(&self, address: &NetAddress, source: Group) -> Slot {
        // Neighbours are not held to one bucket: on one site all addresses are of one group.
        let [_, low, _] = numbers(address);
        let group = if address.group().is_counted() { address.group().to_number() } else { low };
        let source = source.to_number();
        let share = keyed(&self.key, &[1, group, source]) % NEW_BUCKETS_PER_SOURCE;
        let bucket = keyed(&self.key, &[2, source, share]) % NEW_BUCKETS;
        self.slot(3, bucket, address)
    }

    fn tried_slot(&self, address: &NetAddress) -> Slot {
        let [a, b, c] = numbers(address);
        let share = keyed(&self.key, &[4, a, b, c]) % TRIED_BUCKETS_PER_GROUP;
        let bucket = keyed(&self.key, &[5, address.group().to_number(), share]) % TRIED_BUCKETS;
        self.slot(6, bucket, address)
    }

    fn slot(&self, domain: u64, bucket: u64, address: &NetAddress) -> Slot {
        let [a, b, c] = numbers(address);
        let place = keyed(&self.key, &[domain, bucket, a, b, c]) % BUCKET_PLACES;
        // Both are remainders by limits that fit.
        Slot { bucket: u16::try_from(bucket).unwrap_or(0), place: u8::try_from(place).unwrap_or(0) }
    }
}

/// An address for a keyed hash.
fn numbers(address: &NetAddress) -> [u64; 3] {
    let bits = match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let [high, low] = [bits >> 64, bits & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or(0));
    let carrier = match address.carrier() {
        Carrier::Tcp => 0,
        Carrier::Quic => 1,
    };
    [high, low, (u64::from(address.port()) << 1) | carrier]
}
