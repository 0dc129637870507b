//! How many addresses one peer may tell (threat P09, CVE-2024-52919): as many as an answer holds at once, and then
//! one in ten seconds. All counts are of 64 bits.

/// Addresses that a peer may tell at once.
pub const BURST_ADDRESSES: u64 = 1_000;
/// Milliseconds until one more may be told.
pub const MS_PER_ADDRESS: u64 = 10_000;

/// What one peer may still tell.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Addresses times [`MS_PER_ADDRESS`].
    left_ms: u64,
    at_ms: u64,
    taken: u64,
    refused: u64,
}

impl Budget {
    /// The budget of a peer that has just come.
    #[must_use]
    pub const fn new(now_ms: u64) -> Self {
        Self { left_ms: BURST_ADDRESSES * MS_PER_ADDRESS, at_ms: now_ms, taken: 0, refused: 0 }
    }

    /// Whether one more address may be told now; it is counted either way.
    pub fn take(&mut self, now_ms: u64) -> bool {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        self.left_ms = self.left_ms.saturating_add(passed).min(BURST_ADDRESSES * MS_PER_ADDRESS);
        match self.left_ms.checked_sub(MS_PER_ADDRESS) {
            Some(left) => {
                self.left_ms = left;
                self.taken = self.taken.saturating_add(1);
                true
            }
            None => {
                self.refused = self.refused.saturating_add(1);
                false
            }
        }
    }

    /// Addresses that were looked at.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    /// Addresses that were passed over.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}
