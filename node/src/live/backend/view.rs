//! A snapshot of the node for one RPC answer: the engine between two events, so that nothing in one answer
//! mixes two tips (threat R16).

use std::sync::Arc;

use chain::{
    amount::Amount,
    block::Block,
    hash::{BlockHash, TxId},
    height::Height,
    ledger::BlockId,
    store::StoreError,
    transaction::{OutPoint, Output, Transaction},
    tree::{Node, NodeId},
};
use rpc::backend::{
    BlockStatus, BranchTip, FoundCoin, HeaderEntry, MempoolEntry, MempoolState, SyncState, View, ViewError,
};

use super::super::thread::LiveEngine;
use crate::engine::mempool::{Entry, MIN_RELAY_FEE_RATE};

/// The engine, read.
pub(super) struct EngineView<'a>(pub(super) &'a LiveEngine);

pub(super) fn failed(error: StoreError) -> ViewError {
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

    /// What is known of a header. `count` reads the body to count its transactions, which most do not need.
    fn entry(&self, id: NodeId, count: bool) -> HeaderEntry {
        let tree = self.0.ledger().tree();
        let node = tree.node(id);
        let wanted = Some(node.hash()).filter(|_| count && node.has_body());
        // A body that cannot be counted is reported by whoever asks for the body itself.
        let body = wanted.and_then(|hash| self.0.ledger().block(&hash).ok().flatten());
        let transactions = body.and_then(|block| u32::try_from(block.transactions.len() + 1).ok());
        HeaderEntry {
            id: BlockId { height: node.height(), hash: node.hash() },
            header: *node.header(),
            work: node.work(),
            median_time_past: tree.median_time_past(id),
            status: self.status(id, node),
            transactions,
        }
    }

    fn tip_node(&self) -> NodeId {
        let ledger = self.0.ledger();
        ledger.active(ledger.tip().id.height).unwrap_or(NodeId::GENESIS)
    }

    fn mempool_entry(&self, entry: &Entry) -> MempoolEntry {
        let checked = entry.transaction();
        MempoolEntry {
            transaction: Arc::clone(checked.transaction()),
            txid: checked.txid(),
            witness_txid: checked.witness_txid(),
            fee: entry.fee(),
            size: checked.size(),
            time: entry.time(),
            height: entry.height(),
            depends: entry.parents().iter().copied().collect(),
        }
    }
}

pub(super) fn sum<'a>(outputs: impl Iterator<Item = &'a Output>) -> Amount {
    let add = |sum: Amount, output: &Output| sum.checked_add(output.amount).unwrap_or(sum);
    // The supply bounds what one transaction can pay.
    outputs.fold(Amount::ZERO, add)
}

impl View for EngineView<'_> {
    fn tip(&self) -> HeaderEntry {
        self.entry(self.tip_node(), false)
    }

    fn best_header(&self) -> BlockId {
        let tree = self.0.ledger().tree();
        let node = tree.node(tree.best_header());
        BlockId { height: node.height(), hash: node.hash() }
    }

    fn header(&self, hash: &BlockHash) -> Option<HeaderEntry> {
        self.0.ledger().tree().find(hash).map(|id| self.entry(id, true))
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

    fn block_fees(&self, hash: &BlockHash) -> Result<Option<Vec<Amount>>, ViewError> {
        let snapshot = self.0.ledger().store().snapshot();
        let (Some(block), Some(undo)) =
            (snapshot.block(hash).map_err(failed)?, snapshot.undo(hash).map_err(failed)?)
        else {
            return Ok(None);
        };
        let mut known: std::collections::HashMap<OutPoint, Amount> =
            undo.iter().map(|(outpoint, coin)| (*outpoint, coin.output.amount)).collect();
        let mut fees = Vec::with_capacity(block.transactions.len());
        for transaction in &block.transactions {
            let spent = transaction.inputs.iter().filter_map(|input| known.get(input).copied());
            let inputs = spent.fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).unwrap_or(sum));
            fees.push(inputs.checked_sub(sum(transaction.outputs.iter())).unwrap_or_default());
            let txid = transaction.txid();
            let made = (0..).zip(&transaction.outputs);
            known.extend(made.map(|(index, output)| (OutPoint { txid, index }, output.amount)));
        }
        Ok(Some(fees))
    }

    fn mempool_transaction(&self, txid: &TxId) -> Option<Arc<Transaction>> {
        self.0.mempool().get(txid).map(|entry| Arc::clone(entry.transaction().transaction()))
    }

    fn coin(&self, outpoint: &OutPoint, include_mempool: bool) -> Result<Option<FoundCoin>, ViewError> {
        let mempool = self.0.mempool();
        if include_mempool && mempool.spender(outpoint).is_some() {
            return Ok(None);
        }
        let stored = self.0.ledger().coins(&[*outpoint]).map_err(failed)?;
        if let Some(coin) = stored.into_iter().flatten().next() {
            let (output, coinbase) = (coin.output, coin.coinbase);
            return Ok(Some(FoundCoin { output, height: Some(coin.height), coinbase }));
        }
        let waiting = mempool.output(outpoint, Height::ZERO).filter(|_| include_mempool);
        Ok(waiting.map(|coin| FoundCoin { output: coin.output, height: None, coinbase: false }))
    }

    fn mempool(&self) -> MempoolState {
        let mempool = self.0.mempool();
        let add = |sum: Amount, entry: &Entry| sum.checked_add(entry.fee()).unwrap_or(sum);
        let rate = Amount::from_pebbles(MIN_RELAY_FEE_RATE);
        MempoolState {
            count: mempool.len() as u64,
            bytes: mempool.bytes(),
            memory_bytes: mempool.bytes(),
            max_memory_bytes: mempool.max_bytes(),
            total_fee: mempool.entries().fold(Amount::ZERO, add),
            min_fee_rate: rate,
            min_relay_fee_rate: rate,
        }
    }

    fn mempool_ids(&self) -> Vec<TxId> {
        self.0.mempool().candidates().iter().map(|candidate| candidate.transaction.txid()).collect()
    }

    fn mempool_entries(&self) -> Vec<MempoolEntry> {
        let mempool = self.0.mempool();
        let ordered = mempool.candidates();
        let entries = ordered.iter().filter_map(|candidate| mempool.get(&candidate.transaction.txid()));
        entries.map(|entry| self.mempool_entry(entry)).collect()
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
