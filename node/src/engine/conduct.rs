//! What a peer has to bear for its misconduct. What is misconduct, and what follows, says [`crate::p2p::conduct`];
//! here is which of the engine's errors are anybody's fault at all.

use chain::{
    error::{HeaderError, SpendError, SubmitError},
    store::Store,
};

use super::{Engine, mempool::AcceptError};
pub use crate::p2p::conduct::Misconduct;
use crate::p2p::{Peer, ToNet, conduct::Consequence};

/// Whether what was refused is nobody's fault: it came twice, too early for our clock, before its parent, or stands
/// on a block that was found invalid before. Whoever runs this node may have given that block up against the
/// rules' own choice; nor does refusing cost anything.
#[must_use]
pub const fn is_nobodys_fault(error: &SubmitError) -> bool {
    matches!(
        error,
        SubmitError::Duplicate
            | SubmitError::TooEarly { .. }
            | SubmitError::UnknownParent(_)
            | SubmitError::KnownInvalid(_)
            | SubmitError::Header(HeaderError::InvalidParent(_))
            | SubmitError::Storage(_)
    )
}

/// The fault of whoever gossiped a transaction that was not taken; nothing where it may well be valid on another
/// tip, or welcome in another mempool.
#[must_use]
pub fn fault_of_transaction(error: &AcceptError) -> Option<Misconduct> {
    match error {
        AcceptError::Invalid(error) => Some(Misconduct::InvalidTransaction(error.to_string())),
        // A coin is named by the id of what made it, so that its worth and its policy are the same on all tips.
        AcceptError::Spend(
            error @ (SpendError::Overspent { .. }
            | SpendError::AboveSupply
            | SpendError::WrongPolicy { .. }
            | SpendError::BadSignature { .. }),
        ) => Some(Misconduct::InvalidTransaction(error.to_string())),
        _ => None,
    }
}

impl<S: Store> Engine<S> {
    /// Lets a peer bear what follows from what it did.
    pub(super) fn blame(&mut self, peer: Peer, misconduct: Misconduct) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let ban = match misconduct.consequence() {
            Consequence::Ban => true,
            Consequence::Disconnect => false,
            Consequence::Points(points) => {
                if !state.score.add(points, self.heard_ms) {
                    tracing::debug!(%peer, %misconduct, points, "peer is at fault");
                    return;
                }
                true
            }
        };
        let reason = misconduct.to_string();
        tracing::warn!(%peer, %reason, ban, "peer is at fault");
        self.peers.remove(&peer);
        self.window.distrust(peer);
        self.forget_relay_peer(peer);
        self.send(ToNet::Disconnect { peer, reason, ban });
    }

    /// The points of each peer, of [`crate::p2p::conduct::BAN_POINTS`].
    pub fn peer_scores(&self) -> impl Iterator<Item = (Peer, u32)> {
        self.peers.iter().map(|(peer, state)| (*peer, state.score.points(self.heard_ms)))
    }
}

#[cfg(test)]
mod tests {
    use chain::{
        error::{BlockError, TransactionError},
        hash::{BlockHash, TxId},
        store::StoreError,
        time::Time,
        transaction::OutPoint,
    };

    use super::*;

    const HASH: BlockHash = BlockHash::ZERO;

    #[test]
    fn p12_what_an_honest_peer_may_do_is_no_fault() {
        for error in [
            SubmitError::Duplicate,
            SubmitError::TooEarly { time: Time::from_secs(9), ahead_secs: 7_200 },
            SubmitError::UnknownParent(HASH),
            SubmitError::KnownInvalid(HASH),
            SubmitError::Header(HeaderError::InvalidParent(HASH)),
            SubmitError::Storage(StoreError::new("no room")),
        ] {
            assert!(is_nobodys_fault(&error), "{error}");
        }
        for error in [
            SubmitError::Header(HeaderError::WorkOverflow),
            SubmitError::Invalid(BlockError::CoinbaseZero(0)),
        ] {
            assert!(!is_nobodys_fault(&error), "{error}");
        }
    }

    #[test]
    fn p12_a_transaction_is_a_fault_only_where_no_tip_could_mend_it() {
        let outpoint = OutPoint { txid: TxId::ZERO, index: 0 };
        let missing = AcceptError::Spend(SpendError::MissingCoin { input: 0, outpoint });
        for error in [missing, AcceptError::Known, AcceptError::Full, AcceptError::ShareSpent] {
            assert_eq!(fault_of_transaction(&error), None, "{error}");
        }
        for error in [
            AcceptError::Invalid(TransactionError::NoInputs),
            AcceptError::Spend(SpendError::BadSignature { input: 0 }),
        ] {
            let fault = fault_of_transaction(&error).expect("no honest node forwards it");
            assert!(matches!(fault.consequence(), Consequence::Points(_)));
        }
    }
}
