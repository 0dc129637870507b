//! Whom to dial: eight peers of eight networks, the two we had before a restart first, and now and then a feeler.
//!
//! No two of the peers that are chosen lie in one network group, so that an attacker needs addresses in as many
//! groups as there are places (threat P10). Nothing that anybody else does makes us give up a place: only its own
//! peer's leaving frees it. *Anchors* are two peers that we had when we stopped: an attacker who fills the book and
//! makes us start again still has to do without those two places. *Feelers* dial what others told us, greet, and
//! leave: so the tried table fills with addresses that work, and those that do not are found out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Book, Draw, Group, NetAddress, chance::Chance};

/// Peers that are chosen, where nothing else is configured.
pub const DEFAULT_PLACES: usize = 8;
/// Peers that are remembered over a restart.
pub const MAX_ANCHORS: usize = 2;
/// Milliseconds between two feelers, on average.
pub const FEELER_INTERVAL_MS: u64 = 120_000;
/// Milliseconds between two dials.
const DIAL_INTERVAL_MS: u64 = 500;
/// Milliseconds until the book is looked through again when nobody in it would do.
const IDLE_INTERVAL_MS: u64 = 5_000;
/// Seconds after a dial in which the same address is not dialled again.
const RETRY_SECS: u64 = 120;
/// Addresses that are drawn before it is said that nobody would do.
const MAX_DRAWS: usize = 100;

/// The time: of a clock that never goes back, and of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back, from any beginning.
    pub monotonic_ms: u64,
    /// Seconds since 1970.
    pub unix_secs: u64,
}

/// What a connection is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To stay: a peer from before the restart.
    Anchor,
    /// To stay: a peer chosen from the book.
    Full,
    /// To see whether somebody is there, and leave.
    Feeler,
}

/// A connection to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// To whom.
    pub address: NetAddress,
    /// What for.
    pub purpose: Purpose,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    purpose: Purpose,
    /// Since when it is connected.
    connected_ms: Option<u64>,
}

/// The connections that were chosen here, made or being made.
#[derive(Clone, Debug)]
pub struct Outbound {
    places: usize,
    anchors: Vec<NetAddress>,
    held: BTreeMap<NetAddress, Held>,
    chance: Chance,
    full_due_ms: u64,
    feeler_due_ms: u64,
}

impl Outbound {
    /// Nobody chosen yet. With no `places` nothing is ever dialled, feelers neither.
    #[must_use]
    pub fn new(places: usize, mut anchors: Vec<NetAddress>, seed: [u8; 32], now_ms: u64) -> Self {
        anchors.truncate(MAX_ANCHORS);
        let feeler_due_ms = now_ms.saturating_add(FEELER_INTERVAL_MS);
        Self {
            places,
            anchors,
            held: BTreeMap::new(),
            chance: Chance::new(seed),
            full_due_ms: now_ms,
            feeler_due_ms,
        }
    }

    /// The next connection to make, if one is due. `in_use` tells whether a peer at that address is connected by
    /// other means; `manual` are the addresses of the peers that were named by hand, whose groups are taken as well.
    pub fn next(
        &mut self,
        book: &mut Book,
        in_use: impl Fn(&NetAddress) -> bool,
        manual: &[IpAddr],
        now: Now,
    ) -> Option<Dial> {
        if self.places == 0 {
            return None;
        }
        book.settle_tests(now.unix_secs);
        let dial =
            self.next_full(book, &in_use, manual, now).or_else(|| self.next_feeler(book, &in_use, now))?;
        book.attempted(&dial.address, now.unix_secs);
        self.held.insert(dial.address, Held { purpose: dial.purpose, connected_ms: None });
        Some(dial)
    }

    fn next_full(
        &mut self,
        book: &mut Book,
        in_use: &impl Fn(&NetAddress) -> bool,
        manual: &[IpAddr],
        now: Now,
    ) -> Option<Dial> {
        if self.full() >= self.places || now.monotonic_ms < self.full_due_ms {
            return None;
        }
        self.full_due_ms = now.monotonic_ms.saturating_add(DIAL_INTERVAL_MS);
        let own = self.held.iter().filter(|(_, held)| held.purpose != Purpose::Feeler);
        let mut taken: BTreeSet<Group> = own.map(|(address, _)| address.group()).collect();
        taken.extend(manual.iter().map(|ip| Group::of(*ip)));
        let would_do = |held: &BTreeMap<_, _>, address: &NetAddress| {
            let group = address.group();
            let is_crowded = group.is_counted() && taken.contains(&group);
            !(held.contains_key(address) || in_use(address) || is_crowded)
        };
        while let Some(address) = self.anchors.pop() {
            if would_do(&self.held, &address) {
                return Some(Dial { address, purpose: Purpose::Anchor });
            }
        }
        for _ in 0..MAX_DRAWS {
            let Some(address) = book.draw(Draw::Any, now.unix_secs) else { break };
            if would_do(&self.held, &address) && book.rests(&address, RETRY_SECS, now.unix_secs) {
                return Some(Dial { address, purpose: Purpose::Full });
            }
        }
        self.full_due_ms = now.monotonic_ms.saturating_add(IDLE_INTERVAL_MS);
        None
    }

    fn next_feeler(
        &mut self,
        book: &mut Book,
        in_use: &impl Fn(&NetAddress) -> bool,
        now: Now,
    ) -> Option<Dial> {
        if now.monotonic_ms < self.feeler_due_ms
            || self.held.values().any(|held| held.purpose == Purpose::Feeler)
        {
            return None;
        }
        // Between a half and one and a half of the interval, so that nobody can foresee it.
        let delay_ms = FEELER_INTERVAL_MS / 2 + self.chance.below(FEELER_INTERVAL_MS);
        self.feeler_due_ms = now.monotonic_ms.saturating_add(delay_ms);
        let free =
            |held: &BTreeMap<_, _>, address: &NetAddress| !held.contains_key(address) && !in_use(address);
        // First whoever stands where another waits to stand.
        let tested = book.next_test().filter(|address| free(&self.held, address));
        let address = tested.or_else(|| {
            let drawn = (0..MAX_DRAWS).map_while(|_| book.draw(Draw::New, now.unix_secs));
            drawn.into_iter().find(|address| free(&self.held, address))
        })?;
        Some(Dial { address, purpose: Purpose::Feeler })
    }

    /// When [`Self::next`] is worth a call; never where nothing is ever dialled.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        let full = (self.full() < self.places).then_some(self.full_due_ms);
        (self.places > 0).then(|| full.map_or(self.feeler_due_ms, |full| full.min(self.feeler_due_ms)))
    }

    /// New addresses have come: nobody need wait for the next look.
    pub fn wake(&mut self, now_ms: u64) {
        self.full_due_ms = self.full_due_ms.min(now_ms.saturating_add(DIAL_INTERVAL_MS));
    }

    /// A connection has come to be, and a node of our chain is there. Returns what it was made for.
    pub fn connected(&mut self, address: &NetAddress, now_ms: u64) -> Option<Purpose> {
        let held = self.held.get_mut(address)?;
        held.connected_ms = Some(now_ms);
        Some(held.purpose)
    }

    /// A connection has ended, or did not come to be.
    pub fn gone(&mut self, address: &NetAddress, now_ms: u64) {
        if self.held.remove(address).is_some() {
            self.full_due_ms = self.full_due_ms.max(now_ms.saturating_add(DIAL_INTERVAL_MS));
        }
    }

    /// What the connection to an address was made for.
    #[must_use]
    pub fn purpose(&self, address: &NetAddress) -> Option<Purpose> {
        self.held.get(address).map(|held| held.purpose)
    }

    /// Places taken, by connections that exist or are being made.
    #[must_use]
    pub fn full(&self) -> usize {
        self.held.values().filter(|held| held.purpose != Purpose::Feeler).count()
    }

    /// The peers that are connected to stay.
    pub fn connected_full(&self) -> impl Iterator<Item = NetAddress> {
        let stays = |held: &Held| held.purpose != Purpose::Feeler && held.connected_ms.is_some();
        self.held.iter().filter(move |(_, held)| stays(held)).map(|(address, _)| *address)
    }

    /// Whom to remember over a restart: those who have been here longest; before anybody is here, whom we remembered.
    #[must_use]
    pub fn anchors(&self) -> Vec<NetAddress> {
        let since = |address: &NetAddress| self.held.get(address).and_then(|held| held.connected_ms);
        let mut oldest: Vec<NetAddress> = self.connected_full().collect();
        oldest.sort_by_key(|address| (since(address), *address));
        oldest.extend(&self.anchors);
        oldest.truncate(MAX_ANCHORS);
        oldest
    }
}
