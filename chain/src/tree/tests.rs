//! Fork choice, ancestors and paths, against plain walks.

use proptest::prelude::*;

use super::*;
use crate::{
    hash::MerkleRoot,
    pow::{CompactTarget, Target},
};

fn grow(tree: &mut Tree, parent: NodeId, bits: u32, salt: u32) -> NodeId {
    let bits = CompactTarget::from_u32(bits);
    let header = Header {
        version: 1,
        previous: tree.node(parent).hash,
        merkle_root: MerkleRoot::ZERO,
        time: Time::from_secs(salt),
        bits,
        nonce: u32::try_from(tree.len()).expect("a small tree"),
    };
    let work = bits.to_target().map(Target::work).expect("canonical bits");
    tree.insert(header, header.hash(), parent, work).expect("far from overflow")
}

fn tree() -> Tree {
    let genesis = crate::genesis::Chain::dev();
    Tree::new(&genesis.genesis().header)
}

#[test]
fn c20_ten_easy_headers_lose_against_one_hard_one() {
    let mut tree = tree();
    let mut easy = NodeId::GENESIS;
    for order in 1..=10 {
        easy = grow(&mut tree, easy, 0x207f_ffff, 1);
        tree.set_body(easy, order);
    }
    assert_eq!(tree.choose(NodeId::GENESIS), easy);
    let hard = grow(&mut tree, NodeId::GENESIS, 0x1f00_ffff, 1);
    assert_eq!(tree.best_header(), hard);
    assert_eq!(tree.choose(easy), easy, "a header without a body is no chain");
    tree.set_body(hard, 11);
    assert_eq!(tree.choose(easy), hard);
}

#[test]
fn l1_of_equals_the_first_complete_one_stays() {
    let mut tree = tree();
    let first = grow(&mut tree, NodeId::GENESIS, 0x207f_ffff, 1);
    let second = grow(&mut tree, NodeId::GENESIS, 0x207f_ffff, 2);
    tree.set_body(second, 1);
    assert_eq!(tree.choose(NodeId::GENESIS), second);
    tree.set_body(first, 2);
    assert_eq!(tree.choose(second), second);
    assert_eq!(tree.choose(NodeId::GENESIS), second, "whichever header came first");
}

#[test]
fn a_body_completes_all_that_waited_for_it() {
    let mut tree = tree();
    let one = grow(&mut tree, NodeId::GENESIS, 0x207f_ffff, 1);
    let two = grow(&mut tree, one, 0x207f_ffff, 1);
    let three = grow(&mut tree, two, 0x207f_ffff, 1);
    tree.set_body(three, 1);
    tree.set_body(two, 2);
    assert!(!tree.node(three).is_complete());
    tree.set_body(one, 3);
    assert!(tree.node(three).is_complete());
    assert_eq!(tree.choose(NodeId::GENESIS), three);
    let marked = tree.mark_invalid(two);
    assert_eq!(marked, [two, three]);
    assert_eq!(tree.choose(NodeId::GENESIS), one);
    assert_eq!(tree.best_header(), one);
    let above = grow(&mut tree, three, 0x207f_ffff, 1);
    assert!(tree.node(above).is_invalid());
}

proptest! {
    #[test]
    fn ancestors_and_paths_are_those_of_a_plain_walk(parents in prop::collection::vec(any::<prop::sample::Index>(), 1..200)) {
        let mut tree = tree();
        let mut ids = vec![NodeId::GENESIS];
        for (salt, parent) in (0..).zip(&parents) {
            // Mostly long branches: the parent is one of the last few nodes.
            let near = ids.len().saturating_sub(3);
            let parent = ids[near + parent.index(ids.len() - near)];
            ids.push(grow(&mut tree, parent, 0x207f_ffff, salt));
        }
        let walk = |id: NodeId| {
            let mut way = vec![id];
            while let Some(parent) = tree.node(way[way.len() - 1]).parent() {
                way.push(parent);
            }
            way.reverse();
            way
        };
        let last = ids[ids.len() - 1];
        let to = walk(last);
        for id in ids {
            let from = walk(id);
            for (height, ancestor) in (0..).zip(&from) {
                prop_assert_eq!(tree.ancestor(id, Height::new(height)), Some(*ancestor));
            }
            prop_assert_eq!(tree.ancestor(id, Height::new(u32::try_from(from.len()).expect("small"))), None);
            let fork = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            let path = tree.reorg_path(id, last);
            let reverted: Vec<NodeId> = from[fork..].iter().rev().copied().collect();
            prop_assert_eq!(path.reverted, reverted);
            prop_assert_eq!(&path.applied[..], &to[fork..]);
            let locator = tree.locator(id);
            prop_assert_eq!(locator[0], tree.node(id).hash());
            prop_assert_eq!(locator[locator.len() - 1], tree.node(NodeId::GENESIS).hash());
            prop_assert!(locator.len() <= MAX_LOCATOR_HASHES);
        }
    }
}
