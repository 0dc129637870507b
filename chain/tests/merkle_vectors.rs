//! Merkle trees against real Bitcoin blocks and Bitcoin Core's verdicts on mutated ones, and proofs of
//! single leaves.

use chain::{
    hash::{MerkleRoot, TxId, sha256d, sha256d_pair},
    merkle::{
        FORBIDDEN_LEAF_BYTES, MAX_BRANCH_HASHES, ProofError, branch, leaf_hash, root_and_mutation,
        root_from_branch, verify_leaf,
    },
};
use proptest::prelude::*;
use serde_json::Value;

fn rows(text: &str) -> Vec<Value> {
    match serde_json::from_str(text).expect("the file is JSON") {
        Value::Array(rows) => rows,
        other => panic!("a list of rows, not {other}"),
    }
}

fn hashes(row: &Value, field: &str) -> Vec<[u8; 32]> {
    let list = row[field].as_array().unwrap_or_else(|| panic!("{field} is a list"));
    list.iter().map(|id| txid(id).to_bytes()).collect()
}

fn txid(value: &Value) -> TxId {
    value.as_str().expect("a string").parse().unwrap_or_else(|error| panic!("{error}"))
}

fn root(row: &Value, field: &str) -> MerkleRoot {
    row[field].as_str().expect("a string").parse().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn c03_core_mutated_trees() {
    let rows = rows(include_str!("vectors/merkle/core_mutated.json"));
    let mut mutated = 0;
    for row in &rows {
        let expected = row["mutated"].as_bool().expect("a flag");
        let leaves = hashes(row, "leaves");
        assert_eq!(
            root_and_mutation(&leaves),
            (root(row, "root"), expected),
            "{} leaves, duplications {}",
            leaves.len(),
            row["duplications"]
        );
        mutated += usize::from(expected);
    }
    assert_eq!((rows.len(), mutated), (46, 26));
}

#[test]
fn real_blocks_have_their_roots() {
    let rows = rows(include_str!("vectors/blocks/merkle_blocks.json"));
    let mut leaves_seen = Vec::new();
    for row in &rows {
        let leaves = hashes(row, "txids");
        assert_eq!(row["ntx"], leaves.len());
        assert_eq!(root_and_mutation(&leaves), (root(row, "merkle_root"), false), "height {}", row["height"]);
        leaves_seen.push(leaves.len());
    }
    assert_eq!(leaves_seen, [1, 2, 4, 4, 213, 1557, 2500, 202, 1652]);
}

#[test]
fn every_leaf_of_real_blocks_has_its_branch() {
    for row in rows(include_str!("vectors/blocks/merkle_blocks.json")) {
        let leaves = hashes(&row, "txids");
        // Every leaf of the small blocks; of the large ones the ends and a sample.
        let step = (leaves.len() / 64).max(1);
        for index in (0..leaves.len()).step_by(step).chain([leaves.len() - 1]) {
            let branch = branch(&leaves, index).expect("the leaf exists");
            let position = u32::try_from(index).expect("a small number");
            assert_eq!(root_from_branch(leaves[index], &branch, position), root(&row, "merkle_root"));
        }
        assert_eq!(branch(&leaves, leaves.len()), None);
    }
}

#[test]
fn a_body_without_leaves_has_the_root_zero() {
    assert_eq!(root_and_mutation(&[]), (MerkleRoot::ZERO, false));
    assert_eq!(branch(&[], 0), None);
}

/// Transactions of unequal lengths, none of them 64 bytes long.
fn bodies(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|index| {
            let mut bytes = vec![0xca; 65 + index % 7];
            bytes[..8].copy_from_slice(&index.to_le_bytes());
            bytes
        })
        .collect()
}

fn leaves(bodies: &[Vec<u8>]) -> Vec<[u8; 32]> {
    bodies.iter().map(|body| leaf_hash(body)).collect()
}

fn index_of(index: usize) -> u32 {
    u32::try_from(index).expect("a small number")
}

#[test]
fn c03_a_repeated_leaf_is_no_second_proof() {
    // Three leaves: the doubled third would be a "fourth" one.
    let bodies = bodies(3);
    let leaves = leaves(&bodies);
    let (root, _) = root_and_mutation(&leaves);
    let branch = branch(&leaves, 2).expect("the leaf exists");
    assert_eq!(verify_leaf(&root, &bodies[2], 2, &branch), Ok(()));
    assert_eq!(verify_leaf(&root, &bodies[2], 3, &branch), Err(ProofError::RepeatedNode { level: 0 }));
    // Five leaves: leaves 4 and "6" have a doubled parent, one level up.
    let bodies = self::bodies(5);
    let leaves = self::leaves(&bodies);
    let (root, _) = root_and_mutation(&leaves);
    let branch = self::branch(&leaves, 4).expect("the leaf exists");
    assert_eq!(verify_leaf(&root, &bodies[4], 4, &branch), Ok(()));
    assert_eq!(verify_leaf(&root, &bodies[4], 6, &branch), Err(ProofError::RepeatedNode { level: 1 }));
}

#[test]
fn c04_a_proof_of_the_wrong_depth_is_refused() {
    let bodies = bodies(8);
    let leaves = leaves(&bodies);
    let (root, _) = root_and_mutation(&leaves);
    let branch = branch(&leaves, 5).expect("the leaf exists");
    assert_eq!(branch.len(), 3);
    assert_eq!(verify_leaf(&root, &bodies[5], 5, &branch), Ok(()));
    // The same bits below, others above the branch: it leads to the root, but the tree has no such leaf.
    for index in [5 + 8, 5 + 16, 5 + (1 << 31)] {
        assert_eq!(root_from_branch(leaves[5], &branch, index), root);
        assert_eq!(
            verify_leaf(&root, &bodies[5], index, &branch),
            Err(ProofError::IndexOutOfRange { index, depth: 3 })
        );
    }
    assert!(matches!(
        verify_leaf(&root, &bodies[5], 1, &branch[..2]),
        Err(ProofError::RootMismatch { expected, .. }) if expected == root
    ));
    let longer: Vec<[u8; 32]> = branch.iter().copied().chain([[7; 32]]).collect();
    assert!(matches!(verify_leaf(&root, &bodies[5], 5, &longer), Err(ProofError::RootMismatch { .. })));
    // A lone coinbase is its own root, at index 0 only.
    let lone = MerkleRoot::from_bytes(leaves[0]);
    assert_eq!(verify_leaf(&lone, &bodies[0], 0, &[]), Ok(()));
    assert_eq!(
        verify_leaf(&lone, &bodies[0], 1, &[]),
        Err(ProofError::IndexOutOfRange { index: 1, depth: 0 })
    );
}

#[test]
fn c04_a_leaf_of_64_bytes_is_refused() {
    // The attack: the preimage of an inner node, shown as if it were a transaction, proves by hash.
    let bodies = bodies(4);
    let leaves = leaves(&bodies);
    let (root, _) = root_and_mutation(&leaves);
    let inner = [leaves[0], leaves[1]].concat();
    let sibling = sha256d_pair(&leaves[2], &leaves[3]);
    assert_eq!(inner.len(), FORBIDDEN_LEAF_BYTES);
    assert_eq!(root_from_branch(sha256d(&inner), &[sibling], 0), root);
    assert_eq!(verify_leaf(&root, &inner, 0, &[sibling]), Err(ProofError::ForbiddenLeafLength));
    for length in [63, 65] {
        let body = vec![1; length];
        let lone = MerkleRoot::from_bytes(leaf_hash(&body));
        assert_eq!(verify_leaf(&lone, &body, 0, &[]), Ok(()), "{length} bytes");
    }
}

#[test]
fn c04_branches_are_bounded() {
    let body = vec![1; 100];
    let branch = vec![[3; 32]; MAX_BRANCH_HASHES + 1];
    let longest = &branch[..MAX_BRANCH_HASHES];
    for index in [0, 1, u32::MAX] {
        let root = root_from_branch(leaf_hash(&body), longest, index);
        assert_eq!(verify_leaf(&root, &body, index, longest), Ok(()));
        let root = root_from_branch(leaf_hash(&body), &branch, index);
        assert_eq!(
            verify_leaf(&root, &body, index, &branch),
            Err(ProofError::BranchTooLong { hashes: MAX_BRANCH_HASHES + 1 })
        );
    }
}

/// The definition, one vector a row: what the computation in place must equal.
fn naive_root(leaves: &[[u8; 32]]) -> MerkleRoot {
    let mut row = leaves.to_vec();
    while row.len() > 1 {
        row = row
            .chunks(2)
            .map(|pair| sha256d(&[pair[0], pair.last().copied().unwrap_or(pair[0])].concat()))
            .collect();
    }
    MerkleRoot::from_bytes(row[0])
}

#[test]
fn the_root_is_that_of_the_definition() {
    for count in 1..200 {
        let leaves = leaves(&bodies(count));
        assert_eq!(root_and_mutation(&leaves), (naive_root(&leaves), false), "{count} leaves");
    }
}

/// Every leaf of every tree of up to 69 leaves, at every index that its depth allows.
#[test]
fn c04_every_leaf_is_proved_at_its_own_index_only() {
    for count in 1..70 {
        let bodies = bodies(count);
        let leaves = leaves(&bodies);
        let (root, _) = root_and_mutation(&leaves);
        for (index, body) in bodies.iter().enumerate() {
            let branch = branch(&leaves, index).expect("the leaf exists");
            for claimed in 0..1_u32 << branch.len() {
                let verdict = verify_leaf(&root, body, claimed, &branch);
                assert_eq!(verdict.is_ok(), claimed == index_of(index), "{index} as {claimed} of {count}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_flipped_bit_fails(
        count in 1_usize..40, at in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>(),
    ) {
        let bodies = bodies(count);
        let leaves = leaves(&bodies);
        let (root, _) = root_and_mutation(&leaves);
        let index = at.index(count);
        let branch = branch(&leaves, index).expect("the leaf exists");
        let parts = [&root.to_bytes()[..], &bodies[index], &branch.concat()];
        let mut bytes = parts.concat();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (root, rest) = bytes.split_first_chunk::<32>().expect("the root comes first");
        let (body, branch) = rest.split_at(bodies[index].len());
        let (branch, rest) = branch.as_chunks::<32>();
        prop_assert!(rest.is_empty());
        prop_assert!(verify_leaf(&MerkleRoot::from_bytes(*root), body, index_of(index), branch).is_err());
    }

    /// Doubling any run of leaves that the tree itself would double keeps the root and is always told.
    #[test]
    fn c03_a_tail_repeated_at_any_level_is_mutated(odd_pairs in 1_usize..20, level in 0_u32..6) {
        let width = 1_usize << level;
        let count = width * (2 * odd_pairs + 1);
        let mut leaves = leaves(&bodies(count));
        let (root, _) = root_and_mutation(&leaves);
        leaves.extend_from_within(count - width..);
        prop_assert_eq!(root_and_mutation(&leaves), (root, true));
    }
}
