//! Rules L1 and L2: which chain is followed, and how one changes over.

use chain::{
    amount::Amount,
    block::Block,
    height::Height,
    ledger::{BlockId, Ledger, Update},
};

use crate::build::{World, seal};

fn id(height: u32, block: &Block) -> BlockId {
    BlockId { height: Height::new(height), hash: block.hash() }
}

/// `blocks` empty blocks on `parent`, sealed; their headers are known to the ledger, their bodies not.
fn branch(world: &mut World, parent: chain::hash::BlockHash, blocks: u32) -> Vec<Block> {
    let mut built: Vec<Block> = Vec::new();
    for _ in 0..blocks {
        let below = built.last().map_or(parent, Block::hash);
        let block = world.draft_on(below, Vec::new());
        world.ledger.submit_headers(&[block.header], block.header.time).expect("a good header");
        built.push(block);
    }
    built
}

#[test]
fn l1_strictly_more_work_wins_and_equal_work_does_not() {
    let mut world = World::easy();
    let root = world.tip();
    let ours = branch(&mut world, root, 2);
    let theirs = branch(&mut world, root, 3);
    for block in &ours {
        assert!(world.accept(block).moved_tip());
    }
    // One short, then equal: nothing moves. One more: all of it.
    assert!(!world.accept(&theirs[0]).moved_tip());
    assert!(!world.accept(&theirs[1]).moved_tip());
    assert_eq!(world.tip(), ours[1].hash());
    let update = world.accept(&theirs[2]);
    assert_eq!(update.reverted, [id(2, &ours[1]), id(1, &ours[0])]);
    assert_eq!(update.applied, [id(1, &theirs[0]), id(2, &theirs[1]), id(3, &theirs[2])]);
}

#[test]
fn l1_of_equals_the_first_complete_body_counts_not_the_first_header() {
    let mut world = World::easy();
    let root = world.tip();
    let early_header = branch(&mut world, root, 2);
    let early_body = branch(&mut world, root, 2);
    // The upper body of one branch comes first, but without the lower one it is no chain.
    world.accept(&early_header[1]);
    world.accept(&early_body[0]);
    world.accept(&early_body[1]);
    assert_eq!(world.tip(), early_body[1].hash());
    assert!(!world.accept(&early_header[0]).moved_tip());
}

#[test]
fn l1_headers_without_bodies_move_nothing() {
    let mut world = World::easy();
    let root = world.tip();
    let long = branch(&mut world, root, 5);
    assert_eq!(world.tip(), root);
    assert_eq!(world.ledger.tree().node(world.ledger.tree().best_header()).hash(), long[4].hash());
    for block in long.iter().skip(1).rev() {
        assert!(!world.accept(block).moved_tip());
    }
    assert_eq!(world.accept(&long[0]).applied.len(), 5);
}

#[test]
fn l1_after_a_restart_the_active_tip_stays() {
    let mut world = World::easy();
    let root = world.tip();
    let first = branch(&mut world, root, 2);
    let second = branch(&mut world, root, 2);
    for block in second.iter().chain(&first) {
        world.accept(block);
    }
    assert_eq!(world.tip(), second[1].hash());
    let again = Ledger::open(world.chain.clone(), world.ledger.store().clone()).expect("a good store");
    assert_eq!(again.tip().id.hash, second[1].hash());
}

#[test]
fn l1_a_branch_that_turns_out_invalid_never_displaces_its_equal() {
    // genesis - a1 - a2            active, complete first
    //         \ b1 - b2 - b3(bad)  more work, until b3 is found invalid
    let mut world = World::easy();
    let root = world.tip();
    let ours = branch(&mut world, root, 2);
    let theirs = branch(&mut world, root, 2);
    let mut bad = world.draft_on(theirs[1].hash(), Vec::new());
    // A fault that is found only when the block is connected.
    let claim = &mut bad.coinbase.outputs[0].amount;
    *claim = Amount::from_pebbles(claim.pebbles() + 1);
    seal(&mut bad);
    for block in ours.iter().chain(&theirs) {
        world.accept(block);
    }
    assert_eq!(world.tip(), ours[1].hash());
    let update = world.submit(&bad).expect("it is kept, then refused");
    assert!(update.refusal(&bad.hash()).is_some());
    assert_eq!(world.tip(), ours[1].hash(), "a2 was complete before b2");
    assert!(!update.moved_tip());
}

#[test]
fn l1_the_best_valid_part_of_a_bad_branch_is_followed() {
    // genesis - a1
    //         \ b1 - b2 - b3(bad) - b4
    let mut world = World::easy();
    let root = world.tip();
    let ours = branch(&mut world, root, 1);
    let mut theirs = branch(&mut world, root, 2);
    let mut bad = world.draft_on(theirs[1].hash(), Vec::new());
    bad.coinbase.outputs[0] = crate::build::to(&crate::build::miner(), u64::from(u32::MAX) * 2);
    seal(&mut bad);
    world.ledger.submit_headers(&[bad.header], bad.header.time).expect("a good header");
    let above = branch(&mut world, bad.hash(), 1);
    theirs.extend([bad.clone(), above[0].clone()]);
    world.accept(&ours[0]);
    for block in theirs.iter().skip(1).rev() {
        world.submit(block).expect("kept");
    }
    let update = world.submit(&theirs[0]).expect("completes the branch");
    assert_eq!(world.tip(), theirs[1].hash());
    assert_eq!(update.reverted, [id(1, &ours[0])]);
    assert_eq!(update.applied, [id(1, &theirs[0]), id(2, &theirs[1])]);
    assert!(world.is_marked(&bad) && world.is_marked(&above[0]));
}

#[test]
fn l2_the_way_leads_down_to_the_fork_and_up_again() {
    let mut world = World::easy();
    world.mine_empty(3);
    let fork = world.tip();
    let ours = branch(&mut world, fork, 2);
    let theirs = branch(&mut world, fork, 3);
    for block in ours.iter().chain(&theirs[..2]) {
        world.accept(block);
    }
    let before = world.ledger.store().utxo_set().clone();
    let update = world.accept(&theirs[2]);
    assert_eq!(update.reverted, [id(5, &ours[1]), id(4, &ours[0])]);
    assert_eq!(update.applied, [id(4, &theirs[0]), id(5, &theirs[1]), id(6, &theirs[2])]);
    assert_eq!(world.hash_at(3), fork);
    // And back, with two more on our side.
    let more = branch(&mut world, ours[1].hash(), 2);
    world.accept(&more[0]);
    world.accept(&more[1]);
    for (height, block) in (4..).zip(ours.iter().chain(&more)) {
        assert_eq!(world.hash_at(height), block.hash());
    }
    let now = world.ledger.store().utxo_set();
    assert!(before.iter().all(|(outpoint, coin)| now.get(outpoint) == Some(coin)));
    assert_eq!(now.len(), before.len() + 2);
}

#[test]
fn l2_what_is_known_changes_nothing() {
    let mut world = World::easy();
    let block = world.mine(Vec::new());
    let again = world.submit(&block).expect_err("it is here");
    assert!(matches!(again, chain::error::SubmitError::Duplicate));
    let genesis = world.chain.genesis().clone();
    assert!(matches!(world.submit(&genesis), Err(chain::error::SubmitError::Duplicate)));
    assert_eq!(world.ledger.submit_headers(&[block.header], block.header.time).expect("known"), 0);
    assert!(!Update::default().moved_tip());
}
