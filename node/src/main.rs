//! The program `cairn`. See `cairn --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    node::commands::main()
}
