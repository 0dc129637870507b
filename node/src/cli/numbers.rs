//! Numbers on the command line, and what is said of those that are none.

use std::{ops::RangeInclusive, str::FromStr};

use chain::amount::Amount;

use crate::config::DB_CACHE_MIB;

/// Reads whole numbers of a range; what is refused is told what would do.
pub fn whole<T: FromStr>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let inside = text.parse::<u64>().is_ok_and(|number| range.contains(&number));
        let number = if inside { text.parse().ok() } else { None };
        number.ok_or_else(|| match (range.start(), range.end()) {
            (least, &u64::MAX) => format!("a whole number from {least} on is needed, in digits alone"),
            (least, most) => format!("a whole number from {least} to {most} is needed, in digits alone"),
        })
    }
}

/// Reads an amount of CRN.
pub fn amount(text: &str) -> Result<Amount, String> {
    if text.starts_with('-') {
        return Err("an amount cannot be negative: give one such as 1.5".into());
    }
    text.parse().map_err(|error: chain::amount::ParseAmountError| error.to_string())
}

/// Reads how many words a new wallet has.
pub fn word_count(text: &str) -> Result<u8, String> {
    match text {
        "12" => Ok(12),
        "24" => Ok(24),
        _ => Err("a new wallet has 12 or 24 words".into()),
    }
}

/// Reads a budget of memory for coins, in MiB.
pub fn db_cache(text: &str) -> Result<u32, String> {
    let (least, most) = (u64::from(*DB_CACHE_MIB.start()), u64::from(*DB_CACHE_MIB.end()));
    whole(least..=most)(text)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use clap::Parser;

    use super::{super::Cli, *};

    #[test]
    fn only_whole_numbers_of_the_range_are_read() {
        let count = whole::<u32>(1..=1_000);
        assert_eq!((count("1"), count("1000")), (Ok(1), Ok(1_000)));
        for text in ["0", "1001", "-1", "1e3", "1.0", "", "99999999999999999999"] {
            let said = count(text).expect_err(text);
            assert!(said.contains("a whole number from 1 to 1000"), "{said}");
        }
        let rate = whole::<NonZeroU64>(1..=u64::MAX);
        assert_eq!(rate("18446744073709551615"), Ok(NonZeroU64::MAX));
        for text in ["0", "1e6", "18446744073709551616"] {
            assert!(rate(text).expect_err(text).contains("a whole number from 1 on"));
        }
        assert_eq!(whole::<u8>(0..=u64::MAX)("256").ok(), None, "what the type cannot hold");
    }

    #[test]
    fn amounts_are_not_negative() {
        assert_eq!(amount("1.5"), Ok(Amount::from_pebbles(150_000_000)));
        assert!(amount("-1").expect_err("negative").contains("negative"));
        assert!(amount("0.000000001").expect_err("too precise").contains("8 decimals"));
    }

    #[test]
    fn numbers_that_are_none_are_explained() {
        for (line, words) in [
            ("cairn wallet send crn1x -1", "cannot be negative"),
            ("cairn wallet send crn1x 1 --fee-rate -1", "from 0 on"),
            ("cairn wallet history --count -1", "from 1 to 1000"),
            ("cairn chain new --name x --out f --hash-rate 1e6", "from 1 on"),
            ("cairn devnet --hash-rate 1e6", "from 1 on"),
            ("cairn node --throttle -5", "from 1 on"),
            ("cairn chain new --name x --out f --spacing -1", "from 0 to"),
        ] {
            let said = Cli::try_parse_from(line.split_whitespace()).expect_err(line).to_string();
            assert!(said.contains(words), "{line}: {said}");
        }
    }
}
