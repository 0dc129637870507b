//! The JSON of every answer, with Bitcoin Core's field names wherever the thing exists there.
//!
//! All of it can be written (by the server) and read (by the client). Times are integers in Unix seconds,
//! amounts are [`Coins`], hashes are in display order. A member that does not apply is left out. Where this
//! ledger has no scripts, `scriptPubKey` says what an output pays: an address, or data.

mod address;
mod amount;
mod block_stats;
mod blockchain;
mod lab;
mod mempool;
mod mining;
mod network;
mod transaction;

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use address::*;
pub use amount::*;
pub use block_stats::*;
pub use blockchain::*;
pub use lab::*;
pub use mempool::*;
pub use mining::*;
pub use network::*;
pub use transaction::*;

/// An answer that has one of two shapes, as a parameter of the call decides (`verbose`, `verbosity`).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum OneOf<A, B> {
    /// The short shape, mostly a string.
    Short(A),
    /// The long shape, mostly an object.
    Long(B),
}

impl<'de, A: DeserializeOwned, B: DeserializeOwned> Deserialize<'de> for OneOf<A, B> {
    // Not derived: serde's own buffer for untagged enums loses numbers of arbitrary precision.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match A::deserialize(&value) {
            Ok(short) => Ok(Self::Short(short)),
            Err(_) => B::deserialize(value).map(Self::Long).map_err(serde::de::Error::custom),
        }
    }
}
