//! Batches: what is accepted together is what would be accepted one by one, and nothing bad spoils the rest.

use chain::{error::SpendError, policy::Satisfaction, transaction::Transaction};

use super::{
    super::AcceptError,
    world::{World, outputs, pay},
};

fn with_bad_signature(mut transaction: Transaction) -> Transaction {
    if let Satisfaction::Signature(signature) = &mut transaction.witnesses[0].satisfaction {
        signature[5] ^= 1;
    }
    transaction
}

#[test]
fn a_batch_takes_children_and_one_bad_one_spoils_only_what_stands_on_it() {
    let mut world = World::new();
    let coins = world.fund(6);
    let parent = pay(&world, &coins[..1], 2, 1_000);
    let child = pay(&world, &[outputs(&parent)[0], coins[1]], 1, 1_000);
    let bad = with_bad_signature(pay(&world, &coins[2..3], 1, 1_000));
    let of_bad = pay(&world, &[outputs(&bad)[0]], 1, 1_000);
    let good = pay(&world, &coins[3..4], 1, 1_000);
    let poor = pay(&world, &coins[4..5], 1, 1);
    let of_poor = pay(&world, &[outputs(&poor)[0]], 1, 90_000);
    let batch = [parent.clone(), child.clone(), bad, of_bad, good.clone(), poor, of_poor, good.clone()];
    let outcomes = world.send_all(&batch);
    assert_eq!(outcomes[0].as_ref().ok(), Some(&parent.txid()));
    assert_eq!(outcomes[1].as_ref().ok(), Some(&child.txid()));
    assert!(matches!(outcomes[2], Err(AcceptError::Spend(SpendError::BadSignature { input: 0 }))));
    assert!(matches!(outcomes[3], Err(AcceptError::Spend(SpendError::MissingCoin { input: 0, .. }))));
    assert!(outcomes[4].is_ok());
    assert!(matches!(outcomes[5], Err(AcceptError::LowFee { .. })));
    assert!(matches!(outcomes[6], Err(AcceptError::Spend(SpendError::MissingCoin { .. }))));
    assert!(matches!(outcomes[7], Err(AcceptError::Known)), "{:?}", outcomes[7]);
    assert_eq!(world.mempool.len(), 3);
    let block = world.mine();
    assert_eq!(block.transactions.len(), 3);
}

#[test]
fn a_batch_may_replace_within_itself_and_drops_what_stood_on_the_loser() {
    let mut world = World::new();
    let coins = world.fund(1);
    let first = pay(&world, &coins, 1, 1_000);
    let better = pay(&world, &coins, 1, 5_000);
    let of_first = pay(&world, &[outputs(&first)[0]], 1, 1_000);
    let outcomes = world.send_all(&[first.clone(), better.clone(), of_first]);
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok());
    assert!(matches!(outcomes[2], Err(AcceptError::Spend(SpendError::MissingCoin { .. }))));
    assert!(world.has(&better) && world.mempool.len() == 1);
}

#[test]
fn a_batch_with_a_parent_that_is_mined_already_takes_the_child() {
    let mut world = World::new();
    let coins = world.fund(1);
    let parent = pay(&world, &coins, 1, 1_000);
    world.send(parent.clone()).expect("valid");
    world.mine();
    let child = pay(&world, &[outputs(&parent)[0]], 1, 1_000);
    let outcomes = world.send_all(&[parent, child]);
    assert!(outcomes[0].is_err() && outcomes[1].is_ok(), "{outcomes:?}");
}

#[test]
fn judging_changes_nothing_and_says_what_acceptance_would() {
    let mut world = World::new();
    let coins = world.fund(1);
    let check = |world: &World, transaction: &Transaction| {
        let chain = world.ledger.chain();
        std::sync::Arc::new(
            chain::check::CheckedTransaction::check(transaction.clone(), chain).expect("valid"),
        )
    };
    let first = pay(&world, &coins, 1, 1_000);
    let changes = world.mempool.changes();
    let fee = world.mempool.judge(&check(&world, &first), &world.ledger, world.now).expect("valid");
    assert_eq!((fee.pebbles(), world.mempool.changes(), world.mempool.len()), (1_000, changes, 0));
    world.send(first).expect("valid");
    let poor = pay(&world, &coins, 1, 1_001);
    let refused = world.mempool.judge(&check(&world, &poor), &world.ledger, world.now);
    assert!(matches!(refused, Err(AcceptError::Conflict { .. })), "{refused:?}");
    let bad = with_bad_signature(pay(&world, &coins, 1, 50_000));
    let refused = world.mempool.judge(&check(&world, &bad), &world.ledger, world.now);
    assert!(matches!(refused, Err(AcceptError::Spend(SpendError::BadSignature { .. }))), "{refused:?}");
}
