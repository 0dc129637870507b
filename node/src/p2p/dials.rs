//! Addresses that the node stays connected to: when to dial each again.
//!
//! No clock and no sockets in here; the service dials, and tells what came of it.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use tokio::time::Instant;

use super::DialRefusal;

/// Addresses kept at a time.
pub(super) const MAX_DIALS: usize = 64;
/// Milliseconds until the first retry: a devnet's nodes start in any order and are killed and started again.
const FIRST_DELAY_MS: u64 = 250;
/// Milliseconds between retries at most; each failure doubles the delay up to here.
const LONGEST_DELAY_MS: u64 = 60_000;
/// Doublings after which the delay has reached its limit.
const MAX_DOUBLINGS: u32 = 8;

/// What is done about an address.
enum State {
    /// To be dialled then.
    Waiting(Instant),
    /// Being dialled.
    Dialling(ConnectionId),
    /// The peer is connected, by this address or another.
    Connected,
}

struct Dial {
    address: Multiaddr,
    /// Who is there: as the address says, or else whom we met last.
    identity: Option<PeerId>,
    /// Failures in a row.
    failures: u32,
    state: State,
}

/// All kept addresses.
pub(super) struct Dials {
    list: Vec<Dial>,
    /// The standard library's random keys: delays need to differ between nodes, nothing more.
    random: RandomState,
    drawn: u64,
}

impl Dials {
    pub(super) fn new() -> Self {
        Self { list: Vec::new(), random: RandomState::new(), drawn: 0 }
    }

    /// Keeps `address`, to be dialled at once.
    pub(super) fn add(
        &mut self,
        address: Multiaddr,
        identity: Option<PeerId>,
        now: Instant,
    ) -> Result<(), DialRefusal> {
        if self.list.iter().any(|dial| dial.address == address) {
            return Err(DialRefusal::Known);
        }
        if self.list.len() >= MAX_DIALS {
            return Err(DialRefusal::TooMany(MAX_DIALS));
        }
        self.list.push(Dial { address, identity, failures: 0, state: State::Waiting(now) });
        Ok(())
    }

    /// Forgets `address`.
    pub(super) fn remove(&mut self, address: &Multiaddr) -> Result<(), DialRefusal> {
        let before = self.list.len();
        self.list.retain(|dial| dial.address != *address);
        if self.list.len() < before { Ok(()) } else { Err(DialRefusal::Unknown) }
    }

    /// When there is something to dial.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = self.list.iter().filter_map(|dial| match dial.state {
            State::Waiting(due) => Some(due),
            _ => None,
        });
        due.min()
    }

    /// An address that is due, with the identity that is known to be there.
    pub(super) fn due(&self, now: Instant) -> Option<(Multiaddr, Option<PeerId>)> {
        let due = self.list.iter().find(|dial| matches!(dial.state, State::Waiting(due) if due <= now));
        due.map(|dial| (dial.address.clone(), dial.identity))
    }

    /// `address` is being dialled.
    pub(super) fn started(&mut self, address: &Multiaddr, connection: ConnectionId) {
        if let Some(dial) = self.list.iter_mut().find(|dial| dial.address == *address) {
            dial.state = State::Dialling(connection);
        }
    }

    /// Whoever is at `address` is connected already.
    pub(super) fn satisfied(&mut self, address: &Multiaddr) {
        if let Some(dial) = self.list.iter_mut().find(|dial| dial.address == *address) {
            dial.state = State::Connected;
        }
    }

    /// `address` could not even be dialled.
    pub(super) fn refused(&mut self, address: &Multiaddr, now: Instant) {
        if let Some(index) = self.list.iter().position(|dial| dial.address == *address) {
            self.retry_later(index, now);
        }
    }

    /// A connection came to be, dialled by us or by the peer.
    pub(super) fn connected(&mut self, connection: ConnectionId, peer: PeerId) {
        for dial in &mut self.list {
            let ours = matches!(dial.state, State::Dialling(dialled) if dialled == connection);
            if ours {
                dial.identity = Some(peer);
            }
            if ours || (matches!(dial.state, State::Waiting(_)) && dial.identity == Some(peer)) {
                dial.state = State::Connected;
            }
        }
    }

    /// A dial failed. Returns the address, if it is a kept one, and the failures in a row.
    pub(super) fn failed(&mut self, connection: ConnectionId, now: Instant) -> Option<(Multiaddr, u32)> {
        let index = self.position(connection)?;
        self.retry_later(index, now);
        Some((self.list[index].address.clone(), self.list[index].failures))
    }

    /// The address that a connection is being made to.
    pub(super) fn address_of(&self, connection: ConnectionId) -> Option<Multiaddr> {
        self.position(connection).map(|index| self.list[index].address.clone())
    }

    /// The peer's last connection is closed. Where it was of use the next dial comes quickly; a peer of
    /// another chain, or one that we sent away, waits as if it had not answered.
    pub(super) fn lost(&mut self, peer: PeerId, useful: bool, now: Instant) {
        for index in 0..self.list.len() {
            let dial = &mut self.list[index];
            if matches!(dial.state, State::Connected) && dial.identity == Some(peer) {
                if useful {
                    dial.failures = 0;
                }
                self.retry_later(index, now);
            }
        }
    }

    /// Whatever waits is dialled now: something has changed for the better.
    pub(super) fn hurry(&mut self, now: Instant) {
        for dial in &mut self.list {
            if let State::Waiting(due) = &mut dial.state {
                *due = now.min(*due);
                dial.failures = 0;
            }
        }
    }

    fn position(&self, connection: ConnectionId) -> Option<usize> {
        let dials = |dial: &Dial| matches!(dial.state, State::Dialling(dialled) if dialled == connection);
        self.list.iter().position(dials)
    }

    /// Doubling delays, each shortened at random by up to a half, so that nodes that lost each other at one
    /// moment do not dial at one moment.
    fn retry_later(&mut self, index: usize, now: Instant) {
        self.drawn = self.drawn.wrapping_add(1);
        let random = self.random.hash_one(self.drawn);
        let dial = &mut self.list[index];
        let delay_ms = (FIRST_DELAY_MS << dial.failures.min(MAX_DOUBLINGS)).min(LONGEST_DELAY_MS);
        dial.failures = dial.failures.saturating_add(1);
        dial.state = State::Waiting(now + Duration::from_millis(delay_ms - random % (delay_ms / 2)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("a multiaddress")
    }

    #[test]
    fn delays_double_from_a_quarter_of_a_second_to_a_minute() {
        let mut dials = Dials::new();
        let mut now = Instant::now();
        dials.add(address(1), None, now).expect("added");
        for failures in 0..40u32 {
            let (due, identity) = dials.due(now).expect("due");
            assert_eq!((&due, identity), (&address(1), None));
            let connection = ConnectionId::new_unchecked(usize::try_from(failures).expect("small"));
            dials.started(&due, connection);
            assert_eq!(dials.next_due(), None);
            assert_eq!(dials.failed(connection, now), Some((address(1), failures + 1)));
            let next = dials.next_due().expect("waiting");
            let delay = next - now;
            let longest = Duration::from_millis((250u64 << failures.min(8)).min(60_000));
            assert!(delay <= longest && delay > longest / 2, "{failures}: {delay:?}");
            assert!(dials.due(now).is_none());
            now = next;
        }
    }

    #[test]
    fn a_lost_peer_is_dialled_quickly_and_a_useless_one_slowly() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut dials = Dials::new();
        dials.add(address(1), None, now).expect("added");
        for useful in [true, false] {
            for round in 0..8 {
                let connection = ConnectionId::new_unchecked(round);
                dials.started(&address(1), connection);
                dials.connected(connection, peer);
                assert_eq!(dials.next_due(), None);
                dials.lost(peer, useful, now);
            }
            let delay = dials.next_due().expect("waiting") - now;
            assert_eq!(delay <= Duration::from_millis(250), useful, "{delay:?}");
        }
    }

    #[test]
    fn a_peer_that_dials_us_need_not_be_dialled() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut dials = Dials::new();
        dials.add(address(1), Some(peer), now).expect("added");
        dials.add(address(2), Some(PeerId::random()), now).expect("added");
        dials.connected(ConnectionId::new_unchecked(9), peer);
        assert_eq!(dials.due(now).expect("the other").0, address(2));
        dials.remove(&address(2)).expect("removed");
        assert!(dials.due(now).is_none());
        dials.lost(peer, true, now);
        assert!(dials.next_due().is_some());
    }

    #[test]
    fn addresses_are_bounded_and_forgotten() {
        let now = Instant::now();
        let mut dials = Dials::new();
        for port in 0..64 {
            dials.add(address(port), None, now).expect("added");
        }
        assert_eq!(dials.add(address(1), None, now), Err(DialRefusal::Known));
        assert_eq!(dials.add(address(64), None, now), Err(DialRefusal::TooMany(MAX_DIALS)));
        assert_eq!(dials.remove(&address(64)), Err(DialRefusal::Unknown));
        dials.started(&address(5), ConnectionId::new_unchecked(5));
        assert_eq!(dials.address_of(ConnectionId::new_unchecked(5)), Some(address(5)));
        assert_eq!(dials.remove(&address(5)), Ok(()));
        assert_eq!(dials.address_of(ConnectionId::new_unchecked(5)), None);
    }
}
