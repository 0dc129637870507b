//! A transaction that waits, and what it occupies.

use std::sync::Arc;

use chain::{
    amount::Amount,
    check::{CheckedTransaction, VerifiedTransaction},
    height::Height,
    time::Time,
};

use super::{
    graph::{FeeRate, Weight},
    shares::Giver,
};

/// What a waiting transaction occupies beside its own bytes, in bytes: its entry, its node and cluster in the
/// graph, its chunk's place, the maps by id and by time, and what the allocator adds. With the two below it makes
/// 2,300 bytes of a payment with two outputs; 50,000 of them were seen to occupy 2,340 each.
const ENTRY_OVERHEAD_BYTES: usize = 1_150;
/// What an input occupies beside its own bytes: the maps by coin and by address.
const INPUT_OVERHEAD_BYTES: usize = 180;
/// What an output occupies beside its own bytes: the map by address.
const OUTPUT_OVERHEAD_BYTES: usize = 120;
/// Bytes of memory that a byte of a transaction pays for. A plain payment takes about five; policies that
/// decode into much more are charged as if they were longer (threat M01).
const MEMORY_BYTES_A_BYTE: u64 = 12;

/// A transaction that waits.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Also in `verified`: whoever makes a template looks here alone.
    pub(super) checked: Arc<CheckedTransaction>,
    pub(super) fee: Amount,
    pub(super) verified: Arc<VerifiedTransaction>,
    pub(super) time: Time,
    pub(super) height: Height,
    pub(super) sequence: u64,
    pub(super) memory_bytes: u64,
    pub(super) giver: Option<Giver>,
}

impl Entry {
    /// The transaction.
    #[must_use]
    pub const fn transaction(&self) -> &Arc<CheckedTransaction> {
        &self.checked
    }

    /// The transaction and the coins that it spends.
    #[must_use]
    pub const fn verified(&self) -> &Arc<VerifiedTransaction> {
        &self.verified
    }

    /// Its fee.
    #[must_use]
    pub const fn fee(&self) -> Amount {
        self.fee
    }

    /// When it was accepted.
    #[must_use]
    pub const fn time(&self) -> Time {
        self.time
    }

    /// The height of the tip when it was accepted.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// Its number in the order of arrival.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What it occupies in memory, in bytes.
    #[must_use]
    pub const fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Whether it may stop being valid when the chain gets lower or its median time falls: it has a condition on
    /// height, time or age, or spends a coinbase.
    pub(super) fn depends_on_height(&self) -> bool {
        let waits = self.transaction().demands().iter().any(|demands| {
            demands.after_height.is_some() || demands.after_time.is_some() || demands.older_blocks.is_some()
        });
        waits || self.verified.spent().iter().any(|coin| coin.coinbase)
    }
}

/// What a transaction weighs in the graph.
pub(super) fn weight(checked: &CheckedTransaction, fee: Amount, age: u64) -> Weight {
    let rate = FeeRate { fee: fee.pebbles(), bytes: checked.size() };
    Weight { rate, signatures: checked.signatures(), age }
}

/// What a transaction will occupy, in bytes: its parts as they lie in memory, not as they are encoded.
pub(super) fn memory_bytes(checked: &CheckedTransaction) -> u64 {
    let transaction = checked.transaction();
    let coins = transaction.inputs.len() * size_of::<chain::utxo::Coin>();
    let overhead = ENTRY_OVERHEAD_BYTES
        + transaction.inputs.len() * INPUT_OVERHEAD_BYTES
        + transaction.outputs.len() * OUTPUT_OVERHEAD_BYTES;
    let bytes = checked.memory_bytes() + size_of::<VerifiedTransaction>() + coins + overhead;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The bytes for which a transaction must pay: its size, or more where it takes much more memory.
pub(super) fn charged_bytes(checked: &CheckedTransaction) -> u32 {
    let overhead = u64::try_from(ENTRY_OVERHEAD_BYTES).unwrap_or(u64::MAX);
    let for_memory = memory_bytes(checked).saturating_sub(overhead) / MEMORY_BYTES_A_BYTE;
    checked.size().max(u32::try_from(for_memory).unwrap_or(u32::MAX))
}
