//! The node as its RPC sees it: [`rpc::backend::Backend`] over the engine, the network and the miner.

mod audit;
mod indexed;
mod lab;
mod network;
mod reading;
mod reasons;
mod transactions;
mod view;
mod waiting;

use std::{collections::VecDeque, sync::Arc};

use chain::{
    address::Address,
    amount::Amount,
    block::Block,
    check::CheckedTransaction,
    error::SubmitError,
    genesis::Chain,
    hash::{BlockHash, TxId},
    ledger::{AdviceError, Tip, Update},
    transaction::Transaction,
};
use miner::{Miner, Template, TemplateError};
use parking_lot::Mutex;
use rpc::backend::{
    AddPeer, Backend, BannedPeer, BlockSubmission, BlockVerdict, BlockWithSpent, ChainVerdict, CheckLevel,
    CoinSet, CommandError, IndexError, IndexView, MempoolVerdict, MiningState, NetworkState, Peer, Rejection,
    RejectionKind, SetBan, TemplateData, TemplateTransaction, Unavailable, View,
};
use tokio::sync::{mpsc, watch};

use self::{
    indexed::read_indexed,
    reasons::{ahead_of_the_clock, not_taken, refused},
    transactions::{check, judge, store_failed, submit_transaction},
    view::EngineView,
};
use super::{
    NodeConfig,
    mining::{MiningConfig, first_number, template},
    saved_files::SavedFiles,
    thread::{EngineHandle, Stopped},
};
use crate::{
    p2p::{NetView, ToNet, conditions::Lab},
    store::{DataDirLock, failpoint, index::IndexHandle},
};

/// Templates that are remembered for submissions without transactions.
const MAX_TEMPLATES: usize = 32;
/// The version of the protocols between nodes.
const PROTOCOL_VERSION: u32 = 1;

impl From<Stopped> for CommandError {
    fn from(_: Stopped) -> Self {
        Self::Unavailable(Unavailable)
    }
}

/// The parts of a node that its RPC reaches.
pub struct Connections {
    /// The engine.
    pub engine: EngineHandle,
    /// The network's commands.
    pub to_net: mpsc::Sender<ToNet>,
    /// The network's state.
    pub net: Arc<NetView>,
    /// The miner, where the node mines.
    pub miner: Option<(MiningConfig, Arc<Miner>)>,
    /// Ends the node when it turns true.
    pub shutdown: Arc<watch::Sender<bool>>,
    /// The indexes, where the node keeps them.
    pub index: Option<IndexHandle>,
    /// Held by whoever still reads from the store.
    pub lock: Arc<DataDirLock>,
    /// The conditions of the network, where they can be set.
    pub lab: Option<Arc<Lab>>,
}

/// What the RPC server calls.
pub struct NodeBackend {
    chain: Chain,
    lab: bool,
    parts: Connections,
    templates: Mutex<Templates>,
    /// Held by whoever checks blocks again: one check takes as much memory and disk as is to be had for that.
    verifying: Arc<tokio::sync::Mutex<()>>,
    saved: SavedFiles,
}

struct Templates {
    last_number: u64,
    kept: VecDeque<Arc<Template>>,
}

impl NodeBackend {
    /// The backend of a node whose parts are these.
    #[must_use]
    pub fn new(config: &NodeConfig, parts: Connections) -> Self {
        let templates = Mutex::new(Templates { last_number: first_number(), kept: VecDeque::new() });
        Self {
            chain: config.chain.clone(),
            lab: config.lab,
            parts,
            templates,
            verifying: Arc::default(),
            saved: SavedFiles::in_folder(&config.datadir),
        }
    }

    fn next_number(&self) -> u64 {
        let mut templates = self.templates.lock();
        templates.last_number = templates.last_number.wrapping_add(1);
        templates.last_number
    }

    fn remember(&self, template: Arc<Template>) {
        let mut templates = self.templates.lock();
        if templates.kept.len() == MAX_TEMPLATES {
            templates.kept.pop_front();
        }
        templates.kept.push_back(template);
    }

    /// Waits until the index is at the tip; false where it will not be soon. Who spent a coin is then known.
    async fn wait_for_index(&self) -> bool {
        self.read_indexed(|_, _| ()).await.is_ok()
    }

    /// The whole block of a submission.
    fn complete(&self, submission: BlockSubmission) -> Option<Block> {
        let (header, coinbase, count) = match submission {
            BlockSubmission::Full(block) => return Some(block),
            BlockSubmission::CoinbaseOnly { header, coinbase, transactions } => {
                (header, coinbase, transactions)
            }
        };
        let leaf = coinbase.txid().to_bytes();
        let templates = self.templates.lock();
        let template = templates.kept.iter().rev().find(|template| {
            template.previous == header.previous
                && template.transactions.len() as u64 == count
                && chain::merkle::root_from_branch(leaf, &template.branch, 0) == header.merkle_root
        })?;
        let transactions =
            template.transactions.iter().map(|checked| Arc::clone(checked.transaction())).collect();
        Some(Block { header, coinbase, transactions })
    }
}

/// Whether a refusal may be put better by an index that is at the tip.
fn lacks_inputs(rejection: &Rejection) -> bool {
    rejection.kind == RejectionKind::MissingInputs
}

fn block_verdict(
    hash: &BlockHash,
    (outcome, tip): (Result<Update, SubmitError>, Tip),
) -> Result<BlockVerdict, CommandError> {
    match outcome {
        Ok(update) => Ok(match update.refusal(hash) {
            Some(error) => refused(error),
            None if tip.id.hash == *hash => BlockVerdict::Accepted,
            None => BlockVerdict::Inconclusive,
        }),
        Err(error) => not_taken(&error).ok_or_else(|| store_failed(&error)),
    }
}

fn template_data(number: u64, template: &Template, fees: &[Amount]) -> TemplateData {
    let position: std::collections::HashMap<TxId, usize> =
        template.transactions.iter().enumerate().map(|(at, checked)| (checked.txid(), at)).collect();
    let entry = |(checked, fee): (&Arc<CheckedTransaction>, &Amount)| TemplateTransaction {
        transaction: Arc::clone(checked.transaction()),
        txid: checked.txid(),
        witness_txid: checked.witness_txid(),
        fee: *fee,
        signatures: checked.signatures(),
        depends: {
            let inputs = &checked.transaction().inputs;
            let mut depends: Vec<usize> =
                inputs.iter().filter_map(|input| position.get(&input.txid).copied()).collect();
            depends.sort_unstable();
            depends.dedup();
            depends
        },
    };
    TemplateData {
        number,
        previous: template.previous,
        height: template.height,
        version: template.version,
        time: template.time,
        min_time: template.min_time,
        bits: template.bits,
        coinbase: template.coinbase_with(0),
        transactions: template.transactions.iter().zip(fees).map(entry).collect(),
    }
}

/// Searches a block by hand, for chains on which blocks are made on demand.
fn solve(template: &Template, tries: &mut u64) -> Option<Block> {
    let mut header = template.header_with(0, template.time, 0);
    for nonce in 0..=u32::MAX {
        *tries = tries.checked_sub(1)?;
        header.nonce = nonce;
        if template.target.is_met_by(&header.hash()) {
            return Some(template.solve_with(nonce, template.time, 0));
        }
    }
    None
}

/// What became of an order about a block.
fn heeded(outcome: Result<Update, AdviceError>) -> Result<(), CommandError> {
    match outcome {
        Ok(_) => Ok(()),
        Err(AdviceError::Unknown(_)) => Err(CommandError::UnknownBlock),
        Err(AdviceError::Genesis) => Err(CommandError::GenesisBlock),
        Err(AdviceError::Storage(error)) => Err(store_failed(error)),
    }
}

impl Backend for NodeBackend {
    fn chain(&self) -> &Chain {
        &self.chain
    }

    async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn View) -> R + Send + 'static,
    ) -> Result<R, Unavailable> {
        self.parts
            .engine
            .call(move |engine, now| read(&EngineView(engine, now)))
            .await
            .map_err(|_| Unavailable)
    }

    async fn read_indexed<R: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn View, &dyn IndexView) -> R + Send + 'static,
    ) -> Result<R, IndexError> {
        read_indexed(&self.parts.engine, self.parts.index.as_ref(), read).await
    }

    async fn submit_transaction(
        &self,
        transaction: Transaction,
        max_fee_rate: Option<Amount>,
    ) -> Result<TxId, CommandError> {
        let transaction = Arc::new(transaction);
        let submit = || {
            let (index, transaction) = (self.parts.index.clone(), Arc::clone(&transaction));
            self.parts.engine.call(move |engine, now| {
                submit_transaction(engine, index.as_ref(), transaction, max_fee_rate, now)
            })
        };
        let outcome = submit().await?;
        if matches!(&outcome, Err(CommandError::Rejected(rejection)) if lacks_inputs(rejection))
            && self.wait_for_index().await
        {
            return submit().await?;
        }
        outcome
    }

    async fn test_transactions(
        &self,
        transactions: Vec<Transaction>,
        max_fee_rate: Option<Amount>,
    ) -> Result<Vec<MempoolVerdict>, CommandError> {
        let transactions: Vec<Arc<Transaction>> = transactions.into_iter().map(Arc::new).collect();
        let test = || {
            let (index, transactions) = (self.parts.index.clone(), transactions.clone());
            self.parts.engine.call(move |engine, now| {
                let mut verdicts = Vec::with_capacity(transactions.len());
                for transaction in transactions {
                    let verdict = check(transaction, engine.ledger().chain())
                        .and_then(|checked| judge(engine, index.as_ref(), &checked, max_fee_rate, now));
                    verdicts.push(match verdict {
                        Ok(accepted) => Ok(accepted),
                        Err(CommandError::Rejected(rejection)) => Err(rejection),
                        Err(error) => return Err(error),
                    });
                }
                Ok(verdicts)
            })
        };
        let verdicts = test().await??;
        if verdicts.iter().any(|verdict| verdict.as_ref().is_err_and(lacks_inputs))
            && self.wait_for_index().await
        {
            return test().await?;
        }
        Ok(verdicts)
    }

    async fn submit_block(&self, submission: BlockSubmission) -> Result<BlockVerdict, CommandError> {
        let Some(block) = self.complete(submission) else {
            return Ok(BlockVerdict::Rejected("template-unknown".into()));
        };
        block_verdict(&block.hash(), self.parts.engine.submit_block(block).await?)
    }

    async fn template(&self, address: Option<Address>) -> Result<TemplateData, CommandError> {
        let own = self.parts.miner.as_ref().map(|(config, _)| config.address);
        let address = address.or(own).ok_or(CommandError::NoMiningAddress)?;
        let number = self.next_number();
        let made = self.parts.engine.call(move |engine, now| {
            let template = template(engine, address, number, now)?;
            let fee = |checked: &Arc<CheckedTransaction>| {
                engine
                    .mempool()
                    .get(&checked.txid())
                    .map(crate::engine::mempool::Entry::fee)
                    .unwrap_or_default()
            };
            let fees: Vec<Amount> = template.transactions.iter().map(fee).collect();
            Ok::<_, TemplateError>((template, fees))
        });
        let (template, fees) = made.await?.map_err(store_failed)?;
        let data = template_data(number, &template, &fees);
        self.remember(Arc::new(template));
        Ok(data)
    }

    async fn generate(
        &self,
        count: u32,
        address: Address,
        max_tries: u64,
    ) -> Result<Vec<BlockHash>, CommandError> {
        if !self.lab {
            return Err(CommandError::WrongChain(format!(
                "blocks are made on demand on chains for development only, and {:?} is none; use --chain dev, or \
                 `cairn chain new --lab`",
                self.chain.params().name
            )));
        }
        let mut tries = max_tries;
        let mut hashes = Vec::new();
        for _ in 0..count {
            let number = self.next_number();
            let made =
                self.parts.engine.call(move |engine, now| template(engine, address, number, now)).await?;
            let made = match made {
                Ok(made) => made,
                // Made faster than the clock goes (rule C2): what was made so far stands.
                Err(TemplateError::ClockBehind { .. }) if !hashes.is_empty() => break,
                Err(error) => return Err(ahead_of_the_clock(&error).into()),
            };
            let searched = tokio::task::spawn_blocking(move || (solve(&made, &mut tries), tries)).await;
            let (block, left) = searched.map_err(store_failed)?;
            tries = left;
            let Some(block) = block else { break };
            let hash = block.hash();
            match self.parts.engine.submit_block(block).await?.0 {
                Ok(update) if update.refusal(&hash).is_none() => hashes.push(hash),
                Ok(_) => break,
                Err(SubmitError::TooEarly { .. }) if !hashes.is_empty() => break,
                Err(error @ SubmitError::Storage(_)) => return Err(store_failed(error)),
                Err(error) => return Err(ahead_of_the_clock(&error).into()),
            }
        }
        Ok(hashes)
    }

    async fn read_block(
        &self,
        hash: BlockHash,
        with_spent: bool,
    ) -> Result<Option<BlockWithSpent>, CommandError> {
        self.parts.read_block(hash, with_spent).await
    }

    async fn verify_chain(
        &self,
        level: CheckLevel,
        blocks: Option<u32>,
    ) -> Result<ChainVerdict, CommandError> {
        let turn = Arc::clone(&self.verifying).try_lock_owned();
        let turn = turn.map_err(|_| CommandError::Busy("verifychain"))?;
        self.parts.verify_chain(level, blocks, turn).await
    }

    async fn invalidate_block(&self, hash: BlockHash) -> Result<(), CommandError> {
        heeded(self.parts.engine.call(move |engine, now| engine.invalidate_block(&hash, now)).await?)
    }

    async fn reconsider_block(&self, hash: BlockHash) -> Result<(), CommandError> {
        heeded(self.parts.engine.call(move |engine, now| engine.reconsider_block(&hash, now)).await?)
    }

    async fn make_precious(&self, hash: BlockHash) -> Result<(), CommandError> {
        heeded(self.parts.engine.call(move |engine, now| engine.make_precious(&hash, now)).await?)
    }

    async fn save_mempool(&self) -> Result<std::path::PathBuf, CommandError> {
        self.parts.save_mempool(self.saved.clone()).await
    }

    async fn coin_set(&self) -> Result<CoinSet, CommandError> {
        self.parts.coin_set().await
    }

    async fn peers(&self) -> Result<Vec<Peer>, CommandError> {
        self.parts.peers().await
    }

    async fn add_peer(&self, peer: String, action: AddPeer) -> Result<(), CommandError> {
        self.parts.add_peer(peer, action).await
    }

    async fn set_ban(&self, subject: String, action: SetBan) -> Result<(), CommandError> {
        self.parts.set_ban(subject, action).await
    }

    async fn bans(&self) -> Result<Vec<BannedPeer>, CommandError> {
        self.parts.bans().await
    }

    async fn clear_bans(&self) -> Result<(), CommandError> {
        self.parts.clear_bans().await
    }

    async fn disconnect_peer(&self, peer: String) -> Result<(), CommandError> {
        self.parts.disconnect_peer(peer).await
    }

    async fn network(&self) -> Result<NetworkState, CommandError> {
        Ok(self.parts.network())
    }

    async fn mining(&self) -> Result<MiningState, CommandError> {
        #[expect(clippy::cast_precision_loss, reason = "a hash rate is shown, not counted with")]
        let float = |number: u64| number as f64;
        Ok(MiningState {
            address: self.parts.miner.as_ref().map(|(config, _)| config.address),
            hash_rate: self.parts.miner.as_ref().map_or(0.0, |(_, miner)| float(miner.hashes_per_sec())),
            throttle: self
                .parts
                .miner
                .as_ref()
                .and_then(|(config, _)| config.throttle_hashes_per_sec)
                .map(float),
            threads: self
                .parts
                .miner
                .as_ref()
                .map_or(0, |(_, miner)| u32::try_from(miner.threads()).unwrap_or(u32::MAX)),
        })
    }

    fn lab(&self) -> Option<&dyn rpc::backend::Lab> {
        self.parts.lab.as_deref().map(|lab| lab as &dyn rpc::backend::Lab)
    }

    fn uptime_secs(&self) -> u64 {
        failpoint::beat("rpc");
        self.parts.engine.clock().uptime_secs()
    }

    fn stop(&self) {
        self.parts.shutdown.send_replace(true);
    }
}
