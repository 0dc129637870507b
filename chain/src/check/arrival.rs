//! The forms in which a block comes: as bytes, decoded, or put together of transactions that are known.

use std::sync::Arc;

use super::CheckedTransaction;
use crate::{
    block::{Block, HEADER_BYTES, Header},
    encode::write_count,
    encoded::{EncodedBlock, Leaf},
    transaction::{Coinbase, Transaction},
};

/// A block that was held against no rule yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewBlock {
    /// As bytes, from a peer or the disk: what is known of its transactions need not be decoded.
    Encoded(EncodedBlock),
    /// Decoded, or made here.
    Decoded(Block),
    /// Put together here, since a peer only named most of its transactions.
    Assembled {
        /// The header.
        header: Header,
        /// The coinbase.
        coinbase: Coinbase,
        /// All other transactions, in their order.
        transactions: Vec<Piece>,
    },
}

/// A transaction of a block that is put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// One that was checked before, on the same chain: it is neither hashed nor checked again.
    Checked(Arc<CheckedTransaction>),
    /// One that came with the block.
    Plain(Arc<Transaction>),
}

impl Piece {
    /// The transaction itself.
    #[must_use]
    pub fn transaction(&self) -> &Arc<Transaction> {
        match self {
            Self::Checked(checked) => checked.transaction(),
            Self::Plain(transaction) => transaction,
        }
    }
}

impl From<EncodedBlock> for NewBlock {
    fn from(block: EncodedBlock) -> Self {
        Self::Encoded(block)
    }
}

impl From<Block> for NewBlock {
    fn from(block: Block) -> Self {
        Self::Decoded(block)
    }
}

/// What there is of a block's transactions beside their bytes.
pub(super) enum Parts {
    Encoded,
    Decoded(Vec<Arc<Transaction>>),
    Pieces(Vec<Piece>),
}

impl Parts {
    /// The transaction at this place, where it was checked before.
    pub(super) fn checked(&self, index: usize) -> Option<&Arc<CheckedTransaction>> {
        match self {
            Self::Pieces(pieces) => match pieces.get(index)? {
                Piece::Checked(checked) => Some(checked),
                Piece::Plain(_) => None,
            },
            Self::Encoded | Self::Decoded(_) => None,
        }
    }
}

impl NewBlock {
    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        match self {
            Self::Encoded(block) => block.header(),
            Self::Decoded(block) => &block.header,
            Self::Assembled { header, .. } => header,
        }
    }

    /// How many transactions it has, the coinbase aside.
    #[must_use]
    pub const fn transaction_count(&self) -> usize {
        match self {
            Self::Encoded(block) => block.leaves.len(),
            Self::Decoded(block) => block.transactions.len(),
            Self::Assembled { transactions, .. } => transactions.len(),
        }
    }

    /// The block's bytes, and what is there of its transactions beside them. Nothing is encoded that came as bytes.
    pub(super) fn encode(self) -> (EncodedBlock, Parts) {
        match self {
            Self::Encoded(block) => (block, Parts::Encoded),
            Self::Decoded(Block { header, coinbase, transactions }) => {
                let encoded = encode(header, coinbase, transactions.iter().map(AsRef::as_ref));
                (encoded, Parts::Decoded(transactions))
            }
            Self::Assembled { header, coinbase, transactions } => {
                let plain = transactions.iter().map(|piece| piece.transaction().as_ref());
                (encode(header, coinbase, plain), Parts::Pieces(transactions))
            }
        }
    }
}

/// Encodes a block; its bytes are written once.
fn encode<'a>(
    header: Header,
    coinbase: Coinbase,
    transactions: impl ExactSizeIterator<Item = &'a Transaction>,
) -> EncodedBlock {
    let first = coinbase.to_bytes();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + first.len() + 4 + transactions.len() * 256);
    bytes.extend(header.to_bytes());
    bytes.extend(&first);
    let coinbase_bytes = HEADER_BYTES..bytes.len();
    write_count(transactions.len(), &mut bytes).expect("a decoded or made block has fewer than 2^32");
    let mut leaves = Vec::with_capacity(transactions.len());
    for transaction in transactions {
        let start = bytes.len();
        let unsigned = transaction.encode_into(&mut bytes);
        leaves.push(Leaf { bytes: start..bytes.len(), unsigned });
    }
    EncodedBlock { header, coinbase, bytes, coinbase_bytes, leaves }
}
