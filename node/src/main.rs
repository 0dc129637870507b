//! The program `cairn`. See `cairn --help`.

use std::process::ExitCode;

use clap::Parser;
use node::{cli::Cli, commands, shutdown};

fn main() -> ExitCode {
    shutdown::abort_on_panic();
    commands::exit_code(commands::run(Cli::parse().command))
}
