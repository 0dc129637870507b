//! The program `cairn` with fail points (`node/src/store/failpoint.rs`): for `make crash` and the tests alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    node::commands::main()
}
