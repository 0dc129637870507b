//! Chains that leave, enter and are audited, and what becomes of damaged files and stores.

mod auditing;
mod moving;

use chain::{
    address::Address,
    block::{Block, Header},
    genesis::{Chain, TEMPLATE_VERSION},
    hash::{sha256, sha256d},
    height::Height,
    ledger::Ledger,
    memory::MemoryStore,
    merkle::root_and_mutation,
    params::Params,
    policy::{Policy, Satisfaction, Witness},
    store::Store,
    subsidy::subsidy,
    time::Time,
    transaction::{Coinbase, FREE_RUN_BYTES, OutPoint, Output, Transaction},
};

/// What everybody knows who may spend the coins of these tests.
const PREIMAGE: [u8; 32] = [7; 32];

/// A chain on which a block costs two hashes and its coinbase can be spent in the next block.
fn easy_chain(name: &str) -> Chain {
    let params = Params { name: name.into(), half_life_secs: 0, maturity_blocks: 1, ..Params::dev() };
    Chain::mine(params).expect("the easiest target")
}

/// A clock that finds no block of these tests too early.
fn now(chain: &Chain) -> Time {
    chain.params().genesis_time.saturating_add_secs(100_000)
}

fn policy() -> Policy {
    Policy::Sha256(sha256(&PREIMAGE))
}

/// A chain of so many blocks, each of which but the first spends the coinbase below it. `salt` sets branches
/// apart.
fn blocks(chain: &Chain, count: u32, salt: u8) -> Vec<Block> {
    extend(chain, &[], count, salt)
}

/// As many blocks on top of others, the last of which spends a coinbase as well.
fn extend(chain: &Chain, below: &[Block], count: u32, salt: u8) -> Vec<Block> {
    let mut made: Vec<Block> = below.to_vec();
    for _ in 0..count {
        let below = made.last().unwrap_or(chain.genesis());
        let height = below.coinbase.height.next().expect("a low height");
        let pay = Output::pay(Address::of_policy(&policy()), subsidy(chain.params(), height));
        let coinbase = Coinbase { height, free: [salt; FREE_RUN_BYTES], outputs: vec![pay.clone()] };
        let spends = (height > Height::new(1)).then(|| Transaction {
            inputs: vec![OutPoint { txid: below.coinbase.txid(), index: 0 }],
            outputs: vec![pay],
            witnesses: vec![Witness { policy: policy(), satisfaction: Satisfaction::Preimage(PREIMAGE) }],
        });
        let block = solve(chain, &below.header, coinbase, spends);
        made.push(block);
    }
    made.split_off(below.len())
}

fn solve(chain: &Chain, below: &Header, coinbase: Coinbase, transaction: Option<Transaction>) -> Block {
    let mut leaves = vec![sha256d(&coinbase.to_bytes())];
    leaves.extend(transaction.iter().map(|transaction| sha256d(&transaction.to_bytes())));
    let mut header = Header {
        version: TEMPLATE_VERSION,
        previous: below.hash(),
        merkle_root: root_and_mutation(&leaves).0,
        time: below.time.saturating_add_secs(1),
        bits: chain.params().initial_bits,
        nonce: 0,
    };
    let target = header.bits.to_target().expect("the chain's bits");
    while !target.is_met_by(&header.hash()) {
        header.nonce += 1;
    }
    Block { header, coinbase, transactions: transaction.into_iter().map(Into::into).collect() }
}

fn empty(chain: &Chain) -> Ledger<MemoryStore> {
    Ledger::open(chain.clone(), MemoryStore::default()).expect("an empty store opens")
}

fn submit<S: Store>(ledger: &mut Ledger<S>, blocks: &[Block]) {
    for block in blocks {
        let now = now(ledger.chain());
        let update = ledger.submit(block.clone(), now).expect("a valid block");
        assert_eq!(update.refused, []);
    }
}

/// Somebody who does not care for progress.
fn unheard(_: super::Progress) {}
