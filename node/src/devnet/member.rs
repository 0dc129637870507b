//! One node of a devnet as its supervisor knows it: its process, if it is ours, and what was seen of it.

use std::{io, process::ExitStatus};

use rpc::client::Client;
use tokio::time::Instant;

use super::{
    Event, NodeState, NodeStatus,
    plan::NodePlan,
    process::{self, NodeProcess},
    watch::Seen,
};

/// After how many times without an answer a node counts as silent: one may be lost on a busy machine.
const MISSES: u32 = 2;

/// A node.
#[derive(Debug)]
pub(super) struct Member {
    /// What its configuration says.
    pub plan: NodePlan,
    /// Its RPC.
    pub client: Client,
    /// Our child, until its end is collected.
    pub process: Option<NodeProcess>,
    state: NodeState,
    seen: Option<Seen>,
    misses: u32,
    ended_at: Option<Instant>,
    reorganisations: u64,
    deepest: u32,
}

impl Member {
    pub(super) const fn new(client: Client, plan: NodePlan) -> Self {
        Self {
            plan,
            client,
            process: None,
            state: NodeState::Starting,
            seen: None,
            misses: 0,
            ended_at: None,
            reorganisations: 0,
            deepest: 0,
        }
    }

    pub(super) const fn state(&self) -> &NodeState {
        &self.state
    }

    pub(super) fn p2p_address(&self) -> Option<&str> {
        self.seen.as_ref()?.p2p_address.as_deref()
    }

    /// Collects the end of our child; how it ended, if it just has.
    pub(super) fn collect_end(&mut self) -> io::Result<Option<ExitStatus>> {
        let Some(process) = &mut self.process else { return Ok(None) };
        let Some(status) = process.try_wait()? else { return Ok(None) };
        self.process = None;
        self.ended_at = Some(Instant::now());
        self.state = NodeState::Dead(process::describe(status));
        Ok(Some(status))
    }

    /// Notes what came of asking the node at `asked_at`; what there is to tell of it.
    pub(super) fn note(&mut self, seen: Option<Seen>, asked_at: Instant) -> Vec<Event> {
        let name = self.plan.name;
        // It may have been asked before its end, and the answer come after it.
        if self.ended_at.is_some_and(|ended_at| asked_at < ended_at) {
            return Vec::new();
        }
        let Some(seen) = seen else {
            self.misses = self.misses.saturating_add(1);
            if self.misses < MISSES || self.state != NodeState::Alive {
                return Vec::new();
            }
            if self.process.is_some() {
                self.state = NodeState::Silent;
                return vec![Event::Silent { name }];
            }
            let how = "stopped answering".to_owned();
            self.state = NodeState::Dead(how.clone());
            return vec![Event::Died { name, how }];
        };
        self.misses = 0;
        let mut events = Vec::new();
        if matches!(self.state, NodeState::Silent | NodeState::Dead(_)) {
            events.push(Event::Back { name, by_hand: self.process.is_none() });
        }
        if seen.reverted > 0 {
            self.reorganisations = self.reorganisations.saturating_add(1);
            self.deepest = self.deepest.max(seen.reverted);
            events.push(Event::Reorganised { name, depth: seen.reverted });
        }
        self.state = NodeState::Alive;
        self.seen = Some(seen);
        events
    }

    /// What is missing before payments can be made through this node.
    pub(super) fn missing(&self, height: u32, peers: u64) -> Option<String> {
        let name = self.plan.name;
        match (&self.state, &self.seen) {
            (NodeState::Alive, Some(seen)) => {
                if seen.p2p_address.is_none() {
                    Some(format!("{name} does not listen for peers"))
                } else if seen.height.get() < height {
                    Some(format!("{name} is at height {}, not yet at {height}", seen.height))
                } else if seen.peers < peers {
                    Some(format!("{name} has {} of {peers} peers", seen.peers))
                } else {
                    None
                }
            }
            _ => Some(format!("{name} does not answer at {}", self.plan.rpc_url())),
        }
    }

    /// The node for people.
    pub(super) fn status(&self) -> NodeStatus {
        let alive = self.seen.as_ref().filter(|_| self.state == NodeState::Alive);
        NodeStatus {
            name: self.plan.name,
            state: self.state.clone(),
            by_hand: self.process.is_none() && self.state == NodeState::Alive,
            height: self.seen.as_ref().map(|seen| seen.height),
            tip: self.seen.as_ref().map(|seen| seen.tip),
            peers: alive.map_or(0, |seen| seen.peers),
            hashes_per_sec: alive.map_or(0.0, |seen| seen.hashes_per_sec),
            mempool: alive.map_or(0, |seen| seen.mempool),
            reorganisations: self.reorganisations,
            deepest: self.deepest,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use chain::{hash::BlockHash, height::Height};
    use rpc::client::Login;

    use super::*;
    use crate::devnet::plan::NodePorts;

    fn member() -> Member {
        let plan = NodePlan {
            name: "bob",
            datadir: PathBuf::new(),
            ports: NodePorts { p2p: 1, rpc: 2 },
            address: String::new(),
        };
        Member::new(Client::new(plan.rpc_url(), Login::CookieFile(PathBuf::new())), plan)
    }

    fn seen(height: u32, peers: u64, reverted: u32) -> Option<Seen> {
        Some(Seen {
            genesis: BlockHash::ZERO,
            p2p_address: Some("/ip4/127.0.0.1/tcp/1/p2p/x".into()),
            height: Height::new(height),
            tip: BlockHash::from_bytes([1; 32]),
            peers,
            hashes_per_sec: 2_000.0,
            mempool: 3,
            reverted,
        })
    }

    #[test]
    fn payments_can_be_made_when_nothing_is_missing() {
        let mut bob = member();
        let now = Instant::now();
        assert!(bob.missing(14, 3).expect("not there").contains("does not answer at http://127.0.0.1:2"));
        bob.note(seen(13, 3, 0), now);
        assert!(bob.missing(14, 3).expect("too low").contains("height 13"));
        bob.note(seen(14, 2, 0), now);
        assert!(bob.missing(14, 3).expect("alone").contains("2 of 3 peers"));
        bob.note(seen(14, 3, 0), now);
        assert_eq!(bob.missing(14, 3), None);
    }

    #[test]
    fn a_node_started_by_hand_comes_back_and_may_go_again() {
        let mut bob = member();
        let start = Instant::now();
        assert_eq!(bob.note(seen(20, 3, 0), start), []);
        // Its process ends at second 10; an answer to a question from before says nothing.
        bob.ended_at = Some(start + Duration::from_secs(10));
        bob.state = NodeState::Dead("died of signal 9".into());
        assert_eq!(bob.note(seen(21, 3, 0), start + Duration::from_secs(9)), []);
        assert_eq!((bob.status().height, bob.status().peers), (Some(Height::new(20)), 0));
        let later = start + Duration::from_secs(20);
        assert_eq!(bob.note(None, later), []);
        assert_eq!(bob.note(None, later), []);
        assert_eq!(bob.state(), &NodeState::Dead("died of signal 9".into()));
        assert_eq!(bob.note(seen(22, 3, 0), later), [Event::Back { name: "bob", by_hand: true }]);
        assert!(bob.status().by_hand);
        assert_eq!(bob.note(None, later), []);
        let gone = Event::Died { name: "bob", how: "stopped answering".into() };
        assert_eq!(bob.note(None, later), [gone]);
    }

    #[test]
    fn reorganisations_are_counted_with_the_deepest() {
        let mut bob = member();
        let now = Instant::now();
        for (reverted, told) in [(0, None), (2, Some(2)), (0, None), (1, Some(1))] {
            let events = bob.note(seen(20, 3, reverted), now);
            let expected = told.map(|depth| Event::Reorganised { name: "bob", depth });
            assert_eq!(events, Vec::from_iter(expected));
        }
        assert_eq!((bob.status().reorganisations, bob.status().deepest), (2, 2));
    }
}
