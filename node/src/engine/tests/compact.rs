//! Blocks in short: pushed, made whole, passed on, and what is made of wrong ones.

use std::sync::Arc;

use chain::{
    amount::Amount, block::Block, height::Height, ledger::Ledger, memory::MemoryStore,
    merkle::root_and_mutation, pow::Work, transaction::Transaction,
};

use super::{
    hand::{FRIEND, STRANGER, answer, asked, blamed, fund, meet, missing, pay, push, replied, tell, tick},
    network::{Network, key, pushed},
};
use crate::{
    engine::{Action, Engine, Event},
    p2p::{
        FromNet, Peer, Reply, RequestFailure, RequestId, ToNet,
        wire::{CompactBlock, CompactReply, Request, Response},
    },
};

/// The block in short as a node pushes it to the stranger who asks nothing.
fn pushed_by(network: &mut Network, node: usize, block: &Block) -> Arc<CompactBlock> {
    meet(network, node, STRANGER);
    let now = network.now;
    network.engines[node].submit_block(block.clone(), now).expect("a valid block");
    let actions = network.engines[node].drain();
    let of = |(peer, _, request)| match request {
        Request::Compact(compact) if peer == STRANGER => Some(compact),
        _ => None,
    };
    asked(&actions).into_iter().find_map(of).expect("it is pushed")
}

#[test]
fn a_block_crosses_a_line_before_anyone_has_connected_it() {
    let mut network = Network::new(1);
    let coin = fund(&mut network, 1)[0];
    let payment = pay(&network, coin, 1_000);
    network.send(0, payment).expect("valid");
    meet(&mut network, 0, STRANGER);
    meet(&mut network, 0, FRIEND);
    let block = network.mined(0, &key(1));
    let now = network.now;
    let message = FromNet::Request { peer: STRANGER, reply: Reply(0), request: pushed(&block) };
    let actions = network.engines[0].on(Event::Net(message), now).expect("memory does not fail");
    // It is on its way to the friend, and not yet connected here.
    assert!(asked(&actions).iter().any(|(peer, _, request)| {
        *peer == FRIEND && matches!(request, Request::Compact(compact) if compact.hash() == block.hash())
    }));
    assert_eq!(replied(&actions), Some(CompactReply::Accepted));
    assert_ne!(network.tip(0), block.hash());
    assert!(network.engines[0].has_ready());
    network.engines[0].on(Event::Ready, now).expect("memory does not fail");
    assert_eq!(network.tip(0), block.hash());
    assert!(!network.engines[0].has_ready());
}

#[test]
fn what_all_mempools_know_is_not_sent_again_and_what_the_sender_lacked_is() {
    let mut network = Network::meshed(2);
    let coins = fund(&mut network, 2);
    let known = pay(&network, coins[0], 1_000);
    network.send(0, known).expect("valid");
    // Another payment is known to the miner alone, who is far away.
    let mut far = Network::new(1);
    copy_chain(&network, &mut far);
    let secret = pay(&network, coins[1], 2_000);
    far.send(0, secret.clone()).expect("valid");
    let waiting =
        network.engines[0].mempool().entries().next().expect("one").transaction().transaction().clone();
    far.send(0, Transaction::clone(&waiting)).expect("valid");
    let block = far.mined(0, &key(3));
    assert_eq!(block.transactions.len(), 2);
    let compact = pushed_by(&mut network, 0, &block);
    assert_eq!((compact.short_ids.len(), compact.prefilled.len()), (1, 1));
    assert_eq!(compact.prefilled[0].transaction.txid(), secret.txid());
    network.settle();
}

#[test]
fn a_block_of_unknown_payments_costs_one_question_on_one_hop_alone() {
    let mut network = Network::new(2);
    let coins = fund(&mut network, 3);
    network.connect(0, 1);
    network.cut(0, 1);
    // All wait at node 0, two of them nowhere else.
    let payments: Vec<Transaction> = coins.iter().map(|coin| pay(&network, *coin, 1_000)).collect();
    for payment in &payments {
        network.send(0, payment.clone()).expect("valid");
    }
    network.send(1, payments[1].clone()).expect("valid");
    let block = network.mined(0, &key(2));
    let compact = pushed_by(&mut network, 0, &block);
    meet(&mut network, 1, STRANGER);
    meet(&mut network, 1, FRIEND);
    let actions = push(&mut network, 1, STRANGER, Request::Compact(Arc::clone(&compact)));
    let (to, id, request) = missing(&actions).pop().expect("two are missing");
    assert_eq!((to, request.hash, request.indexes.len()), (STRANGER, block.hash(), 2));
    // The same push again, and what was never asked for, change nothing.
    let again = push(&mut network, 1, STRANGER, Request::Compact(Arc::clone(&compact)));
    assert_eq!((replied(&again), missing(&again).len()), (Some(CompactReply::Known), 0));
    assert!(answer(&mut network, 1, STRANGER, RequestId(9_999), Response::Missing(Vec::new())).is_empty());
    // Node 0, which has it, gives exactly those.
    let given = push(&mut network, 0, STRANGER, Request::Missing(request));
    let given = given.into_iter().find_map(|action| match action {
        Action::Net(ToNet::Reply { response: Response::Missing(given), .. }) => Some(given),
        _ => None,
    });
    let given = given.expect("an answer");
    assert_eq!(given.len(), 2);
    let actions = answer(&mut network, 1, STRANGER, id, Response::Missing(given));
    assert_eq!(network.tip(1), block.hash());
    // Whoever is next gets them whole.
    let next = asked(&actions).into_iter().find_map(|(peer, _, request)| match request {
        Request::Compact(compact) if peer == FRIEND => Some(compact.prefilled.len()),
        _ => None,
    });
    assert_eq!(next, Some(2));
    assert!(blamed(&actions).is_empty());
}

#[test]
fn c12_a_mutated_body_in_short_costs_its_sender_and_the_honest_one_is_taken() {
    let mut network = Network::new(1);
    let coin = fund(&mut network, 1)[0];
    let payment = pay(&network, coin, 1_000);
    network.send(0, payment.clone()).expect("valid");
    let block = network.mined(0, &key(2));
    assert_eq!(block.transactions.len(), 1);
    // The header is honest; the body has another coinbase, a signature that is altered, or a tail that is doubled.
    let spoil: [fn(&mut Block); 3] = [
        |block| block.coinbase.free[90] ^= 1,
        |block| {
            let mut altered = Transaction::clone(&block.transactions[0]);
            altered.outputs[0].amount = Amount::from_pebbles(1);
            block.transactions[0] = Arc::new(altered);
        },
        |block| block.transactions.push(Arc::clone(&block.transactions[0])),
    ];
    for (number, spoil) in (10..).zip(spoil) {
        let mut bad = block.clone();
        spoil(&mut bad);
        meet(&mut network, 0, Peer(number));
        let actions = push(&mut network, 0, Peer(number), pushed(&bad));
        assert_eq!(blamed(&actions), [Peer(number)]);
        assert_ne!(network.tip(0), block.hash());
    }
    meet(&mut network, 0, FRIEND);
    let actions = push(&mut network, 0, FRIEND, pushed(&block));
    assert_eq!((replied(&actions), blamed(&actions)), (Some(CompactReply::Accepted), Vec::new()));
    assert_eq!(network.tip(0), block.hash());
}

#[test]
fn c12_a_body_in_short_that_breaks_a_rule_condemns_its_header_and_goes_no_further() {
    let mut network = Network::new(1);
    meet(&mut network, 0, STRANGER);
    meet(&mut network, 0, FRIEND);
    let mut block = network.mined(0, &key(1));
    block.coinbase.outputs[0].amount = Amount::ZERO;
    block.header.merkle_root = root_and_mutation(&[block.coinbase.txid().to_bytes()]).0;
    let target = block.header.bits.to_target().expect("the tip's bits");
    while !target.is_met_by(&block.hash()) {
        block.header.nonce += 1;
    }
    let now = network.now;
    let message = FromNet::Request { peer: STRANGER, reply: Reply(0), request: pushed(&block) };
    let mut actions = network.engines[0].on(Event::Net(message), now).expect("memory does not fail");
    actions.extend(network.engines[0].on(Event::Ready, now).expect("memory does not fail"));
    assert!(asked(&actions).iter().all(|(peer, ..)| *peer != FRIEND), "it is passed on to nobody");
    assert_eq!(blamed(&actions), [], "whoever passed it on need not have known");
    let tree = network.engines[0].ledger().tree();
    assert!(tree.find(&block.hash()).is_some_and(|id| tree.node(id).is_invalid()));
    let actions = push(&mut network, 0, FRIEND, pushed(&block));
    assert_eq!(replied(&actions), Some(CompactReply::Refused));
}

#[test]
fn p07_who_announces_and_does_not_give_holds_up_nobody() {
    let mut network = Network::new(2);
    let coin = fund(&mut network, 1)[0];
    network.connect(0, 1);
    network.cut(0, 1);
    let payment = pay(&network, coin, 1_000);
    network.send(0, payment).expect("valid");
    let block = network.mined(0, &key(2));
    let compact = pushed_by(&mut network, 0, &block);
    for number in [STRANGER, FRIEND] {
        meet(&mut network, 1, number);
    }
    // The stranger is asked first and stays silent: the friend is asked as well, at once.
    let actions = push(&mut network, 1, STRANGER, Request::Compact(Arc::clone(&compact)));
    assert_eq!(missing(&actions).len(), 1);
    let actions = push(&mut network, 1, FRIEND, Request::Compact(Arc::clone(&compact)));
    let (to, id, _) = missing(&actions).pop().expect("asked of the friend");
    assert_eq!(to, FRIEND);
    let given = Response::Missing(block.transactions.clone());
    answer(&mut network, 1, FRIEND, id, given);
    assert_eq!(network.tip(1), block.hash());
    assert_eq!(network.engines[1].relay.held_bytes(), 0);
}

#[test]
fn p06_missing_transactions_that_do_not_come_are_fetched_with_the_whole_block() {
    let mut network = Network::new(2);
    let coin = fund(&mut network, 1)[0];
    network.connect(0, 1);
    network.cut(0, 1);
    let payment = pay(&network, coin, 1_000);
    network.send(0, payment).expect("valid");
    let block = network.mined(0, &key(2));
    let compact = pushed_by(&mut network, 0, &block);
    meet(&mut network, 1, STRANGER);
    let actions = push(&mut network, 1, STRANGER, Request::Compact(Arc::clone(&compact)));
    let (_, id, _) = missing(&actions).pop().expect("one is missing");
    assert!(network.engines[1].relay.held_bytes() > 0);
    let refused = FromNet::Response { peer: STRANGER, id, result: Err(RequestFailure::Timeout) };
    let whole = |actions: &[Action]| {
        asked(actions).into_iter().any(|(_, _, request)| request == Request::Blocks(vec![block.hash()]))
    };
    assert!(whole(&tell(&mut network, 1, refused)));
    assert_eq!(network.engines[1].relay.held_bytes(), 0);
    // And so it is where nothing at all is heard, and where too few come; nobody is at fault.
    for (number, fewer) in [(20, false), (21, true)] {
        let mut network = Network::new(1);
        let mut other = Network::new(1);
        let coin = fund(&mut other, 1)[0];
        copy_chain(&other, &mut network);
        let payment = pay(&other, coin, 1_000);
        other.send(0, payment).expect("valid");
        let block = other.mined(0, &key(2));
        let compact = pushed_by(&mut other, 0, &block);
        meet(&mut network, 0, Peer(number));
        let mut actions = push(&mut network, 0, Peer(number), Request::Compact(compact));
        let (_, id, _) = missing(&actions).pop().expect("one is missing");
        actions = if fewer {
            answer(&mut network, 0, Peer(number), id, Response::Missing(Vec::new()))
        } else {
            tick(&mut network, 0, 2)
        };
        let wanted = Request::Blocks(vec![block.hash()]);
        assert!(asked(&actions).into_iter().any(|(_, _, request)| request == wanted), "{actions:?}");
        assert!(blamed(&actions).is_empty());
    }
}

/// Gives the first node of `to` all blocks of the first node of `from`.
fn copy_chain(from: &Network, to: &mut Network) {
    to.now = from.now;
    for height in 1..=from.height(0) {
        let ledger = from.engines[0].ledger();
        let id = ledger.active(Height::new(height)).expect("active");
        let block = ledger.block(&ledger.tree().node(id).hash()).expect("memory").expect("a body");
        to.submit(0, block);
    }
}

#[test]
fn p01_a_push_below_the_least_work_leaves_nothing_and_is_no_fault() {
    let mut network = Network::new(1);
    let cheap = network.mined(0, &key(1));
    let ledger = Ledger::open(network.chain.clone(), MemoryStore::default()).expect("an empty store");
    let mut least = [0; 32];
    least[16] = 1;
    network.engines[0] = Engine::new(ledger, String::new()).with_minimum_work(Work::from_be_bytes(least));
    meet(&mut network, 0, STRANGER);
    let actions = push(&mut network, 0, STRANGER, pushed(&cheap));
    assert_eq!((replied(&actions), blamed(&actions)), (Some(CompactReply::Refused), Vec::new()));
    assert_eq!(network.engines[0].ledger().tree().len(), 1);
    // Its headers are asked for, and pass through the presync.
    assert!(asked(&actions).iter().any(|(.., request)| matches!(request, Request::Headers(_))));
}

#[test]
fn p26_a_push_is_paid_for_by_its_header_before_anything_is_said_or_kept() {
    let mut network = Network::new(1);
    fund(&mut network, 1);
    meet(&mut network, 0, FRIEND);
    let honest = network.mined(0, &key(2));
    let (mut idle, mut easy, mut far) = (honest.clone(), honest.clone(), honest);
    let target = idle.header.bits.to_target().expect("valid bits");
    while target.is_met_by(&idle.hash()) {
        idle.header.nonce += 1;
    }
    easy.header.bits = chain::pow::CompactTarget::from_u32(0x2100_ffff);
    far.header.previous = chain::hash::BlockHash::from_bytes([9; 32]);
    while !target.is_met_by(&far.hash()) {
        far.header.nonce += 1;
    }
    for (number, block, fault) in [(30, idle, true), (31, easy, true), (32, far, false)] {
        meet(&mut network, 0, Peer(number));
        let known = network.engines[0].ledger().tree().len();
        let actions = push(&mut network, 0, Peer(number), pushed(&block));
        assert_eq!(blamed(&actions).len(), usize::from(fault), "{number}: {actions:?}");
        assert!(!asked(&actions).iter().any(|(peer, ..)| *peer == FRIEND), "{number}: {actions:?}");
        assert_eq!(network.engines[0].ledger().tree().len(), known);
        assert_eq!(network.engines[0].relay.held_bytes(), 0);
    }
}
