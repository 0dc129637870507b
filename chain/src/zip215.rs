//! Ed25519 as ZIP-215 has it: the equation of one signature, and of many at once (rule S10).
//!
//! A signature (R, s) of a message by the key A holds where `s` is below the group's order, A and R are
//! encodings of points, canonical or not, and `[8][s]B = [8]R + [8][k]A` with
//! `k = SHA-512(R | A | message)`. That is the one rule under which batches and single verification always agree
//! (threat C23): RFC 8032 leaves the factor 8 open, and libraries differ. The arithmetic of the curve is
//! `curve25519-dalek`'s. The equations stand here rather than in a library because they are half of what a block
//! costs, and what a library does around them was a tenth of that: tests hold them against `ed25519-zebra`, whose
//! authors wrote the ZIP, on published vectors and on whatever bytes.
//!
//! Nothing here is secret, so nothing takes constant time: this must never sign.

use chacha20::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use curve25519_dalek::{
    constants::ED25519_BASEPOINT_POINT,
    edwards::{CompressedEdwardsY, EdwardsPoint},
    scalar::Scalar,
    traits::{IsIdentity, VartimeMultiscalarMul},
};
use sha2::{Digest, Sha512};

use crate::keyed::{KeyedMap, KeyedState};

/// A message, who is said to have signed it, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The encoding of A.
    pub key: &'a [u8; 32],
    /// The encoding of R, then `s`, little-endian.
    pub signature: &'a [u8; 64],
    /// The message.
    pub message: &'a [u8],
}

impl Signed<'_> {
    fn nonce_point(&self) -> CompressedEdwardsY {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&self.signature[..32]);
        CompressedEdwardsY(bytes)
    }

    /// `s`; nothing where it is not below the order.
    fn scalar(&self) -> Option<Scalar> {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&self.signature[32..]);
        Scalar::from_canonical_bytes(bytes).into()
    }

    /// `k`.
    fn challenge(&self) -> Scalar {
        let mut hasher = Sha512::new();
        hasher.update(&self.signature[..32]);
        hasher.update(self.key);
        hasher.update(self.message);
        Scalar::from_bytes_mod_order_wide(&hasher.finalize().into())
    }

    /// Whether this one signature holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        let (Some(s), Some(key)) = (self.scalar(), CompressedEdwardsY(*self.key).decompress()) else {
            return false;
        };
        let claimed = self.nonce_point();
        // The equation without the factor 8, solved for R. Where it holds, and for whoever signs by the book it
        // does, so does the whole one, and R need not be decompressed.
        let found = EdwardsPoint::vartime_double_scalar_mul_basepoint(&self.challenge(), &-key, &s);
        found.compress() == claimed
            || claimed.decompress().is_some_and(|claimed| (claimed - found).mul_by_cofactor().is_identity())
    }
}

/// Whether all signatures hold: whether the sum of their equations does, each times a random number of 128 bits
/// that `seed` decides. Whoever made a signature must not have known the seed, else wrong ones can be made to
/// cancel each other out. Those of one key cost less.
#[must_use]
pub fn all_hold<'a>(signatures: impl ExactSizeIterator<Item = Signed<'a>> + Clone, seed: [u8; 32]) -> bool {
    let count = signatures.len();
    let mut random = ChaCha20Rng::from_seed(seed);
    let mut base = Scalar::ZERO;
    let mut places: KeyedMap<&[u8; 32], usize> =
        KeyedMap::with_capacity_and_hasher(count, KeyedState::default());
    let mut keys = Vec::with_capacity(count);
    let mut key_factors: Vec<Scalar> = Vec::with_capacity(count);
    let mut nonce_factors = Vec::with_capacity(count);
    for signed in signatures.clone() {
        let Some(s) = signed.scalar() else { return false };
        let mut bytes = [0; 16];
        random.fill_bytes(&mut bytes);
        let factor = Scalar::from(u128::from_le_bytes(bytes));
        base -= factor * s;
        nonce_factors.push(factor);
        let term = factor * signed.challenge();
        let place = *places.entry(signed.key).or_insert(keys.len());
        match key_factors.get_mut(place) {
            Some(sum) => *sum += term,
            None => {
                keys.push(CompressedEdwardsY(*signed.key));
                key_factors.push(term);
            }
        }
    }
    let factors = std::iter::once(&base).chain(&key_factors).chain(&nonce_factors);
    let points = std::iter::once(Some(ED25519_BASEPOINT_POINT))
        .chain(keys.iter().map(CompressedEdwardsY::decompress))
        .chain(signatures.map(|signed| signed.nonce_point().decompress()));
    EdwardsPoint::optional_multiscalar_mul(factors, points)
        .is_some_and(|sum| sum.mul_by_cofactor().is_identity())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use ed25519_zebra::batch;
    use proptest::prelude::*;

    use super::*;

    /// Encodings of points whose order divides 8, canonical and not, and of none.
    const ODD: [[u8; 32]; 5] = {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut minus_zero = identity;
        minus_zero[31] = 0x80;
        // 1 + p, which is 1.
        let mut above = [0xff; 32];
        above[0] = 0xee;
        above[31] = 0x7f;
        let mut order_two = above;
        order_two[0] = 0xec;
        let mut none = [0; 32];
        none[0] = 2;
        [identity, minus_zero, above, order_two, none]
    };

    #[derive(Clone, Debug)]
    struct Case {
        key: [u8; 32],
        signature: [u8; 64],
        message: Vec<u8>,
    }

    impl Case {
        fn signed(&self) -> Signed<'_> {
            Signed { key: &self.key, signature: &self.signature, message: &self.message }
        }

        fn item(&self) -> batch::Item {
            batch::Item::from((self.key.into(), self.signature.into(), &self.message))
        }
    }

    /// Signatures by the book, and such as are spoilt: a flipped bit, another's half, odd points, any bytes.
    fn case() -> impl Strategy<Value = Case> {
        let parts = (0u8..4, proptest::collection::vec(any::<u8>(), 0..80), 0u8..12);
        (parts, 0usize..ODD.len(), 0usize..ODD.len(), 0usize..512, any::<[u8; 32]>()).prop_map(
            |((seed, message, spoil), odd, other, bit, bytes)| {
                let signer = SigningKey::from_bytes(&[seed; 32]);
                let mut key = signer.verifying_key().to_bytes();
                let mut signature = signer.sign(&message).to_bytes();
                match spoil {
                    0 => signature[bit / 8] ^= 1 << (bit % 8),
                    1 => key[bit % 256 / 8] ^= 1 << (bit % 8),
                    2 => {
                        // Of small order: these hold for s = 0.
                        key = ODD[odd];
                        signature[..32].copy_from_slice(&ODD[other]);
                        signature[32..].fill(0);
                    }
                    3 => signature[..32].copy_from_slice(&ODD[odd]),
                    4 => signature[32..].copy_from_slice(&bytes),
                    5 => key = ODD[odd],
                    _ => {}
                }
                Case { key, signature, message }
            },
        )
    }

    proptest! {
        /// One by one and together, as the library by the ZIP's authors judges.
        #[test]
        fn c23_every_verdict_is_the_references(
            cases in proptest::collection::vec(case(), 1..40),
            seed: [u8; 32],
        ) {
            let verdicts: Vec<bool> = cases.iter().map(|case| case.signed().holds()).collect();
            let theirs: Vec<bool> = cases.iter().map(|case| case.item().verify_single().is_ok()).collect();
            prop_assert_eq!(&verdicts, &theirs);
            let together = all_hold(cases.iter().map(Case::signed), seed);
            prop_assert_eq!(together, verdicts.iter().all(|holds| *holds));
            let good: Vec<&Case> =
                cases.iter().zip(&verdicts).filter(|(_, holds)| **holds).map(|(case, _)| case).collect();
            prop_assert!(all_hold(good.iter().map(|case| case.signed()), seed));
        }
    }
}
