//! The first blocks of a devnet, mined before its nodes start, so that every wallet has a coin to spend at once.
//!
//! Real proof of work at the difficulty that suits the nodes' throttled hash rate, at back-dated times exactly
//! one spacing apart, so that the difficulty schedule is met to the second and the nodes' own blocks come as
//! often as the spacing says from the first one on.

use std::{
    num::NonZeroUsize,
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use chain::{
    address::Address,
    block::{Block, Header},
    error::SubmitError,
    genesis::{Chain, GenesisError, genesis_block},
    height::Height,
    ledger::{Ledger, OpenError},
    memory::MemoryStore,
    params::{Params, ParamsError},
    pow::Target,
    time::Time,
    transaction::FREE_RUN_BYTES,
};
use miner::{
    Template, TemplateError, TemplateRequest,
    midstate::Midstate,
    search::{ALL_NONCES, Cursor, Gate, Search, SearchError},
};
use parking_lot::Mutex;
use thiserror::Error;

/// Why there are no first blocks.
#[derive(Debug, Error)]
pub enum PremineError {
    /// The chain cannot be made.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The threads that search could not be started.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// No block can stand on the one before.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The chain's own rules refuse a block.
    #[error("a first block is refused: {0}")]
    Refused(#[from] SubmitError),
    /// A ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// Every nonce of every extranonce was tried.
    #[error("no nonce solves the first block at height {0}")]
    Unsolvable(Height),
    /// The devnet was told to end meanwhile.
    #[error("ended while the first blocks were being mined")]
    Cancelled,
}

/// Makes the chain with these parameters, searching its genesis nonce on all cores.
///
/// # Errors
/// [`PremineError`]; [`PremineError::Cancelled`] soon after `cancelled` was set.
pub fn mine_genesis(params: Params, cancelled: &AtomicBool) -> Result<Chain, PremineError> {
    params.check().map_err(GenesisError::from)?;
    let target = params.initial_bits.to_target().map_err(|_| GenesisError::Params(ParamsError::Bits))?;
    // Rule G3: `Chain::new` holds the nonce against the block again.
    let header = genesis_block(&params, 0).header;
    let nonce = find_nonce(&new_search()?, &header, &target, cancelled)?.ok_or(GenesisError::NoNonce)?;
    Ok(Chain::new(params, nonce)?)
}

/// How many blocks: after them each of `wallets` wallets has a coinbase that the next block may spend.
#[must_use]
pub const fn first_blocks(maturity: u32, wallets: u32) -> u32 {
    maturity.saturating_add(wallets)
}

/// The time of the first block at `height`: one spacing after the one below.
#[must_use]
pub fn scheduled_time(chain: &Chain, height: u32) -> Time {
    let params = chain.params();
    params.genesis_time.saturating_add_secs(params.spacing_secs.saturating_mul(height))
}

/// Mines `count` blocks on the genesis block; the block at height `h` pays the wallet `(h - 1) mod n` of the `n`
/// in `payees`. `on_block` hears how many there are after each.
///
/// # Errors
/// [`PremineError`]; [`PremineError::Cancelled`] soon after `cancelled` was set.
pub fn mine(
    chain: &Chain,
    payees: &[Address],
    count: u32,
    cancelled: &AtomicBool,
    mut on_block: impl FnMut(u32),
) -> Result<Vec<Block>, PremineError> {
    let search = new_search()?;
    let mut ledger = Ledger::open(chain.clone(), MemoryStore::default())?;
    let mut blocks = Vec::new();
    for (height, payee) in (1..=count).zip(payees.iter().cycle()) {
        let time = scheduled_time(chain, height);
        let tip = ledger.tip();
        let request = TemplateRequest {
            params: chain.params(),
            previous: tip.id.hash,
            height: Height::new(height),
            bits: ledger.next_bits(),
            median_time_past: tip.median_time_past,
            now: time,
            pay_to: *payee,
            free_run: [0; FREE_RUN_BYTES],
        };
        let block = solve(&search, &Template::new(&request, Vec::<miner::Package>::new())?, cancelled)?;
        ledger.submit(block.clone(), time)?;
        blocks.push(block);
        on_block(height);
    }
    Ok(blocks)
}

struct UntilCancelled<'a>(&'a AtomicBool);

impl Gate for UntilCancelled<'_> {
    fn admit(&self, want: u64) -> Option<u64> {
        (!self.0.load(Ordering::Relaxed)).then_some(want)
    }

    fn record(&self, _tested: u64) {}
}

/// All cores: nothing else is running yet.
fn new_search() -> Result<Search, SearchError> {
    Search::new(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
}

/// The block of the lowest extranonce with which one was found; its time stays the scheduled one.
fn solve(search: &Search, template: &Template, cancelled: &AtomicBool) -> Result<Block, PremineError> {
    for extranonce in 0..u64::MAX {
        let header = template.header_with(0, template.time, extranonce);
        if let Some(nonce) = find_nonce(search, &header, &template.target, cancelled)? {
            return Ok(template.solve_with(nonce, template.time, extranonce));
        }
    }
    Err(PremineError::Unsolvable(template.height))
}

/// A nonce that solves the header; `None` where none does.
fn find_nonce(
    search: &Search,
    header: &Header,
    target: &Target,
    cancelled: &AtomicBool,
) -> Result<Option<u32>, PremineError> {
    let solution = Mutex::new(None);
    let on_solution = |nonce| {
        solution.lock().get_or_insert(nonce);
        ControlFlow::Break(())
    };
    search.run(
        &Midstate::new(&header.to_bytes()),
        &target.to_be_bytes(),
        &Cursor::new(&ALL_NONCES),
        search.threads(),
        &UntilCancelled(cancelled),
        &on_solution,
    );
    match solution.into_inner() {
        None if cancelled.load(Ordering::Relaxed) => Err(PremineError::Cancelled),
        nonce => Ok(nonce),
    }
}

#[cfg(test)]
mod tests {
    use chain::{
        check::SpendContext,
        pow::CompactTarget,
        transaction::{Destination, OutPoint},
    };

    use super::*;

    fn chain() -> Chain {
        let initial_bits = Target::from_expected_hashes(1_000).to_compact();
        let params = Params { initial_bits, maturity_blocks: 3, ..Params::dev() };
        mine_genesis(params, &AtomicBool::new(false)).expect("good parameters")
    }

    #[test]
    fn after_the_first_blocks_each_wallet_has_one_spendable_coin() {
        let chain = chain();
        let payees: Vec<Address> = (1..=4).map(|byte| Address::from_bytes([byte; 32])).collect();
        let count = first_blocks(chain.params().maturity_blocks, 4);
        let mut heard = Vec::new();
        let blocks =
            mine(&chain, &payees, count, &AtomicBool::new(false), |done| heard.push(done)).expect("mined");
        assert_eq!(heard, (1..=7).collect::<Vec<_>>());
        let mut ledger = Ledger::open(chain.clone(), MemoryStore::default()).expect("empty");
        for (height, block) in (1..).zip(&blocks) {
            assert_eq!(block.header.time, scheduled_time(&chain, height));
            assert_eq!(block.header.bits, chain.params().initial_bits, "on schedule to the second");
            let work: CompactTarget = block.header.bits;
            assert!(work.to_target().expect("a target").is_met_by(&block.hash()), "real proof of work");
            ledger.submit(block.clone(), block.header.time).expect("valid");
        }
        let SpendContext { height: next, .. } = ledger.next_spend_context();
        let mature = |payee: &Address| {
            let pays = |block: &&Block| block.coinbase.outputs[0].to == Destination::Address(*payee);
            let old = |block: &&Block| next.get() - block.coinbase.height.get() >= 3;
            blocks.iter().filter(pays).filter(old).count()
        };
        for payee in &payees {
            assert!(mature(payee) >= 1);
        }
        let coins = ledger.store().utxo_set();
        let first = OutPoint { txid: blocks[0].coinbase.txid(), index: 0 };
        assert_eq!((coins.len(), coins[&first].coinbase), (7, true));
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let payees = [Address::from_bytes([1; 32])];
        let ended = mine(&chain(), &payees, 1, &AtomicBool::new(true), |_| {});
        assert!(matches!(ended, Err(PremineError::Cancelled)), "{ended:?}");
        let ended = mine_genesis(Params::main(), &AtomicBool::new(true));
        assert!(matches!(ended, Err(PremineError::Cancelled)), "{ended:?}");
    }
}
