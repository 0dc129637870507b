//! Messages on their way: what actors tell the network, and what the network tells them.

use std::sync::Arc;

use chain::transaction::Transaction;

use super::{
    net::{Asking, Delays, Delivery, Fate},
    plants::Plant,
    words,
    world::{Happening, Outcome, World},
};
use crate::{
    engine::Event,
    p2p::{
        FromNet, Gossip, Peer, RequestFailure, ToNet,
        wire::{Request, Verdict},
    },
};

/// How long until a connection that was lost is tried again, in milliseconds.
const REDIAL_MS: (u64, u64) = (200, 1_000);
/// How long an attacker that was sent away needs for a new identity, in milliseconds.
const DISGUISE_MS: (u64, u64) = (5_000, 60_000);

impl World {
    /// Carries out what an actor tells the network.
    pub(super) fn act(&mut self, from: usize, message: ToNet) -> Outcome {
        match message {
            ToNet::Request { peer, id, request } => {
                let asking = Asking { session: peer.0, asker: from, id };
                if self.is_swallowed(from, &request) {
                    return Ok(());
                }
                self.note(from, || format!("asks {peer}: {}", words::of_request(&request)));
                let kind = request.kind();
                if !self.net.sessions.contains_key(&peer.0) {
                    return self.fail(asking, RequestFailure::Disconnected);
                }
                let Some(reply) = self.net.ask(asking, kind) else {
                    return self
                        .give(from, FromNet::Response { peer, id, result: Err(RequestFailure::Busy) });
                };
                self.later(kind.timeout_secs() * 1_000, Happening::Timeout(asking));
                self.carry(peer.0, from, None, FromNet::Request { peer, reply, request });
            }
            ToNet::Reply { reply, response } => {
                let Some(asking) = self.net.replied(reply) else { return Ok(()) };
                let peer = Peer(asking.session);
                let message = FromNet::Response { peer, id: asking.id, result: Ok(response) };
                self.carry(asking.session, from, Some(asking), message);
            }
            ToNet::Publish(transaction) => self.spread(from, &transaction, None),
            ToNet::Verdict { gossip, verdict } => {
                let Some((session, transaction)) = self.net.judged(gossip) else { return Ok(()) };
                match verdict {
                    Verdict::Accept => self.spread(from, &transaction, Some(session)),
                    Verdict::Ignore => {}
                    Verdict::Reject => return self.rejected(from, session, &transaction),
                }
            }
            ToNet::Disconnect { peer, reason, ban } => return self.send_away(from, peer, &reason, ban),
            // Whom to dial is the world's affair.
            _ => {}
        }
        Ok(())
    }

    /// The planted bug of a missing re-request: a request for a block that was asked for before is not sent.
    fn is_swallowed(&mut self, from: usize, request: &Request) -> bool {
        if self.nodes.get(from).and_then(|node| node.plant) != Some(Plant::MissingRerequest) {
            return false;
        }
        let Request::Blocks(hashes) = request else { return false };
        let mut again = false;
        for hash in hashes {
            again |= !self.plant_asked.insert(*hash);
        }
        again
    }

    fn rejected(&mut self, by: usize, session: u64, transaction: &Transaction) -> Outcome {
        self.stats.rejected += 1;
        let other = self.net.sessions.get(&session).map(|session| session.other(by));
        match other.filter(|other| *other < self.nodes.len()) {
            Some(honest) => {
                let txid = transaction.txid();
                Err(self.fail_node(by, format!("rejects {txid}, which the honest node {honest} forwarded")))
            }
            None => Ok(()),
        }
    }

    fn send_away(&mut self, by: usize, peer: Peer, reason: &str, ban: bool) -> Outcome {
        let Some(session) = self.net.sessions.get(&peer.0) else { return Ok(()) };
        let other = session.other(by);
        self.note(by, || format!("sends {other} away: {reason}"));
        if ban {
            if other < self.nodes.len() && by < self.nodes.len() {
                return Err(self.fail_node(by, format!("bans the honest node {other}: {reason}")));
            }
            self.stats.bans += 1;
            self.net.ban(by, self.identity(other));
        }
        self.close(peer.0)
    }

    /// Puts a message on its way over a connection.
    fn carry(&mut self, session: u64, from: usize, answers: Option<Asking>, message: FromNet) {
        let Some(to) = self.net.sessions.get(&session).map(|session| session.other(from)) else { return };
        match self.net.fate(session, from, self.now_ms, &mut self.chance) {
            Fate::Arrives(ms) => {
                self.at(ms, Happening::Deliver(Delivery { session, to, answers, message }));
            }
            Fate::Vanishes => {}
            Fate::Resets(ms) | Fate::Stalls(ms) => self.at(ms, Happening::Close(session)),
        }
    }

    pub(super) fn deliver(&mut self, delivery: Delivery) -> Outcome {
        let Delivery { session, to, answers, message } = delivery;
        // What was on its way when the connection ended or stalled is lost.
        if self.net.sessions.get(&session).is_none_or(|session| session.is_stalled) || !self.is_up(to) {
            return Ok(());
        }
        if let Some(asking) = answers
            && !self.net.end(&asking)
        {
            return Ok(());
        }
        let message = match message {
            FromNet::Transaction { peer, transaction, .. } => {
                let shared = Arc::new(Transaction::clone(&transaction));
                if !self.net.is_news(to, shared.witness_txid(), self.now_ms) {
                    return Ok(());
                }
                let gossip = self.net.gossiped(session, shared);
                FromNet::Transaction { peer, gossip, transaction }
            }
            other => other,
        };
        self.give(to, message)
    }

    /// Gives a message to whoever it is for.
    pub(super) fn give(&mut self, to: usize, message: FromNet) -> Outcome {
        if to >= self.nodes.len() {
            return self.with_attacker(to, |attacker, view| attacker.hear(message, view));
        }
        if !self.is_up(to) {
            return Ok(());
        }
        if !matches!(message, FromNet::Transaction { .. }) {
            self.note(to, || words::of_message(&message));
        }
        let slow = match &message {
            FromNet::Response { peer, result: Err(RequestFailure::Timeout), .. } => Some(*peer),
            _ => None,
        };
        self.feed(to, Event::Net(message))?;
        if let Some(peer) = slow
            && self.nodes[to].plant == Some(Plant::SlowPeerBanned)
        {
            return self.send_away(to, peer, "is slow (planted)", true);
        }
        Ok(())
    }

    /// Ends a request without an answer.
    pub(super) fn fail(&mut self, asking: Asking, failure: RequestFailure) -> Outcome {
        let was_open = self.net.end(&asking) || failure == RequestFailure::Disconnected;
        if !was_open {
            return Ok(());
        }
        let (peer, id) = (Peer(asking.session), asking.id);
        self.give(asking.asker, FromNet::Response { peer, id, result: Err(failure) })
    }

    /// Gossips a transaction to all neighbours but the one it came from.
    fn spread(&mut self, from: usize, transaction: &Arc<Transaction>, except: Option<u64>) {
        let news = self.net.is_news(from, transaction.witness_txid(), self.now_ms);
        if except.is_none() && !news {
            return;
        }
        for session in self.net.sessions_of(from) {
            if Some(session) != except {
                let message = FromNet::Transaction {
                    peer: Peer(session),
                    gossip: Gossip(0),
                    transaction: Box::new(Transaction::clone(transaction)),
                };
                self.carry(session, from, None, message);
            }
        }
    }

    /// Ends a connection: what was asked over it fails, and both ends are told.
    pub(super) fn close(&mut self, session: u64) -> Outcome {
        let Some((ends, failed)) = self.net.close(session) else { return Ok(()) };
        for asking in failed {
            self.fail(asking, RequestFailure::Disconnected)?;
        }
        for end in ends {
            self.give(end, FromNet::Disconnected { peer: Peer(session) })?;
        }
        let [from, to] = ends;
        let hostile = ends.iter().find(|end| **end >= self.nodes.len()).copied();
        let banned = hostile
            .is_some_and(|hostile| ends.iter().any(|end| self.net.is_banned(*end, self.identity(hostile))));
        if let Some(number) = hostile.filter(|_| banned).map(|hostile| hostile - self.nodes.len()) {
            self.attackers[number].identity += 1_000;
            let wait_ms = self.chance.between(DISGUISE_MS.0, DISGUISE_MS.1);
            self.later(wait_ms, Happening::Dial(from, to));
        } else {
            let wait_ms = self.chance.between(REDIAL_MS.0, REDIAL_MS.1);
            self.later(wait_ms, Happening::Dial(from, to));
        }
        Ok(())
    }

    pub(super) fn dial(&mut self, from: usize, to: usize) -> Outcome {
        if self.net.between(from, to).is_some() {
            return Ok(());
        }
        let refused =
            self.net.is_banned(from, self.identity(to)) || self.net.is_banned(to, self.identity(from));
        if refused || !self.is_up(from) || !self.is_up(to) || !self.net.is_joined(from, to) {
            let wait_ms = self.chance.between(REDIAL_MS.0, REDIAL_MS.1);
            self.later(wait_ms, Happening::Dial(from, to));
            return Ok(());
        }
        let (least, most) = self.scenario.delays_ms;
        let delays = Delays {
            there: self.chance.between(least, most),
            back: self.chance.between(least, most),
            jitter: self.chance.below(most / 2 + 1),
        };
        let session = self.net.connect(from, to, delays, self.now_ms);
        for (end, other, outbound) in [(from, to, true), (to, from, false)] {
            let message = FromNet::Connected {
                peer: Peer(session),
                address: format!("/sim/{other}"),
                outbound,
                identity: self.identity(other).to_string(),
                quota: other as u64,
            };
            self.give(end, message)?;
        }
        Ok(())
    }
}
