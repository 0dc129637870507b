//! Replacement by fee: the rules R1 to R5, and that nobody can pin or relay for free.

use chain::{amount::Amount, transaction::Transaction};

use super::{
    super::{AcceptError, Departure, MAX_REPLACED, ReplacementError},
    world::{World, outputs, pay},
};

fn refused(outcome: Result<chain::hash::TxId, AcceptError>) -> ReplacementError {
    match outcome {
        Err(AcceptError::Conflict { why, .. }) => why,
        other => panic!("no refusal of a replacement: {other:?}"),
    }
}

fn len(transaction: &Transaction) -> u64 {
    u64::try_from(transaction.to_bytes().len()).expect("small")
}

#[test]
fn a_payment_is_bumped_without_a_word_beforehand_and_is_reported_as_replaced() {
    let mut world = World::new();
    let coin = world.fund(1)[0];
    let first = pay(&world, &[coin], 2, 1_000);
    let child = pay(&world, &[outputs(&first)[0]], 1, 1_000);
    let bumped = pay(&world, &[coin], 2, 10_000);
    world.send(first.clone()).expect("valid");
    world.send(child.clone()).expect("valid");
    world.send(bumped.clone()).expect("it pays more");
    assert!(world.has(&bumped) && world.mempool.len() == 1);
    for left in [&first, &child] {
        let departed = world.mempool.departed(&left.txid()).expect("remembered");
        assert_eq!(departed.why, Departure::Replaced { by: bumped.txid() });
    }
    let block = world.mine();
    assert_eq!(block.transactions.len(), 1);
}

#[test]
fn m02_a_large_poor_child_does_not_pin_what_it_spends_from() {
    let mut world = World::new();
    let coins = world.fund(400);
    // Two pay from one coin; one of them hangs a large child at the lowest rate onto its output.
    let shared = pay(&world, &coins[..1], 2, 1_000);
    world.send(shared.clone()).expect("valid");
    let mut inputs = vec![outputs(&shared)[0]];
    inputs.extend(&coins[1..300]);
    let size = len(&pay(&world, &inputs, 1, 1));
    let pin = pay(&world, &inputs, 1, size);
    world.send(pin.clone()).expect("the lowest rate");
    // What the other adds at its own output is not held up either.
    let other = pay(&world, &[outputs(&shared)[1]], 1, 5_000);
    world.send(other).expect("a child of one's own");
    let lost = 1_000 + size + 5_000;
    let bumped = |fee: u64| pay(&world, &coins[..1], 2, fee);
    let relay = len(&bumped(1));
    let (short, enough) = (bumped(lost + relay - 1), bumped(lost + relay));
    assert!(matches!(refused(world.send(short)), ReplacementError::LowFee { .. }));
    world.send(enough.clone()).expect("all that is lost, and the relay fee");
    assert_eq!(world.mempool.len(), 1);
    assert_eq!(
        world.mempool.departed(&pin.txid()).map(|gone| gone.why),
        Some(Departure::Replaced { by: enough.txid() })
    );
}

#[test]
fn m02_the_size_of_a_pin_is_bounded() {
    let mut world = World::new();
    let coins = world.fund(1_000);
    let shared = pay(&world, &coins[..1], 2, 1_000);
    world.send(shared.clone()).expect("valid");
    let mut inputs = vec![outputs(&shared)[0]];
    inputs.extend(&coins[1..]);
    let pin = pay(&world, &inputs, 1, 1_000_000);
    assert!(len(&pin) > 100_000);
    let outcome = world.send(pin);
    assert!(matches!(outcome, Err(AcceptError::ClusterFull)), "{outcome:?}");
}

#[test]
fn m04_each_replacement_pays_for_its_own_way() {
    let mut world = World::new();
    let coin = world.fund(1)[0];
    let mut last = pay(&world, &[coin], 1, 1_000);
    world.send(last.clone()).expect("valid");
    for more in 1..=1_000 {
        let outcome = world.send(pay(&world, &[coin], 1, 1_000 + more));
        if more < len(&last) {
            assert!(matches!(refused(outcome), ReplacementError::LowFee { .. }));
            continue;
        }
        last = pay(&world, &[coin], 1, 1_000 + more);
        assert_eq!(outcome.expect("it pays its way"), last.txid());
        break;
    }
    assert!(world.has(&last) && world.mempool.len() == 1);
}

#[test]
fn more_in_all_but_less_for_the_first_bytes_is_refused() {
    let mut world = World::new();
    let coins = world.fund(200);
    let first = pay(&world, &coins[..1], 1, 5_000);
    world.send(first.clone()).expect("valid");
    // It pays more, but for so many bytes that a miner with little room loses.
    let heavy = pay(&world, &coins[..150], 1, 30_000);
    assert_eq!(refused(world.send(heavy)), ReplacementError::NotBetter);
    assert!(world.has(&first));
}

#[test]
fn a_replacement_cannot_spend_from_what_it_replaces() {
    let mut world = World::new();
    let coins = world.fund(2);
    let parent = pay(&world, &coins[..1], 2, 1_000);
    let child = pay(&world, &[outputs(&parent)[0], coins[1]], 1, 1_000);
    world.send(parent.clone()).expect("valid");
    world.send(child.clone()).expect("valid");
    let own = pay(&world, &[outputs(&parent)[1], coins[0]], 1, 100_000);
    assert_eq!(refused(world.send(own)), ReplacementError::SpendsReplaced(parent.txid()));
    let of_child = pay(&world, &[outputs(&child)[0], coins[1]], 1, 100_000);
    assert_eq!(refused(world.send(of_child)), ReplacementError::SpendsReplaced(child.txid()));
    assert_eq!(world.mempool.len(), 2);
}

#[test]
fn at_most_a_hundred_are_replaced_at_once() {
    let mut world = World::new();
    let coins = world.fund(MAX_REPLACED + 1);
    for coin in &coins {
        world.send(pay(&world, &[*coin], 1, 1_000)).expect("valid");
    }
    assert_eq!(refused(world.send(pay(&world, &coins, 1, 10_000_000))), ReplacementError::TooMany);
    world.send(pay(&world, &coins[1..], 1, 10_000_000)).expect("a hundred");
    assert_eq!(world.mempool.len(), 2);
}

#[test]
fn m05_a_replacement_that_would_join_too_large_a_cluster_is_refused_before_its_signatures() {
    let mut world = World::new();
    let coins = world.fund(4);
    // A cluster of 64, two that are 65 together with a newcomer, and a payment to replace.
    let mut ends = Vec::new();
    for (coin, length) in [(coins[0], 64), (coins[1], 32), (coins[2], 32)] {
        let mut last = coin;
        for _ in 0..length {
            let payment = pay(&world, &[last], 1, 1_000);
            last = outputs(&payment)[0];
            world.send(payment).expect("within the limit");
        }
        ends.push(last);
    }
    let victim = pay(&world, &coins[3..], 1, 1_000);
    world.send(victim.clone()).expect("valid");
    for joined in [&ends[..1], &ends[1..], &ends[..]] {
        let mut inputs = vec![coins[3]];
        inputs.extend(joined);
        let mut newcomer = pay(&world, &inputs, 1, 100_000);
        // Its signatures hold for something else: nobody got as far as looking at them.
        newcomer.outputs[0].amount = Amount::from_pebbles(newcomer.outputs[0].amount.pebbles() - 1);
        assert!(matches!(world.send(newcomer), Err(AcceptError::ClusterFull)));
    }
    assert!(world.has(&victim));
    assert_eq!(world.mempool.len(), 129);
    // Without a conflict it is no different.
    assert!(matches!(world.send(pay(&world, &ends[..1], 1, 1_000)), Err(AcceptError::ClusterFull)));
}
