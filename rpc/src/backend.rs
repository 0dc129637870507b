//! What the RPC needs of a node, and nothing more: the node implements it, this crate never knows how.
//!
//! Reads go through [`Backend::read`], which hands one [`View`] to one closure: everything in one answer is
//! seen at one tip (threat R16). Closures return plain values and make no JSON, so that the ledger is held
//! only for look-ups. Commands are methods of their own. No value here is JSON; no JSON type is used here.

use std::path::PathBuf;

use chain::{
    address::Address,
    amount::Amount,
    genesis::Chain,
    hash::{BlockHash, TxId},
    transaction::Transaction,
};
use thiserror::Error;

pub use crate::commands::{
    Accepted, AddPeer, BannedPeer, BlockSubmission, BlockVerdict, BlockWithSpent, ChainVerdict, CheckLevel,
    CoinSet, CommandError, MempoolVerdict, MiningState, NetworkState, Peer, Rejection, RejectionKind, SetBan,
    TemplateData, TemplateTransaction,
};
pub use crate::types::{Conditions, PeerConditions};
pub use crate::view::{
    AddressBalance, AddressCoin, AddressEvent, BlockStatus, BranchTip, Chunk, Departure, FoundCoin,
    HeaderEntry, IndexView, Kin, MempoolEntry, MempoolState, SyncState, TransactionPlace, View,
};

/// The node cannot answer: it is shutting down, or its engine has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the node is shutting down; start it again")]
pub struct Unavailable;

/// A block, transaction or coin that must be there could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("reading from the store failed: {0}")]
pub struct ViewError(pub String);

/// Why the indexes cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IndexError {
    /// The node cannot answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The store or the index failed.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The indexes are behind the chain.
    #[error("the index is at block {height} of {of} and still being made; ask again in a while")]
    CatchingUp {
        /// The height up to which they are made.
        height: chain::height::Height,
        /// The height of the tip.
        of: chain::height::Height,
    },
    /// The node keeps no indexes.
    #[error(
        "this node keeps no index of transactions and addresses: start it without --no-index, and ask again once \
         the index is made"
    )]
    Off,
}

/// A network whose conditions can be made worse on demand, on chains for development alone. `peer` is a peer's
/// identity (`12D3KooW...`), or `all` for every peer that has no conditions of its own.
pub trait Lab: Send + Sync {
    /// Sets the conditions of `peer`, in place of those that it had.
    ///
    /// # Errors
    /// [`CommandError::InvalidPeer`], [`CommandError::InvalidConditions`], [`CommandError::TooMuch`].
    fn set(&self, peer: &str, conditions: Conditions) -> Result<(), CommandError>;

    /// All conditions that are set, in the order of their peers' names.
    fn list(&self) -> Vec<PeerConditions>;

    /// Forgets the conditions of `peer`, or all of them for `None`.
    ///
    /// # Errors
    /// [`CommandError::InvalidPeer`].
    fn clear(&self, peer: Option<&str>) -> Result<(), CommandError>;
}

/// A node, as far as its RPC is concerned.
pub trait Backend: Send + Sync + 'static {
    /// The chain that the node follows; it never changes while the node runs.
    fn chain(&self) -> &Chain;

    /// Runs `read` on one snapshot and returns its result. `read` must be short: it may hold up the engine.
    ///
    /// # Errors
    /// When the engine no longer answers.
    fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn View) -> R + Send + 'static,
    ) -> impl Future<Output = Result<R, Unavailable>> + Send;

    /// As [`Backend::read`], with the indexes, which are then at the same tip. Waits where the indexer is a little
    /// behind.
    ///
    /// # Errors
    /// [`IndexError`] where there are no indexes, or they are still being made.
    fn read_indexed<R: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn View, &dyn IndexView) -> R + Send + 'static,
    ) -> impl Future<Output = Result<R, IndexError>> + Send;

    /// Offers a transaction to the mempool, to be relayed when accepted. `max_fee_rate` is in pebbles per
    /// 1,000 bytes; a transaction that pays more is refused with [`RejectionKind::FeeTooHigh`].
    ///
    /// # Errors
    /// [`CommandError::Rejected`] says why the transaction was not accepted.
    fn submit_transaction(
        &self,
        transaction: Transaction,
        max_fee_rate: Option<Amount>,
    ) -> impl Future<Output = Result<TxId, CommandError>> + Send;

    /// Says what [`Backend::submit_transaction`] would for each of `transactions` taken alone, and changes
    /// nothing. The verdicts are in the order of the transactions.
    ///
    /// # Errors
    /// When the engine no longer answers.
    fn test_transactions(
        &self,
        transactions: Vec<Transaction>,
        max_fee_rate: Option<Amount>,
    ) -> impl Future<Output = Result<Vec<MempoolVerdict>, CommandError>> + Send;

    /// Offers a block as a miner found it.
    ///
    /// # Errors
    /// Only for faults of the node itself: a bad block is a verdict.
    fn submit_block(
        &self,
        submission: BlockSubmission,
    ) -> impl Future<Output = Result<BlockVerdict, CommandError>> + Send;

    /// A block to be mined on the tip, paying `address`, or the node's own mining address when there is none.
    /// Two calls never give the same template.
    ///
    /// # Errors
    /// [`CommandError::NoMiningAddress`], [`CommandError::InitialDownload`], [`CommandError::NotConnected`].
    fn template(
        &self,
        address: Option<Address>,
    ) -> impl Future<Output = Result<TemplateData, CommandError>> + Send;

    /// Mines `count` blocks that pay `address`, trying at most `max_tries` nonces in all; the hashes of those
    /// that were found.
    ///
    /// # Errors
    /// [`CommandError::WrongChain`] where blocks are not made on demand.
    fn generate(
        &self,
        count: u32,
        address: Address,
        max_tries: u64,
    ) -> impl Future<Output = Result<Vec<BlockHash>, CommandError>> + Send;

    /// The UTXO set as of one tip.
    ///
    /// # Errors
    /// When the set could not be read.
    fn coin_set(&self) -> impl Future<Output = Result<CoinSet, CommandError>> + Send;

    /// A block on any branch, and with `with_spent` the coins that it spent; `None` where the body is not
    /// known. It is read without holding up the engine: what a block says does not depend on the tip.
    ///
    /// # Errors
    /// When the store fails.
    fn read_block(
        &self,
        hash: BlockHash,
        with_spent: bool,
    ) -> impl Future<Output = Result<Option<BlockWithSpent>, CommandError>> + Send;

    /// Checks the last `blocks` blocks of the active chain again, all of them for `None`. Nothing is changed
    /// and nothing is mended.
    ///
    /// # Errors
    /// [`CommandError::Busy`] while another check runs, [`CommandError::TooMuch`] when undoing so many blocks
    /// takes more memory than it may.
    fn verify_chain(
        &self,
        level: CheckLevel,
        blocks: Option<u32>,
    ) -> impl Future<Output = Result<ChainVerdict, CommandError>> + Send;

    /// Treats a block, and all that stands on it, as invalid until [`Backend::reconsider_block`].
    ///
    /// # Errors
    /// [`CommandError::UnknownBlock`], [`CommandError::GenesisBlock`].
    fn invalidate_block(&self, hash: BlockHash) -> impl Future<Output = Result<(), CommandError>> + Send;

    /// Forgets that a block, those that it stands on and those that stand on it, were found or called invalid.
    ///
    /// # Errors
    /// [`CommandError::UnknownBlock`].
    fn reconsider_block(&self, hash: BlockHash) -> impl Future<Output = Result<(), CommandError>> + Send;

    /// Prefers a block to all others whose chains have as much work, as if it had come first.
    ///
    /// # Errors
    /// [`CommandError::UnknownBlock`].
    fn make_precious(&self, hash: BlockHash) -> impl Future<Output = Result<(), CommandError>> + Send;

    /// Writes the mempool, and what this node's users sent, to their files; the mempool's.
    ///
    /// # Errors
    /// [`CommandError::NotSaved`].
    fn save_mempool(&self) -> impl Future<Output = Result<PathBuf, CommandError>> + Send;

    /// The connected peers, in the order in which they connected.
    ///
    /// # Errors
    /// When the node no longer answers.
    fn peers(&self) -> impl Future<Output = Result<Vec<Peer>, CommandError>> + Send;

    /// Adds or removes a peer, or tries one connection. `peer` is what `--bootstrap` takes.
    ///
    /// # Errors
    /// [`CommandError::InvalidPeer`], [`CommandError::PeerAlreadyAdded`], [`CommandError::PeerNotAdded`].
    fn add_peer(
        &self,
        peer: String,
        action: AddPeer,
    ) -> impl Future<Output = Result<(), CommandError>> + Send;

    /// Bans a network or an identity, or ends such a ban.
    ///
    /// # Errors
    /// [`CommandError::InvalidSubnet`], [`CommandError::AlreadyBanned`], [`CommandError::NotBanned`].
    fn set_ban(
        &self,
        subject: String,
        action: SetBan,
    ) -> impl Future<Output = Result<(), CommandError>> + Send;

    /// All bans.
    ///
    /// # Errors
    /// When the node no longer answers.
    fn bans(&self) -> impl Future<Output = Result<Vec<BannedPeer>, CommandError>> + Send;

    /// Ends all bans.
    ///
    /// # Errors
    /// When the node no longer answers.
    fn clear_bans(&self) -> impl Future<Output = Result<(), CommandError>> + Send;

    /// Ends the connections of a peer, named by its number, its address or its identity.
    ///
    /// # Errors
    /// [`CommandError::PeerNotConnected`].
    fn disconnect_peer(&self, peer: String) -> impl Future<Output = Result<(), CommandError>> + Send;

    /// The state of the network.
    ///
    /// # Errors
    /// When the node no longer answers.
    fn network(&self) -> impl Future<Output = Result<NetworkState, CommandError>> + Send;

    /// The state of the node's own miner.
    ///
    /// # Errors
    /// When the node no longer answers.
    fn mining(&self) -> impl Future<Output = Result<MiningState, CommandError>> + Send;

    /// The conditions of the network that can be set; a node that gives none has no methods of the category
    /// [`LAB`](crate::methods::LAB).
    fn lab(&self) -> Option<&dyn Lab> {
        None
    }

    /// Seconds since the node was started.
    fn uptime_secs(&self) -> u64;

    /// Begins an orderly exit; returns at once.
    fn stop(&self);
}
