//! Coins: what the node's address index tells, and what of it the wallet can spend now.
//!
//! The wallet keeps no ledger of its own. Its balance is a function of what the node says about its
//! addresses, so that a reorganisation needs no repair here (threat W11).

use chain::{
    address::Address,
    amount::Amount,
    height::Height,
    transaction::{OutPoint, Output},
};

use crate::derivation::{Branch, KeyPath};

/// A coin as the node's address index tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundCoin {
    /// Which output.
    pub outpoint: OutPoint,
    /// What it is worth.
    pub amount: Amount,
    /// The address that it was paid to.
    pub address: Address,
    /// The height of the block that made it; `None` while its transaction is in the mempool.
    pub height: Option<Height>,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

/// Whether a coin can be spent in the next block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoinState {
    /// In a block, and mature.
    Spendable,
    /// In the mempool, and change of a payment of our own: spendable, but taken after all confirmed coins.
    OwnChange,
    /// In the mempool, from somebody who may yet pay it elsewhere: counted, never chosen.
    Pending,
    /// A coinbase's, too young.
    Immature {
        /// The first height at which it may be spent.
        spendable_at: u64,
    },
}

/// A coin of the wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coin {
    /// Which output.
    pub outpoint: OutPoint,
    /// What it is worth.
    pub amount: Amount,
    /// The address that it was paid to.
    pub address: Address,
    /// Where the key that spends it is.
    pub key: KeyPath,
    /// The height of the block that made it; `None` while its transaction is in the mempool.
    pub height: Option<Height>,
    /// Whether a coinbase made it.
    pub coinbase: bool,
    /// Whether it can be spent in the next block.
    pub state: CoinState,
}

impl Coin {
    /// A coin of ours: judged for the block after `tip`, as the mempool does, by the chain's maturity.
    #[must_use]
    pub fn new(found: &FoundCoin, key: KeyPath, tip: Height, maturity_blocks: u32) -> Self {
        let state = match (found.height, key.branch) {
            (None, Branch::Change) => CoinState::OwnChange,
            (None, Branch::Receive) => CoinState::Pending,
            (Some(height), _) => {
                let spendable_at = u64::from(height.get()) + u64::from(maturity_blocks);
                if found.coinbase && spendable_at > u64::from(tip.get()) + 1 {
                    CoinState::Immature { spendable_at }
                } else {
                    CoinState::Spendable
                }
            }
        };
        let FoundCoin { outpoint, amount, address, height, coinbase } = *found;
        Self { outpoint, amount, address, key, height, coinbase, state }
    }

    /// Whether it may be chosen for a payment.
    #[must_use]
    pub const fn is_spendable(&self) -> bool {
        matches!(self.state, CoinState::Spendable | CoinState::OwnChange)
    }

    /// The output that it is, which signatures commit to.
    #[must_use]
    pub const fn output(&self) -> Output {
        Output::pay(self.address, self.amount)
    }
}

/// What a wallet holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// Confirmed and mature, and our own change in the mempool.
    pub spendable: Amount,
    /// Of coinbases that are too young.
    pub immature: Amount,
    /// In the mempool, from others.
    pub pending: Amount,
}

impl Balance {
    /// The sums of `coins`; `None` when they exceed what any amount can be, so that the node told nonsense.
    #[must_use]
    pub fn of(coins: &[Coin]) -> Option<Self> {
        coins.iter().try_fold(Self::default(), |mut balance, coin| {
            let sum = match coin.state {
                CoinState::Spendable | CoinState::OwnChange => &mut balance.spendable,
                CoinState::Immature { .. } => &mut balance.immature,
                CoinState::Pending => &mut balance.pending,
            };
            *sum = sum.checked_add(coin.amount)?;
            Some(balance)
        })
    }

    /// All of it; `None` as for [`Balance::of`].
    #[must_use]
    pub fn total(&self) -> Option<Amount> {
        self.spendable.checked_add(self.immature)?.checked_add(self.pending)
    }
}

#[cfg(test)]
mod tests {
    use chain::hash::TxId;

    use super::*;

    fn coin(branch: Branch, height: Option<u32>, coinbase: bool, tip: u32) -> Coin {
        let found = FoundCoin {
            outpoint: OutPoint { txid: TxId::ZERO, index: 0 },
            amount: Amount::from_pebbles(5),
            address: Address::from_bytes([1; 32]),
            height: height.map(Height::new),
            coinbase,
        };
        Coin::new(&found, KeyPath { branch, index: 0 }, Height::new(tip), 10)
    }

    #[test]
    fn a_coinbase_matures_for_the_block_that_may_spend_it() {
        // Rule: block height - coin height >= maturity. The block after tip 109 has height 110.
        let young = coin(Branch::Receive, Some(100), true, 108);
        assert_eq!(young.state, CoinState::Immature { spendable_at: 110 });
        assert!(!young.is_spendable());
        assert!(coin(Branch::Receive, Some(100), true, 109).is_spendable());
        assert!(coin(Branch::Receive, Some(100), false, 100).is_spendable());
        assert!(!coin(Branch::Receive, Some(u32::MAX), true, u32::MAX).is_spendable());
    }

    #[test]
    fn only_own_change_is_spent_unconfirmed() {
        assert_eq!(coin(Branch::Receive, None, false, 9).state, CoinState::Pending);
        assert_eq!(coin(Branch::Change, None, false, 9).state, CoinState::OwnChange);
    }

    #[test]
    fn w11_the_balance_is_a_function_of_the_coins() {
        let coins = [
            coin(Branch::Receive, Some(1), false, 9),
            coin(Branch::Change, None, false, 9),
            coin(Branch::Receive, None, false, 9),
            coin(Branch::Receive, Some(9), true, 9),
        ];
        let balance = Balance::of(&coins).expect("no overflow");
        let pebbles = |amount: Amount| amount.pebbles();
        assert_eq!(
            (pebbles(balance.spendable), pebbles(balance.immature), pebbles(balance.pending)),
            (10, 5, 5)
        );
        assert_eq!(balance.total().map(pebbles), Some(20));
        let mut absurd = coins[0];
        absurd.amount = Amount::from_pebbles(u64::MAX);
        assert_eq!(Balance::of(&[absurd, absurd]), None);
    }
}
