//! The mempool against a model that keeps nothing but a list, after whatever comes: payments, batches,
//! replacements, blocks, reorganisations there and back.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use chain::{
    amount::Amount,
    check::{CheckedTransaction, verify_transaction},
    hash::{BlockHash, TxId},
    height::Height,
    ledger::Update,
    transaction::{OutPoint, Transaction},
    utxo::Coin,
};
use proptest::prelude::*;

use super::{
    super::AcceptError,
    world::{Spendable, World, address, outputs, pay},
};

/// What waits, oldest first.
#[derive(Default)]
struct Model {
    waiting: Vec<Arc<CheckedTransaction>>,
}

impl Model {
    fn ids(&self) -> BTreeSet<TxId> {
        self.waiting.iter().map(|checked| checked.txid()).collect()
    }

    fn take_with_descendants(&mut self, first: impl Fn(&CheckedTransaction) -> bool) {
        let mut gone: HashSet<TxId> = HashSet::new();
        self.waiting.retain(|checked| {
            let inputs = &checked.transaction().inputs;
            let leaves = first(checked) || inputs.iter().any(|input| gone.contains(&input.txid));
            if leaves {
                gone.insert(checked.txid());
            }
            !leaves
        });
    }

    fn add(&mut self, checked: &Arc<CheckedTransaction>) {
        let own = checked.txid();
        let inputs: HashSet<OutPoint> = checked.transaction().inputs.iter().copied().collect();
        let conflicts = |other: &CheckedTransaction| {
            other.txid() != own && other.transaction().inputs.iter().any(|input| inputs.contains(input))
        };
        self.take_with_descendants(conflicts);
        self.waiting.push(Arc::clone(checked));
    }

    /// Keeps of `candidates`, in their order, what is valid on the tip; the sum of the fees.
    fn judge_anew(&mut self, world: &World, candidates: Vec<Arc<CheckedTransaction>>) -> Amount {
        self.waiting.clear();
        let context = world.ledger.next_spend_context();
        let mut made: HashMap<OutPoint, Coin> = HashMap::new();
        let mut spent: HashSet<OutPoint> = HashSet::new();
        let mut fees = Amount::ZERO;
        for checked in candidates {
            let inputs = &checked.transaction().inputs;
            let stored = world.ledger.coins(inputs).expect("memory does not fail");
            let find = |(input, stored): (&OutPoint, Option<Coin>)| {
                Some((*input, stored.or_else(|| made.get(input).cloned())?))
            };
            let coins: HashMap<OutPoint, Coin> = inputs.iter().zip(stored).filter_map(find).collect();
            let Ok(verified) = verify_transaction(Arc::clone(&checked), &coins, &context) else { continue };
            if inputs.iter().any(|input| spent.contains(input)) || self.ids().contains(&checked.txid()) {
                continue;
            }
            spent.extend(inputs);
            for (outpoint, amount) in outputs(checked.transaction()) {
                let output = chain::transaction::Output::pay(address(), amount);
                made.insert(outpoint, Coin { output, height: context.height, coinbase: false });
            }
            fees = fees.checked_add(verified.fee()).expect("below the supply");
            self.waiting.push(checked);
        }
        fees
    }

    /// Follows the ledger: all that waited and all that was reverted, judged anew.
    fn follow(&mut self, world: &World, update: &Update) {
        let block =
            |hash: &BlockHash| world.ledger.checked_block(hash).expect("memory does not fail").expect("kept");
        let mut candidates: Vec<Arc<CheckedTransaction>> = Vec::new();
        for id in update.reverted.iter().rev() {
            candidates.extend(block(&id.hash).transactions().iter().cloned());
        }
        candidates.append(&mut self.waiting);
        self.judge_anew(world, candidates);
    }
}

/// Holds everything that the mempool says of itself against what it holds.
fn compare(world: &mut World, model: &mut Model) {
    let mempool = &world.mempool;
    let entries: Vec<_> = mempool.entries().cloned().collect();
    let ids: BTreeSet<TxId> = entries.iter().map(|entry| entry.transaction().txid()).collect();
    assert_eq!(ids, model.ids(), "contents");
    assert_eq!((entries.len(), mempool.len()), (ids.len(), ids.len()));

    // Valid on the tip, all of it, parents first, no coin twice (M07).
    let all: Vec<Arc<CheckedTransaction>> = entries.iter().map(|entry| entry.transaction().clone()).collect();
    let mut anew = Model::default();
    let fees = anew.judge_anew(world, all.clone());
    assert_eq!(anew.ids(), ids, "everything is valid on the tip");
    assert_eq!(fees, mempool.fees());
    assert_eq!(mempool.bytes(), all.iter().map(|checked| u64::from(checked.size())).sum::<u64>());
    assert_eq!(mempool.memory_bytes(), entries.iter().map(|entry| entry.memory_bytes()).sum::<u64>());
    assert!(mempool.memory_bytes() <= mempool.max_memory_bytes());
    let own: Vec<TxId> = mempool.of_address(&address()).map(|entry| entry.transaction().txid()).collect();
    assert_eq!(own, all.iter().map(|checked| checked.txid()).collect::<Vec<_>>());
    for checked in &all {
        for input in &checked.transaction().inputs {
            assert_eq!(mempool.spender(input), Some(checked.txid()));
            assert_eq!(mempool.parents(&checked.txid()).contains(&input.txid), ids.contains(&input.txid));
        }
    }

    // Best first, feasible, and a block of it is valid.
    let best: Vec<TxId> = mempool.best().map(|entry| entry.transaction().txid()).collect();
    assert_eq!(best.len(), ids.len());
    let mut placed = HashSet::new();
    for txid in best {
        assert!(mempool.parents(&txid).iter().all(|parent| placed.contains(parent)), "parents come first");
        placed.insert(txid);
    }
    let packages: Vec<miner::Package> = mempool.packages().collect();
    let mut other = world.fork();
    let block = other.solved(packages);
    assert_eq!(block.transactions.len(), ids.len(), "there is room for all");
    other.submit(&block);
}

/// How a random payment is made: which coins it spends, known ones by number.
#[derive(Clone, Debug)]
struct Payment {
    coins: Vec<prop::sample::Index>,
    ways: usize,
    fee: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Pay(Vec<Payment>),
    Mine { with: bool },
    Revert { depth: usize },
    Reconsider,
    Restart,
}

fn payment() -> impl Strategy<Value = Payment> {
    let coins = prop::collection::vec(any::<prop::sample::Index>(), 1..3);
    (coins, 1_usize..4, 1_u64..40).prop_map(|(coins, ways, fee)| Payment { coins, ways, fee: fee * 500 })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(payment(), 1..5).prop_map(Step::Pay),
        2 => any::<bool>().prop_map(|with| Step::Mine { with }),
        1 => (1_usize..4).prop_map(|depth| Step::Revert { depth }),
        1 => Just(Step::Reconsider),
        1 => Just(Step::Restart),
    ]
}

struct Story {
    world: World,
    model: Model,
    coins: Vec<Spendable>,
    invalid: Vec<BlockHash>,
    first_height: Height,
}

impl Story {
    fn new() -> Self {
        let mut world = World::new();
        let coins = world.fund(6);
        let first_height = world.ledger.tip().id.height;
        Self { world, model: Model::default(), coins, invalid: Vec::new(), first_height }
    }

    fn pay(&mut self, payments: &[Payment]) {
        let mut batch: Vec<Transaction> = Vec::new();
        for Payment { coins, ways, fee } in payments {
            let picked: BTreeSet<usize> = coins.iter().map(|pick| pick.index(self.coins.len())).collect();
            let coins: Vec<Spendable> = picked.into_iter().map(|place| self.coins[place]).collect();
            let transaction = pay(&self.world, &coins, *ways, *fee);
            if !batch.iter().any(|other| other.txid() == transaction.txid()) {
                // Coins of what may be refused are tried as well.
                self.coins.extend(outputs(&transaction));
                batch.push(transaction);
            }
        }
        let before: Vec<Arc<CheckedTransaction>> = self.model.waiting.clone();
        let outcomes = self.world.send_all(&batch);
        for (transaction, outcome) in batch.into_iter().zip(outcomes) {
            match outcome {
                Ok(txid) => {
                    let chain = self.world.ledger.chain();
                    let checked = CheckedTransaction::check(transaction, chain).expect("it was taken");
                    assert_eq!(txid, checked.txid());
                    self.model.add(&Arc::new(checked));
                }
                Err(AcceptError::Storage(error)) => panic!("{error}"),
                Err(AcceptError::Known) => assert!(before.iter().any(|old| old.txid() == transaction.txid())),
                Err(_) => {}
            }
        }
    }

    fn follow(&mut self, update: &Update) {
        self.world.mempool.follow(update, &self.world.ledger, self.world.now).expect("memory does not fail");
        self.model.follow(&self.world, update);
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Pay(payments) => self.pay(payments),
            Step::Mine { with } => {
                let packages = if *with { self.world.mempool.packages().collect() } else { Vec::new() };
                let block = self.world.solved(packages);
                let update = self.world.submit(&block);
                self.model.follow(&self.world, &update);
            }
            Step::Revert { depth } => {
                let tip = self.world.ledger.tip().id.height;
                let above = usize::try_from(tip.since(self.first_height).unwrap_or(0)).expect("small");
                let Some(down) = above.min(*depth).checked_sub(1) else { return };
                let height = Height::new(tip.get() - u32::try_from(down).expect("small"));
                let id = self.world.ledger.active(height).expect("on the chain");
                let hash = self.world.ledger.tree().node(id).hash();
                let update = self.world.ledger.invalidate(&hash).expect("a known block");
                self.invalid.push(hash);
                self.follow(&update);
            }
            Step::Reconsider => {
                let Some(hash) = self.invalid.pop() else { return };
                let update = self.world.ledger.reconsider(&hash).expect("a known block");
                self.follow(&update);
            }
            Step::Restart => {
                let chain = self.world.ledger.chain().id();
                let bytes = self.world.mempool.to_bytes(&chain);
                let saved = super::super::file::from_bytes(&bytes, &chain).expect("our own file");
                self.world.mempool = super::super::Mempool::new(self.world.mempool.max_memory_bytes());
                let (ledger, now) = (&self.world.ledger, self.world.now);
                let restored = self.world.mempool.restore(saved, ledger, now).expect("memory does not fail");
                // What came back from blocks and pays less than the floor is not restored.
                assert_eq!(restored.taken + restored.dropped, self.model.waiting.len());
                let here = &self.world.mempool;
                self.model.take_with_descendants(|checked| here.get(&checked.txid()).is_none());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn m07_after_anything_the_mempool_is_what_is_valid_on_the_tip(
        steps in prop::collection::vec(step(), 1..24)
    ) {
        let mut story = Story::new();
        for step in &steps {
            story.play(step);
            compare(&mut story.world, &mut story.model);
        }
    }

    /// C25: whatever waits and however small a block is, a template of it keeps all rules, and holds chunks whole.
    #[test]
    fn c25_a_template_of_any_mempool_is_a_valid_block(
        payments in prop::collection::vec(payment(), 1..40),
        max_block_bytes in 2_000_u32..6_000,
        max_block_signatures in 2_u32..20,
    ) {
        let params = chain::params::Params {
            max_block_bytes, max_block_signatures, maturity_blocks: 2, ..chain::params::Params::dev()
        };
        let mut world = World::with(params, 10_000_000);
        let coins = world.fund(6);
        let first_height = world.ledger.tip().id.height;
        let mut story = Story { world, model: Model::default(), coins, invalid: Vec::new(), first_height };
        for payment in &payments {
            story.pay(std::slice::from_ref(payment));
        }
        let mut rounds = 0;
        while !story.world.mempool.is_empty() {
            let before = story.world.mempool.len();
            let chunks: Vec<Vec<TxId>> = story.world.mempool.packages()
                .map(|package| package.candidates.iter().map(|candidate| candidate.transaction.txid()).collect())
                .collect();
            let block = story.world.mine();
            let mined: HashSet<TxId> = block.transactions.iter().map(|transaction| transaction.txid()).collect();
            for chunk in chunks {
                let inside = chunk.iter().filter(|txid| mined.contains(txid)).count();
                prop_assert!(inside == 0 || inside == chunk.len(), "a chunk is whole or not there");
            }
            prop_assert!(story.world.mempool.len() < before, "every chunk fits into an empty block");
            rounds += 1;
        }
        prop_assert!(rounds <= payments.len());
    }
}
