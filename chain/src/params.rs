//! The consensus parameters of a chain: everything in which one chain's rules may differ from another's.
//!
//! The genesis hash commits to all of them (rule G2), so that two nodes with different parameters are on
//! different chains by construction.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    amount::{Amount, COIN},
    encode::{self, MAX_BLOCK_BYTES},
    hash::tagged,
    height::Height,
    pow::{CompactTarget, Target},
    subsidy::max_supply,
    time::Time,
};

/// The longest name of a chain, in bytes.
pub const MAX_NAME_BYTES: usize = 32;
/// The longest prefix of addresses, in bytes: what BIP-173's 90 characters leave over.
pub const MAX_PREFIX_BYTES: usize = 16;
/// The longest message of a genesis block, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 256;
/// The smallest byte limit of a block: room for the coinbase and a few payments (rule B1).
pub const MIN_BLOCK_BYTES: u32 = 2_000;
/// The most signatures that a chain may allow in a block: what fits into the largest block (rule B2).
pub const MAX_BLOCK_SIGNATURES: u32 = MAX_BLOCK_BYTES / 64;
/// The longest spacing and half-life, in seconds: a year.
pub const MAX_INTERVAL_SECS: u32 = 31_536_000;
/// The rule sets that this program knows (rule G4).
pub const KNOWN_RULE_SETS: [u32; 1] = [1];

/// From a height on, a set of rules is in force (rule G4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSet {
    /// The first height.
    pub from: Height,
    /// The number of the rule set.
    pub rules: u32,
}

/// A chain's consensus parameters (rule G1).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The chain's name: lower-case letters, digits and hyphens.
    pub name: String,
    /// The prefix of its addresses: lower-case letters.
    pub prefix: String,
    /// The time of the genesis block.
    pub genesis_time: Time,
    /// Any words; the genesis hash commits to them.
    pub message: String,
    /// The target of the genesis block and of block 1.
    pub initial_bits: CompactTarget,
    /// The easiest target that the difficulty may fall to (rule W3).
    pub limit_bits: CompactTarget,
    /// The aim: seconds between blocks.
    pub spacing_secs: u32,
    /// ASERT's half-life in seconds; 0 means that the target never changes (rule W4).
    pub half_life_secs: u32,
    /// The subsidy of block 1, in pebbles.
    pub reward: Amount,
    /// Blocks after which the subsidy halves.
    pub halving_blocks: u32,
    /// Blocks after which a coinbase's outputs may be spent (rule S2).
    pub maturity_blocks: u32,
    /// The most bytes of a block (rule B1).
    pub max_block_bytes: u32,
    /// The most signatures of a block (rule B2).
    pub max_block_signatures: u32,
    /// Which rules are in force from which height on (rule G4).
    pub rule_sets: Vec<RuleSet>,
}

/// Why parameters make no chain (rules G1 and G4).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParamsError {
    /// The name is empty, too long, or has other characters.
    #[error("name: 1 to 32 lower-case letters, digits or hyphens (rule G1)")]
    Name,
    /// The prefix is empty, too long, or has other characters.
    #[error("prefix: 1 to 16 lower-case letters (rule G1)")]
    Prefix,
    /// The message is too long.
    #[error("message: at most 256 bytes (rule G1)")]
    Message,
    /// A target is malformed, or the initial one is easier than the limit.
    #[error(
        "initial_bits and limit_bits: canonical compact targets, limit_bits at most 207fffff, initial_bits no \
         easier than limit_bits (rule G1)"
    )]
    Bits,
    /// The spacing or the half-life is out of range.
    #[error("spacing_secs: 1 to 31536000; half_life_secs: 0 to 31536000 (rule G1)")]
    Interval,
    /// The subsidies add up to 2^63 pebbles or more.
    #[error(
        "reward and halving_blocks: halving_blocks at least 1, all subsidies together below 2^63 (rule G1)"
    )]
    Supply,
    /// Maturity 0.
    #[error("maturity_blocks: at least 1 (rule G1)")]
    Maturity,
    /// Limits that the wire, the disk or RPC could not carry, or in which nothing fits.
    #[error("max_block_bytes: 2000 to 4000000; max_block_signatures: 1 to 62500 (rule G1)")]
    Limits,
    /// A rule set that this program does not know, or a list out of order.
    #[error("rule_sets: from height 0 on, ascending, and only those that this program knows: 1 (rule G4)")]
    RuleSets,
}

impl Params {
    /// Holds the parameters against rules G1 and G4.
    ///
    /// # Errors
    /// [`ParamsError`] naming the parameter and its range.
    pub fn check(&self) -> Result<(), ParamsError> {
        let require = |holds: bool, error: ParamsError| if holds { Ok(()) } else { Err(error) };
        let name_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let length_fits = |text: &str, most: usize| (1..=most).contains(&text.len());
        let interval = 1..=MAX_INTERVAL_SECS;
        require(
            length_fits(&self.name, MAX_NAME_BYTES) && self.name.bytes().all(name_byte),
            ParamsError::Name,
        )?;
        require(
            length_fits(&self.prefix, MAX_PREFIX_BYTES)
                && self.prefix.bytes().all(|byte| byte.is_ascii_lowercase()),
            ParamsError::Prefix,
        )?;
        require(self.message.len() <= MAX_MESSAGE_BYTES, ParamsError::Message)?;
        self.check_bits()?;
        require(
            interval.contains(&self.spacing_secs)
                && (self.half_life_secs == 0 || interval.contains(&self.half_life_secs)),
            ParamsError::Interval,
        )?;
        require(self.halving_blocks > 0 && max_supply(self).is_some(), ParamsError::Supply)?;
        require(self.maturity_blocks > 0, ParamsError::Maturity)?;
        require(
            (MIN_BLOCK_BYTES..=MAX_BLOCK_BYTES).contains(&self.max_block_bytes)
                && (1..=MAX_BLOCK_SIGNATURES).contains(&self.max_block_signatures),
            ParamsError::Limits,
        )?;
        self.check_rule_sets()
    }

    fn check_bits(&self) -> Result<(), ParamsError> {
        let target = |bits: CompactTarget| {
            bits.to_target().ok().filter(|_| bits.is_canonical()).ok_or(ParamsError::Bits)
        };
        let easiest = target(Target::MAX_LIMIT_BITS)?;
        let (initial, limit) = (target(self.initial_bits)?, target(self.limit_bits)?);
        if initial > limit || limit > easiest { Err(ParamsError::Bits) } else { Ok(()) }
    }

    fn check_rule_sets(&self) -> Result<(), ParamsError> {
        let known = self.rule_sets.iter().all(|set| KNOWN_RULE_SETS.contains(&set.rules));
        let starts = self.rule_sets.first().is_some_and(|set| set.from == Height::ZERO);
        let ascending = self.rule_sets.windows(2).all(|pair| pair[0].from < pair[1].from);
        let bounded = self.rule_sets.len() <= KNOWN_RULE_SETS.len();
        if known && starts && ascending && bounded { Ok(()) } else { Err(ParamsError::RuleSets) }
    }

    /// What the genesis block's free run begins with: `tagged(cairn/params, borsh(params))` (rule G2).
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        tagged("cairn/params", &encode::to_bytes(self))
    }

    /// How far ahead of the node's clock a header's time may be, in seconds: half_life/24, at least 10 and at
    /// most 7,200; 7,200 where the target never changes (rule C2).
    #[must_use]
    pub fn max_future_secs(&self) -> u32 {
        match self.half_life_secs {
            0 => 7_200,
            half_life => (half_life / 24).clamp(10, 7_200),
        }
    }

    /// All subsidies together: the bound of every amount and every sum (rule T11).
    ///
    /// # Panics
    /// Never for checked parameters, in which the sum was found to fit.
    #[must_use]
    pub fn max_supply(&self) -> Amount {
        max_supply(self).expect("checked parameters have a supply below 2^63")
    }

    /// `main`: Bitcoin's numbers, so that lessons can compare.
    #[must_use]
    pub fn main() -> Self {
        Self {
            name: "main".into(),
            prefix: "crn".into(),
            genesis_time: Time::from_secs(1_795_219_200),
            message: "A pile of stones that travellers build to mark the way.".into(),
            initial_bits: CompactTarget::from_u32(0x1d00_ffff),
            limit_bits: CompactTarget::from_u32(0x1d00_ffff),
            spacing_secs: 600,
            half_life_secs: 172_800,
            reward: Amount::from_pebbles(50 * COIN),
            halving_blocks: 210_000,
            maturity_blocks: 100,
            max_block_bytes: 2_000_000,
            max_block_signatures: 20_000,
            rule_sets: vec![RuleSet { from: Height::ZERO, rules: 1 }],
        }
    }

    /// `test`: like `main`, ten times as fast and easier to mine.
    #[must_use]
    pub fn test() -> Self {
        Self {
            name: "test".into(),
            prefix: "tcrn".into(),
            message: "Every stone is placed by hand.".into(),
            initial_bits: CompactTarget::from_u32(0x1e00_ffff),
            limit_bits: CompactTarget::from_u32(0x1e00_ffff),
            spacing_secs: 60,
            half_life_secs: 288 * 60,
            ..Self::main()
        }
    }

    /// `dev`: a block every 5 seconds and almost no work, for a network on one's own machine.
    #[must_use]
    pub fn dev() -> Self {
        Self {
            name: "dev".into(),
            prefix: "dcrn".into(),
            message: "Build, break, build again.".into(),
            initial_bits: Target::MAX_LIMIT_BITS,
            limit_bits: Target::MAX_LIMIT_BITS,
            spacing_secs: 5,
            half_life_secs: 288 * 5,
            maturity_blocks: 10,
            ..Self::main()
        }
    }
}
