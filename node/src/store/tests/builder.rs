//! Blocks for tests, on any parent, that spend without keys: a coin belongs to whoever knows a preimage.

use std::collections::BTreeMap;

use chain::{
    address::Address,
    amount::Amount,
    block::{Block, Header},
    check::{CheckedBlock, ConnectedBlock, SpendContext, connect_block, external_inputs},
    genesis::{Chain, TEMPLATE_VERSION},
    hash::{sha256, sha256d},
    height::Height,
    merkle::root_and_mutation,
    params::Params,
    policy::{Policy, Satisfaction, Witness},
    subsidy::subsidy,
    time::Time,
    transaction::{Coinbase, Destination, FREE_RUN_BYTES, OutPoint, Output, Transaction},
    utxo::Coin,
};

/// How many people there are.
pub(in crate::store) const OWNERS: u8 = 4;

/// A chain on which a block costs two hashes and its coinbase can be spent in the next block.
pub(in crate::store) fn easy_chain(name: &str) -> Chain {
    let params = Params { name: name.into(), half_life_secs: 0, maturity_blocks: 1, ..Params::dev() };
    Chain::mine(params).expect("the easiest target")
}

/// The address of a person.
pub(in crate::store) fn address(owner: u8) -> Address {
    Address::of_policy(&policy(owner))
}

fn policy(owner: u8) -> Policy {
    Policy::Sha256(sha256(&[owner; 32]))
}

fn witness(owner: u8) -> Witness {
    Witness { policy: policy(owner), satisfaction: Satisfaction::Preimage([owner; 32]) }
}

/// A transaction to be made. Choices are numbers that are reduced to what there is.
#[derive(Clone, Debug)]
pub(in crate::store) struct Spend {
    /// Which coins are spent.
    pub(in crate::store) coins: Vec<usize>,
    /// Who is paid.
    pub(in crate::store) to: u8,
    /// Whether there is a data output too.
    pub(in crate::store) data: bool,
    /// Whether coins are chosen among all that ever were, so that the block is probably invalid.
    pub(in crate::store) careless: bool,
}

/// A block that was made, and the coins after it.
#[derive(Clone, Debug)]
pub(in crate::store) struct Made {
    /// The block.
    pub(in crate::store) block: Block,
    /// Its height.
    pub(in crate::store) height: Height,
    /// All coins after it, as far as it is valid.
    pub(in crate::store) coins: BTreeMap<OutPoint, Coin>,
}

/// All blocks that were made; the first is the genesis block.
pub(in crate::store) struct Builder {
    /// The chain.
    pub(in crate::store) chain: Chain,
    /// The blocks.
    pub(in crate::store) made: Vec<Made>,
}

impl Builder {
    pub(in crate::store) fn new(chain: &Chain) -> Self {
        let genesis = Made { block: chain.genesis().clone(), height: Height::ZERO, coins: BTreeMap::new() };
        Self { chain: chain.clone(), made: vec![genesis] }
    }

    /// A clock that finds no block too early.
    pub(in crate::store) fn now(&self) -> Time {
        self.chain.params().genesis_time.saturating_add_secs(1_000)
    }

    /// Makes a block on `made[parent]` and returns its index. Each has another coinbase, so that no two are
    /// equal.
    pub(in crate::store) fn make(&mut self, parent: usize, miner: u8, spends: &[Spend]) -> usize {
        let below = self.made[parent].clone();
        let height = below.height.next().expect("a low height");
        let mut coins = below.coins;
        let mut transactions = Vec::new();
        for spend in spends {
            let known: BTreeMap<OutPoint, Coin> = if spend.careless {
                self.made.iter().flat_map(|made| made.coins.clone()).collect()
            } else {
                coins.clone()
            };
            if let Some(transaction) = pay(spend, &known) {
                transaction.inputs.iter().for_each(|input| drop(coins.remove(input)));
                let txid = transaction.txid();
                for (index, output) in (0..).zip(&transaction.outputs) {
                    if output.address().is_some() {
                        let coin = Coin { output: output.clone(), height, coinbase: false };
                        coins.insert(OutPoint { txid, index }, coin);
                    }
                }
                transactions.push(transaction);
            }
        }
        let mut free = [0; FREE_RUN_BYTES];
        free[..8].copy_from_slice(&self.made.len().to_le_bytes());
        let output = Output::pay(address(miner), subsidy(self.chain.params(), height));
        let coinbase = Coinbase { height, free, outputs: vec![output.clone()] };
        coins.insert(OutPoint { txid: coinbase.txid(), index: 0 }, Coin { output, height, coinbase: true });
        let block = self.solve(&below.block.header, coinbase, transactions);
        self.made.push(Made { block, height, coins });
        self.made.len() - 1
    }

    fn solve(&self, below: &Header, coinbase: Coinbase, transactions: Vec<Transaction>) -> Block {
        let mut leaves = vec![sha256d(&coinbase.to_bytes())];
        leaves.extend(transactions.iter().map(|transaction| sha256d(&transaction.to_bytes())));
        let mut header = Header {
            version: TEMPLATE_VERSION,
            previous: below.hash(),
            merkle_root: root_and_mutation(&leaves).0,
            time: below.time.saturating_add_secs(1),
            bits: self.chain.params().initial_bits,
            nonce: 0,
        };
        let target = header.bits.to_target().expect("the chain's bits");
        while !target.is_met_by(&header.hash()) {
            header.nonce += 1;
        }
        let transactions = transactions.into_iter().map(std::sync::Arc::new).collect();
        Block { header, coinbase, transactions }
    }

    /// Holds a block against all rules, given that the chain below it is valid.
    pub(in crate::store) fn connect(&self, index: usize) -> (std::sync::Arc<CheckedBlock>, ConnectedBlock) {
        let made = &self.made[index];
        let below = self.made.iter().find(|other| other.block.hash() == made.block.header.previous);
        let coins = &below.expect("the block below was made").coins;
        let checked = CheckedBlock::check(made.block.clone(), &self.chain).expect("a valid block");
        let checked = std::sync::Arc::new(checked);
        let wanted = external_inputs(&checked);
        let fetched = wanted.into_iter().map(|outpoint| (outpoint, coins[&outpoint].clone())).collect();
        let median_time_past = self.chain.params().genesis_time;
        let context = SpendContext { chain: &self.chain, height: made.height, median_time_past };
        let connected = connect_block(&checked, fetched, &context).expect("a valid block");
        (checked, connected)
    }
}

/// Pays half of the chosen coins' worth to one and the rest to the first coin's owner.
fn pay(spend: &Spend, known: &BTreeMap<OutPoint, Coin>) -> Option<Transaction> {
    let mut chosen: BTreeMap<OutPoint, &Coin> = BTreeMap::new();
    for choice in &spend.coins {
        let (outpoint, coin) = known.iter().nth(choice % known.len().max(1))?;
        chosen.insert(*outpoint, coin);
    }
    let owner = |coin: &Coin| (0..OWNERS).find(|owner| coin.output.address() == Some(&address(*owner)));
    let sum: u64 = chosen.values().map(|coin| coin.output.amount.pebbles()).sum();
    let first = owner(chosen.values().next()?)?;
    let half = Amount::from_pebbles(sum / 2);
    let rest = Amount::from_pebbles(sum - sum / 2);
    let mut outputs = vec![Output::pay(address(spend.to), half), Output::pay(address(first), rest)];
    if spend.data {
        outputs.push(Output { amount: Amount::ZERO, to: Destination::Data(vec![spend.to; 9]) });
    }
    let witnesses = chosen.values().map(|coin| owner(coin).map(witness)).collect::<Option<_>>()?;
    Some(Transaction { inputs: chosen.into_keys().collect(), outputs, witnesses })
}
