//! The graph against a model that keeps nothing and works out everything anew.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    ClusterFull, ClusterLimits, Diagram, FeeRate, Graph, MAX_CLUSTER_COUNT, Slot, Weight,
    linearisation::{Item, linearise},
};

const LIMITS: ClusterLimits = ClusterLimits { bytes: 100_000, signatures: 1_000 };

fn weight(age: u64, fee: u64, bytes: u32) -> Weight {
    Weight { rate: FeeRate { fee, bytes }, signatures: 1, age }
}

/// What the graph should hold: by age, what was added and on what it stands.
#[derive(Default)]
struct Model {
    members: BTreeMap<u64, (FeeRate, BTreeSet<u64>)>,
}

impl Model {
    fn children(&self, of: u64) -> BTreeSet<u64> {
        let spends =
            |(age, (_, parents)): (&u64, &(FeeRate, BTreeSet<u64>))| parents.contains(&of).then_some(*age);
        self.members.iter().filter_map(spends).collect()
    }

    fn reach(&self, from: u64, next: impl Fn(u64) -> BTreeSet<u64>) -> BTreeSet<u64> {
        let mut found = BTreeSet::new();
        let mut pending = vec![from];
        while let Some(age) = pending.pop() {
            pending.extend(next(age).into_iter().filter(|near| found.insert(*near)));
        }
        found
    }

    fn ancestors(&self, of: u64) -> BTreeSet<u64> {
        self.reach(of, |age| self.members[&age].1.clone())
    }

    fn descendants(&self, of: u64) -> BTreeSet<u64> {
        self.reach(of, |age| self.children(age))
    }

    fn cluster(&self, of: u64) -> BTreeSet<u64> {
        let near = |age: u64| self.members[&age].1.union(&self.children(age)).copied().collect();
        let mut cluster = self.reach(of, near);
        cluster.insert(of);
        cluster
    }

    fn clusters(&self) -> BTreeSet<BTreeSet<u64>> {
        self.members.keys().map(|age| self.cluster(*age)).collect()
    }

    fn sum(&self, set: &BTreeSet<u64>) -> FeeRate {
        set.iter().fold(FeeRate::default(), |sum, age| sum.with(self.members[age].0))
    }

    /// The chunks of a cluster, worked out with sets and without memory.
    fn chunks(&self, cluster: &BTreeSet<u64>) -> Vec<(FeeRate, Vec<u64>)> {
        let mut left = cluster.clone();
        let mut chunks: Vec<(FeeRate, Vec<u64>)> = Vec::new();
        while !left.is_empty() {
            let own = |age: u64| -> BTreeSet<u64> {
                let mut own: BTreeSet<u64> = self.ancestors(age).intersection(&left).copied().collect();
                own.insert(age);
                own
            };
            let best = left
                .iter()
                .map(|age| own(*age))
                .reduce(|best, other| if self.sum(&other) > self.sum(&best) { other } else { best });
            for age in best.expect("something is left") {
                left.remove(&age);
                let mut chunk = (self.members[&age].0, vec![age]);
                while let Some((rate, members)) = chunks.pop_if(|before| before.0 < chunk.0) {
                    chunk = (chunk.0.with(rate), [members, chunk.1].concat());
                }
                chunks.push(chunk);
            }
        }
        chunks
    }
}

/// The graph and the model, driven together.
#[derive(Default)]
struct Both {
    graph: Graph,
    model: Model,
    slots: BTreeMap<u64, Slot>,
    next_age: u64,
}

impl Both {
    fn add(&mut self, rate: FeeRate, parents: BTreeSet<u64>) -> Result<u64, ClusterFull> {
        let age = self.next_age;
        let slots: Vec<Slot> = parents.iter().map(|parent| self.slots[parent]).collect();
        let weight = Weight { rate, signatures: 1, age };
        self.graph.check_cluster(weight, &slots, &BTreeSet::new(), LIMITS)?;
        let slot = self.graph.add(weight, &slots);
        assert!(self.slots.insert(age, slot).is_none());
        self.model.members.insert(age, (rate, parents));
        self.next_age += 1;
        Ok(age)
    }

    fn remove(&mut self, leaving: &BTreeSet<u64>) {
        let slots = leaving.iter().map(|age| self.slots.remove(age).expect("it is here"));
        let slots: BTreeSet<Slot> = slots.collect();
        self.graph.remove(&Vec::from_iter(slots));
        for age in leaving {
            self.model.members.remove(age);
        }
        for (_, parents) in self.model.members.values_mut() {
            parents.retain(|parent| !leaving.contains(parent));
        }
    }

    fn age(&self, slot: Slot) -> u64 {
        *self.slots.iter().find(|(_, here)| **here == slot).expect("every slot is of something").0
    }

    fn ages<'a>(&self, slots: impl IntoIterator<Item = &'a Slot>) -> Vec<u64> {
        slots.into_iter().map(|slot| self.age(*slot)).collect()
    }

    fn compare(&self) {
        assert_eq!(self.graph.len(), self.model.members.len());
        for (age, slot) in &self.slots {
            let set = |slots: &[Slot]| self.ages(slots).into_iter().collect::<BTreeSet<u64>>();
            assert_eq!(set(self.graph.parents(*slot)), self.model.members[age].1);
            assert_eq!(set(self.graph.children(*slot)), self.model.children(*age));
            assert_eq!(set(&self.graph.ancestors(*slot)), self.model.ancestors(*age));
            assert_eq!(set(&self.graph.descendants(*slot)), self.model.descendants(*age));
            assert_eq!(set(self.graph.cluster_of(*slot)), self.model.cluster(*age));
        }
        // All chunks: each cluster's in its own order, all together best first, and nothing before its parents.
        let mut found: BTreeMap<BTreeSet<u64>, Vec<(FeeRate, Vec<u64>)>> = BTreeMap::new();
        let mut placed = BTreeSet::new();
        let mut last: Option<FeeRate> = None;
        for chunk in self.graph.chunks() {
            let ages = self.ages(chunk.slots);
            assert!(last.is_none_or(|last| last >= chunk.rate), "rates fall");
            last = Some(chunk.rate);
            for age in &ages {
                assert!(self.model.members[age].1.is_subset(&placed), "parents come first");
                assert!(placed.insert(*age), "each once");
                assert_eq!(self.graph.chunk_rate(self.slots[age]), Some(chunk.rate));
            }
            found.entry(self.model.cluster(ages[0])).or_default().push((chunk.rate, ages));
        }
        assert_eq!(placed.len(), self.model.members.len());
        for cluster in self.model.clusters() {
            assert_eq!(found[&cluster], self.model.chunks(&cluster));
        }
        // The worst chunk can go without leaving a child behind.
        if let Some(worst) = self.graph.chunks().next_back() {
            let ages: BTreeSet<u64> = self.ages(worst.slots).into_iter().collect();
            assert!(ages.iter().all(|age| self.model.descendants(*age).is_subset(&ages)));
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add { fee: u64, bytes: u32, parents: Vec<prop::sample::Index> },
    Remove { which: prop::sample::Index, with: With },
}

#[derive(Clone, Copy, Debug)]
enum With {
    Descendants,
    Ancestors,
    Nothing,
}

fn step() -> impl Strategy<Value = Step> {
    let index = || any::<prop::sample::Index>();
    // Few different rates, so that many are equal.
    let add = (0_u64..40, 1_u32..20, prop::collection::vec(index(), 0..4))
        .prop_map(|(fee, bytes, parents)| Step::Add { fee: fee * 10, bytes: bytes * 10, parents });
    let with = prop_oneof![Just(With::Descendants), Just(With::Ancestors), Just(With::Nothing)];
    prop_oneof![5 => add, 2 => (index(), with).prop_map(|(which, with)| Step::Remove { which, with })]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_graph_is_what_a_model_without_memory_says(steps in prop::collection::vec(step(), 1..60)) {
        let mut both = Both::default();
        for step in steps {
            let here: Vec<u64> = both.model.members.keys().copied().collect();
            match step {
                Step::Add { fee, bytes, parents } => {
                    let parents = parents.iter().filter(|_| !here.is_empty()).map(|index| *index.get(&here));
                    both.add(FeeRate { fee, bytes }, parents.collect()).expect("few of them");
                }
                Step::Remove { .. } if here.is_empty() => {}
                Step::Remove { which, with } => {
                    let age = *which.get(&here);
                    let mut leaving = match with {
                        With::Descendants => both.model.descendants(age),
                        With::Ancestors => both.model.ancestors(age),
                        With::Nothing => BTreeSet::new(),
                    };
                    leaving.insert(age);
                    both.remove(&leaving);
                }
            }
            both.compare();
        }
    }

    /// What a replacement would do, worked out beforehand, is what it does.
    #[test]
    fn diagrams_foretell_what_a_change_does(
        steps in prop::collection::vec((0_u64..40, 1_u32..20, prop::collection::vec(any::<prop::sample::Index>(), 0..3)), 2..30),
        which in any::<prop::sample::Index>(),
        on in any::<prop::sample::Index>(),
        (fee, bytes) in (0_u64..400, 1_u32..200),
    ) {
        let mut both = Both::default();
        for (fee, bytes, parents) in steps {
            let here: Vec<u64> = both.model.members.keys().copied().collect();
            let parents = parents.iter().filter(|_| !here.is_empty()).map(|index| *index.get(&here)).collect();
            both.add(FeeRate { fee: fee * 10, bytes: bytes * 10 }, parents).expect("few of them");
        }
        let here: Vec<u64> = both.model.members.keys().copied().collect();
        let mut leaving = both.model.descendants(*which.get(&here));
        leaving.insert(*which.get(&here));
        let stay: Vec<u64> = here.iter().filter(|age| !leaving.contains(age)).copied().collect();
        let parents: BTreeSet<u64> = (!stay.is_empty()).then(|| *on.get(&stay)).into_iter().collect();
        let rate = FeeRate { fee, bytes };
        let touched: BTreeSet<u64> =
            leaving.iter().chain(&parents).flat_map(|age| both.model.cluster(*age)).collect();
        let slots = |ages: &BTreeSet<u64>| ages.iter().map(|age| both.slots[age]).collect::<Vec<Slot>>();
        let (before, after) =
            both.graph.diagrams(rate, &slots(&parents), &slots(&leaving).into_iter().collect());
        let of = |both: &Both, ages: &BTreeSet<u64>| {
            let all = both.model.clusters().into_iter().filter(|cluster| !cluster.is_disjoint(ages));
            Diagram::new(all.flat_map(|cluster| both.model.chunks(&cluster)).map(|chunk| chunk.0).collect())
        };
        prop_assert_eq!(before, of(&both, &touched));
        both.remove(&leaving);
        let new = both.add(rate, parents).expect("few of them");
        let mut left: BTreeSet<u64> = touched.difference(&leaving).copied().collect();
        left.insert(new);
        prop_assert_eq!(after, of(&both, &left));
    }
}

#[test]
fn m05_the_65th_of_a_cluster_is_refused() {
    let mut both = Both::default();
    let mut last = both.add(FeeRate { fee: 1, bytes: 1 }, BTreeSet::new()).expect("the first");
    for fee in 2..=64 {
        last = both.add(FeeRate { fee, bytes: 1 }, BTreeSet::from([last])).expect("within the limit");
    }
    assert_eq!(both.graph.cluster_of(both.slots[&last]).len(), MAX_CLUSTER_COUNT);
    assert_eq!(both.add(FeeRate { fee: 1, bytes: 1 }, BTreeSet::from([last])), Err(ClusterFull));
    // Nor may one join two clusters that are together too large.
    let other = both.add(FeeRate { fee: 1, bytes: 1 }, BTreeSet::new()).expect("a cluster of its own");
    assert_eq!(both.add(FeeRate { fee: 1, bytes: 1 }, BTreeSet::from([last, other])), Err(ClusterFull));
    both.remove(&BTreeSet::from([0, 1]));
    both.add(FeeRate { fee: 1, bytes: 1 }, BTreeSet::from([last])).expect("two have left");
    both.compare();
}

#[test]
fn m05_a_clusters_bytes_and_signatures_are_bounded_and_one_alone_is_not() {
    let mut graph = Graph::default();
    let none = BTreeSet::new();
    let large = weight(0, 10, LIMITS.bytes * 2);
    assert_eq!(graph.check_cluster(large, &[], &none, LIMITS), Ok(()));
    let large = graph.add(large, &[]);
    assert_eq!(graph.check_cluster(weight(1, 1, 1), &[large], &none, LIMITS), Err(ClusterFull));
    let small = graph.add(weight(2, 1, 60_000), &[]);
    assert_eq!(graph.check_cluster(weight(3, 1, 40_000), &[small], &none, LIMITS), Ok(()));
    assert_eq!(graph.check_cluster(weight(3, 1, 40_001), &[small], &none, LIMITS), Err(ClusterFull));
    let signed = Weight { signatures: LIMITS.signatures, ..weight(3, 1, 1) };
    assert_eq!(graph.check_cluster(signed, &[small], &none, LIMITS), Err(ClusterFull));
}

/// Steps of linearisation for a chain of `length` payments that is cut by a block every 64.
fn steps_of_chain(length: u64) -> u64 {
    let mut graph = Graph::default();
    let mut waiting: Vec<Slot> = Vec::new();
    for age in 0..length {
        if waiting.len() == MAX_CLUSTER_COUNT {
            waiting.sort_unstable();
            graph.remove(&waiting);
            waiting.clear();
        }
        let parent: Vec<Slot> = waiting.last().copied().into_iter().collect();
        waiting.push(graph.add(weight(age, age % 7, 100), &parent));
    }
    graph.steps()
}

#[test]
fn m05_a_long_chain_of_payments_costs_in_proportion_to_its_length() {
    let (once, twice) = (steps_of_chain(10_000), steps_of_chain(20_000));
    // Ten thousand is no multiple of 64: the last, shorter part makes the difference.
    assert!(twice <= once * 2 + once / 50, "{once} steps, then {twice}");
    assert!(once < 10_000 * 64 * 64, "{once} steps");
}

#[test]
fn m05_what_one_change_costs_does_not_grow_with_the_graph() {
    let steps_of_one = |others: u64| {
        let mut graph = Graph::default();
        for age in 0..others {
            graph.add(weight(age, age % 1_000, 100), &[]);
        }
        let before = graph.steps();
        let parent = graph.add(weight(others, 5, 100), &[]);
        let child = graph.add(weight(others + 1, 50, 100), &[parent]);
        let mut both = [parent, child];
        both.sort_unstable();
        graph.remove(&both);
        graph.steps() - before
    };
    assert_eq!(steps_of_one(100), steps_of_one(10_000));
}

#[test]
fn a_child_lifts_its_parent_and_equal_rates_stay_apart() {
    let item = |fee, parents| Item { rate: FeeRate { fee, bytes: 100 }, parents };
    // A poor parent, an independent one in between, a rich child.
    let linear = linearise(&[item(10, 0), item(50, 0), item(150, 1)]);
    assert_eq!(linear.order, [0, 2, 1]);
    assert_eq!(linear.chunks.iter().map(|chunk| chunk.end).collect::<Vec<_>>(), [2, 3]);
    let linear = linearise(&[item(10, 0), item(10, 1), item(10, 0b10)]);
    assert_eq!(linear.chunks.len(), 3);
    assert_eq!(linear.order, [0, 1, 2]);
}

#[test]
fn a_diagram_is_better_only_where_it_is_nowhere_worse() {
    let rate = |fee, bytes| FeeRate { fee, bytes };
    let diagram = |chunks: &[FeeRate]| Diagram::new(chunks.to_vec());
    let old = diagram(&[rate(100, 100), rate(50, 100)]);
    assert!(!old.is_better_than(&old));
    assert!(diagram(&[rate(101, 100), rate(50, 100)]).is_better_than(&old));
    assert!(diagram(&[rate(150, 150)]).is_better_than(&old));
    // More in all, but less in the first hundred bytes.
    assert!(!diagram(&[rate(190, 200)]).is_better_than(&old));
    // A better rate, but less in all.
    assert!(!diagram(&[rate(140, 100)]).is_better_than(&old));
    assert!(diagram(&[rate(1, 1)]).is_better_than(&diagram(&[])));
}
