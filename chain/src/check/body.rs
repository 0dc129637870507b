//! Isolated rules of blocks: whether this is the body that the header commits to, and whether each of its
//! transactions could be in any block at all.

use std::{ops::Range, sync::Arc};

use rayon::prelude::*;

use super::{CheckedTransaction, NewBlock, VerdictCache, arrival::Parts, isolated::add_within};
use crate::{
    amount::Amount,
    block::{Block, Header},
    encoded::{EncodedBlock, Leaf},
    error::{BlockError, BodyError, SubmitError, TransactionError},
    genesis::Chain,
    hash::{BlockHash, TxId, WitnessTxId, sha256d},
    keyed::{KeyedSet, KeyedState},
    merkle::{FORBIDDEN_LEAF_BYTES, root_and_mutation},
    transaction::{Coinbase, Output, Transaction},
};

/// Transactions that are checked together on one core: fewer are done before another core has woken up.
const LEAST_SHARE: usize = 64;

/// A block that breaks no isolated rule, with the ids of its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBlock {
    block_header: Header,
    coinbase: Coinbase,
    transactions: Vec<Arc<CheckedTransaction>>,
    hash: BlockHash,
    coinbase_txid: TxId,
    coinbase_claim: Amount,
    encoded: Vec<u8>,
    bytes: u32,
    /// Transactions whose outputs later ones of this block spend; mostly none.
    inner_parents: KeyedSet<TxId>,
}

impl CheckedBlock {
    /// Holds a block against the isolated rules: first whether this is the body that the header commits to
    /// (M1 to M3), since only of that body can a fault be held against the header; then all others.
    ///
    /// # Errors
    /// [`SubmitError::WrongBody`] or [`SubmitError::Invalid`].
    pub fn check(block: impl Into<NewBlock>, chain: &Chain) -> Result<Self, SubmitError> {
        Self::check_knowing(block, chain, &VerdictCache::default())
    }

    /// As [`Self::check`], but transactions that `verdicts` knows are neither decoded nor checked again: their
    /// witness ids, which are hashed anew from this block's bytes, say that they are the same.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_knowing(
        block: impl Into<NewBlock>,
        chain: &Chain,
        verdicts: &VerdictCache,
    ) -> Result<Self, SubmitError> {
        let (EncodedBlock { header, coinbase, bytes: encoded, coinbase_bytes, leaves }, parts) =
            block.into().encode();
        let hashes = hash_leaves(&encoded, coinbase_bytes, &leaves, &parts);
        let (found, mutated) = root_and_mutation(&hashes);
        if found != header.merkle_root {
            return Err(BodyError::WrongRoot { found, committed: header.merkle_root }.into());
        }
        if mutated {
            return Err(BodyError::Mutated.into());
        }
        if let Some(index) = leaves.iter().position(|leaf| leaf.bytes.len() == FORBIDDEN_LEAF_BYTES) {
            return Err(BodyError::SixtyFourBytes(index).into());
        }
        let limit = chain.params().max_block_bytes;
        let bytes = u32::try_from(encoded.len()).ok().filter(|bytes| *bytes <= limit);
        let bytes = bytes.ok_or(BlockError::TooLarge { bytes: encoded.len(), limit })?;
        let coinbase_claim = check_coinbase(&coinbase.outputs, chain.max_supply())?;
        let transactions = check_transactions(parts, &leaves, &hashes[1..], &encoded, chain, verdicts)?;
        Ok(Self {
            hash: header.hash(),
            block_header: header,
            coinbase,
            inner_parents: inner_parents(&transactions),
            transactions,
            coinbase_txid: TxId::from_bytes(hashes[0]),
            coinbase_claim,
            encoded,
            bytes,
        })
    }

    /// The header's hash.
    #[must_use]
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.block_header
    }

    /// The coinbase.
    #[must_use]
    pub const fn coinbase(&self) -> &Coinbase {
        &self.coinbase
    }

    /// The coinbase's id.
    #[must_use]
    pub const fn coinbase_txid(&self) -> TxId {
        self.coinbase_txid
    }

    /// What the coinbase claims.
    #[must_use]
    pub const fn coinbase_claim(&self) -> Amount {
        self.coinbase_claim
    }

    /// All transactions but the coinbase.
    #[must_use]
    pub fn transactions(&self) -> &[Arc<CheckedTransaction>] {
        &self.transactions
    }

    /// The consensus encoding of the whole block.
    #[must_use]
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Whether a later transaction of this block spends an output of this one.
    pub(crate) fn is_inner_parent(&self, txid: &TxId) -> bool {
        !self.inner_parents.is_empty() && self.inner_parents.contains(txid)
    }

    /// The size of the block in bytes (rule B1).
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.bytes
    }

    /// The block as it came; its transactions are shared, not copied.
    #[must_use]
    pub fn to_block(&self) -> Block {
        Block {
            header: self.block_header,
            coinbase: self.coinbase.clone(),
            transactions: self.transactions.iter().map(|checked| Arc::clone(checked.transaction())).collect(),
        }
    }
}

fn check_coinbase(outputs: &[Output], max_supply: Amount) -> Result<Amount, BlockError> {
    let mut sum = Amount::ZERO;
    for (index, output) in outputs.iter().enumerate() {
        if output.address().is_none() {
            return Err(BlockError::CoinbaseData(index));
        }
        if output.amount == Amount::ZERO {
            return Err(BlockError::CoinbaseZero(index));
        }
        sum = add_within(sum, output.amount, max_supply)
            .map_err(|claimed| BlockError::CoinbaseClaim { claimed, allowed: max_supply })?;
    }
    Ok(sum)
}

/// What the leaves hash to, the coinbase's first. What was checked before has been hashed.
fn hash_leaves(encoded: &[u8], coinbase: Range<usize>, leaves: &[Leaf], parts: &Parts) -> Vec<[u8; 32]> {
    let mut hashes = vec![[0; 32]; 1 + leaves.len()];
    hashes[0] = sha256d(&encoded[coinbase]);
    let pairs = hashes[1..].par_iter_mut().zip(leaves).enumerate().with_min_len(LEAST_SHARE);
    pairs.for_each(|(index, (hash, leaf))| {
        *hash = match parts.checked(index) {
            Some(checked) => checked.witness_txid().to_bytes(),
            None => sha256d(&encoded[leaf.bytes.clone()]),
        };
    });
    hashes
}

fn check_transactions(
    parts: Parts,
    leaves: &[Leaf],
    hashes: &[[u8; 32]],
    encoded: &[u8],
    chain: &Chain,
    verdicts: &VerdictCache,
) -> Result<Vec<Arc<CheckedTransaction>>, BlockError> {
    let check = |index: usize| {
        if let Some(checked) = parts.checked(index) {
            return Ok(Arc::clone(checked));
        }
        let (leaf, witness_txid) = (&leaves[index], WitnessTxId::from_bytes(hashes[index]));
        if let Some(known) = verdicts.find(&witness_txid) {
            return Ok(Arc::clone(known.checked()));
        }
        let bytes = &encoded[leaf.bytes.clone()];
        let transaction = match &parts {
            Parts::Decoded(transactions) => Arc::clone(&transactions[index]),
            Parts::Pieces(pieces) => Arc::clone(pieces[index].transaction()),
            Parts::Encoded => {
                let decoded = Transaction::from_bytes(bytes);
                Arc::new(decoded.expect("the encoding was read as strictly when the block came"))
            }
        };
        CheckedTransaction::check_encoded(transaction, bytes, leaf.unsigned, witness_txid, chain)
            .map(Arc::new)
    };
    let outcomes: Vec<Result<Arc<CheckedTransaction>, TransactionError>> =
        (0..leaves.len()).into_par_iter().with_min_len(LEAST_SHARE).map(check).collect();
    let mut checked = Vec::with_capacity(outcomes.len());
    let limit = chain.params().max_block_signatures;
    let mut signatures: usize = 0;
    // On whatever core a fault was seen first, the one of the lowest transaction is named.
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let transaction = outcome.map_err(|error| BlockError::Transaction { index, error })?;
        // Never more than the block has bytes.
        signatures += usize::try_from(transaction.signatures()).unwrap_or(usize::MAX);
        checked.push(transaction);
    }
    if usize::try_from(limit).is_ok_and(|limit| signatures > limit) {
        return Err(BlockError::ManySignatures { signatures, limit });
    }
    Ok(checked)
}

/// The transactions whose outputs others of the same block spend.
fn inner_parents(transactions: &[Arc<CheckedTransaction>]) -> KeyedSet<TxId> {
    let mut own = KeyedSet::with_capacity_and_hasher(transactions.len(), KeyedState::new());
    own.extend(transactions.iter().map(|checked| checked.txid()));
    let inputs = transactions.iter().flat_map(|checked| &checked.transaction().inputs);
    inputs.map(|input| input.txid).filter(|txid| own.contains(txid)).collect()
}
