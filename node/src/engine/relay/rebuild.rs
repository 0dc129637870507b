//! A compact block made whole again from transactions that wait here and those that its sender gives.
//!
//! Pure: candidates in, a block out. Nothing is believed: a short id is a guess, and the Merkle root decides. It
//! must never say of a body whose transactions we guessed that its sender is at fault.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use chain::{
    block::{Block, HEADER_BYTES},
    check::CheckedTransaction,
    hash::BlockHash,
    merkle::{FORBIDDEN_LEAF_BYTES, root_and_mutation},
    transaction::Transaction,
};
use rayon::prelude::*;

use crate::p2p::wire::{CompactBlock, Prefilled, ShortId, ShortKey};

/// Bytes of the count of a block's transactions.
const COUNT_BYTES: usize = 4;
/// No transaction is smaller: inputs, outputs and witnesses have at least one element each (rules T3, T4, T6).
const MIN_TRANSACTION_BYTES: usize = 64;
/// Transactions that are hashed together on one core.
const LEAST_SHARE: usize = 64;

/// A transaction in its place.
#[derive(Clone, Debug)]
struct Part {
    transaction: Arc<Transaction>,
    leaf: [u8; 32],
    bytes: usize,
    /// Whether a short id alone says that it belongs here.
    is_guess: bool,
}

impl Part {
    fn given(transaction: &Arc<Transaction>) -> Self {
        let encoded = transaction.to_bytes();
        let leaf = chain::hash::sha256d(&encoded);
        Self { transaction: Arc::clone(transaction), leaf, bytes: encoded.len(), is_guess: false }
    }

    fn guess(checked: &CheckedTransaction) -> Self {
        Self {
            transaction: Arc::clone(checked.transaction()),
            leaf: checked.witness_txid().to_bytes(),
            // A size is held against a limit alone, and fits.
            bytes: usize::try_from(checked.size()).unwrap_or(usize::MAX),
            is_guess: true,
        }
    }
}

/// Why a body is not the header's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Mismatch {
    /// Two transactions look alike in six bytes: nobody's fault.
    Guessed,
    /// The sender gave all of it.
    Given,
}

/// A block of which some transactions may be missing.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Rebuild {
    compact: Arc<CompactBlock>,
    parts: Vec<Option<Part>>,
    missing: Vec<u32>,
    bytes: usize,
    limit: usize,
}

impl Rebuild {
    /// Begins with what is known here. `None` where this cannot work: two short ids are the same, or the block
    /// would exceed `limit` bytes. Then it is fetched whole, and whoever has it judges it.
    pub(in crate::engine) fn begin<'a>(
        compact: Arc<CompactBlock>,
        known: impl Iterator<Item = &'a Arc<CheckedTransaction>>,
        limit: usize,
    ) -> Option<Self> {
        // Six bytes a transaction reserve room for a place each: the count is held against the block's limit first.
        if compact.len() > limit / MIN_TRANSACTION_BYTES {
            return None;
        }
        let bytes = HEADER_BYTES + compact.coinbase.to_bytes().len() + COUNT_BYTES;
        let mut parts: Vec<Option<Part>> = vec![None; compact.len()];
        let prefilled: Vec<Part> = compact
            .prefilled
            .par_iter()
            .with_min_len(LEAST_SHARE)
            .map(|prefilled| Part::given(&prefilled.transaction))
            .collect();
        for (prefilled, part) in compact.prefilled.iter().zip(prefilled) {
            // An index beyond the block did not come through the wire.
            *parts.get_mut(usize::try_from(prefilled.index).ok()?)? = Some(part);
        }
        let mut wanted: HashMap<ShortId, u32> = HashMap::with_capacity(compact.short_ids.len());
        for (index, id) in compact.places() {
            if wanted.insert(id, index).is_some() {
                return None;
            }
        }
        let mut rebuild = Self { compact, parts, missing: Vec::new(), bytes, limit };
        rebuild.guess(&wanted, known);
        rebuild.count().then_some(rebuild)
    }

    /// Puts transactions where their short ids say. A place that two of them want is asked for.
    fn guess<'a>(
        &mut self,
        wanted: &HashMap<ShortId, u32>,
        known: impl Iterator<Item = &'a Arc<CheckedTransaction>>,
    ) {
        if wanted.is_empty() {
            return;
        }
        let key = ShortKey::new(&self.compact.header, self.compact.nonce);
        let mut contested = Vec::new();
        let mut found = 0;
        for checked in known {
            let index = wanted.get(&key.id(&checked.witness_txid())).and_then(|at| usize::try_from(*at).ok());
            let Some((index, part)) = index.and_then(|at| Some((at, self.parts.get_mut(at)?))) else {
                continue;
            };
            match part {
                None => {
                    *part = Some(Part::guess(checked));
                    found += 1;
                }
                Some(part) if part.leaf != checked.witness_txid().to_bytes() => contested.push(index),
                Some(_) => {}
            }
            // The later ones could only contest: that is as rare as it is harmless, since the root decides.
            if found == wanted.len() {
                break;
            }
        }
        for index in contested {
            self.parts[index] = None;
        }
    }

    /// Counts bytes and what is missing; whether the block can still be within its limit.
    fn count(&mut self) -> bool {
        self.bytes += self.parts.iter().flatten().map(|part| part.bytes).sum::<usize>();
        let empty = (0..).zip(&self.parts).filter(|(_, part)| part.is_none());
        self.missing = empty.map(|(index, _)| index).collect();
        self.bytes + self.missing.len() * MIN_TRANSACTION_BYTES <= self.limit
    }

    /// The block's hash.
    pub(in crate::engine) fn hash(&self) -> BlockHash {
        self.compact.hash()
    }

    /// The places whose transactions are missing, ascending.
    pub(in crate::engine) fn missing(&self) -> &[u32] {
        &self.missing
    }

    /// What is held while the missing ones are on their way, in bytes: what waits in the mempool is shared.
    pub(in crate::engine) fn held_bytes(&self) -> usize {
        let given = self.parts.iter().flatten().filter(|part| !part.is_guess);
        given.map(|part| part.bytes).sum::<usize>()
            + self.parts.len() * size_of::<Option<Part>>()
            + self.compact.short_ids.len() * size_of::<ShortId>()
    }

    /// Puts in what the sender gave for the missing places; whether it is as many as were asked for, and not
    /// more bytes than a block has.
    pub(in crate::engine) fn fill(&mut self, given: &[Arc<Transaction>]) -> bool {
        if given.len() != self.missing.len() {
            return false;
        }
        let given: Vec<Part> = given.par_iter().with_min_len(LEAST_SHARE).map(Part::given).collect();
        for (index, part) in self.missing.iter().zip(given) {
            self.bytes = self.bytes.saturating_add(part.bytes);
            if let Some(place) = usize::try_from(*index).ok().and_then(|at| self.parts.get_mut(at)) {
                *place = Some(part);
            }
        }
        self.bytes <= self.limit
    }

    /// The block, if it is the one that the header commits to.
    ///
    /// # Errors
    /// [`Mismatch`], with whose fault it is.
    pub(in crate::engine) fn finish(&self) -> Result<Block, Mismatch> {
        let mut leaves = vec![self.compact.coinbase.txid().to_bytes()];
        leaves.extend(self.parts.iter().flatten().map(|part| part.leaf));
        let parts = || self.parts.iter().flatten();
        let is_guess = parts().any(|part| part.is_guess);
        let has_fake_leaf = parts().any(|part| part.bytes == FORBIDDEN_LEAF_BYTES);
        let (root, is_mutated) = root_and_mutation(&leaves);
        let is_whole = leaves.len() == self.parts.len() + 1;
        if !is_whole || has_fake_leaf || is_mutated || root != self.compact.header.merkle_root {
            return Err(if is_guess { Mismatch::Guessed } else { Mismatch::Given });
        }
        Ok(Block {
            header: self.compact.header,
            coinbase: self.compact.coinbase.clone(),
            transactions: self.parts.iter().flatten().map(|part| Arc::clone(&part.transaction)).collect(),
        })
    }

    /// What is sent on: the same that came, with what was missing here carried whole, since the next will
    /// lack it too.
    pub(in crate::engine) fn relayed(&self) -> Arc<CompactBlock> {
        if self.missing.is_empty() {
            return Arc::clone(&self.compact);
        }
        let whole = |index: &u32| {
            let part = self.parts.get(usize::try_from(*index).ok()?)?.as_ref()?;
            Some(Prefilled { index: *index, transaction: Arc::clone(&part.transaction) })
        };
        Arc::new(self.compact.with_prefilled(self.missing.iter().filter_map(whole).collect()))
    }
}
