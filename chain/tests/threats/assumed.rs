//! Signatures that whoever runs the node vouches for: nothing else is taken for good, and nothing too early.

use chain::{
    block::{Block, Header},
    error::{BlockError, SpendError},
    ledger::Ledger,
    memory::MemoryStore,
    policy::Satisfaction,
    pow::Work,
    transaction::Transaction,
};

use crate::build::{World, coins, miner, seal, to};

/// A chain whose block 4 holds a payment that is spoilt, made where its signatures are taken for good.
fn spoilt_chain(spoil: fn(&mut Transaction)) -> (World, Vec<Block>) {
    let mut world = World::easy();
    let mut blocks = vec![world.mine(Vec::new())];
    while world.height() < 1 + world.chain.params().maturity_blocks {
        blocks.push(world.mine(Vec::new()));
    }
    let mut payment = world.pay(&[world.reward_at(1)], vec![to(&miner(), coins(1))]);
    spoil(&mut payment);
    let block = world.draft(vec![payment]);
    world.ledger.assume_valid(block.hash(), Work::ZERO);
    blocks.push(block.clone());
    // Whatever becomes of it.
    let outcome = world.submit(&block);
    if outcome.is_ok_and(|update| update.refused.is_empty()) {
        blocks.extend((0..3).map(|_| world.mine(Vec::new())));
    }
    (world, blocks)
}

fn wrong_signature(payment: &mut Transaction) {
    match &mut payment.witnesses[0].satisfaction {
        Satisfaction::Signature(signature) => signature[5] ^= 1,
        other => panic!("expected a signature, got {other:?}"),
    }
}

fn follower(world: &World) -> Ledger<MemoryStore> {
    Ledger::open(world.chain.clone(), MemoryStore::default()).expect("an empty store")
}

fn headers(blocks: &[Block]) -> Vec<Header> {
    blocks.iter().map(|block| block.header).collect()
}

/// Submits all blocks; the refusals.
fn submit_all(ledger: &mut Ledger<MemoryStore>, blocks: &[Block]) -> Vec<BlockError> {
    let now = blocks.last().expect("there are some").header.time;
    let submitted = ledger.submit_many(blocks.to_vec(), now).expect("no storage fault");
    submitted.update.refused.into_iter().map(|(_, error)| error).collect()
}

fn is_bad_signature(refused: &[BlockError]) -> bool {
    matches!(refused, [BlockError::Spend { error: SpendError::BadSignature { .. }, .. }])
}

#[test]
fn signatures_below_the_assumed_block_are_not_verified_and_those_above_are() {
    let (world, blocks) = spoilt_chain(wrong_signature);
    let now = blocks.last().expect("there are some").header.time;
    let spoilt = blocks.len() - 4;
    assert_eq!(world.tip(), blocks.last().expect("there are some").hash());
    // Without a word of the operator the block is invalid.
    assert!(is_bad_signature(&submit_all(&mut follower(&world), &blocks)));
    for (assumed, is_taken) in [(spoilt, true), (spoilt + 2, true), (spoilt - 1, false)] {
        let mut ledger = follower(&world);
        ledger.assume_valid(blocks[assumed].hash(), Work::ZERO);
        ledger.submit_headers(&headers(&blocks), now).expect("good headers");
        let refused = submit_all(&mut ledger, &blocks);
        assert_eq!(refused.is_empty(), is_taken, "{assumed}: {refused:?}");
        assert_eq!(ledger.tip().id.hash == world.tip(), is_taken);
    }
}

#[test]
fn nothing_is_assumed_before_the_headers_show_it() {
    let (world, blocks) = spoilt_chain(wrong_signature);
    let now = blocks.last().expect("there are some").header.time;
    let work = world.ledger.tip().work;
    let more =
        work.checked_add(Work::from_be_bytes([&[0; 31][..], &[1]].concat().try_into().expect("32 bytes")));
    for (minimum_work, known, is_taken) in [
        (work, blocks.len(), true),
        // Too little work, even with all headers.
        (more.expect("far from the end"), blocks.len(), false),
        // The block's header is not known yet.
        (Work::ZERO, blocks.len() - 4, false),
    ] {
        let mut ledger = follower(&world);
        let assumed = blocks[blocks.len() - 4].hash();
        let missing = blocks[blocks.len() - 1].hash();
        ledger.assume_valid(if known == blocks.len() { assumed } else { missing }, minimum_work);
        ledger.submit_headers(&headers(&blocks[..known]), now).expect("good headers");
        let refused = submit_all(&mut ledger, &blocks[..blocks.len() - 3]);
        assert_eq!(refused.is_empty(), is_taken, "{refused:?}");
    }
    // The block is known, and stands on a branch that has less work than another.
    let mut rival = World::over(world.chain.clone(), MemoryStore::default());
    rival.mine_empty(u32::try_from(blocks.len()).expect("few") + 2);
    let mut ledger = follower(&world);
    ledger.assume_valid(blocks[blocks.len() - 4].hash(), Work::ZERO);
    let better: Vec<Header> = (1..=rival.height())
        .map(|height| {
            let id = rival.ledger.active(chain::height::Height::new(height)).expect("that high");
            *rival.ledger.tree().node(id).header()
        })
        .collect();
    let late = better.last().expect("there are some").time.max(now);
    ledger.submit_headers(&better, late).expect("good headers");
    assert!(is_bad_signature(&submit_all(&mut ledger, &blocks)));
}

#[test]
fn everything_but_signatures_is_verified_below_the_assumed_block() {
    let (world, blocks) = spoilt_chain(|payment| payment.outputs[0] = to(&miner(), coins(1_000_000)));
    let spoilt = blocks.last().expect("there are some").clone();
    assert_ne!(world.tip(), spoilt.hash(), "more was paid than there was");
    // Nor may a coin be spent twice, or a policy be another one than the coin's.
    let (world, _) = spoilt_chain(wrong_signature);
    let mut world = world;
    let again = world.pay(&[world.reward_at(1)], vec![to(&miner(), coins(1))]);
    let mut block = world.draft(vec![again]);
    seal(&mut block);
    world.ledger.assume_valid(block.hash(), Work::ZERO);
    let fault = world.fault(&block);
    assert!(matches!(fault, BlockError::Spend { error: SpendError::MissingCoin { .. }, .. }), "{fault}");
}
