//! A snapshot of the node for one RPC answer: the engine between two events, so that nothing in one answer
//! mixes two tips (threat R16).

use std::sync::Arc;

use chain::{
    address::Address,
    amount::Amount,
    block::Block,
    hash::{BlockHash, TxId},
    height::Height,
    ledger::BlockId,
    store::StoreError,
    transaction::{OutPoint, Output},
    tree::{Node, NodeId},
    utxo::Coin,
};
use rpc::backend::{
    AddressCoin, AddressEvent, BlockStatus, BranchTip, Departure, FoundCoin, HeaderEntry, MempoolEntry,
    MempoolState, SyncState, TransactionPlace, View, ViewError,
};

use super::{super::thread::LiveEngine, waiting};
use crate::engine::{Now, mempool::Entry};

/// The engine, read at a time.
pub(super) struct EngineView<'a>(pub(super) &'a LiveEngine, pub(super) Now);

fn failed(error: StoreError) -> ViewError {
    ViewError(error.to_string())
}

impl EngineView<'_> {
    fn status(&self, id: NodeId, node: &Node) -> BlockStatus {
        match () {
            () if node.is_invalid() => BlockStatus::Invalid,
            () if self.0.ledger().is_active(id) => BlockStatus::Active,
            () if node.was_connected() => BlockStatus::ValidFork,
            () if node.has_body() => BlockStatus::ValidHeaders,
            () => BlockStatus::HeadersOnly,
        }
    }

    fn entry(&self, id: NodeId) -> HeaderEntry {
        let tree = self.0.ledger().tree();
        let node = tree.node(id);
        HeaderEntry {
            id: BlockId { height: node.height(), hash: node.hash() },
            header: *node.header(),
            work: node.work(),
            median_time_past: tree.median_time_past(id),
            status: self.status(id, node),
        }
    }

    fn tip_node(&self) -> NodeId {
        let ledger = self.0.ledger();
        ledger.active(ledger.tip().id.height).unwrap_or(NodeId::GENESIS)
    }

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

    /// The coin at an outpoint as of the tip.
    fn confirmed(&self, outpoint: &OutPoint) -> Result<Option<Coin>, ViewError> {
        Ok(self.0.ledger().coins(&[*outpoint]).map_err(failed)?.pop().flatten())
    }

    /// The output at an outpoint, of a confirmed coin or of a waiting transaction.
    fn any_output(&self, outpoint: &OutPoint) -> Result<Option<Output>, ViewError> {
        let coin = self.confirmed(outpoint)?;
        let waiting = || self.0.mempool().output(outpoint, Height::ZERO);
        Ok(coin.or_else(waiting).map(|coin| coin.output))
    }
}

fn sum<'a>(outputs: impl Iterator<Item = &'a Output>) -> Amount {
    let add = |sum: Amount, output: &Output| sum.checked_add(output.amount).unwrap_or(sum);
    // The supply bounds what one transaction can pay.
    outputs.fold(Amount::ZERO, add)
}

impl View for EngineView<'_> {
    fn tip(&self) -> HeaderEntry {
        self.entry(self.tip_node())
    }

    fn best_header(&self) -> BlockId {
        let tree = self.0.ledger().tree();
        let node = tree.node(tree.best_header());
        BlockId { height: node.height(), hash: node.hash() }
    }

    fn header(&self, hash: &BlockHash) -> Option<HeaderEntry> {
        self.0.ledger().tree().find(hash).map(|id| self.entry(id))
    }

    fn active_hash(&self, height: Height) -> Option<BlockHash> {
        let ledger = self.0.ledger();
        ledger.active(height).map(|id| ledger.tree().node(id).hash())
    }

    fn branch_tips(&self) -> Vec<BranchTip> {
        let tree = self.0.ledger().tree();
        let tip = self.tip_node();
        let branch = |id: NodeId| {
            let node = tree.node(id);
            let (mut at, mut branch_length) = (id, 0);
            while let Some(parent) = tree.node(at).parent().filter(|_| !self.0.ledger().is_active(at)) {
                branch_length += 1;
                at = parent;
            }
            BranchTip {
                id: BlockId { height: node.height(), hash: node.hash() },
                branch_length,
                status: self.status(id, node),
            }
        };
        // The active tip may have children that are not connected: it is the end of its chain all the same.
        let others = tree.leaves().filter(|id| *id != tip);
        std::iter::once(tip).chain(others).map(branch).collect()
    }

    fn block(&self, hash: &BlockHash) -> Result<Option<Arc<Block>>, ViewError> {
        Ok(self.0.ledger().block(hash).map_err(failed)?.map(Arc::new))
    }

    fn transaction(&self, txid: &TxId) -> Result<Option<TransactionPlace>, ViewError> {
        if let Some(entry) = self.0.mempool().get(txid) {
            let transaction = Arc::clone(entry.transaction().transaction());
            return Ok(Some(TransactionPlace::Mempool(transaction)));
        }
        let found = self.0.ledger().store().snapshot().transaction_location(txid).map_err(failed)?;
        let Some(location) = found else { return Ok(None) };
        let ledger = self.0.ledger();
        let lost = || ViewError(format!("the index names {}, which is not here", location.block));
        let node = ledger.tree().find(&location.block).ok_or_else(lost)?;
        let block = ledger.block(&location.block).map_err(failed)?.ok_or_else(lost)?;
        let id = BlockId { height: ledger.tree().node(node).height(), hash: location.block };
        let position = usize::try_from(location.position).map_err(|_| lost())?;
        Ok(Some(TransactionPlace::Block { block: Arc::new(block), id, position }))
    }

    fn coin(&self, outpoint: &OutPoint, include_mempool: bool) -> Result<Option<FoundCoin>, ViewError> {
        let mempool = self.0.mempool();
        if include_mempool && mempool.spender(outpoint).is_some() {
            return Ok(None);
        }
        if let Some(coin) = self.confirmed(outpoint)? {
            let (output, coinbase) = (coin.output, coin.coinbase);
            return Ok(Some(FoundCoin { output, height: Some(coin.height), coinbase }));
        }
        let waiting = mempool.output(outpoint, Height::ZERO).filter(|_| include_mempool);
        Ok(waiting.map(|coin| FoundCoin { output: coin.output, height: None, coinbase: false }))
    }

    fn address_coins(&self, address: &Address, limit: usize) -> Result<Vec<AddressCoin>, ViewError> {
        let mempool = self.0.mempool();
        let stored = self.0.ledger().store().snapshot().address_coins(address, limit).map_err(failed)?;
        let mut coins: Vec<AddressCoin> = stored
            .into_iter()
            .map(|(outpoint, coin)| AddressCoin {
                outpoint,
                amount: coin.output.amount,
                height: Some(coin.height),
                coinbase: coin.coinbase,
                spent_by: mempool.spender(&outpoint),
            })
            .collect();
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
        coins.truncate(limit);
        Ok(coins)
    }

    fn address_history(
        &self,
        address: &Address,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<AddressEvent>, ViewError> {
        let mut events = Vec::new();
        for entry in self.0.mempool().of_address(address).rev() {
            events.extend(self.mempool_event(entry, address)?);
        }
        let waiting = events.len();
        let mut events: Vec<AddressEvent> = events.into_iter().skip(skip).take(limit).collect();
        let (skip, limit) = (skip.saturating_sub(waiting), limit.saturating_sub(events.len()));
        let ledger = self.0.ledger();
        let confirmed = ledger.store().snapshot().address_history(address, skip, limit).map_err(failed)?;
        for event in confirmed {
            let Some(id) = ledger.active(event.height) else { continue };
            let node = ledger.tree().node(id);
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

    fn mempool(&self) -> MempoolState {
        waiting::state(self.0.mempool(), self.1.wall)
    }

    fn mempool_ids(&self) -> Vec<TxId> {
        self.0.mempool().best().map(|entry| entry.transaction().txid()).collect()
    }

    fn mempool_entries(&self) -> Vec<MempoolEntry> {
        let mempool = self.0.mempool();
        mempool.best().map(|entry| waiting::show(mempool, entry)).collect()
    }

    fn mempool_entry(&self, txid: &TxId) -> Option<MempoolEntry> {
        let mempool = self.0.mempool();
        mempool.get(txid).map(|entry| waiting::show(mempool, entry))
    }

    fn mempool_ancestors(&self, txid: &TxId) -> Option<Vec<MempoolEntry>> {
        waiting::ancestors(self.0.mempool(), txid)
    }

    fn mempool_descendants(&self, txid: &TxId) -> Option<Vec<MempoolEntry>> {
        waiting::descendants(self.0.mempool(), txid)
    }

    fn departure(&self, txid: &TxId) -> Option<Departure> {
        waiting::departure(self.0.mempool(), txid)
    }

    fn sync(&self) -> SyncState {
        let (tip, best) = (self.0.ledger().tip().id.height, self.best_header().height);
        let progress = match best.get() {
            0 => 1.0,
            best => (f64::from(tip.get()) / f64::from(best)).min(1.0),
        };
        SyncState {
            initial_download: self.0.is_catching_up(),
            progress,
            // What cannot be measured counts nothing; reading for real fails where it matters.
            disk_bytes: self.0.ledger().store().snapshot().disk_bytes().unwrap_or(0),
        }
    }
}
