//! A compact block made whole again from transactions that wait here and those that its sender gives.
//!
//! Pure: candidates in, a block out. Nothing is believed: a short id is a guess, and the Merkle root decides. It
//! must never say of a body whose transactions we guessed that its sender is at fault.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use chain::{
    block::HEADER_BYTES,
    check::{CheckedBlock, CheckedTransaction, NewBlock, Piece, VerdictCache},
    error::SubmitError,
    genesis::Chain,
    hash::{BlockHash, WitnessTxId},
    transaction::Transaction,
};

use crate::p2p::wire::{CompactBlock, Prefilled, ShortId, ShortKey};

/// Bytes of the count of a block's transactions.
const COUNT_BYTES: usize = 4;
/// No transaction is smaller: inputs, outputs and witnesses have at least one element each (rules T3, T4, T6).
const MIN_TRANSACTION_BYTES: usize = 64;
/// A transaction in its place: of one that was checked, a short id alone says that it belongs here.
#[derive(Clone, Debug)]
struct Part {
    piece: Piece,
    bytes: usize,
}

impl Part {
    fn given(transaction: &Arc<Transaction>) -> Self {
        Self { bytes: transaction.to_bytes().len(), piece: Piece::Plain(Arc::clone(transaction)) }
    }

    fn guess(checked: &Arc<CheckedTransaction>) -> Self {
        // A size is held against a limit alone, and fits.
        let bytes = usize::try_from(checked.size()).unwrap_or(usize::MAX);
        Self { piece: Piece::Checked(Arc::clone(checked)), bytes }
    }

    /// What is guessed to be here.
    fn guessed(&self) -> Option<WitnessTxId> {
        match &self.piece {
            Piece::Checked(checked) => Some(checked.witness_txid()),
            Piece::Plain(_) => None,
        }
    }
}

/// Why there is no block to be passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Unfit {
    /// This is not the header's body: two transactions look alike in six bytes, which is nobody's fault.
    Guessed,
    /// The sender gave all of a body that is not the header's.
    Given,
    /// This is the header's body, and it breaks an isolated rule: so does every block with this header.
    Invalid(Box<NewBlock>),
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
        for prefilled in &compact.prefilled {
            // An index beyond the block did not come through the wire.
            let place = parts.get_mut(usize::try_from(prefilled.index).ok()?)?;
            *place = Some(Part::given(&prefilled.transaction));
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
                Some(part) if part.guessed() != Some(checked.witness_txid()) => contested.push(index),
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
        let given = self.parts.iter().flatten().filter(|part| part.guessed().is_none());
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
        for (index, part) in self.missing.iter().zip(given.iter().map(Part::given)) {
            self.bytes = self.bytes.saturating_add(part.bytes);
            if let Some(place) = usize::try_from(*index).ok().and_then(|at| self.parts.get_mut(at)) {
                *place = Some(part);
            }
        }
        self.bytes <= self.limit
    }

    /// The block, if it is the one that the header commits to, held against all isolated rules.
    ///
    /// # Errors
    /// [`Unfit`], with whose fault it is.
    pub(in crate::engine) fn finish(
        &self,
        chain: &Chain,
        verdicts: &VerdictCache,
    ) -> Result<CheckedBlock, Unfit> {
        let is_guess = self.parts.iter().flatten().any(|part| part.guessed().is_some());
        let unfit = || if is_guess { Unfit::Guessed } else { Unfit::Given };
        match CheckedBlock::check_knowing(self.assemble().ok_or_else(unfit)?, chain, verdicts) {
            Ok(checked) => Ok(checked),
            Err(SubmitError::WrongBody(_)) => Err(unfit()),
            Err(_) => Err(Unfit::Invalid(Box::new(self.assemble().ok_or_else(unfit)?))),
        }
    }

    /// The block, as far as can be told; none while something is missing.
    fn assemble(&self) -> Option<NewBlock> {
        let pieces = self.parts.iter().map(|part| part.as_ref().map(|part| part.piece.clone()));
        Some(NewBlock::Assembled {
            header: self.compact.header,
            coinbase: self.compact.coinbase.clone(),
            transactions: pieces.collect::<Option<_>>()?,
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
            Some(Prefilled { index: *index, transaction: Arc::clone(part.piece.transaction()) })
        };
        Arc::new(self.compact.with_prefilled(self.missing.iter().filter_map(whole).collect()))
    }
}
