//! Transactions from users: judged, explained, submitted. Runs on the engine's thread.

use std::sync::Arc;

use chain::{
    amount::Amount,
    block::Block,
    check::CheckedTransaction,
    error::SpendError,
    genesis::Chain,
    hash::{BlockHash, TxId},
    height::Height,
    store::StoreError,
    transaction::{OutPoint, Transaction},
};
use rpc::backend::{Accepted, CommandError, Rejection, RejectionKind, ViewError};

use super::{
    super::thread::LiveEngine,
    reasons::{already_mined, rejection, spent_by},
};
use crate::{
    engine::{Now, mempool::AcceptError},
    store::index::{IndexHandle, IndexSnapshot},
};

/// How far back the history of an address is searched for who spent a coin.
const MAX_SPENDER_SEARCH: usize = 50;

/// The node must stop after a storage failure; whoever asked is told what happened.
pub(super) fn store_failed(error: impl ToString) -> CommandError {
    CommandError::View(ViewError(error.to_string()))
}

/// Whether the fee is above what the sender allows for 1,000 bytes.
fn check_fee_limit(fee: Amount, bytes: u32, limit: Option<Amount>) -> Result<(), Rejection> {
    let Some(limit) = limit else { return Ok(()) };
    let allowed = u128::from(limit.pebbles()) * u128::from(bytes);
    if u128::from(fee.pebbles()) * 1_000 <= allowed {
        return Ok(());
    }
    Err(Rejection {
        kind: RejectionKind::FeeTooHigh,
        reason: "max-fee-exceeded".into(),
        details: format!(
            "the fee of {fee} CRN for {bytes} bytes is above the limit of {limit} CRN for 1,000 bytes; raise maxfeerate if this is meant"
        ),
    })
}

/// The height of a block that is known.
pub(super) fn height_of(engine: &LiveEngine, block: &BlockHash) -> Height {
    let tree = engine.ledger().tree();
    tree.find(block).map_or(Height::ZERO, |id| tree.node(id).height())
}

/// Judges a transaction as the mempool would, with words for what is mined already, as far as `index` knows.
pub(super) fn judge(
    engine: &LiveEngine,
    index: Option<&IndexHandle>,
    checked: &Arc<CheckedTransaction>,
    max_fee_rate: Option<Amount>,
    now: Now,
) -> Result<Accepted, CommandError> {
    let judged = engine.mempool().judge(checked, engine.ledger(), now.wall);
    let fee = judged.map_err(|error| explain(engine, index, checked, &error))?;
    check_fee_limit(fee, checked.size(), max_fee_rate)?;
    Ok(Accepted { fee, size: checked.size() })
}

/// The refusal of a transaction. A mined one is known by the index, or by its coins; a coin that is gone is
/// reported with the transaction that spent it, which only the index knows.
fn explain(
    engine: &LiveEngine,
    index: Option<&IndexHandle>,
    checked: &CheckedTransaction,
    error: &AcceptError,
) -> CommandError {
    let AcceptError::Spend(SpendError::MissingCoin { outpoint, .. }) = error else {
        return rejection(error).map_or_else(|| store_failed(error), CommandError::from);
    };
    let known = || -> Result<Option<CommandError>, StoreError> {
        let snapshot = index.map(IndexHandle::snapshot);
        if let Some(snapshot) = &snapshot
            && let Some(place) = snapshot.transaction(&checked.txid())?
        {
            return Ok(Some(already_mined(place.height).into()));
        }
        let count = checked.transaction().outputs.len();
        let made = (0..).take(count).map(|index| OutPoint { txid: checked.txid(), index });
        let coins = engine.ledger().coins(&made.collect::<Vec<_>>())?;
        if let Some(coin) = coins.into_iter().flatten().next() {
            return Ok(Some(already_mined(coin.height).into()));
        }
        let Some(snapshot) = snapshot else { return Ok(None) };
        let spender = spender_of(engine, &snapshot, outpoint)?;
        Ok(spender.map(|by| spent_by(outpoint, &by).into()))
    };
    match known() {
        Ok(Some(refusal)) => refusal,
        Ok(None) => rejection(error).map_or_else(|| store_failed(error), CommandError::from),
        Err(error) => store_failed(error),
    }
}

/// The block of the active chain at a height, where the index is not ahead of it.
fn active_block(engine: &LiveEngine, height: Height) -> Result<Option<Block>, StoreError> {
    let ledger = engine.ledger();
    let Some(node) = ledger.active(height) else { return Ok(None) };
    ledger.block(&ledger.tree().node(node).hash())
}

/// Which mined transaction spent a coin, as far as the history of the coin's address tells. The index may be at
/// another tip than the engine: what it says is held against the blocks.
fn spender_of(
    engine: &LiveEngine,
    index: &IndexSnapshot<'_>,
    outpoint: &OutPoint,
) -> Result<Option<TxId>, StoreError> {
    let Some(place) = index.transaction(&outpoint.txid)? else { return Ok(None) };
    let Some(block) = active_block(engine, place.height)? else { return Ok(None) };
    let outputs = match place.position.checked_sub(1).map(usize::try_from) {
        None => Some(&block.coinbase.outputs),
        Some(position) => position.ok().and_then(|at| block.transactions.get(at)).map(|tx| &tx.outputs),
    };
    let at = usize::try_from(outpoint.index).unwrap_or(usize::MAX);
    let address = outputs.and_then(|outputs| outputs.get(at)).and_then(|output| output.address().copied());
    let Some(address) = address else { return Ok(None) };
    for event in index.address_history(&address, 0, MAX_SPENDER_SEARCH)? {
        if event.sent == Amount::ZERO {
            continue;
        }
        let Some(block) = active_block(engine, event.height)? else { continue };
        let at = event.position.checked_sub(1).and_then(|position| usize::try_from(position).ok());
        let spends = |transaction: &Arc<Transaction>| transaction.inputs.contains(outpoint);
        if at.and_then(|at| block.transactions.get(at)).is_some_and(spends) {
            return Ok(Some(event.txid));
        }
    }
    Ok(None)
}

/// Holds a transaction against the isolated rules.
pub(super) fn check(
    transaction: impl Into<Arc<Transaction>>,
    chain: &Chain,
) -> Result<Arc<CheckedTransaction>, CommandError> {
    CheckedTransaction::check(transaction, chain).map(Arc::new).map_err(|error| {
        let error = AcceptError::Invalid(error);
        rejection(&error).map_or_else(|| store_failed(&error), CommandError::from)
    })
}

/// Offers a transaction to the mempool; one that waits there already is announced again.
pub(super) fn submit_transaction(
    engine: &mut LiveEngine,
    index: Option<&IndexHandle>,
    transaction: Arc<Transaction>,
    max_fee_rate: Option<Amount>,
    now: Now,
) -> Result<TxId, CommandError> {
    let checked = check(transaction, engine.ledger().chain())?;
    let known = engine.mempool().get(&checked.txid()).is_some();
    if let Err(refusal) = judge(engine, index, &checked, max_fee_rate, now) {
        if known {
            // Whoever sends again fears that it was lost: it is announced again.
            engine.publish_waiting(&checked.txid());
        }
        return Err(refusal);
    }
    engine
        .submit_transaction(Arc::clone(checked.transaction()), now)
        .map_err(|error| rejection(&error).map_or_else(|| store_failed(&error), CommandError::from))
}
