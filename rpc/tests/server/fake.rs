//! A node of plain vectors: it answers by looking through all of its blocks. Blocks are not mined.

mod backend;
mod mempool;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool},
};

use chain::{
    address::Address,
    amount::Amount,
    block::{Block, Header},
    genesis::Chain,
    hash::{BlockHash, MerkleRoot, TxId},
    height::Height,
    ledger::BlockId,
    params::Params,
    policy::{Policy, PublicKey, Witness},
    pow::Work,
    transaction::{Coinbase, Destination, OutPoint, Output, Transaction},
};
use rpc::backend::*;
use tokio::sync::watch;

pub const REWARD: u64 = 5_000_000_000;
pub const FEE: u64 = 1_000;

pub fn key(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

pub fn address(number: u8) -> Address {
    Address::of_policy(&Policy::Pk(key(number)))
}

/// A payment by the owner of `from` that leaves [`FEE`].
pub fn payment(spent: OutPoint, from: u8, to: u8, amount: u64) -> Transaction {
    Transaction {
        inputs: vec![spent],
        outputs: vec![
            Output::pay(address(to), Amount::from_pebbles(amount)),
            Output { amount: Amount::ZERO, to: Destination::Data(b"note".to_vec()) },
        ],
        witnesses: vec![Witness::signed(key(from), [7; 64])],
    }
}

pub fn coinbase_outpoint(block: &Block) -> OutPoint {
    OutPoint { txid: block.coinbase.txid(), index: 0 }
}

pub fn block(previous: &Block, height: u32, payee: u8, transactions: Vec<Transaction>) -> Block {
    let coinbase = Coinbase {
        height: Height::new(height),
        free: [0; 96],
        outputs: vec![Output::pay(address(payee), Amount::from_pebbles(REWARD))],
    };
    let merkle_root = MerkleRoot::from_bytes(coinbase.txid().to_bytes());
    let header = Header {
        version: 0x2000_0000,
        previous: previous.hash(),
        merkle_root,
        time: previous.header.time.saturating_add_secs(5),
        bits: previous.header.bits,
        nonce: height,
    };
    let transactions = transactions.into_iter().map(Arc::new).collect();
    Block { header, coinbase, transactions }
}

/// What the fake knows.
pub struct State {
    pub active: Vec<Arc<Block>>,
    /// Blocks on side branches with their heights.
    pub side: Vec<(Height, Arc<Block>)>,
    pub mempool: Vec<Arc<Transaction>>,
    /// The maturity of the chain's coinbases, in blocks.
    pub maturity: u32,
    /// Why the indexes do not answer.
    pub index_error: Option<IndexError>,
    /// Transactions that left the mempool.
    pub departed: BTreeMap<TxId, Departure>,
}

pub struct Fake {
    pub chain: Chain,
    pub state: Mutex<State>,
    pub submitted: Mutex<Vec<BlockSubmission>>,
    pub added: Mutex<Vec<(String, AddPeer)>>,
    pub bans: Mutex<Vec<BannedPeer>>,
    pub stopped: watch::Sender<bool>,
    /// What was said of blocks: the method and the hash.
    pub advice: Mutex<Vec<(&'static str, BlockHash)>>,
    /// The checks of blocks that were asked for.
    pub checks: Mutex<Vec<(CheckLevel, Option<u32>)>>,
    /// What those checks find.
    pub verdict: Mutex<Option<ChainVerdict>>,
    /// Whether conditions of the network can be set.
    pub has_lab: AtomicBool,
    /// Those that are set.
    pub conditions: Mutex<Vec<PeerConditions>>,
}

impl Fake {
    /// Genesis and 12 blocks that pay key 1; block 12 holds a payment from 1 to 2; a side block at height 12;
    /// a payment from 1 to 3 in the mempool.
    pub fn new() -> Arc<Self> {
        // A chain of almost no work: its genesis block is mined in a moment.
        let chain = Chain::mine(Params::dev()).expect("the parameters are good");
        let mut active = vec![Arc::new(chain.genesis().clone())];
        for height in 1..12 {
            let next = block(active.last().expect("genesis"), height, 1, Vec::new());
            active.push(Arc::new(next));
        }
        let paid = payment(coinbase_outpoint(&active[1]), 1, 2, REWARD - FEE);
        let side = block(&active[11], 12, 9, Vec::new());
        active.push(Arc::new(block(&active[11], 12, 1, vec![paid])));
        let pending = payment(coinbase_outpoint(&active[2]), 1, 3, REWARD - FEE);
        Arc::new(Self {
            chain,
            state: Mutex::new(State {
                active,
                side: vec![(Height::new(12), Arc::new(side))],
                mempool: vec![Arc::new(pending)],
                maturity: Params::dev().maturity_blocks,
                index_error: None,
                departed: BTreeMap::new(),
            }),
            submitted: Mutex::default(),
            added: Mutex::default(),
            bans: Mutex::default(),
            stopped: watch::Sender::new(false),
            has_lab: AtomicBool::new(true),
            conditions: Mutex::default(),
            advice: Mutex::default(),
            checks: Mutex::default(),
            verdict: Mutex::default(),
        })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the state")
    }

    pub fn text(&self, number: u8) -> String {
        address(number).encode(&self.chain.params().prefix)
    }
}

impl State {
    pub fn tip_height(&self) -> Height {
        Height::new(u32::try_from(self.active.len() - 1).expect("few blocks"))
    }

    fn entry(&self, height: Height, block: &Block, status: BlockStatus) -> HeaderEntry {
        let one = block.header.bits.to_target().expect("the bits are valid").work();
        let work = (0..height.get()).fold(one, |sum, _| sum.checked_add(one).expect("little work"));
        HeaderEntry {
            id: BlockId { height, hash: block.hash() },
            header: block.header,
            work: Work::from_be_bytes(work.to_be_bytes()),
            median_time_past: block.header.time,
            status,
        }
    }

    fn with_heights(&self) -> impl Iterator<Item = (Height, &Arc<Block>)> {
        (0..).map(Height::new).zip(&self.active)
    }

    /// All unspent outputs of the active chain.
    pub fn coins(&self) -> BTreeMap<OutPoint, FoundCoin> {
        let mut coins = BTreeMap::new();
        for (height, block) in self.with_heights() {
            let id = block.coinbase.txid();
            add(&mut coins, id, &block.coinbase.outputs, Some(height), true);
            for transaction in &block.transactions {
                for spent in &transaction.inputs {
                    coins.remove(spent);
                }
                add(&mut coins, transaction.txid(), &transaction.outputs, Some(height), false);
            }
        }
        coins
    }

    fn spender(&self, outpoint: &OutPoint) -> Option<TxId> {
        let spends = |transaction: &&Arc<Transaction>| transaction.inputs.contains(outpoint);
        self.mempool.iter().find(spends).map(|transaction| transaction.txid())
    }
}

fn add(
    coins: &mut BTreeMap<OutPoint, FoundCoin>,
    txid: TxId,
    outputs: &[Output],
    height: Option<Height>,
    coinbase: bool,
) {
    for (index, output) in (0..).zip(outputs) {
        if output.address().is_some() {
            coins.insert(OutPoint { txid, index }, FoundCoin { output: output.clone(), height, coinbase });
        }
    }
}

impl View for State {
    fn tip(&self) -> HeaderEntry {
        self.entry(self.tip_height(), self.active.last().expect("genesis"), BlockStatus::Active)
    }
    fn best_header(&self) -> BlockId {
        self.tip().id
    }
    fn header(&self, hash: &BlockHash) -> Option<HeaderEntry> {
        let active = self.with_heights().find(|(_, block)| block.hash() == *hash);
        let side = || self.side.iter().find(|(_, block)| block.hash() == *hash);
        match active {
            Some((height, block)) => Some(self.entry(height, block, BlockStatus::Active)),
            None => side().map(|(height, block)| self.entry(*height, block, BlockStatus::ValidFork)),
        }
    }
    fn active_hash(&self, height: Height) -> Option<BlockHash> {
        self.active.get(usize::try_from(height.get()).ok()?).map(|block| block.hash())
    }
    fn branch_tips(&self) -> Vec<BranchTip> {
        let mut tips = vec![BranchTip { id: self.tip().id, branch_length: 0, status: BlockStatus::Active }];
        tips.extend(self.side.iter().map(|(height, block)| BranchTip {
            id: BlockId { height: *height, hash: block.hash() },
            branch_length: 1,
            status: BlockStatus::ValidFork,
        }));
        tips
    }
    fn block(&self, hash: &BlockHash) -> Result<Option<Arc<Block>>, ViewError> {
        let side = self.side.iter().map(|(_, block)| block);
        Ok(self.active.iter().chain(side).find(|block| block.hash() == *hash).cloned())
    }
    fn mempool_transaction(&self, txid: &TxId) -> Option<Arc<Transaction>> {
        self.mempool.iter().find(|transaction| transaction.txid() == *txid).cloned()
    }
    fn coin(&self, outpoint: &OutPoint, include_mempool: bool) -> Result<Option<FoundCoin>, ViewError> {
        let mut coins = self.coins();
        if include_mempool {
            for transaction in &self.mempool {
                add(&mut coins, transaction.txid(), &transaction.outputs, None, false);
            }
            for transaction in &self.mempool {
                transaction.inputs.iter().for_each(|spent| drop(coins.remove(spent)));
            }
        }
        Ok(coins.remove(outpoint))
    }
    fn mempool(&self) -> MempoolState {
        self.mempool_state()
    }
    fn mempool_ids(&self) -> Vec<TxId> {
        self.mempool.iter().map(|transaction| transaction.txid()).collect()
    }
    fn mempool_entries(&self) -> Vec<MempoolEntry> {
        self.mempool.iter().map(|transaction| self.waiting(transaction)).collect()
    }
    fn mempool_entry(&self, txid: &TxId) -> Option<MempoolEntry> {
        self.mempool_entries().into_iter().find(|entry| entry.txid == *txid)
    }
    fn mempool_ancestors(&self, txid: &TxId) -> Option<Vec<MempoolEntry>> {
        self.relatives(txid, State::parents)
    }
    fn mempool_descendants(&self, txid: &TxId) -> Option<Vec<MempoolEntry>> {
        self.relatives(txid, State::children)
    }
    fn departure(&self, txid: &TxId) -> Option<Departure> {
        self.departed.get(txid).copied()
    }
    fn sync(&self) -> SyncState {
        SyncState { initial_download: false, progress: 1.0, disk_bytes: 4_096 }
    }
}

impl IndexView for State {
    fn transaction(&self, txid: &TxId) -> Result<Option<TransactionPlace>, ViewError> {
        if let Some(found) = self.mempool.iter().find(|transaction| transaction.txid() == *txid) {
            return Ok(Some(TransactionPlace::Mempool(Arc::clone(found))));
        }
        for (height, block) in self.with_heights() {
            let ids = block.transactions.iter().map(|transaction| transaction.txid());
            if let Some(position) =
                std::iter::once(block.coinbase.txid()).chain(ids).position(|id| id == *txid)
            {
                let id = BlockId { height, hash: block.hash() };
                return Ok(Some(TransactionPlace::Block { block: Arc::clone(block), id, position }));
            }
        }
        Ok(None)
    }
    fn address_coins(&self, address: &Address, limit: usize) -> Result<Vec<AddressCoin>, ViewError> {
        let mut coins = self.coins();
        for transaction in &self.mempool {
            add(&mut coins, transaction.txid(), &transaction.outputs, None, false);
        }
        let mut found: Vec<_> = coins
            .into_iter()
            .filter(|(_, coin)| coin.output.address() == Some(address))
            .map(|(outpoint, coin)| AddressCoin {
                outpoint,
                amount: coin.output.amount,
                height: coin.height,
                coinbase: coin.coinbase,
                spent_by: self.spender(&outpoint),
            })
            .collect();
        found.sort_by_key(|coin| (coin.height.is_none(), coin.height));
        found.truncate(limit);
        Ok(found)
    }
    fn address_history(
        &self,
        address: &Address,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<AddressEvent>, ViewError> {
        let mut events = Vec::new();
        for (height, block) in self.with_heights() {
            let block_id = Some(BlockId { height, hash: block.hash() });
            let bodies = block
                .transactions
                .iter()
                .map(|transaction| (transaction.txid(), transaction.outputs.as_slice(), false));
            let coinbase = (block.coinbase.txid(), block.coinbase.outputs.as_slice(), true);
            for (txid, outputs, coinbase) in std::iter::once(coinbase).chain(bodies) {
                let to = |output: &&Output| output.address() == Some(address);
                let received: u64 = outputs.iter().filter(to).map(|output| output.amount.pebbles()).sum();
                if received > 0 {
                    events.push(AddressEvent {
                        txid,
                        block: block_id,
                        time: block.header.time,
                        coinbase,
                        received: Amount::from_pebbles(received),
                        sent: Amount::ZERO,
                    });
                }
            }
        }
        events.reverse();
        Ok(events.into_iter().skip(skip).take(limit).collect())
    }
    fn address_balance(&self, address: &Address) -> Result<AddressBalance, ViewError> {
        let mut sums = AddressBalance::default();
        for coin in self.address_coins(address, usize::MAX)? {
            let age = coin.height.map(|height| self.tip_height().get() - height.get() + 1);
            let sum = match (age, coin.spent_by) {
                (None, _) => &mut sums.unconfirmed,
                (Some(age), _) if coin.coinbase && age < self.maturity => &mut sums.immature,
                (Some(_), Some(_)) => &mut sums.spending,
                (Some(_), None) => &mut sums.spendable,
            };
            *sum = sum.checked_add(coin.amount).expect("a bounded supply");
        }
        Ok(sums)
    }
}
