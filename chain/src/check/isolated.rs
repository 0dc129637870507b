//! Isolated rules: what can be said of a block or a transaction that lies alone on the table.

use std::collections::HashSet;

use crate::{
    amount::Amount,
    block::{Block, HEADER_BYTES},
    error::{BlockError, BodyError, SubmitError, TransactionError},
    genesis::Chain,
    hash::{BlockHash, TxId, WitnessTxId, sha256d},
    merkle::{FORBIDDEN_LEAF_BYTES, root_and_mutation},
    policy::Demands,
    transaction::{Destination, MAX_DATA_BYTES, Output, Transaction},
};

/// A transaction that breaks no isolated rule, with what was learned on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedTransaction {
    transaction: Transaction,
    txid: TxId,
    witness_txid: WitnessTxId,
    id_preimage: Vec<u8>,
    bytes: u32,
    signatures: u32,
    output_sum: Amount,
    demands: Vec<Demands>,
}

impl CheckedTransaction {
    /// Holds a transaction against the isolated rules T3 to T12, M3 and P1 to P6.
    ///
    /// # Errors
    /// [`TransactionError`] with the first rule that is broken.
    pub fn check(transaction: Transaction, chain: &Chain) -> Result<Self, TransactionError> {
        let encoded = transaction.to_bytes();
        let limit = chain.params().max_block_bytes;
        let bytes = u32::try_from(encoded.len()).ok().filter(|bytes| *bytes <= limit);
        let bytes = bytes.ok_or(TransactionError::TooLarge { bytes: encoded.len(), limit })?;
        if encoded.len() == FORBIDDEN_LEAF_BYTES {
            return Err(TransactionError::SixtyFourBytes);
        }
        check_inputs(&transaction)?;
        let output_sum = check_outputs(&transaction.outputs, chain.max_supply())?;
        let mut demands = Vec::with_capacity(transaction.witnesses.len());
        let mut signatures = 0;
        for (input, witness) in transaction.witnesses.iter().enumerate() {
            let asked = witness.demands().map_err(|error| TransactionError::Policy { input, error })?;
            // At most 16 an input (rule P4), and fewer inputs than a block has bytes.
            signatures += u32::try_from(asked.signatures.len()).unwrap_or(u32::MAX);
            demands.push(asked);
        }
        let id_preimage = transaction.id_preimage();
        Ok(Self {
            txid: TxId::from_bytes(sha256d(&id_preimage)),
            witness_txid: WitnessTxId::from_bytes(sha256d(&encoded)),
            id_preimage,
            bytes,
            signatures,
            output_sum,
            demands,
            transaction,
        })
    }

    /// The transaction itself.
    #[must_use]
    pub const fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// The transaction, without what was learned of it.
    #[must_use]
    pub fn into_inner(self) -> Transaction {
        self.transaction
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

    /// What its id and its signatures commit to (rule T2).
    #[must_use]
    pub fn id_preimage(&self) -> &[u8] {
        &self.id_preimage
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
}

fn check_inputs(transaction: &Transaction) -> Result<(), TransactionError> {
    let (inputs, witnesses) = (transaction.inputs.len(), transaction.witnesses.len());
    if inputs == 0 {
        return Err(TransactionError::NoInputs);
    }
    let mut seen = HashSet::with_capacity(inputs);
    if let Some(twice) = transaction.inputs.iter().find(|input| !seen.insert(**input)) {
        return Err(TransactionError::DuplicateInput(*twice));
    }
    if inputs != witnesses {
        return Err(TransactionError::WitnessCount { inputs, witnesses });
    }
    Ok(())
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
    block_header: crate::block::Header,
    coinbase: crate::transaction::Coinbase,
    transactions: Vec<CheckedTransaction>,
    hash: BlockHash,
    coinbase_txid: TxId,
    coinbase_claim: Amount,
    bytes: u32,
}

impl CheckedBlock {
    /// Holds a block against the isolated rules: first whether this is the body that the header commits to
    /// (M1 to M3), since only of that body can a fault be held against the header; then all others.
    ///
    /// # Errors
    /// [`SubmitError::WrongBody`] or [`SubmitError::Invalid`].
    pub fn check(block: Block, chain: &Chain) -> Result<Self, SubmitError> {
        let Block { header, coinbase, transactions } = block;
        let encoded: Vec<Vec<u8>> = transactions.iter().map(Transaction::to_bytes).collect();
        let coinbase_bytes = coinbase.to_bytes();
        let leaves: Vec<[u8; 32]> = std::iter::once(sha256d(&coinbase_bytes))
            .chain(encoded.iter().map(|bytes| sha256d(bytes)))
            .collect();
        let (found, mutated) = root_and_mutation(&leaves);
        if found != header.merkle_root {
            return Err(BodyError::WrongRoot { found, committed: header.merkle_root }.into());
        }
        if mutated {
            return Err(BodyError::Mutated.into());
        }
        if let Some(index) = encoded.iter().position(|bytes| bytes.len() == FORBIDDEN_LEAF_BYTES) {
            return Err(BodyError::SixtyFourBytes(index).into());
        }
        let size = HEADER_BYTES + coinbase_bytes.len() + 4 + encoded.iter().map(Vec::len).sum::<usize>();
        drop(encoded);
        let limit = chain.params().max_block_bytes;
        let bytes = u32::try_from(size).ok().filter(|bytes| *bytes <= limit);
        let bytes = bytes.ok_or(BlockError::TooLarge { bytes: size, limit })?;
        let coinbase_claim = check_coinbase(&coinbase.outputs, chain.max_supply())?;
        let transactions = check_transactions(transactions, chain)?;
        let coinbase_txid = TxId::from_bytes(leaves[0]);
        Ok(Self {
            hash: header.hash(),
            block_header: header,
            coinbase,
            transactions,
            coinbase_txid,
            coinbase_claim,
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
    pub const fn header(&self) -> &crate::block::Header {
        &self.block_header
    }

    /// The coinbase.
    #[must_use]
    pub const fn coinbase(&self) -> &crate::transaction::Coinbase {
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
    pub fn transactions(&self) -> &[CheckedTransaction] {
        &self.transactions
    }

    /// The size of the block in bytes (rule B1).
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.bytes
    }

    /// The block as it came.
    #[must_use]
    pub fn to_block(&self) -> Block {
        Block {
            header: self.block_header,
            coinbase: self.coinbase.clone(),
            transactions: self.transactions.iter().map(|checked| checked.transaction.clone()).collect(),
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

fn check_transactions(
    transactions: Vec<Transaction>,
    chain: &Chain,
) -> Result<Vec<CheckedTransaction>, BlockError> {
    let mut checked = Vec::with_capacity(transactions.len());
    let limit = chain.params().max_block_signatures;
    let mut signatures: usize = 0;
    for (index, transaction) in transactions.into_iter().enumerate() {
        let transaction = CheckedTransaction::check(transaction, chain)
            .map_err(|error| BlockError::Transaction { index, error })?;
        signatures += transaction.demands.iter().map(|demands| demands.signatures.len()).sum::<usize>();
        checked.push(transaction);
    }
    if usize::try_from(limit).is_ok_and(|limit| signatures > limit) {
        return Err(BlockError::ManySignatures { signatures, limit });
    }
    Ok(checked)
}
