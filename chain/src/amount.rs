//! Amounts of money, counted in whole pebbles.
//!
//! An amount is an integer and never passes through a float: what is printed is what is stored. Arithmetic
//! is checked; a sum that does not fit is an error of whoever claimed it (threat C01).

use std::{fmt, str::FromStr};

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Pebbles in one CRN.
pub const COIN: u64 = 100_000_000;

const DECIMALS: usize = 8;

/// An amount in pebbles.
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
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many pebbles.
    #[must_use]
    pub const fn from_pebbles(pebbles: u64) -> Self {
        Self(pebbles)
    }

    /// The amount in pebbles.
    #[must_use]
    pub const fn pebbles(self) -> u64 {
        self.0
    }

    /// The sum, or nothing where it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or nothing where `other` is more.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08}", self.0 / COIN, self.0 % COIN)
    }
}

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParseAmountError {
    /// Something other than digits and one point.
    #[error("an amount is digits with at most one point, such as 12 or 0.50000000")]
    Malformed,
    /// There is nothing smaller than a pebble.
    #[error("an amount has at most 8 decimals")]
    TooPrecise,
    /// More than 2^64 - 1 pebbles.
    #[error("the amount is larger than any chain's supply")]
    TooLarge,
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    /// Reads a decimal number of CRN, exactly.
    fn from_str(text: &str) -> Result<Self, ParseAmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(ParseAmountError::Malformed);
        }
        if fraction.len() > DECIMALS {
            return Err(ParseAmountError::TooPrecise);
        }
        let whole: u64 = whole.parse().map_err(|_| ParseAmountError::TooLarge)?;
        let fraction: u64 =
            format!("{fraction:0<DECIMALS$}").parse().map_err(|_| ParseAmountError::Malformed)?;
        whole
            .checked_mul(COIN)
            .and_then(|pebbles| pebbles.checked_add(fraction))
            .map(Self)
            .ok_or(ParseAmountError::TooLarge)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        let read = |text: &str| text.parse::<Amount>().map(Amount::pebbles);
        assert_eq!(read("1"), Ok(COIN));
        assert_eq!(read("0.1"), Ok(10_000_000));
        assert_eq!(read("92233720368.54775807"), Ok(i64::MAX as u64));
        assert_eq!(read("0.00000001"), Ok(1));
        assert_eq!(read("0.000000001"), Err(ParseAmountError::TooPrecise));
        assert_eq!(read("184467440737.09551616"), Err(ParseAmountError::TooLarge));
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "1.2.3", "٣"] {
            assert_eq!(read(bad), Err(ParseAmountError::Malformed), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(pebbles: u64) {
            let amount = Amount::from_pebbles(pebbles);
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        }
    }
}
