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
    utxo::Coin,
};
use rpc::backend::{
    BlockStatus, BranchTip, Departure, FoundCoin, HeaderEntry, MempoolEntry, MempoolState, SyncState, View,
    ViewError,
};

use super::{super::thread::LiveEngine, waiting};
use crate::engine::Now;

/// The engine, read at a time.
pub(super) struct EngineView<'a>(pub(super) &'a LiveEngine, pub(super) Now);

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

    /// The coin at an outpoint as of the tip.
    fn confirmed(&self, outpoint: &OutPoint) -> Result<Option<Coin>, ViewError> {
        Ok(self.0.ledger().coins(&[*outpoint]).map_err(failed)?.pop().flatten())
    }
}

pub(super) fn sum<'a>(outputs: impl Iterator<Item = &'a Output>) -> Amount {
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

    fn mempool_transaction(&self, txid: &TxId) -> Option<Arc<Transaction>> {
        self.0.mempool().get(txid).map(|entry| Arc::clone(entry.transaction().transaction()))
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

    fn mempool(&self) -> MempoolState {
        waiting::state(self.0.mempool(), !self.0.is_restoring(), self.1.wall)
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
