//! Writing the active chain of a ledger into a file.

use std::path::Path;

use chain::{
    height::Height,
    ledger::{BlockId, Ledger},
    store::{Store, StoreError},
};
use thiserror::Error;

use super::{
    Progress, Report, Step,
    archive::{ArchiveError, ArchiveWriter},
};

/// Why a chain cannot be exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The file cannot be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The chain cannot be read.
    #[error(transparent)]
    Storage(#[from] StoreError),
}

/// Writes the active chain into the file `out`, which must not exist; its tip.
///
/// # Errors
/// [`ExportError`]; then there is no file.
pub fn export<S: Store>(
    ledger: &Ledger<S>,
    out: &Path,
    report: &mut Report<'_>,
) -> Result<BlockId, ExportError> {
    let tip = ledger.tip().id;
    report(Progress::Total(u64::from(tip.height.get())));
    let mut writer = ArchiveWriter::create(out, &ledger.chain().id(), tip.height.get())?;
    for height in 1..=tip.height.get() {
        let missing =
            || StoreError::new(format!("the block at height {height} should be stored, but is not"));
        let node = ledger.active(Height::new(height)).ok_or_else(missing)?;
        let block = ledger.block(&ledger.tree().node(node).hash())?.ok_or_else(missing)?;
        writer.add(&block)?;
        report(Progress::Done(Step::of([&block])));
    }
    writer.finish()?;
    Ok(tip)
}
