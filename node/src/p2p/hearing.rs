//! What the protocols report: greetings, requests, responses, pings, gossip.

use std::io;

use libp2p::{
    PeerId,
    core::upgrade::NegotiationError,
    gossipsub, mdns,
    metrics::Recorder,
    ping,
    request_response::{self, InboundFailure, Message, OutboundFailure},
};

use super::{
    FromNet, RequestFailure, Service,
    behaviour::BehaviourEvent,
    conduct::Misconduct,
    gossip, transport,
    wire::{Kind, Request, Response, WireError},
};

/// Addresses that one look around the local network may find.
const MAX_NEARBY: usize = 256;

/// Answers that a peer may leave unread before it is sent away (threat P25).
pub(super) const MAX_UNREAD_ANSWERS: u32 = 3;

type MessageEvent = request_response::Event<Result<Request, WireError>, Result<Response, WireError>>;

impl Service {
    /// Takes in what a protocol reports.
    pub(super) fn hear_protocol(&mut self, event: BehaviourEvent) {
        match &event {
            BehaviourEvent::Gossip(event) => self.metrics.record(event),
            BehaviourEvent::Ping(event) => self.metrics.record(event),
            _ => {}
        }
        match event {
            BehaviourEvent::Hello(event) => self.hear_hello(event),
            BehaviourEvent::Status(event) => self.hear_message(Kind::Status, event),
            BehaviourEvent::Headers(event) => self.hear_message(Kind::Headers, event),
            BehaviourEvent::Blocks(event) => self.hear_message(Kind::Blocks, event),
            BehaviourEvent::Compact(event) => self.hear_message(Kind::Compact, event),
            BehaviourEvent::Missing(event) => self.hear_message(Kind::Missing, event),
            BehaviourEvent::Transactions(event) => self.hear_message(Kind::Transactions, event),
            BehaviourEvent::Addresses(event) => self.hear_addresses(event),
            BehaviourEvent::Nearby(mdns::Event::Discovered(found)) => {
                let found = found.iter().take(MAX_NEARBY);
                self.finding.found_nearby(found.filter_map(|(_, address)| transport::net_address(address)));
            }
            BehaviourEvent::Nearby(mdns::Event::Expired(_)) => {}
            BehaviourEvent::Gossip(event) => self.hear_gossip(event),
            BehaviourEvent::Ping(ping::Event { peer: identity, result, .. }) => match result {
                Ok(time) => {
                    if let Some(session) = self.sessions.get(&identity) {
                        self.view.set_ping(session.peer, time);
                        self.swarm.behaviour_mut().guard.note_ping(&identity, time);
                    }
                }
                // A node that does not speak the protocol may still be of use.
                Err(ping::Failure::Unsupported) => {}
                // The first failure in a row is not reported: this is at least the second.
                Err(error) => self.blame(identity, Misconduct::Silent(error.to_string())),
            },
        }
    }

    fn hear_hello(&mut self, event: request_response::Event<(), ()>) {
        match event {
            request_response::Event::Message { peer, message, .. } => {
                if let Message::Request { channel, .. } = message
                    && self.swarm.behaviour_mut().hello.send_response(channel, ()).is_err()
                {
                    tracing::debug!(%peer, "left while greeting");
                }
                self.proved(peer);
            }
            request_response::Event::OutboundFailure { peer, error, .. } => {
                if self.sessions.get(&peer).is_none_or(|session| session.ready || session.dismissed) {
                    return;
                }
                match error {
                    // Another connection may be left, or a new one open already.
                    OutboundFailure::ConnectionClosed => self.greet(peer),
                    error if is_refusal(&error) => {
                        self.view.other_chain.add_one();
                        let chosen = self.sessions.get(&peer).and_then(|session| session.exchange.chosen);
                        if let Some(chosen) = chosen {
                            self.finding.forget(&chosen);
                        }
                        self.blame(peer, Misconduct::OtherProtocols);
                    }
                    error => self.blame(peer, Misconduct::NoGreeting(error.to_string())),
                }
            }
            request_response::Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "a greeting failed");
            }
            request_response::Event::ResponseSent { .. } => {}
        }
    }

    fn hear_message(&mut self, kind: Kind, event: MessageEvent) {
        match event {
            request_response::Event::Message { peer: identity, message, .. } => {
                self.proved(identity);
                match message {
                    Message::Request { request: Err(error), .. } => self.malformed(identity, &error),
                    Message::Request { request_id, request: Ok(request), channel } => {
                        let peer = match self.sessions.get(&identity) {
                            Some(session) if session.ready => session.peer,
                            _ => return,
                        };
                        if let Request::Status(status) = &request {
                            self.view.set_status(peer, status.clone());
                        }
                        match self.sessions.asks(&identity, kind, request_id, channel) {
                            Some(reply) => self.tell(FromNet::Request { peer, reply, request }),
                            // The channel is dropped, and the peer sees a stream without an answer.
                            None => {
                                self.view.requests_dropped.add_one();
                                self.blame(identity, Misconduct::TooManyRequests);
                            }
                        }
                    }
                    Message::Response { request_id, response } => {
                        let Some(session) = self.sessions.get(&identity) else { return };
                        let peer = session.peer;
                        let Some(id) = session.answered(kind, request_id) else { return };
                        if let Ok(Response::Status(status)) = &response {
                            self.view.set_status(peer, status.clone());
                        }
                        let failure = response.as_ref().err().cloned();
                        let result = response.map_err(|error| RequestFailure::Malformed(error.to_string()));
                        self.tell(FromNet::Response { peer, id, result });
                        if let Some(error) = failure {
                            self.malformed(identity, &error);
                        }
                    }
                }
            }
            request_response::Event::OutboundFailure { peer: identity, request_id, error, .. } => {
                if let Some(session) = self.sessions.get(&identity)
                    && let Some(id) = session.answered(kind, request_id)
                {
                    let peer = session.peer;
                    self.tell(FromNet::Response { peer, id, result: Err(failure(&error)) });
                }
            }
            request_response::Event::InboundFailure { peer, request_id, error, .. } => {
                tracing::debug!(%peer, ?kind, %error, "a request of the peer ended without an answer");
                let answered = self.sessions.ended(&peer, kind, request_id);
                if answered && matches!(error, InboundFailure::Timeout) {
                    self.left_unread(peer);
                }
            }
            request_response::Event::ResponseSent { peer, request_id, .. } => {
                self.sessions.ended(&peer, kind, request_id);
            }
        }
    }

    /// An answer of ours stayed unread. Each holds memory until its time is over, so that nobody may leave many.
    fn left_unread(&mut self, identity: PeerId) {
        let Some(session) = self.sessions.get(&identity) else { return };
        session.unread_answers += 1;
        if session.unread_answers >= MAX_UNREAD_ANSWERS {
            self.blame(identity, Misconduct::SlowReader);
        }
    }

    fn malformed(&mut self, identity: PeerId, error: &WireError) {
        self.view.malformed.add_one();
        self.blame(identity, Misconduct::Malformed(error.to_string()));
    }

    fn hear_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.hear_transaction(propagation_source, message_id, &message.data);
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                tracing::debug!(%peer_id, %topic, "listens to transactions");
                for transaction in self.unheard.take() {
                    self.publish(transaction);
                }
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                let Some(session) = self.sessions.get(&peer_id) else { return };
                session.slow_reports += 1;
                if session.slow_reports >= gossip::MAX_SLOW_REPORTS {
                    self.blame(peer_id, Misconduct::SlowReader);
                }
            }
            gossipsub::Event::Unsubscribed { .. } | gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }
}

/// Whether a failed greeting says that the peer does not know its name. With lazy negotiation the refusal
/// comes with the first read.
fn is_refusal(error: &OutboundFailure) -> bool {
    match error {
        OutboundFailure::UnsupportedProtocols => true,
        OutboundFailure::Io(error) => {
            let refusal = error.get_ref().and_then(|inner| inner.downcast_ref::<NegotiationError>());
            matches!(refusal, Some(NegotiationError::Failed))
        }
        _ => false,
    }
}

/// A failed request in the engine's words.
fn failure(error: &OutboundFailure) -> RequestFailure {
    match error {
        OutboundFailure::Timeout => RequestFailure::Timeout,
        OutboundFailure::ConnectionClosed | OutboundFailure::DialFailure => RequestFailure::Disconnected,
        OutboundFailure::UnsupportedProtocols => RequestFailure::Refused("protocol not supported".to_owned()),
        OutboundFailure::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            RequestFailure::Refused("no answer".to_owned())
        }
        OutboundFailure::Io(error) => RequestFailure::Refused(error.to_string()),
    }
}
