//! Conditions on demand: traffic with a peer that is delayed, lost or cut, on chains for development alone.
//!
//! **What.** [`Lab`] holds the conditions that an operator has set; [`Held`] keeps what is to leave later; [`Gate`] lets
//! no connection come to be with whoever is cut off. So real processes can be split and healed, and a slow network
//! can be shown, without root.
//!
//! **Where.** Conditions act on what this node *sends*: requests and answers. Payments go to all peers at once, so
//! they are held back where they are heard, by the hearer's own conditions. A lost request fails as one that was not
//! answered in time; a lost answer is never sent; a lost payment is passed over, and nobody is blamed.
//!
//! **Never.** A node without `--lab` has none of this: no [`Lab`] exists there, and the gate is open. Nothing here
//! grows without bound: not the peers with conditions, not what is held back.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy,
    },
};
use parking_lot::RwLock;
use thiserror::Error;
use tokio::{sync::Notify, time::Instant};

use super::{FromNet, Peer, ToNet};

/// Peers that may have conditions of their own, at the most.
pub const MAX_CONDITIONS: usize = 256;
/// The longest delay, and the longest jitter, in milliseconds.
pub const MAX_DELAY_MS: u32 = 60_000;
/// Messages that are held back at a time; beyond it they go at once.
const MAX_HELD: usize = 4_096;
/// How [`Lab`] names all peers that have no conditions of their own.
pub const ALL: &str = "all";

/// What is done to the traffic with a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Conditions {
    /// How much later what is sent leaves, in milliseconds.
    pub delay_ms: u32,
    /// How much later still at the most, drawn anew each time, in milliseconds.
    pub jitter_ms: u32,
    /// The part that never leaves, from 0 to 1.
    pub loss: f64,
    /// Whether there is no connection at all.
    pub blocked: bool,
}

/// Why conditions are not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConditionsError {
    /// Not an identity.
    #[error("{0:?} is neither all nor a peer's identity (12D3KooW...), which getpeerinfo tells")]
    NotAPeer(String),
    /// Too long a delay.
    #[error("delay_ms and jitter_ms may be at most {MAX_DELAY_MS}")]
    TooLong,
    /// Not a part of a whole.
    #[error("loss is a part of a whole: from 0 to 1")]
    NotAPart,
    /// Too many peers.
    #[error("at most {MAX_CONDITIONS} peers have conditions of their own: clear some")]
    TooMany,
}

/// Whose conditions: everybody's (`None`) or one peer's.
type Whose = Option<PeerId>;

/// The conditions that are set. Written by the RPC, read by the service.
#[derive(Debug, Default)]
pub struct Lab {
    set: RwLock<BTreeMap<Whose, Conditions>>,
    changed: Notify,
    random: RandomState,
    drawn: AtomicU64,
}

fn whose(peer: &str) -> Result<Whose, ConditionsError> {
    if peer == ALL {
        return Ok(None);
    }
    peer.parse().map(Some).map_err(|_| ConditionsError::NotAPeer(peer.chars().take(80).collect()))
}

impl Lab {
    /// Sets the conditions of a peer, or of [`ALL`], in place of those that it had.
    ///
    /// # Errors
    /// [`ConditionsError`]: nothing has changed then.
    pub fn set(&self, peer: &str, conditions: Conditions) -> Result<(), ConditionsError> {
        let whose = whose(peer)?;
        if conditions.delay_ms.max(conditions.jitter_ms) > MAX_DELAY_MS {
            return Err(ConditionsError::TooLong);
        }
        if !(0.0..=1.0).contains(&conditions.loss) {
            return Err(ConditionsError::NotAPart);
        }
        let mut set = self.set.write();
        if set.len() >= MAX_CONDITIONS && !set.contains_key(&whose) {
            return Err(ConditionsError::TooMany);
        }
        set.insert(whose, conditions);
        drop(set);
        self.changed.notify_one();
        Ok(())
    }

    /// Forgets the conditions of a peer, or of [`ALL`]; without a name, everybody's.
    ///
    /// # Errors
    /// [`ConditionsError::NotAPeer`].
    pub fn clear(&self, peer: Option<&str>) -> Result<(), ConditionsError> {
        let mut set = self.set.write();
        match peer {
            Some(peer) => drop(set.remove(&whose(peer)?)),
            None => set.clear(),
        }
        drop(set);
        self.changed.notify_one();
        Ok(())
    }

    /// All that is set: [`ALL`] first, then peers in the order of their identities.
    #[must_use]
    pub fn list(&self) -> Vec<(String, Conditions)> {
        let name = |whose: &Whose| whose.map_or_else(|| ALL.to_owned(), |peer| peer.to_string());
        self.set.read().iter().map(|(whose, conditions)| (name(whose), *conditions)).collect()
    }

    /// The conditions of a peer.
    pub(super) fn of(&self, peer: &PeerId) -> Conditions {
        let set = self.set.read();
        set.get(&Some(*peer)).or_else(|| set.get(&None)).copied().unwrap_or_default()
    }

    /// Waits until something was set or cleared.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A number below `below` that nobody foresees.
    fn draw(&self, below: u64) -> u64 {
        self.random.hash_one(self.drawn.fetch_add(1, Ordering::Relaxed)) % below.max(1)
    }

    /// What becomes of one message to `peer`.
    pub(super) fn fate(&self, peer: &PeerId) -> Fate {
        const PARTS: u64 = 1 << 32;
        let Conditions { delay_ms, jitter_ms, loss, .. } = self.of(peer);
        if loss > 0.0 && (self.draw(PARTS) as f64) < loss * PARTS as f64 {
            return Fate::Lost;
        }
        match u64::from(delay_ms) + self.draw(u64::from(jitter_ms) + 1) {
            0 => Fate::Now,
            delay_ms => Fate::Later(Duration::from_millis(delay_ms)),
        }
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes.
    Now,
    /// It goes later.
    Later(Duration),
    /// It never goes.
    Lost,
}

/// What is held back.
#[derive(Debug)]
pub(super) enum Message {
    /// To be done then.
    Do(ToNet),
    /// To be told to the engine then.
    Tell(FromNet),
}

/// Messages that wait for their time, those of one time in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Held {
    waiting: BTreeMap<(Instant, u64), (Peer, Message)>,
    next: u64,
}

impl Held {
    /// Holds a message that concerns `peer` until `due`; gives it back where too many are held.
    pub(super) fn hold(&mut self, peer: Peer, due: Instant, message: Message) -> Option<Message> {
        if self.waiting.len() >= MAX_HELD {
            return Some(message);
        }
        self.next += 1;
        self.waiting.insert((due, self.next), (peer, message));
        None
    }

    /// When the next is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes out one that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Message> {
        self.next_due().filter(|due| *due <= now)?;
        self.waiting.pop_first().map(|(_, (_, message))| message)
    }

    /// Takes out all that concern a peer that is gone, in their order.
    pub(super) fn take_of(&mut self, peer: Peer) -> VecDeque<Message> {
        let of_peer = self.waiting.extract_if(.., |_, (of, _)| *of == peer);
        of_peer.map(|(_, (_, message))| message).collect()
    }
}

/// Lets no connection come to be with whoever is cut off.
pub(super) struct Gate(pub(super) Option<Arc<Lab>>);

/// The reason that a connection is refused.
#[derive(Debug, Error)]
#[error("cut off by the conditions that were set")]
struct CutOff;

impl Gate {
    fn check(&self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        let is_blocked = self.0.as_ref().is_some_and(|lab| lab.of(peer).blocked);
        if is_blocked { Err(ConnectionDenied::new(CutOff)) } else { Ok(()) }
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        peer.map_or(Ok(()), |peer| self.check(&peer))?;
        Ok(Vec::new())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check(&peer)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check(&peer)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_own_conditions_win_over_everybodys() {
        let lab = Lab::default();
        let (one, other) = (PeerId::random(), PeerId::random());
        let cut = Conditions { blocked: true, ..Conditions::default() };
        lab.set(ALL, cut).expect("set");
        lab.set(&one.to_string(), Conditions::default()).expect("set");
        assert!(!lab.of(&one).blocked && lab.of(&other).blocked);
        assert_eq!(lab.list().len(), 2);
        assert_eq!(lab.list()[0], (ALL.to_owned(), cut));
        lab.clear(Some(ALL)).expect("known");
        assert!(!lab.of(&other).blocked);
        lab.clear(None).expect("always");
        assert!(lab.list().is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let lab = Lab::default();
        let refused = |conditions| lab.set(ALL, conditions).expect_err("refused");
        let good = Conditions::default();
        assert_eq!(refused(Conditions { delay_ms: MAX_DELAY_MS + 1, ..good }), ConditionsError::TooLong);
        assert_eq!(refused(Conditions { loss: 1.1, ..good }), ConditionsError::NotAPart);
        assert_eq!(refused(Conditions { loss: -0.1, ..good }), ConditionsError::NotAPart);
        assert_eq!(refused(Conditions { loss: f64::NAN, ..good }), ConditionsError::NotAPart);
        assert!(matches!(lab.set("alice", good), Err(ConditionsError::NotAPeer(_))));
        assert!(matches!(lab.clear(Some("")), Err(ConditionsError::NotAPeer(_))));
        for _ in 0..MAX_CONDITIONS {
            lab.set(&PeerId::random().to_string(), good).expect("room");
        }
        assert_eq!(refused(good), ConditionsError::TooMany);
    }

    #[test]
    fn messages_are_lost_and_delayed_as_often_and_as_long_as_was_said() {
        let (lab, peer) = (Lab::default(), PeerId::random());
        assert_eq!(lab.fate(&peer), Fate::Now);
        lab.set(ALL, Conditions { delay_ms: 10, jitter_ms: 5, loss: 0.25, ..Conditions::default() })
            .expect("set");
        let mut lost = 0;
        for _ in 0..10_000 {
            match lab.fate(&peer) {
                Fate::Lost => lost += 1,
                Fate::Later(delay) => assert!((10..=15).contains(&delay.as_millis()), "{delay:?}"),
                Fate::Now => panic!("too early"),
            }
        }
        assert!((2_000..3_000).contains(&lost), "{lost} of 10,000");
        lab.set(ALL, Conditions { loss: 1.0, ..Conditions::default() }).expect("set");
        assert!((0..1_000).all(|_| lab.fate(&peer) == Fate::Lost));
    }

    #[test]
    fn what_is_held_is_bounded_and_comes_in_order() {
        let mut held = Held::default();
        let start = Instant::now();
        let gone = |peer| Message::Tell(FromNet::Disconnected { peer });
        for number in 0..MAX_HELD as u64 {
            assert!(held.hold(Peer(number % 2), start, gone(Peer(number))).is_none(), "room");
        }
        assert!(held.hold(Peer(0), start, gone(Peer(0))).is_some());
        let first = held.take_due(start);
        assert!(matches!(first, Some(Message::Tell(FromNet::Disconnected { peer: Peer(0) }))), "{first:?}");
        assert_eq!(held.take_of(Peer(1)).len(), MAX_HELD / 2);
        assert_eq!(held.take_of(Peer(0)).len(), MAX_HELD / 2 - 1);
        assert!(held.take_due(start).is_none() && held.next_due().is_none());
    }
}
