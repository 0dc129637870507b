//! Headers that show too little work: they leave nothing behind (threat P01).

use chain::{
    block::{Block, Header},
    hash::BlockHash,
    height::Height,
    pow::{Target, Work},
};

use super::network::{Network, engine, key};
use crate::{
    engine::{Action, Event, sync::MAX_PRESYNC_BYTES},
    p2p::{
        FromNet, Peer, RequestId, ToNet,
        wire::{MAX_HEADERS, Request, Response, Status},
    },
};

const STRANGER: Peer = Peer(99);
/// Headers that the stranger serves: the two million of the threat, scaled down.
const SPAM: usize = 24_000;

/// The work of `blocks` blocks of the tests' chain.
fn work_of(network: &Network, blocks: u32) -> Work {
    let bits = network.chain.genesis().header.bits;
    let one = bits.to_target().map(Target::work).expect("good bits");
    (0..blocks).fold(Work::ZERO, |sum, _| sum.checked_add(one).expect("far from the end"))
}

/// Headers that stand on `previous`, each with the least work there is; `salt` makes the chains differ.
fn spam(network: &Network, previous: &Block, count: usize, salt: u8) -> Vec<Header> {
    let mut header = previous.header;
    let target = header.bits.to_target().expect("good bits");
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        header = Header { previous: header.hash(), nonce: 0, ..header };
        header.time = header.time.saturating_add_secs(1);
        header.merkle_root = chain::hash::MerkleRoot::from_bytes([salt; 32]);
        while !target.is_met_by(&header.hash()) {
            header.nonce += 1;
        }
        headers.push(header);
    }
    assert!(network.now.wall > header.time, "none is too early");
    headers
}

/// A peer that the test speaks for, which serves headers.
struct Stranger {
    network: Network,
    /// How many requests for headers it answered.
    answered: usize,
}

impl Stranger {
    /// Met by an engine that wants to see the work of so many blocks.
    fn meet(minimum_blocks: u32) -> Self {
        let mut network = Network::new(1);
        let minimum_work = work_of(&network, minimum_blocks);
        network.engines[0] = engine(&network.chain).with_minimum_work(minimum_work);
        let mut stranger = Self { network, answered: 0 };
        stranger.tell(FromNet::Connected {
            peer: STRANGER,
            address: String::new(),
            outbound: false,
            identity: String::new(),
            quota: STRANGER.0,
        });
        stranger
    }

    fn tell(&mut self, message: FromNet) -> Vec<Action> {
        let now = self.network.now;
        self.network.engines[0].on(Event::Net(message), now).expect("memory does not fail")
    }

    /// Claims a tip with all the work there is; the request for headers that follows, if there is one.
    fn claim(&mut self) -> Option<(RequestId, Vec<BlockHash>)> {
        let status = Status {
            chain: self.network.chain.id(),
            tip: BlockHash::from_bytes([7; 32]),
            height: Height::new(1_000_000),
            work: Work::from_be_bytes([0xff; 32]),
            agent: String::new(),
        };
        let hello = FromNet::Request {
            peer: STRANGER,
            reply: crate::p2p::Reply(0),
            request: Request::Status(status),
        };
        asked(self.tell(hello))
    }

    /// Answers a request for headers; the request that follows, if there is one.
    fn answer(&mut self, id: RequestId, headers: &[Header]) -> Option<(RequestId, Vec<BlockHash>)> {
        self.answered += 1;
        let result = Ok(Response::Headers(headers.to_vec()));
        asked(self.tell(FromNet::Response { peer: STRANGER, id, result }))
    }

    fn headers(&self) -> usize {
        self.network.engines[0].ledger().tree().len()
    }

    fn presync_bytes(&self) -> usize {
        self.network.engines[0].presync_bytes()
    }
}

fn asked(actions: Vec<Action>) -> Option<(RequestId, Vec<BlockHash>)> {
    assert!(!actions.iter().any(|action| matches!(action, Action::Net(ToNet::Disconnect { .. }))));
    actions.into_iter().find_map(|action| match action {
        Action::Net(ToNet::Request { peer: STRANGER, id, request: Request::Headers(request) }) => {
            Some((id, request.locator))
        }
        _ => None,
    })
}

/// What an honest server would answer to a locator, out of a chain of headers above the genesis block.
fn following(chain: &[Header], locator: &[BlockHash]) -> Vec<Header> {
    let known = |hash: &BlockHash| chain.iter().position(|header| header.hash() == *hash);
    let start = locator.iter().find_map(known).map_or(0, |at| at + 1);
    chain[start..].iter().take(MAX_HEADERS).copied().collect()
}

#[test]
fn p01_headers_of_too_little_work_leave_nothing_behind() {
    let mut stranger = Stranger::meet(1_000_000);
    let genesis = stranger.network.chain.genesis().clone();
    let headers = spam(&stranger.network, &genesis, SPAM - 1, 1);
    let mut next = stranger.claim();
    let mut most_bytes = 0;
    while let Some((id, locator)) = next {
        let answer = following(&headers, &locator);
        next = stranger.answer(id, &answer);
        most_bytes = most_bytes.max(stranger.presync_bytes());
        assert_eq!(stranger.headers(), 1, "none but the genesis block's is kept");
    }
    assert_eq!(stranger.answered, SPAM / MAX_HEADERS);
    // Sixteen bytes of every 2,000 headers, and what a growing list has to spare.
    assert!(most_bytes < 2_048, "{most_bytes}");
    const { assert!(2_048 < MAX_PRESYNC_BYTES) }
    assert_eq!(stranger.presync_bytes(), 0);
    // What it claims is not believed again for a while, and then once more.
    assert!(stranger.claim().is_none());
    stranger.network.now.monotonic_ms += 61_000;
    assert!(stranger.claim().is_some());
}

#[test]
fn p01_a_branch_far_below_the_tip_leaves_nothing_behind() {
    let mut stranger = Stranger::meet(0);
    for _ in 0..400 {
        stranger.network.mine(0, &key(1));
        stranger.network.now.wall = stranger.network.wall_after(1);
    }
    let known = stranger.headers();
    let genesis = stranger.network.chain.genesis().clone();
    // The work of 255 blocks is more than 144 below that of 400; that of 256 is not.
    for (count, kept) in [(255, 0), (257, 257)] {
        let headers = spam(&stranger.network, &genesis, count, 2);
        let (id, _) = stranger.claim().expect("a tip with more work is asked for");
        assert!(stranger.answer(id, &headers).is_none());
        assert_eq!(stranger.headers(), known + kept);
        stranger.network.now.monotonic_ms += 61_000;
    }
}

#[test]
fn p01_what_comes_again_must_be_what_was_seen() {
    let mut stranger = Stranger::meet(5_000);
    let genesis = stranger.network.chain.genesis().clone();
    let seen = spam(&stranger.network, &genesis, 5_500, 3);
    // Leaves the first where its first message ends, so that each of its headers has its parent here.
    let fork = Block { header: seen[MAX_HEADERS - 1], ..genesis.clone() };
    let other = spam(&stranger.network, &fork, MAX_HEADERS, 4);
    let mut next = stranger.claim();
    for _ in 0..3 {
        let (id, locator) = next.expect("the work is not shown yet");
        next = stranger.answer(id, &following(&seen, &locator));
    }
    assert_eq!(stranger.headers(), 1);
    // The work is shown: all is asked for again. The first message is the same, the second another chain's.
    let (id, locator) = next.expect("asked for again");
    assert_eq!(locator, [genesis.hash()]);
    next = stranger.answer(id, &following(&seen, &locator));
    assert_eq!(stranger.headers(), 1 + MAX_HEADERS);
    let (id, _) = next.expect("the rest");
    assert!(stranger.answer(id, &other).is_none());
    assert_eq!((stranger.headers(), stranger.presync_bytes()), (1 + MAX_HEADERS, 0));
}

#[test]
fn p01_a_chain_with_enough_work_is_kept_when_it_comes_again() {
    let mut network = Network::new(2);
    for _ in 0..4_700 {
        network.mine(0, &key(1));
        network.now.wall = network.wall_after(1);
    }
    network.engines[1] = engine(&network.chain).with_minimum_work(work_of(&network, 4_500));
    network.connect(0, 1);
    assert_eq!((network.tip(1), network.height(1)), (network.tip(0), 4_700));
    assert!(network.banned.is_empty() && network.sent_away.is_empty());
}

#[test]
fn p01_a_presync_begins_where_the_branch_does() {
    let mut stranger = Stranger::meet(5_000);
    let mut chain = Vec::new();
    let mut blocks = Vec::new();
    for _ in 0..100 {
        blocks.push(stranger.network.mine(0, &key(1)));
        stranger.network.now.wall = stranger.network.wall_after(1);
    }
    stranger.network.now.wall = stranger.network.wall_after(10_000);
    // The branch leaves ours at height 60; our locator names 61 and then 29, so that the first message
    // begins with headers that we have.
    chain.extend(blocks[..60].iter().map(|block| block.header));
    chain.extend(spam(&stranger.network, &blocks[59], 5_500, 6));
    let mut next = stranger.claim();
    while let Some((id, locator)) = next {
        next = stranger.answer(id, &following(&chain, &locator));
    }
    assert_eq!(stranger.headers(), 1 + 100 + 5_500);
    assert_eq!(stranger.presync_bytes(), 0);
}

#[test]
fn p01_headers_without_work_cost_their_sender() {
    let mut stranger = Stranger::meet(1_000_000);
    let genesis = stranger.network.chain.genesis().clone();
    let mut headers = spam(&stranger.network, &genesis, MAX_HEADERS, 5);
    let target = genesis.header.bits.to_target().expect("good bits");
    let last = headers.last_mut().expect("there are some");
    while target.is_met_by(&last.hash()) {
        last.nonce += 1;
    }
    let (id, _) = stranger.claim().expect("asked");
    let result = Ok(Response::Headers(headers));
    let actions = stranger.tell(FromNet::Response { peer: STRANGER, id, result });
    let banned = |action: &Action| matches!(action, Action::Net(ToNet::Disconnect { ban: true, .. }));
    assert!(actions.iter().any(banned), "{actions:?}");
    assert_eq!((stranger.headers(), stranger.presync_bytes()), (1, 0));
}
