//! A chain: its parameters and the genesis block that commits to them (rules G1 to G3).

use std::sync::Arc;

use thiserror::Error;

use crate::{
    amount::Amount,
    block::{Block, Header},
    hash::{BlockHash, MerkleRoot},
    height::Height,
    params::{Params, ParamsError},
    plant::Plant,
    transaction::{Coinbase, FREE_RUN_BYTES},
};

/// The version that templates and genesis blocks carry, as in Bitcoin since BIP-9.
pub const TEMPLATE_VERSION: i32 = 0x2000_0000;

/// Found by `Chain::mine(Params::main())`.
const MAIN_NONCE: u32 = 4_184_766_352;
/// Found by `Chain::mine(Params::test())`.
const TEST_NONCE: u32 = 7_349_941;
/// Found by `Chain::mine(Params::dev())`.
const DEV_NONCE: u32 = 1;

/// Why parameters and a nonce are no chain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GenesisError {
    /// A parameter is out of range.
    #[error("the chain's parameters are not valid: {0}")]
    Params(#[from] ParamsError),
    /// The genesis block's hash is above its own target.
    #[error("the genesis nonce does not solve the genesis block (rule G3): parameters or nonce were changed")]
    NotSolved,
    /// No nonce of 2^32 solves the genesis block.
    #[error("no nonce solves this genesis block: change the message and try again (rule G3)")]
    NoNonce,
}

/// A chain, checked: valid parameters and a solved genesis block. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Chain {
    inner: Arc<Inner>,
    #[cfg(feature = "plants")]
    plant: Option<Plant>,
}

#[derive(Debug)]
struct Inner {
    params: Params,
    max_supply: Amount,
    genesis: Block,
    id: BlockHash,
}

/// The genesis block of these parameters with this nonce (rule G2), solved or not: for whoever
/// searches the nonce.
#[must_use]
pub fn genesis_block(params: &Params, nonce: u32) -> Block {
    let mut free = [0; FREE_RUN_BYTES];
    free[..32].copy_from_slice(&params.commitment());
    let coinbase = Coinbase { height: Height::ZERO, free, outputs: Vec::new() };
    let header = Header {
        version: TEMPLATE_VERSION,
        previous: BlockHash::ZERO,
        // A tree of one leaf has that leaf as its root.
        merkle_root: MerkleRoot::from_bytes(coinbase.txid().to_bytes()),
        time: params.genesis_time,
        bits: params.initial_bits,
        nonce,
    };
    Block { header, coinbase, transactions: Vec::new() }
}

impl Chain {
    /// The chain with these parameters, whose genesis block has this nonce.
    ///
    /// # Errors
    /// [`GenesisError`] where a parameter is out of range or the nonce does not solve the block.
    pub fn new(params: Params, genesis_nonce: u32) -> Result<Self, GenesisError> {
        params.check()?;
        let genesis = genesis_block(&params, genesis_nonce);
        let id = genesis.hash();
        let target = params.initial_bits.to_target().map_err(|_| ParamsError::Bits)?;
        if !target.is_met_by(&id) {
            return Err(GenesisError::NotSolved);
        }
        let max_supply = params.max_supply();
        Ok(Self {
            inner: Arc::new(Inner { params, max_supply, genesis, id }),
            #[cfg(feature = "plants")]
            plant: None,
        })
    }

    /// Searches the nonce of the genesis block: 2^32 hashes at the most.
    ///
    /// # Errors
    /// [`GenesisError`] where a parameter is out of range or no nonce solves the block.
    pub fn mine(params: Params) -> Result<Self, GenesisError> {
        params.check()?;
        let mut header = genesis_block(&params, 0).header;
        let target = params.initial_bits.to_target().map_err(|_| ParamsError::Bits)?;
        let solves = |nonce: &u32| {
            header.nonce = *nonce;
            target.is_met_by(&header.hash())
        };
        let nonce = (0..=u32::MAX).find(solves).ok_or(GenesisError::NoNonce)?;
        Self::new(params, nonce)
    }

    /// The main chain.
    ///
    /// # Panics
    /// Never: a test mines its genesis block again.
    #[must_use]
    pub fn main() -> Self {
        Self::new(Params::main(), MAIN_NONCE).expect("a test holds the built-in chains against the rules")
    }

    /// The public test chain.
    ///
    /// # Panics
    /// Never: a test mines its genesis block again.
    #[must_use]
    pub fn test() -> Self {
        Self::new(Params::test(), TEST_NONCE).expect("a test holds the built-in chains against the rules")
    }

    /// The development chain.
    ///
    /// # Panics
    /// Never: a test mines its genesis block again.
    #[must_use]
    pub fn dev() -> Self {
        Self::new(Params::dev(), DEV_NONCE).expect("a test holds the built-in chains against the rules")
    }

    /// The same chain with one rule wrong.
    #[cfg(feature = "plants")]
    #[must_use]
    pub fn with_plant(self, plant: Plant) -> Self {
        Self { plant: Some(plant), ..self }
    }

    /// Whether a rule is wrong on purpose: never where the feature is not compiled.
    pub(crate) fn has_plant(&self, plant: Plant) -> bool {
        #[cfg(feature = "plants")]
        let planted = self.plant;
        #[cfg(not(feature = "plants"))]
        let planted: Option<Plant> = None;
        planted == Some(plant)
    }

    /// The consensus parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.inner.params
    }

    /// The genesis block, which every node has from the start.
    #[must_use]
    pub fn genesis(&self) -> &Block {
        &self.inner.genesis
    }

    /// The genesis nonce, which a chain file carries.
    #[must_use]
    pub fn genesis_nonce(&self) -> u32 {
        self.inner.genesis.header.nonce
    }

    /// The chain's id: the genesis hash (rule G3). It separates networks, signatures and data folders.
    #[must_use]
    pub fn id(&self) -> BlockHash {
        self.inner.id
    }

    /// All subsidies together: the bound of every amount (rule T11).
    #[must_use]
    pub fn max_supply(&self) -> Amount {
        self.inner.max_supply
    }
}
