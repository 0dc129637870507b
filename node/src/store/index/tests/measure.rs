//! What the index costs: run by hand, in an optimised build, with `--run-ignored only`.

use std::sync::Arc;

use chain::{
    address::Address,
    amount::Amount,
    block::{Block, Header},
    genesis::Chain,
    hash::{TxId, sha256},
    height::Height,
    ledger::BlockId,
    params::Params,
    policy::{Policy, Satisfaction, Witness},
    time::Time,
    transaction::{Coinbase, FREE_RUN_BYTES, OutPoint, Output, Transaction},
    utxo::{Coin, Undo},
};
use rustix::time::{ClockId, clock_gettime};

use super::super::{IndexBatch, IndexDb, IndexOptions, SourceBlock};

const PAYMENTS_PER_BLOCK: usize = 2_000;

fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1_000).expect("a positive time")
}

struct Maker {
    chain: Chain,
    tip: BlockId,
    seed: u64,
    coins: Vec<(OutPoint, Coin)>,
}

impl Maker {
    fn address(&mut self) -> Address {
        self.seed += 1;
        Address::from_bytes(sha256(&self.seed.to_le_bytes()))
    }

    fn random(&mut self, below: usize) -> usize {
        self.seed += 1;
        let hash = sha256(&self.seed.to_le_bytes());
        let number = u64::from_le_bytes(*hash.first_chunk().expect("32 bytes"));
        usize::try_from(number % below as u64).expect("below a usize")
    }

    fn block(&mut self, transactions: Vec<Arc<Transaction>>) -> (BlockId, SourceBlock) {
        let height = self.tip.height.next().expect("a low height");
        let mut free = [0; FREE_RUN_BYTES];
        free[..4].copy_from_slice(&height.get().to_le_bytes());
        let outputs = vec![Output::pay(self.address(), Amount::from_pebbles(50))];
        let coinbase = Coinbase { height, free, outputs };
        let header = Header {
            version: 1,
            previous: self.tip.hash,
            merkle_root: chain::hash::MerkleRoot::from_bytes([0; 32]),
            time: Time::from_secs(0),
            bits: self.chain.params().initial_bits,
            nonce: height.get(),
        };
        self.tip = BlockId { height, hash: header.hash() };
        (self.tip, SourceBlock::Stored(Box::new(Block { header, coinbase, transactions })))
    }

    /// A block that makes coins out of nothing.
    fn fill(&mut self, outputs: usize) -> (BlockId, SourceBlock, Undo) {
        let source = OutPoint { txid: TxId::from_bytes(*self.address().as_bytes()), index: 0 };
        let from = self.address();
        let coin = Coin {
            output: Output::pay(from, Amount::from_pebbles(1)),
            height: Height::ZERO,
            coinbase: false,
        };
        let outputs: Vec<Output> =
            (0..outputs).map(|_| Output::pay(self.address(), Amount::from_pebbles(1_000_000))).collect();
        let transaction = Transaction { inputs: vec![source], outputs, witnesses: Vec::new() };
        let height = self.tip.height.next().expect("a low height");
        let txid = transaction.txid();
        for (index, output) in (0..).zip(&transaction.outputs) {
            let coin = Coin { output: output.clone(), height, coinbase: false };
            self.coins.push((OutPoint { txid, index }, coin));
        }
        let (id, block) = self.block(vec![Arc::new(transaction)]);
        (id, block, vec![(source, coin)])
    }

    fn pay(&mut self) -> (BlockId, SourceBlock, Undo) {
        let mut undo = Undo::new();
        let mut transactions = Vec::new();
        for _ in 0..PAYMENTS_PER_BLOCK {
            let at = self.random(self.coins.len());
            let (outpoint, coin) = self.coins.swap_remove(at);
            let half = Amount::from_pebbles(1_000);
            let outputs = vec![Output::pay(self.address(), half), Output::pay(self.address(), half)];
            let witness =
                Witness { policy: Policy::Sha256([1; 32]), satisfaction: Satisfaction::Preimage([1; 32]) };
            let transaction = Transaction { inputs: vec![outpoint], outputs, witnesses: vec![witness] };
            transactions.push(Arc::new(transaction));
            undo.push((outpoint, coin));
        }
        let (id, block) = self.block(transactions);
        (id, block, undo)
    }
}

fn apply(database: &IndexDb, blocks: &[(BlockId, SourceBlock, Undo)], each: bool) -> (u64, u64) {
    let mut batch: IndexBatch<'_> = database.batch().expect("a batch");
    let (mut rows, mut write) = (0, 0);
    for (id, block, undo) in blocks {
        let start = cpu_us();
        batch.apply(*id, block, undo).expect("a block on the tip");
        rows += cpu_us() - start;
        if each || batch.is_full() {
            let start = cpu_us();
            batch.commit().expect("written");
            write += cpu_us() - start;
        }
    }
    let start = cpu_us();
    batch.commit().expect("written");
    (rows, write + cpu_us() - start)
}

fn settle(database: &IndexDb) {
    use super::super::schema::Family;
    for family in Family::ALL {
        database.db().flush_cf(database.family(family).expect("a family")).expect("flushed");
    }
    database.db().wait_for_compact(&rocksdb::WaitForCompactOptions::default()).expect("compacted");
}

fn variable(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
#[allow(clippy::print_stderr, clippy::print_stdout, reason = "the figures are what it is for")]
#[ignore = "a measurement"]
fn cost_of_a_payment() {
    let chain = Chain::mine(Params { name: "cost".into(), ..Params::dev() }).expect("the easiest target");
    let folder = tempfile::tempdir().expect("a folder");
    let options = IndexOptions {
        batch_bytes: variable("BATCH", IndexOptions::default().batch_bytes),
        write_buffer_bytes: variable("BUFFER", IndexOptions::default().write_buffer_bytes),
        ..IndexOptions::default()
    };
    let database = IndexDb::open(folder.path(), &chain, &options).expect("an index");
    let tip = BlockId { height: Height::ZERO, hash: chain.id() };
    let mut maker = Maker { chain, tip, seed: 1, coins: Vec::new() };
    let base = variable("BASE", 1_000_000);
    for _ in 0..base / 10_000 {
        let block = maker.fill(10_000);
        apply(&database, &[block], false);
    }
    settle(&database);
    let before = database.disk_bytes().expect("sizes");
    let blocks: Vec<_> = (0..variable("BLOCKS", 100)).map(|_| maker.pay()).collect();
    let payments = (blocks.len() * PAYMENTS_PER_BLOCK) as f64;
    let start = cpu_us();
    let (rows, write) = apply(&database, &blocks, variable("EACH", 0) == 1);
    let written = cpu_us() - start;
    settle(&database);
    let all = cpu_us() - start;
    let after = database.disk_bytes().expect("sizes");
    eprintln!(
        "{payments} payments on {base} coins: {:.2} us a payment: rows {:.2}, writes {:.2} (with what the \
         background did meanwhile {:.2}), rest {:.2}; base {before} bytes, {:.0} bytes a payment",
        all as f64 / payments,
        rows as f64 / payments,
        write as f64 / payments,
        written as f64 / payments,
        (all - written) as f64 / payments,
        (after - before) as f64 / payments,
    );
}
