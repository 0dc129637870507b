//! What a node counts, for Prometheus: one registry, in which libp2p counts too.
//!
//! Two kinds: what happens is counted where it happens ([`Metrics`], a handful of atomic numbers), and what *is* is read
//! when somebody asks ([`snapshot`]), so that it costs nothing while nobody does. Names begin with `cairn_`, are in base
//! units and follow the conventions of Prometheus; `docs/operating.md` explains each, and a test holds that it does.
//!
//! Nothing here is secret: no address, identity, hash or name that somebody sent ever becomes a label, so that the
//! number of series is bounded too (threat P23).

mod process;
pub mod snapshot;

use std::{fmt, sync::Arc, time::Duration};

use chain::ledger::Update;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};
use rpc::server::CallObserver;

pub use self::snapshot::{Reading, Snapshot};

/// Blocks of one turn that are observed one by one, at the most; of more, each stands for several.
const MAX_OBSERVED_BLOCKS: usize = 1_024;

/// A call of the RPC: the method, and how it ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Call {
    method: &'static str,
    /// `ok`, or the code of the error.
    outcome: String,
}

/// What is counted where it happens. Cheap to clone: all clones count together.
#[derive(Clone)]
pub struct Metrics {
    blocks_connected: Counter,
    connect_seconds: Histogram,
    reorganisation_depth: Histogram,
    flush_seconds: Histogram,
    calls: Family<Call, Counter>,
    call_seconds: Histogram,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics in `registry`, with what this program and its chain are.
    pub fn register(registry: &mut Registry, chain: &str) -> Self {
        let metrics = Self {
            blocks_connected: Counter::default(),
            // From a tenth of a millisecond to 52 seconds.
            connect_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 20)),
            reorganisation_depth: Histogram::new([1.0, 2.0, 3.0, 6.0, 12.0, 48.0, 144.0, 1_000.0]),
            flush_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            calls: Family::default(),
            call_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 20)),
        };
        let build =
            Info::new(vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("chain", chain.to_owned())]);
        registry.register("cairn_build", "The program and the chain that it follows", build);
        let one = metrics.blocks_connected.clone();
        registry.register("cairn_blocks_connected", "Blocks that joined the active chain", one);
        registry.register_with_unit(
            "cairn_block_connect",
            "How long each block took from its body to the tip",
            Unit::Seconds,
            metrics.connect_seconds.clone(),
        );
        registry.register_with_unit(
            "cairn_reorganisation_depth",
            "Blocks that left the active chain, for each reorganisation",
            Unit::Other("blocks".into()),
            metrics.reorganisation_depth.clone(),
        );
        registry.register_with_unit(
            "cairn_store_flush",
            "How long each flush of a new tip to the disk took",
            Unit::Seconds,
            metrics.flush_seconds.clone(),
        );
        registry.register("cairn_rpc_calls", "Calls of the RPC", metrics.calls.clone());
        registry.register_with_unit(
            "cairn_rpc_call",
            "How long each call of the RPC took",
            Unit::Seconds,
            metrics.call_seconds.clone(),
        );
        metrics
    }

    /// The tip has moved so, in a turn of the engine that took so long.
    pub fn moved(&self, update: &Update, took: Duration) {
        let count = update.applied.len();
        self.blocks_connected.inc_by(count as u64);
        let observed = count.min(MAX_OBSERVED_BLOCKS);
        for _ in 0..observed {
            self.connect_seconds.observe(took.as_secs_f64() / count as f64);
        }
        if !update.reverted.is_empty() {
            self.reorganisation_depth.observe(update.reverted.len() as f64);
        }
    }

    /// A new tip was brought to the disk.
    pub fn flushed(&self, took: Duration) {
        self.flush_seconds.observe(took.as_secs_f64());
    }
}

impl CallObserver for Metrics {
    fn called(&self, method: &'static str, code: Option<i64>, took: Duration) {
        let outcome = code.map_or_else(|| "ok".to_owned(), |code| code.to_string());
        self.calls.get_or_create(&Call { method, outcome }).inc();
        self.call_seconds.observe(took.as_secs_f64());
    }
}

/// All that there is to read, as text in the OpenMetrics format; nothing where it cannot be written.
#[must_use]
pub fn text(registry: &Registry) -> Option<String> {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => Some(text),
        Err(error) => {
            tracing::debug!(%error, "the metrics cannot be written");
            None
        }
    }
}

/// A registry that holds a snapshot's figures, and the snapshot.
#[must_use]
pub fn registry() -> (Registry, Arc<Snapshot>) {
    let mut registry = Registry::default();
    let snapshot = Arc::new(Snapshot::default());
    registry.register_collector(Box::new(Arc::clone(&snapshot)));
    registry.register_collector(Box::new(process::Process));
    (registry, snapshot)
}

#[cfg(test)]
mod tests {
    use chain::{hash::BlockHash, height::Height, ledger::BlockId};

    use super::*;

    #[test]
    fn what_is_counted_is_written() {
        let (mut registry, snapshot) = registry();
        let metrics = Metrics::register(&mut registry, "dev");
        let block = BlockId { height: Height::new(1), hash: BlockHash::ZERO };
        let update = Update { reverted: vec![block], applied: vec![block, block], refused: Vec::new() };
        metrics.moved(&update, Duration::from_millis(8));
        metrics.moved(&Update { reverted: Vec::new(), ..update }, Duration::from_millis(8));
        metrics.flushed(Duration::from_millis(3));
        metrics.called("getblock", None, Duration::from_millis(1));
        metrics.called("getblock", Some(-8), Duration::from_millis(1));
        let unread = text(&registry).expect("it can be written");
        for line in [
            "cairn_build_info{version=\"0.1.0\",chain=\"dev\"} 1",
            "cairn_blocks_connected_total 4",
            "cairn_block_connect_seconds_count 4",
            "cairn_block_connect_seconds_sum 0.016",
            "cairn_reorganisation_depth_blocks_count 1",
            "cairn_store_flush_seconds_count 1",
            "cairn_rpc_calls_total{method=\"getblock\",outcome=\"ok\"} 1",
            "cairn_rpc_calls_total{method=\"getblock\",outcome=\"-8\"} 1",
            "cairn_rpc_call_seconds_count 2",
        ] {
            assert!(unread.lines().any(|written| written == line), "{line}:\n{unread}");
        }
        assert!(unread.ends_with("# EOF\n"), "{unread}");
        assert!(unread.contains("process_cpu_seconds_total "), "{unread}");
        // What was never read is not written as if it were zero.
        assert!(!unread.contains("cairn_tip_height"), "{unread}");
        snapshot.set(Reading::default());
        let read = text(&registry).expect("it can be written");
        assert!(read.contains("\ncairn_peers{direction=\"inbound\"} 0\n"), "{read}");
    }
}
