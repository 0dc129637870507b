//! Random bytes from the operating system, and from nowhere else (threat W01).
//!
//! A weak generator empties wallets years later (Milk Sad, CVE-2023-39910), so there is no fallback: where
//! the operating system gives nothing, nothing is made.

use thiserror::Error;

/// The operating system gave no random bytes, so no key was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the operating system gave no random bytes ({0}); nothing was written: mend the system and try again"
)]
pub struct RandomnessError(#[from] getrandom::Error);

/// Where random bytes come from: [`operating_system`], except in tests of its failure.
pub(crate) type Source = fn(&mut [u8]) -> Result<(), RandomnessError>;

/// Fills `bytes` from the operating system.
pub(crate) fn operating_system(bytes: &mut [u8]) -> Result<(), RandomnessError> {
    Ok(getrandom::fill(bytes)?)
}

/// A source that always fails, for tests.
#[cfg(test)]
pub(crate) fn broken(_: &mut [u8]) -> Result<(), RandomnessError> {
    Err(RandomnessError(getrandom::Error::UNSUPPORTED))
}
