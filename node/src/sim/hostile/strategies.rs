//! What each attacker does: in its turn, when a block is found, and when it is asked.

use std::sync::Arc;

use chain::{
    amount::Amount,
    block::Block,
    hash::BlockHash,
    ledger::Ledger,
    time::Time,
    transaction::{Output, Transaction},
    tree::NodeId,
};

use super::{
    Attacker, Strategy, View, carried,
    forge::{self, FAULTS, Wish},
    push, pushed,
};
use crate::{
    p2p::{
        Peer, ToNet,
        wire::{Request, Response},
    },
    sim::disk::Disk,
};

/// Headers of a branch that is to cost its receiver more than its maker.
const SPAM_HEADERS: usize = 40;
/// Transactions that a flooder sends in one turn.
const FLOOD: usize = 4;
/// Transactions without parents that a flooder sends in one turn: more than a peer may have waiting while one of their
/// parents is asked for.
const ORPHAN_FLOOD: usize = 20;

impl Attacker {
    /// Whether it says that it has a better chain than there is.
    pub(super) const fn claims_more(&self) -> bool {
        matches!(self.strategy, Strategy::Staller | Strategy::HeaderSpam | Strategy::Liar)
    }

    /// Its turn: about once a second.
    pub(in crate::sim) fn turn(&mut self, view: &View<'_>) -> Vec<ToNet> {
        self.catch_up(view.best);
        match self.strategy {
            Strategy::InvalidBlocks if self.chance.happens(1, 4) => self.bad_block(view),
            Strategy::InvalidTransactions => self.bad_transactions(view),
            Strategy::Orphans => (0..ORPHAN_FLOOD)
                .map(|_| {
                    let number = self.next_number();
                    Self::publish(forge::from_nothing(self.pay_to, number))
                })
                .collect(),
            Strategy::Unsolicited => self.answer_again(view),
            Strategy::Staller | Strategy::HeaderSpam | Strategy::Liar if self.chance.happens(1, 8) => {
                self.tell_all(view.best)
            }
            _ => Vec::new(),
        }
    }

    /// An honest node has a new tip.
    pub(in crate::sim) fn on_honest_block(&mut self, view: &View<'_>) -> Vec<ToNet> {
        self.catch_up(view.best);
        match self.strategy {
            Strategy::Mutator => self.altered_tip(view),
            Strategy::Selfish => self.race(view),
            _ => Vec::new(),
        }
    }

    /// It has found a block.
    pub(in crate::sim) fn on_found(&mut self, view: &View<'_>) -> Vec<ToNet> {
        let time = match self.strategy {
            // The earliest that is allowed, or the latest; alternating moves the median most.
            Strategy::TimeLiar if self.chance.happens(1, 2) => Time::from_secs(0),
            Strategy::TimeLiar => view.now.saturating_add_secs(view.best.chain().params().max_future_secs()),
            _ => view.now,
        };
        let parent = self.ledger.tip().id.hash;
        let Some(parent) = self.ledger.tree().find(&parent) else { return Vec::new() };
        let Some(block) = self.made(parent, time, None) else { return Vec::new() };
        let block = Arc::new(block);
        self.keep(&block);
        match self.strategy {
            Strategy::Selfish if !self.racing => {
                self.hidden.insert(block.hash());
                self.secret.push(block);
                Vec::new()
            }
            Strategy::Withholder => {
                // The header is for everybody, the body for nobody.
                self.tell_all_of_own()
            }
            _ => {
                self.racing = false;
                let mut shown = self.publish_secret(usize::MAX);
                shown.extend(self.show(&block));
                shown
            }
        }
    }

    fn made(&mut self, parent: NodeId, time: Time, fault: Option<forge::Fault>) -> Option<Block> {
        let number = self.next_number();
        let wish = Wish { time, pay_to: self.pay_to, transactions: Vec::new(), number, fault };
        forge::block(&self.chain(), self.ledger.tree(), parent, wish)
    }

    /// Eyal and Sirer's answer to a block that somebody else found.
    fn race(&mut self, view: &View<'_>) -> Vec<ToNet> {
        let own = self.ledger.tip();
        let public = view.best.tip();
        if self.secret.is_empty() {
            self.racing = false;
            return Vec::new();
        }
        let stands = self.secret.last().is_some_and(|last| last.hash() == own.id.hash);
        if !stands {
            // The public chain has more work: what was secret is worth nothing any more.
            self.secret.clear();
            self.hidden.clear();
            self.racing = false;
            return Vec::new();
        }
        match own.id.height.get().saturating_sub(public.id.height.get()) {
            0 => {
                self.racing = true;
                self.publish_secret(usize::MAX)
            }
            1 => self.publish_secret(usize::MAX),
            _ => self.publish_secret(1),
        }
    }

    /// Shows the lowest of its secret blocks.
    fn publish_secret(&mut self, count: usize) -> Vec<ToNet> {
        let count = count.min(self.secret.len());
        let shown: Vec<Arc<Block>> = self.secret.drain(..count).collect();
        let mut said = Vec::new();
        for block in shown {
            self.hidden.remove(&block.hash());
            said.extend(self.show(&block));
        }
        said
    }

    fn tell_all_of_own(&mut self) -> Vec<ToNet> {
        let peers: Vec<Peer> = self.peers.iter().copied().collect();
        let tip = self.ledger.tip();
        let status = crate::p2p::wire::Status {
            chain: self.ledger.chain().id(),
            tip: tip.id.hash,
            height: tip.id.height,
            work: tip.work,
            agent: String::new(),
        };
        peers.into_iter().map(|peer| self.ask(peer, Request::Status(status.clone()))).collect()
    }

    /// A block with a fault, pushed to one peer.
    fn bad_block(&mut self, view: &View<'_>) -> Vec<ToNet> {
        let fault = self.chance.pick(&FAULTS).copied();
        let tip = self.ledger.tip().id.hash;
        let Some(parent) = self.ledger.tree().find(&tip) else { return Vec::new() };
        let Some(block) = self.made(parent, view.now, fault) else { return Vec::new() };
        let peers: Vec<Peer> = self.peers.iter().copied().collect();
        let Some(peer) = self.chance.pick(&peers).copied() else { return Vec::new() };
        vec![self.ask(peer, push(&Arc::new(block)))]
    }

    /// The header of the best tip with a body that is not its own: one that repeats its last transaction, or one
    /// with another coinbase.
    fn altered_tip(&mut self, view: &View<'_>) -> Vec<ToNet> {
        let Ok(Some(mut block)) = view.best.block(&view.best.tip().id.hash) else { return Vec::new() };
        match block.transactions.last().cloned() {
            Some(last) if self.chance.happens(1, 2) => block.transactions.push(last),
            _ => block.coinbase.free[0] ^= 1,
        }
        self.show(&Arc::new(block))
    }

    /// Transactions that break a rule: a coin twice, more out than in, a signature that is none.
    fn bad_transactions(&mut self, view: &View<'_>) -> Vec<ToNet> {
        let mut said = Vec::new();
        for _ in 0..FLOOD {
            let Some((outpoint, coin, owner)) = view.purse.any_coin(view.best, &mut self.chance) else {
                break;
            };
            let value = coin.output.amount.pebbles();
            let pay = |pebbles| vec![Output::pay(self.pay_to, Amount::from_pebbles(pebbles))];
            let one = [(outpoint, coin.output.amount)];
            let transaction: Transaction = match self.chance.below(3) {
                0 => {
                    let twice = [one[0], one[0]];
                    view.purse.signed(owner, &twice, pay(value + value / 2))
                }
                1 => view.purse.signed(owner, &one, pay(value + 1)),
                _ => {
                    let mut transaction = view.purse.signed(owner, &one, pay(value / 2));
                    transaction.outputs.extend(pay(self.chance.between(1_000, 2_000)));
                    transaction
                }
            };
            said.push(Self::publish(transaction));
        }
        said
    }

    /// Says again what it said, to questions that were never asked.
    fn answer_again(&mut self, view: &View<'_>) -> Vec<ToNet> {
        // The network promises the engine one answer a question; more questions than anybody needs are allowed.
        let peers: Vec<Peer> = self.peers.iter().copied().collect();
        let Some(peer) = self.chance.pick(&peers).copied() else { return Vec::new() };
        let tip = view.best.tip().id.hash;
        let Ok(Some(block)) = view.best.block(&tip) else { return Vec::new() };
        let block = Arc::new(block);
        vec![
            self.ask(peer, push(&block)),
            self.ask(peer, push(&block)),
            self.ask(peer, Request::Blocks(vec![tip; 16])),
            self.ask(peer, Request::Blocks(Vec::new())),
        ]
    }

    /// What it answers; nothing where it lets others wait.
    pub(super) fn answer(&mut self, _peer: Peer, request: &Request, view: &View<'_>) -> Option<Response> {
        if self.strategy == Strategy::Staller {
            return None;
        }
        match request {
            Request::Status(_) => Some(Response::Status(self.status(view.best))),
            Request::Headers(asked) => Some(Response::Headers(match self.strategy {
                Strategy::HeaderSpam => self.spam(),
                _ => self.headers_after(&asked.locator),
            })),
            Request::Blocks(hashes) => self.answer_blocks(hashes, view.best),
            Request::Compact(_) => Some(pushed()),
            Request::Missing(_) => Some(Response::Missing(Vec::new())),
            // Whoever waits for the parents keeps the children.
            Request::Transactions(_) if self.strategy == Strategy::Orphans => None,
            Request::Transactions(_) => Some(Response::Transactions(Vec::new())),
        }
    }

    fn answer_blocks(&mut self, hashes: &[BlockHash], best: &Ledger<Disk>) -> Option<Response> {
        match self.strategy {
            Strategy::Withholder if self.chance.happens(1, 2) => None,
            Strategy::Withholder => Some(Response::Blocks(Vec::new())),
            Strategy::Liar => {
                let mut blocks = self.bodies(hashes);
                match self.chance.below(3) {
                    // Others than were asked for.
                    0 => blocks.reverse(),
                    1 => blocks.extend(best.block(&best.tip().id.hash).ok().flatten()),
                    _ => {
                        if let Some(last) = blocks.last_mut() {
                            last.coinbase.free[0] ^= 1;
                        }
                    }
                }
                Some(carried(&blocks))
            }
            _ => Some(carried(&self.bodies(hashes))),
        }
    }

    /// A cheap branch from far below, each header of it solved.
    fn spam(&mut self) -> Vec<chain::block::Header> {
        let mut headers = Vec::new();
        let mut tree = self.ledger.tree().clone();
        let tip = self.ledger.tip().id.height.get();
        let from =
            chain::height::Height::new(u32::try_from(self.chance.below(u64::from(tip) + 1)).unwrap_or(0));
        let mut parent = self.ledger.active(from).unwrap_or(NodeId::GENESIS);
        for _ in 0..SPAM_HEADERS {
            let number = self.next_number();
            let time = tree.median_time_past(parent).saturating_add_secs(1);
            let wish = Wish { time, pay_to: self.pay_to, transactions: Vec::new(), number, fault: None };
            let Some(block) = forge::block(&self.chain(), &tree, parent, wish) else { break };
            let Ok(target) = block.header.bits.to_target() else { break };
            let Ok(id) = tree.insert(block.header, block.hash(), parent, target.work()) else { break };
            headers.push(block.header);
            parent = id;
        }
        headers
    }
}
