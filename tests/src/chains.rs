//! Chains made for one story each.

use std::path::{Path, PathBuf};

use chain::{genesis::Chain, params::Params, pow::CompactTarget};
use node::chain_file::ChainSpec;

/// A target that every second hash meets: blocks on demand cost nothing.
pub const EASIEST_BITS: CompactTarget = CompactTarget::from_u32(0x207f_ffff);
/// A target that one hash of 256 meets: a throttled miner works seconds for a block.
pub const THROTTLED_BITS: CompactTarget = CompactTarget::from_u32(0x2000_ffff);

/// A chain for tests, and the file that a node takes.
#[derive(Debug, Clone)]
pub struct LabChain {
    /// The chain.
    pub chain: Chain,
    /// Its file.
    pub file: PathBuf,
}

/// A chain for development whose target never changes and whose coins mature after one block, with `change`
/// on top, written into `folder`.
///
/// # Panics
/// Where the parameters make no chain or the file cannot be written.
#[must_use]
pub fn lab_chain(folder: &Path, name: &str, change: impl FnOnce(&mut Params)) -> LabChain {
    let mut params = Params {
        name: name.into(),
        initial_bits: EASIEST_BITS,
        limit_bits: EASIEST_BITS,
        half_life_secs: 0,
        maturity_blocks: 1,
        ..Params::dev()
    };
    change(&mut params);
    let chain = Chain::mine(params).expect("the parameters of the tests make a chain");
    let file = folder.join(format!("{name}.toml"));
    ChainSpec { chain: chain.clone(), lab: true }.write(&file).expect("the chain file is written");
    LabChain { chain, file }
}
