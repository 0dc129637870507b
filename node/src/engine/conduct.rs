//! Misconduct: what a peer must not do, and what follows, in one place.
//!
//! Only what no honest node does is misconduct. What an honest node may do by a race, a slow disk, a clock of its
//! own or another operator's order is none, and is passed over where it is noticed (threat P12).

use chain::{error::SubmitError, hash::BlockHash, store::Store};
use thiserror::Error;

use super::Engine;
use crate::p2p::{Peer, ToNet};

/// What a peer did that no honest node does.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Misconduct {
    /// Its status names another chain.
    #[error("is on another chain, {0}")]
    OtherChain(BlockHash),
    /// A header that breaks a rule.
    #[error("sent a header that is refused: {0}")]
    Header(String),
    /// Another block came than was asked for.
    #[error("sent another block than {0}")]
    OtherBlock(BlockHash),
    /// A block that breaks a rule, sent or pushed.
    #[error("sent an invalid block {hash}: {reason}")]
    InvalidBlock {
        /// The block.
        hash: BlockHash,
        /// The rule.
        reason: String,
    },
}

/// What follows from misconduct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The peer is disconnected and may come back.
    Disconnect,
    /// The peer is disconnected and may not come back for a while.
    Ban,
}

impl Misconduct {
    /// A block that was refused.
    #[must_use]
    pub fn block(hash: BlockHash, error: &impl ToString) -> Self {
        Self::InvalidBlock { hash, reason: error.to_string() }
    }

    /// A header that was refused.
    #[must_use]
    pub fn header(error: &SubmitError) -> Self {
        Self::Header(error.to_string())
    }

    /// What follows.
    #[must_use]
    pub const fn consequence(&self) -> Consequence {
        match self {
            Self::OtherChain(_) | Self::Header(_) | Self::OtherBlock(_) | Self::InvalidBlock { .. } => {
                Consequence::Ban
            }
        }
    }
}

impl<S: Store> Engine<S> {
    /// Lets a peer bear what follows from what it did.
    pub(super) fn blame(&mut self, peer: Peer, misconduct: Misconduct) {
        let reason = misconduct.to_string();
        tracing::warn!(%peer, %reason, "peer is at fault");
        self.peers.remove(&peer);
        self.window.forget_peer(peer);
        let ban = misconduct.consequence() == Consequence::Ban;
        self.send(ToNet::Disconnect { peer, reason, ban });
    }
}
