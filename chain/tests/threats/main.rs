//! The rows C01 to C29 of the threat list, on the ledger: attacks that broke real chains, tried here. Each
//! test's name begins with its row.

#[path = "../build/mod.rs"]
mod build;

mod assumed;
mod bodies;
mod context;
mod determinism;
mod money;
mod reorganisation;
mod signatures;
mod storage;
mod verdicts;
mod work;
