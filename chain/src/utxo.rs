//! Unspent coins, and how a block changes the set of them.

use std::collections::HashMap;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{
    height::Height,
    transaction::{OutPoint, Output},
};

/// An output that can be spent, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Coin {
    /// The output; never a data output.
    pub output: Output,
    /// The height of the block that made it.
    pub height: Height,
    /// Whether a coinbase made it, so that it must mature (rule S2).
    pub coinbase: bool,
}

/// Where unspent coins are looked up.
pub trait UtxoView {
    /// The coin at `outpoint`, unless it does not exist or is spent.
    fn coin(&self, outpoint: &OutPoint) -> Option<Coin>;
}

impl UtxoView for HashMap<OutPoint, Coin> {
    fn coin(&self, outpoint: &OutPoint) -> Option<Coin> {
        self.get(outpoint).cloned()
    }
}

/// What one block does to the UTXO set. Coins that the block itself both makes and spends do not appear.
#[derive(Clone, Debug, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize)]
pub struct Delta {
    /// Coins of earlier blocks that the block spends, in the order of its inputs.
    pub spent: Vec<(OutPoint, Coin)>,
    /// Coins that the block leaves unspent, in no particular order.
    pub created: Vec<(OutPoint, Coin)>,
}

/// What disconnecting a block needs beyond the block: the coins that it spent, in the order of its inputs.
pub type Undo = Vec<(OutPoint, Coin)>;
