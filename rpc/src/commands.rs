//! What goes into the commands of a [`Backend`](crate::backend::Backend), and what comes out: plain values.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chain::{
    address::Address,
    amount::Amount,
    block::{Block, Header},
    hash::{BlockHash, TxId, WitnessTxId},
    height::Height,
    ledger::BlockId,
    pow::CompactTarget,
    time::Time,
    transaction::{Coinbase, OutPoint, Output, Transaction},
    utxo::Undo,
};
use thiserror::Error;

use crate::backend::{Unavailable, ViewError};

/// Why a command was not carried out. Each kind has one code: `From<CommandError> for RpcError` gives it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The node cannot answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The store failed.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A transaction was not accepted.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The command exists on other chains only.
    #[error("{0}")]
    WrongChain(String),
    /// There is nobody whom a block could pay.
    #[error("the node has no mining address; start it with --mine ADDRESS, or name one in the request")]
    NoMiningAddress,
    /// The node is still catching up.
    #[error("the node is downloading blocks; wait until getblockchaininfo says that it is done")]
    InitialDownload,
    /// The node has no peers.
    #[error("the node is not connected; add a peer with addnode")]
    NotConnected,
    /// What should name a peer does not.
    #[error("{0}")]
    InvalidPeer(String),
    /// Conditions of the network that cannot be.
    #[error("{0}")]
    InvalidConditions(String),
    /// The peer is on the list already.
    #[error("the node has been added already; `addnode PEER remove` takes it off the list")]
    PeerAlreadyAdded,
    /// The peer is not on the list.
    #[error("the node has not been added; `addnode PEER add` puts it on the list")]
    PeerNotAdded,
    /// What should name a network or an identity does not.
    #[error("{0}")]
    InvalidSubnet(String),
    /// It is banned already.
    #[error("IP/Subnet already banned; `setban SUBNET remove` ends the ban")]
    AlreadyBanned,
    /// It is not banned.
    #[error("Unban failed: it is not banned; listbanned shows who is")]
    NotBanned,
    /// No such peer is connected.
    #[error("Node not found in connected nodes; getpeerinfo shows them")]
    PeerNotConnected,
    /// No header that is known has this hash.
    #[error("Block not found; getblockhash gives the hash at a height")]
    UnknownBlock,
    /// What was asked cannot be done to the genesis block.
    #[error("the genesis block cannot be invalid: without it there is no chain")]
    GenesisBlock,
    /// The same long work is being done for somebody else.
    #[error("{0} is running already; wait until it has ended")]
    Busy(&'static str),
    /// The work takes more memory than it may.
    #[error("{0}")]
    TooMuch(String),
    /// The mempool was not written.
    #[error("Unable to dump mempool to disk: {0}")]
    NotSaved(String),
}

/// Why a transaction was not accepted into the mempool.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}: {details}")]
pub struct Rejection {
    /// The kind, which decides the code.
    pub kind: RejectionKind,
    /// Bitcoin Core's short name where the rule exists there (`bad-txns-inputs-missingorspent`,
    /// `txn-mempool-conflict`, `min relay fee not met`), else the rule's own.
    pub reason: String,
    /// A sentence with the particulars, such as the transaction that spends the same coin.
    pub details: String,
}

/// The kinds of refusal that have codes of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionKind {
    /// The same transaction is in the mempool or in a block.
    AlreadyKnown,
    /// A coin that it spends does not exist or is spent.
    MissingInputs,
    /// It pays more than the sender's limit.
    FeeTooHigh,
    /// A rule of the ledger or of the mempool refuses it.
    Refused,
}

/// What the mempool says of a transaction that was only tested.
pub type MempoolVerdict = Result<Accepted, Rejection>;

/// A transaction that would be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The fee that it pays.
    pub fee: Amount,
    /// Its size in bytes.
    pub size: u32,
}

/// A block as a miner hands it in.
#[derive(Debug, Clone)]
pub enum BlockSubmission {
    /// The whole block.
    Full(Block),
    /// Header and coinbase; the transactions are those of a template that the node gave (`submit/coinbase`).
    CoinbaseOnly {
        /// The header.
        header: Header,
        /// The coinbase.
        coinbase: Coinbase,
        /// The number of transactions of the template, the coinbase not counted; at least 1.
        transactions: u64,
    },
}

/// What became of a submitted block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockVerdict {
    /// It is valid, and now the tip.
    Accepted,
    /// It was known and valid already.
    Duplicate,
    /// It was known and invalid already.
    DuplicateInvalid,
    /// It is valid as far as was looked, on a branch with less work, or its parent is not known yet.
    Inconclusive,
    /// It breaks a rule: Bitcoin Core's word (`high-hash`, `bad-txnmrklroot`) or the rule's own short name.
    Rejected(String),
}

/// A block to be mined.
#[derive(Debug, Clone)]
pub struct TemplateData {
    /// Differs from template to template.
    pub number: u64,
    /// The block on which it builds.
    pub previous: BlockHash,
    /// Its height.
    pub height: Height,
    /// The version that its header begins with; miners may change it.
    pub version: i32,
    /// The time for its header.
    pub time: Time,
    /// The least time that is valid.
    pub min_time: Time,
    /// The target that its header must name.
    pub bits: CompactTarget,
    /// The coinbase, which claims subsidy and fees.
    pub coinbase: Coinbase,
    /// The transactions, in the block's order.
    pub transactions: Vec<TemplateTransaction>,
}

/// A transaction of a template.
#[derive(Debug, Clone)]
pub struct TemplateTransaction {
    /// The transaction.
    pub transaction: Arc<Transaction>,
    /// Its id.
    pub txid: TxId,
    /// The id over its witnesses too.
    pub witness_txid: WitnessTxId,
    /// The fee that it pays.
    pub fee: Amount,
    /// Its signatures, as the block's limit counts them.
    pub signatures: u32,
    /// The positions (from 0) in the template of the transactions whose outputs it spends.
    pub depends: Vec<usize>,
}

/// A block and what it took from the UTXO set.
#[derive(Debug, Clone)]
pub struct BlockWithSpent {
    /// The block.
    pub block: Arc<Block>,
    /// The coins of earlier blocks that it spends; `None` when they were not asked for, or are not known
    /// because the block is not part of the active chain.
    pub spent: Option<Undo>,
}

impl BlockWithSpent {
    /// The coins that each transaction after the coinbase spends, in their order and that of their inputs;
    /// `None` when they are not known.
    #[must_use]
    pub fn inputs(&self) -> Option<Vec<Vec<Output>>> {
        let mut known: HashMap<OutPoint, Output> =
            self.spent.as_ref()?.iter().map(|(outpoint, coin)| (*outpoint, coin.output.clone())).collect();
        let mut inputs = Vec::with_capacity(self.block.transactions.len());
        for transaction in &self.block.transactions {
            let spent = transaction.inputs.iter().map(|outpoint| known.remove(outpoint));
            inputs.push(spent.collect::<Option<Vec<Output>>>()?);
            let txid = transaction.txid();
            let made = (0..).zip(&transaction.outputs);
            known.extend(made.map(|(index, output)| (OutPoint { txid, index }, output.clone())));
        }
        Some(inputs)
    }

    /// The fee of each transaction after the coinbase, in their order; `None` when it is not known.
    #[must_use]
    pub fn fees(&self) -> Option<Vec<Amount>> {
        let sum = |outputs: &[Output]| {
            outputs.iter().try_fold(Amount::ZERO, |sum, output| sum.checked_add(output.amount))
        };
        let inputs = self.inputs()?;
        let transactions = self.block.transactions.iter().zip(&inputs);
        let fee = |(transaction, inputs): (&Arc<Transaction>, &Vec<Output>)| {
            sum(inputs)?.checked_sub(sum(&transaction.outputs)?)
        };
        transactions.map(fee).collect()
    }
}

/// How thoroughly blocks are checked again; each level does what those before it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckLevel {
    /// Bodies are read, and checksums and hashes compared.
    Bodies,
    /// The isolated rules hold.
    Rules,
    /// Undo data is read, and fits the inputs of its block.
    Undo,
    /// The blocks are disconnected in memory, and the coins are what they say.
    Disconnect,
    /// The blocks are connected again in memory, under all rules.
    Connect,
}

/// What came out of a check of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainVerdict {
    /// Nothing is wrong.
    Sound,
    /// Something is wrong: what, and where.
    Damaged(String),
}

/// The UTXO set as of one tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoinSet {
    /// The tip.
    pub tip: BlockId,
    /// The number of coins.
    pub count: u64,
    /// The sum of their amounts.
    pub amount: Amount,
    /// A hash over all coins, by which two nodes compare.
    pub hash: [u8; 32],
    /// The bytes that they occupy on the disk.
    pub disk_bytes: u64,
}

/// What is to happen with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddPeer {
    /// Keep connected to it.
    Add,
    /// Take it off the list and disconnect.
    Remove,
    /// Try to connect once.
    TryOnce,
}

/// What is to happen with a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetBan {
    /// Ban for so many seconds from now.
    Add {
        /// Seconds from now.
        secs: u64,
    },
    /// End the ban.
    Remove,
}

/// A ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BannedPeer {
    /// The network (`192.0.2.0/24`) or the identity.
    pub subject: String,
    /// Since when, in Unix seconds.
    pub since_secs: u64,
    /// Until when, in Unix seconds.
    pub until_secs: u64,
    /// Why.
    pub reason: String,
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    /// Counts connections since the node was started.
    pub id: u64,
    /// The identity that it proved.
    pub peer_id: String,
    /// Its address.
    pub address: String,
    /// Whether it connected to us.
    pub inbound: bool,
    /// When it connected.
    pub connected: Time,
    /// Its software, as it names itself.
    pub agent: String,
    /// The height of its tip when it connected.
    pub starting_height: Option<Height>,
    /// How the connection came to be: `inbound`, `outbound-full`, `anchor`, `manual` or `feeler`.
    pub connection_type: &'static str,
    /// The height of the best header that it announced.
    pub height: Option<Height>,
    /// The height of the last block that it and this node both have.
    pub common_height: Option<Height>,
    /// What it has to answer for, in points: at 100 it is banned.
    pub score: u32,
    /// The round trip of the last ping.
    pub latency: Option<Duration>,
    /// The shortest round trip.
    pub min_latency: Option<Duration>,
    /// When it last gave a block that was new here, in Unix seconds.
    pub last_block_secs: Option<u64>,
    /// When it last gave a transaction that was new here, in Unix seconds.
    pub last_transaction_secs: Option<u64>,
    /// Bytes sent to it, where they are counted.
    pub bytes_sent: Option<u64>,
    /// Bytes received from it, where they are counted.
    pub bytes_received: Option<u64>,
}

/// The state of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkState {
    /// The software, as it names itself to peers.
    pub agent: String,
    /// The version of the peer-to-peer protocol.
    pub protocol_version: u32,
    /// The node's own identity.
    pub peer_id: String,
    /// Where it listens, in the form that `--bootstrap` takes.
    pub listen: Vec<String>,
    /// Peers that connected to us.
    pub inbound: u32,
    /// Peers to which we connected.
    pub outbound: u32,
}

/// The state of the node's own miner.
#[derive(Debug, Clone, PartialEq)]
pub struct MiningState {
    /// Whom its blocks pay; `None` when it does not mine.
    pub address: Option<Address>,
    /// Hashes a second, measured; 0 when it does not mine.
    pub hash_rate: f64,
    /// The hash rate to which it is throttled, in hashes a second.
    pub throttle: Option<f64>,
    /// The threads that search.
    pub threads: u32,
}
