//! Signatures: one rule everywhere, linear cost, and no bytes on which anything panics.

use chain::{
    block::Block,
    check::CheckedTransaction,
    error::{BlockError, SpendError},
    policy::{Policy, PublicKey, Satisfaction, Witness},
    signature::{Claim, signature_message, verify_all},
    transaction::{OutPoint, Output, Transaction},
};

use crate::build::{Held, Key, World, coins, held, message, miner, pay, to, to_policy};

/// The order of the group, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The same signature with S + L for S: equal modulo the order, and forbidden.
fn plus_order(signature: &[u8; 64]) -> [u8; 64] {
    let mut sum = *signature;
    let mut carry = 0_u16;
    for (byte, add) in sum[32..].iter_mut().zip(ORDER) {
        let total = u16::from(*byte) + u16::from(add) + carry;
        let [low, high] = total.to_le_bytes();
        *byte = low;
        carry = u16::from(high);
    }
    assert_eq!(carry, 0, "S is below L, and twice L has 254 bits");
    sum
}

fn claim(number: u32) -> Claim {
    let key = Key::new(number);
    let message = chain::hash::sha256(&number.to_le_bytes());
    Claim { key: key.public(), signature: key.sign(&message), message }
}

fn set_signature(transaction: &mut Transaction, input: usize, change: impl FnOnce(&mut [u8; 64])) {
    match &mut transaction.witnesses[input].satisfaction {
        Satisfaction::Signature(signature) => change(signature),
        other => panic!("expected a signature, got {other:?}"),
    }
}

fn bad_signature(world: &mut World, block: &Block) -> (usize, usize) {
    match world.fault(block) {
        BlockError::Spend { index, error: SpendError::BadSignature { input }, .. } => (index, input),
        other => panic!("expected rule S10, got: {other}"),
    }
}

#[test]
fn c21_one_message_a_transaction_however_many_inputs() {
    let world = World::easy();
    let make = |inputs: u32| {
        let txid = chain::hash::TxId::from_bytes([1; 32]);
        let coins: Vec<Held> =
            (0..inputs).map(|index| (OutPoint { txid, index }, to(&miner(), 1_000))).collect();
        let transaction = crate::build::unsigned(&coins, vec![to(&Key::new(1), 1)]);
        let spent: Vec<Output> = coins.into_iter().map(|(_, output)| output).collect();
        (transaction, spent)
    };
    // What is hashed for all inputs together: the chain, the transaction, the spent outputs, each once.
    let hashed = |inputs: u32| {
        let (transaction, spent) = make(inputs);
        let bytes =
            [&world.chain.id().to_bytes()[..], &transaction.id_preimage(), &chain::encode::to_bytes(&spent)]
                .concat();
        let by_hand = chain::hash::tagged("cairn/spend", &bytes);
        assert_eq!(message(&world.chain, &transaction, &spent), by_hand);
        bytes.len()
    };
    for inputs in [1, 2, 100, 5_000] {
        let count = usize::try_from(inputs).expect("small");
        assert_eq!(hashed(inputs), hashed(0) + 77 * count, "linear in the inputs");
    }
}

#[test]
fn c21_every_signature_of_a_transaction_signs_that_message() {
    let mut world = World::easy();
    world.mine_empty(31);
    let coins_of: Vec<Held> = (1..=30).map(|height| world.reward_at(height)).collect();
    let payment = world.pay(&coins_of, vec![to(&Key::new(1), coins(1_500))]);
    let spent: Vec<Output> = coins_of.iter().map(|(_, output)| output.clone()).collect();
    let message = signature_message(&world.chain.id(), &payment.id_preimage(), &spent);
    for witness in &payment.witnesses {
        let Satisfaction::Signature(signature) = witness.satisfaction else { panic!("a signature") };
        assert!(Claim { key: miner().public(), signature, message }.holds());
    }
    world.mine(vec![payment]);
}

#[test]
fn c23_s_plus_the_order_is_refused_everywhere() {
    let good = claim(1);
    assert!(good.holds());
    let malleated = Claim { signature: plus_order(&good.signature), ..good };
    assert!(!malleated.holds());
    assert_eq!(verify_all(&[malleated]), Err(0));
    let mut batch: Vec<Claim> = (0..100).map(claim).collect();
    batch[60].signature = plus_order(&batch[60].signature);
    assert_eq!(verify_all(&batch), Err(60));
    let mut world = World::easy();
    world.mine_empty(2);
    let payment = world.pay(&[world.reward_at(1)], vec![to(&Key::new(1), coins(50))]);
    let mut altered = payment.clone();
    set_signature(&mut altered, 0, |signature| *signature = plus_order(signature));
    assert_eq!(altered.txid(), payment.txid(), "nobody can change an id");
    let block = world.draft(vec![altered]);
    assert_eq!(bad_signature(&mut world, &block), (0, 0));
    world.mine(vec![payment]);
}

#[test]
fn c23_the_lowest_bad_signature_of_a_batch_is_named() {
    let good: Vec<Claim> = (0..3_000).map(claim).collect();
    assert_eq!(verify_all(&good), Ok(()));
    assert_eq!(verify_all(&[]), Ok(()));
    for places in [&[0][..], &[2_999], &[15, 16], &[1_024, 3], &[1_023, 1_024], &[2_500, 1_700, 2_999]] {
        let mut batch = good.clone();
        for place in places {
            batch[*place].message[0] ^= 1;
        }
        assert_eq!(verify_all(&batch), Err(*places.iter().min().expect("some")), "{places:?}");
    }
}

#[test]
fn c23_a_bad_signature_in_a_block_is_named_by_transaction_and_input() {
    let mut world = World::easy();
    world.mine_empty(41);
    let payments: Vec<Transaction> = (0..20)
        .map(|pair| {
            let both = [world.reward_at(1 + 2 * pair), world.reward_at(2 + 2 * pair)];
            world.pay(&both, vec![to(&Key::new(pair), coins(100))])
        })
        .collect();
    for (index, input) in [(0, 0), (0, 1), (7, 0), (13, 1), (19, 1)] {
        let mut bad = payments.clone();
        set_signature(&mut bad[index], input, |signature| signature[7] ^= 4);
        // A later one is wrong as well: the first is named.
        set_signature(&mut bad[19], 1, |signature| signature[9] ^= 4);
        let block = world.draft(bad);
        assert_eq!(bad_signature(&mut world, &block), (index, input));
    }
    world.mine(payments);
}

#[test]
fn c27_a_block_that_is_bad_at_its_first_transaction_leaves_nothing_behind() {
    let mut world = World::easy();
    world.mine_empty(11);
    // One transaction fans out, then hundreds of signatures wait behind a first one that is wrong.
    let fan = world.pay(&[world.reward_at(1)], (0..1_000).map(|_| to(&miner(), 1_000)).collect());
    world.mine(vec![fan.clone()]);
    let first = world.pay(&[world.reward_at(2)], vec![to(&Key::new(1), coins(50))]);
    let many: Vec<Transaction> = (0..1_000)
        .map(|index| pay(&world.chain, &[held(&fan, index)], &miner(), vec![to(&Key::new(2), 900)]))
        .collect();
    let mut bad = first.clone();
    set_signature(&mut bad, 0, |signature| signature[33] ^= 1);
    let before = world.ledger.store().utxo_set().clone();
    for round in 0..30 {
        // Wrong at once by its signature, by its policy, by its coin: each leaves early another way.
        let early = match round % 3 {
            0 => bad.clone(),
            1 => pay(&world.chain, &[world.reward_at(3)], &Key::new(9), vec![to(&miner(), 1)]),
            _ => world.pay(&[held(&first, 0)], vec![to(&miner(), 1)]),
        };
        let block = world.draft([vec![early], many.clone()].concat());
        assert!(matches!(world.fault(&block), BlockError::Spend { index: 0, .. }));
    }
    assert_eq!(world.ledger.store().utxo_set(), &before);
    world.mine([vec![first], many].concat());
}

/// Bytes that are odd as keys, and as halves of signatures.
fn odd_bytes() -> Vec<[u8; 32]> {
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut negative_identity = identity;
    negative_identity[31] = 0x80;
    // p, p + 1 (the identity, not canonical), p - 1 (order two), and 2^255 - 1.
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    let mut above = p;
    above[0] = 0xee;
    let mut below = p;
    below[0] = 0xec;
    let mut highest = [0xff; 32];
    highest[31] = 0x7f;
    let mut two = [0; 32];
    two[0] = 2; // not on the curve
    vec![[0; 32], [0xff; 32], identity, negative_identity, p, above, below, highest, two, ORDER, [0x55; 32]]
}

#[test]
fn c29_no_key_and_no_signature_panics() {
    let good = claim(1);
    let mut verdicts = [0, 0];
    for key in odd_bytes() {
        for r in odd_bytes() {
            for s in odd_bytes() {
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&r);
                signature[32..].copy_from_slice(&s);
                let odd = Claim { key: PublicKey(key), signature, message: good.message };
                let alone = odd.holds();
                // Alone, in a batch of its own and among good ones: one verdict.
                assert_eq!(verify_all(&[odd]).is_ok(), alone, "{odd:?}");
                assert_eq!(verify_all(&[good, odd, good]).is_ok(), alone, "{odd:?}");
                verdicts[usize::from(alone)] += 1;
            }
        }
    }
    assert!(verdicts[0] > 0 && verdicts[1] > 0, "{verdicts:?}: ZIP-215 accepts small orders");
}

#[test]
fn c29_odd_keys_in_blocks_are_a_verdict_not_a_panic() {
    for key in odd_bytes() {
        let mut world = World::easy();
        world.mine_empty(2);
        let policy = Policy::Pk(PublicKey(key));
        let open = world.pay(&[world.reward_at(1)], vec![to_policy(&policy, coins(50))]);
        let coin = held(&open, 0);
        world.mine(vec![open]);
        for byte in [0, 0xff] {
            let mut spends = crate::build::unsigned(std::slice::from_ref(&coin), vec![to(&miner(), 1)]);
            spends.witnesses = vec![Witness::signed(PublicKey(key), [byte; 64])];
            assert!(CheckedTransaction::check(spends.clone(), &world.chain).is_ok(), "keys are bytes here");
            let expected = {
                let spent = std::slice::from_ref(&coin.1);
                let message = message(&world.chain, &spends, spent);
                Claim { key: PublicKey(key), signature: [byte; 64], message }.holds()
            };
            let block = world.draft(vec![spends]);
            let update = world.submit(&block).expect("the body is the header's");
            assert_eq!(update.refused.is_empty(), expected);
            if expected {
                break;
            }
        }
    }
}
