//! The service under conditions: what is held back, lost and cut. Without a [`Lab`] everything passes.

use std::sync::Arc;

use libp2p::{PeerId, gossipsub::MessageAcceptance};
use tokio::time::{Duration, Instant};

use super::{
    FromNet, Gossip, Peer, RequestFailure, Service, ToNet,
    conditions::{Fate, Lab, Message},
};

impl Service {
    /// The same under the conditions of `lab`, as they change.
    #[must_use]
    pub fn with_lab(mut self, lab: Arc<Lab>) -> Self {
        self.swarm.behaviour_mut().gate.0 = Some(Arc::clone(&lab));
        self.lab = Some(lab);
        self
    }

    /// What is left to be done at once of a command.
    pub(super) fn through_lab(&mut self, command: ToNet) -> Option<ToNet> {
        let Some(lab) = &self.lab else { return Some(command) };
        let to = match &command {
            ToNet::Request { peer, .. } => {
                self.sessions.by_token(*peer).map(|(identity, _)| (*peer, identity))
            }
            ToNet::Reply { reply, .. } => self.sessions.asker(*reply),
            _ => None,
        };
        let Some((peer, identity)) = to else { return Some(command) };
        match lab.fate(&identity) {
            Fate::Now => Some(command),
            Fate::Later(delay) => match self.held.hold(peer, Instant::now() + delay, Message::Do(command)) {
                None | Some(Message::Tell(_)) => None,
                Some(Message::Do(command)) => Some(command),
            },
            Fate::Lost => {
                self.lose(peer, command);
                None
            }
        }
    }

    /// A command is lost on its way. Who asked hears of it when it would have waited long enough; of a lost answer
    /// the peer is to find out by itself.
    fn lose(&mut self, peer: Peer, command: ToNet) {
        let ToNet::Request { id, request, .. } = command else { return };
        let due = Instant::now() + Duration::from_secs(request.kind().timeout_secs());
        let unanswered = FromNet::Response { peer, id, result: Err(RequestFailure::Timeout) };
        if let Some(Message::Tell(unanswered)) = self.held.hold(peer, due, Message::Tell(unanswered)) {
            self.tell(unanswered);
        }
    }

    /// Tells the engine of a payment that was heard, in its time.
    pub(super) fn tell_of_payment(&mut self, from: &PeerId, peer: Peer, gossip: Gossip, told: FromNet) {
        match self.lab.as_ref().map_or(Fate::Now, |lab| lab.fate(from)) {
            Fate::Now => self.tell(told),
            Fate::Later(delay) => {
                if let Some(Message::Tell(told)) =
                    self.held.hold(peer, Instant::now() + delay, Message::Tell(told))
                {
                    self.tell(told);
                }
            }
            Fate::Lost => self.pass_over(gossip),
        }
    }

    /// A payment is passed over, and nobody is blamed for it.
    fn pass_over(&mut self, gossip: Gossip) {
        if let Some((peer, message)) = self.unjudged.judge(gossip) {
            self.report(&peer, &message, MessageAcceptance::Ignore);
        }
    }

    /// Lets go of what is due.
    pub(super) fn release_held(&mut self, now: Instant) {
        while let Some(message) = self.held.take_due(now) {
            match message {
                Message::Do(command) => self.act(command),
                Message::Tell(told) => self.tell(told),
            }
        }
    }

    /// Ends what is held back for a peer that is gone.
    pub(super) fn end_held(&mut self, peer: Peer) {
        for message in self.held.take_of(peer) {
            match message {
                Message::Do(ToNet::Request { id, .. }) | Message::Tell(FromNet::Response { id, .. }) => {
                    let result = Err(RequestFailure::Disconnected);
                    self.tell(FromNet::Response { peer, id, result });
                }
                Message::Tell(FromNet::Transaction { gossip, .. }) => self.pass_over(gossip),
                // An answer that nobody waits for any more.
                Message::Do(_) | Message::Tell(_) => {}
            }
        }
    }

    /// Conditions have changed: whoever is cut off is sent away, and whoever may be let in again is dialled at once.
    pub(super) fn conditions_changed(&mut self) {
        let Some(lab) = self.lab.clone() else { return };
        for identity in self.sessions.identities() {
            if lab.of(&identity).blocked {
                self.dismiss(identity, "cut off by the conditions that were set", false);
            }
        }
        self.dials.hurry(Instant::now());
    }
}

/// Waits until conditions change, for ever where there are none.
pub(super) async fn changed(lab: Option<Arc<Lab>>) {
    match lab {
        Some(lab) => lab.changed().await,
        None => std::future::pending().await,
    }
}
