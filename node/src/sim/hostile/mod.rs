//! Hostile peers and miners: strategies that speak the protocol's words and mean no good.
//!
//! An attacker sees the best chain as soon as any honest node has it, which is more than a real one ever knows. It keeps
//! a ledger of its own, follows the honest chain with it, and mines on it where it has hash power. Where it is sent
//! away it comes back under a new identity.

mod forge;
mod strategies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chain::{
    address::Address,
    block::{Block, Header},
    genesis::Chain,
    hash::BlockHash,
    height::Height,
    ledger::Ledger,
    time::Time,
    transaction::Transaction,
    tree::NodeId,
};

use super::{chance::Chance, disk::Disk, wallets::Purse};
use crate::p2p::{
    FromNet, Peer, RequestId, ToNet,
    wire::{CompactBlock, CompactReply, MAX_HEADERS, RawBlock, Request, Response, Status},
};

/// What an attacker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Pushes blocks that break rules.
    InvalidBlocks,
    /// Gossips transactions that break rules.
    InvalidTransactions,
    /// Answers with long, cheap branches of headers.
    HeaderSpam,
    /// Claims the best chain and answers nothing.
    Staller,
    /// Answers with other blocks than were asked for, and with altered bodies.
    Liar,
    /// Is the first to push each new header, with a body that is not its own.
    Mutator,
    /// Gossips transactions whose parents nobody has.
    Orphans,
    /// Answers what nobody asked, and twice what somebody did.
    Unsolicited,
    /// Mines honestly but for the time of its blocks, which is the earliest or the latest allowed (threat C07).
    TimeLiar,
    /// Mines in secret and shows its blocks when that costs others most (Eyal and Sirer; threat C19).
    Selfish,
    /// Mines, shows headers, and never their bodies.
    Withholder,
}

/// All that a seed may choose from.
pub(super) const STRATEGIES: [Strategy; 11] = [
    Strategy::InvalidBlocks,
    Strategy::InvalidTransactions,
    Strategy::HeaderSpam,
    Strategy::Staller,
    Strategy::Liar,
    Strategy::Mutator,
    Strategy::Orphans,
    Strategy::Unsolicited,
    Strategy::TimeLiar,
    Strategy::Selfish,
    Strategy::Withholder,
];

impl Strategy {
    /// Whether it needs hash power.
    pub(super) const fn mines(self) -> bool {
        matches!(self, Self::TimeLiar | Self::Selfish | Self::Withholder)
    }
}

/// What an attacker knows of the world.
pub(super) struct View<'a> {
    /// The ledger of an honest node that has the best tip.
    pub(super) best: &'a Ledger<Disk>,
    pub(super) now: Time,
    /// Keys and coins of everybody.
    pub(super) purse: &'a Purse,
}

/// An attacker.
#[derive(Debug)]
pub(super) struct Attacker {
    pub(super) strategy: Strategy,
    pub(super) identity: u64,
    ledger: Ledger<Disk>,
    peers: BTreeSet<Peer>,
    chance: Chance,
    pay_to: Address,
    /// Blocks of its own that nobody is to know of.
    secret: Vec<Arc<Block>>,
    hidden: BTreeSet<BlockHash>,
    /// What was answered lately, to be answered again.
    answered: BTreeMap<Peer, RequestId>,
    next_request: u64,
    number: u64,
    racing: bool,
}

impl Attacker {
    pub(super) fn new(
        strategy: Strategy,
        identity: u64,
        chain: &Chain,
        pay_to: Address,
        chance: Chance,
    ) -> Option<Self> {
        Some(Self {
            strategy,
            identity,
            ledger: Ledger::open(chain.clone(), Disk::default()).ok()?,
            peers: BTreeSet::new(),
            chance,
            pay_to,
            secret: Vec::new(),
            hidden: BTreeSet::new(),
            answered: BTreeMap::new(),
            next_request: 0,
            number: identity << 32,
            racing: false,
        })
    }

    /// The ledger that it mines on.
    pub(super) const fn ledger(&self) -> &Ledger<Disk> {
        &self.ledger
    }

    fn chain(&self) -> Chain {
        self.ledger.chain().clone()
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Takes over what the honest chain has gained.
    fn catch_up(&mut self, best: &Ledger<Disk>) {
        let mut missing = Vec::new();
        let mut height = best.tip().id.height.get();
        while let Some(id) = best.active(Height::new(height)).filter(|_| height > 0) {
            let hash = best.tree().node(id).hash();
            if self.ledger.tree().find(&hash).is_some_and(|id| self.ledger.tree().node(id).has_body()) {
                break;
            }
            missing.push(hash);
            height -= 1;
        }
        for hash in missing.iter().rev() {
            if let Ok(Some(block)) = best.block(hash) {
                drop(self.ledger.submit(block, Time::from_secs(u32::MAX - 100_000)));
            }
        }
    }

    fn keep(&mut self, block: &Block) {
        drop(self.ledger.submit(block.clone(), Time::from_secs(u32::MAX - 100_000)));
    }

    fn ask(&mut self, peer: Peer, request: Request) -> ToNet {
        self.next_request += 1;
        ToNet::Request { peer, id: RequestId(self.next_request), request }
    }

    /// Shows a block to everybody.
    fn show(&mut self, block: &Arc<Block>) -> Vec<ToNet> {
        let peers: Vec<Peer> = self.peers.iter().copied().collect();
        peers.into_iter().map(|peer| self.ask(peer, push(block))).collect()
    }

    /// Tells everybody what it has, or claims to have.
    fn tell_all(&mut self, best: &Ledger<Disk>) -> Vec<ToNet> {
        let status = self.status(best);
        let peers: Vec<Peer> = self.peers.iter().copied().collect();
        peers.into_iter().map(|peer| self.ask(peer, Request::Status(status.clone()))).collect()
    }

    /// Gossips a transaction.
    fn publish(transaction: Transaction) -> ToNet {
        ToNet::Publish(Arc::new(transaction))
    }

    /// What a peer says, and what is answered.
    pub(super) fn hear(&mut self, message: FromNet, view: &View<'_>) -> Vec<ToNet> {
        match message {
            FromNet::Connected { peer, .. } => {
                self.peers.insert(peer);
                let status = self.status(view.best);
                vec![self.ask(peer, Request::Status(status))]
            }
            FromNet::Disconnected { peer } => {
                self.peers.remove(&peer);
                self.answered.remove(&peer);
                Vec::new()
            }
            FromNet::Request { peer, reply, request } => {
                let Some(response) = self.answer(peer, &request, view) else { return Vec::new() };
                vec![ToNet::Reply { reply, response }]
            }
            _ => Vec::new(),
        }
    }

    fn status(&self, best: &Ledger<Disk>) -> Status {
        let tip = best.tip();
        let mut status = Status {
            chain: best.chain().id(),
            tip: tip.id.hash,
            height: tip.id.height,
            work: tip.work,
            agent: "/sim:hostile/".into(),
        };
        if self.claims_more() {
            let mut bytes = status.tip.to_bytes();
            bytes[0] ^= 0xff;
            status.tip = BlockHash::from_bytes(bytes);
            status.work = status.work.checked_add(status.work).unwrap_or(status.work);
        }
        status
    }

    /// Headers of its ledger, without those that are hidden.
    fn headers_after(&self, locator: &[BlockHash]) -> Vec<Header> {
        let tree = self.ledger.tree();
        let known = locator.iter().filter_map(|hash| tree.find(hash));
        let start = known.into_iter().find(|id| self.ledger.is_active(*id)).unwrap_or(NodeId::GENESIS);
        let first = tree.node(start).height().get().saturating_add(1);
        let following = (first..).map_while(|height| self.ledger.active(Height::new(height)));
        let shown = following.map(|id| tree.node(id)).take_while(|node| !self.hidden.contains(&node.hash()));
        shown.take(MAX_HEADERS).map(|node| *node.header()).collect()
    }

    /// Blocks of its ledger, without those that are hidden.
    fn bodies(&self, hashes: &[BlockHash]) -> Vec<Block> {
        let found = hashes.iter().map_while(|hash| {
            let shown = !self.hidden.contains(hash);
            shown.then(|| self.ledger.block(hash).ok().flatten()).flatten()
        });
        found.collect()
    }
}

/// How blocks are answered.
fn carried(blocks: &[Block]) -> Response {
    Response::Blocks(blocks.iter().map(RawBlock::from).collect())
}

/// How a block is pushed.
fn push(block: &Arc<Block>) -> Request {
    Request::Compact(Arc::new(CompactBlock::whole(block)))
}

/// What is said to whoever pushes a block.
const fn pushed() -> Response {
    Response::Compact(CompactReply::Accepted)
}
