//! File descriptors: how many there are, what needs them first, and how many peers are left room for (threat S06).
//!
//! Each connection, file and socket takes one. Where they run out nothing works any more, and the database least of
//! all; so files and the RPC have theirs reserved, and peers have to do with the rest.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::p2p::ConnectionCaps;

/// Files that each of the two databases holds open, at the most, and its log and lock besides.
const DATABASE_FILES: u64 = 64 + 16;
/// Files with blocks, standard streams, the runtime's own, listening sockets, files that are written now and then.
const OTHER_FILES: u64 = 48;
/// Inbound peers that a node has room for whatever the limit is: without any it is of no use to the network.
const LEAST_INBOUND: u32 = 4;
/// Outbound peers that a node has room for whatever the limit is: fewer would make it easy to be cut off.
const LEAST_OUTBOUND: u32 = 8;

/// Callers of the RPC that peers leave room for. There may be more where there is room.
const CALLERS: u64 = 64;
/// What is reserved before any peer: files, and callers of the RPC.
const RESERVED: u64 = 2 * DATABASE_FILES + OTHER_FILES + CALLERS;

/// What all these connections take at the most.
fn needed(caps: &ConnectionCaps) -> u64 {
    // Handshakes are under way in both directions.
    u64::from(caps.inbound) + u64::from(caps.outbound) + 2 * u64::from(caps.pending)
}

/// The caps that fit into so many descriptors: first inbound peers have to go, then handshakes and outbound ones.
fn fitted(wanted: ConnectionCaps, descriptors: u64) -> ConnectionCaps {
    let room = descriptors.saturating_sub(RESERVED);
    let mut caps = wanted;
    let over = |caps: &ConnectionCaps| u32::try_from(needed(caps).saturating_sub(room)).unwrap_or(u32::MAX);
    caps.inbound = caps.inbound.saturating_sub(over(&caps)).max(LEAST_INBOUND.min(caps.inbound));
    caps.pending = caps.pending.saturating_sub(over(&caps).div_ceil(2)).max(caps.pending_per_address);
    caps.outbound = caps.outbound.saturating_sub(over(&caps)).max(LEAST_OUTBOUND.min(caps.outbound));
    caps
}

/// Raises this process's limit as far as it needs and may, and fits the connections into it.
pub(super) fn fit(wanted: ConnectionCaps) -> ConnectionCaps {
    let need = RESERVED + needed(&wanted);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < need) {
        limit.current = Some(limit.maximum.map_or(need, |maximum| maximum.min(need)));
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of file descriptors stays as it is");
        }
    }
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let caps = fitted(wanted, descriptors);
    if caps != wanted {
        let (inbound, outbound) = (caps.inbound, caps.outbound);
        tracing::warn!(
            descriptors,
            need,
            inbound,
            outbound,
            "few file descriptors are allowed, so that fewer peers are; raise the limit with ulimit -n"
        );
    }
    caps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s06_peers_get_what_files_and_callers_leave() {
        let wanted = ConnectionCaps::default();
        let enough = RESERVED + needed(&wanted);
        assert_eq!(fitted(wanted, enough), wanted);
        assert_eq!(fitted(wanted, u64::MAX), wanted);
        // The first to go are those who come to us.
        let fewer = fitted(wanted, enough - 50);
        assert_eq!((fewer.inbound, fewer.outbound), (wanted.inbound - 50, wanted.outbound));
        assert_eq!(fewer.pending, wanted.pending);
        for descriptors in 0..enough {
            let caps = fitted(wanted, descriptors);
            let least = caps.inbound == LEAST_INBOUND && caps.outbound == LEAST_OUTBOUND;
            assert!(least || RESERVED + needed(&caps) <= descriptors, "{descriptors}: {caps:?}");
            assert!(caps.inbound >= LEAST_INBOUND && caps.outbound >= LEAST_OUTBOUND, "{caps:?}");
        }
    }
}
