//! Bodies that are not the header's, encodings that are not the object's: whoever sends them must not be able
//! to make an honest block look bad.

use std::sync::Arc;

use chain::{
    amount::Amount,
    block::Block,
    error::{BodyError, SubmitError},
    height::Height,
    merkle::{branch, leaf_hash, root_and_mutation, verify_leaf},
    params::Params,
    policy::Satisfaction,
    transaction::Transaction,
};

use crate::build::{Key, World, coins, data, easy_params, held, leaves, seal, to};

/// A world, and an honest block of its next height with three transactions beside the coinbase.
fn honest() -> (World, Block) {
    let mut world = World::easy();
    world.mine_empty(4);
    let payments = (1..=3)
        .map(|height| world.pay(&[world.reward_at(height)], vec![to(&Key::new(height), coins(50))]))
        .collect();
    let block = world.draft(payments);
    (world, block)
}

/// Sends a wrong body and then the right one.
fn poison(world: &mut World, honest: &Block, wrong: &Block) -> BodyError {
    assert_eq!(wrong.hash(), honest.hash(), "the attack needs the same header");
    let error = match world.refusal(wrong) {
        SubmitError::WrongBody(error) => error,
        other => panic!("expected a wrong body, got: {other}"),
    };
    assert!(!world.is_marked(honest));
    world.accept(honest);
    assert_eq!(world.tip(), honest.hash());
    error
}

#[test]
fn c03_a_mutated_body_does_not_hurt_the_honest_one() {
    // Leaves: coinbase and two payments; doubling the last payment leaves the root as it is.
    let (mut world, mut block) = honest();
    block.transactions.truncate(2);
    seal(&mut block);
    let mut mutated = block.clone();
    mutated.transactions.push(block.transactions[1].clone());
    assert_eq!(poison(&mut world, &block, &mutated), BodyError::Mutated);
}

#[test]
fn c03_a_pair_repeated_higher_up_is_found_too() {
    // Six leaves: the last two are repeated as a pair.
    let (mut world, _) = honest();
    world.mine_empty(2);
    let payments = (1..=5)
        .map(|height| world.pay(&[world.reward_at(height)], vec![to(&Key::new(height), coins(50))]))
        .collect();
    let block = world.draft(payments);
    let mut mutated = block.clone();
    mutated.transactions.extend_from_slice(&block.transactions[3..]);
    assert_eq!(poison(&mut world, &block, &mutated), BodyError::Mutated);
}

#[test]
fn c04_a_body_of_inner_nodes_is_refused_and_not_marked() {
    // A leaf of 64 bytes could be two hashes: whoever sends it may have cut the tree one row too low.
    let (mut world, _) = honest();
    let disguised =
        Transaction { inputs: Vec::new(), outputs: vec![data(&[0x11; 35])], witnesses: Vec::new() };
    assert_eq!(disguised.to_bytes().len(), 64);
    let block = world.draft(vec![disguised]);
    match world.refusal(&block) {
        SubmitError::WrongBody(BodyError::SixtyFourBytes(0)) => {}
        other => panic!("expected rule M3, got: {other}"),
    }
    assert!(!world.is_marked(&block));
}

#[test]
fn c04_a_light_proof_names_its_depth() {
    let (_, block) = honest();
    let leaves = leaves(&block);
    let root = block.header.merkle_root;
    for (index, transaction) in (1..).zip(&block.transactions) {
        let place = usize::try_from(index).expect("small");
        let way = branch(&leaves, place).expect("there is such a leaf");
        let bytes = transaction.to_bytes();
        assert_eq!(verify_leaf(&root, &bytes, index, &way), Ok(()));
        assert!(verify_leaf(&root, &bytes, index + 4, &way).is_err(), "an index outside the tree");
        assert!(verify_leaf(&root, &bytes, index, &way[1..]).is_err(), "a tree that is less deep");
        assert!(verify_leaf(&root, &bytes, index ^ 1, &way).is_err(), "another place");
    }
    // An inner node as a leaf: 64 bytes.
    let node = [leaves[0], leaves[1]].concat();
    let way = branch(&leaves, 0).expect("the first leaf");
    assert!(verify_leaf(&root, &node, 0, &way[1..]).is_err());
    assert_eq!(leaf_hash(&node), root_and_mutation(&leaves[..2]).0.to_bytes());
}

/// A fault that is put into a body.
type Change = fn(&mut Block);

#[test]
fn c12_bodies_with_any_fault_but_the_right_root_leave_the_header_alone() {
    let changes: [(&str, Change); 8] = [
        ("a signature", |block| {
            if let Satisfaction::Signature(signature) =
                &mut Arc::make_mut(&mut block.transactions[1]).witnesses[0].satisfaction
            {
                signature[0] ^= 1;
            }
        }),
        ("an amount", |block| {
            Arc::make_mut(&mut block.transactions[0]).outputs[0].amount = Amount::from_pebbles(1)
        }),
        ("the coinbase's free run", |block| block.coinbase.free[95] ^= 1),
        ("the coinbase's claim", |block| block.coinbase.outputs[0].amount = Amount::from_pebbles(u64::MAX)),
        ("the coinbase's height", |block| block.coinbase.height = Height::new(77)),
        ("a transaction less", |block| block.transactions.truncate(1)),
        ("the order", |block| block.transactions.swap(0, 2)),
        ("no transactions", |block| block.transactions.clear()),
    ];
    for (name, change) in changes {
        let (mut world, block) = honest();
        let mut wrong = block.clone();
        change(&mut wrong);
        let error = poison(&mut world, &block, &wrong);
        assert!(matches!(error, BodyError::WrongRoot { .. }), "{name}: {error}");
    }
}

#[test]
fn c12_a_wrong_body_that_is_too_large_leaves_the_header_alone() {
    let mut world = World::new(Params { max_block_bytes: 2_000, ..easy_params() });
    world.mine_empty(2);
    let block = world.draft(Vec::new());
    let mut wrong = block.clone();
    wrong.transactions = vec![world.pay(&[world.reward_at(1)], vec![to(&Key::new(1), 1); 100]).into()];
    assert!(wrong.to_bytes().len() > 2_000);
    poison(&mut world, &block, &wrong);
}

#[test]
fn c12_only_the_headers_own_body_makes_it_invalid() {
    let (mut world, mut block) = honest();
    block.coinbase.height = Height::new(77);
    seal(&mut block);
    world.fault(&block);
    assert!(world.is_marked(&block));
    assert!(matches!(world.refusal(&block), SubmitError::KnownInvalid(_)));
    let mut other = block.clone();
    other.coinbase.free[0] ^= 1;
    assert!(matches!(world.refusal(&other), SubmitError::KnownInvalid(_)));
}

#[test]
fn c13_the_same_transaction_with_another_signature_is_another_leaf() {
    let (mut world, block) = honest();
    // The mempool knows the payment and found it good.
    let known = Transaction::clone(&block.transactions[0]);
    let mut altered = known.clone();
    if let Satisfaction::Signature(signature) = &mut altered.witnesses[0].satisfaction {
        signature[63] ^= 1;
    }
    assert_eq!(altered.txid(), known.txid());
    assert_ne!(altered.witness_txid(), known.witness_txid());
    let bad = world.draft(vec![altered]);
    assert!(world.fault(&bad).to_string().contains("rule S10"));
    let good = world.draft(vec![known]);
    world.accept(&good);
}

/// A block as large as its chain allows, with the longest lists that fit.
fn largest(world: &World, inputs: usize) -> Block {
    let limit = usize::try_from(world.chain.params().max_block_bytes).expect("small");
    let coins: Vec<_> = (1..=u32::try_from(inputs).expect("small")).map(|h| world.reward_at(h)).collect();
    let make = |outputs: usize, data_bytes: usize| {
        let mut all = vec![to(&Key::new(1), 1); outputs];
        all.push(data(&vec![0; data_bytes]));
        world.draft(vec![world.pay(&coins, all)])
    };
    let rest = limit - make(0, 0).to_bytes().len();
    make(rest / 41, rest % 41)
}

#[test]
fn c22_the_largest_block_passes_every_encoding() {
    let mut world = World::new(Params { max_block_bytes: 4_000_000, ..easy_params() });
    world.mine_empty(3);
    let block = largest(&world, 2);
    let bytes = block.to_bytes();
    assert_eq!(bytes.len(), 4_000_000);
    assert_eq!(Block::from_bytes(&bytes).expect("as written"), block);
    assert_eq!(Block::from_submission(&block.to_submission()).expect("as written"), block);
    let transaction = block.transactions[0].to_bytes();
    assert_eq!(Transaction::from_bytes(&transaction).expect("as written"), *block.transactions[0]);
    world.accept(&block);
    let stored = world.ledger.block(&block.hash()).expect("no storage fault").expect("is here");
    assert_eq!(stored, block);
}

#[test]
fn c22_a_transaction_with_the_most_inputs_can_be_read() {
    // btcd could not read what others could: lists are bounded by the largest block and by nothing less.
    use chain::{encode::MAX_INPUTS, hash::TxId, policy::Witness, transaction::OutPoint};
    let witness = Witness { policy: chain::policy::Policy::Older(1), satisfaction: Satisfaction::Nothing };
    let least = 36 + witness_bytes(&witness);
    let fitting = (4_000_000 - 200 - 41 - 16) / least;
    let inputs: Vec<OutPoint> = (0..u32::try_from(fitting).expect("small"))
        .map(|index| OutPoint { txid: TxId::from_bytes([1; 32]), index })
        .collect();
    let most =
        Transaction { witnesses: vec![witness; inputs.len()], inputs, outputs: vec![to(&Key::new(1), 1)] };
    assert!(most.to_bytes().len() > 3_999_000 && u32::try_from(fitting).expect("small") <= MAX_INPUTS);
    assert_eq!(Transaction::from_bytes(&most.to_bytes()).expect("below every limit"), most);
}

fn witness_bytes(witness: &chain::policy::Witness) -> usize {
    chain::encode::to_bytes(witness).len()
}

#[test]
fn c24_a_bloated_count_is_refused_and_the_plain_block_accepted() {
    let (mut world, block) = honest();
    let bytes = block.to_submission();
    assert_eq!(bytes[80], 4);
    for count in [&[0xfd, 4, 0][..], &[0xfe, 4, 0, 0, 0], &[0xff, 4, 0, 0, 0, 0, 0, 0, 0]] {
        let bloated = [&bytes[..80], count, &bytes[81..]].concat();
        let refused = Block::from_submission(&bloated).expect_err("not the shortest").to_string();
        assert!(refused.contains("rule X1"), "{refused}");
    }
    world.accept(&Block::from_submission(&bytes).expect("the shortest"));
}

#[test]
fn c12_a_header_alone_waits_for_its_body() {
    let (mut world, block) = honest();
    world.ledger.submit_headers(&[block.header], block.header.time).expect("a good header");
    let mut wrong = block.clone();
    wrong.transactions.clear();
    assert!(matches!(world.refusal(&wrong), SubmitError::WrongBody(_)));
    world.accept(&block);
    assert_eq!(
        world.ledger.store().utxo_set().get(&held(&block.transactions[0], 0).0).map(|c| c.coinbase),
        Some(false)
    );
}
