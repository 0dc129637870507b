//! Proof of work as numbers: the compact target of a header (`bits`), the 256-bit target that a hash must
//! not exceed, and the work that a target stands for.
//!
//! The encoding is Bitcoin's, bit for bit (`arith_uint256::SetCompact`, `GetCompact` and `GetBlockProof`
//! in Bitcoin Core), so real Bitcoin headers are test vectors. A [`Target`] is never zero and a [`Work`]
//! never wraps: fork choice compares sums of work, and a sum that wrapped would let a weak chain win.
//! Nothing here may use floating point.

use std::{fmt, io, str::FromStr};

use borsh::{BorshDeserialize, BorshSerialize};
use ruint::aliases::U256;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::hash::BlockHash;

/// The bits of a compact target's mantissa, without its sign.
const MANTISSA_MASK: u32 = 0x007f_ffff;
/// The sign of a compact target. It is a relic of Bitcoin's big-number library: no target is negative.
const SIGN_BIT: u32 = 0x0080_0000;
/// The bytes of a mantissa, and the exponent at which it is not shifted.
const MANTISSA_BYTES: usize = 3;

/// Why `bits` stand for no target (rule W2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PowError {
    /// The sign bit is set.
    #[error("bits {0} stand for a negative target; use bits without the sign bit 00800000 (rule W2)")]
    Negative(CompactTarget),
    /// The target needs more than 256 bits.
    #[error("bits {0} stand for a target above 2^256; use a smaller first byte (rule W2)")]
    Overflow(CompactTarget),
    /// The target is zero, which no block could ever meet.
    #[error("bits {0} stand for a target of zero; use bits whose target is at least 1 (rule W2)")]
    Zero(CompactTarget),
}

/// Why a string is not a compact target.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a compact target is 8 hexadecimal digits, such as 1d00ffff, got {0:?}")]
pub struct ParseCompactError(String);

/// Why a string is not a target or an amount of work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a target or work is 64 hexadecimal digits, got {0:?}")]
pub struct ParseU256Error(String);

/// How much of a refused string an error repeats, in characters.
const MAX_QUOTED_CHARS: usize = 80;

fn quote(text: &str) -> String {
    text.chars().take(MAX_QUOTED_CHARS).collect()
}

/// The field `bits` of a header: a target in Bitcoin's compact form, one byte of exponent (base 256) and
/// three bytes of signed mantissa. Any `u32` can be held, as any can stand in a header; only
/// [`CompactTarget::to_target`] tells whether it means a target.
///
/// The order is that of the number. Among canonical encodings it is also the order of the targets.
/// Borsh: u32, little-endian. Serde: a string of 8 hexadecimal digits, as Bitcoin's RPC shows `bits`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct CompactTarget(u32);

impl CompactTarget {
    /// From the number in the header.
    #[must_use]
    pub const fn from_u32(bits: u32) -> Self {
        Self(bits)
    }

    /// The number in the header.
    #[must_use]
    pub const fn to_u32(self) -> u32 {
        self.0
    }

    /// The target that these bits stand for.
    ///
    /// # Errors
    /// [`PowError`] if it is negative, above 2^256 or zero (rule W2).
    pub fn to_target(self) -> Result<Target, PowError> {
        let exponent = usize::from(self.0.to_be_bytes()[0]);
        let dropped_bytes = MANTISSA_BYTES.saturating_sub(exponent);
        let shift_bits = 8 * exponent.saturating_sub(MANTISSA_BYTES);
        let mantissa = (self.0 & MANTISSA_MASK) >> (8 * dropped_bytes);
        // As in Bitcoin Core, the sign and the size count only if digits are left after the shift: a
        // "negative" or huge zero is a zero.
        if mantissa == 0 {
            return Err(PowError::Zero(self));
        }
        if self.0 & SIGN_BIT != 0 {
            return Err(PowError::Negative(self));
        }
        let value = U256::from(mantissa);
        if value.bit_len() + shift_bits > U256::BITS {
            return Err(PowError::Overflow(self));
        }
        Ok(Target(value.wrapping_shl(shift_bits)))
    }

    /// Whether these are the bits that Bitcoin would write for their target. Several other encodings
    /// mean the same target or a target that is cut to the same bits.
    #[must_use]
    pub fn is_canonical(self) -> bool {
        self.to_target().is_ok_and(|target| target.to_compact() == self)
    }
}

impl fmt::Display for CompactTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for CompactTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompactTarget({self})")
    }
}

impl FromStr for CompactTarget {
    type Err = ParseCompactError;

    fn from_str(text: &str) -> Result<Self, ParseCompactError> {
        // `from_str_radix` accepts a leading plus sign, which no Bitcoin tool prints.
        if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseCompactError(quote(text)));
        }
        u32::from_str_radix(text, 16).map(Self).map_err(|_| ParseCompactError(quote(text)))
    }
}

/// The number that a block's hash, read as a little-endian number, must not exceed. From 1 to 2^256 - 1.
///
/// Displayed and in serde as 64 hexadecimal digits, as in `getblocktemplate`; Borsh: 32 bytes, big-endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(U256);

impl Target {
    /// The highest `limit_bits` that a chain may have, and Bitcoin's regtest limit: half of all hashes.
    pub const MAX_LIMIT_BITS: CompactTarget = CompactTarget(0x207f_ffff);
    /// The lowest target, which only the hashes zero and one meet.
    pub const MIN: Self = Self(U256::ONE);
    /// The highest target, which every hash meets. No bits stand for it.
    pub const MAX: Self = Self(U256::MAX);

    /// From a number. Zero becomes 1, the lowest target that there is.
    #[must_use]
    pub fn from_u256(value: U256) -> Self {
        Self(value.max(U256::ONE))
    }

    /// The target that takes `hashes` hashes on average, so that `work()` gives `hashes` back: 2^256 /
    /// hashes - 1. Zero hashes are read as one.
    #[must_use]
    pub fn from_expected_hashes(hashes: u64) -> Self {
        let hashes = U256::from(hashes.max(1));
        // 2^256 does not fit, but 2^256 - hashes does, and dividing it gives one less.
        Self::from_u256(hashes.wrapping_neg() / hashes)
    }

    /// The number.
    #[must_use]
    pub const fn to_u256(self) -> U256 {
        self.0
    }

    /// The number, highest byte first.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// Whether `hash`, read as a little-endian number, does not exceed this target (rule W1).
    #[must_use]
    pub fn is_met_by(&self, hash: &BlockHash) -> bool {
        U256::from_le_bytes(hash.to_bytes()) <= self.0
    }

    /// The compact form, cut (never rounded) to the three highest bytes, or to two where the third would
    /// set the sign bit: `arith_uint256::GetCompact`.
    #[must_use]
    pub fn to_compact(self) -> CompactTarget {
        let mut size_bytes = self.0.bit_len().div_ceil(8);
        let mut mantissa = if size_bytes <= MANTISSA_BYTES {
            self.0.wrapping_shl(8 * (MANTISSA_BYTES - size_bytes))
        } else {
            self.0.wrapping_shr(8 * (size_bytes - MANTISSA_BYTES))
        };
        if mantissa.bit(23) {
            mantissa = mantissa.wrapping_shr(8);
            size_bytes += 1;
        }
        let mantissa: u32 = mantissa.try_into().expect("the shifts leave at most 24 bits");
        let exponent = u32::try_from(size_bytes).expect("256 bits are at most 33 bytes with the sign's");
        CompactTarget(exponent << 24 | mantissa)
    }

    /// How many hashes it takes on average to meet this target: 2^256 / (target + 1), rounded down, as
    /// Bitcoin Core's `GetBlockProof`. At least 1.
    #[must_use]
    pub fn work(self) -> Work {
        let quotient = match self.0.checked_add(U256::ONE) {
            // 2^256 does not fit into 256 bits, but it equals `!target + target + 1`.
            Some(hashes_below) => !self.0 / hashes_below,
            None => U256::ZERO,
        };
        // The target is at least 1, so the quotient is below 2^255 and one more fits.
        Work(quotient.wrapping_add(U256::ONE))
    }
}

/// How many hashes a block or a chain of blocks stands for on average. The chain with the most of it wins.
///
/// Displayed and in serde as 64 hexadecimal digits, as `chainwork`; Borsh: 32 bytes, big-endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Work(U256);

impl Work {
    /// No work.
    pub const ZERO: Self = Self(U256::ZERO);

    /// From the number, highest byte first.
    #[must_use]
    pub const fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }

    /// The number, highest byte first: bytes compare as the work does.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// The number.
    #[must_use]
    pub const fn to_u256(self) -> U256 {
        self.0
    }

    /// The sum, or `None` from 2^256 on (rule W5).
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` if `other` is more.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

fn parse_be_hex(text: &str) -> Result<[u8; 32], ParseU256Error> {
    let mut bytes = [0; 32];
    // `const_hex` accepts a leading `0x`: the length rules it out.
    if text.len() != 64 || const_hex::decode_to_slice(text, &mut bytes).is_err() {
        return Err(ParseU256Error(quote(text)));
    }
    Ok(bytes)
}

impl FromStr for Target {
    type Err = ParseU256Error;

    fn from_str(text: &str) -> Result<Self, ParseU256Error> {
        match U256::from_be_bytes(parse_be_hex(text)?) {
            U256::ZERO => Err(ParseU256Error(quote(text))),
            value => Ok(Self(value)),
        }
    }
}

impl FromStr for Work {
    type Err = ParseU256Error;

    fn from_str(text: &str) -> Result<Self, ParseU256Error> {
        parse_be_hex(text).map(Self::from_be_bytes)
    }
}

impl BorshSerialize for Target {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(&self.to_be_bytes())
    }
}

impl BorshDeserialize for Target {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        match U256::from_be_bytes(<[u8; 32]>::deserialize_reader(reader)?) {
            U256::ZERO => Err(io::Error::new(io::ErrorKind::InvalidData, "a target is at least 1")),
            value => Ok(Self(value)),
        }
    }
}

impl BorshSerialize for Work {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(&self.to_be_bytes())
    }
}

impl BorshDeserialize for Work {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        <[u8; 32]>::deserialize_reader(reader).map(Self::from_be_bytes)
    }
}

macro_rules! display_as_be_hex {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&const_hex::encode(self.to_be_bytes()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

display_as_be_hex!(Target);
display_as_be_hex!(Work);

macro_rules! serde_as_string {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

serde_as_string!(CompactTarget);
serde_as_string!(Target);
serde_as_string!(Work);

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(word: u32) -> CompactTarget {
        CompactTarget::from_u32(word)
    }

    #[test]
    fn work_is_two_to_the_256_over_target_plus_one() {
        // The difficulty-1 block is worth 0x100010001 hashes: the chainwork of Bitcoin's genesis block.
        let genesis = bits(0x1d00_ffff).to_target().expect("Bitcoin's limit").work();
        assert_eq!(genesis.to_u256(), U256::from(0x1_0001_0001_u64));
        assert_eq!(bits(0x207f_ffff).to_target().expect("regtest's limit").work().to_u256(), U256::from(2));
        assert_eq!(Target::MAX.work().to_u256(), U256::ONE);
        assert_eq!(Target::MIN.work().to_u256(), U256::ONE << 255);
    }

    #[test]
    fn sums_of_work_do_not_wrap() {
        let half = Target::MIN.work();
        let below = Work::from_be_bytes([0xff; 32]).checked_sub(half).expect("the highest is more than half");
        assert_eq!(half.checked_add(below), Some(Work::from_be_bytes([0xff; 32])));
        assert_eq!(half.checked_add(half), None);
        assert_eq!(below.checked_sub(half), None);
    }

    #[test]
    fn a_target_is_met_by_itself_and_by_nothing_above() {
        let target = bits(0x1d00_ffff).to_target().expect("Bitcoin's limit");
        let hash = |value: U256| BlockHash::from_bytes(value.to_le_bytes());
        assert!(target.is_met_by(&hash(target.to_u256())));
        assert!(target.is_met_by(&BlockHash::ZERO));
        assert!(!target.is_met_by(&hash(target.to_u256() + U256::ONE)));
        assert!(!target.is_met_by(&hash(U256::MAX)));
    }

    #[test]
    fn expected_hashes_come_back_as_work() {
        for hashes in [1, 2, 3, 5, 1_000, 65_537, 20_000_000, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            assert_eq!(Target::from_expected_hashes(hashes).work().to_u256(), U256::from(hashes), "{hashes}");
        }
        assert_eq!(Target::from_expected_hashes(0), Target::MAX);
        assert_eq!(Target::from_u256(U256::ZERO), Target::MIN);
    }

    #[test]
    fn c09_the_highest_bits_of_each_size_are_the_last_that_fit() {
        for (fits, overflows) in
            [(0x2200_00ff, 0x2200_0100), (0x2100_ffff, 0x2101_0000), (0x207f_ffff, 0x2300_0001)]
        {
            assert!(bits(fits).to_target().is_ok(), "{fits:08x}");
            assert_eq!(bits(overflows).to_target(), Err(PowError::Overflow(bits(overflows))));
        }
        // A zero of any size or sign is a zero.
        for zero in [0, 0xff00_0000, 0xff80_0000, 0x0080_0000, 0x0300_0000, 0x0100_ffff] {
            assert_eq!(bits(zero).to_target(), Err(PowError::Zero(bits(zero))), "{zero:08x}");
        }
        assert_eq!(bits(0x0380_0001).to_target(), Err(PowError::Negative(bits(0x0380_0001))));
    }

    #[test]
    fn strings_and_bytes_come_back() {
        let limit = Target::MAX_LIMIT_BITS;
        assert_eq!(limit.to_string(), "207fffff");
        assert_eq!("207FFFFF".parse(), Ok(limit));
        for bad in ["", "207ffff", "0207fffff", "+07fffff", "0x7fffff", "207ffffg", "207fff\u{20ac}"] {
            assert!(bad.parse::<CompactTarget>().is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&limit).expect("a string"), "\"207fffff\"");
        assert_eq!(serde_json::from_str::<CompactTarget>("\"207fffff\"").expect("digits"), limit);
        assert!(serde_json::from_str::<CompactTarget>("545259519").is_err());
        assert_eq!(borsh::to_vec(&limit).expect("a vector takes all"), [0xff, 0xff, 0x7f, 0x20]);

        let target = limit.to_target().expect("the highest limit");
        assert_eq!(target.to_string(), format!("7fffff{}", "0".repeat(58)));
        assert_eq!(target.to_string().parse(), Ok(target));
        assert_eq!(target.work().to_string(), format!("{}2", "0".repeat(63)));
        assert_eq!(target.work().to_string().parse(), Ok(target.work()));
        assert!("0".repeat(64).parse::<Target>().is_err());
        assert_eq!("0".repeat(64).parse(), Ok(Work::ZERO));
        for bad in ["", "0", &format!("0x{}", "1".repeat(62)), &"g".repeat(64), &"1".repeat(65)] {
            assert!(bad.parse::<Target>().is_err() && bad.parse::<Work>().is_err(), "{bad}");
        }
        let bytes = borsh::to_vec(&(target, target.work())).expect("a vector takes all");
        assert_eq!(bytes.len(), 64);
        assert_eq!(
            borsh::from_slice::<(Target, Work)>(&bytes).expect("just written"),
            (target, target.work())
        );
        assert!(borsh::from_slice::<Target>(&[0; 32]).is_err());
    }
}
