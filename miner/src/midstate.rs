//! SHA-256d of one header under many nonces: the inner loop of mining.
//!
//! A header has 80 bytes and SHA-256 works on blocks of 64, so the first block (all but the last 16 bytes)
//! is the same for every nonce: it is compressed once, and what remains of it is the *midstate*. Per nonce
//! two compressions are left, one of the header's tail and one of the first digest; both blocks keep their
//! padding from nonce to nonce. Nonces go through in batches of [`LANES`]: all first compressions, then all
//! second ones. Neighbours do not depend on each other, so the processor overlaps them, and no compression
//! has to load what was stored an instant before. Of the digest the most significant word is compared
//! first; nearly always that is the end of it.
//!
//! The compression is `sha2`'s own, which takes SHA instructions where the processor has them. Nothing here
//! allocates. The plain loop that must find the same nonces is [`crate::benchmark::plain_loop`].

use std::ops::{ControlFlow, RangeInclusive};

use chain::hash::SHA256_START;
use sha2::block_api::compress256;

/// Nonces that go through the compressions together. Measured with SHA instructions: 1.5 times the plain
/// loop with one lane, 1.9 with two, 2.1 with eight, and hardly more after that.
const LANES: usize = 8;

/// [`LANES`] as a step between nonces.
const LANES_STEP: u32 = 8;

/// Where the nonce stands in the second block: byte 76 of the header.
const NONCE_AT: std::ops::Range<usize> = 12..16;

/// One header, prepared for a search over its nonces.
#[derive(Clone)]
pub struct Midstate {
    /// SHA-256's state after the header's first 64 bytes.
    state: [u32; 8],
    /// The header's last 16 bytes, then SHA-256's padding for a message of 80 bytes.
    tail: [u8; 64],
}

/// A target as big-endian words, most significant first: the order in which digests are compared.
type TargetWords = [u32; 8];

impl Midstate {
    /// Prepares `header`; the nonce in it (bytes 76 to 79) does not matter.
    #[must_use]
    pub fn new(header: &[u8; 80]) -> Self {
        let (head, rest) = header.split_first_chunk::<64>().expect("80 bytes hold 64");
        let mut state = SHA256_START;
        compress256(&mut state, std::slice::from_ref(head));
        let mut tail = [0; 64];
        tail[..16].copy_from_slice(rest);
        // A one bit, zeros, and the length in bits: 80 * 8 = 0x0280.
        tail[16] = 0x80;
        tail[62] = 0x02;
        tail[63] = 0x80;
        Self { state, tail }
    }

    /// Tests every nonce of `nonces` once, in ascending order, and calls `on_solution` for each whose hash,
    /// read as a little-endian number, is at most `target` (32 bytes, big-endian). Ends early when
    /// `on_solution` breaks. Returns how many nonces were tested: all of them, or those up to the end of
    /// the batch of the nonce that ended it.
    pub fn scan(
        &self,
        target: &[u8; 32],
        nonces: RangeInclusive<u32>,
        mut on_solution: impl FnMut(u32) -> ControlFlow<()>,
    ) -> u64 {
        if nonces.is_empty() {
            return 0;
        }
        let target = target_words(target);
        let (first, last) = nonces.into_inner();
        let total = u64::from(last) - u64::from(first) + 1;
        let lanes = u64::from(LANES_STEP);
        let (mut nonce, mut left) = (first, total);
        let mut batch = Batch::<LANES>::new(self);
        while left >= lanes {
            left -= lanes;
            if batch.test(&self.state, &target, nonce, &mut on_solution).is_break() {
                return total - left;
            }
            // Past the largest nonce nothing is left, so the wrapped value is not used.
            nonce = nonce.wrapping_add(LANES_STEP);
        }
        let mut single = Batch::<1>::new(self);
        while left > 0 {
            left -= 1;
            if single.test(&self.state, &target, nonce, &mut on_solution).is_break() {
                break;
            }
            nonce = nonce.wrapping_add(1);
        }
        total - left
    }
}

/// The blocks of `N` nonces; their padding is written once.
struct Batch<const N: usize> {
    /// Header tails, each with its nonce.
    tails: [[u8; 64]; N],
    /// First digests, each with SHA-256's padding for a message of 32 bytes.
    digests: [[u8; 64]; N],
}

impl<const N: usize> Batch<N> {
    fn new(midstate: &Midstate) -> Self {
        let mut digest = [0; 64];
        // A one bit, zeros, and the length in bits: 32 * 8 = 0x0100.
        digest[32] = 0x80;
        digest[62] = 0x01;
        Self { tails: [midstate.tail; N], digests: [digest; N] }
    }

    /// Tests the `N` nonces from `first` on.
    #[inline]
    fn test(
        &mut self,
        midstate: &[u32; 8],
        target: &TargetWords,
        first: u32,
        on_solution: &mut impl FnMut(u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for (lane, tail) in (0..).zip(&mut self.tails) {
            tail[NONCE_AT].copy_from_slice(&first.wrapping_add(lane).to_le_bytes());
        }
        let mut states = [*midstate; N];
        for (state, tail) in states.iter_mut().zip(&self.tails) {
            compress256(state, std::slice::from_ref(tail));
        }
        for (digest, state) in self.digests.iter_mut().zip(&states) {
            for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
                bytes.copy_from_slice(&word.to_be_bytes());
            }
        }
        let mut states = [SHA256_START; N];
        for (state, digest) in states.iter_mut().zip(&self.digests) {
            compress256(state, std::slice::from_ref(digest));
        }
        for (lane, state) in (0..).zip(&states) {
            if state[7].swap_bytes() <= target[0] && meets(state, target) {
                on_solution(first.wrapping_add(lane))?;
            }
        }
        ControlFlow::Continue(())
    }
}

fn target_words(target: &[u8; 32]) -> TargetWords {
    let (words, _) = target.as_chunks::<4>();
    std::array::from_fn(|i| u32::from_be_bytes(words[i]))
}

/// Whether the digest `state`, read as a little-endian number, is at most the target. Its most significant
/// word is the last one, with its bytes reversed.
fn meets(state: &[u32; 8], target: &TargetWords) -> bool {
    state.iter().rev().map(|word| word.swap_bytes()).le(target.iter().copied())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::benchmark::plain_loop;

    /// Bitcoin's genesis header, nonce 2083236893.
    pub(crate) const BITCOIN_GENESIS: [u8; 80] = {
        let mut header = [0; 80];
        header[0] = 1;
        // The Merkle root, as it is hashed.
        let root = [
            0x3b, 0xa3, 0xed, 0xfd, 0x7a, 0x7b, 0x12, 0xb2, 0x7a, 0xc7, 0x2c, 0x3e, 0x67, 0x76, 0x8f, 0x61,
            0x7f, 0xc8, 0x1b, 0xc3, 0x88, 0x8a, 0x51, 0x32, 0x3a, 0x9f, 0xb8, 0xaa, 0x4b, 0x1e, 0x5e, 0x4a,
        ];
        let mut i = 0;
        while i < 32 {
            header[36 + i] = root[i];
            i += 1;
        }
        let rest = [0x29, 0xab, 0x5f, 0x49, 0xff, 0xff, 0x00, 0x1d, 0x1d, 0xac, 0x2b, 0x7c];
        i = 0;
        while i < 12 {
            header[68 + i] = rest[i];
            i += 1;
        }
        header
    };

    fn collect(midstate: &Midstate, target: &[u8; 32], nonces: RangeInclusive<u32>) -> Vec<u32> {
        let mut found = Vec::new();
        let expected = u64::from(*nonces.end()) - u64::from(*nonces.start()) + 1;
        let tested = midstate.scan(target, nonces, |nonce| {
            found.push(nonce);
            ControlFlow::Continue(())
        });
        assert_eq!(tested, expected);
        found
    }

    #[test]
    fn bitcoins_genesis_nonce_is_found() {
        let mut target = [0; 32];
        target[4] = 0xff;
        target[5] = 0xff;
        let found = collect(&Midstate::new(&BITCOIN_GENESIS), &target, 2_083_200_000..=2_083_250_001);
        assert_eq!(found, [2_083_236_893]);
    }

    #[test]
    fn the_comparison_is_exact_at_the_target() {
        let midstate = Midstate::new(&BITCOIN_GENESIS);
        // 000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f is the hash itself.
        let hash = [
            0x00, 0x00, 0x00, 0x00, 0x00, 0x19, 0xd6, 0x68, 0x9c, 0x08, 0x5a, 0xe1, 0x65, 0x83, 0x1e, 0x93,
            0x4f, 0xf7, 0x63, 0xae, 0x46, 0xa2, 0xa6, 0xc1, 0x72, 0xb3, 0xf1, 0xb6, 0x0a, 0x8c, 0xe2, 0x6f,
        ];
        let nonce = 2_083_236_893;
        assert_eq!(collect(&midstate, &hash, nonce..=nonce), [nonce]);
        let mut below = hash;
        below[31] -= 1;
        assert_eq!(collect(&midstate, &below, nonce..=nonce), []);
    }

    #[test]
    fn the_ends_of_the_nonce_space_are_tested_once() {
        let everything = [0xff; 32];
        let midstate = Midstate::new(&[7; 80]);
        assert_eq!(
            collect(&midstate, &everything, u32::MAX - 19..=u32::MAX),
            (u32::MAX - 19..=u32::MAX).collect::<Vec<_>>()
        );
        assert_eq!(collect(&midstate, &everything, 0..=0), [0]);
        #[expect(clippy::reversed_empty_ranges, reason = "an empty span is what is tested")]
        let empty = 5..=4;
        assert_eq!(midstate.scan(&everything, empty, |_| panic!("nothing to test")), 0);
    }

    #[test]
    fn a_break_ends_the_scan_within_its_batch() {
        let midstate = Midstate::new(&[7; 80]);
        let mut found = Vec::new();
        let tested = midstate.scan(&[0xff; 32], 0..=1_000, |nonce| {
            found.push(nonce);
            if nonce == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(found, (0..=10).collect::<Vec<_>>());
        assert_eq!(tested, 16);
    }

    proptest! {
        /// The search finds the nonces that the plain loop finds: no more, no fewer, in the same order.
        #[test]
        fn finds_what_the_plain_loop_finds(
            head in proptest::array::uniform32(any::<u8>()),
            more in proptest::array::uniform32(any::<u8>()),
            last in proptest::array::uniform16(any::<u8>()),
            // From one hash in two to one in about 16,000.
            zero_bits in 1_u32..14,
            low in proptest::array::uniform28(any::<u8>()),
            first in any::<u32>(),
            length in 0_u32..600,
        ) {
            let mut header = [0; 80];
            header[..32].copy_from_slice(&head);
            header[32..64].copy_from_slice(&more);
            header[64..].copy_from_slice(&last);
            let mut target = [0; 32];
            target[..4].copy_from_slice(&(u32::MAX >> zero_bits).to_be_bytes());
            target[4..].copy_from_slice(&low);
            let nonces = first..=first.saturating_add(length);
            let expected = plain_loop(&header, &target, nonces.clone());
            prop_assert_eq!(collect(&Midstate::new(&header), &target, nonces), expected);
        }
    }
}
