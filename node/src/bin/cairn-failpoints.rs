//! The program `cairn` with fail points at every write: see `node::store::failpoint`. For tests alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    node::commands::main()
}
