//! Rules W1 to W5, C1, C2 and H1 to H4: headers, their work and their times.

use chain::{
    block::{Block, Header},
    check::{HeaderContext, check_header, check_work},
    error::{HeaderError, SubmitError},
    hash::{BlockHash, MerkleRoot},
    height::Height,
    params::Params,
    pow::{CompactTarget, Work},
    time::Time,
    tree::{NodeId, Tree},
};

use crate::build::{World, easy_params, seal, solve, time, unsolve};

fn bits(bits: u32) -> CompactTarget {
    CompactTarget::from_u32(bits)
}

fn refusal(world: &mut World, header: &Header, now: Time) -> SubmitError {
    world.ledger.submit_headers(&[*header], now).expect_err("the header is bad")
}

fn header_fault(world: &mut World, header: &Header) -> HeaderError {
    match refusal(world, header, header.time) {
        SubmitError::Header(error) => error,
        other => panic!("expected a bad header, got: {other}"),
    }
}

/// A chain whose difficulty moves, with an initial target below the limit.
fn moving() -> World {
    World::new(Params { half_life_secs: 100, initial_bits: bits(0x2000_ffff), ..easy_params() })
}

#[test]
fn h1_a_header_has_80_bytes_and_any_version() {
    let mut world = World::easy();
    for version in [0, 1, -1, i32::MIN, i32::MAX, 0x2000_e004] {
        let mut block = world.draft(Vec::new());
        block.header.version = version;
        seal(&mut block);
        let bytes = block.header.to_bytes();
        assert_eq!(bytes.len(), 80);
        assert_eq!(bytes[..4], version.to_le_bytes());
        assert_eq!(Header::from_bytes(&bytes), block.header);
        world.accept(&block);
    }
}

#[test]
fn h2_there_is_a_last_height() {
    let world = World::easy();
    let params = world.chain.params();
    let header = world.draft(Vec::new()).header;
    let below = |height| HeaderContext {
        height: Height::new(height),
        time: time(1),
        median_time_past: time(1),
        anchor_time: Some(time(1)),
    };
    let check = |height| check_header(&header, &header.hash(), &below(height), params, header.time);
    assert!(check(u32::MAX - 1).is_ok());
    let refused = check(u32::MAX).expect_err("above the last height");
    assert!(matches!(refused, SubmitError::Header(HeaderError::HeightOverflow(h)) if h.get() == u32::MAX));
}

#[test]
fn h3_nothing_stands_on_an_invalid_block() {
    let mut world = World::easy();
    let mut bad = world.draft(Vec::new());
    bad.coinbase.height = Height::new(9);
    seal(&mut bad);
    world.ledger.submit_headers(&[bad.header], bad.header.time).expect("the header alone is good");
    let child = world.draft_on(bad.hash(), Vec::new());
    world.fault(&bad);
    assert_eq!(header_fault(&mut world, &child.header), HeaderError::InvalidParent(bad.hash()));
}

#[test]
fn h3_what_stood_on_it_already_falls_with_it() {
    let mut world = World::easy();
    let mut bad = world.draft(Vec::new());
    bad.coinbase.height = Height::new(9);
    seal(&mut bad);
    world.ledger.submit_headers(&[bad.header], bad.header.time).expect("the header alone is good");
    let child = world.draft_on(bad.hash(), Vec::new());
    world.ledger.submit_headers(&[child.header], child.header.time).expect("nobody knows yet");
    world.fault(&bad);
    assert!(world.is_marked(&child));
    assert!(matches!(world.refusal(&child), SubmitError::KnownInvalid(hash) if hash == child.hash()));
}

#[test]
fn h4_an_orphan_is_not_judged() {
    let mut world = World::easy();
    let parent = world.draft(Vec::new());
    let mut child = Block { header: Header { previous: parent.hash(), ..parent.header }, ..parent.clone() };
    child.coinbase.height = Height::new(2);
    child.header.time = parent.header.time.saturating_add_secs(5);
    seal(&mut child);
    assert!(matches!(world.refusal(&child), SubmitError::UnknownParent(hash) if hash == parent.hash()));
    world.accept(&parent);
    world.accept(&child);
}

#[test]
fn w1_the_hash_meets_the_target() {
    let mut world = World::easy();
    let good = world.draft(Vec::new()).header;
    let mut bad = good;
    unsolve(&mut bad);
    let fault = HeaderError::InsufficientWork { hash: bad.hash(), bits: bad.bits };
    assert_eq!(header_fault(&mut world, &bad), fault);
    assert_eq!(world.ledger.tree().len(), 1, "nothing is kept of it");
    assert_eq!(world.ledger.submit_headers(&[good], good.time).expect("solved"), 1);
}

#[test]
fn w1_a_hash_equal_to_the_target_meets_it() {
    let mut hash = [0; 32];
    hash[31] = 0x7f;
    hash[30] = 0xff;
    hash[29] = 0xff;
    let header = World::easy().draft(Vec::new()).header;
    assert!(check_work(&header, &BlockHash::from_bytes(hash)).is_ok());
    hash[0] = 1;
    let above = BlockHash::from_bytes(hash);
    let refused = check_work(&header, &above);
    assert_eq!(refused, Err(HeaderError::InsufficientWork { hash: above, bits: header.bits }));
}

#[test]
fn w2_bits_stand_for_a_target() {
    let mut world = World::easy();
    // Zero, negative, above 2^256.
    for word in [0, 0x2000_0000, 0x0080_0001, 0x1d80_0001, 0x2280_ffff, 0xff12_3456, 0x2100_ffff + (1 << 24)]
    {
        let mut header = world.draft(Vec::new()).header;
        header.bits = bits(word);
        assert_eq!(header_fault(&mut world, &header), HeaderError::MalformedBits(bits(word)), "{word:08x}");
    }
}

#[test]
fn w3_the_target_never_rises_above_the_limit() {
    let mut world = moving();
    let limit = world.chain.params().limit_bits;
    world.mine_empty(1);
    let id = world.ledger.tree().find(&world.tip()).expect("the tip");
    let late = HeaderContext { time: Time::from_secs(u32::MAX), ..world.ledger.tree().context(id) };
    assert_eq!(late.expected_bits(world.chain.params()), limit);
}

#[test]
fn w4_bits_are_exactly_what_the_schedule_says() {
    let mut world = moving();
    let initial = world.chain.params().initial_bits;
    // Block 1 has the genesis bits however late it comes: the schedule begins with it.
    let mut first = world.draft(Vec::new());
    first.header.time = world.chain.genesis().header.time.saturating_add_secs(1_000_000);
    seal(&mut first);
    assert_eq!(first.header.bits, initial);
    world.accept(&first);
    // On schedule: the same bits. A half-life late: twice the target.
    let id = world.ledger.tree().find(&first.hash()).expect("just added");
    let context = world.ledger.tree().context(id);
    let params = world.chain.params();
    assert_eq!(context.expected_bits(params), initial);
    let late = HeaderContext { time: context.time.saturating_add_secs(100), ..context };
    assert_eq!(late.expected_bits(params), bits(0x2001_fffe));
    let expected = initial;
    for word in [0x2000_fffe, 0x2001_0000, 0x207f_ffff, 0x1f7f_ffff] {
        let mut block = world.draft(Vec::new());
        block.header.bits = bits(word);
        seal(&mut block);
        let fault = HeaderError::WrongBits { found: bits(word), expected };
        assert_eq!(header_fault(&mut world, &block.header), fault);
    }
    world.mine_empty(1);
}

#[test]
fn w4_a_half_life_of_zero_never_changes_the_bits() {
    let mut world = World::new(Params { initial_bits: bits(0x2007_ffff), ..easy_params() });
    for ahead_secs in [1, 7_000, 1, 100_000] {
        let mut block = world.draft(Vec::new());
        assert_eq!(block.header.bits, bits(0x2007_ffff));
        block.header.time = block.header.time.saturating_add_secs(ahead_secs);
        seal(&mut block);
        world.accept(&block);
    }
}

#[test]
fn w5_the_work_of_a_chain_fits_into_256_bits() {
    let world = World::easy();
    let genesis = world.chain.genesis().header;
    let mut tree = Tree::new(&genesis);
    let child = |parent: &Header| Header { previous: parent.hash(), ..*parent };
    let one = child(&genesis);
    let mut almost = [0xff; 32];
    almost[31] = 0xfe;
    let most = Work::from_be_bytes(almost);
    let work = most.checked_sub(tree.node(NodeId::GENESIS).work()).expect("the genesis block's is little");
    let id = tree.insert(one, one.hash(), NodeId::GENESIS, work).expect("it fits");
    assert_eq!(tree.node(id).work(), most);
    let mut unit = [0; 32];
    unit[31] = 1;
    let two = child(&one);
    let id = tree.insert(two, two.hash(), id, Work::from_be_bytes(unit)).expect("just fits");
    let three = child(&two);
    let refused = tree.insert(three, three.hash(), id, Work::from_be_bytes(unit));
    assert_eq!(refused, Err(HeaderError::WorkOverflow));
}

#[test]
fn c1_time_lies_above_the_median_time_past() {
    let mut world = World::easy();
    // After genesis the median is its own time; with an even number of times it is the upper of the two.
    let mut times = vec![world.chain.genesis().header.time.secs()];
    for ahead in [50, 7, 90, 3, 20, 1, 30, 2, 60, 10, 5, 40, 15] {
        let span = &times[times.len().saturating_sub(11)..];
        let mut sorted = span.to_vec();
        sorted.sort_unstable();
        let median = time(sorted[sorted.len() / 2]);
        assert_eq!(world.ledger.tip().median_time_past, median);
        let mut block = world.draft(Vec::new());
        block.header.time = median;
        seal(&mut block);
        let fault = HeaderError::TooOld { time: median, median };
        assert_eq!(header_fault(&mut world, &block.header), fault);
        block.header.time = median.saturating_add_secs(1);
        seal(&mut block);
        world.accept(&block);
        // Leave the time somewhere above, so that times do not simply rise.
        let mut jump = world.draft(Vec::new());
        jump.header.time = world.ledger.tip().median_time_past.saturating_add_secs(ahead);
        seal(&mut jump);
        world.accept(&jump);
        times.extend([block.header.time.secs(), jump.header.time.secs()]);
    }
}

#[test]
fn c2_time_lies_not_too_far_ahead() {
    for (half_life_secs, ahead_secs) in
        [(0, 7_200), (1, 10), (240, 10), (264, 11), (1_440, 60), (172_800, 7_200), (31_536_000, 7_200)]
    {
        let mut world = World::new(Params { half_life_secs, ..easy_params() });
        assert_eq!(world.chain.params().max_future_secs(), ahead_secs, "{half_life_secs}");
        let header = world.draft(Vec::new()).header;
        let latest = time(header.time.secs() - ahead_secs);
        let early = time(latest.secs() - 1);
        match refusal(&mut world, &header, early) {
            SubmitError::TooEarly { time, ahead_secs: named } => {
                assert_eq!((time, named), (header.time, ahead_secs));
            }
            other => panic!("expected too early, got: {other}"),
        }
        assert_eq!(world.ledger.submit_headers(&[header], latest).expect("just near enough"), 1);
    }
}

#[test]
fn c2_the_end_of_time_does_not_wrap() {
    let mut world = World::easy();
    let mut header = world.draft(Vec::new()).header;
    header.time = Time::from_secs(u32::MAX);
    header.merkle_root = MerkleRoot::ZERO;
    solve(&mut header);
    let soon = time(u32::MAX - 7_201);
    assert!(matches!(refusal(&mut world, &header, soon), SubmitError::TooEarly { .. }));
    assert!(world.ledger.submit_headers(&[header], time(u32::MAX)).is_ok());
}
