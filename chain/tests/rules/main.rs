//! One test or more for every numbered rule of `docs/protocol.md`: the last value that is accepted and the
//! first that is refused. Each test's name begins with its rule.

#[path = "../build/mod.rs"]
mod build;

mod bodies;
mod chains;
mod choice;
mod encoding;
mod headers;
mod policies;
mod spending;
mod transactions;
