//! Engines that talk over a network without sockets, delay or loss: messages are delivered in order, one at a
//! time, on a clock that the test moves. Plain blocks on a chain whose target never changes.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use chain::{
    address::Address,
    amount::Amount,
    block::Block,
    genesis::Chain,
    hash::{BlockHash, TxId},
    ledger::Ledger,
    memory::MemoryStore,
    params::Params,
    policy::{Policy, PublicKey, Witness},
    signature::signature_message,
    time::Time,
    transaction::{FREE_RUN_BYTES, OutPoint, Output, Transaction},
};
use ed25519_dalek::{Signer, SigningKey};
use miner::{Template, TemplateRequest};

use super::super::{Action, Engine, Event, Now};
use crate::p2p::{
    FromNet, Gossip, Peer, Reply, RequestFailure, RequestId, ToNet,
    wire::{CompactBlock, Request, Response, Verdict},
};

pub(super) type TestEngine = Engine<MemoryStore>;

/// A chain on which any second hash is a block, and coins mature at once.
pub(super) fn chain() -> Chain {
    let params = Params { half_life_secs: 0, maturity_blocks: 1, ..Params::dev() };
    Chain::mine(params).expect("easy bits have a nonce")
}

pub(super) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub(super) fn policy(key: &SigningKey) -> Policy {
    Policy::Pk(PublicKey(key.verifying_key().to_bytes()))
}

pub(super) fn address(key: &SigningKey) -> Address {
    Address::of_policy(&policy(key))
}

/// A transaction that spends `coins` of `from`, signed.
pub(super) fn spend(
    chain: &Chain,
    from: &SigningKey,
    coins: &[(OutPoint, Amount)],
    outputs: Vec<Output>,
) -> Transaction {
    let spent: Vec<Output> = coins.iter().map(|(_, amount)| Output::pay(address(from), *amount)).collect();
    let inputs = coins.iter().map(|(outpoint, _)| *outpoint).collect();
    let mut transaction = Transaction { inputs, outputs, witnesses: Vec::new() };
    let message = signature_message(&chain.id(), &transaction.id_preimage(), &spent);
    let public = PublicKey(from.verifying_key().to_bytes());
    let signature = from.sign(&message).to_bytes();
    transaction.witnesses = coins.iter().map(|_| Witness::signed(public, signature)).collect();
    transaction
}

/// An engine that knows nothing yet.
pub(super) fn engine(chain: &Chain) -> TestEngine {
    let ledger = Ledger::open(chain.clone(), MemoryStore::default()).expect("an empty store");
    Engine::new(ledger, "/test:0/".into())
}

pub(super) struct Network {
    pub(super) chain: Chain,
    pub(super) engines: Vec<TestEngine>,
    pub(super) now: Now,
    links: BTreeSet<(usize, usize)>,
    queue: VecDeque<(usize, FromNet)>,
    replies: HashMap<Reply, (usize, usize, RequestId)>,
    gossip: HashMap<Gossip, (usize, Arc<Transaction>)>,
    seen: HashSet<(usize, TxId)>,
    /// Nodes that take requests and never answer.
    pub(super) silent: BTreeSet<usize>,
    /// Nodes that refuse every request for blocks at once.
    pub(super) refusing: BTreeSet<usize>,
    /// Nodes that answer everything but requests for blocks.
    pub(super) stalling: BTreeSet<usize>,
    /// Whether every answer is delivered twice.
    pub(super) twice: bool,
    /// The hashes in all requests for blocks: who asked whom for which.
    pub(super) asked: Vec<(usize, usize, BlockHash)>,
    /// Who banned whom, and why.
    pub(super) banned: Vec<(usize, usize, String)>,
    /// Who disconnected whom without a ban, and why.
    pub(super) sent_away: Vec<(usize, usize, String)>,
    /// What is done to each response before it is delivered: `(from, response)`.
    pub(super) tamper: Option<fn(usize, Response) -> Response>,
    tokens: u64,
}

impl Network {
    pub(super) fn new(count: usize) -> Self {
        let chain = chain();
        let wall = chain.genesis().header.time.saturating_add_secs(1_000_000);
        Self {
            engines: (0..count).map(|_| engine(&chain)).collect(),
            chain,
            now: Now { wall, monotonic_ms: 0 },
            links: BTreeSet::new(),
            queue: VecDeque::new(),
            replies: HashMap::new(),
            gossip: HashMap::new(),
            seen: HashSet::new(),
            silent: BTreeSet::new(),
            refusing: BTreeSet::new(),
            stalling: BTreeSet::new(),
            twice: false,
            asked: Vec::new(),
            banned: Vec::new(),
            sent_away: Vec::new(),
            tamper: None,
            tokens: 0,
        }
    }

    /// All connected with all.
    pub(super) fn meshed(count: usize) -> Self {
        let mut network = Self::new(count);
        for a in 0..count {
            for b in a + 1..count {
                network.connect(a, b);
            }
        }
        network
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        for (from, to, outbound) in [(a, b, true), (b, a, false)] {
            self.links.insert((from, to));
            let (address, identity) = (format!("/memory/{to}"), to.to_string());
            let (peer, quota) = (peer(to), to as u64);
            self.queue.push_back((from, FromNet::Connected { peer, address, outbound, identity, quota }));
        }
        self.settle();
    }

    pub(super) fn cut(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.links.remove(&(from, to));
            self.queue.push_back((from, FromNet::Disconnected { peer: peer(to) }));
        }
        self.settle();
    }

    /// Delivers messages until none is left.
    pub(super) fn settle(&mut self) {
        while let Some((node, message)) = self.queue.pop_front() {
            if let FromNet::Request { .. } = message
                && self.silent.contains(&node)
            {
                continue;
            }
            if let FromNet::Request { peer, request: Request::Blocks(hashes), .. } = &message {
                self.asked.extend(hashes.iter().map(|hash| (index(*peer), node, *hash)));
                if self.stalling.contains(&node) {
                    continue;
                }
            }
            if let FromNet::Request { reply, request: Request::Blocks(_), .. } = &message
                && self.refusing.contains(&node)
            {
                let (asker, answerer, id) = self.replies.remove(reply).expect("answered once");
                let result = Err(RequestFailure::Refused("not now".into()));
                self.queue.push_back((asker, FromNet::Response { peer: peer(answerer), id, result }));
                continue;
            }
            self.tell(node, Event::Net(message));
        }
    }

    /// Tells an engine what happens, does what it wants done, and lets it finish what is ready.
    fn tell(&mut self, node: usize, event: Event) {
        let mut event = Some(event);
        while let Some(next) = event {
            let actions = self.engines[node].on(next, self.now).expect("memory does not fail");
            self.act(node, actions);
            event = self.engines[node].has_ready().then_some(Event::Ready);
        }
    }

    /// Lets time pass, a second at a time.
    pub(super) fn pass(&mut self, secs: u32) {
        for _ in 0..secs {
            self.pass_ms(1_000);
            self.now.wall = self.now.wall.saturating_add_secs(1);
            for node in 0..self.engines.len() {
                self.tell(node, Event::Tick);
            }
            self.settle();
        }
    }

    /// Lets less than a second pass: engines are woken when they want to be, and hear no tick.
    pub(super) fn pass_ms(&mut self, ms: u64) {
        let end_ms = self.now.monotonic_ms + ms;
        loop {
            let wakes = self.engines.iter().enumerate();
            let wakes = wakes.filter_map(|(node, engine)| Some((engine.next_wake_ms()?, node)));
            let Some((wake_ms, node)) = wakes.min().filter(|(wake_ms, _)| *wake_ms <= end_ms) else { break };
            self.now.monotonic_ms = self.now.monotonic_ms.max(wake_ms);
            self.tell(node, Event::Wake);
            let next = self.engines[node].next_wake_ms();
            assert!(
                next.is_none_or(|next| next > self.now.monotonic_ms),
                "an engine that is woken goes to sleep"
            );
            self.settle();
        }
        self.now.monotonic_ms = end_ms;
    }

    fn act(&mut self, node: usize, actions: Vec<Action>) {
        for action in actions {
            let Action::Net(message) = action else { continue };
            match message {
                ToNet::Request { peer, id, request } => {
                    let to = index(peer);
                    if self.links.contains(&(node, to)) {
                        self.tokens += 1;
                        let reply = Reply(self.tokens);
                        self.replies.insert(reply, (node, to, id));
                        let from = super::network::peer(node);
                        self.queue.push_back((to, FromNet::Request { peer: from, reply, request }));
                    }
                }
                ToNet::Reply { reply, response } => {
                    let (asker, answerer, id) = self.replies.remove(&reply).expect("answered once");
                    let response = self.tamper.map_or(response.clone(), |tamper| tamper(node, response));
                    if self.links.contains(&(asker, answerer)) {
                        let copies = if self.twice { 2 } else { 1 };
                        for _ in 0..copies {
                            let result = Ok(response.clone());
                            let message = FromNet::Response { peer: peer(answerer), id, result };
                            self.queue.push_back((asker, message));
                        }
                    }
                }
                ToNet::Publish(transaction) => self.spread(node, &transaction),
                ToNet::Verdict { gossip, verdict } => {
                    let (at, transaction) = self.gossip.remove(&gossip).expect("judged once");
                    if verdict == Verdict::Accept {
                        self.spread(at, &transaction);
                    }
                }
                ToNet::Disconnect { peer, reason, ban } => {
                    let list = if ban { &mut self.banned } else { &mut self.sent_away };
                    list.push((node, index(peer), reason));
                    let (a, b) = (node, index(peer));
                    self.links.remove(&(a, b));
                    self.links.remove(&(b, a));
                    self.queue.push_back((b, FromNet::Disconnected { peer: super::network::peer(a) }));
                }
                ToNet::Dial { .. } | ToNet::RemoveDial { .. } | ToNet::Order(_) => {
                    panic!("an engine does not dial")
                }
            }
        }
    }

    fn spread(&mut self, from: usize, transaction: &Arc<Transaction>) {
        let txid = transaction.txid();
        self.seen.insert((from, txid));
        let neighbours: Vec<usize> = self.links.iter().filter(|(a, _)| *a == from).map(|(_, b)| *b).collect();
        for to in neighbours {
            if self.seen.insert((to, txid)) {
                self.tokens += 1;
                let gossip = Gossip(self.tokens);
                self.gossip.insert(gossip, (to, transaction.clone()));
                let transaction = Box::new(Transaction::clone(transaction));
                self.queue.push_back((to, FromNet::Transaction { peer: peer(from), gossip, transaction }));
            }
        }
    }

    /// A block on the tip of `node` with its best transactions, solved but not submitted.
    pub(super) fn mined(&mut self, node: usize, pay_to: &SigningKey) -> Block {
        let engine = &self.engines[node];
        let ledger = engine.ledger();
        self.tokens += 1;
        let mut free_run = [0; FREE_RUN_BYTES];
        free_run[8..16].copy_from_slice(&self.tokens.to_le_bytes());
        let tip = ledger.tip();
        let request = TemplateRequest {
            params: self.chain.params(),
            previous: tip.id.hash,
            height: ledger.next_spend_context().height,
            bits: ledger.next_bits(),
            median_time_past: tip.median_time_past,
            now: self.now.wall,
            pay_to: address(pay_to),
            free_run,
        };
        let template = Template::new(&request, engine.mempool().packages()).expect("a template");
        let nonce = (0..=u32::MAX)
            .find(|nonce| template.target.is_met_by(&template.header_with(*nonce, template.time, 0).hash()));
        template.solve_with(nonce.expect("every second nonce solves"), template.time, 0)
    }

    /// Mines a block on the tip of `node` and delivers all that follows.
    pub(super) fn mine(&mut self, node: usize, pay_to: &SigningKey) -> Block {
        let block = self.mined(node, pay_to);
        self.submit(node, block.clone());
        block
    }

    pub(super) fn submit(&mut self, node: usize, block: Block) {
        let now = self.now;
        let hash = block.hash();
        let update = self.engines[node].submit_block(block, now).expect("a valid block");
        assert_eq!(update.refusal(&hash), None);
        let actions = self.engines[node].drain();
        self.act(node, actions);
        self.settle();
    }

    /// Sends a transaction through `node` and delivers all that follows.
    pub(super) fn send(&mut self, node: usize, transaction: Transaction) -> Result<TxId, String> {
        let now = self.now;
        let outcome = self.engines[node].submit_transaction(transaction, now);
        let actions = self.engines[node].drain();
        self.act(node, actions);
        self.settle();
        outcome.map_err(|error| error.to_string())
    }

    pub(super) fn tip(&self, node: usize) -> BlockHash {
        self.engines[node].ledger().tip().id.hash
    }

    pub(super) fn height(&self, node: usize) -> u32 {
        self.engines[node].ledger().tip().id.height.get()
    }

    pub(super) fn has(&self, node: usize, txid: &TxId) -> bool {
        self.engines[node].mempool().get(txid).is_some()
    }

    pub(super) fn wall_after(&self, secs: u32) -> Time {
        self.now.wall.saturating_add_secs(secs)
    }
}

/// A block as it is pushed by somebody who thinks that nobody has any of its transactions.
pub(super) fn pushed(block: &Block) -> Request {
    Request::Compact(Arc::new(CompactBlock::whole(block)))
}

pub(super) fn peer(node: usize) -> Peer {
    Peer(node as u64)
}

fn index(peer: Peer) -> usize {
    usize::try_from(peer.0).expect("a small number")
}

/// The coin that a block's coinbase pays.
pub(super) fn reward(block: &Block) -> (OutPoint, Amount) {
    let output = &block.coinbase.outputs[0];
    (OutPoint { txid: block.coinbase.txid(), index: 0 }, output.amount)
}
