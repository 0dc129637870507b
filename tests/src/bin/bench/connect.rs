//! Connecting blocks of which nothing is known: the cost of catching up, and what it leaves on the disk.

use std::error::Error;

use chain::{genesis::Chain, params::Params};
use node::store::MergedFiles;
use tempfile::TempDir;

use crate::{
    Bench, cpu,
    cpu::{Taken, Unit},
    forge::Forge,
    funding::Funding,
    house::{BLOCKS_AT_ONCE, Files, House, Indexes},
    payments::{FEE, Spendable, pay_all, scatter},
    say,
};

/// Coins in the UTXO set below the payments that are measured.
const COINS: usize = 1_000_000;
/// Outputs of the transactions that make those coins: as many as most payments have.
const OUTPUTS: usize = 2;
/// Payments that are connected: one input, two outputs.
const PAYMENTS: usize = 200_000;
/// Payments of a block.
pub const PAYMENTS_A_BLOCK: usize = 5_000;

/// A chain with a million coins and payments on top of them, and a ledger that has connected it.
pub struct World {
    /// What makes the next block.
    pub forge: Forge,
    /// The ledger.
    pub house: House,
    /// Coins that were not spent yet, each with a key.
    pub coins: Vec<Spendable>,
    funding: Vec<Vec<u8>>,
    payments: Vec<Vec<u8>>,
    _folder: TempDir,
}

/// A chain on which blocks cost nothing and rewards can be spent in the next block.
pub fn chain() -> Result<Chain, Box<dyn Error>> {
    Ok(Chain::mine(Params { half_life_secs: 0, maturity_blocks: 1, ..Params::dev() })?)
}

/// Notes what it costs to connect blocks from bytes, some together, each of so many payments in all; flushes and
/// what they have the database do included.
pub fn put_connect(
    bench: &mut Bench,
    name: &'static str,
    house: &mut House,
    blocks: &[Vec<u8>],
    payments: usize,
) -> Result<(Unit, Taken), Box<dyn Error>> {
    let parts = blocks.chunks(BLOCKS_AT_ONCE).map(Some).chain([None]);
    bench.put_per_verify(name, payments, parts, |part| match part {
        Some(blocks) => house.submit(blocks),
        None => house.settle(),
    })
}

/// What merging files costs each of `payments` that have just been connected: the share of it that those files
/// have which they made, where the database merges when as many wait as it allows.
pub fn merge_share(
    unit: Unit,
    house: &mut House,
    files: Files,
    payments: usize,
) -> Result<f64, Box<dyn Error>> {
    house.settle()?;
    let (taken, merged) = cpu::of(|| house.merge(files));
    let MergedFiles { files, most } = merged?;
    Ok(unit.per_piece(taken, payments)? * f64::from(files) / f64::from(most))
}

impl World {
    /// Makes the chain, and measures.
    pub fn measure(bench: &mut Bench) -> Result<Self, Box<dyn Error>> {
        say("  making a million coins ...");
        let chain = chain()?;
        let mut forge = Forge::new(&chain);
        let folder = tempfile::tempdir()?;
        let mut house = House::open(folder.path(), &chain, Indexes::Off)?;
        let mut funding = Vec::new();
        let spec = Funding { coins: 0..COINS, outputs: OUTPUTS, is_spendable: &|number| number % 2 == 0 };
        let mut coins = scatter(&spec.make(&mut forge, &mut |block| {
            house.submit(std::slice::from_ref(&block))?;
            funding.push(block);
            Ok(())
        })?);
        let rest = coins.split_off(PAYMENTS);
        let payments = pay_all(&chain, &coins, |_| FEE)?;
        let payments = forge.blocks(&payments, PAYMENTS_A_BLOCK)?;

        let mut house = house.reopen()?;
        let (count, coin_bytes) = house.coins()?;
        let bytes = house.disk_bytes()?;
        bench.put_ratio("coin_bytes", coin_bytes, count)?;
        // To count the coins was to read them all. All runs begin with merged files.
        house.merge(Files::Coins)?;
        house = house.reopen()?;
        say("  connecting ...");
        let (unit, taken) = put_connect(bench, "connect_cold_per_verify", &mut house, &payments, PAYMENTS)?;
        let per_sec = f64::from(u32::try_from(PAYMENTS)?) / taken.wall.as_secs_f64();
        bench.put("connect_cold_per_sec", per_sec);
        let merge = merge_share(unit, &mut house, Files::Coins, PAYMENTS)?;
        bench.put("merge_coins_per_verify", merge);

        house = house.reopen()?;
        let grown = house.disk_bytes()?.saturating_sub(bytes);
        let coins_grown = house.coins()?.1.saturating_sub(coin_bytes);
        bench.put_ratio("payment_bytes", grown.saturating_sub(coins_grown), PAYMENTS as u64)?;
        Ok(Self { forge, house, coins: rest, funding, payments, _folder: folder })
    }
}

/// The same blocks once more, with indexes.
pub fn measure_indexed(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let world = bench.take_world()?;
    let folder = tempfile::tempdir()?;
    let mut house = House::open(folder.path(), world.forge.chain(), Indexes::On)?;
    house.submit(&world.funding)?;
    let mut house = house.reopen()?;
    say("  connecting with indexes ...");
    let bytes = house.disk_bytes()?;
    let coins_bytes = house.coins()?.1;
    house.merge(Files::Coins)?;
    house.merge(Files::Index)?;
    house = house.reopen()?;
    let name = "connect_cold_indexed_per_verify";
    let (unit, _) = put_connect(bench, name, &mut house, &world.payments, PAYMENTS)?;
    house = house.reopen()?;
    let grown = house.disk_bytes()?.saturating_sub(bytes);
    let coins_grown = house.coins()?.1.saturating_sub(coins_bytes);
    let merge = merge_share(unit, &mut house, Files::Index, PAYMENTS)?;
    bench.put("merge_index_per_verify", merge);
    bench.put_ratio("payment_indexed_bytes", grown.saturating_sub(coins_grown), PAYMENTS as u64)?;
    bench.world = Some(world);
    Ok(())
}
