//! What was verified before need not be verified again.
//!
//! A transaction's witness id commits to its signatures, its policies and the coins that it names, and with
//! the outputs that those coins hold it decides whether its policies and signatures hold. Only the place in
//! the chain is left to ask: maturity, and conditions on height, time and age. So a block of transactions
//! that all waited in the mempool costs no signature, and neither does walking a fork again.
//!
//! A verdict is only ever taken for the very same bytes that spend the very same outputs; it is lost, never
//! wrong. The cache holds no verdict that says no: those are cheap to forge and expensive to keep.

use std::{collections::VecDeque, sync::Arc};

use super::{CheckedTransaction, VerifiedTransaction};
use crate::{hash::WitnessTxId, keyed::KeyedMap, utxo::Coin};

/// The most verdicts that are kept.
pub const MAX_VERDICTS: usize = 100_000;
/// The most memory that verdicts occupy, in bytes. Those of waiting transactions share theirs with the
/// mempool.
pub const MAX_VERDICT_BYTES: usize = 64 << 20;

/// Verdicts on transactions, the oldest forgotten first.
#[derive(Clone, Debug, Default)]
pub struct VerdictCache {
    verdicts: KeyedMap<WitnessTxId, Arc<VerifiedTransaction>>,
    /// With the bytes that each occupies.
    order: VecDeque<(WitnessTxId, usize)>,
    bytes: usize,
}

impl VerdictCache {
    /// The verdict on the transaction with this witness id.
    #[must_use]
    pub fn find(&self, witness_txid: &WitnessTxId) -> Option<&Arc<VerifiedTransaction>> {
        if self.verdicts.is_empty() {
            return None;
        }
        self.verdicts.get(witness_txid)
    }

    /// The verdict on a transaction that spends these coins.
    pub(super) fn judge(
        &self,
        checked: &CheckedTransaction,
        spent: &[Coin],
    ) -> Option<&Arc<VerifiedTransaction>> {
        let verdict = self.find(&checked.witness_txid())?;
        let same = verdict.spent().iter().zip(spent).all(|(then, now)| then.output == now.output);
        Some(verdict).filter(|_| same && verdict.spent().len() == spent.len())
    }

    /// Remembers a verdict.
    pub fn remember(&mut self, verified: Arc<VerifiedTransaction>) {
        let witness_txid = verified.checked().witness_txid();
        let bytes = verified.memory_bytes();
        if self.verdicts.insert(witness_txid, verified).is_some() {
            return;
        }
        self.bytes += bytes;
        self.order.push_back((witness_txid, bytes));
        while self.order.len() > MAX_VERDICTS || self.bytes > MAX_VERDICT_BYTES {
            let Some((oldest, bytes)) = self.order.pop_front() else { break };
            self.verdicts.remove(&oldest);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// How many verdicts are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.verdicts.len()
    }

    /// Whether nothing was remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.verdicts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        address::Address,
        amount::Amount,
        genesis::Chain,
        hash::TxId,
        height::Height,
        policy::{PublicKey, Witness},
        transaction::{OutPoint, Output, Transaction},
    };

    /// A transaction that was never verified: what is counted here does not look inside.
    fn verdict(number: u32, inputs: u32) -> Arc<VerifiedTransaction> {
        let outpoint = |index| OutPoint { txid: TxId::from_bytes([7; 32]), index };
        let output = Output::pay(Address::from_bytes([1; 32]), Amount::from_pebbles(1));
        let transaction = Transaction {
            inputs: (0..inputs).map(|input| outpoint(number.wrapping_mul(1_000) + input)).collect(),
            outputs: vec![output.clone()],
            witnesses: vec![Witness::signed(PublicKey([2; 32]), [3; 64]); inputs as usize],
        };
        let checked = CheckedTransaction::check(transaction, &Chain::dev()).expect("isolated rules hold");
        let coin = Coin { output, height: Height::ZERO, coinbase: false };
        let spent = vec![coin; inputs as usize];
        Arc::new(VerifiedTransaction::of_connected(Arc::new(checked), spent, Amount::ZERO))
    }

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many_or_they_are_too_large() {
        let mut cache = VerdictCache::default();
        let large = verdict(0, 900);
        let fit = MAX_VERDICT_BYTES / large.memory_bytes();
        assert!(fit < MAX_VERDICTS);
        for number in 0..=u32::try_from(fit).expect("few") {
            cache.remember(verdict(number, 900));
            cache.remember(verdict(number, 900));
            assert!(cache.bytes <= MAX_VERDICT_BYTES);
        }
        assert_eq!(cache.len(), fit, "the same one counts once");
        assert!(cache.find(&large.checked().witness_txid()).is_none());
        assert!(cache.find(&verdict(1, 900).checked().witness_txid()).is_some());
        // Small ones push the large ones out, and are then bounded by their number.
        for number in 0..=u32::try_from(MAX_VERDICTS).expect("few") {
            cache.remember(verdict(1_000_000 + number, 1));
        }
        assert_eq!(cache.len(), MAX_VERDICTS);
        let kept: usize = cache.verdicts.values().map(|verdict| verdict.memory_bytes()).sum();
        assert_eq!(kept, cache.bytes);
        assert_eq!(cache.order.len(), cache.len());
    }
}
