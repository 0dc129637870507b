//! The file: nothing is lost over a restart, and no bytes bring the node down.

use proptest::prelude::*;

use super::{
    super::{EXPIRY_SECS, Mempool, file::from_bytes},
    world::{World, outputs, pay},
};
use crate::engine::frame::FileError;

fn filled() -> World {
    let mut world = World::new();
    let coins = world.fund(3);
    let parent = pay(&world, &coins[..1], 2, 1_000);
    world.send(parent.clone()).expect("valid");
    world.pass(100);
    world.send(pay(&world, &[outputs(&parent)[1]], 1, 9_000)).expect("valid");
    world.send(pay(&world, &coins[1..2], 1, 2_000)).expect("valid");
    world
}

#[test]
fn m09_what_waits_survives_a_restart_with_its_times() {
    let mut world = filled();
    let chain = world.ledger.chain().id();
    let bytes = world.mempool.to_bytes(&chain);
    let before: Vec<_> =
        world.mempool.entries().map(|entry| (entry.transaction().txid(), entry.time())).collect();
    let order: Vec<_> = world.mempool.best().map(|entry| entry.transaction().txid()).collect();
    let sums = (world.mempool.bytes(), world.mempool.memory_bytes(), world.mempool.fees());
    world.mempool = Mempool::new(world.mempool.max_memory_bytes());
    world.pass(1_000);
    let saved = from_bytes(&bytes, &chain).expect("our own file");
    let restored =
        world.mempool.restore(saved.clone(), &world.ledger, world.now).expect("memory does not fail");
    assert_eq!((restored.taken, restored.dropped), (3, 0));
    let after: Vec<_> =
        world.mempool.entries().map(|entry| (entry.transaction().txid(), entry.time())).collect();
    assert_eq!(before, after);
    assert_eq!(order, world.mempool.best().map(|entry| entry.transaction().txid()).collect::<Vec<_>>());
    assert_eq!(sums, (world.mempool.bytes(), world.mempool.memory_bytes(), world.mempool.fees()));
    // Too old, or mined: neither comes back.
    world.mine();
    let again = world.mempool.restore(saved.clone(), &world.ledger, world.now).expect("memory does not fail");
    assert_eq!((again.taken, again.dropped), (0, 3));
    let late = world.now.saturating_add_secs(EXPIRY_SECS);
    let mut empty = Mempool::new(1_000_000);
    let old = empty.restore(saved, &world.ledger, late).expect("memory does not fail");
    assert_eq!((old.taken, old.dropped), (0, 3));
}

#[test]
fn m09_every_truncation_and_every_flipped_byte_is_refused() {
    let world = filled();
    let chain = world.ledger.chain().id();
    let bytes = world.mempool.to_bytes(&chain);
    assert_eq!(from_bytes(&bytes, &chain).expect("our own file").len(), 3);
    for length in 0..bytes.len() {
        assert_eq!(from_bytes(&bytes[..length], &chain), Err(FileError::Damaged), "cut to {length}");
    }
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert_eq!(from_bytes(&flipped, &chain), Err(FileError::Damaged), "byte {at}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(from_bytes(&longer, &chain), Err(FileError::Damaged));
    let genesis_of_another = chain::hash::BlockHash::from_bytes([9; 32]);
    assert_eq!(from_bytes(&bytes, &genesis_of_another), Err(FileError::OtherChain(chain)));
}

/// Bytes with a checksum that holds, so that what lies behind it is read.
fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let checksum = chain::hash::sha256(&body);
    body.extend(checksum);
    body
}

#[test]
fn m09_a_later_version_is_named() {
    let world = filled();
    let chain = world.ledger.chain().id();
    let mut bytes = world.mempool.to_bytes(&chain);
    bytes.truncate(bytes.len() - 32);
    bytes[14] = 2;
    assert_eq!(from_bytes(&sealed(bytes), &chain), Err(FileError::Version { found: 2, known: 1 }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever can write a checksum can write anything behind it: it is refused or read, never a panic.
    #[test]
    fn m09_no_bytes_bring_the_node_down(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let world = filled();
        let chain = world.ledger.chain().id();
        let mut bytes = world.mempool.to_bytes(&chain);
        bytes.truncate(bytes.len() - 32);
        let (at, cut) = (at.index(bytes.len()), cut.index(bytes.len()));
        bytes[at] = byte;
        let _ = from_bytes(&sealed(bytes.clone()), &chain);
        bytes.truncate(cut);
        let _ = from_bytes(&sealed(bytes), &chain);
        let _ = from_bytes(&noise, &chain);
        let _ = from_bytes(&sealed(noise), &chain);
    }
}
