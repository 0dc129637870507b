//! What only the indexes know, for one RPC answer: the index at the engine's tip, and the engine's mempool.

use std::{sync::Arc, time::Duration};

use chain::{
    address::Address,
    amount::Amount,
    hash::TxId,
    height::Height,
    ledger::BlockId,
    store::StoreError,
    transaction::{OutPoint, Output},
};
use rpc::backend::{
    AddressBalance, AddressCoin, AddressEvent, IndexError, IndexView, TransactionPlace, Unavailable, View,
    ViewError,
};

use super::{
    super::thread::{EngineHandle, LiveEngine},
    view::{EngineView, failed, sum},
};
use crate::{
    engine::{Now, mempool::Entry},
    store::index::{IndexHandle, IndexSnapshot, IndexedCoin},
};

/// Up to how many blocks the index may be behind for an answer to wait for it: what it makes up for in about a
/// second where blocks are small.
const MAX_INDEX_LAG_BLOCKS: u32 = 10_000;
/// How long an answer waits for the index to move at all: below the time that clients wait for an answer.
const INDEX_WAIT: Duration = Duration::from_secs(10);
/// Reads with the index at the engine's tip; waits where it is a little behind.
pub(super) async fn read_indexed<R: Send + 'static>(
    engine: &EngineHandle,
    index: Option<&IndexHandle>,
    read: impl FnOnce(&dyn View, &dyn IndexView) -> R + Send + 'static,
) -> Result<R, IndexError> {
    let Some(index) = index else { return Err(IndexError::Off) };
    let mut progress = index.progress();
    let mut read = read;
    loop {
        // Marked as seen before the tips are compared, so that no change in between is missed.
        let behind = *progress.borrow_and_update();
        let asked = index.clone();
        let outcome = engine.call(move |engine, now| read_at_tip(engine, now, &asked, read)).await;
        let tip = match outcome.map_err(|_| Unavailable)?? {
            AtTip::Done(answer) => return Ok(answer),
            AtTip::Behind { unused, tip } => {
                read = unused;
                tip
            }
        };
        let far = tip.since(behind.tip.height).is_some_and(|blocks| blocks > MAX_INDEX_LAG_BLOCKS);
        let is_late = far
            || match tokio::time::timeout(INDEX_WAIT, progress.changed()).await {
                Ok(changed) => changed.map(|()| false).map_err(|_| Unavailable)?,
                Err(_) => true,
            };
        if is_late {
            let height = progress.borrow().tip.height;
            return Err(IndexError::CatchingUp { height, of: tip });
        }
    }
}

/// What came of reading with the index.
enum AtTip<R, F> {
    Done(R),
    /// The index is not at the tip; what was to be read was not.
    Behind {
        unused: F,
        tip: Height,
    },
}

/// Reads with the index, if it is at the engine's tip.
fn read_at_tip<R, F: FnOnce(&dyn View, &dyn IndexView) -> R>(
    engine: &mut LiveEngine,
    now: Now,
    index: &IndexHandle,
    read: F,
) -> Result<AtTip<R, F>, IndexError> {
    let failed = |error: StoreError| IndexError::View(ViewError(error.to_string()));
    let tip = engine.ledger().tip().id;
    let snapshot = index.snapshot();
    if snapshot.tip().map_err(failed)? == tip {
        let view = IndexedView { engine, index: snapshot };
        return Ok(AtTip::Done(read(&EngineView(engine, now), &view)));
    }
    drop(snapshot);
    // The indexer follows what is on the disk.
    engine.flush().map_err(failed)?;
    index.wake();
    Ok(AtTip::Behind { unused: read, tip: tip.height })
}

/// The engine and an index that is at its tip.
pub(super) struct IndexedView<'a> {
    /// The engine.
    pub(super) engine: &'a LiveEngine,
    /// The index. Its tip is the engine's.
    pub(super) index: IndexSnapshot<'a>,
}

impl IndexedView<'_> {
    /// What a waiting transaction does to an address.
    fn mempool_event(&self, entry: &Entry, address: &Address) -> Result<Option<AddressEvent>, ViewError> {
        let checked = entry.transaction();
        let to_address = |output: &Output| output.address() == Some(address);
        let received = sum(checked.transaction().outputs.iter().filter(|output| to_address(output)));
        let mut sent = Amount::ZERO;
        let transaction = checked.transaction();
        for (input, witness) in transaction.inputs.iter().zip(&transaction.witnesses) {
            // What is spent was paid to the policy that is revealed: only then is a coin worth a look-up.
            if Address::of_policy(&witness.policy) != *address {
                continue;
            }
            let spent = self.any_output(input)?;
            if let Some(output) = spent.filter(to_address) {
                sent = sent.checked_add(output.amount).unwrap_or(sent);
            }
        }
        if received == Amount::ZERO && sent == Amount::ZERO {
            return Ok(None);
        }
        let (txid, time) = (checked.txid(), entry.time());
        Ok(Some(AddressEvent { txid, block: None, time, coinbase: false, received, sent }))
    }

    /// The output at an outpoint, of a confirmed coin or of a waiting transaction.
    fn any_output(&self, outpoint: &OutPoint) -> Result<Option<Output>, ViewError> {
        let coin = self.engine.ledger().coins(&[*outpoint]).map_err(failed)?.pop().flatten();
        let waiting = || self.engine.mempool().output(outpoint, Height::ZERO);
        Ok(coin.or_else(waiting).map(|coin| coin.output))
    }

    /// Outputs to an address that wait and that nothing waiting spends.
    fn waiting_coins(&self, address: &Address) -> Vec<AddressCoin> {
        let mempool = self.engine.mempool();
        let mut coins = Vec::new();
        for entry in mempool.of_address(address) {
            let txid = entry.transaction().txid();
            for (index, output) in (0..).zip(&entry.transaction().transaction().outputs) {
                let outpoint = OutPoint { txid, index };
                if output.address() == Some(address) && mempool.spender(&outpoint).is_none() {
                    let (amount, height) = (output.amount, None);
                    coins.push(AddressCoin { outpoint, amount, height, coinbase: false, spent_by: None });
                }
            }
        }
        coins
    }
}

fn overflow(address: &Address) -> ViewError {
    ViewError(format!("the coins of the address {address:?} are more than there can be"))
}

impl IndexView for IndexedView<'_> {
    fn transaction(&self, txid: &TxId) -> Result<Option<TransactionPlace>, ViewError> {
        if let Some(entry) = self.engine.mempool().get(txid) {
            let transaction = Arc::clone(entry.transaction().transaction());
            return Ok(Some(TransactionPlace::Mempool(transaction)));
        }
        let Some(place) = self.index.transaction(txid).map_err(failed)? else { return Ok(None) };
        let ledger = self.engine.ledger();
        let lost = || ViewError(format!("the index names block {}, which is not here", place.height));
        let node = ledger.active(place.height).ok_or_else(lost)?;
        let id = BlockId { height: place.height, hash: ledger.tree().node(node).hash() };
        let block = ledger.block(&id.hash).map_err(failed)?.ok_or_else(lost)?;
        let position = usize::try_from(place.position).map_err(|_| lost())?;
        Ok(Some(TransactionPlace::Block { block: Arc::new(block), id, position }))
    }

    fn address_coins(&self, address: &Address, limit: usize) -> Result<Vec<AddressCoin>, ViewError> {
        let mempool = self.engine.mempool();
        let listed = |coin: IndexedCoin| AddressCoin {
            outpoint: coin.outpoint,
            amount: coin.amount,
            height: Some(coin.height),
            coinbase: coin.coinbase,
            spent_by: mempool.spender(&coin.outpoint),
        };
        let stored = self.index.address_coins(address).map_err(failed)?.take(limit);
        let mut coins: Vec<AddressCoin> =
            stored.map(|coin| coin.map(listed)).collect::<Result<_, _>>().map_err(failed)?;
        if coins.len() < limit {
            coins.extend(self.waiting_coins(address));
            coins.truncate(limit);
        }
        Ok(coins)
    }

    fn address_balance(&self, address: &Address) -> Result<AddressBalance, ViewError> {
        let ledger = self.engine.ledger();
        let maturity = ledger.chain().params().maturity_blocks;
        let tip = ledger.tip().id.height.get();
        // The next block's height less the coin's decides.
        let is_mature = |height: Height| tip.saturating_sub(height.get()).saturating_add(1) >= maturity;
        let mut sums = AddressBalance::default();
        for coin in self.index.address_coins(address).map_err(failed)? {
            let coin = coin.map_err(failed)?;
            let sum = if coin.coinbase && !is_mature(coin.height) {
                &mut sums.immature
            } else if self.engine.mempool().spender(&coin.outpoint).is_some() {
                &mut sums.spending
            } else {
                &mut sums.spendable
            };
            *sum = sum.checked_add(coin.amount).ok_or_else(|| overflow(address))?;
        }
        for coin in self.waiting_coins(address) {
            let total = sums.unconfirmed.checked_add(coin.amount);
            sums.unconfirmed = total.ok_or_else(|| overflow(address))?;
        }
        Ok(sums)
    }

    fn address_history(
        &self,
        address: &Address,
        mut skip: usize,
        limit: usize,
    ) -> Result<Vec<AddressEvent>, ViewError> {
        let mut events = Vec::new();
        for entry in self.engine.mempool().of_address(address).rev() {
            if events.len() == limit {
                break;
            }
            match self.mempool_event(entry, address)? {
                Some(_) if skip > 0 => skip -= 1,
                event => events.extend(event),
            }
        }
        let limit = limit.saturating_sub(events.len());
        let ledger = self.engine.ledger();
        for event in self.index.address_history(address, skip, limit).map_err(failed)? {
            let lost = || ViewError(format!("the index names block {}, which is not here", event.height));
            let node = ledger.tree().node(ledger.active(event.height).ok_or_else(lost)?);
            events.push(AddressEvent {
                txid: event.txid,
                block: Some(BlockId { height: event.height, hash: node.hash() }),
                time: node.header().time,
                coinbase: event.position == 0,
                received: event.received,
                sent: event.sent,
            });
        }
        Ok(events)
    }
}
