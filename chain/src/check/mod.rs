//! The three kinds of rules, in the order in which they can be asked.
//!
//! *Isolated* rules need nothing but the block or transaction and run on any thread; *contextual* ones need
//! the headers before it; *spending* ones need the coins. Each kind has a proof type with a private
//! constructor, so that a later stage cannot be reached around an earlier one.

mod arrival;
mod body;
mod contextual;
mod isolated;
mod run;
mod spending;
mod verdict;

pub use arrival::{NewBlock, Piece};
pub use body::CheckedBlock;
pub(crate) use contextual::check_header_on;
pub use contextual::{HeaderContext, check_header, check_work};
pub use isolated::CheckedTransaction;
pub use run::HeaderRun;
pub use spending::{
    ConnectedBlock, SpendContext, SpentBlock, SpentTransaction, VerifiedTransaction, connect_block,
    external_inputs, spend_block, spend_transaction, verify_blocks, verify_signatures, verify_transaction,
};
pub use verdict::{MAX_VERDICT_BYTES, MAX_VERDICTS, VerdictCache};
