//! A chain leaves a data folder as one file, enters another one, and is held against its own blocks.
//!
//! [`archive`] is the file, [`export`] and [`import`] write and read it, and [`audit`] replays a stored chain
//! from genesis and compares. All of them work on a store that nobody else uses: whoever calls holds the data
//! folder's lock. They judge no block themselves, the ledger does, and they print nothing: how far they are
//! goes to a callback.

pub mod archive;
pub mod audit;
pub mod export;
pub mod import;
#[cfg(test)]
mod tests;

use chain::{block::Block, height::Height, ledger::Ledger, store::Store, time::Time};

use self::import::Refusal;

/// The most blocks that are given to the ledger at once.
pub const MAX_RUN_BLOCKS: usize = 256;
/// The bytes of blocks after which a run is given to the ledger: it is in memory as a whole.
pub const MAX_RUN_BYTES: usize = 8 << 20;

/// What was done since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Blocks.
    pub blocks: u64,
    /// Transactions in them, without coinbases.
    pub payments: u64,
}

impl Step {
    fn of<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> Self {
        blocks.into_iter().fold(Self::default(), |step, block| Self {
            blocks: step.blocks + 1,
            payments: step.payments + block.transactions.len() as u64,
        })
    }
}

/// What a piece of work tells of its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is so much to do, in blocks.
    Total(u64),
    /// These blocks need not be done again.
    Skipped(u64),
    /// This was done.
    Done(Step),
}

/// Where progress is told.
pub type Report<'a> = dyn FnMut(Progress) + 'a;

/// Gives consecutive blocks to a ledger. Those before one that is refused are kept.
fn submit_run<S: Store>(ledger: &mut Ledger<S>, blocks: Vec<Block>, now: Time) -> Result<(), Refusal> {
    let heights: Vec<Height> = blocks.iter().map(|block| block.coinbase.height).collect();
    let submitted = ledger.submit_many(blocks, now)?;
    for (height, (hash, outcome)) in heights.into_iter().zip(submitted.outcomes) {
        let refused = |why: String| Err(Refusal::Invalid { height, hash, why });
        match outcome {
            // A block that was kept may have been found invalid when it was to be connected.
            Ok(()) => {
                if let Some(error) = submitted.update.refusal(&hash) {
                    return refused(error.to_string());
                }
            }
            Err(error) => return refused(error.to_string()),
        }
    }
    Ok(())
}
