//! The simulated network: what TCP and the service of `p2p/` promise, and what they do not.
//!
//! Messages of one direction of a connection arrive in order, late, or never: a connection may be reset, and it may
//! stall half-open, so that both ends believe in it until they give up. Every request gets exactly one response or
//! failure, as [`crate::p2p`] promises the engine. The network does not look into messages: what the engine says to
//! peers is carried whatever it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chain::{hash::WitnessTxId, transaction::Transaction};

use super::chance::Chance;
use crate::p2p::{FromNet, Gossip, Reply, RequestId, wire::Kind};

/// How long gossip remembers what it has seen, in milliseconds.
const SEEN_MS: u64 = 60_000;

/// What the network is like now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Messages of 10,000 that are lost once and come again.
    pub losses: u64,
    /// Messages of 100,000 at which the connection is reset.
    pub resets: u64,
    /// Messages of 100,000 at which the connection stalls.
    pub stalls: u64,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Session {
    /// Who dialled, and who was dialled.
    pub(super) ends: [usize; 2],
    /// Nothing arrives any more, and neither end knows.
    pub(super) is_stalled: bool,
    /// When the last message of each direction arrives.
    clear_ms: [u64; 2],
    delay_ms: [u64; 2],
    jitter_ms: u64,
}

impl Session {
    fn side_of(&self, actor: usize) -> usize {
        usize::from(self.ends[1] == actor)
    }

    /// The other end.
    pub(super) fn other(&self, actor: usize) -> usize {
        self.ends[1 - self.side_of(actor)]
    }
}

/// A request that waits for its end: who asked, over which connection, under which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asking {
    pub(super) session: u64,
    pub(super) asker: usize,
    pub(super) id: RequestId,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives then.
    Arrives(u64),
    /// It never arrives.
    Vanishes,
    /// The connection is reset then.
    Resets(u64),
    /// The connection stalls from now on and is given up then.
    Stalls(u64),
}

/// The delays of a connection, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delays {
    pub(super) there: u64,
    pub(super) back: u64,
    pub(super) jitter: u64,
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Net {
    pub(super) weather: Weather,
    pub(super) sessions: BTreeMap<u64, Session>,
    pairs: BTreeMap<(usize, usize), u64>,
    open: BTreeMap<Asking, Kind>,
    replies: BTreeMap<Reply, Asking>,
    gossip: BTreeMap<Gossip, (u64, Arc<Transaction>)>,
    seen: BTreeMap<(usize, WitnessTxId), u64>,
    /// Who is on which side of a split; all on one where there is none.
    sides: BTreeMap<usize, u64>,
    bans: BTreeSet<(usize, u64)>,
    next_token: u64,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Net {
    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    /// Splits the network.
    pub(super) fn split(&mut self, sides: BTreeMap<usize, u64>) {
        self.sides = sides;
    }

    /// Whether a packet gets from one to the other.
    pub(super) fn is_joined(&self, a: usize, b: usize) -> bool {
        self.sides.get(&a).unwrap_or(&0) == self.sides.get(&b).unwrap_or(&0)
    }

    /// An actor bans an identity.
    pub(super) fn ban(&mut self, by: usize, identity: u64) {
        self.bans.insert((by, identity));
    }

    /// Whether an actor has banned an identity.
    pub(super) fn is_banned(&self, by: usize, identity: u64) -> bool {
        self.bans.contains(&(by, identity))
    }

    /// The connection between two.
    pub(super) fn between(&self, a: usize, b: usize) -> Option<u64> {
        self.pairs.get(&pair(a, b)).copied()
    }

    /// The connections of an actor, oldest first.
    pub(super) fn sessions_of(&self, actor: usize) -> Vec<u64> {
        let of = |(id, session): (&u64, &Session)| session.ends.contains(&actor).then_some(*id);
        self.sessions.iter().filter_map(of).collect()
    }

    /// Opens a connection.
    pub(super) fn connect(&mut self, from: usize, to: usize, delays: Delays, now_ms: u64) -> u64 {
        let id = self.token();
        let session = Session {
            ends: [from, to],
            is_stalled: false,
            clear_ms: [now_ms; 2],
            delay_ms: [delays.there.max(1), delays.back.max(1)],
            jitter_ms: delays.jitter,
        };
        self.sessions.insert(id, session);
        self.pairs.insert(pair(from, to), id);
        id
    }

    /// Closes a connection; returns its ends, and for each the requests that fail with it.
    pub(super) fn close(&mut self, id: u64) -> Option<([usize; 2], Vec<Asking>)> {
        let session = self.sessions.remove(&id)?;
        let [a, b] = session.ends;
        self.pairs.remove(&pair(a, b));
        let first = Asking { session: id, asker: 0, id: RequestId(0) };
        let last = Asking { session: id, asker: usize::MAX, id: RequestId(u64::MAX) };
        let failed: Vec<Asking> = self.open.range(first..=last).map(|(asking, _)| *asking).collect();
        for asking in &failed {
            self.open.remove(asking);
        }
        self.replies.retain(|_, asking| asking.session != id);
        Some((session.ends, failed))
    }

    /// When a message that an actor sends now arrives.
    pub(super) fn fate(&mut self, id: u64, from: usize, now_ms: u64, chance: &mut Chance) -> Fate {
        let weather = self.weather;
        let Some(session) = self.sessions.get(&id) else { return Fate::Vanishes };
        if session.is_stalled {
            return Fate::Vanishes;
        }
        let joined = self.is_joined(session.ends[0], session.ends[1]);
        let Some(session) = self.sessions.get_mut(&id) else { return Fate::Vanishes };
        if !joined || chance.happens(weather.stalls, 100_000) {
            session.is_stalled = true;
            return Fate::Stalls(now_ms + chance.between(20_000, 40_000));
        }
        if chance.happens(weather.resets, 100_000) {
            return Fate::Resets(now_ms + chance.between(1, 200));
        }
        let side = session.side_of(from);
        let again_ms = if chance.happens(weather.losses, 10_000) { chance.between(200, 3_000) } else { 0 };
        let travel_ms = session.delay_ms[side] + chance.below(session.jitter_ms + 1) + again_ms;
        let arrives = (now_ms + travel_ms).max(session.clear_ms[side]);
        session.clear_ms[side] = arrives;
        Fate::Arrives(arrives)
    }

    /// Takes in a request; none where too many of its kind are open.
    pub(super) fn ask(&mut self, asking: Asking, kind: Kind) -> Option<Reply> {
        let first = Asking { id: RequestId(0), ..asking };
        let last = Asking { id: RequestId(u64::MAX), ..asking };
        let open = self.open.range(first..=last).filter(|(_, other)| **other == kind).count();
        if open >= kind.requests_per_peer() {
            return None;
        }
        self.open.insert(asking, kind);
        let reply = Reply(self.token());
        self.replies.insert(reply, asking);
        Some(reply)
    }

    /// Which request a reply answers; each once.
    pub(super) fn replied(&mut self, reply: Reply) -> Option<Asking> {
        self.replies.remove(&reply)
    }

    /// Ends a request; whether it was open still.
    pub(super) fn end(&mut self, asking: &Asking) -> bool {
        self.open.remove(asking).is_some()
    }

    /// Whether an actor hears of a transaction for the first time in a while.
    pub(super) fn is_news(&mut self, actor: usize, id: WitnessTxId, now_ms: u64) -> bool {
        let until = self.seen.insert((actor, id), now_ms + SEEN_MS);
        until.is_none_or(|until| until < now_ms)
    }

    /// Forgets what gossip has seen long ago.
    pub(super) fn sweep(&mut self, now_ms: u64) {
        self.seen.retain(|_, until| *until >= now_ms);
    }

    /// A transaction that waits for its verdict.
    pub(super) fn gossiped(&mut self, session: u64, transaction: Arc<Transaction>) -> Gossip {
        let gossip = Gossip(self.token());
        self.gossip.insert(gossip, (session, transaction));
        gossip
    }

    /// The transaction of a token, which is judged once, and the connection it came by.
    pub(super) fn judged(&mut self, gossip: Gossip) -> Option<(u64, Arc<Transaction>)> {
        self.gossip.remove(&gossip)
    }

    /// An actor is gone, and with it what it had seen and had to judge.
    pub(super) fn forget(&mut self, actor: usize) {
        self.seen.retain(|(who, _), _| *who != actor);
    }
}

/// A message on its way.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) session: u64,
    pub(super) to: usize,
    /// The request that it answers.
    pub(super) answers: Option<Asking>,
    pub(super) message: FromNet,
}
