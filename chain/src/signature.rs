//! Signatures: the message that they sign, and their verification in batches over all cores.
//!
//! Everywhere, one by one or in batches, in the mempool or in a block, the rule is ZIP-215's, so that batch
//! and single verification never disagree (rule S10, threat C23). A batch is verified with coefficients
//! that are drawn from a hash over all of its keys, signatures and messages: unknown to whoever made a
//! signature. With a known seed forgeries can be made that a batch accepts.

use std::sync::LazyLock;

use borsh::BorshSerialize;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{
    encode::{self, write_count},
    hash::{BlockHash, tagged_hasher},
    policy::PublicKey,
    transaction::{Output, Transaction},
    utxo::Coin,
    zip215::{Signed, all_hold},
};

/// The most signatures of one batch: past this a batch gets no cheaper a signature.
const BATCH_SIGNATURES: usize = 2_048;
/// The fewest signatures that are worth a batch of their own on another core: two halves of a hundred cost a tenth
/// more than the whole, and are done a millisecond earlier.
const LEAST_SHARE_SIGNATURES: usize = 128;
/// The fewest signatures that are cheaper in a batch than one by one.
const LEAST_BATCH_SIGNATURES: usize = 16;

/// What a signature must hold for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who signs.
    pub key: PublicKey,
    /// The signature.
    pub signature: [u8; 64],
    /// What is signed: [`signature_message`].
    pub message: [u8; 32],
}

/// The one message that every signature of a transaction signs: `tagged(cairn/spend, genesis hash | TxId
/// preimage | borsh(all spent outputs, in input order))` (rule S11). It names the chain, so there is no
/// replay elsewhere; it names the amounts, so nobody can lie to a signer about them; and it is made once a
/// transaction, so its cost is linear (threat C21).
#[must_use]
pub fn signature_message(genesis: &BlockHash, id_preimage: &[u8], spent: &[Output]) -> [u8; 32] {
    let mut message = Vec::with_capacity(36 + id_preimage.len() + spent.len() * 41);
    message.extend(genesis.as_bytes());
    message.extend(id_preimage);
    message.extend(encode::to_bytes(&spent));
    hash_message(&message)
}

/// [`signature_message`] of a transaction that spends these coins, without a copy of what they pay to.
pub(crate) fn spend_message(genesis: &BlockHash, transaction: &Transaction, spent: &[Coin]) -> [u8; 32] {
    let outputs = transaction.outputs.len() + spent.len();
    let mut message = Vec::with_capacity(64 + transaction.inputs.len() * 36 + outputs * 41);
    message.extend(genesis.as_bytes());
    transaction.write_unsigned(&mut message).expect("writing into a vector does not fail");
    write_count(spent.len(), &mut message).expect("there are as many coins as inputs, which are bounded");
    for coin in spent {
        coin.output.serialize(&mut message).expect("writing into a vector does not fail");
    }
    hash_message(&message)
}

fn hash_message(message: &[u8]) -> [u8; 32] {
    // Made once: the tag is two of the few blocks that a payment's message has.
    static TAG: LazyLock<Sha256> = LazyLock::new(|| tagged_hasher("cairn/spend"));
    let mut hasher = TAG.clone();
    hasher.update(message);
    hasher.finalize().into()
}

impl Claim {
    /// Verifies this one signature.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.signed().holds()
    }

    const fn signed(&self) -> Signed<'_> {
        Signed { key: &self.key.0, signature: &self.signature, message: &self.message }
    }
}

/// Verifies all claims, in batches on all cores.
///
/// # Errors
/// The index of the first claim that does not hold.
pub fn verify_all(claims: &[Claim]) -> Result<(), usize> {
    let share = share_of(claims.len());
    let wrong = |(index, batch): (usize, &[Claim])| Some(index * share + wrong_in(batch, true).first()?);
    claims.par_chunks(share).enumerate().filter_map(wrong).min().map_or(Ok(()), Err)
}

/// The indices of all claims that do not hold, ascending.
pub(crate) fn find_wrong(claims: &[Claim]) -> Vec<usize> {
    let share = share_of(claims.len());
    let wrong = |(index, batch): (usize, &[Claim])| {
        wrong_in(batch, false).into_iter().map(move |inner| index * share + inner)
    };
    claims.par_chunks(share).enumerate().flat_map_iter(wrong).collect()
}

/// How many claims one core takes at once, of so many.
fn share_of(claims: usize) -> usize {
    let threads = rayon::current_num_threads().max(1);
    claims.div_ceil(threads).clamp(LEAST_SHARE_SIGNATURES, BATCH_SIGNATURES)
}

/// The indices of claims that do not hold, ascending; only the first one if that is enough. A batch fails
/// exactly where a signature in it fails alone, and then its halves tell which: one forgery among thousands
/// costs as much again as they all did, not a verification of each.
fn wrong_in(claims: &[Claim], first_only: bool) -> Vec<usize> {
    if claims.len() < LEAST_BATCH_SIGNATURES {
        // Few are cheaper one by one.
        let wrong = claims.iter().enumerate().filter(|(_, claim)| !claim.holds()).map(|(index, _)| index);
        return wrong.take(if first_only { 1 } else { claims.len() }).collect();
    }
    if all_hold(claims.iter().map(Claim::signed), batch_seed(claims)) {
        return Vec::new();
    }
    let (low, high) = claims.split_at(claims.len() / 2);
    let mut wrong = wrong_in(low, first_only);
    if !first_only || wrong.is_empty() {
        wrong.extend(wrong_in(high, first_only).into_iter().map(|index| low.len() + index));
    }
    wrong
}

/// SHA-256 over everything in the batch, so that no part of it can be chosen after the coefficients.
fn batch_seed(claims: &[Claim]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for claim in claims {
        hasher.update(claim.key.0);
        hasher.update(claim.signature);
        hasher.update(claim.message);
    }
    hasher.finalize().into()
}
