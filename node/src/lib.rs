//! A full node: the engine, and everything that connects it to disk, network, miner and people.
//!
//! The one crate that puts parts together. See `docs/architecture.md` for the rooms and who may import whom.

pub mod chain_file;
pub mod cli;
pub mod commands;
pub mod config;
pub mod devnet;
pub mod engine;
pub mod live;
pub mod metrics;
pub mod p2p;
pub mod shutdown;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod transfer;
