//! `cairn chain`: chains of one's own, and the chain of a data folder.

mod new;
mod stored;

use crate::cli::{ChainArgs, ChainCommand};

/// Does what was asked.
///
/// # Errors
/// What to print to stderr.
pub fn run(args: &ChainArgs) -> anyhow::Result<()> {
    match &args.command {
        ChainCommand::New(args) => new::run(args),
        ChainCommand::Export(args) => stored::export(args),
        ChainCommand::Import(args) => stored::import(args),
        ChainCommand::Verify(args) => stored::verify(args),
    }
}
