//! Which candidates a template takes: the best ones that fit, none without its parent.
//!
//! The mempool gives its candidates, each once, in the order in which it would like them mined (best fee rate
//! first, parents before children) and they are taken in that order, each one if it still fits. What was passed
//! over is remembered, so that nothing that spends from it is taken. Whatever the candidates are, the
//! selection keeps to the limits and spends no output twice.

use std::{collections::HashSet, sync::Arc};

use chain::{amount::Amount, check::CheckedTransaction, hash::TxId, transaction::OutPoint};

/// A transaction that could be mined, and what it pays.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The transaction, which keeps the isolated rules.
    pub transaction: Arc<CheckedTransaction>,
    /// What its inputs hold beyond its outputs.
    pub fee: Amount,
}

/// The selection gives up after so many candidates in a row that it could not take, once the block is nearly
/// full; as Bitcoin Core's `MAX_CONSECUTIVE_FAILURES`.
const MAX_MISSES: u32 = 1_000;

/// Nearly full is a block with fewer bytes left; as Bitcoin Core's 4,000 weight units, but in bytes, since
/// witnesses are not discounted here.
const NEARLY_FULL_BYTES: u64 = 4_000;

/// Nearly full is also a block with fewer signatures left.
const NEARLY_FULL_SIGNATURES: u64 = 16;

/// What a block may hold, and what is in it before the first transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// The byte limit of a block (rule B1).
    pub max_bytes: u64,
    /// The signature limit of a block (rule B2).
    pub max_signatures: u64,
    /// Bytes of header, coinbase without output, and transaction count.
    pub fixed_bytes: u64,
    /// Bytes of the coinbase's output, which is there when there is something to claim.
    pub claim_bytes: u64,
    /// The subsidy, which is claimed together with the fees.
    pub subsidy: Amount,
}

/// What was taken.
#[derive(Debug)]
pub(crate) struct Selection {
    /// In an order in which a block may hold them.
    pub transactions: Vec<Arc<CheckedTransaction>>,
    /// Their fees together.
    pub fees: Amount,
    /// Subsidy and fees together.
    pub claim: Amount,
    /// Their signatures together.
    pub signatures: u64,
    /// Bytes of the whole block.
    pub bytes: u64,
}

impl Room {
    /// Bytes of a block that claims `claim`, with transactions of `bytes` bytes.
    fn block_bytes(&self, claim: Amount, bytes: u64) -> u64 {
        let claim_bytes = if claim == Amount::ZERO { 0 } else { self.claim_bytes };
        self.fixed_bytes + claim_bytes + bytes
    }
}

/// Takes candidates in their order while they fit.
pub(crate) fn select(room: &Room, candidates: impl IntoIterator<Item = Candidate>) -> Selection {
    let mut taken = Selection {
        transactions: Vec::new(),
        fees: Amount::ZERO,
        claim: room.subsidy,
        signatures: 0,
        bytes: room.block_bytes(room.subsidy, 0),
    };
    let (mut transaction_bytes, mut misses) = (0, 0);
    let mut passed_over: HashSet<TxId> = HashSet::new();
    let mut spent: HashSet<OutPoint> = HashSet::new();
    for Candidate { transaction, fee } in candidates {
        let inputs = &transaction.transaction().inputs;
        let bytes = transaction_bytes + u64::from(transaction.size());
        let signatures = taken.signatures + u64::from(transaction.signatures());
        // An overflow of the sums is a fee that no coins can pay: such a candidate is passed over as well.
        let sums = taken.fees.checked_add(fee).zip(taken.claim.checked_add(fee));
        let fitting = sums.filter(|(_, claim)| {
            room.block_bytes(*claim, bytes) <= room.max_bytes
                && signatures <= room.max_signatures
                && (passed_over.is_empty() || !inputs.iter().any(|input| passed_over.contains(&input.txid)))
                && !inputs.iter().any(|input| spent.contains(input))
        });
        let Some((fees, claim)) = fitting else {
            passed_over.insert(transaction.txid());
            misses += 1;
            let nearly_full = taken.bytes + NEARLY_FULL_BYTES > room.max_bytes
                || taken.signatures + NEARLY_FULL_SIGNATURES > room.max_signatures;
            if misses >= MAX_MISSES && nearly_full {
                break;
            }
            continue;
        };
        misses = 0;
        spent.extend(inputs);
        transaction_bytes = bytes;
        taken.bytes = room.block_bytes(claim, bytes);
        (taken.fees, taken.claim, taken.signatures) = (fees, claim, signatures);
        taken.transactions.push(transaction);
    }
    taken
}
