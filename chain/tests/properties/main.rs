//! Properties that hold for whatever comes: encodings are read back, disconnecting undoes connecting, and the
//! ledger equals a naive replay.

#[path = "../build/mod.rs"]
mod build;

mod decoding;
mod ledger;
