//! What is known is not verified again, and never taken for something else.

use std::sync::Arc;

use chain::{
    amount::Amount,
    block::Block,
    check::{
        CheckedBlock, CheckedTransaction, NewBlock, Piece, VerdictCache, VerifiedTransaction,
        external_inputs, spend_block, verify_blocks, verify_transaction,
    },
    encoded::EncodedBlock,
    error::{BlockError, BodyError, SpendError, SubmitError},
    height::Height,
    policy::{Policy, Satisfaction},
    transaction::Transaction,
    utxo::Coin,
};

use crate::build::{Key, World, coins, held, spend, to, to_policy};

/// A world at height 4, and a payment of each of its first three rewards.
fn world() -> (World, Vec<Transaction>) {
    let mut world = World::easy();
    world.mine_empty(4);
    let payments =
        (1..=3).map(|height| world.pay(&[world.reward_at(height)], vec![to(&Key::new(height), coins(50))]));
    let payments = payments.collect();
    (world, payments)
}

fn verified(world: &World, transaction: &Transaction) -> Arc<VerifiedTransaction> {
    let checked = CheckedTransaction::check(transaction.clone(), &world.chain).expect("isolated");
    let (view, context) = (world.ledger.store().utxo_set(), world.ledger.next_spend_context());
    Arc::new(verify_transaction(checked.into(), view, &context).expect("valid"))
}

fn fetched(world: &World, block: &CheckedBlock) -> Vec<Option<Coin>> {
    let coins = world.ledger.store().utxo_set();
    external_inputs(block).iter().map(|outpoint| coins.get(outpoint).cloned()).collect()
}

fn claims(world: &World, block: &Arc<CheckedBlock>, verdicts: &VerdictCache) -> usize {
    let context = world.ledger.next_spend_context();
    spend_block(block, fetched(world, block), &context, verdicts).expect("a good block").signatures()
}

#[test]
fn known_transactions_cost_no_signature() {
    let (mut world, payments) = world();
    let block = world.draft(payments.clone());
    let checked = Arc::new(CheckedBlock::check(block.clone(), &world.chain).expect("isolated"));
    let mut verdicts = VerdictCache::default();
    assert_eq!(claims(&world, &checked, &verdicts), 3);
    for (payment, left) in payments.iter().zip([2, 1, 0]) {
        let known = verified(&world, payment);
        verdicts.remember(known.clone());
        world.ledger.remember(known);
        assert_eq!(claims(&world, &checked, &verdicts), left);
    }
    // What was learned of them is taken over, not found out again, in whatever form the block comes.
    let forms: [NewBlock; 3] = [block.clone().into(), encoded(&block).into(), assembled(&world, &block)];
    for (number, form) in forms.into_iter().enumerate() {
        let unknowing = CheckedBlock::check(form.clone(), &world.chain).expect("isolated");
        assert_eq!(unknowing, *checked);
        let knowing = CheckedBlock::check_knowing(form, &world.chain, &verdicts).expect("isolated");
        assert_eq!(knowing, *checked);
        for (index, (transaction, payment)) in knowing.transactions().iter().zip(&payments).enumerate() {
            let known = verdicts.find(&payment.witness_txid()).expect("remembered");
            // What is put together of checked ones brings them along.
            let brings_its_own = number == 2 && index != 1;
            assert_eq!(Arc::ptr_eq(transaction, known.checked()), !brings_its_own);
        }
    }
    world.accept(&block);
}

fn encoded(block: &Block) -> EncodedBlock {
    EncodedBlock::from_bytes(block.to_bytes()).expect("as written")
}

/// The block as whoever knows all its transactions but one puts it together.
fn assembled(world: &World, block: &Block) -> NewBlock {
    let piece = |(index, transaction): (usize, &Arc<Transaction>)| {
        if index == 1 {
            return Piece::Plain(Arc::clone(transaction));
        }
        let checked = CheckedTransaction::check(Arc::clone(transaction), &world.chain);
        Piece::Checked(Arc::new(checked.expect("isolated")))
    };
    let transactions = block.transactions.iter().enumerate().map(piece).collect();
    NewBlock::Assembled { header: block.header, coinbase: block.coinbase.clone(), transactions }
}

#[test]
fn c12_an_assembled_block_must_be_the_one_that_its_header_names() {
    let (mut world, payments) = world();
    let block = world.draft(payments.clone());
    let other = world.draft(vec![payments[1].clone(), payments[0].clone(), payments[2].clone()]);
    let mut wrong = assembled(&world, &other);
    if let NewBlock::Assembled { header, .. } = &mut wrong {
        *header = block.header;
    }
    let now = block.header.time;
    let refused = world.ledger.submit(wrong, now).expect_err("transactions in another order");
    assert!(matches!(refused, SubmitError::WrongBody(BodyError::WrongRoot { .. })));
    // The header is not to blame for it.
    let right = assembled(&world, &block);
    let update = world.ledger.submit(right, now).expect("the right body");
    assert_eq!(update.applied.len(), 1);
}

#[test]
fn c13_a_verdict_is_for_the_same_witnesses_only() {
    let (mut world, payments) = world();
    for payment in &payments {
        let known = verified(&world, payment);
        world.ledger.remember(known);
    }
    let mut altered = payments[1].clone();
    if let Satisfaction::Signature(signature) = &mut altered.witnesses[0].satisfaction {
        signature[63] ^= 1;
    }
    assert_eq!(altered.txid(), payments[1].txid());
    let bad = world.draft(vec![payments[0].clone(), altered, payments[2].clone()]);
    // As bytes it is compared with what is known, and not decoded where it is: the wrong one is.
    let hash = bad.hash();
    let update = world.ledger.submit(encoded(&bad), bad.header.time).expect("kept");
    match update.refusal(&hash) {
        Some(BlockError::Spend { index, error, .. }) => {
            assert_eq!((*index, error.clone()), (1, SpendError::BadSignature { input: 0 }));
        }
        other => panic!("{other:?}"),
    }
    let good = world.draft(payments);
    world.accept(&good);
}

#[test]
fn a_verdict_is_for_the_same_spent_outputs_only() {
    let (world, payments) = world();
    let block = world.draft(payments[..1].to_vec());
    let block = Arc::new(CheckedBlock::check(block, &world.chain).expect("isolated"));
    let mut verdicts = VerdictCache::default();
    verdicts.remember(verified(&world, &payments[0]));
    // A store that shows another amount under the same name.
    let mut wrong = fetched(&world, &block);
    for coin in wrong.iter_mut().flatten() {
        coin.output.amount = coin.output.amount.checked_add(Amount::from_pebbles(1)).expect("small");
    }
    let context = world.ledger.next_spend_context();
    let spent = spend_block(&block, wrong, &context, &verdicts).expect("amounts suffice");
    assert_eq!(spent.signatures(), 1, "the verdict was on other outputs");
    let (connected, fault) = verify_blocks(vec![spent]);
    assert!(connected.is_empty());
    assert!(matches!(fault, Some(BlockError::Spend { error: SpendError::BadSignature { .. }, .. })));
}

#[test]
fn c14_a_verdict_says_nothing_about_heights_ages_and_maturity() {
    // The coin may be spent from height 6 on; the verdict is found at height 6, the block is for height 5.
    let key = Key::new(9);
    let policy = Policy::And(Box::new([key.policy(), Policy::AfterHeight(Height::new(6))]));
    let mut world = World::easy();
    world.mine_empty(2);
    let funding = world.pay(&[world.reward_at(1)], vec![to_policy(&policy, coins(50))]);
    let coin = held(&funding, 0);
    world.mine(vec![funding]);
    let fork = world.mine(Vec::new()).hash();
    let payment = spend(&world.chain, &[coin], vec![to(&key, coins(50))], |message| chain::policy::Witness {
        policy: policy.clone(),
        satisfaction: Satisfaction::Both(Box::new([key.satisfaction(message), Satisfaction::Nothing])),
    });
    world.mine_empty(1);
    let known = verified(&world, &payment);
    world.ledger.remember(known);
    let too_low = world.draft_on(fork, vec![payment.clone()]);
    world.submit(&too_low).expect("kept as a branch");
    // The branch becomes the longer one: now the block is judged.
    let above = world.draft_on(too_low.hash(), Vec::new());
    let update = world.submit(&above).expect("kept");
    assert!(matches!(
        update.refusal(&too_low.hash()),
        Some(BlockError::Spend { error: SpendError::BeforeHeight { .. }, .. })
    ));
    world.mine(vec![payment]);
}

#[test]
fn c23_a_forgery_amid_a_run_is_named_and_what_lies_below_it_stands() {
    // Twelve blocks come together; the payment in the seventh is forged.
    let mut drafting = World::easy();
    drafting.mine_empty(13);
    let mut world = World::over(drafting.chain.clone(), chain::memory::MemoryStore::default());
    let mut blocks: Vec<Block> = (1..=13)
        .map(|height| drafting.ledger.block(&drafting.hash_at(height)).expect("no fault").expect("is here"))
        .collect();
    for number in 1..=12_u32 {
        let mut payment = drafting.pay(&[drafting.reward_at(number)], vec![to(&Key::new(number), coins(50))]);
        if number == 7 {
            payment.outputs = vec![to(&Key::new(666), coins(50))];
        }
        let tip = blocks.last().expect("some").hash();
        let block = drafting.draft_on(tip, vec![payment]);
        drafting.ledger.submit_headers(&[block.header], block.header.time).expect("a good header");
        blocks.push(block);
    }
    let now = blocks.last().expect("some").header.time;
    let answer = world.ledger.submit_many(blocks.clone(), now).expect("no storage fault");
    assert!(answer.outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
    assert_eq!(world.tip(), blocks[18].hash());
    assert_eq!(answer.update.applied.len(), 19);
    let [(guilty, error)] = &answer.update.refused[..] else { panic!("{:?}", answer.update.refused) };
    assert_eq!(guilty.hash, blocks[19].hash());
    assert!(matches!(
        error,
        BlockError::Spend { index: 0, error: SpendError::BadSignature { input: 0 }, .. }
    ));
    assert!(blocks[19..].iter().all(|block| world.is_marked(block)));
    assert!(blocks[..19].iter().all(|block| !world.is_marked(block)));
    // The coins are those of the nineteen.
    let replayed = World::over(world.chain.clone(), chain::memory::MemoryStore::default());
    let mut replayed = replayed;
    blocks[..19].iter().for_each(|block| drop(replayed.accept(block)));
    assert_eq!(replayed.ledger.store().utxo_set(), world.ledger.store().utxo_set());
}

#[test]
fn c17_a_fork_that_was_left_is_walked_again_without_signatures() {
    let (mut world, payments) = world();
    let fork = world.tip();
    let (one, two) = (payments[0].clone(), payments[1].clone());
    // A pays itself on from hand to hand in one block.
    let again =
        crate::build::pay(&world.chain, &[held(&one, 0)], &Key::new(1), vec![to(&Key::new(5), coins(49))]);
    world.mine(vec![one.clone(), again.clone()]);
    let mut rival = world.draft_on(fork, vec![two.clone()]);
    world.accept(&rival);
    for _ in 0..2 {
        rival = world.draft_on(rival.hash(), Vec::new());
        world.accept(&rival);
    }
    assert_eq!(world.tip(), rival.hash());
    // What left with the branch is known, its hand-to-hand payment too; what was never disconnected is not.
    for transaction in [&one, &again] {
        let verdict = world.ledger.verdicts().find(&transaction.witness_txid()).expect("remembered");
        assert_eq!(verdict.spent().len(), 1);
        assert_eq!(verdict.checked().transaction().inputs, transaction.inputs);
    }
    assert_eq!(
        world.ledger.verdicts().find(&again.witness_txid()).map(|verdict| verdict.fee().pebbles()),
        Some(coins(1))
    );
    assert!(world.ledger.verdicts().find(&two.witness_txid()).is_none());
    let context = world.ledger.next_spend_context();
    let block = world.draft(vec![one, again]);
    let block = Arc::new(CheckedBlock::check(block, &world.chain).expect("isolated"));
    let spent =
        spend_block(&block, fetched(&world, &block), &context, world.ledger.verdicts()).expect("good");
    assert_eq!(spent.signatures(), 0);
}
