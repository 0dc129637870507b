//! Which transactions a template takes: the best that fit, none without its parent.
//!
//! The mempool gives packages, each once, in the order in which it would like them mined (best fee rate first,
//! what a package needs before it). A package is mined as one: it is taken whole if it fits, or not at all, and
//! then smaller ones further down are tried while that pays. What was passed over is remembered, so that nothing
//! that spends from it is taken. Packages are asked for one at a time: what lies below a full block is never
//! touched. Whatever they are, the selection keeps to the limits. That no two of them spend the same coin is what
//! the mempool promises; the inputs are not read here, since that costs as much as all the rest.

use std::{collections::HashSet, sync::Arc};

use chain::{amount::Amount, check::CheckedTransaction, hash::TxId};

/// A transaction that could be mined, and what it pays.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The transaction, which keeps the isolated rules.
    pub transaction: Arc<CheckedTransaction>,
    /// What its inputs hold beyond its outputs.
    pub fee: Amount,
}

/// Transactions that are mined as one, parents before children: a child that pays for its parent pays only where
/// both are in the block.
#[derive(Debug, Clone, Default)]
pub struct Package {
    /// The transactions.
    pub candidates: Vec<Candidate>,
}

impl From<Candidate> for Package {
    fn from(candidate: Candidate) -> Self {
        Self { candidates: vec![candidate] }
    }
}

impl FromIterator<Candidate> for Package {
    fn from_iter<I: IntoIterator<Item = Candidate>>(candidates: I) -> Self {
        Self { candidates: candidates.into_iter().collect() }
    }
}

/// The selection gives up after so many packages in a row that it could not take, once the block is nearly
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

/// Takes packages in their order while they fit.
pub(crate) fn select<P: Into<Package>>(room: &Room, packages: impl IntoIterator<Item = P>) -> Selection {
    let mut taken = Selection {
        transactions: Vec::new(),
        fees: Amount::ZERO,
        claim: room.subsidy,
        signatures: 0,
        bytes: room.block_bytes(room.subsidy, 0),
    };
    let (mut transaction_bytes, mut misses) = (0, 0);
    let mut passed_over: HashSet<TxId> = HashSet::new();
    for package in packages {
        let Package { candidates } = package.into();
        let fitting = sum(&candidates, &taken, transaction_bytes).filter(|sum| {
            room.block_bytes(sum.claim, sum.bytes) <= room.max_bytes
                && sum.signatures <= room.max_signatures
                && (passed_over.is_empty() || !stands_on(&candidates, &passed_over))
        });
        let Some(sum) = fitting else {
            passed_over.extend(candidates.iter().map(|candidate| candidate.transaction.txid()));
            misses += 1;
            let nearly_full = taken.bytes + NEARLY_FULL_BYTES > room.max_bytes
                || taken.signatures + NEARLY_FULL_SIGNATURES > room.max_signatures;
            if misses >= MAX_MISSES && nearly_full {
                break;
            }
            continue;
        };
        misses = 0;
        transaction_bytes = sum.bytes;
        taken.bytes = room.block_bytes(sum.claim, sum.bytes);
        (taken.fees, taken.claim, taken.signatures) = (sum.fees, sum.claim, sum.signatures);
        taken.transactions.extend(candidates.into_iter().map(|candidate| candidate.transaction));
    }
    taken
}

/// What a block would hold.
struct Sum {
    fees: Amount,
    claim: Amount,
    signatures: u64,
    /// Bytes of its transactions.
    bytes: u64,
}

/// What the block would hold with a package. An overflow is a fee that no coins can pay: nothing then.
fn sum(candidates: &[Candidate], taken: &Selection, bytes: u64) -> Option<Sum> {
    let start = Sum { fees: taken.fees, claim: taken.claim, signatures: taken.signatures, bytes };
    candidates.iter().try_fold(start, |sum, Candidate { transaction, fee }| {
        Some(Sum {
            fees: sum.fees.checked_add(*fee)?,
            claim: sum.claim.checked_add(*fee)?,
            signatures: sum.signatures + u64::from(transaction.signatures()),
            bytes: sum.bytes + u64::from(transaction.size()),
        })
    })
}

fn stands_on(candidates: &[Candidate], passed_over: &HashSet<TxId>) -> bool {
    let mut inputs = candidates.iter().flat_map(|candidate| &candidate.transaction.transaction().inputs);
    inputs.any(|input| passed_over.contains(&input.txid))
}
