//! Accepting transactions, making templates of them, and connecting blocks of transactions that wait.

use std::{error::Error, sync::Arc, time::Instant};

use chain::transaction::Transaction;

use crate::{
    Bench,
    connect::{PAYMENTS_A_BLOCK, World, put_connect},
    house::{Files, House},
    payments::pay_all,
    say,
};

/// Transactions that wait when a template is made; as many are accepted singly and as many in batches. No more
/// than there are verdicts in the ledger's memory.
const WAITING: usize = 50_000;
/// Transactions of a batch.
const BATCH: usize = 100;
/// Transactions after which the unit is measured again.
const A_PART: usize = 1_000;
/// Templates, of which the median counts.
const TEMPLATES: u64 = 9;
/// Transactions that are accepted where so many wait.
const MORE: usize = 5_000;
/// How many wait then.
const WAITING_THEN: [(&str, usize); 3] = [
    ("accept_10k_per_verify", 10_000),
    ("accept_50k_per_verify", 50_000),
    ("accept_200k_per_verify", 200_000),
];

/// Fee rates from 1 to about 20 times the floor, in no order.
fn fee(place: usize) -> u64 {
    300 + (place as u64 * 7_919) % 6_000
}

fn bytes_of(transactions: &[Arc<Transaction>]) -> Vec<Vec<u8>> {
    transactions.iter().map(|transaction| transaction.to_bytes()).collect()
}

/// Notes what it costs to accept each of these, one by one.
fn accept_singly(
    bench: &mut Bench,
    name: &'static str,
    house: &mut House,
    transactions: &[Arc<Transaction>],
) -> Result<(), Box<dyn Error>> {
    let bytes = bytes_of(transactions);
    bench.put_per_verify(name, bytes.len(), bytes.chunks(A_PART), |part| {
        part.iter().try_for_each(|bytes| house.accept(bytes))
    })?;
    Ok(())
}

/// Measures all of it, on the world's ledger.
pub fn measure(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let mut world = bench.take_world()?;
    let most = WAITING_THEN.iter().map(|(_, waiting)| *waiting).max().unwrap_or(0);
    let coins = world.coins.get(..most + MORE * WAITING_THEN.len()).ok_or("too few coins to spend")?;
    let transactions = pay_all(world.forge.chain(), coins, fee)?;
    let (waiting, more) = transactions.split_at(most);
    let (first, second) = waiting.get(..2 * WAITING).ok_or("too few payments")?.split_at(WAITING);
    // What was connected before is not to be in any memory.
    world.house = world.house.reopen()?;

    say("  accepting one by one ...");
    accept_singly(bench, "accept_per_verify", &mut world.house, first)?;
    say("  making templates ...");
    bench.put("template_ms", template_ms(&mut world)?);
    world.house.clear();
    say("  accepting in batches ...");
    let bytes = bytes_of(second);
    bench.put_per_verify("accept_batch_per_verify", WAITING, bytes.chunks(A_PART), |part| {
        part.chunks(BATCH).try_for_each(|batch| world.house.accept_batch(batch))
    })?;
    world.house.clear();

    say("  accepting where many wait ...");
    let mut filling = waiting;
    for ((name, then), more) in WAITING_THEN.into_iter().zip(more.chunks(MORE)) {
        let (fill, rest) = filling.split_at(then.saturating_sub(world.house.mempool.len()));
        world.house.fill(fill)?;
        filling = rest;
        accept_singly(bench, name, &mut world.house, more)?;
    }
    world.house.clear();

    say("  connecting what waits ...");
    let blocks = wait_in_blocks(&mut world, first)?;
    world.house.merge(Files::Coins)?;
    put_connect(bench, "connect_warm_per_verify", &mut world.house, &blocks, first.len())?;
    let blocks = wait_in_blocks(&mut world, second)?;
    world.house.merge(Files::Coins)?;
    let house = &mut world.house;
    let parts = blocks.iter().map(Some).chain([None]);
    bench.put_per_verify("connect_warm_each_per_verify", second.len(), parts, |part| match part {
        Some(block) => Ok(house.submit_one(block)?),
        None => house.settle(),
    })?;
    bench.world = Some(world);
    Ok(())
}

/// The median time of a template, each on a new tip, in milliseconds.
fn template_ms(world: &mut World) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::new();
    for number in 0..TEMPLATES {
        let empty = world.forge.block(Vec::new())?;
        world.house.submit_one(&empty)?;
        let started = Instant::now();
        let made = world.house.template(number)?;
        times.push(started.elapsed());
        drop(std::hint::black_box(made));
    }
    times.sort_unstable();
    Ok(times[times.len() / 2].as_secs_f64() * 1e3)
}

/// Has transactions wait, verified, and makes the blocks that hold them.
fn wait_in_blocks(
    world: &mut World,
    transactions: &[Arc<Transaction>],
) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    world.house.fill(transactions)?;
    world.house.settle()?;
    world.forge.blocks(transactions, PAYMENTS_A_BLOCK)
}
