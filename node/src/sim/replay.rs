//! The naive ledger: what a chain of blocks does to coins, written down a second time as plainly as can be.
//!
//! It knows nothing of trees, caches, stores and batches. It follows a node's chain block by block, checks what it
//! can without signatures, and is then held against what the node believes. It must never use the code
//! that it checks: of `chain` only the encodings, ids and parameters.

use std::collections::{BTreeMap, BTreeSet};

use chain::{
    address::Address,
    block::Block,
    hash::{BlockHash, TxId},
    params::Params,
    transaction::{OutPoint, Output, Transaction},
};

/// A coin, as the naive ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it is worth, in pebbles.
    pub pebbles: u64,
    /// Who may spend it.
    pub address: Address,
    /// The height of the block that made it.
    pub height: u32,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

/// What one block did.
#[derive(Clone, Debug)]
struct Step {
    hash: BlockHash,
    spent: Vec<(OutPoint, Known)>,
    made: Vec<OutPoint>,
    supply_before: u128,
}

/// The naive ledger of one node.
#[derive(Clone, Debug)]
pub struct Replay {
    genesis: BlockHash,
    reward: u64,
    halving_blocks: u32,
    maturity_blocks: u32,
    coins: BTreeMap<OutPoint, Known>,
    by_address: BTreeMap<Address, BTreeSet<OutPoint>>,
    steps: Vec<Step>,
    supply: u128,
    touched: BTreeSet<OutPoint>,
}

impl Replay {
    /// The ledger of a chain with nothing but its genesis block.
    #[must_use]
    pub const fn new(genesis: BlockHash, params: &Params) -> Self {
        Self {
            genesis,
            reward: params.reward.pebbles(),
            halving_blocks: params.halving_blocks,
            maturity_blocks: params.maturity_blocks,
            coins: BTreeMap::new(),
            by_address: BTreeMap::new(),
            steps: Vec::new(),
            supply: 0,
            touched: BTreeSet::new(),
        }
    }

    /// The height of the last block.
    #[must_use]
    pub const fn height(&self) -> usize {
        self.steps.len()
    }

    /// The last block.
    #[must_use]
    pub fn tip(&self) -> BlockHash {
        self.steps.last().map_or(self.genesis, |step| step.hash)
    }

    /// A coin, if it is unspent.
    #[must_use]
    pub fn coin(&self, outpoint: &OutPoint) -> Option<&Known> {
        self.coins.get(outpoint)
    }

    /// All unspent coins.
    pub fn coins(&self) -> impl ExactSizeIterator<Item = (&OutPoint, &Known)> {
        self.coins.iter()
    }

    /// The unspent coins of an address.
    pub fn coins_of(&self, address: &Address) -> impl Iterator<Item = OutPoint> + '_ {
        self.by_address.get(address).into_iter().flatten().copied()
    }

    /// All that was ever made less what was burnt, in pebbles.
    #[must_use]
    pub const fn supply(&self) -> u128 {
        self.supply
    }

    /// The outpoints that changed since the last call.
    pub fn take_touched(&mut self) -> BTreeSet<OutPoint> {
        std::mem::take(&mut self.touched)
    }

    /// Whether a coin may be spent in the next block.
    #[must_use]
    pub fn is_mature(&self, coin: &Known) -> bool {
        let next = self.height() + 1;
        let depth = next.saturating_sub(usize::try_from(coin.height).unwrap_or(usize::MAX));
        !coin.coinbase || depth >= usize::try_from(self.maturity_blocks).unwrap_or(usize::MAX)
    }

    fn take(&mut self, outpoint: &OutPoint) -> Option<Known> {
        let coin = self.coins.remove(outpoint)?;
        if let Some(of) = self.by_address.get_mut(&coin.address) {
            of.remove(outpoint);
            if of.is_empty() {
                self.by_address.remove(&coin.address);
            }
        }
        self.touched.insert(*outpoint);
        Some(coin)
    }

    fn put(&mut self, outpoint: OutPoint, coin: Known) -> Result<(), String> {
        self.by_address.entry(coin.address).or_default().insert(outpoint);
        self.touched.insert(outpoint);
        match self.coins.insert(outpoint, coin) {
            None => Ok(()),
            Some(_) => Err(format!("{outpoint} is made a second time")),
        }
    }

    /// Takes the last block back; none where there is none.
    pub fn undo(&mut self) -> Option<BlockHash> {
        let step = self.steps.pop()?;
        for outpoint in step.made.iter().rev() {
            self.take(outpoint);
        }
        for (outpoint, coin) in step.spent.into_iter().rev() {
            // What was made and spent within the block was taken out above, or is not there.
            self.by_address.entry(coin.address).or_default().insert(outpoint);
            self.touched.insert(outpoint);
            self.coins.insert(outpoint, coin);
        }
        // Coins of the block that the block itself spent came back with the rest.
        for outpoint in &step.made {
            self.take(outpoint);
        }
        self.supply = step.supply_before;
        Some(step.hash)
    }

    /// What the block at a height may make out of nothing, in pebbles.
    fn subsidy(&self, height: u32) -> u64 {
        let mut reward = self.reward;
        for _ in 0..height / self.halving_blocks {
            reward /= 2;
        }
        reward
    }

    /// Puts a block on top.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn apply(&mut self, block: &Block) -> Result<(), String> {
        let height = u32::try_from(self.steps.len() + 1).map_err(|_| "too high".to_owned())?;
        if block.header.previous != self.tip() {
            return Err(format!("{} does not stand on the tip", block.hash()));
        }
        if block.coinbase.height.get() != height {
            return Err(format!("the coinbase names height {}", block.coinbase.height));
        }
        let mut step =
            Step { hash: block.hash(), spent: Vec::new(), made: Vec::new(), supply_before: self.supply };
        let mut fees = 0u128;
        for transaction in &block.transactions {
            fees += self.spend(transaction, height, &mut step)?;
        }
        let claimed = sum(&block.coinbase.outputs);
        if claimed > fees + u128::from(self.subsidy(height)) {
            return Err(format!("the coinbase of height {height} claims {claimed}, with fees of {fees}"));
        }
        self.make(block.coinbase.txid(), &block.coinbase.outputs, (height, true), &mut step)?;
        self.supply = self.supply + claimed - fees;
        self.steps.push(step);
        Ok(())
    }

    fn spend(&mut self, transaction: &Transaction, height: u32, step: &mut Step) -> Result<u128, String> {
        let txid = transaction.txid();
        let mut inputs = 0u128;
        for outpoint in &transaction.inputs {
            let coin =
                self.take(outpoint).ok_or_else(|| format!("{txid} spends {outpoint}, which is not"))?;
            let mature = coin.height.saturating_add(self.maturity_blocks) <= height;
            if coin.coinbase && !mature {
                return Err(format!("{txid} spends {outpoint}, which is too young"));
            }
            inputs += u128::from(coin.pebbles);
            step.spent.push((*outpoint, coin));
        }
        let outputs = sum(&transaction.outputs);
        let fee = inputs.checked_sub(outputs).ok_or_else(|| format!("{txid} makes {outputs} of {inputs}"))?;
        self.make(txid, &transaction.outputs, (height, false), step)?;
        Ok(fee)
    }

    fn make(
        &mut self,
        txid: TxId,
        outputs: &[Output],
        (height, coinbase): (u32, bool),
        step: &mut Step,
    ) -> Result<(), String> {
        for (index, output) in (0..).zip(outputs) {
            let Some(address) = output.address() else { continue };
            let outpoint = OutPoint { txid, index };
            let coin = Known { pebbles: output.amount.pebbles(), address: *address, height, coinbase };
            self.put(outpoint, coin)?;
            step.made.push(outpoint);
        }
        Ok(())
    }

    /// Holds transactions that wait against the coins at the tip, parents first.
    ///
    /// # Errors
    /// Which one could not be mined, and why.
    pub fn check_waiting<'a>(&self, waiting: impl Iterator<Item = &'a Transaction>) -> Result<(), String> {
        let mut made: BTreeMap<OutPoint, u64> = BTreeMap::new();
        let mut taken: BTreeSet<OutPoint> = BTreeSet::new();
        for transaction in waiting {
            let txid = transaction.txid();
            let mut inputs = 0u128;
            for outpoint in &transaction.inputs {
                if !taken.insert(*outpoint) {
                    return Err(format!("{txid} waits and spends {outpoint} a second time"));
                }
                let pebbles = match (made.get(outpoint), self.coins.get(outpoint)) {
                    (Some(pebbles), _) => *pebbles,
                    (None, Some(coin)) if self.is_mature(coin) => coin.pebbles,
                    (None, Some(_)) => return Err(format!("{txid} waits and spends {outpoint} too early")),
                    (None, None) => return Err(format!("{txid} waits and spends {outpoint}, which is not")),
                };
                inputs += u128::from(pebbles);
            }
            if sum(&transaction.outputs) > inputs {
                return Err(format!("{txid} waits and makes more than it spends"));
            }
            let outputs = (0..).zip(&transaction.outputs).filter(|(_, output)| output.address().is_some());
            made.extend(outputs.map(|(index, output)| (OutPoint { txid, index }, output.amount.pebbles())));
        }
        Ok(())
    }
}

fn sum(outputs: &[Output]) -> u128 {
    outputs.iter().map(|output| u128::from(output.amount.pebbles())).sum()
}
