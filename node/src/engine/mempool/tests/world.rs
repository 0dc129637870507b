//! A ledger in memory, a mempool over it, and keys to spend with.

use std::sync::Arc;

use chain::{
    address::Address,
    amount::Amount,
    block::Block,
    check::CheckedTransaction,
    genesis::Chain,
    hash::TxId,
    ledger::{Ledger, Update},
    memory::MemoryStore,
    params::Params,
    policy::{Policy, PublicKey, Witness},
    signature::signature_message,
    time::Time,
    transaction::{FREE_RUN_BYTES, OutPoint, Output, Transaction},
};
use ed25519_dalek::{Signer, SigningKey};
use miner::{Candidate, Package, Template, TemplateRequest};

use super::super::{AcceptError, MAX_MEMPOOL_MEMORY_BYTES, Mempool};

/// A coin and what it holds.
pub(super) type Spendable = (OutPoint, Amount);

pub(super) fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub(super) fn address() -> Address {
    Address::of_policy(&Policy::Pk(PublicKey(key().verifying_key().to_bytes())))
}

pub(super) struct World {
    pub(super) ledger: Ledger<MemoryStore>,
    pub(super) mempool: Mempool,
    pub(super) now: Time,
    blocks: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Params::dev(), MAX_MEMPOOL_MEMORY_BYTES)
    }

    /// A chain whose target never changes and whose coins mature at once unless `params` say otherwise.
    pub(super) fn with(params: Params, max_memory_bytes: u64) -> Self {
        let maturity_blocks = if params == Params::dev() { 1 } else { params.maturity_blocks };
        let params = Params { half_life_secs: 0, maturity_blocks, ..params };
        let chain = Chain::mine(params).expect("easy bits have a nonce");
        let now = chain.genesis().header.time.saturating_add_secs(1_000_000);
        let ledger = Ledger::open(chain, MemoryStore::default()).expect("an empty store");
        Self { ledger, mempool: Mempool::new(max_memory_bytes), now, blocks: 0 }
    }

    /// Another node of the same chain with the same blocks, and an empty mempool.
    pub(super) fn fork(&self) -> Self {
        let store = self.ledger.store().clone();
        let ledger = Ledger::open(self.ledger.chain().clone(), store).expect("a store of this chain");
        let mempool = Mempool::new(self.mempool.max_memory_bytes());
        Self { ledger, mempool, now: self.now, blocks: self.blocks + 1_000_000 }
    }

    fn template(&mut self, packages: Vec<Package>) -> Template {
        self.blocks += 1;
        let mut free_run = [0; FREE_RUN_BYTES];
        free_run[8..16].copy_from_slice(&self.blocks.to_le_bytes());
        let tip = self.ledger.tip();
        let request = TemplateRequest {
            params: self.ledger.chain().params(),
            previous: tip.id.hash,
            height: self.ledger.next_spend_context().height,
            bits: self.ledger.next_bits(),
            median_time_past: tip.median_time_past,
            now: self.now,
            pay_to: address(),
            free_run,
        };
        Template::new(&request, packages).expect("a template")
    }

    pub(super) fn solved(&mut self, packages: Vec<Package>) -> Block {
        let template = self.template(packages);
        let met =
            |nonce: &u32| template.target.is_met_by(&template.header_with(*nonce, template.time, 0).hash());
        let nonce = (0..=u32::MAX).find(met).expect("every second nonce solves");
        template.solve_with(nonce, template.time, 0)
    }

    pub(super) fn submit(&mut self, block: &Block) -> Update {
        let update = self.ledger.submit(block.clone(), self.now).expect("a block that is kept");
        assert_eq!(update.refused, []);
        self.mempool.follow(&update, &self.ledger, self.now).expect("memory does not fail");
        update
    }

    /// Mines the best of what waits.
    pub(super) fn mine(&mut self) -> Block {
        let packages = self.mempool.packages().collect();
        let block = self.solved(packages);
        self.submit(&block);
        block
    }

    pub(super) fn mine_empty(&mut self) -> Block {
        let block = self.solved(Vec::new());
        self.submit(&block);
        block
    }

    /// So many coins of equal worth, mined and mature.
    pub(super) fn fund(&mut self, count: usize) -> Vec<Spendable> {
        let block = self.mine_empty();
        for _ in 1..self.ledger.chain().params().maturity_blocks {
            self.mine_empty();
        }
        let split = pay(self, &[reward(&block)], count, 100_000);
        let coins = outputs(&split);
        let checked = CheckedTransaction::check(split, self.ledger.chain()).expect("a good payment");
        let candidate = Candidate { transaction: Arc::new(checked), fee: Amount::from_pebbles(100_000) };
        let block = self.solved(vec![candidate.into()]);
        assert_eq!(block.transactions.len(), 1);
        self.submit(&block);
        coins
    }

    pub(super) fn send(&mut self, transaction: Transaction) -> Result<TxId, AcceptError> {
        self.mempool.accept(transaction, &self.ledger, self.now)
    }

    pub(super) fn send_all(&mut self, transactions: &[Transaction]) -> Vec<Result<TxId, AcceptError>> {
        let shared = transactions.iter().cloned().map(Arc::new).collect();
        self.mempool.accept_batch(shared, &self.ledger, self.now)
    }

    pub(super) fn has(&self, transaction: &Transaction) -> bool {
        self.mempool.get(&transaction.txid()).is_some()
    }

    pub(super) fn pass(&mut self, secs: u32) {
        self.now = self.now.saturating_add_secs(secs);
    }
}

/// The coin that a block's coinbase pays.
pub(super) fn reward(block: &Block) -> Spendable {
    (OutPoint { txid: block.coinbase.txid(), index: 0 }, block.coinbase.outputs[0].amount)
}

/// The coins that a transaction makes.
pub(super) fn outputs(transaction: &Transaction) -> Vec<Spendable> {
    let txid = transaction.txid();
    (0..).zip(&transaction.outputs).map(|(index, output)| (OutPoint { txid, index }, output.amount)).collect()
}

/// Signs for all inputs, which belong to [`key`].
pub(super) fn sign(world: &World, coins: &[Spendable], outputs: Vec<Output>) -> Transaction {
    let spent: Vec<Output> = coins.iter().map(|(_, amount)| Output::pay(address(), *amount)).collect();
    let inputs = coins.iter().map(|(outpoint, _)| *outpoint).collect();
    let mut transaction = Transaction { inputs, outputs, witnesses: Vec::new() };
    let message = signature_message(&world.ledger.chain().id(), &transaction.id_preimage(), &spent);
    let public = PublicKey(key().verifying_key().to_bytes());
    let signature = key().sign(&message).to_bytes();
    transaction.witnesses = coins.iter().map(|_| Witness::signed(public, signature)).collect();
    transaction
}

/// A payment of all that `coins` hold, but the fee, to `ways` equal outputs.
pub(super) fn pay(world: &World, coins: &[Spendable], ways: usize, fee: u64) -> Transaction {
    let sum: u64 = coins.iter().map(|(_, amount)| amount.pebbles()).sum();
    let count = u64::try_from(ways).expect("a small number");
    let share = (sum - fee) / count;
    // What does not divide goes to the first, so that the fee is exact.
    let first = sum - fee - share * (count - 1);
    let amounts = std::iter::once(first).chain(std::iter::repeat_n(share, ways - 1));
    let outputs = amounts.map(|amount| Output::pay(address(), Amount::from_pebbles(amount))).collect();
    sign(world, coins, outputs)
}

/// The size of a payment of one coin to one output.
pub(super) fn payment_bytes(world: &World, coin: Spendable) -> u64 {
    u64::try_from(pay(world, &[coin], 1, 1_000).to_bytes().len()).expect("small")
}
