//! Who may not come back for a while: identities, addresses, networks. Bounded, and it forgets (threat P11).
//!
//! An identity costs nothing, so misconduct bans the address as well: of IPv4 the one, of IPv6 the /64 that one
//! machine gets. This machine's own addresses are never banned: behind them may be anybody.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use super::address::{Reach, reach_of};

/// Seconds that a ban for misconduct lasts. Addresses change hands and honest programs err, so that a longer one
/// would in the end keep out the honest alone.
pub const BAN_SECS: u64 = 3_600;
/// Seconds that a ban by hand lasts where nothing else is said: a day, as in Bitcoin Core.
pub const MANUAL_BAN_SECS: u64 = 86_400;
/// Bans at a time. Of those for misconduct the one that ends first makes room.
pub const MAX_BANS: usize = 16_384;
/// Bans by hand at a time; these make no room for others.
pub const MAX_MANUAL_BANS: usize = 4_096;
/// Bytes of a reason; longer ones are cut.
pub const MAX_REASON_BYTES: usize = 120;
/// Bits of an IPv6 address that one machine gets.
const MACHINE_BITS_V6: u8 = 64;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    ip: IpAddr,
    bits: u8,
}

impl Subnet {
    /// The network of the first `bits` bits of an address; nothing where the address has fewer.
    #[must_use]
    pub fn new(ip: IpAddr, bits: u8) -> Option<Self> {
        let masked = match ip {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32_u32.checked_sub(u32::from(bits))?).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                // An IPv4 network in IPv6's spelling is the IPv4 network.
                if let Some(v4) = v6.to_ipv4_mapped()
                    && bits >= 96
                {
                    return Self::new(IpAddr::V4(v4), bits - 96);
                }
                let mask = u128::MAX.checked_shl(128_u32.checked_sub(u32::from(bits))?).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        };
        Some(Self { ip: masked, bits })
    }

    /// What one machine has: an IPv4 address, or a /64 of IPv6. Nothing for this machine's own.
    #[must_use]
    pub fn of_machine(ip: IpAddr) -> Option<Self> {
        let ip = ip.to_canonical();
        if reach_of(ip) == Reach::Machine {
            return None;
        }
        Self::new(ip, if ip.is_ipv4() { 32 } else { MACHINE_BITS_V6 })
    }

    /// The same in IPv6's spelling, for files: an address and how many of its bits count.
    #[must_use]
    pub fn to_v6(&self) -> (Ipv6Addr, u8) {
        match self.ip {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped(), self.bits + 96),
            IpAddr::V6(v6) => (v6, self.bits),
        }
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.ip.is_ipv4() && Self::new(ip, self.bits) == Some(*self)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

/// What is banned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A network.
    Net(Subnet),
    /// A libp2p identity (`12D3KooW...`).
    Identity(String),
}

/// The text names neither a network nor an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an IP address, not a network such as 192.0.2.0/24, and not a peer's identity")]
pub struct NotASubject;

impl FromStr for Subject {
    type Err = NotASubject;

    /// Reads `192.0.2.1`, `2001:db8::/32` or `12D3KooW...`.
    fn from_str(text: &str) -> Result<Self, NotASubject> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Subnet::new(ip, if ip.is_ipv4() { 32 } else { 128 }).map(Self::Net).ok_or(NotASubject);
        }
        if let Some((ip, bits)) = text.split_once('/') {
            let (ip, bits) = (ip.parse().map_err(|_| NotASubject)?, bits.parse().map_err(|_| NotASubject)?);
            return Subnet::new(ip, bits).map(Self::Net).ok_or(NotASubject);
        }
        let looks_right =
            (32..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if looks_right { Ok(Self::Identity(text.to_owned())) } else { Err(NotASubject) }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(subnet) => subnet.fmt(f),
            Self::Identity(identity) => f.write_str(identity),
        }
    }
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Ban {
    /// Since when, in Unix seconds.
    pub since_secs: u64,
    /// Until when, in Unix seconds.
    pub until_secs: u64,
    /// Whether an operator wants it, and not misconduct.
    pub by_hand: bool,
    /// Why, in at most [`MAX_REASON_BYTES`].
    pub reason: String,
}

/// As many bans by hand as there may be exist already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("at most {MAX_MANUAL_BANS} bans by hand are kept: end one with `setban SUBNET remove` first")]
pub struct TooManyBans;

/// All bans.
#[derive(Clone, Debug, Default)]
pub struct Bans {
    of: BTreeMap<Subject, Ban>,
    /// In the order in which they make room: those for misconduct first, by their end.
    ends: BTreeSet<(bool, u64, Subject)>,
    /// How many networks of each length are banned, of IPv4 and of IPv6.
    lengths: BTreeMap<(bool, u8), usize>,
    by_hand: usize,
}

impl Bans {
    /// Bans a subject. One that is banned already stays so until the later end, and by hand if either ban is. Returns
    /// whom it had to let in again to make room.
    ///
    /// # Errors
    /// [`TooManyBans`].
    pub fn add(&mut self, subject: Subject, mut ban: Ban) -> Result<Option<Subject>, TooManyBans> {
        if let Some(known) = self.remove(&subject) {
            ban.by_hand |= known.by_hand;
            ban.until_secs = ban.until_secs.max(known.until_secs);
        }
        if ban.by_hand && self.by_hand >= MAX_MANUAL_BANS {
            return Err(TooManyBans);
        }
        let mut end = ban.reason.len().min(MAX_REASON_BYTES);
        while !ban.reason.is_char_boundary(end) {
            end -= 1;
        }
        ban.reason.truncate(end);
        let mut evicted = None;
        if self.of.len() >= MAX_BANS
            && let Some((_, _, first)) = self.ends.first().cloned()
        {
            self.remove(&first);
            evicted = Some(first);
        }
        if let Subject::Net(Subnet { ip, bits }) = &subject {
            *self.lengths.entry((ip.is_ipv6(), *bits)).or_default() += 1;
        }
        self.by_hand += usize::from(ban.by_hand);
        self.ends.insert((ban.by_hand, ban.until_secs, subject.clone()));
        self.of.insert(subject, ban);
        Ok(evicted)
    }

    /// Ends a ban before its time. Returns it.
    pub fn remove(&mut self, subject: &Subject) -> Option<Ban> {
        let ban = self.of.remove(subject)?;
        self.ends.remove(&(ban.by_hand, ban.until_secs, subject.clone()));
        self.by_hand -= usize::from(ban.by_hand);
        if let Subject::Net(Subnet { ip, bits }) = subject
            && let Some(count) = self.lengths.get_mut(&(ip.is_ipv6(), *bits))
        {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&(ip.is_ipv6(), *bits));
            }
        }
        Some(ban)
    }

    /// Ends all bans.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets the bans that have ended.
    pub fn expire(&mut self, now_secs: u64) {
        for by_hand in [false, true] {
            let begin = (by_hand, 0, Subject::Identity(String::new()));
            let ended = |(of_kind, until_secs, _): &&(bool, u64, Subject)| {
                *of_kind == by_hand && *until_secs <= now_secs
            };
            // Networks sort before identities, and an end of zero is before any time.
            let ended: Vec<Subject> =
                self.ends.range(begin..).take_while(ended).map(|(_, _, subject)| subject.clone()).collect();
            for subject in ended {
                self.remove(&subject);
            }
        }
    }

    /// Whether an address is banned.
    #[must_use]
    pub fn has_ip(&self, ip: IpAddr, now_secs: u64) -> bool {
        let ip = ip.to_canonical();
        self.lengths.keys().filter(|(is_v6, _)| *is_v6 == ip.is_ipv6()).any(|(_, bits)| {
            Subnet::new(ip, *bits).is_some_and(|subnet| self.has(&Subject::Net(subnet), now_secs))
        })
    }

    /// Whether this very subject is banned.
    #[must_use]
    pub fn has(&self, subject: &Subject, now_secs: u64) -> bool {
        self.of.get(subject).is_some_and(|ban| ban.until_secs > now_secs)
    }

    /// All bans, networks first.
    pub fn iter(&self) -> impl Iterator<Item = (&Subject, &Ban)> {
        self.of.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(text: &str) -> Subject {
        text.parse().expect("a subject")
    }

    fn ban(until_secs: u64, by_hand: bool) -> Ban {
        Ban { since_secs: 0, until_secs, by_hand, reason: "a test".to_owned() }
    }

    #[test]
    fn p11_bans_of_a_hundred_thousand_networks_are_bounded_and_end() {
        let mut bans = Bans::default();
        let kept = subject("12D3KooWJ8CQQ1sPHNCDnDk2B1ZUcRsLHFm2tN7rEBCXnSWHJWb1");
        bans.add(kept.clone(), ban(1, true)).expect("room");
        for number in 0..100_000_u64 {
            let ip = IpAddr::V6(Ipv6Addr::from_bits((0x2a00_u128 << 112) | (u128::from(number) << 64) | 7));
            let net = Subnet::of_machine(ip).expect("of another machine");
            bans.add(Subject::Net(net), ban(1_000 + number, false)).expect("room is made");
            assert!(bans.len() <= MAX_BANS);
            // Another address of the same /64 is as banned.
            let other =
                IpAddr::V6(Ipv6Addr::from_bits((0x2a00_u128 << 112) | (u128::from(number) << 64) | 8));
            assert!(bans.has_ip(other, 0));
            assert!(!bans.has_ip(other, 1_000 + number));
        }
        assert_eq!((bans.len(), bans.ends.len(), bans.lengths.len()), (MAX_BANS, MAX_BANS, 1));
        assert!(bans.has(&kept, 0), "an operator's ban makes no room");
        bans.expire(100_000);
        assert_eq!(bans.len(), 999);
        bans.expire(u64::MAX);
        assert_eq!((bans.len(), bans.ends.len(), bans.lengths.len(), bans.by_hand), (0, 0, 0, 0));
    }

    #[test]
    fn p11_one_host_is_one_host_in_every_spelling() {
        let mut bans = Bans::default();
        let v4: IpAddr = "198.51.100.7".parse().expect("an address");
        let mapped: IpAddr = "::ffff:198.51.100.7".parse().expect("an address");
        assert_eq!(Subnet::of_machine(v4), Subnet::of_machine(mapped));
        bans.add(Subject::Net(Subnet::of_machine(mapped).expect("another machine")), ban(9, false))
            .expect("room");
        assert!(bans.has_ip(v4, 0) && bans.has_ip(mapped, 0));
        assert_eq!(subject("::ffff:198.51.100.0/120"), subject("198.51.100.0/24"));
        assert_eq!(subject("198.51.100.99/24").to_string(), "198.51.100.0/24");
        bans.clear();
        bans.add(subject("198.51.100.0/24"), ban(9, true)).expect("room");
        assert!(bans.has_ip(mapped, 0) && !bans.has_ip("198.51.101.7".parse().expect("an address"), 0));
        for near in ["127.0.0.1", "::1", "::ffff:127.0.0.2"] {
            assert_eq!(Subnet::of_machine(near.parse().expect("an address")), None, "{near}");
        }
        for bad in ["", "nonsense", "1.2.3.4/33", "::/129", "1.2.3.4/-1", "1.2.3/8"] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_longer_ban_stays_and_an_operators_is_not_shortened() {
        let (mut bans, net) = (Bans::default(), subject("198.51.100.7"));
        bans.add(net.clone(), ban(100, true)).expect("room");
        bans.add(net.clone(), ban(50, true)).expect("known");
        bans.add(net.clone(), ban(500, false)).expect("known");
        let found = bans.iter().map(|(_, ban)| (ban.until_secs, ban.by_hand)).collect::<Vec<_>>();
        assert_eq!(found, [(500, true)]);
        assert_eq!(bans.len(), 1);
    }
}
