//! Points in time as headers carry them. This crate never asks a clock: `now` is an argument.

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01 00:00:00 UTC.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct Time(u32);

impl Time {
    /// From Unix seconds.
    #[must_use]
    pub const fn from_secs(secs: u32) -> Self {
        Self(secs)
    }

    /// Unix seconds.
    #[must_use]
    pub const fn secs(self) -> u32 {
        self.0
    }

    /// `secs` later, or the last representable time.
    #[must_use]
    pub const fn saturating_add_secs(self, secs: u32) -> Self {
        Self(self.0.saturating_add(secs))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
