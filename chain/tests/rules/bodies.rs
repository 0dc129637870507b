//! Rules M1 to M3, B1 to B3 and K1 to K5: a block's body and its coinbase.

use chain::{
    amount::Amount,
    block::Block,
    check::CheckedBlock,
    error::{BlockError, BodyError, SubmitError, TransactionError},
    hash::MerkleRoot,
    height::Height,
    merkle::{MAX_BRANCH_HASHES, ProofError, branch, root_and_mutation, verify_leaf},
    params::Params,
    policy::{Policy, Satisfaction, Witness},
    transaction::{Coinbase, FREE_RUN_BYTES, Transaction},
};

use crate::build::{Held, Key, World, coins, data, easy_params, held, leaves, miner, seal, solve, spend, to};

fn wrong_body(world: &mut World, block: &Block) -> BodyError {
    match world.refusal(block) {
        SubmitError::WrongBody(error) => error,
        other => panic!("expected a wrong body, got: {other}"),
    }
}

#[test]
fn m1_the_header_commits_to_all_leaves() {
    let mut world = World::easy();
    world.mine_empty(2);
    let payment = world.pay(&[world.reward_at(1)], vec![to(&Key::new(1), coins(50))]);
    let block = world.draft(vec![payment]);
    assert_eq!(block.header.merkle_root, root_and_mutation(&leaves(&block)).0);
    let mut other = block.clone();
    other.header.merkle_root = MerkleRoot::from_bytes([1; 32]);
    solve(&mut other.header);
    let committed = other.header.merkle_root;
    let found = block.header.merkle_root;
    assert_eq!(wrong_body(&mut world, &other), BodyError::WrongRoot { found, committed });
    assert!(!world.is_marked(&other));
    world.accept(&block);
}

#[test]
fn m1_the_leaf_covers_the_witness_and_the_coinbase_is_leaf_zero() {
    let mut world = World::easy();
    world.mine_empty(2);
    let payment = world.pay(&[world.reward_at(1)], vec![to(&Key::new(1), coins(50))]);
    let block = world.draft(vec![payment.clone()]);
    let pair = [block.coinbase.txid().to_bytes(), payment.witness_txid().to_bytes()];
    assert_eq!(root_and_mutation(&pair).0, block.header.merkle_root);
    let mut swapped = block.clone();
    std::sync::Arc::make_mut(&mut swapped.transactions[0]).witnesses[0].satisfaction =
        Satisfaction::Signature([0; 64]);
    assert_eq!(swapped.transactions[0].txid(), payment.txid());
    assert!(matches!(wrong_body(&mut world, &swapped), BodyError::WrongRoot { .. }));
}

#[test]
fn m2_a_repeated_tail_is_a_wrong_body() {
    let mut world = World::easy();
    world.mine_empty(3);
    let one = world.pay(&[world.reward_at(1)], vec![to(&Key::new(1), coins(50))]);
    let two = world.pay(&[world.reward_at(2)], vec![to(&Key::new(1), coins(50))]);
    let honest = world.draft(vec![one, two.clone()]);
    let mut mutated = honest.clone();
    mutated.transactions.push(two.into());
    assert_eq!(mutated.hash(), honest.hash());
    assert_eq!(wrong_body(&mut world, &mutated), BodyError::Mutated);
    world.accept(&honest);
}

#[test]
fn m3_a_leaf_of_64_bytes_is_a_wrong_body() {
    let mut world = World::easy();
    let disguised = Transaction { inputs: Vec::new(), outputs: vec![data(&[0; 35])], witnesses: Vec::new() };
    assert_eq!(disguised.to_bytes().len(), 64);
    let block = world.draft(vec![disguised]);
    assert_eq!(wrong_body(&mut world, &block), BodyError::SixtyFourBytes(0));
    assert!(!world.is_marked(&block), "nobody knows whether these are the transactions");
}

#[test]
fn m4_a_light_proof_is_bounded_and_its_index_fits() {
    let mut world = World::easy();
    world.mine_empty(2);
    let payment = world.pay(&[world.reward_at(1)], vec![to(&Key::new(1), coins(50))]);
    let block = world.draft(vec![payment.clone()]);
    let root = block.header.merkle_root;
    let way = branch(&leaves(&block), 1).expect("the second leaf");
    let bytes = payment.to_bytes();
    assert_eq!(verify_leaf(&root, &bytes, 1, &way), Ok(()));
    let outside = ProofError::IndexOutOfRange { index: 2, depth: 1 };
    assert_eq!(verify_leaf(&root, &bytes, 2, &way), Err(outside));
    let long = vec![[0; 32]; MAX_BRANCH_HASHES + 1];
    assert_eq!(verify_leaf(&root, &bytes, 1, &long), Err(ProofError::BranchTooLong { hashes: 33 }));
    let deepest = verify_leaf(&root, &bytes, u32::MAX, &long[1..]);
    assert!(matches!(deepest, Err(ProofError::RootMismatch { .. })), "32 hashes are looked at");
    // Which leaf is the coinbase is told by its bytes, and only the first may be one.
    assert!(Coinbase::from_bytes(&bytes).is_err());
    assert!(Coinbase::from_bytes(&block.coinbase.to_bytes()).is_ok());
}

/// A block of exactly so many bytes: one payment with many outputs, and data for the rest.
fn block_of_size(world: &World, coin: &Held, bytes: usize) -> Block {
    let make = |outputs: usize, data_bytes: usize| {
        let mut all = vec![to(&Key::new(1), 1); outputs];
        all.push(data(&vec![0; data_bytes]));
        world.draft(vec![world.pay(std::slice::from_ref(coin), all)])
    };
    let rest = bytes - make(0, 0).to_bytes().len();
    let block = make(rest / 41, rest % 41);
    assert_eq!(block.to_bytes().len(), bytes);
    block
}

#[test]
fn b1_a_block_has_at_most_its_chains_bytes() {
    let limit = 5_000;
    let mut world = World::new(Params { max_block_bytes: limit, ..easy_params() });
    world.mine_empty(2);
    let coin = world.reward_at(1);
    let large = block_of_size(&world, &coin, 5_001);
    assert_eq!(world.fault(&large), BlockError::TooLarge { bytes: 5_001, limit });
    assert!(world.is_marked(&large));
    let block = block_of_size(&world, &coin, 5_000);
    let checked = CheckedBlock::check(block.clone(), &world.chain).expect("exactly the limit");
    assert_eq!(checked.size(), limit);
    assert_eq!(checked.to_block(), block);
    world.accept(&block);
}

#[test]
fn b2_a_block_has_at_most_its_chains_signatures() {
    let limit = 5;
    let mut world = World::new(Params { max_block_signatures: limit, ..easy_params() });
    world.mine_empty(4);
    // Two keys of three sign: what counts is the keys that are chosen.
    let keys = [Key::new(1), Key::new(2), Key::new(3)];
    let policy = Policy::Thresh { k: 2, of: keys.iter().map(Key::policy).collect() };
    let shared = crate::build::to_policy(&policy, coins(50));
    let open = world.pay(&[world.reward_at(1)], vec![shared]);
    let shared_coin = held(&open, 0);
    world.mine(vec![open]);
    let chain = world.chain.clone();
    let two = spend(&chain, &[shared_coin], vec![to(&miner(), coins(50))], |message| Witness {
        policy: policy.clone(),
        satisfaction: Satisfaction::Chosen(vec![
            (0, keys[0].satisfaction(message)),
            (2, keys[2].satisfaction(message)),
        ]),
    });
    let three = world.pay(
        &[world.reward_at(2), world.reward_at(3), world.reward_at(4)],
        vec![to(&Key::new(4), coins(150))],
    );
    let one_more = world.pay(&[world.reward_at(5)], vec![to(&Key::new(4), coins(50))]);
    let many = world.draft(vec![two.clone(), three.clone(), one_more]);
    assert_eq!(world.fault(&many), BlockError::ManySignatures { signatures: 6, limit });
    let most = world.draft(vec![two, three]);
    world.accept(&most);
}

#[test]
fn b3_a_coinbase_stands_first_and_alone() {
    let mut world = World::easy();
    let block = world.draft(Vec::new());
    let mut bytes = block.to_bytes();
    let count_at = bytes.len() - 4;
    // One more transaction is announced, and a coinbase comes.
    bytes[count_at] = 1;
    bytes.extend(block.coinbase.to_bytes());
    let refused = Block::from_bytes(&bytes).expect_err("a second coinbase").to_string();
    assert!(refused.contains("rule T1"), "{refused}");
    world.accept(&block);
    let payment = world.pay(&[world.reward_at(1)], vec![to(&Key::new(1), coins(50))]);
    let mut first = block.header.to_bytes().to_vec();
    first.extend(payment.to_bytes());
    first.extend([0; 4]);
    let refused = Block::from_bytes(&first).expect_err("no coinbase at all").to_string();
    assert!(refused.contains("rule T1"), "{refused}");
}

fn with_coinbase(world: &World, change: impl FnOnce(&mut Coinbase)) -> Block {
    let mut block = world.draft(Vec::new());
    change(&mut block.coinbase);
    seal(&mut block);
    block
}

#[test]
fn k1_the_coinbase_names_its_height() {
    let mut world = World::easy();
    world.mine_empty(1);
    for named in [0, 1, 3, u32::MAX] {
        let block = with_coinbase(&world, |coinbase| coinbase.height = Height::new(named));
        let (named, actual) = (Height::new(named), Height::new(2));
        assert_eq!(world.fault(&block), BlockError::CoinbaseHeight { named, actual });
        assert!(world.is_marked(&block));
    }
    let block = with_coinbase(&world, |coinbase| coinbase.height = Height::new(2));
    world.accept(&block);
}

#[test]
fn k2_the_free_run_is_free() {
    let mut world = World::easy();
    for byte in [0, 0x55, 0xff] {
        let block = with_coinbase(&world, |coinbase| coinbase.free = [byte; FREE_RUN_BYTES]);
        world.accept(&block);
        // Behind the first word and the height, where Stratum's extranonces go.
        assert_eq!(block.coinbase.to_bytes()[8..104], [byte; 96]);
    }
}

#[test]
fn k3_a_coinbase_pays_addresses_only() {
    let mut world = World::easy();
    let carries = |coinbase: &mut Coinbase| coinbase.outputs.push(data(b"no"));
    let block = with_coinbase(&world, carries);
    assert_eq!(world.fault(&block), BlockError::CoinbaseData(1));
    let nobody = with_coinbase(&world, |coinbase| coinbase.outputs.clear());
    world.accept(&nobody);
    let several = with_coinbase(&world, |coinbase| {
        coinbase.outputs = vec![to(&Key::new(1), 1), to(&Key::new(2), 2), to(&Key::new(1), 1)];
    });
    world.accept(&several);
}

#[test]
fn k4_a_coinbase_output_pays_more_than_nothing() {
    let mut world = World::easy();
    let block = with_coinbase(&world, |coinbase| coinbase.outputs.push(to(&miner(), 0)));
    assert_eq!(world.fault(&block), BlockError::CoinbaseZero(1));
    let least = with_coinbase(&world, |coinbase| coinbase.outputs = vec![to(&miner(), 1)]);
    world.accept(&least);
}

#[test]
fn k5_a_coinbase_claims_at_most_subsidy_and_fees() {
    let mut world = World::easy();
    world.mine_empty(3);
    let one = world.pay(&[world.reward_at(1)], vec![to(&Key::new(1), coins(50) - 7)]);
    let two = world.pay(&[world.reward_at(2)], vec![to(&Key::new(1), coins(50) - 10)]);
    let claiming = |world: &World, amounts: &[u64]| {
        let mut block = world.draft(vec![one.clone(), two.clone()]);
        block.coinbase.outputs = amounts.iter().map(|pebbles| to(&miner(), *pebbles)).collect();
        seal(&mut block);
        block
    };
    let allowed = Amount::from_pebbles(coins(50) + 17);
    for claim in [&[coins(50) + 18][..], &[coins(50) + 17, 1]] {
        let block = claiming(&world, claim);
        let claimed = Amount::from_pebbles(coins(50) + 18);
        assert_eq!(world.fault(&block), BlockError::CoinbaseClaim { claimed, allowed });
    }
    let block = claiming(&world, &[coins(50) + 17]);
    world.accept(&block);
}

#[test]
fn k5_claims_never_wrap() {
    let mut world = World::easy();
    for claim in [&[u64::MAX, 2][..], &[1 << 63, 1 << 63], &[u64::MAX]] {
        let block = with_coinbase(&world, |coinbase| {
            coinbase.outputs = claim.iter().map(|pebbles| to(&miner(), *pebbles)).collect();
        });
        assert!(matches!(world.fault(&block), BlockError::CoinbaseClaim { .. }), "{claim:?}");
    }
}

#[test]
fn t3_a_bad_transaction_makes_its_block_invalid() {
    let mut world = World::easy();
    let bad = Transaction { inputs: Vec::new(), outputs: vec![to(&miner(), 1)], witnesses: Vec::new() };
    let block = world.draft(vec![bad]);
    let error = TransactionError::NoInputs;
    assert_eq!(world.fault(&block), BlockError::Transaction { index: 0, error });
    assert!(matches!(world.refusal(&block), SubmitError::KnownInvalid(_)));
}
