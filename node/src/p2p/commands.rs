//! What the service does at the engine's command, and how it takes in a gossiped transaction.

use std::sync::Arc;

use chain::transaction::Transaction;
use libp2p::{
    Multiaddr, PeerId,
    gossipsub::{MessageAcceptance, MessageId, PublishError},
    multiaddr::Protocol,
    swarm::{ConnectionId, DialError, dial_opts::DialOpts},
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    DialRefusal, FromNet, Peer, RequestFailure, RequestId, Service, ToNet,
    conduct::Misconduct,
    gossip, transport,
    wire::{CompactReply, Request, Response, Verdict},
};

impl Service {
    /// Does what the engine says, as far as conditions let it.
    pub(super) fn obey(&mut self, command: ToNet) {
        if let Some(command) = self.through_lab(command) {
            self.act(command);
        }
    }

    /// Does what the engine says.
    pub(super) fn act(&mut self, command: ToNet) {
        match command {
            ToNet::Request { peer, id, request } => {
                if let Err(failure) = self.ask(peer, id, request) {
                    self.tell(FromNet::Response { peer, id, result: Err(failure) });
                }
            }
            ToNet::Reply { reply, response } => self.reply(reply, response),
            ToNet::Publish(transaction) => self.publish(transaction),
            ToNet::Verdict { gossip, verdict } => {
                if let Some((peer, message)) = self.unjudged.judge(gossip) {
                    self.report(&peer, &message, gossip::acceptance(verdict));
                    if verdict == Verdict::Accept {
                        self.note_gift(peer, false);
                    }
                }
            }
            ToNet::Disconnect { peer, reason, ban } => {
                let Some((identity, _)) = self.sessions.by_token(peer) else { return };
                self.dismiss(identity, &reason, true);
                if ban {
                    self.ban(identity, &reason);
                }
            }
            ToNet::Dial { address, keep, answer } => {
                let result = self.dial_for_engine(&address, keep);
                give(answer, result);
            }
            ToNet::Order(order) => self.carry_out(order),
            ToNet::RemoveDial { address, answer } => {
                let parsed = transport::parse_address(&address);
                let result = parsed.and_then(|(address, _)| self.dials.remove(&address));
                give(answer, result);
            }
        }
    }

    fn ask(&mut self, peer: Peer, id: RequestId, request: Request) -> Result<(), RequestFailure> {
        let kind = request.kind();
        let (identity, session) = self.sessions.by_token(peer).ok_or(RequestFailure::Disconnected)?;
        if !session.may_ask(kind) {
            return Err(RequestFailure::Busy);
        }
        let protocol = self.swarm.behaviour_mut().of(kind);
        // Without this check, libp2p would dial a peer that is just leaving.
        if !protocol.is_connected(&identity) {
            return Err(RequestFailure::Disconnected);
        }
        let sent = protocol.send_request(&identity, Ok(request));
        session.asked(kind, sent, id);
        Ok(())
    }

    fn reply(&mut self, reply: super::Reply, response: Response) {
        if matches!(response, Response::Compact(CompactReply::Accepted))
            && let Some((_, identity)) = self.sessions.asker(reply)
        {
            self.note_gift(identity, true);
        }
        let Some((kind, channel)) = self.sessions.reply(reply) else {
            tracing::debug!(%reply, "answered too late, or twice");
            return;
        };
        if response.kind() != kind {
            // The channel is dropped, and the peer sees a stream without an answer.
            tracing::error!(%reply, ?kind, answered = ?response.kind(), "an answer of another kind");
            return;
        }
        let bytes = match &response {
            Response::Blocks(blocks) => blocks.iter().map(|block| block.bytes().len()).sum(),
            Response::Missing(list) | Response::Transactions(list) => {
                list.iter().map(|transaction| transaction.memory_bytes()).sum()
            }
            Response::Status(_) | Response::Headers(_) | Response::Compact(_) => 0,
        };
        if !self.sessions.sends(reply, bytes) {
            tracing::debug!(%reply, bytes, "too much is on its way to peers already");
            self.view.requests_dropped.add_one();
            return;
        }
        if self.swarm.behaviour_mut().of(kind).send_response(channel, Ok(response)).is_err() {
            tracing::debug!(%reply, "the peer no longer waits for the answer");
        }
    }

    /// Publishes a transaction, or keeps it until somebody listens.
    pub(super) fn publish(&mut self, transaction: Arc<Transaction>) {
        let topic = self.topic.clone();
        match self.swarm.behaviour_mut().gossip.publish(topic, transaction.to_bytes()) {
            Ok(_) => {}
            Err(PublishError::NoPeersSubscribedToTopic) => self.unheard.keep(transaction),
            // Everyone has it, or is about to.
            Err(PublishError::Duplicate) => {
                tracing::debug!(txid = %transaction.txid(), "was gossiped a short while ago");
            }
            Err(error) => tracing::warn!(txid = %transaction.txid(), %error, "not announced"),
        }
    }

    /// A peer has gossiped something.
    pub(super) fn hear_transaction(&mut self, identity: PeerId, message: MessageId, data: &[u8]) {
        // The topic carries the chain, so the message proves what a greeting does.
        self.proved(identity);
        let peer = match self.sessions.get(&identity) {
            Some(session) if session.ready => session.peer,
            _ => return self.report(&identity, &message, MessageAcceptance::Ignore),
        };
        let transaction = match Transaction::from_bytes(data) {
            Ok(transaction) => Box::new(transaction),
            Err(error) => {
                self.report(&identity, &message, MessageAcceptance::Reject);
                self.view.malformed.add_one();
                // Nobody forwards what does not decode.
                return self.blame(identity, Misconduct::NoTransaction(error.to_string()));
            }
        };
        match self.unjudged.take_in(identity, message.clone()) {
            Some((gossip, evicted)) => {
                if let Some((peer, message)) = evicted {
                    self.view.gossip_dropped.add_one();
                    self.report(&peer, &message, MessageAcceptance::Ignore);
                }
                let told = FromNet::Transaction { peer, gossip, transaction };
                self.tell_of_payment(&identity, peer, gossip, told);
            }
            None => {
                self.view.gossip_dropped.add_one();
                self.report(&identity, &message, MessageAcceptance::Ignore);
            }
        }
    }

    pub(super) fn report(&mut self, peer: &PeerId, message: &MessageId, acceptance: MessageAcceptance) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        if !gossip.report_message_validation_result(message, peer, acceptance) {
            tracing::debug!(%message, "the verdict came too late");
        }
    }

    fn dial_for_engine(&mut self, text: &str, keep: bool) -> Result<(), DialRefusal> {
        let (address, identity) = transport::parse_address(text)?;
        let bare: Multiaddr = address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
        if identity == Some(*self.swarm.local_peer_id()) || self.swarm.listeners().any(|own| *own == bare) {
            return Err(DialRefusal::Own);
        }
        if keep {
            return self.dials.add(address, identity, Instant::now());
        }
        self.dial(&address).map(|_| ()).map_err(|error| DialRefusal::Denied(error.to_string()))
    }

    /// Dials from a port of its own: from the listening port, two nodes that dial each other at one moment
    /// would meet in a single TCP connection in which both believe to be the one that dialled.
    pub(super) fn dial(&mut self, address: &Multiaddr) -> Result<ConnectionId, DialError> {
        let options = match address.iter().last() {
            Some(Protocol::P2p(identity)) => {
                DialOpts::peer_id(identity).addresses(vec![address.clone()]).allocate_new_port().build()
            }
            _ => DialOpts::unknown_peer_id().address(address.clone()).allocate_new_port().build(),
        };
        let connection = options.connection_id();
        self.swarm.dial(options)?;
        Ok(connection)
    }
}

fn give(answer: Option<oneshot::Sender<Result<(), DialRefusal>>>, result: Result<(), DialRefusal>) {
    if let Some(answer) = answer
        && let Err(unheard) = answer.send(result)
    {
        tracing::debug!(?unheard, "nobody waits for the answer");
    }
}
