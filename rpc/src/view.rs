//! What one look at a node shows: the traits that a node implements for reading, and the values that they give.
//!
//! Everything behind one [`View`] is seen at one tip and with one mempool (threat R16). Nothing here is JSON, and
//! nothing here changes the node.

use std::sync::Arc;

use chain::{
    address::Address,
    amount::Amount,
    block::{Block, Header},
    hash::{BlockHash, TxId},
    ledger::BlockId,
    pow::Work,
    time::Time,
    transaction::{OutPoint, Output, Transaction},
};

use crate::backend::ViewError;

/// A snapshot of the node: all methods see one tip and one mempool.
pub trait View {
    /// The active tip.
    fn tip(&self) -> HeaderEntry;

    /// The header with the most work whose descent is valid, body known or not.
    fn best_header(&self) -> BlockId;

    /// A header and what is known of it, on any branch.
    fn header(&self, hash: &BlockHash) -> Option<HeaderEntry>;

    /// The block at `height` of the active chain.
    fn active_hash(&self, height: chain::height::Height) -> Option<BlockHash>;

    /// The ends of all known branches, the active tip among them.
    fn branch_tips(&self) -> Vec<BranchTip>;

    /// A body, on any branch; `None` when only the header is known or nothing.
    ///
    /// # Errors
    /// When the store fails.
    fn block(&self, hash: &BlockHash) -> Result<Option<Arc<Block>>, ViewError>;

    /// A transaction of the mempool.
    fn mempool_transaction(&self, txid: &TxId) -> Option<Arc<Transaction>>;

    /// An unspent output. With `include_mempool`, outputs of the mempool count and those that it spends do not.
    ///
    /// # Errors
    /// When the store fails.
    fn coin(&self, outpoint: &OutPoint, include_mempool: bool) -> Result<Option<FoundCoin>, ViewError>;

    /// The mempool as a whole.
    fn mempool(&self) -> MempoolState;

    /// The ids of the mempool's transactions.
    fn mempool_ids(&self) -> Vec<TxId>;

    /// The mempool's transactions, each after those that it depends on.
    fn mempool_entries(&self) -> Vec<MempoolEntry>;

    /// A transaction of the mempool.
    fn mempool_entry(&self, txid: &TxId) -> Option<MempoolEntry>;

    /// The transactions of the mempool that a transaction of it depends on, directly or not, without itself,
    /// each after those that it depends on; `None` when the transaction is not in the mempool.
    fn mempool_ancestors(&self, txid: &TxId) -> Option<Vec<MempoolEntry>>;

    /// The transactions of the mempool that depend on a transaction of it, directly or not, without itself,
    /// each after those that it depends on; `None` when the transaction is not in the mempool.
    fn mempool_descendants(&self, txid: &TxId) -> Option<Vec<MempoolEntry>>;

    /// What became of a transaction that was in the mempool and left it without being mined, as far as that is
    /// remembered.
    fn departure(&self, txid: &TxId) -> Option<Departure>;

    /// How far the node is.
    fn sync(&self) -> SyncState;
}

/// What only the indexes know, at the tip of the [`View`] that comes with it, and with its mempool.
pub trait IndexView {
    /// Where a transaction of the mempool or the active chain is.
    ///
    /// # Errors
    /// When the store fails.
    fn transaction(&self, txid: &TxId) -> Result<Option<TransactionPlace>, ViewError>;

    /// Unspent outputs of `address`, confirmed and in the mempool, oldest first, at most `limit`. Confirmed
    /// ones that the mempool spends are listed with their spender; mempool ones that it spends are not.
    ///
    /// # Errors
    /// When the store fails.
    fn address_coins(&self, address: &Address, limit: usize) -> Result<Vec<AddressCoin>, ViewError>;

    /// Transactions that touch `address`, the newest first (the mempool's before all), after skipping `skip`,
    /// at most `limit`.
    ///
    /// # Errors
    /// When the store fails.
    fn address_history(
        &self,
        address: &Address,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<AddressEvent>, ViewError>;

    /// The sums over all coins of `address`, however many they are.
    ///
    /// # Errors
    /// When the store fails.
    fn address_balance(&self, address: &Address) -> Result<AddressBalance, ViewError>;
}

/// What is known of the block of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockStatus {
    /// It is part of the active chain.
    Active,
    /// Fully validated, on a branch that is not active.
    ValidFork,
    /// Its body is known, but it was not fully validated.
    ValidHeaders,
    /// Its body is not known.
    HeadersOnly,
    /// It, or one before it, breaks a rule.
    Invalid,
}

/// A header and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderEntry {
    /// Its hash and height.
    pub id: BlockId,
    /// The header.
    pub header: Header,
    /// The work of the chain up to and including it.
    pub work: Work,
    /// The median of the times of the last 11 blocks that end with it.
    pub median_time_past: Time,
    /// Whether it is active, and how far it was validated.
    pub status: BlockStatus,
}

/// The end of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BranchTip {
    /// The last block of the branch.
    pub id: BlockId,
    /// The number of its blocks that are not in the active chain; 0 for the active tip.
    pub branch_length: u32,
    /// The state of the last block.
    pub status: BlockStatus,
}

/// Where a transaction is.
#[derive(Debug, Clone)]
pub enum TransactionPlace {
    /// In the mempool.
    Mempool(Arc<Transaction>),
    /// In a block of the active chain; position 0 is the coinbase.
    Block {
        /// The block.
        block: Arc<Block>,
        /// Its height.
        id: BlockId,
        /// The position in it: 0 is the coinbase, `i` is `block.transactions[i - 1]`.
        position: usize,
    },
}

/// An unspent output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCoin {
    /// The output.
    pub output: Output,
    /// The height of its block; `None` in the mempool.
    pub height: Option<chain::height::Height>,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

/// An unspent output of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressCoin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Its amount.
    pub amount: Amount,
    /// The height of its block; `None` in the mempool.
    pub height: Option<chain::height::Height>,
    /// Whether a coinbase made it.
    pub coinbase: bool,
    /// The transaction of the mempool that spends it.
    pub spent_by: Option<TxId>,
}

/// What an address has. The confirmed coins are immature, being spent by the mempool, or spendable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddressBalance {
    /// Confirmed coinbases that are too young to be spent in the next block.
    pub immature: Amount,
    /// Confirmed coins that the mempool spends.
    pub spending: Amount,
    /// Other confirmed coins.
    pub spendable: Amount,
    /// Coins of the mempool that it does not spend.
    pub unconfirmed: Amount,
}

impl AddressBalance {
    /// All confirmed coins together; nothing where the sum overflows, which the supply's bound rules out.
    #[must_use]
    pub fn confirmed(&self) -> Option<Amount> {
        self.immature.checked_add(self.spending)?.checked_add(self.spendable)
    }
}

/// A transaction as one address sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressEvent {
    /// The transaction.
    pub txid: TxId,
    /// Its block; `None` in the mempool.
    pub block: Option<BlockId>,
    /// The time of its block, or of its arrival in the mempool.
    pub time: Time,
    /// Whether it is a coinbase.
    pub coinbase: bool,
    /// The sum of its outputs to the address.
    pub received: Amount,
    /// The sum of the address's coins that it spends.
    pub sent: Amount,
}

/// A transaction of the mempool.
#[derive(Debug, Clone)]
pub struct MempoolEntry {
    /// The transaction.
    pub transaction: Arc<Transaction>,
    /// Its id.
    pub txid: TxId,
    /// The id over its witnesses too.
    pub witness_txid: chain::hash::WitnessTxId,
    /// The fee that it pays.
    pub fee: Amount,
    /// Its size in bytes.
    pub size: u32,
    /// When it arrived.
    pub time: Time,
    /// The height of the tip when it arrived.
    pub height: chain::height::Height,
    /// Transactions of the mempool whose outputs it spends.
    pub depends: Vec<TxId>,
    /// Transactions of the mempool that spend its outputs.
    pub spent_by: Vec<TxId>,
    /// It and all that it depends on.
    pub ancestors: Kin,
    /// It and all that depend on it.
    pub descendants: Kin,
    /// The transactions with which it is mined, or evicted, together: what they pay decides its place.
    pub chunk: Chunk,
}

/// Transactions of the mempool that are mined, or evicted, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The sum of their sizes in bytes.
    pub bytes: u64,
    /// The sum of their fees.
    pub fees: Amount,
}

/// Why a transaction left the mempool without being mined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// One that pays more took its place, or that of what it depended on.
    Replaced {
        /// Which.
        by: TxId,
    },
    /// The mempool was full, and it paid least.
    Evicted,
    /// It waited too long.
    Expired,
    /// A block spends a coin that it, or what it depended on, spends too.
    Conflict {
        /// The transaction that was mined.
        with: TxId,
    },
    /// A reorganisation made it invalid.
    Invalidated,
}

/// Some transactions of the mempool, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kin {
    /// How many they are.
    pub count: u32,
    /// The sum of their sizes in bytes.
    pub bytes: u64,
    /// The sum of their fees.
    pub fees: Amount,
}

/// The mempool as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MempoolState {
    /// Whether all is back that waited when the node stopped.
    pub loaded: bool,
    /// The number of transactions.
    pub count: u64,
    /// The sum of their sizes in bytes.
    pub bytes: u64,
    /// The memory that they use, in bytes.
    pub memory_bytes: u64,
    /// The largest memory that they may use, in bytes.
    pub max_memory_bytes: u64,
    /// The sum of their fees.
    pub total_fee: Amount,
    /// The least fee rate that is accepted now, in pebbles per 1,000 bytes.
    pub min_fee_rate: Amount,
    /// The least fee rate that is ever relayed, in pebbles per 1,000 bytes.
    pub min_relay_fee_rate: Amount,
    /// By how much, in pebbles per 1,000 bytes, one must pay more than what it replaces.
    pub incremental_fee_rate: Amount,
    /// The most transactions of one cluster.
    pub max_cluster_count: u32,
    /// The most bytes of one cluster.
    pub max_cluster_bytes: u64,
}

/// How far the node is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SyncState {
    /// Whether the node is still catching up with its peers.
    pub initial_download: bool,
    /// The part of the known chain that is validated, from 0 to 1.
    pub progress: f64,
    /// The bytes that blocks and indexes occupy on the disk.
    pub disk_bytes: u64,
}
