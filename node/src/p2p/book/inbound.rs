//! Who must leave when all inbound places are taken and somebody else knocks.
//!
//! As in Bitcoin Core: those are protected who are costly to imitate. A few by their network group (an attacker does
//! not know the key), a few by the shortest ping (distance cannot be faked), a few who gave us transactions or blocks
//! most recently (that takes work), and half of the rest by their age. Of those left, the youngest of the most
//! crowded group leaves. So a flood of newcomers drives out newcomers.

use std::collections::BTreeMap;

use super::{Group, chance::keyed};

/// Peers protected by their group.
const PROTECTED_BY_GROUP: usize = 4;
/// Peers protected by their ping.
const PROTECTED_BY_PING: usize = 8;
/// Peers protected by the last transaction that they gave.
const PROTECTED_BY_TRANSACTION: usize = 4;
/// Peers protected by the last block that they gave.
const PROTECTED_BY_BLOCK: usize = 4;

/// An inbound peer that might leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Whoever asks knows it by this.
    pub id: u64,
    /// The network it lies in.
    pub group: Group,
    /// Since when it is connected, in milliseconds of a clock that never goes back.
    pub connected_ms: u64,
    /// Its shortest ping, in microseconds.
    pub ping_us: Option<u64>,
    /// When it last gave a transaction that was new and valid.
    pub transaction_ms: Option<u64>,
    /// When it last gave a block that was new and valid.
    pub block_ms: Option<u64>,
}

/// Who leaves; nobody where all are protected.
#[must_use]
pub fn choose_leaver(candidates: &[Candidate], key: &[u8; 32]) -> Option<u64> {
    let mut left: Vec<Candidate> = candidates.to_vec();
    let protect = |left: &mut Vec<Candidate>, count: usize| left.truncate(left.len().saturating_sub(count));
    // Each sorts those to protect to the end.
    left.sort_by_key(|peer| (keyed(key, &[peer.group.to_number()]), peer.id));
    protect(&mut left, PROTECTED_BY_GROUP);
    left.sort_by_key(|peer| (std::cmp::Reverse(peer.ping_us.unwrap_or(u64::MAX)), peer.id));
    protect(&mut left, PROTECTED_BY_PING);
    left.sort_by_key(|peer| (peer.transaction_ms, peer.id));
    let givers = left.iter().filter(|peer| peer.transaction_ms.is_some()).count();
    protect(&mut left, PROTECTED_BY_TRANSACTION.min(givers));
    left.sort_by_key(|peer| (peer.block_ms, peer.id));
    let givers = left.iter().filter(|peer| peer.block_ms.is_some()).count();
    protect(&mut left, PROTECTED_BY_BLOCK.min(givers));
    left.sort_by_key(|peer| (std::cmp::Reverse(peer.connected_ms), peer.id));
    let half = left.len() / 2;
    protect(&mut left, half);

    let mut crowds: BTreeMap<Group, (usize, u64)> = BTreeMap::new();
    for peer in &left {
        let (count, youngest_ms) = crowds.entry(peer.group).or_default();
        *count += 1;
        *youngest_ms = (*youngest_ms).max(peer.connected_ms);
    }
    let (crowd, _) = crowds.into_iter().max_by_key(|(_, crowd)| *crowd)?;
    left.iter()
        .filter(|peer| peer.group == crowd)
        .max_by_key(|peer| (peer.connected_ms, peer.id))
        .map(|peer| peer.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: u8) -> Group {
        Group::of([8, number, 0, 1].into())
    }

    #[test]
    fn p10_a_flood_of_newcomers_drives_out_newcomers() {
        let key = [7; 32];
        let honest = |id: u64| Candidate {
            id,
            group: group(u8::try_from(id).expect("small")),
            connected_ms: 1_000 + id,
            ping_us: Some(20_000 + id),
            transaction_ms: None,
            block_ms: None,
        };
        let mut inside: Vec<Candidate> = (0..40).map(honest).collect();
        // The attacker takes all places that are left, from two groups, with the shortest pings of all.
        for id in 1_000..1_053 {
            let group = group(if id % 2 == 0 { 200 } else { 201 });
            let peer = Candidate { id, group, connected_ms: id * 1_000, ping_us: Some(1), ..honest(0) };
            inside.push(peer);
        }
        for id in 2_000..4_000 {
            let leaver = choose_leaver(&inside, &key).expect("somebody may leave");
            assert!(leaver >= 1_000, "{leaver} is honest");
            inside.retain(|peer| peer.id != leaver);
            inside.push(Candidate {
                id,
                group: group(200),
                connected_ms: id * 1_000,
                ping_us: Some(1),
                ..honest(0)
            });
        }
        assert_eq!(inside.iter().filter(|peer| peer.id < 1_000).count(), 40);
    }

    #[test]
    fn who_gives_blocks_stays_and_few_peers_are_all_protected() {
        let peer = |id: u64| Candidate {
            id,
            group: group(1),
            connected_ms: id,
            ping_us: None,
            transaction_ms: None,
            block_ms: (id == 99).then_some(5),
        };
        let inside: Vec<Candidate> = (0..100).map(peer).collect();
        // The youngest but for the one that gave a block.
        assert_ne!(choose_leaver(&inside, &[0; 32]), Some(99));
        assert!(choose_leaver(&inside, &[0; 32]).is_some());
        assert_eq!(choose_leaver(&inside[..12], &[0; 32]), None);
        assert_eq!(choose_leaver(&[], &[0; 32]), None);
    }
}
