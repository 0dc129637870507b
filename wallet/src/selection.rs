//! Fee rates and the choice of coins, in integers only (threat W09).
//!
//! The choice is the simplest that serves: the smallest single confirmed coin that is enough, else the
//! largest first, confirmed coins before change that is still in the mempool. Few inputs make a small
//! transaction; a small payment does not break the largest coin. Change that would cost more to spend than
//! it is worth goes to the miner.

use std::{collections::HashSet, fmt};

use chain::{
    address::Address,
    amount::Amount,
    transaction::{OutPoint, Output},
};
use thiserror::Error;

use crate::{
    build::Sizes,
    coins::{Balance, Coin, CoinState},
};

/// The most that a payment may cost: 0.1 CRN, as Bitcoin Core's `-maxtxfee`.
pub const MAX_FEE: Amount = Amount::from_pebbles(10_000_000);

/// The highest fee rate that is taken for meant: 0.1 CRN per 1,000 bytes, as Bitcoin Core's `maxfeerate`.
pub const MAX_FEE_RATE: FeeRate = FeeRate::from_pebbles_per_kb(10_000_000);

/// The rate at which a coin's worth is held against the cost of spending it, unless the payment's own is
/// higher; Bitcoin Core's `-dustrelayfee`.
pub const DUST_FEE_RATE: FeeRate = FeeRate::from_pebbles_per_kb(3_000);

/// The most bytes of a payment, as large as Bitcoin Core's standard transactions: some 700 coins.
pub const MAX_PAYMENT_BYTES: u64 = 100_000;

/// A fee rate: pebbles per 1,000 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeeRate(u64);

impl FeeRate {
    /// One pebble a byte, Bitcoin's customary minimum.
    pub const DEFAULT: Self = Self(1_000);

    /// So many pebbles per 1,000 bytes.
    #[must_use]
    pub const fn from_pebbles_per_kb(pebbles: u64) -> Self {
        Self(pebbles)
    }

    /// The rate in pebbles per 1,000 bytes.
    #[must_use]
    pub const fn pebbles_per_kb(self) -> u64 {
        self.0
    }

    /// The least fee that meets this rate for so many bytes, rounded up; `None` beyond a u64.
    #[must_use]
    pub fn fee(self, bytes: u64) -> Option<Amount> {
        let pebbles = (u128::from(self.0) * u128::from(bytes)).div_ceil(1_000);
        u64::try_from(pebbles).ok().map(Amount::from_pebbles)
    }
}

impl fmt::Display for FeeRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pebbles per 1000 bytes", self.0)
    }
}

/// Why a payment cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectionError {
    /// The coins at hand are not enough for the payment and its fee.
    #[error(
        "not enough coins: {needed} CRN needed with the fee, {available} CRN spendable{}: send less, or wait",
        waiting(*.immature, *.pending)
    )]
    InsufficientFunds {
        /// Payments and the fee of spending all that is available.
        needed: Amount,
        /// What can be spent now, without coins that cost more to spend than they are worth.
        available: Amount,
        /// What matures later.
        immature: Amount,
        /// What waits for a block.
        pending: Amount,
    },
    /// Nobody is paid.
    #[error("nobody is paid: name an address and an amount")]
    NoPayment,
    /// A payment of nothing; no chain has such outputs (rule T8).
    #[error("a payment of 0 CRN is no payment: name an amount of at least 0.00000001")]
    ZeroAmount,
    /// No coin was named.
    #[error("no coin was named to be spent: name one, or leave the choice to the wallet")]
    NoCoin,
    /// One coin twice (rule T6).
    #[error("{0} is named twice: a coin can be spent once")]
    DuplicateCoin(OutPoint),
    /// A fee rate that cannot be meant.
    #[error("a fee rate of {0} is above {MAX_FEE_RATE}, the most that is taken for meant: lower it")]
    AbsurdFeeRate(FeeRate),
    /// A fee that cannot be meant.
    #[error("the fee would be {0} CRN, above {MAX_FEE} CRN: lower the fee rate, or pay from fewer coins")]
    AbsurdFee(Amount),
    /// Too many coins or payments for one transaction.
    #[error("the payment would take more than {MAX_PAYMENT_BYTES} bytes: send it in several smaller ones")]
    TooLarge,
    /// Amounts beyond what a u64 counts: no chain has as much.
    #[error("the amounts add up to more than can exist: check them, and which node told of the coins")]
    Overflow,
}

fn waiting(immature: Amount, pending: Amount) -> String {
    let mut text = String::new();
    for (amount, what) in [(immature, "mined but still immature"), (pending, "not yet in a block")] {
        if amount > Amount::ZERO {
            text.push_str(&format!(", {amount} CRN {what}"));
        }
    }
    text
}

/// Coins that were chosen, and how their worth is divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The coins.
    pub inputs: Vec<Coin>,
    /// What the miner gets.
    pub fee: Amount,
    /// What comes back; zero when it would be dust.
    pub change: Amount,
    /// Bytes of the signed transaction.
    pub size_bytes: u64,
}

/// What a payment asks of its coins.
#[derive(Debug)]
pub struct Target {
    paid: Amount,
    rate: FeeRate,
    without_change: Sizes,
    with_change: Sizes,
}

impl Target {
    /// To make `outputs` at `rate`, with change to an address of this wallet.
    ///
    /// # Errors
    /// When nobody is paid, or the amounts or the rate make no sense.
    pub fn new(outputs: &[Output], rate: FeeRate) -> Result<Self, SelectionError> {
        if outputs.is_empty() {
            return Err(SelectionError::NoPayment);
        }
        if rate > MAX_FEE_RATE {
            return Err(SelectionError::AbsurdFeeRate(rate));
        }
        let paid = outputs.iter().try_fold(Amount::ZERO, |sum, output| {
            if output.amount == Amount::ZERO && output.address().is_some() {
                return Err(SelectionError::ZeroAmount);
            }
            sum.checked_add(output.amount).ok_or(SelectionError::Overflow)
        })?;
        // All addresses have one width, so that any one measures the change output.
        let mut changed = outputs.to_vec();
        changed.push(Output::pay(Address::from_bytes([0; 32]), Amount::ZERO));
        let (without_change, with_change) = (Sizes::of_outputs(outputs), Sizes::of_outputs(&changed));
        Ok(Self { paid, rate, without_change, with_change })
    }

    /// Payments and fee without change, for so many inputs.
    fn needed(&self, inputs: usize) -> Result<Amount, SelectionError> {
        let fee = self.rate.fee(bytes(self.without_change, inputs)?).ok_or(SelectionError::Overflow)?;
        self.paid.checked_add(fee).ok_or(SelectionError::Overflow)
    }

    /// The least change that is worth having: what it costs to make and, later, to spend.
    fn dust_limit(&self) -> Result<Amount, SelectionError> {
        let output_bytes = bytes(self.with_change, 0)? - bytes(self.without_change, 0)?;
        let life_bytes = output_bytes + self.with_change.input_bytes();
        self.rate.max(DUST_FEE_RATE).fee(life_bytes).ok_or(SelectionError::Overflow)
    }

    /// Chooses among the spendable of `coins`.
    ///
    /// # Errors
    /// [`SelectionError::InsufficientFunds`]; fees, sizes and sums beyond their limits.
    pub fn choose(&self, coins: &[Coin]) -> Result<Selection, SelectionError> {
        let cost_of_input =
            self.rate.fee(self.without_change.input_bytes()).ok_or(SelectionError::Overflow)?;
        let mut candidates: Vec<&Coin> =
            coins.iter().filter(|coin| coin.is_spendable() && coin.amount > cost_of_input).collect();
        // Confirmed first, then the largest; the outpoint makes the order of equal coins the same each time.
        candidates.sort_by_key(|coin| {
            (coin.state == CoinState::OwnChange, std::cmp::Reverse(coin.amount), coin.outpoint)
        });
        let alone = self.needed(1)?;
        let smallest = candidates
            .iter()
            .filter(|coin| coin.state == CoinState::Spendable && coin.amount >= alone)
            .min_by_key(|coin| (coin.amount, coin.outpoint));
        if let Some(coin) = smallest {
            return self.settle(vec![**coin]);
        }
        let (mut inputs, mut sum) = (Vec::new(), Amount::ZERO);
        for coin in candidates {
            inputs.push(*coin);
            sum = sum.checked_add(coin.amount).ok_or(SelectionError::Overflow)?;
            if sum >= self.needed(inputs.len())? {
                return self.settle(inputs);
            }
        }
        let held = Balance::of(coins).ok_or(SelectionError::Overflow)?;
        Err(SelectionError::InsufficientFunds {
            needed: self.needed(inputs.len().max(1))?,
            available: sum,
            immature: held.immature,
            pending: held.pending,
        })
    }

    /// Takes all of `coins`, whatever their state: who names coins means them.
    ///
    /// # Errors
    /// No coin, one twice, or not enough; fees, sizes and sums beyond their limits.
    pub fn take_all(&self, coins: &[Coin]) -> Result<Selection, SelectionError> {
        if coins.is_empty() {
            return Err(SelectionError::NoCoin);
        }
        let mut seen = HashSet::new();
        if let Some(coin) = coins.iter().find(|coin| !seen.insert(coin.outpoint)) {
            return Err(SelectionError::DuplicateCoin(coin.outpoint));
        }
        self.settle(coins.to_vec())
    }

    /// Divides what the inputs are worth into payments, fee and change.
    fn settle(&self, inputs: Vec<Coin>) -> Result<Selection, SelectionError> {
        let sum = inputs
            .iter()
            .try_fold(Amount::ZERO, |sum, coin| sum.checked_add(coin.amount))
            .ok_or(SelectionError::Overflow)?;
        let needed = self.needed(inputs.len())?;
        let without = bytes(self.without_change, inputs.len())?;
        let with = bytes(self.with_change, inputs.len())?;
        let Some(rest) = sum.checked_sub(self.paid).filter(|_| sum >= needed) else {
            let (available, none) = (sum, Amount::ZERO);
            return Err(SelectionError::InsufficientFunds {
                needed,
                available,
                immature: none,
                pending: none,
            });
        };
        let fee_with_change = self.rate.fee(with).ok_or(SelectionError::Overflow)?;
        let dust_limit = self.dust_limit()?;
        let worthwhile = rest.checked_sub(fee_with_change).filter(|change| *change >= dust_limit);
        let (fee, change, size_bytes) = match worthwhile {
            Some(change) => (fee_with_change, change, with),
            None => (rest, Amount::ZERO, without),
        };
        if size_bytes > MAX_PAYMENT_BYTES {
            return Err(SelectionError::TooLarge);
        }
        if fee > MAX_FEE {
            return Err(SelectionError::AbsurdFee(fee));
        }
        Ok(Selection { inputs, fee, change, size_bytes })
    }
}

fn bytes(sizes: Sizes, inputs: usize) -> Result<u64, SelectionError> {
    u64::try_from(inputs).ok().and_then(|inputs| sizes.with_inputs(inputs)).ok_or(SelectionError::Overflow)
}

#[cfg(test)]
mod tests;
