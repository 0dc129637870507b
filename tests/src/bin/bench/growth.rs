//! What connecting a payment costs when there are ever more coins.

use std::error::Error;

use crate::{
    Bench,
    connect::{PAYMENTS_A_BLOCK, chain, merge_share, put_connect},
    forge::Forge,
    funding::Funding,
    house::{Files, House, Indexes},
    payments::{FEE, Spendable, pay_all, scatter},
    say,
};

/// Payments that are connected at each size.
const PAYMENTS: usize = 100_000;
/// Outputs of the transactions that make the coins.
const OUTPUTS: usize = 20;
/// The sizes, and the figures of each.
const SIZES: [(&str, &str, usize); 3] = [
    ("connect_1m_per_verify", "merge_1m_per_verify", 1_000_000),
    ("connect_4m_per_verify", "merge_4m_per_verify", 4_000_000),
    ("connect_10m_per_verify", "merge_10m_per_verify", 10_000_000),
];

/// At which size a coin is spent: at each size it is every so-many-th of all coins that there are then.
fn spent_at(number: usize) -> Option<usize> {
    (0..)
        .zip(SIZES)
        .find(|(at, (_, _, coins))| *coins > number && number % (coins / PAYMENTS) == *at)
        .map(|(at, _)| at)
}

/// Measures at each size, on one chain that grows.
pub fn measure(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let chain = chain()?;
    let mut forge = Forge::new(&chain);
    let folder = tempfile::tempdir()?;
    let mut house = House::open(folder.path(), &chain, Indexes::Off)?;
    let mut spendable: Vec<Spendable> = Vec::new();
    let mut coins = 0;
    for (at, (name, merge_name, size)) in (0..).zip(SIZES) {
        say(&format!("  making coins up to {size} ..."));
        let funding = Funding {
            coins: coins..size,
            outputs: OUTPUTS,
            is_spendable: &|number| spent_at(number).is_some(),
        };
        let submit = &mut |block: Vec<u8>| house.submit(&[block]);
        spendable.extend(funding.make(&mut forge, submit)?);
        coins = size;
        let mut now = Vec::new();
        for coin in &spendable {
            if spent_at(usize::try_from(coin.key)?) == Some(at) {
                now.push(*coin);
            }
        }
        let payments = pay_all(&chain, &scatter(&now), |_| FEE)?;
        let blocks = forge.blocks(&payments, PAYMENTS_A_BLOCK)?;
        house.merge(Files::Coins)?;
        house = house.reopen()?;
        say("  connecting ...");
        let (unit, _) = put_connect(bench, name, &mut house, &blocks, payments.len())?;
        let merge = merge_share(unit, &mut house, Files::Coins, payments.len())?;
        bench.put(merge_name, merge);
    }
    Ok(())
}
