//! A short chain, sound and damaged in every way that a level looks for.

use chain::{
    address::Address,
    amount::Amount,
    block::Header,
    genesis::TEMPLATE_VERSION,
    hash::{sha256, sha256d},
    ledger::Ledger,
    memory::MemoryStore,
    merkle::root_and_mutation,
    params::Params,
    policy::{Policy, Satisfaction, Witness},
    store::Store,
    subsidy::subsidy,
    transaction::{Coinbase, FREE_RUN_BYTES, Transaction},
};

use super::*;

/// The blocks of the chain.
const BLOCKS: u32 = 20;
/// The levels, the least thorough first.
const LEVELS: [CheckLevel; 5] =
    [CheckLevel::Bodies, CheckLevel::Rules, CheckLevel::Undo, CheckLevel::Disconnect, CheckLevel::Connect];

fn policy() -> Policy {
    Policy::Sha256(sha256(&[7; 32]))
}

fn pay(pebbles: u64) -> Output {
    Output::pay(Address::of_policy(&policy()), Amount::from_pebbles(pebbles))
}

/// What is held, open to damage.
struct Table {
    chain: Chain,
    tip: BlockId,
    blocks: HashMap<BlockHash, Block>,
    undo: HashMap<BlockHash, Undo>,
    coins: HashMap<OutPoint, Coin>,
}

impl Held for Table {
    fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError> {
        Ok(self.blocks.get(hash).cloned())
    }
    fn undo(&self, hash: &BlockHash) -> Result<Option<Undo>, StoreError> {
        Ok(self.undo.get(hash).cloned())
    }
    fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError> {
        Ok(outpoints.iter().map(|outpoint| self.coins.get(outpoint).cloned()).collect())
    }
}

impl Table {
    /// Every block but the first spends the coinbase below it, in two transactions of which the second spends
    /// the first.
    fn new() -> Self {
        let params = Params { half_life_secs: 0, maturity_blocks: 1, ..Params::dev() };
        let chain = Chain::mine(params).expect("the easiest target");
        let now = chain.params().genesis_time.saturating_add_secs(1_000);
        let mut ledger = Ledger::open(chain.clone(), MemoryStore::default()).expect("an empty store");
        let mut below = chain.genesis().clone();
        for height in (1..=BLOCKS).map(Height::new) {
            let block = next(&chain, &below, height);
            let update = ledger.submit(block.clone(), now).expect("a valid block");
            assert!(update.refusal(&block.hash()).is_none(), "{update:?}");
            below = block;
        }
        let store = ledger.store();
        let mut at = below.hash();
        let (mut blocks, mut undo) = (HashMap::new(), HashMap::new());
        while let Some(block) = store.block(&at).expect("memory") {
            undo.insert(at, store.undo(&at).expect("memory").expect("connected"));
            let previous = block.header.previous;
            blocks.insert(at, block);
            at = previous;
        }
        let coins = store.utxo_set().iter().map(|(outpoint, coin)| (*outpoint, coin.clone())).collect();
        Self { chain, tip: ledger.tip().id, blocks, undo, coins }
    }

    fn audit(&self, level: CheckLevel, blocks: Option<u32>) -> Result<(), Finding> {
        let max_coins = MAX_COINS;
        Audit { held: self, chain: &self.chain, level, max_coins, stopped: &|| false }.run(self.tip, blocks)
    }

    /// The hash of the block at a height.
    fn at(&self, height: u32) -> BlockHash {
        let mut hash = self.tip.hash;
        for _ in height..BLOCKS {
            hash = self.blocks[&hash].header.previous;
        }
        hash
    }

    /// Holds that damage is found from `first` on and not before, and is named.
    #[track_caller]
    fn is_found_from(&self, first: CheckLevel, named: &str) {
        for level in LEVELS {
            match self.audit(level, None) {
                Ok(()) => assert!(level < first, "{level:?} finds nothing"),
                Err(Finding::Damaged(what)) => {
                    assert!(level >= first && what.contains(named), "{level:?}: {what}");
                }
                Err(other) => panic!("{level:?}: {other:?}"),
            }
        }
    }
}

fn next(chain: &Chain, below: &Block, height: Height) -> Block {
    let reward = subsidy(chain.params(), height);
    let coinbase = Coinbase { height, free: [1; FREE_RUN_BYTES], outputs: vec![pay(reward.pebbles())] };
    let spend = |outpoint, pebbles| Transaction {
        inputs: vec![outpoint],
        outputs: vec![pay(pebbles)],
        witnesses: vec![Witness { policy: policy(), satisfaction: Satisfaction::Preimage([7; 32]) }],
    };
    let mut transactions = Vec::new();
    if height > Height::new(1) {
        let txid = below.coinbase.txid();
        let first = spend(OutPoint { txid, index: 0 }, reward.pebbles() - 1_000);
        let second = spend(OutPoint { txid: first.txid(), index: 0 }, reward.pebbles() - 2_000);
        transactions = vec![first.into(), second.into()];
    }
    let header = Header {
        version: TEMPLATE_VERSION,
        previous: below.hash(),
        merkle_root: below.header.merkle_root,
        time: below.header.time.saturating_add_secs(1),
        bits: chain.params().initial_bits,
        nonce: 0,
    };
    let mut block = Block { header, coinbase, transactions };
    let mut leaves = vec![sha256d(&block.coinbase.to_bytes())];
    leaves.extend(block.transactions.iter().map(|transaction| sha256d(&transaction.to_bytes())));
    block.header.merkle_root = root_and_mutation(&leaves).0;
    let target = header.bits.to_target().expect("the chain's bits");
    while !target.is_met_by(&block.header.hash()) {
        block.header.nonce += 1;
    }
    block
}

#[test]
fn a_sound_chain_passes_every_level_however_far() {
    let table = Table::new();
    for level in LEVELS {
        for blocks in [Some(0), Some(1), Some(6), Some(BLOCKS), Some(BLOCKS + 1), None] {
            assert_eq!(table.audit(level, blocks), Ok(()), "{level:?} {blocks:?}");
        }
    }
}

#[test]
fn s04_damaged_bodies_are_found() {
    let mut table = Table::new();
    let (low, high) = (table.at(3), table.at(4));
    table.blocks.remove(&low);
    table.is_found_from(CheckLevel::Bodies, &low.to_string());
    assert_eq!(table.audit(CheckLevel::Connect, Some(5)), Ok(()), "nobody looked that far");
    let other = table.blocks[&high].clone();
    table.blocks.insert(low, other);
    table.is_found_from(CheckLevel::Bodies, "another block's");

    let mut table = Table::new();
    table.blocks.get_mut(&high).expect("it is there").transactions.pop();
    table.is_found_from(CheckLevel::Rules, &high.to_string());
}

#[test]
fn s04_damaged_undo_data_is_found() {
    let mut table = Table::new();
    let hash = table.at(5);
    let whole = table.undo.remove(&hash).expect("it is there");
    table.is_found_from(CheckLevel::Undo, "undo data");
    let mut other = whole.clone();
    other[0].0.index = 1;
    table.undo.insert(hash, other);
    table.is_found_from(CheckLevel::Undo, "does not fit");
    let mut other = whole.clone();
    other[0].1.height = Height::new(5);
    table.undo.insert(hash, other);
    table.is_found_from(CheckLevel::Undo, "does not fit");
    table.undo.insert(hash, Vec::new());
    table.is_found_from(CheckLevel::Undo, "does not fit");

    let mut other = whole;
    other[0].1.output.amount = Amount::from_pebbles(5);
    table.undo.insert(hash, other);
    // The block below made the coin with another amount.
    table.is_found_from(CheckLevel::Disconnect, "is another one");
    // Where the block below is not looked at, only the rules tell that the amount is too little.
    let depth = Some(BLOCKS - 4);
    assert_eq!(table.audit(CheckLevel::Disconnect, depth), Ok(()));
    assert!(matches!(table.audit(CheckLevel::Connect, depth), Err(Finding::Damaged(_))));
}

#[test]
fn s04_damaged_coins_are_found() {
    let table = Table::new();
    let spent = (table.undo[&table.at(9)])[0].clone();
    let held: Vec<OutPoint> = table.coins.keys().copied().collect();
    assert_eq!(held.len(), BLOCKS as usize, "a payment from each block but the first, and the last coinbase");
    for outpoint in held {
        let mut damaged = Table::new();
        let coin = damaged.coins.remove(&outpoint).expect("it is there");
        damaged.is_found_from(CheckLevel::Disconnect, &outpoint.to_string());
        let amount = Amount::from_pebbles(coin.output.amount.pebbles() + 1);
        let coin = Coin { output: Output { amount, ..coin.output.clone() }, ..coin };
        damaged.coins.insert(outpoint, coin);
        damaged.is_found_from(CheckLevel::Disconnect, "is another one");
    }
    let mut damaged = Table::new();
    damaged.coins.insert(spent.0, spent.1);
    damaged.is_found_from(CheckLevel::Disconnect, "is in the UTXO set");
}

#[test]
fn a_check_is_bounded_and_can_be_stopped() {
    let table = Table::new();
    let audit = |max_coins, stopped: &dyn Fn() -> bool| {
        Audit { held: &table, chain: &table.chain, level: CheckLevel::Connect, max_coins, stopped }
            .run(table.tip, None)
    };
    assert_eq!(audit(10, &|| false), Err(Finding::TooMuch));
    assert_eq!(audit(3 * BLOCKS as usize, &|| false), Ok(()));
    assert_eq!(audit(MAX_COINS, &|| true), Err(Finding::Stopped));
}
