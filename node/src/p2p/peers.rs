//! What can be seen of the network from outside its task: peers, addresses, counts.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::RwLock;
use tokio::sync::watch;

use super::{Peer, Traffic, wire::Status};

/// A connected peer, as `getpeerinfo` shows it.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Its token.
    pub id: Peer,
    /// Its libp2p identity.
    pub identity: String,
    /// The multiaddress of its first connection.
    pub address: String,
    /// Whether we dialled it.
    pub outbound: bool,
    /// How the connection came to be.
    pub connection_type: ConnectionType,
    /// What goes to and comes from it.
    pub traffic: Arc<Traffic>,
    /// When it last gave us a block that was new, in Unix seconds.
    pub last_block_secs: Option<u64>,
    /// When it last gave us a transaction that was new, in Unix seconds.
    pub last_transaction_secs: Option<u64>,
    /// The shortest ping.
    pub min_ping: Option<Duration>,
    /// Since when, in Unix seconds of this machine's clock.
    pub connected_since_secs: u64,
    /// How long the last ping took.
    pub ping: Option<Duration>,
    /// The last status that it sent.
    pub status: Option<Status>,
}

/// How a connection came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionType {
    /// The peer connected to us.
    Inbound,
    /// The book chose it.
    OutboundFull,
    /// It was connected before the last restart, and was dialled first.
    Anchor,
    /// It was named by hand.
    Manual,
    /// To see whether somebody is there.
    Feeler,
}

impl ConnectionType {
    /// As `getpeerinfo` names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::OutboundFull => "outbound-full",
            Self::Anchor => "anchor",
            Self::Manual => "manual",
            Self::Feeler => "feeler",
        }
    }
}

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The network's state, written by the service and read by anyone; no lock is held across a wait.
#[derive(Debug, Default)]
pub struct NetView {
    identity: String,
    peers: RwLock<BTreeMap<Peer, PeerInfo>>,
    listening: watch::Sender<Vec<String>>,
    bans: AtomicUsize,
    /// Peers sent away because they do not speak our chain's protocols (threat P24).
    pub other_chain: Count,
    /// Peers sent away because a message of theirs broke the limits or did not decode.
    pub malformed: Count,
    /// Requests of peers that were dropped because too many were open.
    pub requests_dropped: Count,
    /// Gossiped transactions passed over because too many waited for a verdict.
    pub gossip_dropped: Count,
    addresses_known: AtomicU64,
}

impl NetView {
    pub(super) fn new(identity: String) -> Self {
        Self { identity, ..Self::default() }
    }

    /// This node's libp2p identity.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// All connected peers of our chain, in the order in which they came.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.peers.read().values().cloned().collect()
    }

    /// The full addresses that we listen on, identity included. Complete from the start where numeric
    /// addresses are listened on; those that `0.0.0.0` stands for come a moment later.
    #[must_use]
    pub fn listening(&self) -> Vec<String> {
        self.listening.borrow().clone()
    }

    /// The same, for those who wait for a change.
    #[must_use]
    pub fn watch_listening(&self) -> watch::Receiver<Vec<String>> {
        self.listening.subscribe()
    }

    /// The bans that hold.
    #[must_use]
    pub fn bans(&self) -> usize {
        self.bans.load(Ordering::Relaxed)
    }

    pub(super) fn set_bans(&self, bans: usize) {
        self.bans.store(bans, Ordering::Relaxed);
    }

    pub(super) fn insert(&self, info: PeerInfo) {
        self.peers.write().insert(info.id, info);
    }

    pub(super) fn remove(&self, peer: Peer) {
        self.peers.write().remove(&peer);
    }

    pub(super) fn set_ping(&self, peer: Peer, ping: Duration) {
        if let Some(info) = self.peers.write().get_mut(&peer) {
            info.ping = Some(ping);
            info.min_ping = Some(info.min_ping.map_or(ping, |least| least.min(ping)));
        }
    }

    pub(super) fn set_status(&self, peer: Peer, status: Status) {
        if let Some(info) = self.peers.write().get_mut(&peer) {
            info.status = Some(status);
        }
    }

    pub(super) fn set_gift(&self, peer: Peer, is_block: bool) {
        if let Some(info) = self.peers.write().get_mut(&peer) {
            let last = if is_block { &mut info.last_block_secs } else { &mut info.last_transaction_secs };
            *last = Some(now_secs());
        }
    }

    /// Addresses in the book when it was last looked at.
    #[must_use]
    pub fn addresses_known(&self) -> u64 {
        self.addresses_known.load(Ordering::Relaxed)
    }

    pub(super) fn set_addresses_known(&self, count: u64) {
        self.addresses_known.store(count, Ordering::Relaxed);
    }

    pub(super) fn add_listening(&self, address: String) {
        self.listening.send_modify(|listening| listening.push(address));
    }

    pub(super) fn remove_listening(&self, address: &str) {
        self.listening.send_modify(|listening| listening.retain(|listening| listening != address));
    }
}

/// Unix seconds now; a clock before 1970 counts as 1970.
pub(super) fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
