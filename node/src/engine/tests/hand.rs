//! What a test says to one engine by hand, and what it hears of the engine's answers.

use chain::{
    amount::Amount,
    hash::TxId,
    transaction::{OutPoint, Output, Transaction},
};

use super::network::{Network, address, key, reward, spend};
use crate::{
    engine::{Action, Event},
    p2p::{
        FromNet, Gossip, Peer, Reply, RequestId, ToNet,
        wire::{CompactReply, MissingRequest, Request, Response, Verdict},
    },
};

/// Peers that are no engines: the test speaks for them.
pub(super) const STRANGER: Peer = Peer(99);
pub(super) const FRIEND: Peer = Peer(98);

pub(super) fn tell(network: &mut Network, node: usize, message: FromNet) -> Vec<Action> {
    let now = network.now;
    let engine = &mut network.engines[node];
    let mut actions = engine.on(Event::Net(message), now).expect("memory does not fail");
    while engine.has_ready() {
        actions.extend(engine.on(Event::Ready, now).expect("memory does not fail"));
    }
    actions
}

pub(super) fn tick(network: &mut Network, node: usize, secs: u32) -> Vec<Action> {
    let mut actions = Vec::new();
    for _ in 0..secs {
        network.now.wall = network.wall_after(1);
        network.now.monotonic_ms += 1_000;
        let now = network.now;
        actions.extend(network.engines[node].on(Event::Tick, now).expect("memory does not fail"));
    }
    actions
}

pub(super) fn meet(network: &mut Network, node: usize, peer: Peer) {
    let (address, identity) = (String::new(), String::new());
    tell(network, node, FromNet::Connected { peer, address, outbound: false, identity, quota: peer.0 });
}

pub(super) fn push(network: &mut Network, node: usize, from: Peer, request: Request) -> Vec<Action> {
    tell(network, node, FromNet::Request { peer: from, reply: Reply(0), request })
}

pub(super) fn gossip(
    network: &mut Network,
    node: usize,
    from: Peer,
    token: u64,
    sent: &Transaction,
) -> Vec<Action> {
    let transaction = Box::new(sent.clone());
    tell(network, node, FromNet::Transaction { peer: from, gossip: Gossip(token), transaction })
}

pub(super) fn answer(
    network: &mut Network,
    node: usize,
    peer: Peer,
    id: RequestId,
    response: Response,
) -> Vec<Action> {
    tell(network, node, FromNet::Response { peer, id, result: Ok(response) })
}

/// The requests among the actions, with whom they go to.
pub(super) fn asked(actions: &[Action]) -> Vec<(Peer, RequestId, Request)> {
    let of = |action: &Action| match action {
        Action::Net(ToNet::Request { peer, id, request }) => Some((*peer, *id, request.clone())),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

/// The requests for transactions of a block.
pub(super) fn missing(actions: &[Action]) -> Vec<(Peer, RequestId, MissingRequest)> {
    let of = |(peer, id, request)| match request {
        Request::Missing(request) => Some((peer, id, request)),
        _ => None,
    };
    asked(actions).into_iter().filter_map(of).collect()
}

/// The requests for waiting transactions.
pub(super) fn parents_asked(actions: &[Action]) -> Vec<(Peer, RequestId, Vec<TxId>)> {
    let of = |(peer, id, request)| match request {
        Request::Transactions(ids) => Some((peer, id, ids)),
        _ => None,
    };
    asked(actions).into_iter().filter_map(of).collect()
}

pub(super) fn verdicts(actions: &[Action]) -> Vec<(u64, Verdict)> {
    let of = |action: &Action| match action {
        Action::Net(ToNet::Verdict { gossip, verdict }) => Some((gossip.0, *verdict)),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

pub(super) fn published(actions: &[Action]) -> Vec<TxId> {
    let of = |action: &Action| match action {
        Action::Net(ToNet::Publish(transaction)) => Some(transaction.txid()),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

pub(super) fn replied(actions: &[Action]) -> Option<CompactReply> {
    actions.iter().find_map(|action| match action {
        Action::Net(ToNet::Reply { response: Response::Compact(reply), .. }) => Some(*reply),
        _ => None,
    })
}

pub(super) fn blamed(actions: &[Action]) -> Vec<Peer> {
    let of = |action: &Action| match action {
        Action::Net(ToNet::Disconnect { peer, .. }) => Some(*peer),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

/// Coins of `key(1)`, mined and mature, on the tip of node 0 and of all that are connected to it.
pub(super) fn fund(network: &mut Network, count: usize) -> Vec<(OutPoint, Amount)> {
    let coins = (0..count).map(|_| reward(&network.mine(0, &key(1)))).collect();
    network.mine(0, &key(9));
    coins
}

pub(super) fn pay(network: &Network, coin: (OutPoint, Amount), fee: u64) -> Transaction {
    let left = Amount::from_pebbles(coin.1.pebbles() - fee);
    spend(&network.chain, &key(1), &[coin], vec![Output::pay(address(&key(1)), left)])
}

pub(super) fn output(transaction: &Transaction) -> (OutPoint, Amount) {
    (OutPoint { txid: transaction.txid(), index: 0 }, transaction.outputs[0].amount)
}

/// A payment and another that spends it.
pub(super) fn family(network: &Network, coin: (OutPoint, Amount)) -> (Transaction, Transaction) {
    let parent = pay(network, coin, 1_000);
    let child = pay(network, output(&parent), 1_000);
    (parent, child)
}
