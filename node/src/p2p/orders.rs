//! What an operator orders about peers: bans and the end of connections. The service does it, the engine is not asked.

use thiserror::Error;
use tokio::sync::oneshot;

use super::book::bans::{Ban, Subject};

/// An order. Each carries where its answer goes.
#[derive(Debug)]
pub enum Order {
    /// Bans a subject, and ends its connections.
    Ban {
        /// Whom.
        subject: Subject,
        /// For how long, in seconds from now.
        secs: u64,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<(), OrderRefusal>>,
    },
    /// Ends a ban.
    Unban {
        /// Whose.
        subject: Subject,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<(), OrderRefusal>>,
    },
    /// Ends all bans.
    ClearBans {
        /// Where the answer goes.
        answer: oneshot::Sender<Result<(), OrderRefusal>>,
    },
    /// Tells all bans.
    ListBans {
        /// Where they go.
        answer: oneshot::Sender<Vec<(Subject, Ban)>>,
    },
    /// Ends the connections of a peer. It may come back.
    Disconnect {
        /// Its number, its address as it is shown, or its identity.
        peer: String,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<(), OrderRefusal>>,
    },
}

/// Why an order is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OrderRefusal {
    /// It is banned already (Bitcoin Core's "IP/Subnet already banned").
    #[error("IP/Subnet already banned: `setban SUBNET remove` ends the ban")]
    Banned,
    /// It is not banned (Bitcoin Core's "Unban failed").
    #[error("Unban failed: it is not banned; listbanned shows who is")]
    NotBanned,
    /// As many as there may be.
    #[error("{0}")]
    TooMany(String),
    /// No such peer (Bitcoin Core's "Node not found in connected nodes").
    #[error("Node not found in connected nodes; getpeerinfo shows them")]
    NotConnected,
}
