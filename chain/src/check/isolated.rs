//! Isolated rules: what can be said of a block or a transaction that lies alone on the table.

use std::{collections::HashSet, ops::Range, sync::Arc};

use rayon::prelude::*;

use super::VerdictCache;
use crate::{
    address::Address,
    amount::Amount,
    block::{Block, HEADER_BYTES, Header},
    encode::write_count,
    error::{BlockError, BodyError, SubmitError, TransactionError},
    genesis::Chain,
    hash::{BlockHash, TxId, WitnessTxId, sha256d},
    merkle::{FORBIDDEN_LEAF_BYTES, root_and_mutation},
    plant::Plant,
    policy::{Demands, PublicKey},
    transaction::{Coinbase, Destination, MAX_DATA_BYTES, OutPoint, Output, Transaction},
};

/// Transactions that are checked together on one core: fewer are done before another core has woken up.
const LEAST_SHARE: usize = 64;

/// A transaction that breaks no isolated rule, with what was learned on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedTransaction {
    transaction: Arc<Transaction>,
    txid: TxId,
    witness_txid: WitnessTxId,
    bytes: u32,
    signatures: u32,
    output_sum: Amount,
    demands: Box<[Demands]>,
    addresses: Box<[Address]>,
}

impl CheckedTransaction {
    /// Holds a transaction against the isolated rules T3 to T12, M3 and P1 to P6.
    ///
    /// # Errors
    /// [`TransactionError`] with the first rule that is broken.
    pub fn check(transaction: impl Into<Arc<Transaction>>, chain: &Chain) -> Result<Self, TransactionError> {
        let transaction = transaction.into();
        let mut encoded = Vec::new();
        let unsigned = transaction.encode_into(&mut encoded);
        let witness_txid = WitnessTxId::from_bytes(sha256d(&encoded));
        Self::check_encoded(transaction, &encoded, unsigned, witness_txid, chain)
    }

    /// As [`Self::check`], for whoever has the encoding already: its first `unsigned` bytes make the id, all
    /// of them `witness_txid`.
    fn check_encoded(
        transaction: Arc<Transaction>,
        encoded: &[u8],
        unsigned: usize,
        witness_txid: WitnessTxId,
        chain: &Chain,
    ) -> Result<Self, TransactionError> {
        let limit = chain.params().max_block_bytes;
        let bytes = u32::try_from(encoded.len()).ok().filter(|bytes| *bytes <= limit);
        let bytes = bytes.ok_or(TransactionError::TooLarge { bytes: encoded.len(), limit })?;
        if encoded.len() == FORBIDDEN_LEAF_BYTES {
            return Err(TransactionError::SixtyFourBytes);
        }
        check_inputs(&transaction, chain)?;
        let output_sum = check_outputs(&transaction.outputs, chain.max_supply())?;
        let mut demands = Vec::with_capacity(transaction.witnesses.len());
        let mut addresses = Vec::with_capacity(transaction.witnesses.len());
        let mut signatures = 0;
        for (input, witness) in transaction.witnesses.iter().enumerate() {
            let asked = witness.demands().map_err(|error| TransactionError::Policy { input, error })?;
            // At most 16 an input (rule P4), and fewer inputs than a block has bytes.
            signatures += u32::try_from(asked.signatures.len()).unwrap_or(u32::MAX);
            demands.push(asked);
            addresses.push(Address::of_policy(&witness.policy));
        }
        Ok(Self {
            txid: TxId::from_bytes(sha256d(&encoded[..unsigned])),
            witness_txid,
            bytes,
            signatures,
            output_sum,
            demands: demands.into(),
            addresses: addresses.into(),
            transaction,
        })
    }

    /// The transaction itself.
    #[must_use]
    pub const fn transaction(&self) -> &Arc<Transaction> {
        &self.transaction
    }

    /// Its id (rule T2).
    #[must_use]
    pub const fn txid(&self) -> TxId {
        self.txid
    }

    /// Its leaf (rule M1).
    #[must_use]
    pub const fn witness_txid(&self) -> WitnessTxId {
        self.witness_txid
    }

    /// Its size in bytes, witnesses included.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.bytes
    }

    /// Its signatures: the keys that its inputs choose (rule B2).
    #[must_use]
    pub const fn signatures(&self) -> u32 {
        self.signatures
    }

    /// The sum of its outputs.
    #[must_use]
    pub const fn output_sum(&self) -> Amount {
        self.output_sum
    }

    /// What each input's witness asks of the block that spends.
    #[must_use]
    pub fn demands(&self) -> &[Demands] {
        &self.demands
    }

    /// The hash of each input's policy: the address that the spent coin must pay to (rule S5).
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// What it occupies in memory, in bytes, closely enough to hold a limit against: policies decode into
    /// many times their encoded size, and a limit on encoded bytes would not bound memory (threat M01).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let signatures = self.demands.iter().map(|demands| demands.signatures.len()).sum::<usize>();
        size_of::<Self>()
            + self.transaction.memory_bytes()
            + self.demands.len() * (size_of::<Demands>() + size_of::<Address>())
            + signatures * (size_of::<PublicKey>() + 64)
    }
}

fn check_inputs(transaction: &Transaction, chain: &Chain) -> Result<(), TransactionError> {
    let (inputs, witnesses) = (transaction.inputs.len(), transaction.witnesses.len());
    if inputs == 0 {
        return Err(TransactionError::NoInputs);
    }
    if let Some(twice) =
        find_repeated(&transaction.inputs).filter(|_| !chain.has_plant(Plant::DuplicateInput))
    {
        return Err(TransactionError::DuplicateInput(*twice));
    }
    if inputs != witnesses {
        return Err(TransactionError::WitnessCount { inputs, witnesses });
    }
    Ok(())
}

/// The first input that repeats an earlier one.
fn find_repeated(inputs: &[OutPoint]) -> Option<&OutPoint> {
    /// Up to so many inputs comparing each with all is cheaper than hashing them.
    const FEW: usize = 8;
    if inputs.len() <= FEW {
        let repeats = |(at, input): &(usize, &OutPoint)| inputs[..*at].contains(input);
        return inputs.iter().enumerate().find(repeats).map(|(_, input)| input);
    }
    let mut seen = HashSet::with_capacity(inputs.len());
    inputs.iter().find(|input| !seen.insert(**input))
}

fn check_outputs(outputs: &[Output], max_supply: Amount) -> Result<Amount, TransactionError> {
    if outputs.is_empty() {
        return Err(TransactionError::NoOutputs);
    }
    let mut sum = Amount::ZERO;
    let mut data_outputs = 0;
    for (index, output) in outputs.iter().enumerate() {
        match &output.to {
            Destination::Address(_) if output.amount == Amount::ZERO => {
                return Err(TransactionError::ZeroOutput(index));
            }
            Destination::Data(_) if output.amount != Amount::ZERO => {
                return Err(TransactionError::DataWithAmount(index));
            }
            Destination::Data(data) if data.len() > MAX_DATA_BYTES => {
                return Err(TransactionError::LongData(index));
            }
            Destination::Data(_) => data_outputs += 1,
            Destination::Address(_) => {}
        }
        sum = add_within(sum, output.amount, max_supply).map_err(TransactionError::AboveSupply)?;
    }
    if data_outputs > 1 { Err(TransactionError::ManyDataOutputs) } else { Ok(sum) }
}

/// The running sum, which must never pass the supply (threat C01); else the amount that broke it.
fn add_within(sum: Amount, amount: Amount, max_supply: Amount) -> Result<Amount, Amount> {
    sum.checked_add(amount).filter(|sum| *sum <= max_supply).ok_or(amount)
}

/// A block that breaks no isolated rule, with the ids of its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBlock {
    block_header: Header,
    coinbase: Coinbase,
    transactions: Vec<Arc<CheckedTransaction>>,
    hash: BlockHash,
    coinbase_txid: TxId,
    coinbase_claim: Amount,
    encoded: Vec<u8>,
    bytes: u32,
    /// Transactions whose outputs later ones of this block spend; mostly none.
    inner_parents: HashSet<TxId>,
}

/// Where a transaction lies in its block's encoding, and what its bytes hash to.
struct Leaf {
    bytes: Range<usize>,
    unsigned: usize,
    hash: [u8; 32],
}

impl CheckedBlock {
    /// Holds a block against the isolated rules: first whether this is the body that the header commits to
    /// (M1 to M3), since only of that body can a fault be held against the header; then all others.
    ///
    /// # Errors
    /// [`SubmitError::WrongBody`] or [`SubmitError::Invalid`].
    pub fn check(block: Block, chain: &Chain) -> Result<Self, SubmitError> {
        Self::check_knowing(block, chain, &VerdictCache::default())
    }

    /// As [`Self::check`], but transactions that `verdicts` knows are not checked again: their witness ids,
    /// which are hashed anew from this block's bytes, say that they are the same.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_knowing(block: Block, chain: &Chain, verdicts: &VerdictCache) -> Result<Self, SubmitError> {
        let Block { header, coinbase, transactions } = block;
        let (encoded, coinbase_bytes, leaves) = encode_block(&header, &coinbase, &transactions);
        let hashes: Vec<[u8; 32]> = std::iter::once(sha256d(&encoded[coinbase_bytes.clone()]))
            .chain(leaves.iter().map(|leaf| leaf.hash))
            .collect();
        let (found, mutated) = root_and_mutation(&hashes);
        if found != header.merkle_root {
            return Err(BodyError::WrongRoot { found, committed: header.merkle_root }.into());
        }
        if mutated {
            return Err(BodyError::Mutated.into());
        }
        if let Some(index) = leaves.iter().position(|leaf| leaf.bytes.len() == FORBIDDEN_LEAF_BYTES) {
            return Err(BodyError::SixtyFourBytes(index).into());
        }
        let limit = chain.params().max_block_bytes;
        let bytes = u32::try_from(encoded.len()).ok().filter(|bytes| *bytes <= limit);
        let bytes = bytes.ok_or(BlockError::TooLarge { bytes: encoded.len(), limit })?;
        let coinbase_claim = check_coinbase(&coinbase.outputs, chain.max_supply())?;
        let transactions = check_transactions(&transactions, &leaves, &encoded, chain, verdicts)?;
        Ok(Self {
            hash: header.hash(),
            block_header: header,
            coinbase,
            inner_parents: inner_parents(&transactions),
            transactions,
            coinbase_txid: TxId::from_bytes(hashes[0]),
            coinbase_claim,
            encoded,
            bytes,
        })
    }

    /// The header's hash.
    #[must_use]
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.block_header
    }

    /// The coinbase.
    #[must_use]
    pub const fn coinbase(&self) -> &Coinbase {
        &self.coinbase
    }

    /// The coinbase's id.
    #[must_use]
    pub const fn coinbase_txid(&self) -> TxId {
        self.coinbase_txid
    }

    /// What the coinbase claims.
    #[must_use]
    pub const fn coinbase_claim(&self) -> Amount {
        self.coinbase_claim
    }

    /// All transactions but the coinbase.
    #[must_use]
    pub fn transactions(&self) -> &[Arc<CheckedTransaction>] {
        &self.transactions
    }

    /// The consensus encoding of the whole block.
    #[must_use]
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Whether a later transaction of this block spends an output of this one.
    pub(crate) fn is_inner_parent(&self, txid: &TxId) -> bool {
        !self.inner_parents.is_empty() && self.inner_parents.contains(txid)
    }

    /// The size of the block in bytes (rule B1).
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.bytes
    }

    /// The block as it came; its transactions are shared, not copied.
    #[must_use]
    pub fn to_block(&self) -> Block {
        Block {
            header: self.block_header,
            coinbase: self.coinbase.clone(),
            transactions: self.transactions.iter().map(|checked| Arc::clone(&checked.transaction)).collect(),
        }
    }
}

fn check_coinbase(outputs: &[Output], max_supply: Amount) -> Result<Amount, BlockError> {
    let mut sum = Amount::ZERO;
    for (index, output) in outputs.iter().enumerate() {
        if output.address().is_none() {
            return Err(BlockError::CoinbaseData(index));
        }
        if output.amount == Amount::ZERO {
            return Err(BlockError::CoinbaseZero(index));
        }
        sum = add_within(sum, output.amount, max_supply)
            .map_err(|claimed| BlockError::CoinbaseClaim { claimed, allowed: max_supply })?;
    }
    Ok(sum)
}

/// The encoding of a block, where the coinbase lies in it, and all other leaves. Bytes are written once, and
/// hashed on all cores.
fn encode_block(
    header: &Header,
    coinbase: &Coinbase,
    transactions: &[Arc<Transaction>],
) -> (Vec<u8>, Range<usize>, Vec<Leaf>) {
    let coinbase = coinbase.to_bytes();
    let mut encoded = Vec::with_capacity(HEADER_BYTES + coinbase.len() + 4 + transactions.len() * 256);
    encoded.extend(header.to_bytes());
    encoded.extend(&coinbase);
    let coinbase = HEADER_BYTES..encoded.len();
    write_count(transactions.len(), &mut encoded).expect("a decoded or made block has fewer than 2^32");
    let mut leaves = Vec::with_capacity(transactions.len());
    for transaction in transactions {
        let start = encoded.len();
        let unsigned = transaction.encode_into(&mut encoded);
        leaves.push(Leaf { bytes: start..encoded.len(), unsigned, hash: [0; 32] });
    }
    leaves
        .par_iter_mut()
        .with_min_len(LEAST_SHARE)
        .for_each(|leaf| leaf.hash = sha256d(&encoded[leaf.bytes.clone()]));
    (encoded, coinbase, leaves)
}

fn check_transactions(
    transactions: &[Arc<Transaction>],
    leaves: &[Leaf],
    encoded: &[u8],
    chain: &Chain,
    verdicts: &VerdictCache,
) -> Result<Vec<Arc<CheckedTransaction>>, BlockError> {
    let check = |(transaction, leaf): (&Arc<Transaction>, &Leaf)| {
        let witness_txid = WitnessTxId::from_bytes(leaf.hash);
        if let Some(known) = verdicts.find(&witness_txid) {
            return Ok(Arc::clone(known.checked()));
        }
        let bytes = &encoded[leaf.bytes.clone()];
        let transaction = Arc::clone(transaction);
        CheckedTransaction::check_encoded(transaction, bytes, leaf.unsigned, witness_txid, chain)
            .map(Arc::new)
    };
    let pairs = transactions.par_iter().zip(leaves).with_min_len(LEAST_SHARE);
    let outcomes: Vec<Result<Arc<CheckedTransaction>, TransactionError>> = pairs.map(check).collect();
    let mut checked = Vec::with_capacity(outcomes.len());
    let limit = chain.params().max_block_signatures;
    let mut signatures: usize = 0;
    // On whatever core a fault was seen first, the one of the lowest transaction is named.
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let transaction = outcome.map_err(|error| BlockError::Transaction { index, error })?;
        signatures += transaction.demands.iter().map(|demands| demands.signatures.len()).sum::<usize>();
        checked.push(transaction);
    }
    if usize::try_from(limit).is_ok_and(|limit| signatures > limit) {
        return Err(BlockError::ManySignatures { signatures, limit });
    }
    Ok(checked)
}

/// The transactions whose outputs others of the same block spend.
fn inner_parents(transactions: &[Arc<CheckedTransaction>]) -> HashSet<TxId> {
    let own: HashSet<TxId> = transactions.iter().map(|checked| checked.txid).collect();
    let inputs = transactions.iter().flat_map(|checked| &checked.transaction.inputs);
    inputs.map(|input| input.txid).filter(|txid| own.contains(txid)).collect()
}
