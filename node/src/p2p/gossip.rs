//! Transactions by gossip: the configuration of gossipsub, and what it does not keep itself.
//!
//! Gossipsub forwards nothing before the engine's verdict, and keeps no copy of what was published while
//! nobody listened: both are held here, bounded.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use chain::{hash::sha256, transaction::Transaction};
use libp2p::{
    PeerId,
    gossipsub::{self, IdentTopic, MessageAcceptance, MessageId, TopicHash},
};

use super::{Gossip, NetError, behaviour::Names, wire};

/// Bytes of gossipsub's own framing around a transaction, generously.
const FRAMING_BYTES: usize = 1_024;
/// Messages that wait for one slow peer; what comes then is lost to it, and it is reported as slow.
const QUEUED_MESSAGES: usize = 1_024;
/// Heartbeats, of a second each, that a message waits for its verdict.
const HISTORY_HEARTBEATS: usize = 10;
/// Subscriptions that one message of a peer may carry.
const MAX_SUBSCRIPTIONS: usize = 16;
/// Transactions that wait for the first subscriber.
const MAX_UNHEARD: usize = 64;
/// Transactions of one peer that wait for a verdict (threat M08); more are passed over.
const MAX_UNJUDGED_PER_PEER: usize = 1_024;
/// Transactions that wait for a verdict; the oldest makes room.
const MAX_UNJUDGED: usize = 8_192;
/// Times that a peer may be reported as slow before it is sent away (threat P25).
pub(super) const MAX_SLOW_REPORTS: u32 = 10;

type Filter = gossipsub::MaxCountSubscriptionFilter<gossipsub::WhitelistSubscriptionFilter>;

/// Gossipsub with a filter that knows our topic alone (threat P19).
pub(super) type Gossipsub = gossipsub::Behaviour<gossipsub::IdentityTransform, Filter>;

/// The topic of a chain's transactions.
pub(super) fn topic(names: &Names) -> IdentTopic {
    IdentTopic::new(names.full("transactions"))
}

/// Gossipsub, subscribed to the chain's topic.
pub(super) fn new(names: &Names) -> Result<Gossipsub, NetError> {
    let topic = topic(names);
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        // An id that is the content's hash cannot be forged to hide the honest message (threat P20).
        .message_id_fn(|message| message_id(&message.topic, &message.data))
        .validate_messages()
        .flood_publish(true)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .history_length(HISTORY_HEARTBEATS)
        .mesh_n(6)
        .mesh_n_low(4)
        .mesh_n_high(12)
        .max_transmit_size(wire::MAX_TRANSACTION_BYTES + FRAMING_BYTES)
        .connection_handler_queue_len(QUEUED_MESSAGES)
        .build()
        .map_err(|error| NetError::Setup(error.to_string()))?;
    let filter = gossipsub::MaxCountSubscriptionFilter {
        filter: gossipsub::WhitelistSubscriptionFilter(HashSet::from([topic.hash()])),
        max_subscribed_topics: 1,
        max_subscriptions_per_request: MAX_SUBSCRIPTIONS,
    };
    let anonymous = gossipsub::MessageAuthenticity::Anonymous;
    let mut gossip = Gossipsub::new_with_subscription_filter(anonymous, config, filter)
        .map_err(|error| NetError::Setup(error.to_owned()))?;
    gossip.subscribe(&topic).map_err(|error| NetError::Setup(error.to_string()))?;
    Ok(gossip)
}

fn message_id(topic: &TopicHash, data: &[u8]) -> MessageId {
    MessageId::from(sha256(&[sha256(topic.as_str().as_bytes()), sha256(data)].concat()).to_vec())
}

/// Own transactions that nobody has heard yet, oldest first.
#[derive(Default)]
pub(super) struct Unheard(VecDeque<Arc<Transaction>>);

impl Unheard {
    /// Keeps one more; the oldest makes room.
    pub(super) fn keep(&mut self, transaction: Arc<Transaction>) {
        if self.0.len() >= MAX_UNHEARD {
            self.0.pop_front();
        }
        self.0.push_back(transaction);
    }

    /// Takes all out, to publish them again.
    pub(super) fn take(&mut self) -> VecDeque<Arc<Transaction>> {
        std::mem::take(&mut self.0)
    }
}

/// Gossiped transactions that wait for the engine's verdict.
#[derive(Default)]
pub(super) struct Unjudged {
    waiting: BTreeMap<Gossip, (PeerId, MessageId)>,
    per_peer: HashMap<PeerId, usize>,
    next: u64,
}

/// A message whose verdict is known.
pub(super) type Judged = (PeerId, MessageId);

impl Unjudged {
    /// Takes in a message of `peer`: its token, and an older message that had to make room; or nothing where
    /// the peer has too many waiting.
    pub(super) fn take_in(&mut self, peer: PeerId, message: MessageId) -> Option<(Gossip, Option<Judged>)> {
        let count = self.per_peer.entry(peer).or_default();
        if *count >= MAX_UNJUDGED_PER_PEER {
            return None;
        }
        *count += 1;
        let oldest = if self.waiting.len() >= MAX_UNJUDGED {
            self.waiting.first_key_value().map(|(oldest, _)| *oldest)
        } else {
            None
        };
        let evicted = oldest.and_then(|oldest| self.judge(oldest));
        let gossip = Gossip(self.next);
        self.next += 1;
        self.waiting.insert(gossip, (peer, message));
        Some((gossip, evicted))
    }

    /// Takes out the message of a token. Also after its peer has gone: others still want it.
    pub(super) fn judge(&mut self, gossip: Gossip) -> Option<Judged> {
        let judged = self.waiting.remove(&gossip)?;
        if let Some(count) = self.per_peer.get_mut(&judged.0) {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&judged.0);
            }
        }
        Some(judged)
    }
}

/// Our verdict in gossipsub's words.
pub(super) const fn acceptance(verdict: wire::Verdict) -> MessageAcceptance {
    match verdict {
        wire::Verdict::Accept => MessageAcceptance::Accept,
        wire::Verdict::Ignore => MessageAcceptance::Ignore,
        wire::Verdict::Reject => MessageAcceptance::Reject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> MessageId {
        MessageId::from(number.to_le_bytes().to_vec())
    }

    #[test]
    fn m08_one_peer_cannot_fill_the_queue_of_verdicts() {
        let mut unjudged = Unjudged::default();
        let (flooder, honest) = (PeerId::random(), PeerId::random());
        let mut tokens = Vec::new();
        for number in 0..MAX_UNJUDGED_PER_PEER {
            let (token, evicted) = unjudged.take_in(flooder, id(number)).expect("within the limit");
            assert!(evicted.is_none());
            tokens.push(token);
        }
        assert!(unjudged.take_in(flooder, id(5_000)).is_none());
        assert!(unjudged.take_in(honest, id(5_001)).is_some());
        assert_eq!(unjudged.judge(tokens[3]), Some((flooder, id(3))));
        assert_eq!(unjudged.judge(tokens[3]), None);
        assert!(unjudged.take_in(flooder, id(5_002)).is_some());
    }

    #[test]
    fn the_oldest_unjudged_makes_room() {
        let mut unjudged = Unjudged::default();
        let peers: Vec<PeerId> = (0..9).map(|_| PeerId::random()).collect();
        for number in 0..MAX_UNJUDGED {
            let peer = peers[number / MAX_UNJUDGED_PER_PEER];
            assert!(unjudged.take_in(peer, id(number)).expect("within the limit").1.is_none());
        }
        let (_, evicted) = unjudged.take_in(peers[8], id(9_999)).expect("within the limit");
        assert_eq!(evicted, Some((peers[0], id(0))));
        assert_eq!(unjudged.waiting.len(), MAX_UNJUDGED);
    }

    #[test]
    fn p20_an_id_binds_topic_and_content() {
        let (a, b) = (TopicHash::from_raw("a"), TopicHash::from_raw("b"));
        assert_eq!(message_id(&a, b"x"), message_id(&a, b"x"));
        assert_ne!(message_id(&a, b"x"), message_id(&a, b"y"));
        assert_ne!(message_id(&a, b"x"), message_id(&b, b"x"));
    }
}
