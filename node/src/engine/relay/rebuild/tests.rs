//! Blocks in short and whole again, over whatever a mempool may hold.

use chain::{
    address::Address,
    amount::Amount,
    block::{Block, Header},
    genesis::Chain,
    hash::TxId,
    height::Height,
    merkle::root_and_mutation,
    policy::{PublicKey, Witness},
    transaction::{Coinbase, FREE_RUN_BYTES, OutPoint, Output},
};
use proptest::{collection::vec, prelude::*};

use super::*;

const LIMIT: usize = 2_000_000;

/// A transaction that breaks no isolated rule; what it spends does not matter here.
fn transaction(number: u32) -> Arc<Transaction> {
    Arc::new(Transaction {
        inputs: vec![OutPoint { txid: TxId::from_bytes([7; 32]), index: number }],
        outputs: vec![Output::pay(Address::from_bytes([1; 32]), Amount::from_pebbles(1))],
        witnesses: vec![Witness::signed(PublicKey([2; 32]), [3; 64])],
    })
}

fn checked(transaction: &Arc<Transaction>, chain: &Chain) -> Arc<CheckedTransaction> {
    Arc::new(CheckedTransaction::check(Arc::clone(transaction), chain).expect("isolated rules hold"))
}

/// A block whose body is its header's.
fn block(transactions: Vec<Arc<Transaction>>, chain: &Chain) -> Block {
    let outputs = vec![Output::pay(Address::from_bytes([9; 32]), Amount::from_pebbles(5))];
    let coinbase = Coinbase { height: Height::new(1), free: [0; FREE_RUN_BYTES], outputs };
    let mut leaves = vec![coinbase.txid().to_bytes()];
    leaves.extend(transactions.iter().map(|transaction| transaction.witness_txid().to_bytes()));
    let merkle_root = root_and_mutation(&leaves).0;
    Block { header: Header { merkle_root, ..chain.genesis().header }, coinbase, transactions }
}

fn short(block: &Block, chain: &Chain, nonce: u64, is_rare: impl Fn(usize) -> bool) -> Arc<CompactBlock> {
    let whole = CheckedBlock::check(block.clone(), chain).expect("isolated rules hold");
    let ids: Vec<_> = block.transactions.iter().map(|transaction| transaction.witness_txid()).collect();
    let is_rare = |id: &_| ids.iter().position(|other| other == id).is_some_and(&is_rare);
    Arc::new(CompactBlock::of(&whole, nonce, is_rare))
}

fn finish(rebuild: &Rebuild, chain: &Chain) -> Result<Block, Unfit> {
    rebuild.finish(chain, &VerdictCache::default()).map(|checked| checked.to_block())
}

proptest! {
    /// Whatever the sender carries whole, whatever waits here, in whatever order and among whatever else.
    #[test]
    fn a_block_in_short_is_made_whole_again(
        parts in vec((any::<bool>(), any::<bool>()), 0..40),
        strangers in 0u32..40,
        turn in any::<prop::sample::Index>(),
        nonce: u64,
    ) {
        let chain = Chain::dev();
        let transactions: Vec<_> = (0..).take(parts.len()).map(transaction).collect();
        let block = block(transactions.clone(), &chain);
        let compact = short(&block, &chain, nonce, |at| parts[at].0);
        let known = transactions.iter().zip(&parts).filter(|(_, (_, is_known))| *is_known);
        let mut pool: Vec<_> = known.map(|(transaction, _)| checked(transaction, &chain)).collect();
        pool.extend((0..strangers).map(|number| checked(&transaction(1_000 + number), &chain)));
        let turn = if pool.is_empty() { 0 } else { turn.index(pool.len()) };
        pool.rotate_left(turn);

        let mut rebuild = Rebuild::begin(Arc::clone(&compact), pool.iter(), LIMIT).expect("it can work");
        let lacked: Vec<u32> =
            (0..).zip(&parts).filter(|(_, part)| !part.0 && !part.1).map(|(index, _)| index).collect();
        prop_assert_eq!(rebuild.missing(), &lacked[..]);
        let given: Vec<_> = lacked.iter().map(|index| Arc::clone(&transactions[*index as usize])).collect();
        prop_assert!(rebuild.fill(&given));
        prop_assert_eq!(finish(&rebuild, &chain), Ok(block.clone()));

        // What is sent on is complete for whoever has what we had, without another question.
        let relayed = rebuild.relayed();
        prop_assert_eq!(relayed.hash(), block.hash());
        let next = Rebuild::begin(relayed, pool.iter(), LIMIT).expect("it can work");
        prop_assert_eq!(next.missing(), &[] as &[u32]);
        prop_assert_eq!(finish(&next, &chain), Ok(block));
    }
}

#[test]
fn c12_a_wrong_body_is_the_senders_fault_only_where_it_gave_all_of_it() {
    let chain = Chain::dev();
    let block = block((0..4).map(transaction).collect(), &chain);
    let spoil = |compact: &CompactBlock| {
        let mut compact = compact.clone();
        compact.coinbase.free[90] ^= 1;
        Arc::new(compact)
    };
    // All of it whole, but for a byte of the coinbase.
    let all = spoil(&short(&block, &chain, 1, |_| true));
    let rebuild = Rebuild::begin(all, [].iter(), LIMIT).expect("it can work");
    assert_eq!(finish(&rebuild, &chain), Err(Unfit::Given));
    // The same, where we were asked to believe one short id.
    let guessed = spoil(&short(&block, &chain, 1, |at| at != 2));
    let pool = [checked(&block.transactions[2], &chain)];
    let rebuild = Rebuild::begin(Arc::clone(&guessed), pool.iter(), LIMIT).expect("it can work");
    assert_eq!(finish(&rebuild, &chain), Err(Unfit::Guessed));
    // And where the sender gave that one, too.
    let mut rebuild = Rebuild::begin(guessed, [].iter(), LIMIT).expect("it can work");
    assert!(rebuild.fill(&block.transactions[2..3]));
    assert_eq!(finish(&rebuild, &chain), Err(Unfit::Given));
}

#[test]
fn c03_a_repeated_tail_is_no_body() {
    let chain = Chain::dev();
    // Coinbase and two transactions: the row of three has its last leaf doubled, so that a body of four leaves
    // has the same root.
    let honest = block((0..2).map(transaction).collect(), &chain);
    let twice = Arc::clone(&honest.transactions[1]);
    let prefilled: Vec<Prefilled> = (0..)
        .zip(honest.transactions.iter().chain([&twice]))
        .map(|(index, transaction)| Prefilled { index, transaction: Arc::clone(transaction) })
        .collect();
    let mut compact = CompactBlock::clone(&short(&honest, &chain, 1, |_| true));
    compact.prefilled = prefilled;
    let rebuild = Rebuild::begin(Arc::new(compact), [].iter(), LIMIT).expect("it can work");
    assert_eq!(finish(&rebuild, &chain), Err(Unfit::Given));
}

#[test]
fn what_looks_alike_is_asked_for_or_fetched_whole_and_nobodys_fault() {
    let chain = Chain::dev();
    let block = block((0..3).map(transaction).collect(), &chain);
    let good = short(&block, &chain, 5, |_| false);
    // Two places want one id.
    let mut double = CompactBlock::clone(&good);
    double.short_ids[1] = double.short_ids[0];
    assert!(Rebuild::begin(Arc::new(double), [].iter(), LIMIT).is_none());
    // Another transaction that waits here looks like the second one: the root tells.
    let stranger = checked(&transaction(77), &chain);
    let mut alike = CompactBlock::clone(&good);
    alike.short_ids[1] = ShortKey::new(&alike.header, alike.nonce).id(&stranger.witness_txid());
    let mut pool: Vec<_> =
        block.transactions.iter().map(|transaction| checked(transaction, &chain)).collect();
    pool.push(stranger);
    let rebuild = Rebuild::begin(Arc::new(alike), pool.iter(), LIMIT).expect("it can work");
    assert_eq!((rebuild.missing(), finish(&rebuild, &chain)), (&[] as &[u32], Err(Unfit::Guessed)));
}

#[test]
fn p13_a_block_that_would_be_too_large_reserves_nothing_and_too_much_is_not_taken() {
    let chain = Chain::dev();
    let block = block((0..4).map(transaction).collect(), &chain);
    let bytes = block.to_bytes().len();
    let compact = short(&block, &chain, 1, |at| at < 2);
    let begin = |limit| Rebuild::begin(Arc::clone(&compact), [].iter(), limit);
    assert!(begin(255).is_none(), "fewer than 64 bytes for each");
    assert!(begin(bytes - 2 * 200).is_none(), "what came is too much already");
    let mut tight = begin(bytes - 1).expect("the last two may be small");
    assert!(!tight.fill(&block.transactions[2..]), "they are not");
    let mut rebuild = begin(bytes).expect("it can work");
    assert!(!rebuild.fill(&block.transactions[2..3]), "one is missing");
    assert!(!rebuild.fill(&block.transactions[1..]), "one is too many");
    assert!(rebuild.fill(&block.transactions[2..]));
    assert_eq!(finish(&rebuild, &chain), Ok(block));
}
