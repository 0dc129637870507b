//! Builders for tests: keys, payments, blocks with real proof of work, and a ledger over the memory store.
//!
//! The chain of these tests has the easiest target there is and a half-life of zero, so that a block costs
//! two hashes on average and every block is worth the same.
#![allow(dead_code, reason = "every test file uses its own part of the builders")]

use std::{cell::Cell, sync::Arc};

use chain::{
    address::Address,
    amount::{Amount, COIN},
    block::{Block, Header},
    error::{BlockError, SubmitError},
    genesis::{Chain, TEMPLATE_VERSION},
    hash::{BlockHash, MerkleRoot, sha256},
    height::Height,
    ledger::{Ledger, Update},
    memory::MemoryStore,
    merkle::{leaf_hash, root_and_mutation},
    params::Params,
    policy::{Policy, PublicKey, Satisfaction, Witness},
    signature::signature_message,
    store::Store,
    subsidy::subsidy,
    time::Time,
    transaction::{Coinbase, Destination, FREE_RUN_BYTES, OutPoint, Output, Transaction},
};
use ed25519_dalek::{Signer, SigningKey};

/// A key of somebody.
pub struct Key(SigningKey);

impl Key {
    /// The key number `number`, always the same.
    pub fn new(number: u32) -> Self {
        Self(SigningKey::from_bytes(&sha256(&number.to_le_bytes())))
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    pub fn policy(&self) -> Policy {
        Policy::Pk(self.public())
    }

    pub fn address(&self) -> Address {
        Address::of_policy(&self.policy())
    }

    pub fn sign(&self, message: &[u8; 32]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    pub fn satisfaction(&self, message: &[u8; 32]) -> Satisfaction {
        Satisfaction::Signature(self.sign(message))
    }

    pub fn witness(&self, message: &[u8; 32]) -> Witness {
        Witness::signed(self.public(), self.sign(message))
    }
}

/// An output that somebody can spend, and its name.
pub type Held = (OutPoint, Output);

/// Whom all coinbases pay.
pub fn miner() -> Key {
    Key::new(0)
}

/// A payment to a key.
pub fn to(key: &Key, pebbles: u64) -> Output {
    Output::pay(key.address(), Amount::from_pebbles(pebbles))
}

/// A payment to a policy.
pub fn to_policy(policy: &Policy, pebbles: u64) -> Output {
    Output::pay(Address::of_policy(policy), Amount::from_pebbles(pebbles))
}

/// An output that carries data.
pub fn data(bytes: &[u8]) -> Output {
    Output { amount: Amount::ZERO, to: Destination::Data(bytes.to_vec()) }
}

/// The output number `index` of a transaction, as a coin.
pub fn held(transaction: &Transaction, index: u32) -> Held {
    let place = usize::try_from(index).expect("a small index");
    (OutPoint { txid: transaction.txid(), index }, transaction.outputs[place].clone())
}

/// The message that the signatures of `transaction` sign.
pub fn message(chain: &Chain, transaction: &Transaction, spent: &[Output]) -> [u8; 32] {
    signature_message(&chain.id(), &transaction.id_preimage(), spent)
}

/// A transaction without witnesses.
pub fn unsigned(coins: &[Held], outputs: Vec<Output>) -> Transaction {
    let inputs = coins.iter().map(|(outpoint, _)| *outpoint).collect();
    Transaction { inputs, outputs, witnesses: Vec::new() }
}

/// A transaction whose witnesses `witness` makes from the message.
pub fn spend(
    chain: &Chain,
    coins: &[Held],
    outputs: Vec<Output>,
    witness: impl Fn(&[u8; 32]) -> Witness,
) -> Transaction {
    let mut transaction = unsigned(coins, outputs);
    let spent: Vec<Output> = coins.iter().map(|(_, output)| output.clone()).collect();
    let message = message(chain, &transaction, &spent);
    transaction.witnesses = coins.iter().map(|_| witness(&message)).collect();
    transaction
}

/// A transaction in which `key` spends coins of its own.
pub fn pay(chain: &Chain, coins: &[Held], key: &Key, outputs: Vec<Output>) -> Transaction {
    spend(chain, coins, outputs, |message| key.witness(message))
}

/// The leaves of a block's Merkle tree.
pub fn leaves(block: &Block) -> Vec<[u8; 32]> {
    let coinbase = std::iter::once(leaf_hash(&block.coinbase.to_bytes()));
    coinbase.chain(block.transactions.iter().map(|transaction| leaf_hash(&transaction.to_bytes()))).collect()
}

/// Commits the header to the body and finds a nonce.
pub fn seal(block: &mut Block) {
    block.header.merkle_root = root_and_mutation(&leaves(block)).0;
    solve(&mut block.header);
}

/// Finds a nonce for the header's own bits.
pub fn solve(header: &mut Header) {
    let target = header.bits.to_target().expect("the bits of the tests are targets");
    while !target.is_met_by(&header.hash()) {
        header.nonce = header.nonce.checked_add(1).expect("the targets of the tests are easy");
    }
}

/// Finds a nonce with which the hash is above the target.
pub fn unsolve(header: &mut Header) {
    let target = header.bits.to_target().expect("the bits of the tests are targets");
    while target.is_met_by(&header.hash()) {
        header.nonce = header.nonce.checked_add(1).expect("half of all hashes are above the target");
    }
}

/// The parameters of the tests' chain: as `dev`, but the target never changes and coins mature at once.
pub fn easy_params() -> Params {
    Params {
        name: "proof".into(),
        prefix: "pcrn".into(),
        half_life_secs: 0,
        maturity_blocks: 1,
        halving_blocks: 1_000,
        ..Params::dev()
    }
}

/// A chain, a ledger on it, and somebody who mines.
pub struct World<S = MemoryStore> {
    pub chain: Chain,
    pub ledger: Ledger<S>,
    salt: Cell<u32>,
}

impl World {
    /// The tests' chain with only its genesis block.
    pub fn easy() -> Self {
        Self::new(easy_params())
    }

    /// A chain with other parameters.
    pub fn new(params: Params) -> Self {
        Self::over(Chain::mine(params).expect("the parameters of the tests are good"), MemoryStore::default())
    }
}

impl<S: Store> World<S> {
    pub fn over(chain: Chain, store: S) -> Self {
        let ledger = Ledger::open(chain.clone(), store).expect("the store is good");
        Self { chain, ledger, salt: Cell::new(0) }
    }

    pub fn tip(&self) -> BlockHash {
        self.ledger.tip().id.hash
    }

    pub fn height(&self) -> u32 {
        self.ledger.tip().id.height.get()
    }

    /// What a block may claim beyond its fees.
    pub fn subsidy(&self, height: u32) -> u64 {
        subsidy(self.chain.params(), Height::new(height)).pebbles()
    }

    /// A sealed block on `parent`, whose coinbase claims the subsidy; no two have the same hash.
    pub fn draft_on(&self, parent: BlockHash, transactions: Vec<Transaction>) -> Block {
        let id = self.ledger.tree().find(&parent).expect("the parent's header is known");
        let context = self.ledger.tree().context(id);
        let height = context.height.next().expect("far from the last height");
        let params = self.chain.params();
        self.salt.set(self.salt.get() + 1);
        let mut free = [0; FREE_RUN_BYTES];
        free[..4].copy_from_slice(&self.salt.get().to_le_bytes());
        let reward = subsidy(params, height);
        let outputs =
            if reward == Amount::ZERO { Vec::new() } else { vec![Output::pay(miner().address(), reward)] };
        let earliest = context.median_time_past.saturating_add_secs(1);
        let header = Header {
            version: TEMPLATE_VERSION,
            previous: parent,
            merkle_root: MerkleRoot::ZERO,
            time: context.time.saturating_add_secs(params.spacing_secs).max(earliest),
            bits: context.expected_bits(params),
            nonce: 0,
        };
        let transactions = transactions.into_iter().map(Arc::new).collect();
        let mut block = Block { header, coinbase: Coinbase { height, free, outputs }, transactions };
        seal(&mut block);
        block
    }

    /// A sealed block on the tip.
    pub fn draft(&self, transactions: Vec<Transaction>) -> Block {
        self.draft_on(self.tip(), transactions)
    }

    /// Submits a block at its own time.
    pub fn submit(&mut self, block: &Block) -> Result<Update, SubmitError> {
        self.ledger.submit(block.clone(), block.header.time)
    }

    /// Submits a block that is good; what it changed.
    pub fn accept(&mut self, block: &Block) -> Update {
        let update = self.submit(block).expect("the block is good");
        assert_eq!(update.refused, [], "the block is good");
        update
    }

    /// Mines a block on the tip, which becomes the tip.
    pub fn mine(&mut self, transactions: Vec<Transaction>) -> Block {
        let block = self.draft(transactions);
        self.accept(&block);
        assert_eq!(self.tip(), block.hash());
        block
    }

    /// Mines empty blocks.
    pub fn mine_empty(&mut self, blocks: u32) {
        for _ in 0..blocks {
            self.mine(Vec::new());
        }
    }

    /// Mines a block on `parent`, wherever that is; whatever becomes of it.
    pub fn mine_on(&mut self, parent: BlockHash, transactions: Vec<Transaction>) -> Block {
        let block = self.draft_on(parent, transactions);
        self.accept(&block);
        block
    }

    /// The hash of the active block at a height.
    pub fn hash_at(&self, height: u32) -> BlockHash {
        let id = self.ledger.active(Height::new(height)).expect("the chain is that high");
        self.ledger.tree().node(id).hash()
    }

    /// The coinbase's first coin of the active block at a height.
    pub fn reward_at(&self, height: u32) -> Held {
        let block = self.ledger.block(&self.hash_at(height)).expect("no storage fault").expect("is here");
        let outpoint = OutPoint { txid: block.coinbase.txid(), index: 0 };
        (outpoint, block.coinbase.outputs[0].clone())
    }

    /// A transaction in which the miner spends coins.
    pub fn pay(&self, coins: &[Held], outputs: Vec<Output>) -> Transaction {
        pay(&self.chain, coins, &miner(), outputs)
    }

    /// Why a block is refused: at once, or when it was to be connected. It must not become the tip.
    pub fn refusal(&mut self, block: &Block) -> SubmitError {
        let before = self.tip();
        let error = match self.submit(block) {
            Ok(update) => {
                let refusal = update.refusal(&block.hash()).expect("the block is bad").clone();
                SubmitError::Invalid(refusal)
            }
            Err(error) => error,
        };
        assert_eq!(self.tip(), before, "a refused block never moves the tip");
        error
    }

    /// Why a block is invalid.
    pub fn fault(&mut self, block: &Block) -> BlockError {
        match self.refusal(block) {
            SubmitError::Invalid(error) => error,
            other => panic!("expected an invalid block, got: {other}"),
        }
    }

    /// Whether the ledger remembers the block as invalid.
    pub fn is_marked(&self, block: &Block) -> bool {
        let tree = self.ledger.tree();
        tree.find(&block.hash()).is_some_and(|id| tree.node(id).is_invalid())
    }
}

/// One whole coin, in pebbles.
pub const fn coins(coins: u64) -> u64 {
    coins * COIN
}

/// A time, in Unix seconds.
pub const fn time(secs: u32) -> Time {
    Time::from_secs(secs)
}
