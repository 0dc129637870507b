//! The fake's mempool: relatives by looking through all of it, again and again. Every transaction pays [`FEE`],
//! and its chunk is it and all that it depends on.

use std::sync::Arc;

use chain::{
    amount::Amount,
    hash::TxId,
    time::Time,
    transaction::{OutPoint, Transaction},
    utxo::Coin,
};
use rpc::backend::*;

use super::{FEE, State};

impl State {
    /// The coin that a block of the active chain made, spent or not.
    pub fn made(&self, outpoint: &OutPoint) -> Coin {
        for (height, block) in self.with_heights() {
            let coinbase = (block.coinbase.txid(), &block.coinbase.outputs, true);
            let others = block.transactions.iter().map(|other| (other.txid(), &other.outputs, false));
            for (txid, outputs, coinbase) in std::iter::once(coinbase).chain(others) {
                if txid == outpoint.txid {
                    let output = outputs[usize::try_from(outpoint.index).expect("small")].clone();
                    return Coin { output, height, coinbase };
                }
            }
        }
        panic!("{outpoint} was never made")
    }

    pub fn parents(&self, transaction: &Transaction) -> Vec<Arc<Transaction>> {
        let spends = |other: &&Arc<Transaction>| {
            let txid = other.txid();
            transaction.inputs.iter().any(|input| input.txid == txid)
        };
        self.mempool.iter().filter(spends).cloned().collect()
    }

    pub fn children(&self, transaction: &Transaction) -> Vec<Arc<Transaction>> {
        let txid = transaction.txid();
        let spends = |other: &&Arc<Transaction>| other.inputs.iter().any(|input| input.txid == txid);
        self.mempool.iter().filter(spends).cloned().collect()
    }

    /// A transaction and all that is reached from it, in the mempool's order.
    fn reach(
        &self,
        transaction: &Arc<Transaction>,
        next: fn(&Self, &Transaction) -> Vec<Arc<Transaction>>,
    ) -> Vec<Arc<Transaction>> {
        let mut found = vec![Arc::clone(transaction)];
        let mut at = 0;
        while let Some(one) = found.get(at).cloned() {
            for other in next(self, &one) {
                if !found.iter().any(|known| Arc::ptr_eq(known, &other)) {
                    found.push(other);
                }
            }
            at += 1;
        }
        let mut ordered = self.mempool.clone();
        ordered.retain(|one| found.iter().any(|known| Arc::ptr_eq(known, one)));
        ordered
    }

    pub fn relatives(
        &self,
        txid: &TxId,
        next: fn(&Self, &Transaction) -> Vec<Arc<Transaction>>,
    ) -> Option<Vec<MempoolEntry>> {
        let found = self.mempool.iter().find(|transaction| transaction.txid() == *txid)?;
        let others = self.reach(found, next).into_iter().filter(|other| !Arc::ptr_eq(other, found));
        Some(others.map(|other| self.waiting(&other)).collect())
    }

    pub fn waiting(&self, transaction: &Arc<Transaction>) -> MempoolEntry {
        let ids = |found: Vec<Arc<Transaction>>| found.iter().map(|other| other.txid()).collect();
        let ancestors = kin(&self.reach(transaction, Self::parents));
        MempoolEntry {
            transaction: Arc::clone(transaction),
            txid: transaction.txid(),
            witness_txid: transaction.witness_txid(),
            fee: Amount::from_pebbles(FEE),
            size: u32::try_from(transaction.to_bytes().len()).expect("small"),
            time: Time::from_secs(1_000_000_000),
            height: self.tip_height(),
            depends: ids(self.parents(transaction)),
            spent_by: ids(self.children(transaction)),
            ancestors,
            descendants: kin(&self.reach(transaction, Self::children)),
            chunk: Chunk { bytes: ancestors.bytes, fees: ancestors.fees },
        }
    }

    pub fn mempool_state(&self) -> MempoolState {
        let all = kin(&self.mempool);
        MempoolState {
            count: u64::from(all.count),
            bytes: all.bytes,
            memory_bytes: all.bytes,
            max_memory_bytes: 1 << 28,
            total_fee: all.fees,
            loaded: true,
            min_fee_rate: Amount::from_pebbles(1_000),
            min_relay_fee_rate: Amount::from_pebbles(1_000),
            incremental_fee_rate: Amount::from_pebbles(500),
            max_cluster_count: 64,
            max_cluster_bytes: 101_000,
        }
    }
}

fn kin(transactions: &[Arc<Transaction>]) -> Kin {
    let bytes: usize = transactions.iter().map(|transaction| transaction.to_bytes().len()).sum();
    Kin {
        count: u32::try_from(transactions.len()).expect("few"),
        bytes: bytes as u64,
        fees: Amount::from_pebbles(FEE * transactions.len() as u64),
    }
}
