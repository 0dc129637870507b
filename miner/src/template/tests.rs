//! Templates: limits to the byte, parents before children, exact claims. Threat C25: a template that breaks
//! the rules costs the miner its block.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chain::{
    address::Address,
    amount::Amount,
    block::Block,
    check::{CheckedBlock, CheckedTransaction},
    genesis::Chain,
    hash::{BlockHash, TxId},
    height::Height,
    params::Params,
    policy::{Policy, PublicKey, Satisfaction, Witness},
    pow::CompactTarget,
    subsidy::subsidy,
    time::Time,
    transaction::{Destination, FREE_RUN_BYTES, OutPoint, Output, Transaction},
};
use proptest::prelude::*;

use super::{Template, TemplateError, TemplateRequest};
use crate::selection::{Candidate, Package};

/// A coin that some earlier block made.
fn coin(number: u8) -> OutPoint {
    OutPoint { txid: TxId::from_bytes([number; 32]), index: u32::from(number) }
}

/// A witness that chooses `signatures` keys (0 to 2).
fn witness(signatures: u8) -> Witness {
    let key = || Policy::Pk(PublicKey([7; 32]));
    match signatures {
        0 => Witness { policy: Policy::AfterHeight(Height::ZERO), satisfaction: Satisfaction::Nothing },
        1 => Witness::signed(PublicKey([7; 32]), [9; 64]),
        _ => Witness {
            policy: Policy::And(Box::new([key(), key()])),
            satisfaction: Satisfaction::Both(Box::new([
                Satisfaction::Signature([9; 64]),
                Satisfaction::Signature([9; 64]),
            ])),
        },
    }
}

/// A candidate that spends `inputs` with `signatures` each, has two outputs, and carries `padding` bytes of
/// data (0 to 80).
fn candidate(inputs: &[OutPoint], signatures: u8, padding: usize, fee: u64) -> Candidate {
    let pay = Output::pay(Address::from_bytes([3; 32]), Amount::from_pebbles(1_000));
    let data = Output { amount: Amount::ZERO, to: Destination::Data(vec![0; padding]) };
    let transaction = Transaction {
        inputs: inputs.to_vec(),
        outputs: vec![pay.clone(), pay, data],
        witnesses: vec![witness(signatures); inputs.len()],
    };
    let checked = CheckedTransaction::check(transaction, &chain(Params::dev())).expect("isolated rules hold");
    Candidate { transaction: Arc::new(checked), fee: Amount::from_pebbles(fee) }
}

fn chain(params: Params) -> Chain {
    Chain::mine(params).expect("the easiest target takes two hashes")
}

/// An output of a candidate.
fn output_of(candidate: &Candidate, index: u32) -> OutPoint {
    OutPoint { txid: candidate.transaction.txid(), index }
}

const NOW: Time = Time::from_secs(1_800_000_000);

fn request(params: &Params) -> TemplateRequest<'_> {
    TemplateRequest {
        params,
        previous: BlockHash::from_bytes([8; 32]),
        height: Height::new(17),
        bits: params.initial_bits,
        median_time_past: Time::from_secs(NOW.secs() - 30),
        now: NOW,
        pay_to: Address::from_bytes([5; 32]),
        free_run: [0; FREE_RUN_BYTES],
    }
}

fn template(params: &Params, candidates: &[Candidate]) -> Template {
    Template::new(&request(params), candidates.iter().cloned()).expect("a valid request")
}

fn txids(template: &Template) -> Vec<TxId> {
    template.transactions.iter().map(|transaction| transaction.txid()).collect()
}

fn ids(candidates: &[&Candidate]) -> Vec<TxId> {
    candidates.iter().map(|candidate| candidate.transaction.txid()).collect()
}

fn block(template: &Template) -> Block {
    template.solve_with(0, template.time, 0)
}

#[test]
fn an_empty_template_claims_the_subsidy_alone() {
    let params = Params::dev();
    let template = template(&params, &[]);
    let claim = Output::pay(Address::from_bytes([5; 32]), subsidy(&params, Height::new(17)));
    assert_eq!(template.coinbase.outputs, [claim]);
    assert_eq!(template.coinbase.height, Height::new(17));
    assert_eq!((template.fees, template.signatures), (Amount::ZERO, 0));
    assert_eq!((template.version, template.bits), (0x2000_0000, params.initial_bits));
    assert_eq!(template.bytes, block(&template).to_bytes().len() as u64);
    let root = template.coinbase_with(0).txid().to_bytes();
    assert_eq!(template.header_with(0, NOW, 0).merkle_root.to_bytes(), root);
}

#[test]
fn c25_nothing_to_claim_means_no_output() {
    let mut params = Params::dev();
    params.reward = Amount::ZERO;
    let free = candidate(&[coin(1)], 1, 0, 0);
    let unpaid = template(&params, std::slice::from_ref(&free));
    assert!(unpaid.coinbase.outputs.is_empty());
    assert_eq!(unpaid.bytes, block(&unpaid).to_bytes().len() as u64);
    // One pebble of fees is claimed, and the output's bytes count.
    let paying = candidate(&[coin(2)], 1, 0, 1);
    let both = [free, paying];
    let paid = template(&params, &both);
    assert_eq!(paid.coinbase.outputs[0].amount, Amount::from_pebbles(1));
    assert_eq!(paid.bytes, block(&paid).to_bytes().len() as u64);
    let limit = u32::try_from(paid.bytes).expect("a small block");
    params.max_block_bytes = limit;
    assert_eq!(template(&params, &both).transactions.len(), 2);
    params.max_block_bytes = limit - 1;
    assert_eq!(template(&params, &both).transactions.len(), 1);
}

#[test]
fn c25_the_byte_limit_is_exact() {
    let mut params = Params::dev();
    let candidates = [
        candidate(&[coin(1)], 1, 10, 30),
        candidate(&[coin(2), coin(3)], 2, 0, 20),
        candidate(&[coin(4)], 1, 80, 10),
    ];
    let full = block(&template(&params, &candidates)).to_bytes().len();
    params.max_block_bytes = u32::try_from(full).expect("a small block");
    let at_limit = template(&params, &candidates);
    assert_eq!(at_limit.transactions.len(), 3);
    assert_eq!(at_limit.bytes, u64::from(params.max_block_bytes));
    params.max_block_bytes -= 1;
    assert_eq!(txids(&template(&params, &candidates)), ids(&[&candidates[0], &candidates[1]]));
}

#[test]
fn c25_the_signature_limit_is_exact() {
    let mut params = Params::dev();
    let candidates = [
        candidate(&[coin(1), coin(2)], 2, 0, 30),
        candidate(&[coin(3)], 2, 0, 20),
        candidate(&[coin(4)], 0, 0, 10),
    ];
    params.max_block_signatures = 6;
    let at_limit = template(&params, &candidates);
    assert_eq!((at_limit.transactions.len(), at_limit.signatures), (3, 6));
    // What needs no signature still fits where another does not.
    params.max_block_signatures = 5;
    let below = template(&params, &candidates);
    assert_eq!(txids(&below), ids(&[&candidates[0], &candidates[2]]));
    assert_eq!(below.signatures, 4);
}

#[test]
fn c25_a_child_is_never_taken_without_its_parent() {
    let mut params = Params::dev();
    let parent = candidate(&[coin(1), coin(2), coin(3)], 2, 80, 30);
    let child = candidate(&[output_of(&parent, 0)], 1, 0, 20);
    let grandchild = candidate(&[coin(4), output_of(&child, 1)], 1, 0, 15);
    let other = candidate(&[coin(5)], 1, 0, 10);
    let family = [parent, child, grandchild, other];
    assert_eq!(template(&params, &family).transactions.len(), 4);
    // The parent's six signatures do not fit; all others would.
    params.max_block_signatures = 5;
    assert_eq!(txids(&template(&params, &family)), ids(&[&family[3]]));
}

#[test]
fn c25_a_package_is_taken_whole_or_not_at_all() {
    let mut params = Params::dev();
    let parent = candidate(&[coin(1)], 2, 0, 1);
    let child = candidate(&[output_of(&parent, 0)], 2, 0, 90);
    let grandchild = candidate(&[output_of(&child, 0)], 0, 0, 5);
    let other = candidate(&[coin(2)], 1, 0, 4);
    let family: Package = [parent.clone(), child.clone()].into_iter().collect();
    let packages = [family, grandchild.clone().into(), other.clone().into()];
    let made = |params: &Params| Template::new(&request(params), packages.clone()).expect("a valid request");
    assert_eq!(txids(&made(&params)), ids(&[&parent, &child, &grandchild, &other]));
    // The parent alone would fit, but it was to be paid for by its child.
    params.max_block_signatures = 3;
    assert_eq!(txids(&made(&params)), ids(&[&other]));
}

#[test]
fn c25_fees_that_no_coins_could_pay_are_passed_over() {
    let params = Params::dev();
    let candidates = [candidate(&[coin(1)], 1, 0, u64::MAX), candidate(&[coin(2)], 1, 0, 5)];
    let template = template(&params, &candidates);
    assert_eq!(txids(&template), ids(&[&candidates[1]]));
    assert_eq!(template.fees, Amount::from_pebbles(5));
}

#[test]
fn a_full_block_gives_up_on_a_long_tail() {
    let mut params = Params::dev();
    let first = candidate(&[coin(1)], 1, 0, 9);
    params.max_block_bytes =
        u32::try_from(template(&params, std::slice::from_ref(&first)).bytes).expect("a small block");
    let misfit = candidate(&[coin(2)], 1, 80, 1);
    let mut asked = 0;
    let tail = std::iter::once(first.clone()).chain(std::iter::repeat_n(misfit, 5_000));
    let counted = tail.inspect(|_| asked += 1);
    let full = Template::new(&request(&params), counted).expect("a valid request");
    assert_eq!(txids(&full), ids(&[&first]));
    assert_eq!(asked, 1 + 1_000);
}

#[test]
fn the_time_is_the_clocks_or_just_above_the_median() {
    let params = Params::dev();
    let at = |median: u32| {
        let median_time_past = Time::from_secs(median);
        Template::new(&TemplateRequest { median_time_past, ..request(&params) }, Vec::<Candidate>::new())
    };
    let (now, ahead) = (NOW.secs(), params.max_future_secs());
    let behind = at(now - 100).expect("the usual case");
    assert_eq!((behind.time, behind.min_time), (NOW, Time::from_secs(now - 99)));
    assert_eq!(behind.max_time, Time::from_secs(now + ahead));
    let equal = at(now).expect("a median at the clock");
    assert_eq!((equal.time, equal.min_time), (Time::from_secs(now + 1), Time::from_secs(now + 1)));
    assert_eq!(at(now + ahead - 1).expect("the last moment").time, Time::from_secs(now + ahead));
    for median in [now + ahead, u32::MAX] {
        let error = at(median).expect_err("no time is left");
        assert_eq!(
            error,
            TemplateError::ClockBehind { now, median_time_past: median, max_future_secs: ahead }
        );
    }
}

#[test]
fn bits_that_are_no_target_are_refused() {
    let params = Params::dev();
    let bits = CompactTarget::from_u32(0x2080_0001);
    let refused = Template::new(&TemplateRequest { bits, ..request(&params) }, Vec::<Candidate>::new());
    assert!(matches!(refused, Err(TemplateError::Bits(_))), "{refused:?}");
}

#[test]
fn the_extranonce_opens_the_free_run_and_the_root_follows() {
    let params = Params::dev();
    let candidates: Vec<_> = (1..6).map(|number| candidate(&[coin(number)], 1, 0, 1)).collect();
    let free_run = std::array::from_fn(|i| u8::try_from(i).expect("96 bytes"));
    let template = Template::new(&TemplateRequest { free_run, ..request(&params) }, candidates)
        .expect("a valid request");
    let chain = chain(params.clone());
    let mut roots = HashSet::new();
    for extranonce in [0, 1, 0x0102_0304_0506_0708, u64::MAX] {
        let time = Time::from_secs(NOW.secs() + 1);
        let block = template.solve_with(77, time, extranonce);
        assert_eq!(block.coinbase.to_bytes()[8..16], extranonce.to_le_bytes());
        assert_eq!(block.coinbase.free[8..], free_run[8..]);
        assert_eq!((block.header.nonce, block.header.time), (77, time));
        assert_eq!(block.header, template.header_with(77, time, extranonce));
        assert!(roots.insert(block.header.merkle_root));
        // The validator computes the root from all leaves.
        CheckedBlock::check(block, &chain).expect("the root follows the extranonce");
    }
}

/// How a random candidate is built: which earlier candidates' outputs and which coins it spends.
#[derive(Debug, Clone)]
struct Plan {
    parents: Vec<(usize, u32)>,
    coins: Vec<u8>,
    signatures: u8,
    padding: usize,
    fee: u64,
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        proptest::collection::vec((0_usize..40, 0_u32..2), 0..3),
        proptest::collection::vec(0_u8..200, 1..3),
        0_u8..3,
        0_usize..=80,
        0_u64..1_000_000,
    )
        .prop_map(|(parents, coins, signatures, padding, fee)| Plan {
            parents,
            coins,
            signatures,
            padding,
            fee,
        })
}

/// Candidates in an order with parents before children, each once, no two of which spend the same coin.
fn build(plans: &[Plan]) -> Vec<Candidate> {
    let mut built: Vec<Candidate> = Vec::new();
    let mut seen = HashSet::new();
    for plan in plans {
        let parents = plan
            .parents
            .iter()
            .filter_map(|(parent, index)| built.get(*parent).map(|parent| output_of(parent, *index)));
        let inputs: Vec<_> = parents
            .chain(plan.coins.iter().map(|number| coin(*number)))
            .filter(|input| seen.insert(*input))
            .collect();
        if inputs.is_empty() {
            continue;
        }
        let made = candidate(&inputs, plan.signatures, plan.padding, plan.fee);
        if !built.iter().any(|other| other.transaction.txid() == made.transaction.txid()) {
            built.push(made);
        }
    }
    built
}

/// The selection as one would write it first: try each candidate and look at the whole block.
fn naive(params: &Params, candidates: &[Candidate]) -> Vec<TxId> {
    let mut block = block(&template(params, &[]));
    let (mut taken, mut signatures) = (Vec::new(), 0);
    let known: HashSet<_> = candidates.iter().map(|candidate| candidate.transaction.txid()).collect();
    for candidate in candidates {
        let transaction = &candidate.transaction;
        let inputs = &transaction.transaction().inputs;
        let orphan = inputs.iter().any(|i| known.contains(&i.txid) && !taken.contains(&i.txid));
        let conflict = block.transactions.iter().any(|other| other.inputs.iter().any(|i| inputs.contains(i)));
        let mut tried = block.clone();
        tried.transactions.push(transaction.transaction().clone());
        let fits = tried.to_bytes().len() as u64 <= u64::from(params.max_block_bytes)
            && signatures + transaction.signatures() <= params.max_block_signatures;
        if !orphan && !conflict && fits {
            block = tried;
            signatures += transaction.signatures();
            taken.push(transaction.txid());
        }
    }
    taken
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the mempool holds and whatever the limits are, a template is what the naive selection would
    /// take, keeps to the limits, and passes our own isolated rules.
    #[test]
    fn c25_templates_keep_the_rules(
        plans in proptest::collection::vec(plan(), 0..40),
        max_block_bytes in 2_000_u32..16_000,
        max_block_signatures in 1_u32..60,
        extranonce in any::<u64>(),
    ) {
        let params = Params { max_block_bytes, max_block_signatures, ..Params::dev() };
        let candidates = build(&plans);
        let template = template(&params, &candidates);
        prop_assert_eq!(txids(&template), naive(&params, &candidates));

        let block = template.solve_with(1, template.time, extranonce);
        prop_assert_eq!(block.to_bytes().len() as u64, template.bytes);
        prop_assert!(template.bytes <= u64::from(max_block_bytes));
        prop_assert!(template.signatures <= u64::from(max_block_signatures));

        // The claim is exactly the subsidy and the fees of what was taken.
        let fees: HashMap<_, _> =
            candidates.iter().map(|candidate| (candidate.transaction.txid(), candidate.fee.pebbles())).collect();
        let sum: u64 = txids(&template).iter().map(|txid| fees[txid]).sum();
        prop_assert_eq!(template.fees.pebbles(), sum);
        let claimed: u64 = block.coinbase.outputs.iter().map(|output| output.amount.pebbles()).sum();
        prop_assert_eq!(claimed, sum + subsidy(&params, Height::new(17)).pebbles());

        // Parents come first and no coin is spent twice.
        let (mut earlier, mut spent) = (HashSet::new(), HashSet::new());
        for transaction in &block.transactions {
            for input in &transaction.inputs {
                prop_assert!(!fees.contains_key(&input.txid) || earlier.contains(&input.txid));
                prop_assert!(spent.insert(*input));
            }
            earlier.insert(transaction.txid());
        }
        let checked = CheckedBlock::check(block, &chain(params));
        prop_assert!(checked.is_ok(), "{:?}", checked.err());
    }
}
