//! The Merkle tree of a block: Bitcoin's, SHA-256d of pairs with the last node of an odd row doubled.
//!
//! A leaf is the SHA-256d of a whole serialised transaction, witnesses included; leaf 0 is the coinbase
//! (rule M1). Two known weaknesses of this tree are closed here. Doubling lets a body with a repeated tail
//! have the same root (CVE-2012-2459): [`root_and_mutation`] reports it, and who gets such a body refuses
//! the body and never marks the header's hash. An inner node is the hash of 64 bytes, so that a leaf of 64
//! bytes could pass for one (CVE-2017-12842): no leaf may have [`FORBIDDEN_LEAF_BYTES`] bytes.

use thiserror::Error;

use crate::hash::{MerkleRoot, sha256d, sha256d_pair};

/// The length of what an inner node hashes. No transaction may serialise to it (rule M3, CVE-2017-12842).
pub const FORBIDDEN_LEAF_BYTES: usize = 64;

/// The most hashes of a branch: enough for 2^32 leaves, far above what any block limit lets in.
pub const MAX_BRANCH_HASHES: usize = 32;

/// Why a leaf is not proved to be in a tree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProofError {
    /// More hashes than any block's tree is deep.
    #[error("the branch has {hashes} hashes, at most {MAX_BRANCH_HASHES} are allowed (rule M4)")]
    BranchTooLong {
        /// Hashes in the branch.
        hashes: usize,
    },
    /// The index names no leaf of a tree as deep as the branch is long (threat C04).
    #[error("leaf {index} lies outside a tree of depth {depth} (rule M4)")]
    IndexOutOfRange {
        /// The index that was claimed.
        index: u32,
        /// Hashes in the branch.
        depth: usize,
    },
    /// A leaf of 64 bytes may be an inner node in disguise (CVE-2017-12842).
    #[error(
        "a leaf of exactly {FORBIDDEN_LEAF_BYTES} bytes may be an inner node, so it proves nothing (rule M3)"
    )]
    ForbiddenLeafLength,
    /// A right node that equals its sibling exists only in a mutated tree (CVE-2012-2459).
    #[error(
        "the right node at level {level} equals its sibling, so the leaf may be a repeated one (rule M2)"
    )]
    RepeatedNode {
        /// 0 is the row of leaves.
        level: usize,
    },
    /// The branch leads to another root.
    #[error("the branch leads to root {computed}, the header has {expected} (rule M1)")]
    RootMismatch {
        /// What the leaf and the branch hash to.
        computed: MerkleRoot,
        /// What the header says.
        expected: MerkleRoot,
    },
}

/// The leaf of a serialised transaction: its SHA-256d.
#[must_use]
pub fn leaf_hash(bytes: &[u8]) -> [u8; 32] {
    sha256d(bytes)
}

/// Replaces a row by the row above it, in place, and tells whether two siblings were equal before the
/// last one of an odd row was doubled.
fn climb(row: &mut Vec<[u8; 32]>) -> bool {
    let mut mutated = false;
    let parents = row.len().div_ceil(2);
    for parent in 0..parents {
        let left = row[2 * parent];
        let right = match row.get(2 * parent + 1) {
            Some(right) => {
                mutated |= left == *right;
                *right
            }
            None => left,
        };
        // The parent lands on or before its left child, so that no unread node is overwritten.
        row[parent] = sha256d_pair(&left, &right);
    }
    row.truncate(parents);
    mutated
}

/// The root over the leaves, and whether the tree is mutated: whether any row has two equal siblings
/// before its last node is doubled (rule M2, CVE-2012-2459). Without leaves: zero, not mutated, as in
/// Bitcoin Core.
#[must_use]
pub fn root_and_mutation(leaves: &[[u8; 32]]) -> (MerkleRoot, bool) {
    let mut row = leaves.to_vec();
    let mut mutated = false;
    while row.len() > 1 {
        mutated |= climb(&mut row);
    }
    (row.first().copied().map_or(MerkleRoot::ZERO, MerkleRoot::from_bytes), mutated)
}

/// The siblings on the way from the leaf at `index` to the root, lowest first: what proves that leaf. For
/// index 0 it is what Stratum sends, since it does not depend on the coinbase. `None` if there is no such
/// leaf.
#[must_use]
pub fn branch(leaves: &[[u8; 32]], index: usize) -> Option<Vec<[u8; 32]>> {
    if index >= leaves.len() {
        return None;
    }
    let mut row = leaves.to_vec();
    let mut position = index;
    let mut siblings = Vec::new();
    while row.len() > 1 {
        // The last node of an odd row is its own sibling.
        siblings.push(row.get(position ^ 1).copied().unwrap_or(row[position]));
        climb(&mut row);
        position /= 2;
    }
    Some(siblings)
}

/// The root that a leaf and its branch lead to. It checks nothing: [`verify_leaf`] does.
#[must_use]
pub fn root_from_branch(leaf: [u8; 32], branch: &[[u8; 32]], index: u32) -> MerkleRoot {
    let mut node = leaf;
    let mut position = index;
    for sibling in branch {
        node = if position & 1 == 0 { sha256d_pair(&node, sibling) } else { sha256d_pair(sibling, &node) };
        position >>= 1;
    }
    MerkleRoot::from_bytes(node)
}

/// Proves that the transaction with these bytes is leaf `index` of the tree under `root`. Whoever claims
/// that leaf 0 is a coinbase, or that another leaf is none, must decode the bytes as well (rule M4).
///
/// # Errors
/// One [`ProofError`] variant for each way in which the proof can be bad.
pub fn verify_leaf(
    root: &MerkleRoot,
    leaf_bytes: &[u8],
    index: u32,
    branch: &[[u8; 32]],
) -> Result<(), ProofError> {
    let depth = branch.len();
    if depth > MAX_BRANCH_HASHES {
        return Err(ProofError::BranchTooLong { hashes: depth });
    }
    if u64::from(index) >= 1_u64 << depth {
        return Err(ProofError::IndexOutOfRange { index, depth });
    }
    if leaf_bytes.len() == FORBIDDEN_LEAF_BYTES {
        return Err(ProofError::ForbiddenLeafLength);
    }
    let mut node = leaf_hash(leaf_bytes);
    let mut position = index;
    for (level, sibling) in branch.iter().enumerate() {
        node = if position & 1 == 0 {
            sha256d_pair(&node, sibling)
        } else if node == *sibling {
            return Err(ProofError::RepeatedNode { level });
        } else {
            sha256d_pair(sibling, &node)
        };
        position >>= 1;
    }
    let computed = MerkleRoot::from_bytes(node);
    if computed == *root { Ok(()) } else { Err(ProofError::RootMismatch { computed, expected: *root }) }
}
