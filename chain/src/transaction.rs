//! Transactions: coins spent, outputs made, and the one transaction a block that makes new money.
//!
//! Data only: whether a transaction may be is judged in [`crate::check`].

use std::{
    fmt,
    io::{self, Read, Write},
    str::FromStr,
};

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserializer, Serializer};
use thiserror::Error;

use crate::{
    address::Address,
    amount::Amount,
    encode::{
        self, DecodeError, MAX_INPUTS, MAX_OUTPUTS, invalid, read_count, read_list, step_over, write_list,
    },
    hash::{TxId, WitnessTxId, sha256d},
    height::Height,
    policy::Witness,
};

/// First word of a coinbase (rule T1).
const COINBASE_KIND: u32 = 0;
/// First word of a transaction (rule T1).
const TRANSACTION_KIND: u32 = 1;
/// The most bytes that a data output carries (rule T10).
pub const MAX_DATA_BYTES: usize = 80;
/// Bytes of a coinbase's free run, which miners fill as they like (rule K2).
pub const FREE_RUN_BYTES: usize = 96;

/// One output of one transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct OutPoint {
    /// The transaction, or coinbase, that made the output.
    pub txid: TxId,
    /// The output's index in it, from 0.
    pub index: u32,
}

impl fmt::Display for OutPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.txid, self.index)
    }
}

impl fmt::Debug for OutPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutPoint({self})")
    }
}

/// Why a text is not an outpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("an outpoint is a transaction id, a colon and the index of an output, such as 4a5e...a33b:0")]
pub struct ParseOutPointError;

impl FromStr for OutPoint {
    type Err = ParseOutPointError;

    fn from_str(text: &str) -> Result<Self, ParseOutPointError> {
        let (txid, index) = text.split_once(':').ok_or(ParseOutPointError)?;
        let plain = index.bytes().all(|byte| byte.is_ascii_digit());
        let index = index.parse().ok().filter(|_| plain).ok_or(ParseOutPointError)?;
        Ok(Self { txid: txid.parse().map_err(|_| ParseOutPointError)?, index })
    }
}

impl serde::Serialize for OutPoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for OutPoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Where an output's money goes, or what it says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Tag 0: whoever satisfies the policy with this hash can spend it.
    Address(Address),
    /// Tag 1: up to 80 bytes that are proved to have existed; no money, never spendable.
    Data(Vec<u8>),
}

/// An output: an amount and where it goes (rule T1: u64 amount, u8 tag, then the address or the data).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// How much; zero for data (rule T8).
    pub amount: Amount,
    /// Where to.
    pub to: Destination,
}

impl Output {
    /// A payment of `amount` to `address`.
    #[must_use]
    pub const fn pay(address: Address, amount: Amount) -> Self {
        Self { amount, to: Destination::Address(address) }
    }

    /// The address, unless the output carries data.
    #[must_use]
    pub const fn address(&self) -> Option<&Address> {
        match &self.to {
            Destination::Address(address) => Some(address),
            Destination::Data(_) => None,
        }
    }
}

impl BorshSerialize for Output {
    fn serialize<W: Write>(&self, writer: &mut W) -> io::Result<()> {
        match &self.to {
            Destination::Address(address) => (self.amount, 0u8, address).serialize(writer),
            Destination::Data(data) => (self.amount, 1u8, data).serialize(writer),
        }
    }
}

impl BorshDeserialize for Output {
    fn deserialize_reader<R: Read>(reader: &mut R) -> io::Result<Self> {
        let amount = Amount::deserialize_reader(reader)?;
        let to = match u8::deserialize_reader(reader)? {
            0 => Destination::Address(Address::deserialize_reader(reader)?),
            1 => {
                let length = usize::try_from(u32::deserialize_reader(reader)?);
                let length = length.ok().filter(|length| *length <= MAX_DATA_BYTES);
                let length = length.ok_or_else(|| invalid("a data output exceeds 80 bytes (rule T10)"))?;
                let mut data = vec![0; length];
                reader.read_exact(&mut data)?;
                Destination::Data(data)
            }
            _ => return Err(invalid("an output has an unknown tag (rule T1)")),
        };
        Ok(Self { amount, to })
    }
}

/// A transaction: `u32 1, inputs, outputs, witnesses`, one witness an input (rule T1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The coins that are spent.
    pub inputs: Vec<OutPoint>,
    /// The outputs that are made.
    pub outputs: Vec<Output>,
    /// What satisfies each input's policy, in the order of the inputs.
    pub witnesses: Vec<Witness>,
}

impl Transaction {
    /// Everything but the witnesses: what [`TxId`] names and signatures commit to (rule T2).
    #[must_use]
    pub fn id_preimage(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.inputs.len() * 36 + self.outputs.len() * 41);
        self.write_unsigned(&mut bytes).expect("writing into a vector does not fail");
        bytes
    }

    /// Appends the consensus encoding to `bytes`; returns the length of [`Self::id_preimage`], with which it
    /// begins.
    pub(crate) fn encode_into(&self, bytes: &mut Vec<u8>) -> usize {
        let start = bytes.len();
        self.write_unsigned(bytes).expect("writing into a vector does not fail");
        let unsigned = bytes.len() - start;
        write_list(&self.witnesses, bytes).expect("writing into a vector does not fail");
        unsigned
    }

    pub(crate) fn write_unsigned<W: Write>(&self, writer: &mut W) -> io::Result<()> {
        TRANSACTION_KIND.serialize(writer)?;
        write_list(&self.inputs, writer)?;
        write_list(&self.outputs, writer)
    }

    /// The id, which nobody but the signers can change: SHA-256d of [`Self::id_preimage`] (rule T2).
    #[must_use]
    pub fn txid(&self) -> TxId {
        TxId::from_bytes(sha256d(&self.id_preimage()))
    }

    /// SHA-256d of the whole transaction: its leaf in the Merkle tree (rule M1).
    #[must_use]
    pub fn witness_txid(&self) -> WitnessTxId {
        WitnessTxId::from_bytes(sha256d(&self.to_bytes()))
    }

    /// The consensus encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode::to_bytes(self)
    }

    /// What it occupies in memory, in bytes, closely enough to hold a limit against.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let data = |output: &Output| match &output.to {
            Destination::Address(_) => 0,
            Destination::Data(data) => data.len(),
        };
        size_of::<Self>()
            + size_of_val(self.inputs.as_slice())
            + size_of_val(self.outputs.as_slice())
            + size_of_val(self.witnesses.as_slice())
            + self.outputs.iter().map(data).sum::<usize>()
            + self.witnesses.iter().map(Witness::heap_bytes).sum::<usize>()
    }

    /// Reads a transaction from all of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] where they are anything but one transaction (rules E1, E2, T1).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        encode::from_bytes(bytes)
    }
}

impl BorshSerialize for Transaction {
    fn serialize<W: Write>(&self, writer: &mut W) -> io::Result<()> {
        self.write_unsigned(writer)?;
        write_list(&self.witnesses, writer)
    }
}

impl BorshDeserialize for Transaction {
    fn deserialize_reader<R: Read>(reader: &mut R) -> io::Result<Self> {
        if u32::deserialize_reader(reader)? != TRANSACTION_KIND {
            return Err(invalid("a transaction begins with the word 1 (rule T1)"));
        }
        Ok(Self {
            inputs: read_list(reader, MAX_INPUTS)?,
            outputs: read_list(reader, MAX_OUTPUTS)?,
            witnesses: read_list(reader, MAX_INPUTS)?,
        })
    }
}

/// Bytes of an encoded [`OutPoint`].
const OUTPOINT_BYTES: usize = 32 + 4;

/// Steps over an encoded transaction, as strictly as decoding it would, and says how many bytes come before
/// its witnesses.
pub(crate) fn step_over_transaction(bytes: &mut &[u8]) -> io::Result<usize> {
    let before = bytes.len();
    if u32::deserialize_reader(bytes)? != TRANSACTION_KIND {
        return Err(invalid("a transaction begins with the word 1 (rule T1)"));
    }
    // At most 4 million bytes: the product fits.
    let inputs = read_count(bytes, MAX_INPUTS)?;
    step_over(bytes, inputs * OUTPOINT_BYTES)?;
    for _ in 0..read_count(bytes, MAX_OUTPUTS)? {
        step_over(bytes, size_of::<u64>())?;
        match u8::deserialize_reader(bytes)? {
            0 => step_over(bytes, size_of::<Address>())?,
            1 => {
                let length = usize::try_from(u32::deserialize_reader(bytes)?);
                let length = length.ok().filter(|length| *length <= MAX_DATA_BYTES);
                step_over(
                    bytes,
                    length.ok_or_else(|| invalid("a data output exceeds 80 bytes (rule T10)"))?,
                )?;
            }
            _ => return Err(invalid("an output has an unknown tag (rule T1)")),
        }
    }
    let unsigned = before - bytes.len();
    for _ in 0..read_count(bytes, MAX_INPUTS)? {
        Witness::step_over(bytes)?;
    }
    Ok(unsigned)
}

/// A coinbase: `u32 0, u32 height, 96 free bytes, outputs` (rule T1): the transaction that makes new money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coinbase {
    /// The block's height, which makes every coinbase unlike all others (rule K1, BIP-34).
    pub height: Height,
    /// Bytes that the miner chooses; the extranonce opens them (rule K2).
    pub free: [u8; FREE_RUN_BYTES],
    /// Who gets the subsidy and the fees: addresses only, or nobody (rule K3).
    pub outputs: Vec<Output>,
}

impl Coinbase {
    /// The id, which is its leaf in the Merkle tree: SHA-256d of the encoding (rule T2).
    #[must_use]
    pub fn txid(&self) -> TxId {
        TxId::from_bytes(sha256d(&self.to_bytes()))
    }

    /// The consensus encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode::to_bytes(self)
    }

    /// Reads a coinbase from all of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] where they are anything but one coinbase (rules E1, E2, T1).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        encode::from_bytes(bytes)
    }
}

impl BorshSerialize for Coinbase {
    fn serialize<W: Write>(&self, writer: &mut W) -> io::Result<()> {
        COINBASE_KIND.serialize(writer)?;
        self.height.serialize(writer)?;
        writer.write_all(&self.free)?;
        write_list(&self.outputs, writer)
    }
}

impl BorshDeserialize for Coinbase {
    fn deserialize_reader<R: Read>(reader: &mut R) -> io::Result<Self> {
        if u32::deserialize_reader(reader)? != COINBASE_KIND {
            return Err(invalid("a coinbase begins with the word 0 (rule T1)"));
        }
        Ok(Self {
            height: Height::deserialize_reader(reader)?,
            free: <[u8; FREE_RUN_BYTES]>::deserialize_reader(reader)?,
            outputs: read_list(reader, MAX_OUTPUTS)?,
        })
    }
}
