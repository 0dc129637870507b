//! Isolated rules of transactions: what can be said of one that lies alone on the table.

use std::{collections::HashSet, sync::Arc};

use crate::{
    address::Address,
    amount::Amount,
    error::TransactionError,
    genesis::Chain,
    hash::{TxId, WitnessTxId, sha256d},
    merkle::FORBIDDEN_LEAF_BYTES,
    plant::Plant,
    policy::{Demands, PublicKey},
    transaction::{Destination, MAX_DATA_BYTES, OutPoint, Output, Transaction},
};

/// The encodings of most transactions are no longer than this.
const EVERYDAY_BYTES: usize = 512;

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
        let mut encoded = Vec::with_capacity(EVERYDAY_BYTES);
        let unsigned = transaction.encode_into(&mut encoded);
        let witness_txid = WitnessTxId::from_bytes(sha256d(&encoded));
        Self::check_encoded(transaction, &encoded, unsigned, witness_txid, chain)
    }

    /// As [`Self::check`], for whoever has the encoding already: its first `unsigned` bytes make the id, all
    /// of them `witness_txid`.
    pub(super) fn check_encoded(
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
pub(super) fn add_within(sum: Amount, amount: Amount, max_supply: Amount) -> Result<Amount, Amount> {
    sum.checked_add(amount).filter(|sum| *sum <= max_supply).ok_or(amount)
}
