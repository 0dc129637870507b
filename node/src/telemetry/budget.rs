//! How much may be logged, so that nobody fills the disk by misbehaving (threat P23, CVE-2025-54604).
//!
//! Three allowances, each a number of lines at once and one more every so often after that: for each place in the code, for
//! each peer at each place, and for all together. What exceeds one is not written but counted, and the counts are
//! logged once a minute. Lines at debug and trace level are outside of it: whoever asks for them wants them all.
//! Errors are outside of the allowance for all, so that no flood of warnings hides one.
//!
//! It must never hold up whoever logs for long, or remember more than a bounded number of peers.

use std::{
    collections::HashMap,
    fmt::{Debug, Write},
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
    level_filters::LevelFilter,
    subscriber::Interest,
};
use tracing_subscriber::layer::{Context, Filter};

/// Lines of one place at once, and how often one more.
const OF_PLACE: Allowance = Allowance { at_once: 200, one_per: Duration::from_secs(2) };
/// Lines of one place about one peer.
const OF_PEER: Allowance = Allowance { at_once: 20, one_per: Duration::from_secs(10) };
/// Lines in all.
const OF_ALL: Allowance = Allowance { at_once: 2_000, one_per: Duration::from_millis(500) };
/// Pairs of place and peer that are remembered; beyond it, peers have their place's allowance alone.
const MAX_PEERS: usize = 4_096;
/// Places that one report names, at the most; the others are told together.
const MAX_REPORTED: usize = 16;
/// The target of the reports, which are not held to the budget.
const REPORT: &str = "log_budget";
/// The fields that name whom a line is about, in the order in which they are looked for.
const PEER_FIELDS: [&str; 4] = ["peer", "identity", "peer_id", "address"];

/// A number of lines.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    at_once: u32,
    one_per: Duration,
}

/// What is used up of an allowance: it is as if all lines had come one by one in their time, and this is when
/// the last of them would have come (the generic cell rate algorithm).
#[derive(Clone, Copy, Debug, Default)]
struct Used(Duration);

impl Used {
    fn may(&self, allowance: &Allowance, now: Duration) -> bool {
        self.0 <= now + allowance.one_per * (allowance.at_once - 1)
    }

    fn take(&mut self, allowance: &Allowance, now: Duration) {
        self.0 = self.0.max(now) + allowance.one_per;
    }
}

/// A place in the code that logs.
#[derive(Debug)]
struct Place {
    used: Used,
    /// Where it is.
    at: String,
    /// Lines kept back since the last report.
    suppressed: u64,
}

#[derive(Debug, Default)]
struct State {
    places: HashMap<Identifier, Place>,
    peers: HashMap<(Identifier, u64), Used>,
    all: Used,
}

/// The budget of a process.
#[derive(Debug)]
pub struct Budget {
    began: Instant,
    state: Mutex<State>,
    suppressed: AtomicU64,
    /// Peers are remembered by a hash that none of them can foresee.
    hasher: RandomState,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            state: Mutex::default(),
            suppressed: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }
}

impl Budget {
    /// Lines that were kept back since the start.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    /// Whether a line may be written at a moment after the start; if so it counts.
    fn admit(&self, of: &Metadata<'_>, peer: Option<u64>, now: Duration) -> bool {
        let id = of.callsite();
        let mut state = self.state.lock();
        let State { places, peers, all } = &mut *state;
        let place = places.entry(id.clone()).or_insert_with(|| Place {
            used: Used::default(),
            at: format!("{}:{}", of.file().unwrap_or("?"), of.line().unwrap_or(0)),
            suppressed: 0,
        });
        if peers.len() >= MAX_PEERS {
            // Whoever has its whole allowance again need not be remembered.
            peers.retain(|_, used| used.0 > now);
        }
        let room = peers.len() < MAX_PEERS;
        let key = peer.map(|peer| (id, peer)).filter(|key| room || peers.contains_key(key));
        let of_peer =
            key.as_ref().map_or_else(Used::default, |key| peers.get(key).copied().unwrap_or_default());
        let is_error = *of.level() == Level::ERROR;
        let admitted = place.used.may(&OF_PLACE, now)
            && of_peer.may(&OF_PEER, now)
            && (is_error || all.may(&OF_ALL, now));
        if admitted {
            place.used.take(&OF_PLACE, now);
            if !is_error {
                all.take(&OF_ALL, now);
            }
            if let Some(key) = key {
                peers.entry(key).or_default().take(&OF_PEER, now);
            }
        } else {
            place.suppressed += 1;
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// Logs what was kept back since the last call: a line for each place, the busiest first.
    pub fn report(&self) {
        let mut counts: Vec<(String, u64)> = {
            let mut state = self.state.lock();
            let places = state.places.values_mut().filter(|place| place.suppressed > 0);
            places.map(|place| (place.at.clone(), std::mem::take(&mut place.suppressed))).collect()
        };
        counts.sort_unstable_by(|(one, fewer), (other, more)| more.cmp(fewer).then_with(|| one.cmp(other)));
        let others = counts.split_off(counts.len().min(MAX_REPORTED));
        for (at, lines) in counts {
            tracing::warn!(target: REPORT, lines, at, "log lines were kept back, since there were too many");
        }
        if !others.is_empty() {
            let lines: u64 = others.iter().map(|(_, lines)| lines).sum();
            tracing::warn!(target: REPORT, lines, places = others.len(), "log lines of other places were kept back");
        }
    }

    fn peer_of(&self, event: &Event<'_>) -> Option<u64> {
        let fields = event.metadata().fields();
        let field = PEER_FIELDS.iter().find_map(|name| fields.field(name))?;
        let mut named = Named { field, text: String::new() };
        event.record(&mut named);
        Some(self.hasher.hash_one(named.text))
    }
}

/// Reads one field.
struct Named {
    field: Field,
    text: String,
}

impl Visit for Named {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if *field == self.field {
            // Writing to a string does not fail; and half a name is as good as none.
            let _ = write!(self.text, "{value:?}");
        }
    }
}

/// Lets pass what is within a budget.
#[derive(Debug, Clone)]
pub struct Within(pub std::sync::Arc<Budget>);

impl<S: Subscriber> Filter<S> for Within {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let of = event.metadata();
        if *of.level() > Level::INFO || of.target() == REPORT {
            return true;
        }
        self.0.admit(of, self.0.peer_of(event), self.0.began.elapsed())
    }
}

#[cfg(test)]
mod tests;
