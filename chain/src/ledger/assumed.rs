//! Signatures that are taken for good: those of a block that whoever runs the node vouches for, and of all below it.
//!
//! Everything else about these blocks is held against the rules. Nothing is taken for good before the headers show
//! that the block stands on the chain with the most work, and that this work is enough: a hash alone, from whatever
//! source, moves nobody to a chain that is not there (Bitcoin Core's `-assumevalid`).

use super::Ledger;
use crate::{hash::BlockHash, pow::Work, store::Store, tree::NodeId};

/// A block whose signatures are taken for good, and the work that the best header must show before they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assumed {
    hash: BlockHash,
    minimum_work: Work,
}

impl<S: Store> Ledger<S> {
    /// Takes the signatures of a block and of all below it for good, from now on, once the block is known to be on
    /// the best chain of headers and that chain has at least `minimum_work`.
    pub fn assume_valid(&mut self, hash: BlockHash, minimum_work: Work) {
        self.assumed = Some(Assumed { hash, minimum_work });
    }

    /// Whether the signatures of this block are taken for good.
    pub(super) fn is_assumed_valid(&self, id: NodeId) -> bool {
        let Some(Assumed { hash, minimum_work }) = self.assumed else { return false };
        let tree = &self.tree;
        let stands_on =
            |above: NodeId, below: NodeId| tree.ancestor(above, tree.node(below).height()) == Some(below);
        let best = tree.best_header();
        tree.find(&hash).is_some_and(|assumed| {
            stands_on(assumed, id) && stands_on(best, assumed) && tree.node(best).work() >= minimum_work
        })
    }
}
