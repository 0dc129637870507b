//! The program `cairn`. See `cairn --help`.

use std::process::ExitCode;

use clap::Parser;
use node::{cli::Cli, commands, shutdown};

fn main() -> ExitCode {
    shutdown::abort_on_panic();
    let command = Cli::parse().command;
    let form = commands::error_form(&command);
    commands::exit_code(commands::run(command), form)
}
