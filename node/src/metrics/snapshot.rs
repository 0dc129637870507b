//! What is read when somebody asks: the engine's and the network's state at one moment.

use std::fmt;

use chain::pow::Work;
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use crate::engine::{Size, figures::Figures};

/// What was read last.
#[derive(Debug, Default)]
pub struct Snapshot(Mutex<Option<Reading>>);

/// One reading.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The engine's figures; an engine that is busy for long gives none.
    pub engine: Option<Figures>,
    /// Everything that peers can make grow, with its limit.
    pub sizes: Vec<Size>,
    /// Memory of the coins that are kept before the database, in bytes, and how many of them await a flush.
    pub coin_cache: Option<(usize, usize)>,
    /// The most that it may be.
    pub coin_cache_limit_bytes: usize,
    /// Where the index is, if there is one.
    pub index_height: Option<u32>,
    /// Peers that connected to us.
    pub peers_inbound: usize,
    /// Peers to which we connected.
    pub peers_outbound: usize,
    /// Bans that hold.
    pub bans: u64,
    /// Why peers were sent away, and how often.
    pub faults: Vec<(&'static str, u64)>,
    /// What was heard and passed over because too much waited: of what kind, and how often.
    pub dropped: Vec<(&'static str, u64)>,
    /// Log lines that the budget kept back.
    pub log_lines_suppressed: u64,
    /// Seconds since the start.
    pub uptime_secs: u64,
}

impl Snapshot {
    /// Keeps a reading until the next one.
    pub fn set(&self, reading: Reading) {
        *self.0.lock() = Some(reading);
    }
}

/// The base-2 logarithm of work, in which a doubling of all that was ever done is one step.
fn log2(work: Work) -> f64 {
    let hashes = work.to_be_bytes().iter().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte));
    hashes.max(1.0).log2()
}

/// Writes one metric after the other.
struct Lines<'a>(DescriptorEncoder<'a>);

impl Lines<'_> {
    fn write(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: &dyn EncodeMetric,
    ) -> Result<(), fmt::Error> {
        value.encode(self.0.encode_descriptor(name, help, unit, value.metric_type())?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
        self.write(name, help, None, &ConstGauge::new(value))
    }

    fn bytes(&mut self, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
        self.write(name, help, Some(&Unit::Bytes), &ConstGauge::new(value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
        self.write(name, help, None, &ConstCounter::new(value))
    }

    /// Counters under one name that a label tells apart.
    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: &[(&'static str, u64)],
    ) -> Result<(), fmt::Error> {
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        for (of, value) in values {
            ConstCounter::new(*value).encode(encoder.encode_family(&[(label, *of)])?)?;
        }
        Ok(())
    }

    fn engine(&mut self, figures: &Figures) -> Result<(), fmt::Error> {
        let tip = figures.tip;
        self.gauge("cairn_tip_height", "Height of the active tip", u64::from(tip.id.height.get()))?;
        let header_height = u64::from(figures.header_height.get());
        self.gauge("cairn_header_height", "Height of the best header", header_height)?;
        self.gauge("cairn_headers", "Headers that are known, on all branches", figures.headers as u64)?;
        let work = ConstGauge::new(log2(tip.work));
        self.write(
            "cairn_chain_work_log2",
            "Work of the active chain, as its base-2 logarithm",
            None,
            &work,
        )?;
        let time = ConstGauge::new(u64::from(figures.tip_time_secs));
        let help = "When the tip was mined, in Unix time, as its header says";
        self.write("cairn_tip_timestamp", help, Some(&Unit::Seconds), &time)?;
        let catching_up = u64::from(figures.is_catching_up);
        self.gauge(
            "cairn_catching_up",
            "1 while blocks are known to exist that are not here yet",
            catching_up,
        )?;
        self.counter(
            "cairn_payments_connected",
            "Payments in blocks that were connected",
            figures.payments_connected,
        )?;
        let waiting = figures.mempool_transactions as u64;
        self.gauge("cairn_mempool_transactions", "Transactions in the mempool", waiting)?;
        self.bytes("cairn_mempool", "Size of the mempool's transactions", figures.mempool_bytes)?;
        self.bytes("cairn_mempool_memory", "Memory of the mempool", figures.mempool_memory_bytes)?;
        let floor = figures.mempool_floor_pebbles_per_kb;
        let help = "What a transaction must pay, in pebbles for each 1,000 bytes";
        self.gauge("cairn_mempool_floor_pebbles", help, floor)?;
        let help = "Blocks that are on their way or wait for one below them";
        self.gauge("cairn_download_window_blocks", help, figures.window_blocks as u64)?;
        let help = "Bodies that wait for one below them";
        self.bytes("cairn_download_window", help, figures.window_bytes as u64)?;
        self.gauge("cairn_early_blocks", "Blocks that wait for their time", figures.early_blocks as u64)?;
        let help = "Transactions whose verdict is remembered";
        self.gauge("cairn_verdict_cache_transactions", help, figures.verdicts as u64)
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(reading) = self.0.lock().clone() else { return Ok(()) };
        let mut lines = Lines(encoder);
        if let Some(figures) = &reading.engine {
            lines.engine(figures)?;
        }
        for (name, help, value) in [
            (
                "cairn_held",
                "What peers can make grow, by what is counted",
                (|size| size.now) as fn(&Size) -> u64,
            ),
            ("cairn_held_limit", "The most that there may be of it", |size| size.limit),
        ] {
            let kind = ConstGauge::new(0_u64).metric_type();
            let mut encoder = lines.0.encode_descriptor(name, help, None, kind)?;
            for size in &reading.sizes {
                ConstGauge::new(value(size)).encode(encoder.encode_family(&[("what", size.what)])?)?;
            }
        }
        if let Some((bytes, dirty)) = reading.coin_cache {
            lines.bytes("cairn_coin_cache", "Memory of the coins before the database", bytes as u64)?;
            lines.gauge("cairn_coin_cache_dirty_coins", "Coins of it that await a flush", dirty as u64)?;
        }
        let limit = reading.coin_cache_limit_bytes as u64;
        lines.bytes("cairn_coin_cache_limit", "What that memory may be", limit)?;
        if let Some(height) = reading.index_height {
            lines.gauge("cairn_index_height", "Height of the indexes", u64::from(height))?;
        }
        let kind = ConstGauge::new(0_u64).metric_type();
        let mut peers =
            lines.0.encode_descriptor("cairn_peers", "Peers, by who connected to whom", None, kind)?;
        for (direction, count) in [("inbound", reading.peers_inbound), ("outbound", reading.peers_outbound)] {
            let gauge = ConstGauge::new(count as u64);
            gauge.encode(peers.encode_family(&[("direction", direction)])?)?;
        }
        lines.gauge("cairn_bans", "Bans that hold", reading.bans)?;
        let help = "Peers that were sent away at once, by what they did";
        lines.counters("cairn_peer_faults", help, "fault", &reading.faults)?;
        let help = "Messages that were passed over because too many waited";
        lines.counters("cairn_messages_dropped", help, "kind", &reading.dropped)?;
        let help = "Log lines that the budget against flooding kept back";
        lines.counter("cairn_log_lines_suppressed", help, reading.log_lines_suppressed)?;
        let uptime = ConstGauge::new(reading.uptime_secs);
        lines.write("cairn_uptime", "Time since the start", Some(&Unit::Seconds), &uptime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_told_by_its_logarithm() {
        let work = |bytes: &[u8]| {
            let mut all = [0; 32];
            all[32 - bytes.len()..].copy_from_slice(bytes);
            Work::from_be_bytes(all)
        };
        assert!((log2(work(&[1, 0])) - 8.0).abs() < 1e-9);
        assert!((log2(work(&[0])) - 0.0).abs() < 1e-9);
        assert!((log2(Work::from_be_bytes([255; 32])) - 256.0).abs() < 1e-9);
    }
}
