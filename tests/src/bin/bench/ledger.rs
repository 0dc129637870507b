//! Connecting blocks, accepting transactions, making templates: on a real store, process CPU time.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use chain::{
    address::Address,
    amount::Amount,
    block::Block,
    check::CheckedTransaction,
    genesis::Chain,
    ledger::Ledger,
    params::Params,
    policy::{Policy, PublicKey, Witness},
    signature::signature_message,
    time::Time,
    transaction::{FREE_RUN_BYTES, OutPoint, Output, Transaction},
};
use ed25519_dalek::{Signer, SigningKey};
use miner::{Candidate, Template, TemplateRequest};
use node::{
    engine::{Engine, Now},
    live::mining::template,
    store::{RocksStore, StoreOptions},
};

use crate::{Figures, cpu};

/// Coins in the UTXO set below the payments that are measured.
const COINS: usize = 1_000_000;
/// Payments that are connected: one input, two outputs.
const PAYMENTS: usize = 200_000;
/// Transactions that wait when a template is made.
const WAITING: usize = 50_000;
/// Outputs of a transaction that makes coins, so that a block of it stays below the byte limit.
const FAN_OUT: usize = 40_000;
/// Payments of a block: below the byte and the signature limit.
const PAYMENTS_A_BLOCK: usize = 6_000;

type Failure = Box<dyn Error>;
type Spendable = (OutPoint, Amount);

struct Bench {
    chain: Chain,
    engine: Engine<RocksStore>,
    key: SigningKey,
    wall: Time,
    blocks: u64,
    _folder: tempfile::TempDir,
}

fn now(wall: Time) -> Now {
    Now { wall, monotonic_ms: 0 }
}

impl Bench {
    fn new() -> Result<Self, Failure> {
        let chain = Chain::mine(Params { half_life_secs: 0, maturity_blocks: 1, ..Params::dev() })?;
        let folder = tempfile::tempdir()?;
        let store = RocksStore::open(folder.path(), &chain, &StoreOptions::default())?;
        let engine = Engine::new(Ledger::open(chain.clone(), store)?, "/bench/".into());
        let wall = chain.genesis().header.time.saturating_add_secs(100_000_000);
        let key = SigningKey::from_bytes(&[7; 32]);
        Ok(Self { chain, engine, key, wall, blocks: 0, _folder: folder })
    }

    fn policy(&self) -> Policy {
        Policy::Pk(PublicKey(self.key.verifying_key().to_bytes()))
    }

    fn address(&self) -> Address {
        Address::of_policy(&self.policy())
    }

    /// A transaction that splits one coin into `ways` equal ones.
    fn split(&self, coin: &Spendable, ways: usize, fee: u64) -> Result<Transaction, Failure> {
        let address = self.address();
        let share = (coin.1.pebbles().checked_sub(fee).ok_or("too small a coin")?) / ways as u64;
        let outputs = vec![Output::pay(address, Amount::from_pebbles(share)); ways];
        let mut transaction = Transaction { inputs: vec![coin.0], outputs, witnesses: Vec::new() };
        let spent = [Output::pay(address, coin.1)];
        let message = signature_message(&self.chain.id(), &transaction.id_preimage(), &spent);
        let key = PublicKey(self.key.verifying_key().to_bytes());
        transaction.witnesses = vec![Witness::signed(key, self.key.sign(&message).to_bytes())];
        Ok(transaction)
    }

    /// A solved block on the tip with these transactions.
    fn block(&mut self, transactions: Vec<Transaction>) -> Result<Block, Failure> {
        let check = |transaction| {
            let checked = CheckedTransaction::check(transaction, &self.chain)?;
            Ok::<_, Failure>(Candidate { transaction: Arc::new(checked), fee: Amount::ZERO })
        };
        let candidates: Vec<Candidate> = transactions.into_iter().map(check).collect::<Result<_, _>>()?;
        let count = candidates.len();
        self.blocks += 1;
        let ledger = self.engine.ledger();
        let tip = ledger.tip();
        let mut free_run = [0; FREE_RUN_BYTES];
        free_run[8..16].copy_from_slice(&self.blocks.to_le_bytes());
        let request = TemplateRequest {
            params: self.chain.params(),
            previous: tip.id.hash,
            height: ledger.next_spend_context().height,
            bits: ledger.next_bits(),
            median_time_past: tip.median_time_past,
            now: self.wall,
            pay_to: self.address(),
            free_run,
        };
        let template = Template::new(&request, candidates)?;
        if template.transactions.len() != count {
            return Err("a block is full: fewer payments a block are needed".into());
        }
        let mut header = template.header_with(0, template.time, 0);
        while !template.target.is_met_by(&header.hash()) {
            header.nonce += 1;
        }
        Ok(template.solve_with(header.nonce, template.time, 0))
    }

    fn submit(&mut self, block: Block) -> Result<(), Failure> {
        let hash = block.hash();
        let update = self.engine.submit_block(block, now(self.wall))?;
        self.engine.drain();
        match update.refusal(&hash) {
            None => Ok(()),
            Some(error) => Err(error.to_string().into()),
        }
    }

    fn reward(block: &Block) -> Result<Spendable, Failure> {
        let output = block.coinbase.outputs.first().ok_or("a block without a reward")?;
        Ok((OutPoint { txid: block.coinbase.txid(), index: 0 }, output.amount))
    }

    /// Makes `count` coins.
    fn fund(&mut self, count: usize) -> Result<Vec<Spendable>, Failure> {
        let mut coins = Vec::with_capacity(count + FAN_OUT);
        let first = self.block(Vec::new())?;
        let mut reward = Self::reward(&first)?;
        self.submit(first)?;
        while coins.len() < count {
            let transaction = self.split(&reward, FAN_OUT, 0)?;
            let (txid, share) = (transaction.txid(), transaction.outputs[0].amount);
            coins.extend((0..).take(FAN_OUT).map(|index| (OutPoint { txid, index }, share)));
            let block = self.block(vec![transaction])?;
            reward = Self::reward(&block)?;
            self.submit(block)?;
        }
        coins.truncate(count);
        Ok(coins)
    }
}

/// Microseconds of one strict verification with ed25519-dalek: the unit of the other figures.
fn verify_unit(key: &SigningKey) -> Result<Duration, Failure> {
    let signature = key.sign(b"unit");
    let verifying = key.verifying_key();
    let rounds = 5_000;
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let (time, outcome) = cpu::of(|| {
            (0..rounds).try_for_each(|_| std::hint::black_box(&verifying).verify_strict(b"unit", &signature))
        });
        outcome?;
        best = best.min(time / rounds);
    }
    Ok(best)
}

fn per_unit(time: Duration, count: usize, unit: Duration) -> Result<f64, Failure> {
    Ok(time.as_secs_f64() / f64::from(u32::try_from(count)?) / unit.as_secs_f64())
}

/// Picks that are spread over all coins, the same in each run.
fn spread(coins: &[Spendable], count: usize) -> Vec<Spendable> {
    // 611,953 is prime, so that the steps visit every coin before any twice.
    (0..count).map(|step| coins[(step * 611_953) % coins.len()]).collect()
}

/// Measures connecting, accepting and making templates.
pub fn measure(figures: &mut Figures) -> Result<(), Failure> {
    let mut bench = Bench::new()?;
    let unit = verify_unit(&bench.key)?;
    figures.insert("verify_strict_us", unit.as_secs_f64() * 1e6);
    let coins = bench.fund(COINS)?;
    let picks = spread(&coins, PAYMENTS + WAITING);
    let (to_connect, to_wait) = picks.split_at(PAYMENTS);

    let mut spent = Duration::ZERO;
    for batch in to_connect.chunks(PAYMENTS_A_BLOCK) {
        let payments: Result<Vec<_>, _> = batch.iter().map(|coin| bench.split(coin, 2, 0)).collect();
        let block = bench.block(payments?)?;
        let (time, outcome) = cpu::of(|| bench.submit(block));
        outcome?;
        spent += time;
    }
    figures.insert("connect_cold_per_verify", per_unit(spent, PAYMENTS, unit)?);
    figures.insert("connect_payments", f64::from(u32::try_from(PAYMENTS)?));
    figures.insert("connect_coins", f64::from(u32::try_from(COINS)?));

    let mut waiting = Vec::with_capacity(WAITING);
    for (fee, coin) in (0..).zip(to_wait) {
        // Fee rates from 1 to about 20 times the floor, in no order.
        waiting.push(bench.split(coin, 2, 300 + (fee * 7_919) % 6_000)?);
    }
    let wall = bench.wall;
    let (time, outcome) = cpu::of(|| {
        waiting
            .into_iter()
            .try_for_each(|transaction| bench.engine.submit_transaction(transaction, now(wall)).map(drop))
    });
    outcome?;
    bench.engine.drain();
    figures.insert("accept_per_verify", per_unit(time, WAITING, unit)?);

    let address = bench.address();
    let mut times = Vec::new();
    for round in 0..5 {
        let empty = bench.block(Vec::new())?;
        bench.submit(empty)?;
        let started = Instant::now();
        let made = template(&bench.engine, address, round, now(bench.wall))?;
        times.push(started.elapsed());
        std::hint::black_box(made);
    }
    times.sort_unstable();
    figures.insert("template_ms", times[times.len() / 2].as_secs_f64() * 1e3);
    Ok(())
}
