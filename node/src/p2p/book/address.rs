//! Where a node can be reached, in one form only, and whom its neighbours are.
//!
//! An address has one form: an IPv4 address that is written as IPv6 (`::ffff:192.0.2.1`) is the IPv4 address, so
//! that no ban, cap or bucket can be walked around by another spelling (threat P11).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use borsh::{BorshDeserialize, BorshSerialize};

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub enum Carrier {
    /// TCP, with noise and yamux above it.
    Tcp,
    /// QUIC, version 1, over UDP.
    Quic,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetAddress {
    ip: IpAddr,
    port: u16,
    carrier: Carrier,
}

/// From where an address can be reached. Who is near may tell of what is far, and not the other way: a stranger
/// on the internet has no business to send us to a machine of our own site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// From this machine.
    Machine,
    /// From a private network.
    Site,
    /// From the internet.
    World,
    /// From nowhere: no node has such an address.
    Nowhere,
}

impl Reach {
    /// Whether somebody with this reach is heard when it tells of an address with `other`.
    #[must_use]
    pub fn may_tell_of(self, other: Self) -> bool {
        self != Self::Nowhere && other != Self::Nowhere && other >= self
    }

    /// Whether somebody with this reach can use an address with `other`, and is the one to know it.
    #[must_use]
    pub fn may_hear_of(self, other: Self) -> bool {
        self.may_tell_of(other)
    }
}

/// The network that an address lies in: what one operator can get many addresses of at the price of one. Of IPv4 a
/// /16, of IPv6 a /32, as in Bitcoin Core; this machine, and each private range, is a group of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Group(u64);

/// The bits below the kind of a group.
const KIND_SHIFT: u32 = 56;

impl Group {
    /// The group of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        let group = |kind: u64, bits: u64| Self((kind << KIND_SHIFT) | bits);
        match reach_of(ip) {
            Reach::Nowhere => group(0, 0),
            Reach::Machine => group(1, 0),
            Reach::Site => match ip {
                // The first byte tells 10/8, 100.64/10, 169.254/16, 172.16/12 and 192.168/16 apart.
                IpAddr::V4(v4) => group(2, u64::from(v4.octets()[0])),
                IpAddr::V6(v6) => group(3, u64::from(v6.octets()[0])),
            },
            Reach::World => match ip {
                IpAddr::V4(v4) => group(4, u64::from(v4.to_bits() >> 16)),
                IpAddr::V6(v6) => match embedded_v4(v6) {
                    Some(v4) => group(4, u64::from(v4.to_bits() >> 16)),
                    None => {
                        let [a, b, ..] = v6.segments();
                        group(5, (u64::from(a) << 16) | u64::from(b))
                    }
                },
            },
        }
    }

    /// Whether two peers of this group are too much alike to be both chosen: not so on one machine or site, where
    /// all are neighbours.
    #[must_use]
    pub const fn is_counted(self) -> bool {
        self.0 >> KIND_SHIFT >= 4
    }

    /// The group as a number, for keyed hashes.
    #[must_use]
    pub const fn to_number(self) -> u64 {
        self.0
    }
}

/// The IPv4 address whose owner also owns this IPv6 address: 6to4, NAT64 and Teredo.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = ip.to_bits();
    let v4 = |shift: u32| Ipv4Addr::from_bits(u32::try_from((bits >> shift) & 0xffff_ffff).unwrap_or(0));
    match ip.segments() {
        [0x2002, ..] => Some(v4(80)),
        [0x0064, 0xff9b, 0, 0, 0, 0, ..] => Some(v4(0)),
        // Teredo writes its client's address with all bits turned.
        [0x2001, 0, ..] => Some(Ipv4Addr::from_bits(!v4(0).to_bits())),
        _ => None,
    }
}

/// From where an address can be reached.
#[must_use]
pub fn reach_of(ip: IpAddr) -> Reach {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            if ip.is_loopback() {
                Reach::Machine
            } else if ip.is_private() || ip.is_link_local() || (a == 100 && (64..128).contains(&b)) {
                Reach::Site
            } else if a == 0 || a >= 224 || ip.is_documentation() || (a == 198 && (b == 18 || b == 19)) {
                Reach::Nowhere
            } else {
                Reach::World
            }
        }
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            if ip.is_loopback() {
                Reach::Machine
            } else if a & 0xfe00 == 0xfc00 || a & 0xffc0 == 0xfe80 {
                Reach::Site
            } else if ip.is_unspecified() || a >= 0xff00 || (a == 0x2001 && b == 0x0db8) || a < 0x0064 {
                Reach::Nowhere
            } else {
                Reach::World
            }
        }
    }
}

impl NetAddress {
    /// An address in its one form.
    #[must_use]
    pub fn new(ip: IpAddr, port: u16, carrier: Carrier) -> Self {
        Self { ip: ip.to_canonical(), port, carrier }
    }

    /// The IP address, canonical.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What carries connections to it.
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// From where it can be reached; a port of zero is nowhere.
    #[must_use]
    pub fn reach(&self) -> Reach {
        if self.port == 0 { Reach::Nowhere } else { reach_of(self.ip) }
    }

    /// The network that it lies in.
    #[must_use]
    pub fn group(&self) -> Group {
        Group::of(self.ip)
    }
}

/// Bytes of an address's encoding: sixteen of the IP address (IPv4 as `::ffff:a.b.c.d`), port, carrier.
pub const ADDRESS_BYTES: usize = 16 + 2 + 1;

impl BorshSerialize for NetAddress {
    fn serialize<W: std::io::Write>(&self, writer: &mut W) -> std::io::Result<()> {
        let ip = match self.ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        writer.write_all(&ip.octets())?;
        (self.port, self.carrier).serialize(writer)
    }
}

impl BorshDeserialize for NetAddress {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        let ip = Ipv6Addr::from(<[u8; 16]>::deserialize_reader(reader)?);
        let (port, carrier) = <(u16, Carrier)>::deserialize_reader(reader)?;
        Ok(Self::new(IpAddr::V6(ip), port, carrier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn p11_an_address_has_one_form() {
        let plain = NetAddress::new(ip("8.8.4.4"), 1, Carrier::Tcp);
        let mapped = NetAddress::new(ip("::ffff:8.8.4.4"), 1, Carrier::Tcp);
        assert_eq!(plain, mapped);
        assert_eq!(Group::of(ip("::ffff:8.8.4.4")), Group::of(ip("8.8.200.1")));
        let bytes = borsh::to_vec(&plain).expect("a vector takes all");
        assert_eq!(bytes.len(), ADDRESS_BYTES);
        assert_eq!(borsh::from_slice::<NetAddress>(&bytes).expect("read back"), plain);
    }

    #[test]
    fn p10_groups_are_what_one_operator_can_buy_at_once() {
        for (one, other, same) in [
            ("8.8.0.1", "8.8.255.255", true),
            ("8.8.0.1", "8.9.0.1", false),
            ("2a00:1450::1", "2a00:1450:ffff::1", true),
            ("2a00:1450::1", "2a00:1451::1", false),
            // One who owns 8.8.0.1 owns these as well.
            ("8.8.0.1", "2002:808:1::1", true),
            ("8.8.0.1", "64:ff9b::808:1", true),
            ("8.8.0.1", "2001:0:1:2:3:4:f7f7:fffe", true),
            ("127.0.0.1", "127.9.9.9", true),
            ("127.0.0.1", "::1", true),
            ("10.1.1.1", "10.200.1.1", true),
            ("10.1.1.1", "192.168.1.1", false),
        ] {
            assert_eq!(Group::of(ip(one)) == Group::of(ip(other)), same, "{one} {other}");
        }
        assert!(Group::of(ip("8.8.8.8")).is_counted());
        for near in ["127.0.0.1", "::1", "192.168.1.1", "10.0.0.1", "fe80::1", "fd00::1"] {
            assert!(!Group::of(ip(near)).is_counted(), "{near}");
        }
    }

    #[test]
    fn a_stranger_is_not_heard_about_our_own_site() {
        let reach = |text: &str| reach_of(ip(text));
        for (who, of, heard) in [
            ("8.8.8.8", "9.9.9.9", true),
            ("8.8.8.8", "192.168.1.1", false),
            ("8.8.8.8", "127.0.0.1", false),
            ("192.168.1.7", "192.168.1.1", true),
            ("192.168.1.7", "127.0.0.1", false),
            ("192.168.1.7", "8.8.8.8", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("8.8.8.8", "0.0.0.0", false),
            ("8.8.8.8", "224.0.0.1", false),
            ("8.8.8.8", "2001:db8::1", false),
            ("8.8.8.8", "::", false),
        ] {
            assert_eq!(reach(who).may_tell_of(reach(of)), heard, "{who} {of}");
        }
    }
}
