//! JSON of the network.

use chain::{height::Height, time::Time};
use serde::{Deserialize, Serialize};

use super::Coins;

/// One entry of `getpeerinfo`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Counts connections since the node was started.
    pub id: u64,
    /// The peer's address.
    pub addr: String,
    /// The identity that it proved.
    pub peer_id: String,
    /// Whether it connected to us.
    pub inbound: bool,
    /// `inbound`, `outbound-full`, `anchor`, `manual` or `feeler`.
    pub connection_type: String,
    /// When it connected.
    pub conntime: Time,
    /// Its software.
    pub subver: String,
    /// The height of its tip when it connected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub startingheight: Option<Height>,
    /// The height of the best header that it announced.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub synced_headers: Option<Height>,
    /// The height of the last block that it and this node both have.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub synced_blocks: Option<Height>,
    /// What it has to answer for, in points: at 100 it is banned.
    #[serde(default)]
    pub score: u32,
    /// When it last gave a block that was new here, in Unix seconds; 0 for never.
    #[serde(default)]
    pub last_block: u64,
    /// When it last gave a transaction that was new here, in Unix seconds; 0 for never.
    #[serde(default)]
    pub last_transaction: u64,
    /// The shortest round trip of a ping, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub minping: Option<f64>,
    /// The round trip of the last ping, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pingtime: Option<f64>,
    /// Bytes sent to it on its streams; encryption and framing come on top and are not counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bytessent: Option<u64>,
    /// Bytes received from it on its streams; encryption and framing come on top and are not counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bytesrecv: Option<u64>,
}

/// One entry of `listbanned`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanInfo {
    /// The network, or the identity.
    pub address: String,
    /// Since when, in Unix seconds.
    pub ban_created: u64,
    /// Until when, in Unix seconds.
    pub banned_until: u64,
    /// For how many seconds in all.
    pub ban_duration: u64,
    /// Why.
    pub ban_reason: String,
}

/// `getnetworkinfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// The software's version as one number: 10,000 major + 100 minor + patch.
    pub version: u32,
    /// The software, as it names itself to peers.
    pub subversion: String,
    /// The version of the peer-to-peer protocol.
    pub protocolversion: u32,
    /// All connections.
    pub connections: u32,
    /// Peers that connected to us.
    pub connections_in: u32,
    /// Peers to which we connected.
    pub connections_out: u32,
    /// Always true.
    pub networkactive: bool,
    /// The least fee per 1,000 bytes that is relayed.
    pub relayfee: Coins,
    /// The node's own identity.
    pub peer_id: String,
    /// Where the node listens, in the form that `--bootstrap` takes.
    pub localaddresses: Vec<String>,
    /// What an operator should know.
    pub warnings: Vec<String>,
}
