//! Taking transactions, one or many: first what costs nothing, then all coins in one look-up, then the fees,
//! then all signatures in one batch. Nothing that is wrong spoils what comes with it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use chain::{
    amount::Amount,
    check::{
        CheckedTransaction, SpendContext, SpentTransaction, VerifiedTransaction, spend_transaction,
        verify_signatures,
    },
    error::{SpendError, TransactionError},
    hash::TxId,
    ledger::Ledger,
    params::Params,
    store::{Store, StoreError},
    time::Time,
    transaction::{OutPoint, Transaction},
    utxo::Coin,
};

use super::{
    AcceptError, Departed, Departure, Giver, Mempool,
    entry::{charged_bytes, memory_bytes, weight},
    floor::fee_at,
    graph::{ClusterLimits, FeeRate, Slot},
};

/// What a block holds beside its transactions, with room for a coinbase of some outputs.
const BLOCK_OVERHEAD_BYTES: u32 = 400;
/// The most bytes of a cluster of several transactions: what somebody else can hang onto an output and make
/// whoever replaces it pay for (threat M02).
pub const MAX_CLUSTER_BYTES: u32 = 100_000;
/// The least that an output to an address may hold, in pebbles: three times what it costs at the lowest fee rate
/// to spend one that belongs to one key (threat M10). Coinbases and blocks are free of it.
pub const DUST_PEBBLES: u64 = 400;

/// On whose behalf a transaction comes, and which rules beyond validity it must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// All of them: it is new. A giver's shares are held against it.
    Relay(Option<Giver>),
    /// None but the limits of clusters: it was in a block or here before, and returns if it is valid.
    Return,
}

impl Policy {
    const fn giver(self) -> Option<Giver> {
        match self {
            Self::Relay(giver) => giver,
            Self::Return => None,
        }
    }
}

/// A transaction that is offered.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) checked: Result<Arc<CheckedTransaction>, TransactionError>,
    /// Since when it waits.
    pub(super) time: Time,
}

/// What taking a transaction would do.
struct Plan {
    /// Of which state of the mempool this is true.
    changes: u64,
    parents: Vec<Slot>,
    /// Those that it replaces, with their descendants.
    replaced: BTreeSet<Slot>,
    /// Those that make room for it, and the best rate among them.
    evicted: BTreeSet<Slot>,
    best_evicted: Option<FeeRate>,
}

/// Everything that the transactions of a batch are held against.
struct Round<'a, S> {
    ledger: &'a Ledger<S>,
    context: SpendContext<'a>,
    policy: Policy,
    now: Time,
}

impl Mempool {
    /// Takes a transaction if it is valid on the tip, pays enough, and may replace what it conflicts with.
    ///
    /// # Errors
    /// [`AcceptError`]; the mempool is then as it was.
    pub fn accept<S: Store>(
        &mut self,
        transaction: impl Into<Arc<Transaction>>,
        ledger: &Ledger<S>,
        now: Time,
    ) -> Result<TxId, AcceptError> {
        only(self.accept_all(vec![transaction.into()], None, ledger, now))
    }

    /// Takes several transactions, parents before children: as [`Self::accept`] for each in turn, but all coins
    /// are looked up together and all signatures verified together.
    ///
    /// # Errors
    /// For each transaction its own; a storage failure is told for each.
    pub fn accept_batch<S: Store>(
        &mut self,
        transactions: Vec<Arc<Transaction>>,
        ledger: &Ledger<S>,
        now: Time,
    ) -> Vec<Result<TxId, AcceptError>> {
        self.accept_all(transactions, None, ledger, now)
    }

    /// As [`Self::accept_batch`], for what a peer gave: its shares are held against it, and what was refused on
    /// this tip is refused at once.
    ///
    /// # Errors
    /// As [`Self::accept_batch`].
    pub fn accept_from<S: Store>(
        &mut self,
        giver: Giver,
        transactions: Vec<Arc<Transaction>>,
        ledger: &Ledger<S>,
        now: Time,
    ) -> Vec<Result<TxId, AcceptError>> {
        self.accept_all(transactions, Some(giver), ledger, now)
    }

    fn accept_all<S: Store>(
        &mut self,
        transactions: Vec<Arc<Transaction>>,
        giver: Option<Giver>,
        ledger: &Ledger<S>,
        now: Time,
    ) -> Vec<Result<TxId, AcceptError>> {
        let offers =
            transactions.into_iter().map(|transaction| Offer::new(transaction, ledger, now)).collect();
        self.accept_by(offers, Policy::Relay(giver), ledger, now)
    }

    /// Whether a transaction would be taken, without taking it; its fee.
    ///
    /// # Errors
    /// [`AcceptError`], as [`Self::accept`].
    pub fn judge<S: Store>(
        &self,
        checked: &Arc<CheckedTransaction>,
        ledger: &Ledger<S>,
        now: Time,
    ) -> Result<Amount, AcceptError> {
        let context = ledger.next_spend_context();
        let round = Round { ledger, context, policy: Policy::Relay(None), now };
        self.check_cheaply(checked, &round)?;
        let mut coins = self.find_coins(&[Some(checked)], &round)?.into_iter();
        let spent = round.spend(checked, coins.next().unwrap_or_default())?;
        self.check_worth(&spent, &round)?;
        let verified = only(verify_signatures(vec![spent])).map_err(AcceptError::from)?;
        self.plan(verified.checked(), verified.fee(), &round).map(|_| verified.fee())
    }

    pub(super) fn accept_by<S: Store>(
        &mut self,
        offers: Vec<Offer>,
        policy: Policy,
        ledger: &Ledger<S>,
        now: Time,
    ) -> Vec<Result<TxId, AcceptError>> {
        let round = Round { ledger, context: ledger.next_spend_context(), policy, now };
        let mut times = Vec::with_capacity(offers.len());
        let mut checked = Vec::with_capacity(offers.len());
        let mut outcomes = Vec::with_capacity(offers.len());
        for offer in offers {
            times.push(offer.time);
            let outcome = offer.checked.map_err(AcceptError::from);
            match outcome.and_then(|checked| self.check_cheaply(&checked, &round).map(|()| checked)) {
                Ok(transaction) => {
                    outcomes.push(Ok(transaction.txid()));
                    checked.push(Some(transaction));
                }
                Err(error) => {
                    outcomes.push(Err(error));
                    checked.push(None);
                }
            }
        }
        let wanted: Vec<Option<&Arc<CheckedTransaction>>> = checked.iter().map(Option::as_ref).collect();
        let coins = match self.find_coins(&wanted, &round) {
            Ok(coins) => coins,
            Err(error) => return fail_all(outcomes, &error),
        };
        let (spent, plans) = self.spend_all(&checked, coins, &round, &mut outcomes);
        for (verdict, (place, plan)) in verify_signatures(spent).into_iter().zip(plans) {
            let taken = verdict
                .map_err(AcceptError::from)
                .and_then(|verified| self.take_in(Arc::new(verified), plan, times[place], &round));
            if let (Err(AcceptError::Spend(error)), Some(transaction)) = (&taken, &checked[place]) {
                self.note_refusal(transaction, error, &round);
            }
            if let Err(error) = taken {
                outcomes[place] = Err(error);
            }
        }
        outcomes
    }

    /// What can be said of a transaction before its coins are looked up.
    fn check_cheaply<S: Store>(
        &self,
        checked: &CheckedTransaction,
        round: &Round<'_, S>,
    ) -> Result<(), AcceptError> {
        let params = round.context.chain.params();
        let (bytes, signatures) = (checked.size(), checked.signatures());
        if bytes > room_bytes(params) || signatures > params.max_block_signatures {
            return Err(AcceptError::Unminable { bytes, signatures });
        }
        if self.slots.contains_key(&checked.txid()) {
            return Err(AcceptError::Known);
        }
        let Policy::Relay(giver) = round.policy else { return Ok(()) };
        if giver.is_some() && self.refused.contains(&checked.witness_txid()) {
            return Err(AcceptError::RefusedBefore);
        }
        self.check_share(checked, round)?;
        let least = Amount::from_pebbles(DUST_PEBBLES);
        let mut outputs = checked.transaction().outputs.iter().enumerate();
        let dust = outputs.find(|(_, output)| output.address().is_some() && output.amount < least);
        dust.map_or(Ok(()), |(index, output)| Err(AcceptError::Dust { index, amount: output.amount, least }))
    }

    /// Whether there is room for it in the share of whoever gave it.
    fn check_share<S: Store>(
        &self,
        checked: &CheckedTransaction,
        round: &Round<'_, S>,
    ) -> Result<(), AcceptError> {
        let (adds, held) = (memory_bytes(checked), self.memory_bytes);
        let allows = |giver| self.shares.allows(giver, adds, held, self.max_memory_bytes, round.now);
        if round.policy.giver().is_none_or(allows) { Ok(()) } else { Err(AcceptError::ShareSpent) }
    }

    /// The coins that transactions spend, of the ledger and of what waits here, in one look-up. In the order of
    /// the transactions and of their inputs.
    fn find_coins<S: Store>(
        &self,
        transactions: &[Option<&Arc<CheckedTransaction>>],
        round: &Round<'_, S>,
    ) -> Result<Vec<Vec<Option<Coin>>>, StoreError> {
        let inputs = transactions.iter().flatten().flat_map(|checked| &checked.transaction().inputs);
        let wanted: Vec<OutPoint> =
            inputs.filter(|input| !self.slots.contains_key(&input.txid)).copied().collect();
        let mut stored = round.ledger.coins(&wanted)?.into_iter();
        let mut find = |outpoint: &OutPoint| {
            if self.slots.contains_key(&outpoint.txid) {
                return self.output(outpoint, round.context.height);
            }
            stored.next().flatten()
        };
        let of = |checked: &Option<&Arc<CheckedTransaction>>| {
            checked.map_or(Vec::new(), |checked| checked.transaction().inputs.iter().map(&mut find).collect())
        };
        Ok(transactions.iter().map(of).collect())
    }

    /// Holds all transactions against the spending rules but the signatures, and against what they must pay;
    /// those that are left, and for each its place and what taking it would do.
    fn spend_all<S: Store>(
        &mut self,
        checked: &[Option<Arc<CheckedTransaction>>],
        coins: Vec<Vec<Option<Coin>>>,
        round: &Round<'_, S>,
        outcomes: &mut [Result<TxId, AcceptError>],
    ) -> (Vec<SpentTransaction>, Vec<(usize, Option<Plan>)>) {
        let (mut spent, mut plans) = (Vec::with_capacity(checked.len()), Vec::with_capacity(checked.len()));
        // Those of this batch that may be spent by later ones; a batch of one has none.
        let alone = outcomes.len() == 1;
        let mut made: HashMap<TxId, Arc<CheckedTransaction>> = HashMap::new();
        for (place, (checked, mut coins)) in checked.iter().zip(coins).enumerate() {
            let Some(checked) = checked else { continue };
            for (input, coin) in checked.transaction().inputs.iter().zip(&mut coins) {
                if coin.is_none()
                    && let Some(parent) = made.get(&input.txid)
                {
                    *coin = output_of(parent, input, &round.context);
                }
            }
            let outcome = round.spend(checked, coins).map_err(AcceptError::from).and_then(|spent| {
                let plan = self.check_worth(&spent, round)?;
                Ok((spent, plan))
            });
            match outcome {
                Ok((transaction, plan)) => {
                    if !alone {
                        made.insert(checked.txid(), Arc::clone(checked));
                    }
                    spent.push(transaction);
                    plans.push((place, plan));
                }
                Err(error) => {
                    if let AcceptError::Spend(error) = &error {
                        self.note_refusal(checked, error, round);
                    }
                    outcomes[place] = Err(error);
                }
            }
        }
        (spent, plans)
    }

    /// Whether a transaction pays enough to be worth verifying its signatures; what taking it would do, now.
    fn check_worth<S: Store>(
        &self,
        spent: &SpentTransaction,
        round: &Round<'_, S>,
    ) -> Result<Option<Plan>, AcceptError> {
        if round.policy == Policy::Return {
            return Ok(None);
        }
        let (checked, fee) = (spent.checked(), spent.fee());
        let bytes = charged_bytes(checked);
        let needed = fee_at(self.min_fee_rate(round.now), bytes);
        if fee < needed {
            return Err(AcceptError::LowFee { fee, needed, bytes });
        }
        // All that can be refused without signatures is: they are the dearest to verify.
        self.plan(checked, fee, round).map(Some)
    }

    fn parents_of(&self, checked: &CheckedTransaction) -> Vec<Slot> {
        let inputs = &checked.transaction().inputs;
        let parents: BTreeSet<Slot> =
            inputs.iter().filter_map(|input| self.slots.get(&input.txid)).copied().collect();
        parents.into_iter().collect()
    }

    /// What taking a transaction would do, now.
    fn plan<S: Store>(
        &self,
        checked: &CheckedTransaction,
        fee: Amount,
        round: &Round<'_, S>,
    ) -> Result<Plan, AcceptError> {
        if self.slots.contains_key(&checked.txid()) {
            return Err(AcceptError::Known);
        }
        let params = round.context.chain.params();
        let limits = ClusterLimits {
            bytes: MAX_CLUSTER_BYTES.min(room_bytes(params)),
            signatures: params.max_block_signatures,
        };
        let parents = self.parents_of(checked);
        let replaced = match round.policy {
            Policy::Relay(_) => self.find_replaced(checked, fee, &parents, limits)?,
            Policy::Return => self.refuse_conflict(checked)?,
        };
        let weight = weight(checked, fee, self.next_sequence);
        self.graph
            .check_cluster(weight, &parents, &replaced, limits)
            .map_err(|_| AcceptError::ClusterFull)?;
        let (evicted, best_evicted) = match round.policy {
            Policy::Relay(_) => self.find_room(checked, fee, &parents, &replaced)?,
            // What returns is put in first; then the worst go.
            Policy::Return => (BTreeSet::new(), None),
        };
        Ok(Plan { changes: self.changes, parents, replaced, evicted, best_evicted })
    }

    /// Takes a transaction of which all rules hold on the tip.
    fn take_in<S: Store>(
        &mut self,
        verified: Arc<VerifiedTransaction>,
        plan: Option<Plan>,
        time: Time,
        round: &Round<'_, S>,
    ) -> Result<(), AcceptError> {
        let txid = verified.checked().txid();
        self.check_unconfirmed(&verified, round)?;
        // Others of its batch may have used the share up.
        self.check_share(verified.checked(), round)?;
        let plan = match plan {
            Some(plan) if plan.changes == self.changes => plan,
            _ => self.plan(verified.checked(), verified.fee(), round)?,
        };
        for (leaving, why) in
            [(&plan.replaced, Departure::Replaced { by: txid }), (&plan.evicted, Departure::Evicted)]
        {
            let leaving: Vec<Slot> = leaving.iter().copied().collect();
            for entry in self.take(&leaving) {
                let left = entry.transaction().txid();
                tracing::debug!(txid = %left, ?why, "transaction left the mempool");
                self.departed.keep(entry.transaction());
                self.departed.insert(left, Departed { why, time: round.now });
            }
        }
        if let Some(rate) = plan.best_evicted {
            self.floor.raise(rate, round.now, false);
        }
        let height = round.ledger.tip().id.height;
        self.insert(verified, &plan.parents, (time, height), round.policy.giver());
        if round.policy == Policy::Return {
            self.trim(round.now);
        }
        Ok(())
    }

    /// Whether the unconfirmed coins that a transaction spends are still here: what it stood on may have been
    /// refused or displaced by others of its batch.
    fn check_unconfirmed<S: Store>(
        &self,
        verified: &VerifiedTransaction,
        round: &Round<'_, S>,
    ) -> Result<(), SpendError> {
        let inputs = verified.checked().transaction().inputs.iter().enumerate();
        for ((input, outpoint), coin) in inputs.zip(verified.spent()) {
            // Only what waits here is of the next block's height.
            if coin.height == round.context.height && !self.slots.contains_key(&outpoint.txid) {
                return Err(SpendError::MissingCoin { input, outpoint: *outpoint });
            }
        }
        Ok(())
    }

    /// Remembers what is wrong with its own bytes on this tip; a coin that is missing may come any moment.
    fn note_refusal<S: Store>(
        &mut self,
        checked: &CheckedTransaction,
        error: &SpendError,
        round: &Round<'_, S>,
    ) {
        if matches!(error, SpendError::MissingCoin { .. }) {
            return;
        }
        self.refused.insert(checked.witness_txid());
        if let (SpendError::BadSignature { .. }, Some(giver)) = (error, round.policy.giver()) {
            self.shares.waste(giver, checked.signatures(), round.now);
        }
    }
}

impl Offer {
    pub(super) fn new<S: Store>(transaction: Arc<Transaction>, ledger: &Ledger<S>, time: Time) -> Self {
        let checked = CheckedTransaction::check(transaction, ledger.chain());
        Self { checked: checked.map(Arc::new), time }
    }
}

impl<S: Store> Round<'_, S> {
    fn spend(
        &self,
        checked: &Arc<CheckedTransaction>,
        coins: Vec<Option<Coin>>,
    ) -> Result<SpentTransaction, SpendError> {
        spend_transaction(Arc::clone(checked), coins, &self.context, self.ledger.verdicts())
    }
}

/// The bytes that a block has for transactions.
const fn room_bytes(params: &Params) -> u32 {
    params.max_block_bytes.saturating_sub(BLOCK_OVERHEAD_BYTES)
}

/// An output of a transaction of the same batch, as the coin that it will be in the next block.
fn output_of(parent: &CheckedTransaction, outpoint: &OutPoint, context: &SpendContext<'_>) -> Option<Coin> {
    let output = parent.transaction().outputs.get(usize::try_from(outpoint.index).ok()?)?;
    output.address()?;
    Some(Coin { output: output.clone(), height: context.height, coinbase: false })
}

fn only<T, E>(outcomes: Vec<Result<T, E>>) -> Result<T, E> {
    let mut outcomes = outcomes;
    outcomes.pop().expect("one transaction has one outcome")
}

/// The store failed: nothing can be said of those that were not refused before.
fn fail_all(outcomes: Vec<Result<TxId, AcceptError>>, error: &StoreError) -> Vec<Result<TxId, AcceptError>> {
    let fail = |outcome: Result<TxId, AcceptError>| {
        outcome.and_then(|_| Err(StoreError::new(error.to_string()).into()))
    };
    outcomes.into_iter().map(fail).collect()
}
