//! Reading a chain from a file into a ledger, which holds every block against all rules.

use std::path::Path;

use chain::{
    block::Block,
    genesis::Chain,
    hash::BlockHash,
    height::Height,
    ledger::{BlockId, Ledger},
    store::{Store, StoreError},
    time::Time,
};
use thiserror::Error;

use super::{
    MAX_RUN_BLOCKS, MAX_RUN_BYTES, Progress, Report, Step,
    archive::{ArchiveError, ArchiveReader, Place},
    submit_run,
};

/// Why a ledger did not take a block.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The block is not valid.
    #[error("block {height} ({hash}) is refused: {why}")]
    Invalid {
        /// Its height, as it says.
        height: Height,
        /// Its hash.
        hash: BlockHash,
        /// The rule that it breaks.
        why: String,
    },
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StoreError),
}

/// Why a file could not be imported to its end. What came before the fault is kept.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The file is damaged or of another chain.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A block was not taken.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What an import has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Blocks that were new.
    pub added: u64,
    /// Blocks that were here already.
    pub known: u64,
    /// The tip now, of whatever chain has the most work.
    pub tip: BlockId,
}

/// Opens the file and holds its beginning against the chain, so that nothing is made for a file of no use.
///
/// # Errors
/// [`ArchiveError`].
pub fn open(path: &Path, chain: &Chain) -> Result<ArchiveReader, ArchiveError> {
    ArchiveReader::open(path, chain)
}

/// Gives all blocks of a file that are not here yet to the ledger. Blocks that an earlier import brought are
/// passed over. What is valid before a fault is kept.
///
/// # Errors
/// [`ImportError`] names the place of the fault.
pub fn import<S: Store>(
    ledger: &mut Ledger<S>,
    mut file: ArchiveReader,
    now: Time,
    report: &mut Report<'_>,
) -> Result<Imported, ImportError> {
    report(Progress::Total(u64::from(file.blocks())));
    let mut run = Run { ledger, now, blocks: Vec::new(), bytes: 0, added: 0, report };
    let mut known = 0;
    loop {
        let read = match file.next_block() {
            Ok(read) => read,
            // What came before the fault was whole.
            Err(error) => {
                run.submit()?;
                return Err(error.into());
            }
        };
        let Some(archived) = read else { break };
        if archived.hash().is_some_and(|hash| run.has(&hash)) {
            known += 1;
            (run.report)(Progress::Skipped(1));
            continue;
        }
        match Block::from_bytes(archived.bytes()) {
            Ok(block) => run.add(block, archived.bytes().len())?,
            Err(error) => {
                run.submit()?;
                let place = Place::Block { height: archived.height, offset: archived.offset };
                return Err(file.damaged(place, error.to_string()).into());
            }
        }
    }
    run.submit()?;
    let added = run.added;
    ledger.flush().map_err(Refusal::from)?;
    Ok(Imported { added, known, tip: ledger.tip().id })
}

/// Blocks that are given to the ledger together.
struct Run<'a, 'b, S> {
    ledger: &'a mut Ledger<S>,
    now: Time,
    blocks: Vec<Block>,
    bytes: usize,
    added: u64,
    report: &'a mut Report<'b>,
}

impl<S: Store> Run<'_, '_, S> {
    fn has(&self, hash: &BlockHash) -> bool {
        let tree = self.ledger.tree();
        tree.find(hash).is_some_and(|node| tree.node(node).has_body() && !tree.node(node).is_invalid())
    }

    fn add(&mut self, block: Block, bytes: usize) -> Result<(), Refusal> {
        self.blocks.push(block);
        self.bytes += bytes;
        let full = self.blocks.len() >= MAX_RUN_BLOCKS || self.bytes >= MAX_RUN_BYTES;
        if full { self.submit() } else { Ok(()) }
    }

    fn submit(&mut self) -> Result<(), Refusal> {
        let blocks = std::mem::take(&mut self.blocks);
        self.bytes = 0;
        let step = Step::of(&blocks);
        submit_run(self.ledger, blocks, self.now)?;
        self.added += step.blocks;
        (self.report)(Progress::Done(step));
        Ok(())
    }
}
