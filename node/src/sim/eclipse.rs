//! An attempt to eclipse a node: the address book, the choice of outbound peers and the file that outlives a restart,
//! against somebody who has many addresses in few networks (threat P10; Heilman et al., 2015).
//!
//! The victim knows a few honest nodes, of which some are offline, and runs for hours. The attacker's nodes are always
//! online, hold every connection that they get, tell of nothing but each other, and are told of by everybody else too.
//! Then the victim restarts from what it last saved, and everybody whom it was connected to has forgotten it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use chain::hash::{BlockHash, sha256};

use super::chance::Chance;
use crate::p2p::book::{
    Book, Carrier, Group, NetAddress,
    bans::Bans,
    file::{Remembered, key_of, to_bytes},
    outbound::{DEFAULT_PLACES, Dial, Now, Outbound, Purpose},
};

/// Some moment of the year 2026, in seconds since 1970.
const START_SECS: u64 = 1_790_000_000;
/// How often the attacker tells of all its addresses, and honest peers of some of theirs, in milliseconds.
const TELL_MS: u64 = 600_000;
/// How many addresses an honest peer tells of at a time.
const TOLD: u64 = 40;
/// How often the victim saves its book, in milliseconds.
const SAVE_MS: u64 = 900_000;
/// How long the victim has after its restart to find its peers, in milliseconds.
const AFTER_MS: u64 = 600_000;
/// How long an honest peer stays connected, in milliseconds on average.
const STAY_MS: u64 = 3_600_000;

/// Who attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attack {
    /// Addresses of the attacker.
    pub addresses: u32,
    /// The network groups that they lie in.
    pub groups: u32,
}

impl Attack {
    /// A thousand addresses in four network groups.
    pub const USUAL: Self = Self { addresses: 1_000, groups: 4 };
}

/// Whom the victim chose after its restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Outbound peers that are honest.
    pub honest: usize,
    /// Outbound peers that are the attacker's.
    pub hostile: usize,
}

/// Everybody's addresses, and who is online.
struct Place {
    honest: Vec<NetAddress>,
    online: BTreeSet<NetAddress>,
    hostile: BTreeSet<NetAddress>,
    told: Vec<NetAddress>,
}

/// The part of a node that chooses whom it dials.
struct Victim {
    book: Book,
    outbound: Outbound,
    /// When a connection ends.
    ends_ms: BTreeMap<NetAddress, u64>,
}

fn at(ip: u32) -> NetAddress {
    NetAddress::new(IpAddr::V4(Ipv4Addr::from_bits(ip)), 8_444, Carrier::Tcp)
}

const fn time(ms: u64) -> Now {
    Now { monotonic_ms: ms, unix_secs: START_SECS + ms / 1_000 }
}

fn seed_of(chance: &mut Chance) -> [u8; 32] {
    sha256(&chance.bits().to_le_bytes())
}

impl Place {
    fn new(attack: Attack, chance: &mut Chance) -> Self {
        // 20.0.0.0 and above: two addresses in three have a network to themselves.
        let count = chance.between(12, 120);
        let honest = (0..count)
            .map(|number| {
                let network = if number % 3 == 0 { number / 3 } else { number };
                at((20 << 24) + u32::try_from((network << 16) | (number + 1)).unwrap_or(1))
            })
            .collect();
        // 60.0.0.0 and above.
        let hostile: BTreeSet<NetAddress> = (0..attack.addresses)
            .map(|number| at((60 << 24) + ((number % attack.groups) << 16) + number / attack.groups + 1))
            .collect();
        let told = hostile.iter().copied().collect();
        let mut place = Self { honest, online: BTreeSet::new(), hostile, told };
        place.draw_online(chance);
        place
    }

    /// Who is online changes, never to nobody.
    fn draw_online(&mut self, chance: &mut Chance) {
        let percent = chance.between(40, 95);
        let honest = &self.honest;
        self.online = honest.iter().filter(|_| chance.happens(percent, 100)).copied().collect();
        self.online.extend(chance.pick(honest).copied());
    }

    fn answers(&self, address: &NetAddress) -> bool {
        self.hostile.contains(address) || self.online.contains(address)
    }
}

impl Victim {
    fn new(book: Book, anchors: Vec<NetAddress>, now_ms: u64, chance: &mut Chance) -> Self {
        let outbound = Outbound::new(DEFAULT_PLACES, anchors, seed_of(chance), now_ms);
        Self { book, outbound, ends_ms: BTreeMap::new() }
    }

    /// Dials and is left until a time.
    fn live(&mut self, place: &Place, from_ms: u64, until_ms: u64, chance: &mut Chance) {
        let mut now_ms = from_ms;
        while now_ms < until_ms {
            let over: Vec<NetAddress> = self
                .ends_ms
                .iter()
                .filter(|(address, end_ms)| **end_ms <= now_ms || !place.answers(address))
                .map(|(address, _)| *address)
                .collect();
            for address in over {
                self.ends_ms.remove(&address);
                self.outbound.gone(&address, now_ms);
            }
            match self.outbound.next(&mut self.book, |_| false, &[], time(now_ms)) {
                Some(Dial { address, .. }) if place.answers(&address) => {
                    self.book.met(&address, time(now_ms).unix_secs);
                    if self.outbound.connected(&address, now_ms) == Some(Purpose::Feeler) {
                        self.outbound.gone(&address, now_ms);
                    } else if !place.hostile.contains(&address) {
                        self.ends_ms.insert(address, now_ms + chance.wait_ms(STAY_MS));
                    }
                }
                Some(Dial { address, .. }) => self.outbound.gone(&address, now_ms),
                None => {
                    let due_ms = self.outbound.due_ms().unwrap_or(until_ms).max(now_ms + 1);
                    let end_ms = self.ends_ms.values().min().copied().unwrap_or(u64::MAX);
                    now_ms = due_ms.min(end_ms.max(now_ms + 1));
                }
            }
        }
    }

    /// The attacker tells of itself, and each honest peer of some that it has heard of, who may be the attacker's.
    fn hear(&mut self, place: &Place, now_ms: u64, chance: &mut Chance) {
        let secs = time(now_ms).unix_secs;
        for address in &place.told {
            let Some(teller) = chance.pick(&place.told) else { return };
            self.book.add(*address, teller.ip(), secs);
        }
        let peers: Vec<NetAddress> = self.outbound.connected_full().collect();
        for peer in peers.iter().filter(|peer| !place.hostile.contains(peer)) {
            for _ in 0..TOLD {
                let heard = if chance.happens(1, 2) { &place.told } else { &place.honest };
                if let Some(address) = chance.pick(heard) {
                    self.book.add(*address, peer.ip(), secs);
                }
            }
        }
        self.outbound.wake(now_ms);
    }

    fn save(&self, chain: &BlockHash) -> Vec<u8> {
        to_bytes(&self.book, &self.outbound.anchors(), &Bans::default(), chain)
    }

    fn chosen(&self, place: &Place) -> Chosen {
        let (hostile, honest): (Vec<_>, Vec<_>) =
            self.outbound.connected_full().partition(|peer| place.hostile.contains(peer));
        Chosen { honest: honest.len(), hostile: hostile.len() }
    }
}

/// Runs the attempt of a seed.
#[must_use]
pub fn eclipse(seed: u64, attack: Attack) -> Chosen {
    let mut chance = Chance::from_seed(seed ^ 0x00ec_1195e);
    let mut place = Place::new(attack, &mut chance);
    let chain = BlockHash::from_bytes([0xca; 32]);
    let mut victim = Victim::new(Book::new(key_of(&seed_of(&mut chance))), Vec::new(), 0, &mut chance);
    // It begins with a few that somebody named, and learns of others by them.
    let count = chance.between(1, 4);
    for _ in 0..count {
        if let Some(named) = chance.pick(&place.honest).copied() {
            place.online.insert(named);
            victim.book.add(named, named.ip(), START_SECS);
        }
    }
    let hours = chance.between(1, 4);
    let end_ms = hours * 3_600_000 + chance.below(SAVE_MS);
    let (mut now_ms, mut saved) = (0, victim.save(&chain));
    while now_ms < end_ms {
        let until_ms = (now_ms + TELL_MS).min(end_ms);
        victim.live(&place, now_ms, until_ms, &mut chance);
        victim.hear(&place, until_ms, &mut chance);
        if until_ms / SAVE_MS != now_ms / SAVE_MS {
            saved = victim.save(&chain);
        }
        now_ms = until_ms;
    }
    // Killed, or ended in order. Others are online by then, and perhaps nobody whom it remembers.
    if chance.happens(1, 2) {
        saved = victim.save(&chain);
    }
    place.draw_online(&mut chance);
    let remembered = Remembered::from_bytes(&saved, &chain, seed_of(&mut chance));
    let Ok(Remembered { book, anchors, .. }) = remembered else { return Chosen::default() };
    let mut victim = Victim::new(book, anchors, now_ms, &mut chance);
    victim.live(&place, now_ms, now_ms + AFTER_MS, &mut chance);
    debug_assert!(is_diverse(&victim.outbound), "no two peers of one network group");
    victim.chosen(&place)
}

fn is_diverse(outbound: &Outbound) -> bool {
    let groups: Vec<Group> = outbound.connected_full().map(|peer| peer.group()).collect();
    groups.iter().collect::<BTreeSet<_>>().len() == groups.len()
}
