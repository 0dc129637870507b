//! What nodes say to each other, and how much of it: messages, their encoding, and every limit.
//!
//! Plain data and pure functions, without libp2p, so that the engine and a simulator can use them. The
//! encoding is borsh, read strictly: bytes after a message are refused, and a length is held against its limit
//! before anything is reserved for it (threat P13).

mod compact;

use std::{io, sync::Arc};

use borsh::{BorshDeserialize, BorshSerialize};
use chain::{
    block::Header,
    hash::{BlockHash, TxId},
    height::Height,
    pow::Work,
    transaction::Transaction,
};
use thiserror::Error;

pub use self::compact::{
    CompactBlock, CompactReply, MAX_COMPACT_BYTES, MAX_COMPACT_TRANSACTIONS, MissingRequest, Prefilled,
    SHORT_ID_BYTES, ShortId, ShortKey,
};
use self::compact::{read_transactions, write_transactions};
pub use super::raw_block::RawBlock;

/// Bytes of a [`Status`]'s agent.
pub const MAX_AGENT_BYTES: usize = 64;

/// Hashes of a [`HeadersRequest`]'s locator. A locator that doubles its steps needs 42 for 2^32 blocks.
pub const MAX_LOCATOR_HASHES: usize = 64;

/// Headers of a response (Bitcoin's `MAX_HEADERS_RESULTS`).
pub const MAX_HEADERS: usize = 2_000;

/// Blocks of a request (Bitcoin's `MAX_BLOCKS_IN_TRANSIT_PER_PEER`).
pub const MAX_BLOCKS: usize = 16;

/// Bytes of a block's encoding: no chain allows larger ones.
pub const MAX_BLOCK_BYTES: usize = chain::encode::MAX_BLOCK_BYTES as usize;

/// Bytes of a transaction's encoding: what fits into the largest block.
pub const MAX_TRANSACTION_BYTES: usize = MAX_BLOCK_BYTES;

/// Bytes of the blocks of one response. Above a block's limit, so that one block always fits.
pub const MAX_BLOCKS_RESPONSE_BYTES: usize = 16_000_000;

/// Transactions that are asked for by id at once: the parents that a transaction lacks are few.
pub const MAX_ASKED_TRANSACTIONS: usize = 64;

/// Bytes of the transactions of one response: a whole block's, where all of it is missing.
pub const MAX_TRANSACTIONS_RESPONSE_BYTES: usize = MAX_BLOCK_BYTES;

/// Bytes of a list's length.
const LENGTH_BYTES: usize = 4;
/// Bytes of a hash.
const HASH_BYTES: usize = 32;

/// The kinds of request, each a protocol of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Exchange of tips.
    Status,
    /// Headers after a locator.
    Headers,
    /// Blocks by hash.
    Blocks,
    /// A new block, pushed in short.
    Compact,
    /// Transactions of a block that was pushed in short.
    Missing,
    /// Waiting transactions by id.
    Transactions,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Status, Self::Headers, Self::Blocks, Self::Compact, Self::Missing, Self::Transactions];

    /// The protocol's name without the chain.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Headers => "headers",
            Self::Blocks => "blocks",
            Self::Compact => "compact",
            Self::Missing => "missing",
            Self::Transactions => "transactions",
        }
    }

    /// The most bytes of a request.
    #[must_use]
    pub const fn max_request_bytes(self) -> usize {
        match self {
            Self::Status => MAX_STATUS_BYTES,
            Self::Headers => LENGTH_BYTES + (MAX_LOCATOR_HASHES + 1) * HASH_BYTES,
            Self::Blocks => LENGTH_BYTES + MAX_BLOCKS * HASH_BYTES,
            Self::Compact => MAX_COMPACT_BYTES,
            Self::Missing => HASH_BYTES + LENGTH_BYTES + MAX_COMPACT_TRANSACTIONS * LENGTH_BYTES,
            Self::Transactions => LENGTH_BYTES + MAX_ASKED_TRANSACTIONS * HASH_BYTES,
        }
    }

    /// The most bytes of a response.
    #[must_use]
    pub const fn max_response_bytes(self) -> usize {
        match self {
            Self::Status => MAX_STATUS_BYTES,
            Self::Headers => LENGTH_BYTES + MAX_HEADERS * chain::block::HEADER_BYTES,
            Self::Blocks => (1 + MAX_BLOCKS) * LENGTH_BYTES + MAX_BLOCKS_RESPONSE_BYTES,
            Self::Compact => 1,
            Self::Missing | Self::Transactions => LENGTH_BYTES + MAX_TRANSACTIONS_RESPONSE_BYTES,
        }
    }

    /// Open requests that each side may have to the other at a time.
    #[must_use]
    pub const fn requests_per_peer(self) -> usize {
        match self {
            Self::Status | Self::Headers => 2,
            Self::Blocks | Self::Missing | Self::Transactions => 4,
            Self::Compact => 8,
        }
    }

    /// Seconds from a request to the end of its response, transfers included.
    #[must_use]
    pub const fn timeout_secs(self) -> u64 {
        match self {
            Self::Status => 10,
            Self::Missing | Self::Transactions => 10,
            Self::Headers | Self::Blocks | Self::Compact => 30,
        }
    }
}

/// Bytes of the longest status.
const MAX_STATUS_BYTES: usize = 3 * HASH_BYTES + 4 + LENGTH_BYTES + MAX_AGENT_BYTES;

/// What a node says of itself, on connecting and from time to time.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct Status {
    /// The chain's id: its genesis hash.
    pub chain: BlockHash,
    /// The hash of the active tip.
    pub tip: BlockHash,
    /// The tip's height.
    pub height: Height,
    /// The work of the chain up to the tip. A claim: nothing is decided by it but whom to ask.
    pub work: Work,
    /// Name and version of the program: printable ASCII, at most [`MAX_AGENT_BYTES`].
    pub agent: String,
}

/// A request for the headers that follow the first known hash of a locator, as Bitcoin's `getheaders`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct HeadersRequest {
    /// Hashes on the asker's branch, the newest first, at most [`MAX_LOCATOR_HASHES`].
    pub locator: Vec<BlockHash>,
    /// The last header wanted; zero for as many as fit.
    pub stop: BlockHash,
}

/// What one node asks of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Here is my tip; what is yours?
    Status(Status),
    /// Headers after a locator.
    Headers(HeadersRequest),
    /// Blocks by hash, at most [`MAX_BLOCKS`].
    Blocks(Vec<BlockHash>),
    /// Here is a new block, in short.
    Compact(Arc<CompactBlock>),
    /// Transactions of a block that the peer pushed.
    Missing(MissingRequest),
    /// Waiting transactions by id, at most [`MAX_ASKED_TRANSACTIONS`].
    Transactions(Vec<TxId>),
}

/// What a node answers; the kind is the request's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// My tip.
    Status(Status),
    /// At most [`MAX_HEADERS`], each the child of the one before.
    Headers(Vec<Header>),
    /// The first of the blocks asked for, in the order asked; fewer where one is missing or they would
    /// exceed [`MAX_BLOCKS_RESPONSE_BYTES`]. What exceeds it is cut off when written.
    /// Their bodies are not decoded.
    Blocks(Vec<RawBlock>),
    /// What is made of the block.
    Compact(CompactReply),
    /// All transactions of a block that were asked for, in the order asked, or none.
    Missing(Vec<Arc<Transaction>>),
    /// Those of the transactions asked for that wait, in the order asked. What exceeds
    /// [`MAX_TRANSACTIONS_RESPONSE_BYTES`] is cut off when written.
    Transactions(Vec<Arc<Transaction>>),
}

/// What becomes of a gossiped transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Valid: forward it.
    Accept,
    /// Not forwarded, and nobody's fault.
    Ignore,
    /// Not forwarded, and the peer should have known.
    Reject,
}

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// A length prefix is above the limit.
    #[error("a message of {claimed} bytes, where at most {limit} are allowed")]
    TooLong {
        /// What the prefix says.
        claimed: usize,
        /// The protocol's limit.
        limit: usize,
    },
    /// A list is longer than its limit.
    #[error("a list of {claimed} {what}, where at most {limit} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// What the list's length says.
        claimed: usize,
        /// The limit.
        limit: usize,
    },
    /// The agent is too long or not printable ASCII.
    #[error("the agent is not 0 to {MAX_AGENT_BYTES} printable ASCII characters")]
    Agent,
    /// The places of a list are not ascending, or lie outside the block.
    #[error("places in a block that are not ascending, or lie outside it")]
    Indexes,
    /// Bytes follow the message.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
    /// The bytes end early or are no encoding of the type.
    #[error("not an encoding of the message: {0}")]
    Encoding(String),
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        Self::Encoding(error.to_string())
    }
}

impl Request {
    /// The kind, which chooses the protocol.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Status(_) => Kind::Status,
            Self::Headers(_) => Kind::Headers,
            Self::Blocks(_) => Kind::Blocks,
            Self::Compact(_) => Kind::Compact,
            Self::Missing(_) => Kind::Missing,
            Self::Transactions(_) => Kind::Transactions,
        }
    }

    /// The encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Status(status) => chain::encode::to_bytes(status),
            Self::Headers(request) => chain::encode::to_bytes(request),
            Self::Blocks(hashes) => chain::encode::to_bytes(hashes),
            Self::Compact(compact) => chain::encode::to_bytes(compact.as_ref()),
            Self::Missing(request) => chain::encode::to_bytes(request),
            Self::Transactions(ids) => chain::encode::to_bytes(ids),
        }
    }

    /// Reads a request of `kind` from all of `bytes`.
    ///
    /// # Errors
    /// [`WireError`] where they are anything but one such request within its limits.
    pub fn from_bytes(kind: Kind, mut bytes: &[u8]) -> Result<Self, WireError> {
        let rest = &mut bytes;
        let request = match kind {
            Kind::Status => Self::Status(read_status(rest)?),
            Kind::Headers => Self::Headers(HeadersRequest {
                locator: read_list(rest, "hashes", MAX_LOCATOR_HASHES)?,
                stop: BlockHash::deserialize_reader(rest)?,
            }),
            Kind::Blocks => Self::Blocks(read_list(rest, "hashes", MAX_BLOCKS)?),
            Kind::Compact => Self::Compact(Arc::new(CompactBlock::read(rest)?)),
            Kind::Missing => Self::Missing(MissingRequest::read(rest)?),
            Kind::Transactions => Self::Transactions(read_list(rest, "ids", MAX_ASKED_TRANSACTIONS)?),
        };
        end(rest)?;
        Ok(request)
    }
}

impl Response {
    /// The kind, which is the request's.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Status(_) => Kind::Status,
            Self::Headers(_) => Kind::Headers,
            Self::Blocks(_) => Kind::Blocks,
            Self::Compact(_) => Kind::Compact,
            Self::Missing(_) => Kind::Missing,
            Self::Transactions(_) => Kind::Transactions,
        }
    }

    /// The encoding. Blocks that would exceed [`MAX_BLOCKS_RESPONSE_BYTES`] are left out, and all after them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Status(status) => chain::encode::to_bytes(status),
            Self::Headers(headers) => chain::encode::to_bytes(headers),
            Self::Blocks(blocks) => write_blocks(blocks),
            Self::Compact(reply) => chain::encode::to_bytes(reply),
            Self::Missing(transactions) | Self::Transactions(transactions) => {
                write_transactions(transactions)
            }
        }
    }

    /// Reads a response of `kind` from all of `bytes`.
    ///
    /// # Errors
    /// [`WireError`] where they are anything but one such response within its limits.
    pub fn from_bytes(kind: Kind, mut bytes: &[u8]) -> Result<Self, WireError> {
        let rest = &mut bytes;
        let response = match kind {
            Kind::Status => Self::Status(read_status(rest)?),
            Kind::Headers => Self::Headers(read_list(rest, "headers", MAX_HEADERS)?),
            Kind::Blocks => Self::Blocks(read_blocks(rest)?),
            Kind::Compact => Self::Compact(CompactReply::deserialize_reader(rest)?),
            Kind::Missing => Self::Missing(read_transactions(rest, MAX_COMPACT_TRANSACTIONS)?),
            Kind::Transactions => Self::Transactions(read_transactions(rest, MAX_ASKED_TRANSACTIONS)?),
        };
        end(rest)?;
        Ok(response)
    }
}

/// The first blocks whose encodings together stay within [`MAX_BLOCKS_RESPONSE_BYTES`] and [`MAX_BLOCKS`], each
/// behind its length, so that a reader finds the next one without decoding it.
fn write_blocks(blocks: &[RawBlock]) -> Vec<u8> {
    let mut total = 0;
    let fits = |block: &&RawBlock| {
        total += block.bytes().len();
        total <= MAX_BLOCKS_RESPONSE_BYTES
    };
    let blocks: Vec<&RawBlock> = blocks.iter().take(MAX_BLOCKS).take_while(fits).collect();
    let mut bytes = length_prefix(blocks.len()).to_vec();
    for block in blocks {
        bytes.extend(length_prefix(block.bytes().len()));
        bytes.extend(block.bytes());
    }
    bytes
}

fn length_prefix(length: usize) -> [u8; LENGTH_BYTES] {
    u32::try_from(length).expect("what is written is within limits far below 4 GiB").to_le_bytes()
}

fn read_blocks(rest: &mut &[u8]) -> Result<Vec<RawBlock>, WireError> {
    let count = read_length(rest, "blocks", MAX_BLOCKS)?;
    let mut blocks = Vec::new();
    for _ in 0..count {
        let length = read_length(rest, "bytes of a block", MAX_BLOCK_BYTES)?;
        let (bytes, others) = rest
            .split_at_checked(length)
            .ok_or_else(|| WireError::Encoding("a block is cut short".into()))?;
        blocks.push(RawBlock::from_bytes(bytes)?);
        *rest = others;
    }
    Ok(blocks)
}

/// Reads a list's length and holds it against its limit.
fn read_length(rest: &mut &[u8], what: &'static str, limit: usize) -> Result<usize, WireError> {
    let length = u32::deserialize_reader(rest)?;
    let claimed = usize::try_from(length).unwrap_or(usize::MAX);
    if claimed > limit { Err(WireError::TooMany { what, claimed, limit }) } else { Ok(claimed) }
}

fn read_status(rest: &mut &[u8]) -> Result<Status, WireError> {
    Ok(Status {
        chain: BlockHash::deserialize_reader(rest)?,
        tip: BlockHash::deserialize_reader(rest)?,
        height: Height::deserialize_reader(rest)?,
        work: Work::deserialize_reader(rest)?,
        agent: read_agent(rest)?,
    })
}

/// The agent goes into logs and on screens: nothing but printable ASCII.
fn read_agent(rest: &mut &[u8]) -> Result<String, WireError> {
    let bytes: Vec<u8> = read_list(rest, "bytes of the agent", MAX_AGENT_BYTES)?;
    if !bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(WireError::Agent);
    }
    String::from_utf8(bytes).map_err(|_| WireError::Agent)
}

/// Reads a list; its length is checked first, and what is reserved follows what is read.
pub(super) fn read_list<T: BorshDeserialize>(
    rest: &mut &[u8],
    what: &'static str,
    limit: usize,
) -> Result<Vec<T>, WireError> {
    let claimed = read_length(rest, what, limit)?;
    let mut list = Vec::new();
    for _ in 0..claimed {
        list.push(T::deserialize_reader(rest)?);
    }
    Ok(list)
}

pub(super) fn end(rest: &[u8]) -> Result<(), WireError> {
    if rest.is_empty() { Ok(()) } else { Err(WireError::Trailing(rest.len())) }
}
