//! The network between nodes: libp2p over TCP, in a task of its own.
//!
//! **What.** [`Service`] owns the swarm. The engine tells it what to do with [`ToNet`] and hears what happened
//! as [`FromNet`]; both are plain data, and so is all of [`wire`], so that an engine without sockets and a
//! simulator speak the same words. Peers, requests and gossip are named by small tokens; libp2p's types stay
//! inside this room.
//!
//! **Why so.** Blocks, headers, tips and pushed blocks each have a request-response protocol of their own, so
//! that bulk never starves announcements; gossipsub carries transactions alone, because in a small network it
//! loses what is published before the mesh has formed. Protocol names and the gossip topic carry the chain, so
//! that nodes of two chains find no word in common (threat P24).
//!
//! **Promises to the engine.**
//! - A peer is reported by [`FromNet::Connected`] once, before anything else of it, and only after it was
//!   proved to speak our chain's protocols; [`FromNet::Disconnected`] is the last that is heard of it. However
//!   many connections it has: it is one [`Peer`].
//! - Every [`ToNet::Request`] gets exactly one [`FromNet::Response`], before the peer's `Disconnected` (only
//!   beyond [`service::OUTBOX_LIMIT`] undelivered events is a failure not reported: the engine's own deadline
//!   covers that).
//! - A peer that sends what breaks [`wire`]'s limits is disconnected by the service itself.
//!
//! **No deadlock.** Both queues are bounded, and an engine that waits for room in the command queue while the
//! service waits for room in the event queue would wait for ever. So the service never waits for the engine
//! alone: while events wait for room it goes on taking commands. It then stops reading from the network
//! (peers are held back by TCP, nothing piles up here), so that what a command can add to the waiting events is one
//! failed request, and these are bounded by [`service::OUTBOX_LIMIT`].
//!
//! **What it must never do.** Judge blocks or transactions, keep unbounded queues, believe a length, dial
//! itself, or let a peer's clock in.

use std::{fmt, path::PathBuf, sync::Arc};

use chain::{hash::BlockHash, transaction::Transaction};
use thiserror::Error;
use tokio::sync::oneshot;

use self::{
    conduct::Misconduct,
    wire::{Request, Response, Verdict},
};

pub mod addresses;
mod behaviour;
pub mod book;
mod codec;
mod commands;
pub mod conditions;
pub mod conduct;
mod dials;
mod directing;
mod doors;
mod finding;
mod gossip;
mod guard;
mod hearing;
mod holding;
mod identity;
pub mod orders;
pub mod peers;
mod raw_block;
pub mod service;
mod sessions;
mod traffic;
mod transport;
pub mod wire;

#[cfg(test)]
mod tests;

pub use self::{
    book::bans::BAN_SECS, identity::IdentityError, peers::NetView, service::Service, traffic::Traffic,
};

macro_rules! token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

token! {
    /// A connected peer, from `Connected` to `Disconnected`. The service counts upwards and uses no number
    /// twice, so that a peer that comes back is a new one.
    Peer
}
token! {
    /// A request of ours; the engine chooses the number and gets it back with the response.
    RequestId
}
token! {
    /// A request of a peer, to be answered at most once.
    Reply
}
token! {
    /// A transaction that a peer gossiped, which is not forwarded before the engine's verdict.
    Gossip
}

/// What the engine tells the network to do.
#[derive(Debug)]
pub enum ToNet {
    /// Ask `peer`. Answered by [`FromNet::Response`] with the same `id`.
    Request {
        /// Whom.
        peer: Peer,
        /// The engine's number, unlike those of its other open requests to this peer.
        id: RequestId,
        /// What.
        request: Request,
    },
    /// Answer a peer's request. A reply that is unknown by now (too late, or already used) is passed over.
    Reply {
        /// The request's token.
        reply: Reply,
        /// The answer, of the request's kind.
        response: Response,
    },
    /// Announce a transaction to everyone. Where nobody listens yet, it is kept and announced when someone does.
    Publish(Arc<Transaction>),
    /// What became of a gossiped transaction. Every [`FromNet::Transaction`] needs one.
    Verdict {
        /// The transaction's token.
        gossip: Gossip,
        /// The verdict.
        verdict: Verdict,
    },
    /// Close all connections to `peer`.
    Disconnect {
        /// Whom.
        peer: Peer,
        /// Why, for the log.
        reason: String,
        /// Whether it may not come back for [`BAN_SECS`].
        ban: bool,
    },
    /// Connect to an address such as `/ip4/127.0.0.1/tcp/18444/p2p/12D3KooW...`.
    Dial {
        /// The multiaddress, with or without `/p2p/` and the peer's identity.
        address: String,
        /// Whether to stay connected: dial again whenever the connection is lost (`addnode add`), or try
        /// once (`addnode onetry`).
        keep: bool,
        /// Where the answer goes: whether the address was understood and taken, not whether a node is there.
        answer: Option<oneshot::Sender<Result<(), DialRefusal>>>,
    },
    /// What an operator orders about bans and connections.
    Order(orders::Order),
    /// Stop dialling an address (`addnode remove`). Connections stay as they are.
    RemoveDial {
        /// The multiaddress as it was given.
        address: String,
        /// Where the answer goes.
        answer: Option<oneshot::Sender<Result<(), DialRefusal>>>,
    },
}

/// What the network tells the engine.
#[derive(Debug)]
pub enum FromNet {
    /// A peer of our chain is connected.
    Connected {
        /// Its token.
        peer: Peer,
        /// The address of its first connection.
        address: String,
        /// Whether we dialled it.
        outbound: bool,
        /// Its libp2p identity (`12D3KooW...`).
        identity: String,
        /// Under which number its share of what is scarce is counted (threat M08): the same for all whom one
        /// operator can be at little cost, and the same when the peer comes back.
        quota: u64,
    },
    /// A peer's last connection is closed.
    Disconnected {
        /// Its token, from now on unused.
        peer: Peer,
    },
    /// A peer asks.
    Request {
        /// Who.
        peer: Peer,
        /// How to answer.
        reply: Reply,
        /// What.
        request: Request,
    },
    /// A request of ours has ended.
    Response {
        /// Who was asked.
        peer: Peer,
        /// The engine's number.
        id: RequestId,
        /// The answer, of the request's kind, or why there is none.
        result: Result<Response, RequestFailure>,
    },
    /// A peer gossips a transaction. It decodes; nothing else about it is known.
    Transaction {
        /// Who forwarded it to us.
        peer: Peer,
        /// The token for the verdict.
        gossip: Gossip,
        /// The transaction.
        transaction: Box<Transaction>,
    },
    /// A peer did what costs points. What ends a connection at once the service sees to itself.
    Fault {
        /// Who.
        peer: Peer,
        /// What.
        misconduct: Misconduct,
    },
    /// We can be reached: what other nodes' `--bootstrap` takes, identity included.
    Listening {
        /// The full multiaddress.
        address: String,
    },
}

/// Why a request of ours has no response.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestFailure {
    /// Nothing came in the protocol's time ([`wire::Kind::timeout_secs`]).
    #[error("the peer did not answer in time")]
    Timeout,
    /// The peer is gone, or was never there.
    #[error("the peer is not connected")]
    Disconnected,
    /// As many requests of this kind as [`wire::Kind::requests_per_peer`] allows are open already; the peer is
    /// not at fault.
    #[error("too many requests of this kind are open to the peer")]
    Busy,
    /// The peer closed the stream without an answer: it is overloaded or unwilling.
    #[error("the peer did not answer: {0}")]
    Refused(String),
    /// The answer broke a limit or did not decode; the peer is being disconnected.
    #[error("the peer's answer is malformed: {0}")]
    Malformed(String),
}

/// Why an address is not dialled, or not forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DialRefusal {
    /// Not a multiaddress that we can dial.
    #[error(
        "{0:?} is not an address to dial: give a multiaddress such as /ip4/192.0.2.1/tcp/8444/p2p/12D3KooW..., or \
         HOST:PORT"
    )]
    NotAnAddress(String),
    /// An address of QUIC, in a program that was built without it.
    #[error(
        "{0:?} needs QUIC, which this program was built without: give a TCP address, or build with --features quic"
    )]
    NoQuic(String),
    /// The identity in the address is our own.
    #[error("the address is this node's own")]
    Own,
    /// It is kept connected already (Bitcoin Core's "Node already added").
    #[error("the address has been added already")]
    Known,
    /// It is not among those that are kept connected (Bitcoin Core's "Node could not be removed").
    #[error("the address has not been added before")]
    Unknown,
    /// As many as allowed are kept already.
    #[error("at most {0} addresses are kept connected: remove one first")]
    TooMany(usize),
    /// The swarm would not dial now (a limit of connections, or a ban).
    #[error("not dialled: {0}")]
    Denied(String),
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionCaps {
    /// Established connections that others opened.
    pub inbound: u32,
    /// Established connections that we opened.
    pub outbound: u32,
    /// Established connections to one peer. With 1, two nodes that dial each other at the same moment each
    /// close the other's connection and end with none; 3 leaves room for that.
    pub per_peer: u32,
    /// Connections in the middle of the handshake, outbound ones, and inbound ones of each carrier.
    pub pending: u32,
    /// Inbound connections in the middle of the handshake from one address (one IPv6 network of 64 bits); this
    /// machine's own, `127.0.0.1` and `::1`, is not counted.
    pub pending_per_address: u32,
    /// Inbound connections from one address, with the same exception.
    pub inbound_per_address: u32,
    /// Inbound connections from one network group; neighbours on a private network are not counted.
    pub inbound_per_group: u32,
}

impl Default for ConnectionCaps {
    /// Bitcoin Core's 125 in all, with more of them outbound: eight and a feeler are chosen by the book, the others by
    /// hand.
    fn default() -> Self {
        Self {
            inbound: 93,
            outbound: 32,
            per_peer: 3,
            pending: 64,
            pending_per_address: 4,
            inbound_per_address: 4,
            inbound_per_group: 24,
        }
    }
}

/// What the network needs to know to start.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// The chain's id, which is its genesis hash.
    pub chain: BlockHash,
    /// Multiaddresses to listen on, such as `/ip4/0.0.0.0/tcp/8444`; port 0 lets the system choose.
    pub listen: Vec<String>,
    /// Multiaddresses to stay connected to. Our own is passed over, so that all nodes of a network may share
    /// one list.
    pub bootstrap: Vec<String>,
    /// Peers that the book chooses and the node keeps connected to; with zero it dials nobody but those named by hand,
    /// and looks for nobody on the local network.
    pub outbound_places: usize,
    /// Whether nodes on the local network are looked for, by multicast DNS.
    pub search_nearby: bool,
    /// The file that keeps addresses, anchors and bans; made when there is something to keep.
    pub peers_file: PathBuf,
    /// The file that holds the node's key; made on first use.
    pub identity_file: PathBuf,
    /// How many connections.
    pub caps: ConnectionCaps,
}

/// Why the network cannot start or go on.
#[derive(Debug, Error)]
pub enum NetError {
    /// The key file.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// An address in the configuration.
    #[error("{0}")]
    Address(#[from] DialRefusal),
    /// An address to listen on in the configuration.
    #[error(
        "{0:?} is not an address to listen on: give a multiaddress of this machine such as /ip4/0.0.0.0/tcp/8444"
    )]
    ListenAddress(String),
    /// Listening failed.
    #[error("cannot listen on {address}: {reason}; free the port or choose another with --listen")]
    Listen {
        /// The address as configured.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// A listener ended while running, so that nobody can reach us any more.
    #[error("no longer listening on {addresses}: {reason}")]
    ListenerClosed {
        /// The addresses that were lost.
        addresses: String,
        /// The system's words.
        reason: String,
    },
    /// The system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
    /// libp2p refused its configuration.
    #[error("the network cannot be set up: {0}")]
    Setup(String),
}
