//! Making blocks, good and bad ones: an attacker has as much hash power as it is given, and no scruples.

use std::sync::Arc;

use chain::{
    address::Address,
    amount::Amount,
    block::{Block, Header},
    genesis::{Chain, TEMPLATE_VERSION},
    height::Height,
    merkle::root_and_mutation,
    pow::CompactTarget,
    subsidy::subsidy,
    time::Time,
    transaction::{Coinbase, FREE_RUN_BYTES, OutPoint, Output, Transaction},
    tree::{NodeId, Tree},
};

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The coinbase claims one pebble too much (rule K5).
    Claim,
    /// The coinbase names the height above (rule K1).
    Height,
    /// The bits are one off (rule W4).
    Bits,
    /// The time is the median time past (rule C1).
    Old,
    /// The hash is above the target (rule W1).
    Work,
    /// A transaction spends a coin that is not (rule S1).
    Coin,
    /// The header commits to another body (rule M1).
    Root,
}

/// All of them.
pub(super) const FAULTS: [Fault; 7] =
    [Fault::Claim, Fault::Height, Fault::Bits, Fault::Old, Fault::Work, Fault::Coin, Fault::Root];

/// What a block is made of beside its parent.
pub(super) struct Wish {
    pub(super) time: Time,
    pub(super) pay_to: Address,
    pub(super) transactions: Vec<Arc<Transaction>>,
    /// Makes the coinbase unlike others of the same height.
    pub(super) number: u64,
    pub(super) fault: Option<Fault>,
}

/// A solved block on `parent`; fees are left lying.
pub(super) fn block(chain: &Chain, tree: &Tree, parent: NodeId, wish: Wish) -> Option<Block> {
    let node = tree.node(parent);
    let (above, params) = (node.height().next()?, chain.params());
    let context = tree.context(parent);
    let mut amount = subsidy(params, above);
    let mut height = above;
    let mut bits = context.expected_bits(params);
    let mut time = wish.time.max(context.median_time_past.saturating_add_secs(1));
    let mut transactions = wish.transactions;
    match wish.fault {
        Some(Fault::Claim) => amount = Amount::from_pebbles(amount.pebbles().checked_add(1)?),
        Some(Fault::Height) => height = Height::new(above.get().checked_add(1)?),
        Some(Fault::Bits) => bits = CompactTarget::from_u32(bits.to_u32().checked_sub(1)?),
        Some(Fault::Old) => time = context.median_time_past,
        Some(Fault::Coin) => transactions.push(Arc::new(from_nothing(wish.pay_to, wish.number))),
        Some(Fault::Root | Fault::Work) | None => {}
    }
    let mut free = [0; FREE_RUN_BYTES];
    free[..8].copy_from_slice(&wish.number.to_le_bytes());
    let outputs = if amount == Amount::ZERO { Vec::new() } else { vec![Output::pay(wish.pay_to, amount)] };
    let coinbase = Coinbase { height, free, outputs };
    let leaves: Vec<[u8; 32]> = std::iter::once(coinbase.txid().to_bytes())
        .chain(transactions.iter().map(|transaction| transaction.witness_txid().to_bytes()))
        .collect();
    let header = Header {
        version: TEMPLATE_VERSION,
        previous: node.hash(),
        merkle_root: root_and_mutation(&leaves).0,
        time,
        bits,
        nonce: 0,
    };
    let header = solve(header, wish.fault == Some(Fault::Work))?;
    let mut block = Block { header, coinbase, transactions };
    if wish.fault == Some(Fault::Root) {
        block.coinbase.free[8] ^= 1;
    }
    Some(block)
}

/// Tries nonces until the header meets its target, or until it does not.
fn solve(mut header: Header, unsolved: bool) -> Option<Header> {
    let target = header.bits.to_target().ok()?;
    while target.is_met_by(&header.hash()) == unsolved {
        header.nonce = header.nonce.checked_add(1)?;
    }
    Some(header)
}

/// A transaction that spends a coin that is not, signed by nobody.
pub(super) fn from_nothing(pay_to: Address, number: u64) -> Transaction {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    let key = chain::policy::PublicKey(bytes);
    Transaction {
        inputs: vec![OutPoint { txid: chain::hash::TxId::from_bytes(bytes), index: 0 }],
        outputs: vec![Output::pay(pay_to, Amount::from_pebbles(1_000))],
        witnesses: vec![chain::policy::Witness::signed(key, [9; 64])],
    }
}
