//! Signatures: the message that they sign, and their verification in batches over all cores.
//!
//! Everywhere, one by one or in batches, in the mempool or in a block, the rule is ZIP-215's, so that batch
//! and single verification never disagree (rule S10, threat C23). A batch is verified with coefficients
//! that are drawn from a hash over all of its keys, signatures and messages: unknown to whoever made a
//! signature. With a known seed forgeries can be made that a batch accepts.

use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use ed25519_zebra::{Signature, VerificationKeyBytes, batch};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{
    encode,
    hash::{BlockHash, tagged},
    policy::PublicKey,
    transaction::Output,
};

/// The most signatures of one batch: past this a batch gets no cheaper a signature.
const BATCH_SIGNATURES: usize = 1_024;
/// The fewest signatures that are worth a batch of their own on another core.
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
    tagged("cairn/spend", &message)
}

impl Claim {
    /// Verifies this one signature.
    #[must_use]
    pub fn holds(&self) -> bool {
        batch::Item::from(self.parts()).verify_single().is_ok()
    }

    fn parts(&self) -> (VerificationKeyBytes, Signature, &[u8; 32]) {
        (VerificationKeyBytes::from(self.key.0), Signature::from(self.signature), &self.message)
    }
}

/// Verifies all claims, in batches on all cores.
///
/// # Errors
/// The index of the first claim that does not hold.
pub fn verify_all(claims: &[Claim]) -> Result<(), usize> {
    if claims.len() < LEAST_BATCH_SIGNATURES {
        // A payment's few signatures are done before other cores would have woken up.
        return claims.iter().position(|claim| !claim.holds()).map_or(Ok(()), Err);
    }
    let threads = rayon::current_num_threads().max(1);
    let share = claims.len().div_ceil(threads).clamp(LEAST_BATCH_SIGNATURES, BATCH_SIGNATURES);
    let guilty = |(index, batch): (usize, &[Claim])| {
        if batch_holds(batch) {
            return None;
        }
        // A batch fails exactly where a signature in it fails alone; one by one they tell which.
        batch.iter().position(|claim| !claim.holds()).map(|inner| index * share + inner)
    };
    match claims.par_chunks(share).enumerate().filter_map(guilty).min() {
        Some(lowest) => Err(lowest),
        None => Ok(()),
    }
}

fn batch_holds(claims: &[Claim]) -> bool {
    let mut verifier = batch::Verifier::new();
    for claim in claims {
        verifier.queue(claim.parts());
    }
    verifier.verify(ChaCha20Rng::from_seed(batch_seed(claims))).is_ok()
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
