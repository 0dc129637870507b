//! Amounts in JSON: numbers with exactly eight decimals, never through a float (threat R13).

use std::str::FromStr;

use chain::amount::Amount;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Number;
use thiserror::Error;

/// The number of decimals of one CRN.
const DECIMALS: i64 = 8;

/// The most digits that an amount in pebbles can have (`u64::MAX` has twenty).
const MAX_DIGITS: i64 = 20;

/// An amount as JSON shows it: CRN with eight decimals, `1.50000000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coins(pub Amount);

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParseCoinsError {
    /// It is not a decimal number.
    #[error("an amount is a decimal number of CRN, such as 1.5")]
    NotANumber,
    /// It is below zero.
    #[error("an amount is not negative")]
    Negative,
    /// It is finer than one pebble.
    #[error("an amount has at most 8 decimals: the smallest is 0.00000001 CRN")]
    TooFine,
    /// It exceeds what can be counted.
    #[error("the amount is too large")]
    TooLarge,
}

impl FromStr for Coins {
    type Err = ParseCoinsError;

    /// Reads any JSON number that is a whole number of pebbles, exponent forms included, exactly.
    fn from_str(text: &str) -> Result<Self, ParseCoinsError> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return Err(ParseCoinsError::NotANumber),
            Some((whole, fraction)) => (whole, fraction),
            None => (mantissa, ""),
        };
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|digit| digit.is_ascii_digit()) {
            return Err(ParseCoinsError::NotANumber);
        }
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_start_matches('0').trim_end_matches('0');
        if significant.is_empty() {
            return Ok(Self(Amount::ZERO));
        }
        if negative {
            return Err(ParseCoinsError::Negative);
        }
        let length = |text: &str| i64::try_from(text.len()).map_err(|_| ParseCoinsError::TooLarge);
        let trailing_zeros = length(&digits)? - length(digits.trim_end_matches('0'))?;
        // The number is `significant * 10^scale` pebbles.
        let scale = exponent + DECIMALS - length(fraction)? + trailing_zeros;
        if scale < 0 {
            return Err(ParseCoinsError::TooFine);
        }
        if length(significant)? + scale > MAX_DIGITS {
            return Err(ParseCoinsError::TooLarge);
        }
        let scale = u32::try_from(scale).map_err(|_| ParseCoinsError::TooLarge)?;
        let significant: u64 = significant.parse().map_err(|_| ParseCoinsError::TooLarge)?;
        let pebbles = 10_u64.checked_pow(scale).and_then(|power| significant.checked_mul(power));
        pebbles.map(|pebbles| Self(Amount::from_pebbles(pebbles))).ok_or(ParseCoinsError::TooLarge)
    }
}

/// An exponent, with its size limited so that sums with it cannot overflow.
fn parse_exponent(text: &str) -> Result<i64, ParseCoinsError> {
    const LIMIT: i64 = 1 << 40;
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(ParseCoinsError::NotANumber);
    }
    // Only digits: what does not parse is too large to count, and larger than any body is long.
    let size = digits.parse::<i64>().unwrap_or(LIMIT).min(LIMIT);
    Ok(if negative { -size } else { size })
}

impl Serialize for Coins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number: Number = self.0.to_string().parse().map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Coins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Number::deserialize(deserializer)?.as_str().parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn coins(pebbles: u64) -> Coins {
        Coins(Amount::from_pebbles(pebbles))
    }

    #[test]
    fn r13_amounts_print_eight_decimals() {
        for (pebbles, text) in [
            (0, "0.00000000"),
            (1, "0.00000001"),
            (10_000_000, "0.10000000"),
            (5_000_000_000, "50.00000000"),
            (2_099_999_997_690_000, "20999999.97690000"),
            // 2^53 + 1 pebbles: the first whole number that a double cannot hold.
            (9_007_199_254_740_993, "90071992.54740993"),
        ] {
            assert_eq!(serde_json::to_string(&coins(pebbles)).expect("an amount serialises"), text);
        }
    }

    #[test]
    fn r13_amounts_parse_exactly() {
        for (text, pebbles) in [
            ("0", 0),
            ("0.1", 10_000_000),
            ("1", 100_000_000),
            ("1.0", 100_000_000),
            ("0.00000001", 1),
            ("1e-8", 1),
            ("1E-8", 1),
            ("1.5e1", 1_500_000_000),
            ("0.000000010000000000", 1),
            ("0e400", 0),
            ("-0", 0),
            ("90071992.54740993", 9_007_199_254_740_993),
            ("184467440737.09551615", u64::MAX),
        ] {
            assert_eq!(serde_json::from_str::<Coins>(text).expect(text), coins(pebbles), "{text}");
        }
    }

    #[test]
    fn r13_amounts_that_are_not_exact_are_refused() {
        for (text, error) in [
            ("0.000000001", ParseCoinsError::TooFine),
            ("1e-9", ParseCoinsError::TooFine),
            ("1.123456789", ParseCoinsError::TooFine),
            ("1e-400", ParseCoinsError::TooFine),
            ("-0.1", ParseCoinsError::Negative),
            ("-1", ParseCoinsError::Negative),
            ("1e400", ParseCoinsError::TooLarge),
            ("1e99999999999999999999999", ParseCoinsError::TooLarge),
            ("184467440737.09551616", ParseCoinsError::TooLarge),
            ("999999999999999999999", ParseCoinsError::TooLarge),
            ("", ParseCoinsError::NotANumber),
            (".5", ParseCoinsError::NotANumber),
            ("5.", ParseCoinsError::NotANumber),
            ("1e", ParseCoinsError::NotANumber),
            ("1e+", ParseCoinsError::NotANumber),
            ("+1", ParseCoinsError::NotANumber),
            ("1 ", ParseCoinsError::NotANumber),
            ("NaN", ParseCoinsError::NotANumber),
            ("٣", ParseCoinsError::NotANumber),
            ("1e٣", ParseCoinsError::NotANumber),
        ] {
            assert_eq!(text.parse::<Coins>(), Err(error), "{text}");
        }
        assert!(serde_json::from_str::<Coins>("\"1\"").is_err(), "a string is not a JSON number");
        assert!(serde_json::from_str::<Coins>("true").is_err());
    }

    proptest! {
        #[test]
        fn r13_every_amount_survives_json(pebbles: u64) {
            let text = serde_json::to_string(&coins(pebbles)).expect("an amount serialises");
            prop_assert_eq!(serde_json::from_str::<Coins>(&text).expect("what was printed parses"), coins(pebbles));
            let through_value: serde_json::Value = serde_json::from_str(&text).expect("a number");
            prop_assert_eq!(serde_json::from_value::<Coins>(through_value).expect("parses"), coins(pebbles));
        }

        #[test]
        fn r13_no_text_panics(text in "[-+]?[0-9.eE]{0,30}") {
            let _ = text.parse::<Coins>();
        }
    }
}
