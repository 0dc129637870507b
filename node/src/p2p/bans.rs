//! Peers that may not come back for a while. The list is bounded and forgets (threat P11).

use std::{collections::VecDeque, time::Duration};

use libp2p::PeerId;
use tokio::time::Instant;

/// Seconds that a ban lasts. An identity costs nothing, so a longer one would only keep out the honest peer
/// that made a mistake.
pub const BAN_SECS: u64 = 3_600;
/// Bans at a time; the oldest makes room.
const MAX_BANS: usize = 1_024;

/// The bans, oldest first.
#[derive(Default)]
pub(super) struct Bans(VecDeque<(Instant, PeerId)>);

impl Bans {
    /// Bans `peer` from `now` on. Returns whoever has to be let in again to make room.
    pub(super) fn add(&mut self, peer: PeerId, now: Instant) -> Option<PeerId> {
        self.0.retain(|(_, banned)| *banned != peer);
        let evicted = if self.0.len() >= MAX_BANS { self.0.pop_front() } else { None };
        self.0.push_back((now + Duration::from_secs(BAN_SECS), peer));
        evicted.map(|(_, peer)| peer)
    }

    /// How many hold.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// When the next ban ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.0.front().map(|(end, _)| *end)
    }

    /// Takes out a ban that has ended.
    pub(super) fn take_ended(&mut self, now: Instant) -> Option<PeerId> {
        self.next_end().filter(|end| *end <= now)?;
        self.0.pop_front().map(|(_, peer)| peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p11_bans_are_bounded_and_end() {
        let mut bans = Bans::default();
        let start = Instant::now();
        let first = PeerId::random();
        assert_eq!(bans.add(first, start), None);
        assert_eq!(bans.add(first, start), None);
        for _ in 1..MAX_BANS {
            assert_eq!(bans.add(PeerId::random(), start), None);
        }
        assert_eq!(bans.add(PeerId::random(), start), Some(first));
        assert_eq!(bans.0.len(), MAX_BANS);

        let end = bans.next_end().expect("there are bans");
        assert_eq!(bans.take_ended(start), None);
        let mut ended = 0;
        while bans.take_ended(end).is_some() {
            ended += 1;
        }
        assert_eq!((ended, bans.next_end()), (MAX_BANS, None));
    }
}
