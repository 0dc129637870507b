//! JSON of conditions of the network.

use serde::{Deserialize, Serialize};

/// What is done to the traffic with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Conditions {
    /// How much later everything that is sent to it leaves, in milliseconds.
    pub delay_ms: u32,
    /// How much later still at the most, drawn anew each time, in milliseconds.
    pub jitter_ms: u32,
    /// The part of what is sent that never leaves, from 0 to 1.
    pub loss: f64,
    /// Whether there is no connection with it at all.
    pub blocked: bool,
}

/// One entry of `getconditions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerConditions {
    /// The identity that the peer proves, or `all`.
    pub peer: String,
    /// What is done.
    #[serde(flatten)]
    pub conditions: Conditions,
}
