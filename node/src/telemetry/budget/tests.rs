//! Floods of lines against the budget, at the layer that real lines pass.

use std::{io, sync::Arc};

use tracing_subscriber::{
    Layer,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
};

use super::*;
use crate::telemetry::lines::{Escaped, ShortLines};

/// The most bytes of log that a million provocations may leave.
const CAP_BYTES: u64 = 1 << 20;

/// Counts what is written, and keeps the end of it.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<(u64, String)>>);

impl io::Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock();
        disk.0 += bytes.len() as u64;
        disk.1 = String::from_utf8_lossy(bytes).into_owned();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Disk {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Logs under a fresh budget; the bytes that were written, the last line, and the budget.
fn flooded(flood: impl FnOnce(&Budget)) -> (u64, String, Arc<Budget>) {
    let (disk, budget) = (Disk::default(), Arc::new(Budget::default()));
    let layer = fmt::layer()
        .fmt_fields(Escaped)
        .event_format(ShortLines::new(false))
        .with_ansi(false)
        .with_writer(disk.clone())
        .with_filter(Within(Arc::clone(&budget)));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || flood(&budget));
    let (bytes, last) = disk.0.lock().clone();
    (bytes, last, budget)
}

#[test]
fn p23_a_million_provocations_leave_the_log_small() {
    const PROVOCATIONS: u64 = 1_000_000;
    let (bytes, last, budget) = flooded(|budget| {
        for number in 0..PROVOCATIONS {
            // Every one of another peer, so that no allowance of a single one stops them.
            tracing::warn!(peer = number, error = %"the signature is wrong ".repeat(8), "invalid block");
        }
        tracing::error!("the disk is failing");
        assert!(budget.state.lock().peers.len() <= MAX_PEERS);
        budget.report();
    });
    assert!(bytes < CAP_BYTES, "{bytes} bytes");
    // The number in the report is what was not written; how many were is a question of how long this took.
    let kept_back = budget.suppressed();
    assert!(kept_back > PROVOCATIONS / 2, "{kept_back}");
    assert!(last.contains(&format!("lines={kept_back}")) && last.contains("tests.rs"), "{last}");
    budget.report();
    assert!(budget.state.lock().places.values().all(|place| place.suppressed == 0));
}

#[test]
fn p23_one_peer_does_not_silence_another_nor_a_place_another_place() {
    let (_, last, budget) = flooded(|_| {
        let provoke = |peer: u64| tracing::info!(%peer, "peer sent away");
        (0..10_000).for_each(|_| provoke(1));
        provoke(2);
    });
    assert!(last.contains("peer=2"), "{last}");
    assert!(budget.suppressed() > 9_000);
    let (_, last, _) = flooded(|_| {
        (0..10_000).for_each(|_| tracing::warn!("one thing"));
        tracing::info!("another thing");
    });
    assert!(last.contains("another thing"), "{last}");
}

#[test]
fn an_allowance_comes_back_with_time() {
    let budget = Budget::default();
    let start = Duration::from_secs(1);
    let mut used = Used::default();
    let mut taken = 0;
    while used.may(&OF_PEER, start) {
        used.take(&OF_PEER, start);
        taken += 1;
    }
    assert_eq!(taken, OF_PEER.at_once);
    let later = start + OF_PEER.one_per;
    assert!(used.may(&OF_PEER, later));
    used.take(&OF_PEER, later);
    assert!(!used.may(&OF_PEER, later));
    // After a long rest the allowance is whole, and not more than that.
    let rested = start + OF_PEER.one_per * 1_000;
    let mut again = 0;
    while used.may(&OF_PEER, rested) {
        used.take(&OF_PEER, rested);
        again += 1;
    }
    assert_eq!(again, OF_PEER.at_once);
    assert_eq!(budget.suppressed(), 0);
}

#[test]
fn whoever_asks_for_every_line_gets_every_line() {
    let (bytes, _, budget) = flooded(|_| (0..5_000).for_each(|_| tracing::debug!("detail")));
    assert!(bytes > 5_000 * 6, "{bytes}");
    assert_eq!(budget.suppressed(), 0);
}
