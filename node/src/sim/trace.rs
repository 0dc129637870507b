//! What happened last, for whoever reads a failing run, and a hash over all that happened, by which two runs are
//! compared.

use std::{
    collections::VecDeque,
    fmt::{self, Display},
};

use chain::hash::sha256;

/// Events of one node that are kept for the report.
const KEPT: usize = 200;

/// One event.
#[derive(Clone, Debug)]
struct Line {
    ms: u64,
    what: String,
}

/// The last events of one node.
#[derive(Clone, Debug, Default)]
pub struct Trace(VecDeque<Line>);

impl Trace {
    /// Notes an event.
    pub fn note(&mut self, ms: u64, what: impl Display) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Line { ms, what: what.to_string() });
    }
}

impl Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.0 {
            writeln!(f, "  {:>7}.{:03} s  {}", line.ms / 1_000, line.ms % 1_000, line.what)?;
        }
        Ok(())
    }
}

/// A hash over events, in their order.
#[derive(Clone, Debug, Default)]
pub struct EventHash {
    state: [u8; 32],
    waiting: Vec<u8>,
}

/// Bytes that are hashed at a time.
const BATCH_BYTES: usize = 4_096;

impl EventHash {
    /// Adds an event in numbers.
    pub fn add(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.waiting.extend(number.to_le_bytes());
        }
        if self.waiting.len() >= BATCH_BYTES {
            self.fold();
        }
    }

    /// Adds bytes to the last event.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        self.waiting.extend(bytes);
    }

    fn fold(&mut self) {
        self.state = sha256(&[&self.state[..], &self.waiting].concat());
        self.waiting.clear();
    }

    /// The first eight bytes of the hash, as a number.
    #[must_use]
    pub fn finish(mut self) -> u64 {
        self.fold();
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.state[..8]);
        u64::from_le_bytes(bytes)
    }
}
