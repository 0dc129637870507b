//! Why something is refused: one variant a numbered rule (`docs/protocol.md`).
//!
//! Four things are kept apart, because they call for different answers. *Invalid* is for ever and may be
//! held against its sender. *Wrong body* says that these transactions are not the ones that the header
//! commits to: the header is not touched, and the right body may come from somebody else (threat C12).
//! *Too early* and *unknown parent* may be right later. *Storage* says nothing about the block at all: the
//! node must stop (threat C06).

use thiserror::Error;

use crate::{
    amount::Amount,
    hash::{BlockHash, MerkleRoot, TxId},
    height::Height,
    policy::PolicyError,
    pow::CompactTarget,
    store::StoreError,
    time::Time,
    transaction::OutPoint,
};

/// An isolated rule that a transaction breaks: one that needs nothing but the transaction.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransactionError {
    /// Rule T3.
    #[error("a transaction spends at least one coin (rule T3)")]
    NoInputs,
    /// Rule T4.
    #[error("a transaction has at least one output (rule T4)")]
    NoOutputs,
    /// Rule T5.
    #[error("the transaction spends {0} twice (rule T5)")]
    DuplicateInput(OutPoint),
    /// Rule T6.
    #[error("a transaction has one witness an input: {inputs} inputs, {witnesses} witnesses (rule T6)")]
    WitnessCount {
        /// How many inputs.
        inputs: usize,
        /// How many witnesses.
        witnesses: usize,
    },
    /// Rule T7.
    #[error("output {0} pays nothing to an address (rule T7)")]
    ZeroOutput(usize),
    /// Rule T8.
    #[error("output {0} carries data and must have amount 0 (rule T8)")]
    DataWithAmount(usize),
    /// Rule T9.
    #[error("a transaction has at most one data output (rule T9)")]
    ManyDataOutputs,
    /// Rule T10.
    #[error("output {0} carries more than 80 bytes of data (rule T10)")]
    LongData(usize),
    /// Rule T11.
    #[error("the outputs add up to more than there can ever be: {0} CRN (rule T11)")]
    AboveSupply(Amount),
    /// Rule M3.
    #[error("a transaction of exactly 64 bytes could be mistaken for a node of the Merkle tree (rule M3)")]
    SixtyFourBytes,
    /// Rule T12.
    #[error("the transaction has {bytes} bytes; a block of this chain has at most {limit} (rule T12)")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The chain's limit.
        limit: u32,
    },
    /// Rules P1 to P6.
    #[error("input {input}: {error}")]
    Policy {
        /// Which input.
        input: usize,
        /// What its witness breaks.
        error: PolicyError,
    },
}

/// A spending rule that a transaction breaks: one that needs the coins that it spends.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpendError {
    /// Rule S1.
    #[error("input {input} spends {outpoint}, which does not exist or is already spent (rule S1)")]
    MissingCoin {
        /// Which input.
        input: usize,
        /// What it spends.
        outpoint: OutPoint,
    },
    /// Rule S2.
    #[error("input {input} spends a coinbase of height {made}, which matures at height {matures} (rule S2)")]
    Immature {
        /// Which input.
        input: usize,
        /// Where the coin was made.
        made: Height,
        /// From where on it may be spent.
        matures: u64,
    },
    /// Rule S3.
    #[error("the inputs are worth {inputs} CRN, but the outputs {outputs} CRN (rule S3)")]
    Overspent {
        /// What comes in.
        inputs: Amount,
        /// What goes out.
        outputs: Amount,
    },
    /// Rule S4.
    #[error("the inputs add up to more than there can ever be (rule S4)")]
    AboveSupply,
    /// Rule S5.
    #[error("input {input} reveals a policy whose hash is not the coin's address (rule S5)")]
    WrongPolicy {
        /// Which input.
        input: usize,
    },
    /// Rule S7.
    #[error("input {input} may be spent from height {from} on (rule S7)")]
    BeforeHeight {
        /// Which input.
        input: usize,
        /// The policy's height.
        from: Height,
    },
    /// Rule S8.
    #[error("input {input} may be spent once the median time past is {from} (rule S8)")]
    BeforeTime {
        /// Which input.
        input: usize,
        /// The policy's time.
        from: Time,
    },
    /// Rule S9.
    #[error("input {input} may be spent {blocks} blocks after height {made} (rule S9)")]
    TooYoung {
        /// Which input.
        input: usize,
        /// Where the coin was made.
        made: Height,
        /// The policy's number of blocks.
        blocks: u32,
    },
    /// Rule S10.
    #[error("a signature of input {input} does not hold for its key and this transaction (rule S10)")]
    BadSignature {
        /// Which input.
        input: usize,
    },
}

/// Why a body is not the one that the header commits to. The header's hash is *not* marked (threat C12).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BodyError {
    /// Rule M1.
    #[error("the body's Merkle root is {found}, the header commits to {committed} (rule M1)")]
    WrongRoot {
        /// The root of the body.
        found: MerkleRoot,
        /// The root in the header.
        committed: MerkleRoot,
    },
    /// Rule M2.
    #[error("the body repeats part of its Merkle tree (rule M2)")]
    Mutated,
    /// Rule M3.
    #[error("transaction {0} has exactly 64 bytes, like a node of the Merkle tree (rule M3)")]
    SixtyFourBytes(usize),
}

/// A rule that a block breaks for ever.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockError {
    /// Rule B1.
    #[error("the block has {bytes} bytes, the limit is {limit} (rule B1)")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The chain's limit.
        limit: u32,
    },
    /// Rule B2.
    #[error("the block has {signatures} signatures, the limit is {limit} (rule B2)")]
    ManySignatures {
        /// How many.
        signatures: usize,
        /// The chain's limit.
        limit: u32,
    },
    /// Rule K1.
    #[error("the coinbase names height {named}, the block has height {actual} (rule K1)")]
    CoinbaseHeight {
        /// What the coinbase says.
        named: Height,
        /// Where the block stands.
        actual: Height,
    },
    /// Rule K3.
    #[error("output {0} of the coinbase is not to an address (rule K3)")]
    CoinbaseData(usize),
    /// Rule K4.
    #[error("output {0} of the coinbase pays nothing (rule K4)")]
    CoinbaseZero(usize),
    /// Rule K5.
    #[error("the coinbase claims {claimed} CRN, subsidy and fees are {allowed} CRN (rule K5)")]
    CoinbaseClaim {
        /// What it claims, as far as it can be counted.
        claimed: Amount,
        /// What it may claim.
        allowed: Amount,
    },
    /// Rule S6.
    #[error("the block makes {0}, which exists already (rule S6)")]
    ExistingCoin(OutPoint),
    /// An isolated rule of a transaction.
    #[error("transaction {index}: {error}")]
    Transaction {
        /// Its place in the block, the coinbase not counted.
        index: usize,
        /// What it breaks.
        error: TransactionError,
    },
    /// A spending rule of a transaction.
    #[error("transaction {index} ({txid}): {error}")]
    Spend {
        /// Its place in the block, the coinbase not counted.
        index: usize,
        /// Its id.
        txid: TxId,
        /// What it breaks.
        error: SpendError,
    },
}

/// A rule that a header breaks for ever.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Rule W1.
    #[error("the hash {hash} is above the target of bits {bits} (rule W1)")]
    InsufficientWork {
        /// The header's hash.
        hash: BlockHash,
        /// The header's bits.
        bits: CompactTarget,
    },
    /// Rule W2.
    #[error("the bits {0} are not a target (rule W2)")]
    MalformedBits(CompactTarget),
    /// Rule W4.
    #[error("the bits are {found}, the schedule demands {expected} (rule W4)")]
    WrongBits {
        /// What the header says.
        found: CompactTarget,
        /// What it must say.
        expected: CompactTarget,
    },
    /// Rule W5.
    #[error("the chain's work would exceed 256 bits (rule W5)")]
    WorkOverflow,
    /// Rule C1.
    #[error("the time {time} is not above the median time past {median} (rule C1)")]
    TooOld {
        /// The header's time.
        time: Time,
        /// The median time of the 11 blocks below.
        median: Time,
    },
    /// Rule H2.
    #[error("no block can stand above height {0} (rule H2)")]
    HeightOverflow(Height),
    /// Rule H3.
    #[error("the block below, {0}, is invalid (rule H3)")]
    InvalidParent(BlockHash),
}

/// Why the ledger did not take a header or a block.
#[derive(Debug, Error)]
pub enum SubmitError {
    /// It is here already, or was refused already for this reason.
    #[error("the block is known already")]
    Duplicate,
    /// The block below is not known (rule H4): ask for it first.
    #[error("the block below, {0}, is not known (rule H4)")]
    UnknownParent(BlockHash),
    /// The time is too far ahead of the node's clock (rule C2): try again then.
    #[error("the time {time} is more than {ahead_secs} s ahead of this node's clock (rule C2)")]
    TooEarly {
        /// The header's time.
        time: Time,
        /// How far ahead it may be.
        ahead_secs: u32,
    },
    /// The body is not the header's (rules M1 to M3): ask somebody else.
    #[error(transparent)]
    WrongBody(#[from] BodyError),
    /// The header is invalid.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The block is invalid.
    #[error(transparent)]
    Invalid(#[from] BlockError),
    /// The block was found invalid earlier.
    #[error("the block {0} was found invalid earlier")]
    KnownInvalid(BlockHash),
    /// Reading or writing failed; nothing is said about the block. The node must stop.
    #[error(transparent)]
    Storage(#[from] StoreError),
}
