//! Bounds: of memory, of work, of clusters, of dust, of time.

use chain::{
    amount::Amount,
    error::SpendError,
    height::Height,
    params::Params,
    policy::{Policy, PublicKey, Satisfaction, Witness},
    transaction::{Output, Transaction},
};

use super::{
    super::{
        AcceptError, DUST_PEBBLES, Departure, EXPIRY_SECS, FLOOR_HALF_LIFE_SECS, Giver, MAX_CLUSTER_COUNT,
        MAX_WASTED_SIGNATURES, MIN_RELAY_FEE_RATE,
    },
    world::{Spendable, World, address, key, outputs, pay, payment_bytes, reward, sign},
};

/// A world whose mempool holds about `count` payments of one coin, and coins to flood it with.
fn small(count: u64, coins: usize) -> (World, Vec<Spendable>) {
    let mut world = World::new();
    let coins = world.fund(coins);
    world.send(pay(&world, &[coins[0]], 1, 1_000)).expect("there is room");
    let each = world.mempool.memory_bytes();
    let mut world = World::with(Params::dev(), each * count + each / 2);
    let coins = world.fund(coins.len());
    (world, coins)
}

#[test]
fn m01_a_flood_stays_within_the_memory_and_the_best_still_enter() {
    let (mut world, coins) = small(20, 400);
    let limit = world.mempool.max_memory_bytes();
    let least = payment_bytes(&world, coins[0]);
    for coin in &coins[..200] {
        // Ten times what fits, all at the lowest fee: the first fill it, the others are no better.
        let outcome = world.send(pay(&world, &[*coin], 1, least));
        assert!(
            matches!(outcome, Ok(_) | Err(AcceptError::Full | AcceptError::LowFee { .. })),
            "{outcome:?}"
        );
        assert!(world.mempool.memory_bytes() <= limit);
    }
    assert_eq!(world.mempool.len(), 20);
    let floor = world.mempool.min_fee_rate(world.now);
    assert_eq!(floor, MIN_RELAY_FEE_RATE, "nobody was displaced");
    let rich: Vec<Transaction> = (0_u64..)
        .zip(&coins[200..300])
        .map(|(more, coin)| pay(&world, &[*coin], 1, least * (3 + more)))
        .collect();
    for transaction in &rich {
        world.send(transaction.clone()).expect("it pays more than all that are here");
        assert!(world.mempool.memory_bytes() <= limit);
    }
    assert_eq!(world.mempool.len(), 20);
    assert!(rich[80..].iter().all(|transaction| world.has(transaction)), "the best of them stay");
    let departed = world.mempool.departed(&rich[0].txid()).expect("remembered");
    assert_eq!(departed.why, Departure::Evicted);
}

#[test]
fn m01_the_floor_rises_with_what_is_dropped_and_falls_with_time() {
    let (mut world, coins) = small(3, 20);
    let bytes = payment_bytes(&world, coins[0]);
    for (coin, times) in coins.iter().zip([5, 6, 7, 20]) {
        world.send(pay(&world, &[*coin], 1, bytes * times)).expect("better than the worst");
    }
    let floor = world.mempool.min_fee_rate(world.now);
    assert_eq!(floor, 6 * MIN_RELAY_FEE_RATE, "one that paid five was dropped");
    let refused = world.send(pay(&world, &[coins[5]], 1, bytes * 6 - 1));
    assert!(matches!(refused, Err(AcceptError::LowFee { .. })), "{refused:?}");
    world.pass(FLOOR_HALF_LIFE_SECS);
    assert_eq!(world.mempool.min_fee_rate(world.now), 3 * MIN_RELAY_FEE_RATE);
    let half = world.mempool.min_fee_rate(world.now.saturating_add_secs(FLOOR_HALF_LIFE_SECS / 2));
    assert_eq!(half, 9 * MIN_RELAY_FEE_RATE / 4, "a straight line between halvings");
    world.pass(FLOOR_HALF_LIFE_SECS * 100);
    assert_eq!(world.mempool.min_fee_rate(world.now), MIN_RELAY_FEE_RATE);
    // With room again it falls faster.
    world.mine();
    assert!(world.mempool.is_empty());
}

#[test]
fn m01_a_parent_is_not_dropped_for_its_own_child_which_may_lift_it() {
    let (mut world, coins) = small(3, 20);
    let bytes = payment_bytes(&world, coins[0]);
    let poor = pay(&world, &[coins[0]], 1, bytes);
    let others: Vec<Transaction> =
        coins[1..3].iter().map(|coin| pay(&world, &[*coin], 1, bytes * 2)).collect();
    world.send(poor.clone()).expect("there is room");
    for other in &others {
        world.send(other.clone()).expect("there is room");
    }
    // It pays more for itself than the others, but not with the parent that it would have to lift.
    let child = pay(&world, &[outputs(&poor)[0]], 1, bytes * 5 / 2);
    let refused = world.send(child);
    assert!(matches!(refused, Err(AcceptError::Full)), "{refused:?}");
    assert_eq!(world.mempool.len(), 3);
    let child = pay(&world, &[outputs(&poor)[0]], 1, bytes * 9);
    world.send(child.clone()).expect("together they pay five");
    assert!(world.has(&poor) && world.has(&child));
    assert_eq!(world.mempool.len(), 3, "one of the others made room");
}

/// A transaction whose policy takes much more memory than its bytes: a threshold of conditions without keys.
fn wide_policy() -> Policy {
    Policy::Thresh { k: 60, of: vec![Policy::AfterHeight(Height::ZERO); 60] }
}

fn wide(world: &World, coins: &[Spendable], fee: u64) -> Transaction {
    let chosen = (0..60).map(|index| (index, Satisfaction::Nothing)).collect();
    let witness = Witness { policy: wide_policy(), satisfaction: Satisfaction::Chosen(chosen) };
    let mut transaction = pay(world, coins, 1, fee);
    transaction.witnesses = vec![witness; coins.len()];
    transaction
}

#[test]
fn m01_memory_is_counted_as_it_is_occupied_and_paid_for() {
    let mut world = World::new();
    let block = world.mine_empty();
    world.mine_empty();
    let to = chain::address::Address::of_policy(&wide_policy());
    let coin = reward(&block);
    let share = Amount::from_pebbles(coin.1.pebbles() / 50);
    let split = sign(&world, &[coin], vec![Output::pay(to, share); 40]);
    let coins = outputs(&split);
    world.send(split).expect("a good payment");
    world.mine();
    let cheap = wide(&world, &coins[..20], 1);
    let bytes = u64::try_from(cheap.to_bytes().len()).expect("small");
    let refused = world.send(wide(&world, &coins[..20], bytes));
    let Err(AcceptError::LowFee { needed, .. }) = refused else { panic!("{refused:?}") };
    assert!(needed.pebbles() > bytes * 3 / 2, "{needed} for {bytes} bytes");
    world.send(wide(&world, &coins[..20], needed.pebbles())).expect("it pays for its memory");
    assert!(world.mempool.memory_bytes() > bytes * 15, "{} for {bytes} bytes", world.mempool.memory_bytes());
    // A plain payment pays for its bytes alone.
    let mut world = World::new();
    let coin = world.fund(1)[0];
    world.send(pay(&world, &[coin], 2, 240)).expect("the least for its bytes");
    assert!(world.mempool.memory_bytes() > world.mempool.bytes() * 4);
}

#[test]
fn m05_clusters_are_bounded_and_a_block_makes_room() {
    let mut world = World::new();
    let mut coin = world.fund(1)[0];
    let mut chain = Vec::new();
    for _ in 0..=MAX_CLUSTER_COUNT {
        let transaction = pay(&world, &[coin], 1, 1_000);
        coin = outputs(&transaction)[0];
        chain.push(transaction);
    }
    for transaction in &chain[..MAX_CLUSTER_COUNT] {
        world.send(transaction.clone()).expect("within the limit");
    }
    let last = &chain[MAX_CLUSTER_COUNT];
    let refused = world.send(last.clone());
    assert!(matches!(refused, Err(AcceptError::ClusterFull)), "{refused:?}");
    let first = chain[0].txid();
    assert_eq!(world.mempool.descendants(&first).len(), MAX_CLUSTER_COUNT - 1);
    let tip = chain[MAX_CLUSTER_COUNT - 1].txid();
    assert_eq!(world.mempool.ancestors(&tip).len(), MAX_CLUSTER_COUNT - 1);
    assert_eq!(world.mempool.parents(&tip), [chain[MAX_CLUSTER_COUNT - 2].txid()]);
    world.mine();
    world.send(last.clone()).expect("the others are mined");
}

/// Steps of ordering for a chain of payments, of which each 64 are mined.
fn steps_of_chain(length: usize) -> u64 {
    let mut world = World::new();
    let mut coin = world.fund(1)[0];
    for sent in 1..=length {
        let transaction = pay(&world, &[coin], 1, 1_000);
        coin = outputs(&transaction)[0];
        world.send(transaction).expect("within the limit");
        if sent % MAX_CLUSTER_COUNT == 0 {
            world.mine();
        }
    }
    world.mempool.steps()
}

#[test]
fn m05_a_long_chain_costs_in_proportion_to_its_length() {
    let (once, twice) = (steps_of_chain(640), steps_of_chain(1_280));
    assert!(twice <= once * 2 + once / 20, "{once} steps, then {twice}");
}

#[test]
fn m06_what_was_refused_is_not_verified_again_until_the_tip_moves() {
    let mut world = World::with(Params { maturity_blocks: 3, ..Params::dev() }, 1_000_000);
    let block = world.mine_empty();
    world.mine_empty();
    let early = std::sync::Arc::new(pay(&world, &[reward(&block)], 1, 1_000));
    let peer = Giver(1);
    let give = |world: &mut World| {
        let outcome = world.mempool.accept_from(peer, vec![early.clone()], &world.ledger, world.now);
        outcome.into_iter().next().expect("one outcome")
    };
    let first = give(&mut world);
    assert!(matches!(first, Err(AcceptError::Spend(SpendError::Immature { .. }))), "{first:?}");
    let again = give(&mut world);
    assert!(matches!(again, Err(AcceptError::RefusedBefore)), "{again:?}");
    // A user hears the reason each time.
    let user = world.send(Transaction::clone(&early));
    assert!(matches!(user, Err(AcceptError::Spend(SpendError::Immature { .. }))), "{user:?}");
    world.mine_empty();
    give(&mut world).expect("valid in the next block");
}

#[test]
fn m06_a_missing_coin_is_no_lasting_refusal() {
    let mut world = World::new();
    let coin = world.fund(1)[0];
    let parent = pay(&world, &[coin], 1, 1_000);
    let child = std::sync::Arc::new(pay(&world, &[outputs(&parent)[0]], 1, 1_000));
    let orphan = world.mempool.accept_from(Giver(1), vec![child.clone()], &world.ledger, world.now);
    assert!(matches!(orphan[0], Err(AcceptError::Spend(SpendError::MissingCoin { .. }))), "{orphan:?}");
    world.send(parent).expect("valid");
    let child = world.mempool.accept_from(Giver(1), vec![child], &world.ledger, world.now);
    assert!(child[0].is_ok(), "{child:?}");
}

#[test]
fn m08_one_peers_flood_leaves_room_for_others() {
    let (mut world, coins) = small(40, 200);
    let bytes = payment_bytes(&world, coins[0]);
    let limit = world.mempool.max_memory_bytes();
    let give = |world: &mut World, peer: u64, coin: &Spendable, times: u64| {
        let transaction = std::sync::Arc::new(pay(world, &[*coin], 1, bytes * times));
        world.mempool.accept_from(Giver(peer), vec![transaction], &world.ledger, world.now).remove(0)
    };
    give(&mut world, 2, &coins[0], 1).expect("there is room");
    for coin in &coins[1..100] {
        let outcome = give(&mut world, 1, coin, 50);
        assert!(matches!(outcome, Ok(_) | Err(AcceptError::ShareSpent)), "{outcome:?}");
    }
    assert!(world.mempool.held_by(Giver(1)) <= limit / 2);
    assert!(world.mempool.held_by(Giver(2)) > 0, "the poorest of another peer is still here");
    for coin in &coins[100..106] {
        give(&mut world, 2, coin, 1).expect("another peer has room");
    }
    // A block frees the share.
    world.mine();
    assert_eq!((world.mempool.held_by(Giver(1)), world.mempool.held_by(Giver(2))), (0, 0));
    give(&mut world, 1, &coins[110], 1).expect("its share is free again");
}

#[test]
fn m08_slow_wrong_transactions_are_given_up_and_others_are_not() {
    let mut world = World::new();
    let coins = world.fund(101);
    let many: Vec<Spendable> = coins[..100].to_vec();
    let bad = |world: &World, fee: u64| {
        let mut transaction = pay(world, &many, 1, fee);
        // The last of a hundred signatures is wrong: all must be looked at.
        if let Satisfaction::Signature(signature) = &mut transaction.witnesses[99].satisfaction {
            signature[0] ^= 1;
        }
        std::sync::Arc::new(transaction)
    };
    let (mut verified, mut given_up) = (0, 0);
    for fee in 0..60 {
        let transaction = bad(&world, 100_000 + fee);
        match world.mempool.accept_from(Giver(1), vec![transaction], &world.ledger, world.now).remove(0) {
            Err(AcceptError::Spend(SpendError::BadSignature { .. })) => verified += 1,
            Err(AcceptError::ShareSpent) => given_up += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((verified, given_up), (MAX_WASTED_SIGNATURES / 100, 60 - MAX_WASTED_SIGNATURES / 100));
    let good = std::sync::Arc::new(pay(&world, &[coins[100]], 1, 1_000));
    let refused = world.mempool.accept_from(Giver(1), vec![good.clone()], &world.ledger, world.now).remove(0);
    assert!(matches!(refused, Err(AcceptError::ShareSpent)), "{refused:?}");
    world.pass(60);
    world.mempool.accept_from(Giver(1), vec![good], &world.ledger, world.now).remove(0).expect("forgiven");
}

#[test]
fn m10_dust_is_not_relayed_and_blocks_are_free_of_the_rule() {
    let mut world = World::new();
    let coins = world.fund(2);
    let dust = |world: &World, amount: u64, count: usize| {
        let mut outputs = vec![Output::pay(address(), Amount::from_pebbles(amount)); count];
        let rest = coins[0].1.pebbles() - amount * u64::try_from(count).expect("small") - 1_000_000;
        outputs.push(Output::pay(address(), Amount::from_pebbles(rest)));
        sign(world, &coins[..1], outputs)
    };
    let refused = world.send(dust(&world, DUST_PEBBLES - 1, 10_000));
    assert!(matches!(refused, Err(AcceptError::Dust { index: 0, .. })), "{refused:?}");
    let small = dust(&world, DUST_PEBBLES - 1, 1);
    assert!(matches!(world.send(small.clone()), Err(AcceptError::Dust { .. })));
    world.send(dust(&world, DUST_PEBBLES, 1)).expect("just enough");
    // A block may hold it: then what spends the same coin leaves.
    let checked = chain::check::CheckedTransaction::check(small, world.ledger.chain()).expect("valid");
    let candidate = miner::Candidate { transaction: checked.into(), fee: Amount::ZERO };
    let block = world.solved(vec![candidate.into()]);
    world.submit(&block);
    assert!(world.mempool.is_empty());
}

#[test]
fn what_waits_too_long_expires_with_its_descendants() {
    let mut world = World::new();
    let coins = world.fund(2);
    let old = pay(&world, &[coins[0]], 1, 1_000);
    world.send(old.clone()).expect("valid");
    world.pass(EXPIRY_SECS);
    let child = pay(&world, &[outputs(&old)[0]], 1, 1_000);
    let other = pay(&world, &[coins[1]], 1, 1_000);
    world.send(child.clone()).expect("valid");
    world.send(other.clone()).expect("valid");
    world.mempool.expire(world.now);
    assert_eq!(world.mempool.len(), 3);
    world.pass(1);
    world.mempool.expire(world.now);
    assert!(!world.has(&old) && !world.has(&child) && world.has(&other));
    let departed = world.mempool.departed(&child.txid()).expect("remembered");
    assert_eq!((departed.why, departed.time), (Departure::Expired, world.now));
}

#[test]
fn an_address_finds_what_pays_it_and_what_spends_from_it_whenever_it_is_asked_first() {
    for is_asked_early in [true, false] {
        look_up_addresses(is_asked_early);
    }
}

fn look_up_addresses(is_asked_early: bool) {
    let mut world = World::new();
    let coins = world.fund(3);
    let ids = |world: &World, of: &chain::address::Address| -> Vec<_> {
        world.mempool.of_address(of).map(|entry| entry.transaction().txid()).collect()
    };
    if is_asked_early {
        assert!(ids(&world, &address()).is_empty());
    }
    let gone = pay(&world, &coins[2..], 1, 1_000);
    world.send(gone.clone()).expect("valid");
    world.pass(EXPIRY_SECS + 1);
    world.mempool.expire(world.now);
    assert!(!world.has(&gone));
    let other = Policy::Pk(PublicKey(key().verifying_key().to_bytes().map(|byte| byte ^ 1)));
    let other = chain::address::Address::of_policy(&other);
    let amount = Amount::from_pebbles(coins[0].1.pebbles() - 1_000);
    let away = sign(&world, &coins[..1], vec![Output::pay(other, amount)]);
    let own = pay(&world, &coins[1..2], 2, 1_000);
    world.send(away.clone()).expect("valid");
    world.send(own.clone()).expect("valid");
    assert_eq!(ids(&world, &address()), [away.txid(), own.txid()]);
    assert_eq!(ids(&world, &other), [away.txid()]);
    world.mine();
    assert!(ids(&world, &address()).is_empty() && ids(&world, &other).is_empty());
}
