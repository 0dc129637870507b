//! What the rounds add up to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use tests::crash::{
    plan::{End, points},
    round::Shown,
};

/// The sum of all rounds.
#[derive(Debug, Default)]
pub struct Tally {
    /// Rounds by kind: all, and those that went as planned.
    kinds: BTreeMap<&'static str, (u64, u64)>,
    /// How often the node was killed at each fail point.
    points: BTreeMap<&'static str, u64>,
    promises: usize,
    torn: usize,
}

impl Tally {
    /// Adds a round; a line about it.
    pub fn add(&mut self, shown: &Shown) -> String {
        let kind = self.kinds.entry(shown.plan.end.kind()).or_default();
        kind.0 += 1;
        kind.1 += u64::from(shown.reached);
        if let (End::FailPoint(point, _), true) = (&shown.plan.end, shown.reached) {
            *self.points.entry(point).or_default() += 1;
        }
        self.promises += shown.promises;
        self.torn += shown.torn.len();
        let reached = if shown.reached { "" } else { "not reached; " };
        let torn: String = shown.torn.iter().map(|torn| format!("; {torn}")).collect();
        format!("{reached}{} promised blocks found again{torn}", shown.promises)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, (rounds, reached)) in &self.kinds {
            writeln!(f, "{rounds:>6} rounds: {kind}, {reached} of them as planned")?;
        }
        writeln!(f, "{:>6} promised blocks, all found again; {} files torn", self.promises, self.torn)?;
        let missed: BTreeSet<_> =
            points().iter().map(String::as_str).filter(|point| !self.points.contains_key(point)).collect();
        let least = self.points.values().min().copied().unwrap_or(0);
        write!(
            f,
            "{:>6} of {} fail points reached, each at least {least} times",
            self.points.len(),
            points().len()
        )?;
        if !missed.is_empty() {
            write!(f, "; not reached: {}", missed.into_iter().collect::<Vec<_>>().join(" "))?;
        }
        Ok(())
    }
}
