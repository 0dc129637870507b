//! Spending rules: what the coins that are spent decide. Signatures are among them, since what they sign
//! covers the spent outputs.

use std::collections::{HashMap, HashSet};

use super::{CheckedBlock, CheckedTransaction};
use crate::{
    address::Address,
    amount::Amount,
    error::{BlockError, SpendError},
    genesis::Chain,
    hash::{BlockHash, TxId},
    height::Height,
    signature::{Claim, signature_message, verify_all},
    subsidy::subsidy,
    time::Time,
    transaction::{OutPoint, Output},
    utxo::{Coin, Delta, UtxoView},
};

/// Where a transaction is spent: the block that holds it, or the next block for the mempool.
#[derive(Clone, Copy, Debug)]
pub struct SpendContext<'a> {
    /// The chain.
    pub chain: &'a Chain,
    /// The height of the block.
    pub height: Height,
    /// The median time past of the block: of its parent and the ten below (rule S8).
    pub median_time_past: Time,
}

/// A transaction of which all rules hold in some block: its fee, and what was learned before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedTransaction {
    fee: Amount,
}

impl VerifiedTransaction {
    /// Inputs less outputs.
    #[must_use]
    pub const fn fee(&self) -> Amount {
        self.fee
    }
}

/// A block of which all rules hold, and what it does to the UTXO set.
#[derive(Clone, Debug)]
pub struct ConnectedBlock {
    hash: BlockHash,
    height: Height,
    fees: Amount,
    delta: Delta,
}

impl ConnectedBlock {
    /// The header's hash.
    #[must_use]
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }

    /// Where it stands.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// The fees of its transactions.
    #[must_use]
    pub const fn fees(&self) -> Amount {
        self.fees
    }

    /// What it does to the UTXO set.
    #[must_use]
    pub const fn delta(&self) -> &Delta {
        &self.delta
    }
}

/// The coins of earlier blocks that a block spends: what must be fetched before [`connect_block`].
#[must_use]
pub fn external_inputs(block: &CheckedBlock) -> Vec<OutPoint> {
    let own: HashSet<TxId> = block.transactions().iter().map(CheckedTransaction::txid).collect();
    let inputs = block.transactions().iter().flat_map(|checked| &checked.transaction().inputs);
    inputs.filter(|input| !own.contains(&input.txid)).copied().collect()
}

/// Holds one transaction against the spending rules but the signatures (S1 to S9) and gathers the
/// signatures' claims; returns the fee.
fn spend(
    checked: &CheckedTransaction,
    coins: &[Coin],
    context: &SpendContext<'_>,
    claims: &mut Vec<Claim>,
) -> Result<Amount, SpendError> {
    let mut sum = Amount::ZERO;
    for (input, coin) in coins.iter().enumerate() {
        let amount = coin.output.amount;
        sum = sum
            .checked_add(amount)
            .filter(|sum| *sum <= context.chain.max_supply())
            .ok_or(SpendError::AboveSupply)?;
        check_input(checked, input, coin, context)?;
    }
    let outputs = checked.output_sum();
    let fee = sum.checked_sub(outputs).ok_or(SpendError::Overspent { inputs: sum, outputs })?;
    let spent: Vec<Output> = coins.iter().map(|coin| coin.output.clone()).collect();
    let message = signature_message(&context.chain.id(), checked.id_preimage(), &spent);
    let signatures = checked.demands().iter().flat_map(|demands| &demands.signatures);
    claims.extend(signatures.map(|(key, signature)| Claim { key: *key, signature: *signature, message }));
    Ok(fee)
}

fn check_input(
    checked: &CheckedTransaction,
    input: usize,
    coin: &Coin,
    context: &SpendContext<'_>,
) -> Result<(), SpendError> {
    let maturity = context.chain.params().maturity_blocks;
    // A coin of the very block that spends it is no block deep.
    let depth = context.height.since(coin.height).unwrap_or(0);
    if coin.coinbase && depth < maturity {
        let matures = u64::from(coin.height.get()) + u64::from(maturity);
        return Err(SpendError::Immature { input, made: coin.height, matures });
    }
    let policy = &checked.transaction().witnesses[input].policy;
    if coin.output.address() != Some(&Address::of_policy(policy)) {
        return Err(SpendError::WrongPolicy { input });
    }
    let demands = &checked.demands()[input];
    if let Some(from) = demands.after_height.filter(|from| context.height < *from) {
        return Err(SpendError::BeforeHeight { input, from });
    }
    if let Some(from) = demands.after_time.filter(|from| context.median_time_past < *from) {
        return Err(SpendError::BeforeTime { input, from });
    }
    if let Some(blocks) = demands.older_blocks.filter(|blocks| depth < *blocks) {
        return Err(SpendError::TooYoung { input, made: coin.height, blocks });
    }
    Ok(())
}

/// The input that the signature number `index` of a transaction belongs to.
fn input_of(checked: &CheckedTransaction, index: usize) -> usize {
    let mut left = index;
    for (input, demands) in checked.demands().iter().enumerate() {
        match left.checked_sub(demands.signatures.len()) {
            Some(rest) => left = rest,
            None => return input,
        }
    }
    checked.demands().len()
}

/// Holds one transaction against all spending rules, as if it stood alone in the block of `context`.
///
/// # Errors
/// [`SpendError`] with the first rule that is broken; of several wrong signatures the first is named.
pub fn verify_transaction(
    checked: &CheckedTransaction,
    view: &impl UtxoView,
    context: &SpendContext<'_>,
) -> Result<VerifiedTransaction, SpendError> {
    let mut coins = Vec::with_capacity(checked.transaction().inputs.len());
    for (input, outpoint) in checked.transaction().inputs.iter().enumerate() {
        let missing = SpendError::MissingCoin { input, outpoint: *outpoint };
        coins.push(view.coin(outpoint).ok_or(missing)?);
    }
    let mut claims = Vec::new();
    let fee = spend(checked, &coins, context, &mut claims)?;
    verify_all(&claims).map_err(|index| SpendError::BadSignature { input: input_of(checked, index) })?;
    Ok(VerifiedTransaction { fee })
}

/// Coins while a block is walked: those of earlier blocks, and those that it made itself.
struct Purse {
    fetched: HashMap<OutPoint, Coin>,
    made: HashMap<OutPoint, Coin>,
    spent: Vec<(OutPoint, Coin)>,
}

impl Purse {
    fn take(&mut self, outpoint: &OutPoint) -> Option<Coin> {
        if let Some(coin) = self.made.remove(outpoint) {
            return Some(coin);
        }
        let coin = self.fetched.remove(outpoint)?;
        self.spent.push((*outpoint, coin.clone()));
        Some(coin)
    }

    fn put(
        &mut self,
        txid: TxId,
        outputs: &[Output],
        height: Height,
        coinbase: bool,
    ) -> Result<(), BlockError> {
        for (index, output) in (0..).zip(outputs).filter(|(_, output)| output.address().is_some()) {
            let outpoint = OutPoint { txid, index };
            let coin = Coin { output: output.clone(), height, coinbase };
            if self.made.insert(outpoint, coin).is_some() || self.fetched.contains_key(&outpoint) {
                return Err(BlockError::ExistingCoin(outpoint));
            }
        }
        Ok(())
    }
}

/// Holds a block against all spending rules (K1, K5, S1 to S10). `fetched` holds the coins of
/// [`external_inputs`] that exist.
///
/// # Errors
/// [`BlockError`] with the first rule that is broken; of several wrong signatures the first is named.
pub fn connect_block(
    block: &CheckedBlock,
    fetched: HashMap<OutPoint, Coin>,
    context: &SpendContext<'_>,
) -> Result<ConnectedBlock, BlockError> {
    let height = context.height;
    if block.coinbase().height != height {
        return Err(BlockError::CoinbaseHeight { named: block.coinbase().height, actual: height });
    }
    let mut purse = Purse { fetched, made: HashMap::new(), spent: Vec::new() };
    let mut fees = Amount::ZERO;
    let mut claims = Vec::new();
    let mut claims_end = Vec::with_capacity(block.transactions().len());
    for (index, checked) in block.transactions().iter().enumerate() {
        let fail = |error| BlockError::Spend { index, txid: checked.txid(), error };
        // Debits come before credits, so that a transaction never meets its own outputs (threat C26).
        let mut coins = Vec::with_capacity(checked.transaction().inputs.len());
        for (input, outpoint) in checked.transaction().inputs.iter().enumerate() {
            let missing = SpendError::MissingCoin { input, outpoint: *outpoint };
            coins.push(purse.take(outpoint).ok_or_else(|| fail(missing))?);
        }
        let fee = spend(checked, &coins, context, &mut claims).map_err(fail)?;
        claims_end.push(claims.len());
        fees = fees
            .checked_add(fee)
            .filter(|sum| *sum <= context.chain.max_supply())
            .ok_or_else(|| fail(SpendError::AboveSupply))?;
        purse.put(checked.txid(), &checked.transaction().outputs, height, false)?;
    }
    let allowed = subsidy(context.chain.params(), height).checked_add(fees).unwrap_or(fees);
    if block.coinbase_claim() > allowed {
        return Err(BlockError::CoinbaseClaim { claimed: block.coinbase_claim(), allowed });
    }
    purse.put(block.coinbase_txid(), &block.coinbase().outputs, height, true)?;
    verify_all(&claims).map_err(|claim| blame(block, &claims_end, claim))?;
    let mut created: Vec<_> = purse.made.into_iter().collect();
    created.sort_unstable_by_key(|(outpoint, _)| *outpoint);
    let delta = Delta { spent: purse.spent, created };
    Ok(ConnectedBlock { hash: block.hash(), height, fees, delta })
}

/// Names the transaction and the input that the claim number `claim` of a block belongs to.
fn blame(block: &CheckedBlock, claims_end: &[usize], claim: usize) -> BlockError {
    let index = claims_end.partition_point(|end| *end <= claim);
    let first = index.checked_sub(1).map_or(0, |before| claims_end[before]);
    let checked = &block.transactions()[index];
    let input = input_of(checked, claim - first);
    BlockError::Spend { index, txid: checked.txid(), error: SpendError::BadSignature { input } }
}
