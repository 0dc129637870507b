//! Bits and the schedule: nothing but the computed word is a header's target.

use chain::{
    error::{HeaderError, SubmitError},
    params::Params,
    pow::CompactTarget,
};

use crate::build::{World, easy_params, seal};

fn header_fault(world: &mut World, header: &chain::block::Header) -> HeaderError {
    match world.ledger.submit_headers(&[*header], header.time) {
        Err(SubmitError::Header(error)) => error,
        other => panic!("expected a bad header, got: {other:?}"),
    }
}

#[test]
fn c09_another_encoding_of_the_same_target_is_refused() {
    // 0x20008000 could be written 0x1f800000 if mantissas had no sign; 0x21000080 means the same target.
    let params = Params { initial_bits: CompactTarget::from_u32(0x2000_8000), ..easy_params() };
    let mut world = World::new(params);
    let expected = world.chain.params().initial_bits;
    let target = expected.to_target().expect("a target");
    let mut block = world.draft(Vec::new());
    let same = CompactTarget::from_u32(0x2100_0080);
    assert_eq!(same.to_target(), Ok(target));
    block.header.bits = same;
    seal(&mut block);
    assert_eq!(header_fault(&mut world, &block.header), HeaderError::WrongBits { found: same, expected });
    // Harder than demanded is as wrong as easier.
    for word in [0x2000_7fff, 0x2000_8001, 0x207f_ffff] {
        let found = CompactTarget::from_u32(word);
        block.header.bits = found;
        seal(&mut block);
        assert_eq!(header_fault(&mut world, &block.header), HeaderError::WrongBits { found, expected });
    }
    // No target at all: refused before any hash is compared.
    for word in [0x0000_0000, 0x2080_8000, 0x2200_8000, 0xffff_ffff, 0x0100_0000] {
        let found = CompactTarget::from_u32(word);
        block.header.bits = found;
        assert_eq!(header_fault(&mut world, &block.header), HeaderError::MalformedBits(found));
    }
    world.mine_empty(1);
}

#[test]
fn c10_no_late_block_is_easy_by_rule() {
    let params = Params {
        initial_bits: CompactTarget::from_u32(0x2001_0000),
        half_life_secs: 172_800,
        spacing_secs: 600,
        ..easy_params()
    };
    let mut world = World::new(params);
    world.mine_empty(2);
    let mut block = world.draft(Vec::new());
    block.header.time = world.ledger.tip().header.time.saturating_add_secs(1_201);
    let expected = block.header.bits;
    block.header.bits = world.chain.params().limit_bits;
    seal(&mut block);
    let fault = header_fault(&mut world, &block.header);
    assert_eq!(fault, HeaderError::WrongBits { found: world.chain.params().limit_bits, expected });
    block.header.bits = expected;
    seal(&mut block);
    world.accept(&block);
}
