//! The tree of all headers that lead back to the genesis block, and the choice among its branches.
//!
//! **The chain with the most cumulative work wins** (rule L1), of equals the one whose body was complete
//! first. Work, not length: a long chain of easy blocks costs its maker less than a short chain of hard
//! ones (threat C20). The tree holds headers and what is known of their bodies; it never touches the store.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
};

use crate::{
    block::Header,
    check::{HeaderContext, HeaderRun},
    error::HeaderError,
    hash::BlockHash,
    height::Height,
    pow::{Target, Work},
    time::Time,
};

/// How many headers the median time past looks at (rule C1).
const MEDIAN_SPAN: usize = 11;
/// The most hashes of a locator: ten, then twice as far each time, over 2^32 heights.
pub const MAX_LOCATOR_HASHES: usize = 64;

/// A node of the tree. Valid as long as the tree: nodes are never removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// The genesis block's node.
    pub const GENESIS: Self = Self(0);

    fn index(self) -> usize {
        // A tree of 2^32 headers would need more memory than a 32-bit machine has.
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A header and what is known of it.
#[derive(Clone, Debug)]
pub struct Node {
    header: Header,
    hash: BlockHash,
    parent: Option<NodeId>,
    /// An ancestor far below, so that any ancestor is found in logarithmically many steps.
    skip: Option<NodeId>,
    anchor_time: Option<Time>,
    height: Height,
    work: Work,
    children: Vec<NodeId>,
    body: Option<u64>,
    complete: Option<u64>,
    connected: bool,
    invalid: bool,
}

impl Node {
    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Its hash.
    #[must_use]
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }

    /// Its height.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// The work of this header and all below it.
    #[must_use]
    pub const fn work(&self) -> Work {
        self.work
    }

    /// The node below.
    #[must_use]
    pub const fn parent(&self) -> Option<NodeId> {
        self.parent
    }

    /// Whether the body is here.
    #[must_use]
    pub const fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// Whether this body and all below it are here.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete.is_some()
    }

    /// Whether the block was connected at some time since the start, so that all its rules hold.
    #[must_use]
    pub const fn was_connected(&self) -> bool {
        self.connected
    }

    /// Whether the block, or one below it, was found invalid.
    #[must_use]
    pub const fn is_invalid(&self) -> bool {
        self.invalid
    }
}

/// The way from one tip to another (rule L2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// What is disconnected, from the old tip downwards.
    pub reverted: Vec<NodeId>,
    /// What is connected, upwards to the new tip.
    pub applied: Vec<NodeId>,
}

/// The tree of headers.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    index: HashMap<BlockHash, NodeId>,
    /// Complete, valid nodes with at least the work of the tip, the best last.
    candidates: BTreeSet<(Work, Reverse<u64>, Reverse<NodeId>)>,
    best_header: NodeId,
    /// Wins against all of its work, by order of whoever runs the node.
    precious: Option<NodeId>,
}

impl Tree {
    /// The tree of a chain that has only its genesis block.
    #[must_use]
    pub fn new(genesis: &Header) -> Self {
        let hash = genesis.hash();
        // A chain's genesis block has well-formed bits; were they not, its work would count nothing.
        let work = genesis.bits.to_target().map_or(Work::ZERO, Target::work);
        let node = Node {
            header: *genesis,
            hash,
            parent: None,
            skip: None,
            anchor_time: None,
            height: Height::ZERO,
            work,
            children: Vec::new(),
            body: Some(0),
            complete: Some(0),
            connected: true,
            invalid: false,
        };
        let candidate = (work, Reverse(0), Reverse(NodeId::GENESIS));
        Self {
            nodes: vec![node],
            index: HashMap::from([(hash, NodeId::GENESIS)]),
            candidates: BTreeSet::from([candidate]),
            best_header: NodeId::GENESIS,
            precious: None,
        }
    }

    /// The node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    /// The node of a header, if it is known.
    #[must_use]
    pub fn find(&self, hash: &BlockHash) -> Option<NodeId> {
        self.index.get(hash).copied()
    }

    /// How many headers are known, the genesis block's included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: the genesis block is always there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The header with the most work that is not known to be invalid: what sync works towards.
    #[must_use]
    pub const fn best_header(&self) -> NodeId {
        self.best_header
    }

    /// What the headers up to `id` say about its children.
    #[must_use]
    pub fn context(&self, id: NodeId) -> HeaderContext {
        let node = self.node(id);
        HeaderContext {
            height: node.height,
            time: node.header.time,
            median_time_past: self.median_time_past(id),
            anchor_time: node.anchor_time,
        }
    }

    /// The median time past of a child of `id`: element floor(n/2) of the sorted times of the n <= 11 blocks
    /// that end at `id` (rule C1).
    #[must_use]
    pub fn median_time_past(&self, id: NodeId) -> Time {
        let mut times = [Time::default(); MEDIAN_SPAN];
        let mut count = 0;
        let mut next = Some(id);
        while let Some(node) = next.map(|id| self.node(id)).filter(|_| count < MEDIAN_SPAN) {
            times[count] = node.header.time;
            count += 1;
            next = node.parent;
        }
        times[..count].sort_unstable();
        times[count / 2]
    }

    /// A run of headers that begins above `id` and is not kept.
    #[must_use]
    pub fn run_above(&self, id: NodeId) -> HeaderRun {
        let below = |id: &NodeId| self.node(*id).parent;
        let mut times: Vec<Time> = std::iter::successors(Some(id), below)
            .take(MEDIAN_SPAN)
            .map(|id| self.node(id).header.time)
            .collect();
        times.reverse();
        HeaderRun::new(self.node(id).hash, self.context(id), times, self.node(id).work)
    }

    /// Adds a header whose rules hold, below which `parent` lies. Adding what is there changes nothing.
    ///
    /// # Errors
    /// [`HeaderError`] where height or work would overflow (rules H2 and W5).
    pub fn insert(
        &mut self,
        header: Header,
        hash: BlockHash,
        parent: NodeId,
        work: Work,
    ) -> Result<NodeId, HeaderError> {
        if let Some(known) = self.find(&hash) {
            return Ok(known);
        }
        let below = self.node(parent);
        let height = below.height.next().ok_or(HeaderError::HeightOverflow(below.height))?;
        let work = below.work.checked_add(work).ok_or(HeaderError::WorkOverflow)?;
        let raw = u32::try_from(self.nodes.len()).map_err(|_| HeaderError::HeightOverflow(height))?;
        let id = NodeId(raw);
        let anchor_time = below.anchor_time.or(Some(header.time));
        let invalid = below.invalid;
        let skip = Some(self.ancestor(parent, skip_height(height)).unwrap_or(NodeId::GENESIS));
        self.nodes.push(Node {
            header,
            hash,
            parent: Some(parent),
            skip,
            anchor_time,
            height,
            work,
            children: Vec::new(),
            body: None,
            complete: None,
            connected: false,
            invalid,
        });
        self.index.insert(hash, id);
        self.node_mut(parent).children.push(id);
        if !invalid && work > self.node(self.best_header).work {
            self.best_header = id;
        }
        Ok(id)
    }

    /// Remembers that a body is here, as number `order` of all bodies.
    pub fn set_body(&mut self, id: NodeId, order: u64) {
        self.node_mut(id).body = Some(order);
        self.complete_from(id);
    }

    /// Finds out whether a node and all above it are complete now.
    fn complete_from(&mut self, id: NodeId) {
        let mut pending = vec![id];
        while let Some(id) = pending.pop() {
            let node = self.node(id);
            let below = node.parent.and_then(|parent| self.node(parent).complete);
            let (Some(order), Some(below), false) = (node.body, below, node.invalid) else { continue };
            let complete = order.max(below);
            let candidate = (node.work, Reverse(complete), Reverse(id));
            pending.extend(&node.children);
            self.node_mut(id).complete = Some(complete);
            self.candidates.insert(candidate);
        }
    }

    /// Marks a block and all above it invalid; returns them.
    pub fn mark_invalid(&mut self, id: NodeId) -> Vec<NodeId> {
        let mut marked = Vec::new();
        let mut pending = vec![id];
        while let Some(id) = pending.pop() {
            let node = self.node_mut(id);
            // What stands on an invalid block was marked with it, or when it came.
            if node.invalid {
                continue;
            }
            node.invalid = true;
            marked.push(id);
            pending.extend(&self.nodes[id.index()].children);
        }
        if marked.is_empty() {
            return marked;
        }
        self.candidates.retain(|(_, _, Reverse(id))| !self.nodes[id.index()].invalid);
        if self.node(self.best_header).invalid {
            self.best_header = self.most_work(|node| !node.invalid);
        }
        marked
    }

    /// Takes back that a block, those below it and those above it are invalid; returns those that were.
    pub fn clear_invalid(&mut self, id: NodeId) -> Vec<NodeId> {
        let mut lowest = id;
        let mut cleared = Vec::new();
        while let Some(below) = self.node(lowest).parent.filter(|below| self.node(*below).invalid) {
            lowest = below;
        }
        // All that stands on the lowest: what is truly invalid among it is found out again.
        let mut pending = vec![lowest];
        while let Some(id) = pending.pop() {
            cleared.extend(Some(id).filter(|id| self.node(*id).invalid));
            pending.extend(&self.node(id).children);
        }
        for id in &cleared {
            self.node_mut(*id).invalid = false;
        }
        self.complete_from(lowest);
        self.restore_candidates();
        self.best_header = self.most_work(|node| !node.invalid);
        cleared
    }

    /// Counts all complete, valid nodes as candidates again, as after a tip with less work was chosen.
    pub fn restore_candidates(&mut self) {
        let candidate = |(raw, node): (u32, &Node)| {
            let complete = node.complete.filter(|_| !node.invalid)?;
            Some((node.work, Reverse(complete), Reverse(NodeId(raw))))
        };
        self.candidates = (0..).zip(&self.nodes).filter_map(candidate).collect();
    }

    /// Prefers a block to all others of the same work, until another one is preferred.
    pub fn set_precious(&mut self, id: NodeId) {
        self.precious = Some(id);
    }

    fn most_work(&self, eligible: impl Fn(&Node) -> bool) -> NodeId {
        let mut best = NodeId::GENESIS;
        for (raw, node) in (0..).zip(&self.nodes) {
            if eligible(node) && node.work > self.node(best).work {
                best = NodeId(raw);
            }
        }
        best
    }

    /// Remembers that all rules of a block hold.
    pub fn set_connected(&mut self, id: NodeId) {
        self.node_mut(id).connected = true;
    }

    /// The tip to follow, given the tip that is active: one with strictly more work if there is one, and of
    /// several the one that was complete first (rule L1), unless whoever runs the node prefers another one of
    /// the same work.
    #[must_use]
    pub fn choose(&self, active: NodeId) -> NodeId {
        if let (Some(precious), Some((most, ..))) = (self.precious, self.candidates.last())
            && let node = self.node(precious)
            && node.work == *most
            && *most >= self.node(active).work
            && node.is_complete()
            && !node.invalid
        {
            return precious;
        }
        match self.candidates.last() {
            Some((work, _, Reverse(best))) if *work > self.node(active).work => *best,
            _ => active,
        }
    }

    /// Forgets candidates that can never win against `tip`.
    pub fn settle(&mut self, tip: NodeId) {
        let work = self.node(tip).work;
        self.candidates = self.candidates.split_off(&(work, Reverse(u64::MAX), Reverse(NodeId(u32::MAX))));
    }

    /// The ancestor of `id` at `height`; `id` itself at its own height, nothing above.
    #[must_use]
    pub fn ancestor(&self, id: NodeId, height: Height) -> Option<NodeId> {
        let mut id = id;
        if self.node(id).height < height {
            return None;
        }
        while self.node(id).height > height {
            let node = self.node(id);
            id = match node.skip {
                Some(skip) if self.node(skip).height >= height => skip,
                _ => node.parent?,
            };
        }
        Some(id)
    }

    /// The way from the tip `from` to the tip `to` (rule L2).
    #[must_use]
    pub fn reorg_path(&self, from: NodeId, to: NodeId) -> Path {
        let mut path = Path::default();
        let (mut down, mut up) = (from, to);
        while down != up {
            let (low, high) = (self.node(down), self.node(up));
            let lower_first = low.height >= high.height;
            let higher_first = high.height >= low.height;
            if let Some(parent) = low.parent.filter(|_| lower_first) {
                path.reverted.push(down);
                down = parent;
            }
            if let Some(parent) = high.parent.filter(|_| higher_first) {
                path.applied.push(up);
                up = parent;
            }
        }
        path.applied.reverse();
        path
    }

    /// Hashes that describe the branch below `id`: the last ten, then ever sparser, down to the genesis block.
    #[must_use]
    pub fn locator(&self, id: NodeId) -> Vec<BlockHash> {
        let mut hashes = Vec::new();
        let mut step = 1;
        let mut next = Some(id);
        while let Some(id) = next {
            let node = self.node(id);
            hashes.push(node.hash);
            if node.height == Height::ZERO {
                break;
            }
            if hashes.len() >= 10 {
                step *= 2;
            }
            let below = Height::new(node.height.get().saturating_sub(step));
            next = self.ancestor(id, below);
        }
        hashes
    }

    /// Tips of all branches: nodes that nothing stands on.
    pub fn leaves(&self) -> impl Iterator<Item = NodeId> + '_ {
        (0..).zip(&self.nodes).filter(|(_, node)| node.children.is_empty()).map(|(raw, _)| NodeId(raw))
    }

    /// All nodes, parents first.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        (0..).zip(&self.nodes).map(|(raw, _)| NodeId(raw))
    }
}

/// Where a node's skip pointer leads: far down, at heights that differ from neighbour to neighbour, so that
/// any ancestor is near a chain of skips (as Bitcoin Core's block index does).
fn skip_height(height: Height) -> Height {
    let clear_lowest_bit = |value: u32| value & value.wrapping_sub(1);
    let height = height.get();
    Height::new(match height {
        0 | 1 => 0,
        odd if odd % 2 == 1 => clear_lowest_bit(clear_lowest_bit(odd - 1)) + 1,
        even => clear_lowest_bit(even),
    })
}

#[cfg(test)]
mod tests;
