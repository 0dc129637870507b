//! Spending rules: what the coins that are spent decide. Signatures are among them, since what they sign
//! covers the spent outputs.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use super::{CheckedBlock, CheckedTransaction, VerdictCache};
use crate::{
    amount::Amount,
    error::{BlockError, SpendError},
    genesis::Chain,
    hash::{BlockHash, TxId},
    height::Height,
    keyed::{KeyedMap, KeyedSet, KeyedState},
    signature::{Claim, find_wrong, spend_message, verify_all},
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

/// A transaction of which all spending rules but the signatures hold in some block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentTransaction {
    checked: Arc<CheckedTransaction>,
    spent: Vec<Coin>,
    fee: Amount,
    /// What its signatures sign; none where a verdict on them is known.
    message: Option<[u8; 32]>,
}

impl SpentTransaction {
    /// The transaction.
    #[must_use]
    pub const fn checked(&self) -> &Arc<CheckedTransaction> {
        &self.checked
    }

    /// Inputs less outputs.
    #[must_use]
    pub const fn fee(&self) -> Amount {
        self.fee
    }
}

/// A transaction of which all rules hold in some block, with the coins that it spends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedTransaction {
    checked: Arc<CheckedTransaction>,
    spent: Vec<Coin>,
    fee: Amount,
}

impl VerifiedTransaction {
    /// The transaction.
    #[must_use]
    pub const fn checked(&self) -> &Arc<CheckedTransaction> {
        &self.checked
    }

    /// The coins that it spends, in the order of its inputs.
    #[must_use]
    pub fn spent(&self) -> &[Coin] {
        &self.spent
    }

    /// Inputs less outputs.
    #[must_use]
    pub const fn fee(&self) -> Amount {
        self.fee
    }

    /// What it occupies in memory, in bytes, closely enough to hold a limit against.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.checked.memory_bytes() + size_of_val(self.spent.as_slice())
    }

    /// A transaction of a block that was connected, from what the block's undo data say that it spent.
    pub(crate) const fn of_connected(
        checked: Arc<CheckedTransaction>,
        spent: Vec<Coin>,
        fee: Amount,
    ) -> Self {
        Self { checked, spent, fee }
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

    /// What it does to the UTXO set, for whoever does it.
    #[must_use]
    pub fn into_delta(self) -> Delta {
        self.delta
    }
}

/// A block of which all rules but the signatures hold.
#[derive(Clone, Debug)]
pub struct SpentBlock {
    block: Arc<CheckedBlock>,
    connected: ConnectedBlock,
    claims: Vec<Claim>,
    /// The number of claims up to and with each transaction.
    claims_end: Vec<usize>,
}

impl SpentBlock {
    /// What the block does to the UTXO set if its signatures hold.
    #[must_use]
    pub const fn delta(&self) -> &Delta {
        &self.connected.delta
    }

    /// The same of which no signature is to be verified: somebody vouches for them.
    #[must_use]
    pub(crate) fn without_signatures(mut self) -> Self {
        self.claims.clear();
        self.claims_end.fill(0);
        self
    }

    /// How many signatures are to be verified.
    #[must_use]
    pub const fn signatures(&self) -> usize {
        self.claims.len()
    }
}

/// The coins of earlier blocks that a block spends: what must be fetched before [`spend_block`].
#[must_use]
pub fn external_inputs(block: &CheckedBlock) -> Vec<OutPoint> {
    let inputs = block.transactions().iter().flat_map(|checked| &checked.transaction().inputs);
    inputs.filter(|input| !block.is_inner_parent(&input.txid)).copied().collect()
}

/// Holds one transaction against the spending rules but the policies and signatures, which a verdict may
/// answer; returns the fee.
fn check_amounts(
    checked: &CheckedTransaction,
    coins: &[Coin],
    context: &SpendContext<'_>,
) -> Result<Amount, SpendError> {
    let mut sum = Amount::ZERO;
    for coin in coins {
        sum = sum
            .checked_add(coin.output.amount)
            .filter(|sum| *sum <= context.chain.max_supply())
            .ok_or(SpendError::AboveSupply)?;
    }
    let outputs = checked.output_sum();
    sum.checked_sub(outputs).ok_or(SpendError::Overspent { inputs: sum, outputs })
}

/// Holds one transaction against the spending rules but the signatures (S1 to S9). Returns the fee, and what
/// the signatures sign unless `verdicts` knows that they hold.
fn spend(
    checked: &CheckedTransaction,
    coins: &[Coin],
    context: &SpendContext<'_>,
    verdicts: &VerdictCache,
) -> Result<(Amount, Option<[u8; 32]>), SpendError> {
    for (input, coin) in coins.iter().enumerate() {
        check_input(checked, input, coin, context)?;
    }
    if let Some(verdict) = verdicts.judge(checked, coins) {
        return Ok((verdict.fee(), None));
    }
    let fee = check_amounts(checked, coins, context)?;
    Ok((fee, Some(spend_message(&context.chain.id(), checked.transaction(), coins))))
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
    if coin.output.address() != Some(&checked.addresses()[input]) {
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

fn claims_of(checked: &CheckedTransaction, message: [u8; 32]) -> impl Iterator<Item = Claim> + '_ {
    let signatures = checked.demands().iter().flat_map(|demands| &demands.signatures);
    signatures.map(move |(key, signature)| Claim { key: *key, signature: *signature, message })
}

/// Holds one transaction against all spending rules but the signatures, as if it stood alone in the block of
/// `context`. `coins` are those at its inputs, in their order, where they exist and are unspent. What
/// `verdicts` knows needs no signature any more.
///
/// # Errors
/// [`SpendError`] with the first rule that is broken.
pub fn spend_transaction(
    checked: Arc<CheckedTransaction>,
    coins: Vec<Option<Coin>>,
    context: &SpendContext<'_>,
    verdicts: &VerdictCache,
) -> Result<SpentTransaction, SpendError> {
    let mut coins = coins.into_iter();
    let mut spent = Vec::with_capacity(checked.transaction().inputs.len());
    for (input, outpoint) in checked.transaction().inputs.iter().enumerate() {
        let missing = SpendError::MissingCoin { input, outpoint: *outpoint };
        spent.push(coins.next().flatten().ok_or(missing)?);
    }
    let (fee, message) = spend(&checked, &spent, context, verdicts)?;
    Ok(SpentTransaction { checked, spent, fee, message })
}

/// Verifies the signatures of transactions, all in one go. One that does not hold spoils no other. The
/// verdicts are in the order of the transactions.
///
/// # Errors
/// For each transaction [`SpendError::BadSignature`] with the input of its first wrong signature.
#[must_use]
pub fn verify_signatures(
    transactions: Vec<SpentTransaction>,
) -> Vec<Result<VerifiedTransaction, SpendError>> {
    let mut claims = Vec::new();
    let mut claims_end = Vec::with_capacity(transactions.len());
    for spent in &transactions {
        claims.extend(spent.message.into_iter().flat_map(|message| claims_of(&spent.checked, message)));
        claims_end.push(claims.len());
    }
    let wrong = find_wrong(&claims);
    let mut start = 0;
    let pairs = transactions.into_iter().zip(claims_end);
    let verdict = |(transaction, end): (SpentTransaction, usize)| {
        // Wrong claims are in ascending order: the first that is not below this transaction's is its own.
        let own = wrong.get(wrong.partition_point(|claim| *claim < start)).filter(|claim| **claim < end);
        let first = std::mem::replace(&mut start, end);
        let SpentTransaction { checked, spent, fee, message: _ } = transaction;
        match own {
            Some(claim) => Err(SpendError::BadSignature { input: input_of(&checked, claim - first) }),
            None => Ok(VerifiedTransaction { checked, spent, fee }),
        }
    };
    pairs.map(verdict).collect()
}

/// Holds one transaction against all spending rules, as if it stood alone in the block of `context`.
///
/// # Errors
/// [`SpendError`] with the first rule that is broken; of several wrong signatures the first is named.
pub fn verify_transaction(
    checked: Arc<CheckedTransaction>,
    view: &impl UtxoView,
    context: &SpendContext<'_>,
) -> Result<VerifiedTransaction, SpendError> {
    let coins = checked.transaction().inputs.iter().map(|outpoint| view.coin(outpoint)).collect();
    let spent = spend_transaction(checked, coins, context, &VerdictCache::default())?;
    let mut verdicts = verify_signatures(vec![spent]);
    verdicts.pop().expect("one transaction has one verdict")
}

/// Coins while a block is walked: those of earlier blocks, and those that it made itself.
struct Purse<'a> {
    block: &'a CheckedBlock,
    /// The coins of earlier blocks, in the order in which the block names them.
    outer: std::vec::IntoIter<Option<Coin>>,
    /// Which of them were taken.
    taken: KeyedSet<OutPoint>,
    /// What the block made and spends itself further down.
    inner: KeyedMap<OutPoint, Coin>,
    spent: Vec<(OutPoint, Coin)>,
    created: Vec<(OutPoint, Coin)>,
}

impl Purse<'_> {
    /// Takes a coin. All inputs of the block must be asked for, in their order, until one is missing.
    fn take(&mut self, outpoint: &OutPoint) -> Option<Coin> {
        if self.block.is_inner_parent(&outpoint.txid) {
            return self.inner.remove(outpoint);
        }
        let coin = self.outer.next().flatten()?;
        // Two transactions of the block may name the same coin: it is there once.
        if !self.taken.insert(*outpoint) {
            return None;
        }
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
        let inner = self.block.is_inner_parent(&txid);
        for (index, output) in (0..).zip(outputs).filter(|(_, output)| output.address().is_some()) {
            let outpoint = OutPoint { txid, index };
            let coin = Coin { output: output.clone(), height, coinbase };
            if !inner {
                self.created.push((outpoint, coin));
            } else if self.inner.insert(outpoint, coin).is_some() {
                return Err(BlockError::ExistingCoin(outpoint));
            }
        }
        Ok(())
    }

    /// What the block does to the UTXO set.
    fn close(mut self) -> Delta {
        self.created.extend(self.inner);
        Delta { spent: self.spent, created: self.created }
    }
}

/// Holds a block against all spending rules but the signatures (K1, K5, S1 to S9). `coins` are those at
/// [`external_inputs`], in their order, where they exist and are unspent. Transactions that `verdicts` knows claim
/// no signature.
///
/// # Errors
/// [`BlockError`] with the first rule that is broken.
pub fn spend_block(
    block: &Arc<CheckedBlock>,
    coins: Vec<Option<Coin>>,
    context: &SpendContext<'_>,
    verdicts: &VerdictCache,
) -> Result<SpentBlock, BlockError> {
    let height = context.height;
    if block.coinbase().height != height {
        return Err(BlockError::CoinbaseHeight { named: block.coinbase().height, actual: height });
    }
    let transactions = block.transactions();
    let outputs = transactions.iter().map(|checked| checked.transaction().outputs.len()).sum::<usize>();
    let mut purse = Purse {
        block,
        taken: KeyedSet::with_capacity_and_hasher(coins.len(), KeyedState::new()),
        inner: KeyedMap::default(),
        spent: Vec::with_capacity(coins.len()),
        created: Vec::with_capacity(outputs + block.coinbase().outputs.len()),
        outer: coins.into_iter(),
    };
    let mut fees = Amount::ZERO;
    let mut claims = Vec::new();
    let mut claims_end = Vec::with_capacity(transactions.len());
    let mut spent = Vec::new();
    for (index, checked) in transactions.iter().enumerate() {
        let fail = |error| BlockError::Spend { index, txid: checked.txid(), error };
        // Debits come before credits, so that a transaction never meets its own outputs (threat C26).
        spent.clear();
        for (input, outpoint) in checked.transaction().inputs.iter().enumerate() {
            let missing = SpendError::MissingCoin { input, outpoint: *outpoint };
            spent.push(purse.take(outpoint).ok_or_else(|| fail(missing))?);
        }
        let (fee, message) = spend(checked, &spent, context, verdicts).map_err(fail)?;
        claims.extend(message.into_iter().flat_map(|message| claims_of(checked, message)));
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
    let connected = ConnectedBlock { hash: block.hash(), height, fees, delta: purse.close() };
    Ok(SpentBlock { block: Arc::clone(block), connected, claims, claims_end })
}

/// Verifies the signatures of blocks that stand on one another, the lowest first, in batches that span them.
/// Returns those that hold, and where one does not, why: all above it are dropped.
#[must_use]
pub fn verify_blocks(
    blocks: Vec<SpentBlock>,
) -> (Vec<(Arc<CheckedBlock>, ConnectedBlock)>, Option<BlockError>) {
    let claims: Cow<'_, [Claim]> = match blocks.as_slice() {
        [only] => Cow::Borrowed(&only.claims),
        many => many.iter().flat_map(|spent| &spent.claims).copied().collect(),
    };
    let wrong = verify_all(&claims).err();
    drop(claims);
    let mut connected = Vec::with_capacity(blocks.len());
    let mut first = 0;
    for spent in blocks {
        if let Some(wrong) = wrong.filter(|wrong| *wrong < first + spent.claims.len()) {
            return (connected, Some(blame(&spent, wrong - first)));
        }
        first += spent.claims.len();
        connected.push((spent.block, spent.connected));
    }
    (connected, None)
}

/// Holds a block against all spending rules (K1, K5, S1 to S10). `fetched` holds the coins of
/// [`external_inputs`] that exist, and may hold others that do: the block must make none of them once more
/// (rule S6).
///
/// # Errors
/// [`BlockError`] with the first rule that is broken; of several wrong signatures the first is named.
pub fn connect_block(
    block: &Arc<CheckedBlock>,
    fetched: HashMap<OutPoint, Coin>,
    context: &SpendContext<'_>,
) -> Result<ConnectedBlock, BlockError> {
    let inputs = external_inputs(block);
    let coins: Vec<Option<Coin>> = inputs.iter().map(|outpoint| fetched.get(outpoint).cloned()).collect();
    let spent = spend_block(block, coins, context, &VerdictCache::default())?;
    let mut created = spent.delta().created.iter().map(|(outpoint, _)| *outpoint);
    if fetched.len() > inputs.len()
        && let Some(overwritten) = created.find(|outpoint| fetched.contains_key(outpoint))
    {
        return Err(BlockError::ExistingCoin(overwritten));
    }
    match verify_all(&spent.claims) {
        Ok(()) => Ok(spent.connected),
        Err(claim) => Err(blame(&spent, claim)),
    }
}

/// Names the transaction and the input that the claim number `claim` of a block belongs to.
fn blame(spent: &SpentBlock, claim: usize) -> BlockError {
    let index = spent.claims_end.partition_point(|end| *end <= claim);
    let first = index.checked_sub(1).map_or(0, |before| spent.claims_end[before]);
    let checked = &spent.block.transactions()[index];
    let input = input_of(checked, claim - first);
    BlockError::Spend { index, txid: checked.txid(), error: SpendError::BadSignature { input } }
}
