//! The graph of waiting transactions: who spends whose outputs, and in which order all are best mined.
//!
//! Transactions that hang together form a cluster of at most [`MAX_CLUSTER_COUNT`]. Whatever is added or
//! removed, only the clusters that it touches are put in order again ([`linearisation`]), so that the cost of a
//! change does not grow with the graph. All chunks of all clusters stand in one ordered set, best fee rate
//! first: what is mined next is its beginning, what is dropped first is its end. A chunk never stands before
//! one that it needs, since the rates of a cluster's chunks never rise.
//!
//! Pure: numbers in, numbers out. Nothing here walks a map in hash order, so that the same changes give the
//! same order everywhere.

mod cluster;
pub mod linearisation;
pub mod rate;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use self::{
    cluster::{ChunkKey, Cluster},
    linearisation::{Chunk, Item, linearise},
};
pub use self::{
    linearisation::MAX_CLUSTER_COUNT,
    rate::{Diagram, FeeRate},
};

/// Where one chunk in so many leaves at once, all are walked along instead of looking each up.
const SWEPT_PART: usize = 16;

/// A transaction's place in the slab. It is used again after the transaction has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// The lowest, to search from.
    pub const FIRST: Self = Self(0);
    /// The highest, to search to.
    pub const LAST: Self = Self(u32::MAX);

    /// As an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// What is known of a transaction that is added.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    /// Its fee and its bytes.
    pub rate: FeeRate,
    /// Its signatures.
    pub signatures: u32,
    /// Its number in the order of arrival: parents have smaller ones than their children.
    pub age: u64,
}

/// What all transactions of a cluster may have together, so that each chunk fits into an empty block. A
/// transaction alone is held against neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterLimits {
    /// Bytes.
    pub bytes: u32,
    /// Signatures.
    pub signatures: u32,
}

/// A cluster would grow beyond its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterFull;

#[derive(Debug)]
struct Node {
    weight: Weight,
    cluster: u32,
    chunk: usize,
    parents: Vec<Slot>,
    children: Vec<Slot>,
}

/// A chunk of the graph.
#[derive(Clone, Copy, Debug)]
pub struct ChunkView<'a> {
    /// What it pays together, and its bytes.
    pub rate: FeeRate,
    /// Its transactions, parents before children.
    pub slots: &'a [Slot],
}

/// The graph.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Option<Node>>,
    free: Vec<Slot>,
    clusters: Vec<Cluster>,
    free_clusters: Vec<u32>,
    chunks: BTreeSet<ChunkKey>,
    len: usize,
    steps: u64,
}

impl Graph {
    /// How many transactions it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The steps of all linearisations so far: what the graph's order has cost.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    fn node(&self, slot: Slot) -> Option<&Node> {
        self.nodes.get(slot.index())?.as_ref()
    }

    fn node_mut(&mut self, slot: Slot) -> Option<&mut Node> {
        self.nodes.get_mut(slot.index())?.as_mut()
    }

    fn cluster(&self, cluster: u32) -> Option<&Cluster> {
        self.clusters.get(usize::try_from(cluster).ok()?)
    }

    fn cluster_mut(&mut self, cluster: u32) -> Option<&mut Cluster> {
        self.clusters.get_mut(usize::try_from(cluster).ok()?)
    }

    /// The transactions whose outputs it spends, by slot.
    #[must_use]
    pub fn parents(&self, slot: Slot) -> &[Slot] {
        self.node(slot).map_or(&[], |node| &node.parents)
    }

    /// The transactions that spend its outputs, by slot.
    #[must_use]
    pub fn children(&self, slot: Slot) -> &[Slot] {
        self.node(slot).map_or(&[], |node| &node.children)
    }

    /// All transactions that hang together with this one, itself among them, in the order in which they are best
    /// mined.
    #[must_use]
    pub fn cluster_of(&self, slot: Slot) -> &[Slot] {
        let cluster = self.node(slot).and_then(|node| self.cluster(node.cluster));
        cluster.map_or(&[], Cluster::order)
    }

    /// The rate of the chunk in which it is mined.
    #[must_use]
    pub fn chunk_rate(&self, slot: Slot) -> Option<FeeRate> {
        let node = self.node(slot)?;
        Some(self.cluster(node.cluster)?.chunks().get(node.chunk)?.rate)
    }

    /// All that it stands on, itself not among them, oldest first.
    #[must_use]
    pub fn ancestors(&self, slot: Slot) -> Vec<Slot> {
        self.reach(slot, |node| &node.parents)
    }

    /// All that stand on it, itself not among them, oldest first.
    #[must_use]
    pub fn descendants(&self, slot: Slot) -> Vec<Slot> {
        self.reach(slot, |node| &node.children)
    }

    fn reach(&self, from: Slot, next: impl Fn(&Node) -> &Vec<Slot>) -> Vec<Slot> {
        let mut found = BTreeSet::new();
        let mut pending = vec![from];
        while let Some(slot) = pending.pop() {
            for near in self.node(slot).into_iter().flat_map(&next) {
                if found.insert(*near) {
                    pending.push(*near);
                }
            }
        }
        let mut found: Vec<Slot> = found.into_iter().collect();
        found.sort_unstable_by_key(|slot| self.age(*slot));
        found
    }

    fn age(&self, slot: Slot) -> u64 {
        self.node(slot).map_or(0, |node| node.weight.age)
    }

    /// All chunks, the best first. Lazy: whoever stops early pays for what was seen alone. From the other end
    /// the worst comes first, and each can be removed without leaving a child behind.
    pub fn chunks(&self) -> impl DoubleEndedIterator<Item = ChunkView<'_>> {
        self.chunks.iter().filter_map(|key| self.view(key))
    }

    fn view<'a>(&'a self, key: &'a ChunkKey) -> Option<ChunkView<'a>> {
        if let Some(slot) = &key.alone {
            return Some(ChunkView { rate: key.rate, slots: std::slice::from_ref(slot) });
        }
        let cluster = self.cluster(key.cluster)?;
        let start = key.chunk.checked_sub(1).map_or(0, |before| cluster.chunks()[before].end);
        let chunk = cluster.chunks().get(key.chunk)?;
        Some(ChunkView { rate: chunk.rate, slots: cluster.order().get(start..chunk.end)? })
    }

    /// Whether a transaction with these parents would keep its cluster within the limits, once those in
    /// `leaving` are gone. It may have no children.
    ///
    /// # Errors
    /// [`ClusterFull`].
    pub fn check_cluster(
        &self,
        weight: Weight,
        parents: &[Slot],
        leaving: &BTreeSet<Slot>,
        limits: ClusterLimits,
    ) -> Result<(), ClusterFull> {
        if parents.is_empty() {
            return Ok(());
        }
        let members = self.reachable(parents, leaving);
        let (mut bytes, mut signatures) = (u64::from(weight.rate.bytes), u64::from(weight.signatures));
        for node in members.iter().filter_map(|slot| self.node(*slot)) {
            bytes += u64::from(node.weight.rate.bytes);
            signatures += u64::from(node.weight.signatures);
        }
        let within = members.len() < MAX_CLUSTER_COUNT
            && bytes <= u64::from(limits.bytes)
            && signatures <= u64::from(limits.signatures);
        if within { Ok(()) } else { Err(ClusterFull) }
    }

    /// All that hang together with any of `from` when those in `leaving` are gone, oldest first; some of them
    /// where they are more than a cluster may have.
    fn reachable(&self, from: &[Slot], leaving: &BTreeSet<Slot>) -> Vec<Slot> {
        let mut found: BTreeSet<Slot> = from.iter().copied().collect();
        let mut pending: Vec<Slot> = found.iter().copied().collect();
        // Whoever names parents in many clusters must not have all of them walked.
        while let Some(slot) = pending.pop().filter(|_| found.len() <= MAX_CLUSTER_COUNT) {
            let Some(node) = self.node(slot) else { continue };
            for near in node.parents.iter().chain(&node.children) {
                if !leaving.contains(near) && found.insert(*near) {
                    pending.push(*near);
                }
            }
        }
        self.by_age(found)
    }

    fn by_age(&self, slots: impl IntoIterator<Item = Slot>) -> Vec<Slot> {
        let mut slots: Vec<Slot> = slots.into_iter().collect();
        slots.sort_unstable_by_key(|slot| self.age(*slot));
        slots
    }

    /// The diagrams of all clusters that a transaction would touch, before and after: it comes with these
    /// parents, and those in `leaving`, with all their descendants, go. [`Self::check_cluster`] must have allowed
    /// it.
    #[must_use]
    pub fn diagrams(&self, rate: FeeRate, parents: &[Slot], leaving: &BTreeSet<Slot>) -> (Diagram, Diagram) {
        let touched: BTreeSet<u32> =
            leaving.iter().chain(parents).filter_map(|slot| Some(self.node(*slot)?.cluster)).collect();
        let clusters = || touched.iter().filter_map(|cluster| self.cluster(*cluster));
        let before = clusters().flat_map(|cluster| cluster.chunks().iter().map(|chunk| chunk.rate)).collect();
        let stay = clusters().flat_map(Cluster::order).filter(|slot| !leaving.contains(slot));
        let mut left: BTreeSet<Slot> = stay.copied().collect();
        let mut after = Vec::new();
        let own = self.reachable(parents, leaving);
        for slot in &own {
            left.remove(slot);
        }
        let mut items = self.items(&own);
        let place = |parent: &Slot| own.iter().position(|slot| slot == parent);
        let mask = parents.iter().filter_map(place).fold(0, |mask, place| mask | 1 << place);
        items.push(Item { rate, parents: mask });
        after.extend(linearise(&items).chunks.iter().map(|chunk| chunk.rate));
        while let Some(slot) = left.pop_first() {
            let members = self.reachable(&[slot], leaving);
            for slot in &members {
                left.remove(slot);
            }
            after.extend(linearise(&self.items(&members)).chunks.iter().map(|chunk| chunk.rate));
        }
        (Diagram::new(before), Diagram::new(after))
    }

    /// What [`linearise`] must know of these, which hang together, oldest first.
    fn items(&self, members: &[Slot]) -> Vec<Item> {
        // At most 64: a look through the list is faster than a map.
        let place = |parent: &Slot| members.iter().position(|slot| slot == parent);
        let item = |node: &Node| Item {
            rate: node.weight.rate,
            parents: node.parents.iter().filter_map(place).fold(0, |mask, place| mask | 1 << place),
        };
        members.iter().filter_map(|slot| self.node(*slot)).map(item).collect()
    }

    /// Adds a transaction that spends outputs of `parents`, each named once. [`Self::check_cluster`] must have
    /// allowed it.
    pub fn add(&mut self, weight: Weight, parents: &[Slot]) -> Slot {
        let node = Node { weight, cluster: 0, chunk: 0, parents: parents.to_vec(), children: Vec::new() };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.nodes[slot.index()] = Some(node);
                slot
            }
            None => {
                // Memory holds far fewer than 2^32.
                let slot = Slot(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
                self.nodes.push(Some(node));
                slot
            }
        };
        self.len += 1;
        if parents.is_empty() {
            self.settle(&[slot]);
            return slot;
        }
        let mut members = vec![slot];
        let mut merged = BTreeSet::new();
        for parent in parents {
            if let Some(parent) = self.node_mut(*parent) {
                parent.children.push(slot);
                merged.insert(parent.cluster);
            }
        }
        for cluster in merged {
            self.unplace(&[cluster]);
            members.extend(self.dissolve(cluster).order());
        }
        let members = self.by_age(members);
        self.settle(&members);
        slot
    }

    /// Removes transactions, each named once and in the order of their slots, and puts in order what hung together
    /// with them. What stands on a transaction that leaves stays unless it is named as well.
    pub fn remove(&mut self, leaving: &[Slot]) {
        debug_assert!(leaving.is_sorted(), "those that leave are named in the order of their slots");
        let cluster_of = |slot: &Slot| Some(self.node(*slot)?.cluster);
        let mut touched: Vec<u32> = leaving.iter().filter_map(cluster_of).collect();
        touched.sort_unstable();
        touched.dedup();
        self.unplace(&touched);
        let mut left = BTreeSet::new();
        for cluster in touched {
            for slot in self.dissolve(cluster).order() {
                if leaving.binary_search(slot).is_err() {
                    left.insert((self.age(*slot), *slot));
                }
            }
        }
        for slot in leaving {
            let Some(node) = self.nodes.get_mut(slot.index()).and_then(Option::take) else { continue };
            self.free.push(*slot);
            self.len -= 1;
            for parent in &node.parents {
                if let Some(parent) = self.node_mut(*parent) {
                    parent.children.retain(|child| child != slot);
                }
            }
            for child in &node.children {
                if let Some(child) = self.node_mut(*child) {
                    child.parents.retain(|parent| parent != slot);
                }
            }
        }
        let none = BTreeSet::new();
        while let Some((_, slot)) = left.pop_first() {
            let members = self.reachable(&[slot], &none);
            for member in &members {
                left.remove(&(self.age(*member), *member));
            }
            self.settle(&members);
        }
    }

    /// Takes the chunks of clusters out of the order of all.
    fn unplace(&mut self, clusters: &[u32]) {
        let index = |cluster: u32| usize::try_from(cluster).unwrap_or(usize::MAX);
        if clusters.len().saturating_mul(SWEPT_PART) < self.chunks.len() {
            for number in clusters {
                match self.clusters.get(index(*number)) {
                    Some(Cluster::Alone(slot, chunk)) => {
                        let key = self.key_alone(*number, *slot, chunk.rate);
                        self.chunks.remove(&key);
                    }
                    Some(cluster) => {
                        for key in self.keys(*number, cluster) {
                            self.chunks.remove(&key);
                        }
                    }
                    None => {}
                }
            }
            return;
        }
        // Where a block takes a good part of them, one walk along all costs less than a search for each.
        let mut leaves = vec![false; self.clusters.len()];
        for cluster in clusters {
            if let Some(leaves) = leaves.get_mut(index(*cluster)) {
                *leaves = true;
            }
        }
        self.chunks.retain(|key| leaves.get(index(key.cluster)) == Some(&false));
    }

    /// Takes a cluster apart whose chunks have no places any more.
    fn dissolve(&mut self, cluster: u32) -> Cluster {
        self.free_clusters.push(cluster);
        self.cluster_mut(cluster).map(std::mem::take).unwrap_or_default()
    }

    fn free_cluster(&mut self) -> u32 {
        self.free_clusters.pop().unwrap_or_else(|| {
            self.clusters.push(Cluster::default());
            u32::try_from(self.clusters.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Makes a cluster of transactions that hang together and are in none, oldest first.
    fn settle(&mut self, members: &[Slot]) {
        if let [slot] = members {
            self.settle_alone(*slot);
            return;
        }
        let linear = linearise(&self.items(members));
        self.steps += linear.steps;
        let cluster = self.free_cluster();
        let order: Vec<Slot> = linear.order.iter().map(|place| members[*place]).collect();
        let mut start = 0;
        for (number, chunk) in linear.chunks.iter().enumerate() {
            for slot in &order[start..chunk.end] {
                if let Some(node) = self.node_mut(*slot) {
                    (node.cluster, node.chunk) = (cluster, number);
                }
            }
            start = chunk.end;
        }
        let made = Cluster::Many { order, chunks: linear.chunks };
        self.chunks.extend(self.keys(cluster, &made));
        if let Some(place) = self.cluster_mut(cluster) {
            *place = made;
        }
    }

    /// Makes a cluster of one: there is nothing to put in order.
    fn settle_alone(&mut self, slot: Slot) {
        let cluster = self.free_cluster();
        let Some(node) = self.node_mut(slot) else { return };
        (node.cluster, node.chunk) = (cluster, 0);
        let rate = node.weight.rate;
        self.steps += 1;
        self.chunks.insert(self.key_alone(cluster, slot, rate));
        if let Some(place) = self.cluster_mut(cluster) {
            *place = Cluster::Alone(slot, Chunk { end: 1, rate });
        }
    }

    /// The place of the one chunk of a cluster of one.
    fn key_alone(&self, cluster: u32, slot: Slot, rate: FeeRate) -> ChunkKey {
        ChunkKey { rate, age: self.age(slot), chunk: 0, cluster, alone: Some(slot) }
    }

    /// The places of a cluster's chunks among all.
    fn keys(&self, number: u32, cluster: &Cluster) -> Vec<ChunkKey> {
        let (order, chunks) = (cluster.order(), cluster.chunks());
        let mut keys: Vec<ChunkKey> = Vec::with_capacity(chunks.len());
        let mut start = 0;
        let alone = order.first().filter(|_| order.len() == 1).copied();
        for (chunk, Chunk { end, rate }) in chunks.iter().enumerate() {
            let oldest = order[start..*end].iter().map(|slot| self.age(*slot)).min().unwrap_or(0);
            let before = keys.last().filter(|before| before.rate == *rate).map_or(0, |before| before.age);
            keys.push(ChunkKey { rate: *rate, age: oldest.max(before), chunk, cluster: number, alone });
            start = *end;
        }
        keys
    }
}
