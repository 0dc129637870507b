//! The public face of a node: JSON-RPC over HTTP, with Bitcoin Core's names, parameters, fields and error codes
//! wherever the thing exists there.
//!
//! The crate knows the ledger's types and nothing of how a node works: a node implements [`backend::Backend`],
//! and [`server::serve`] does the rest. One table (`methods/table.rs`) lists every method once; the dispatcher,
//! `help` and the typed [`client::Client`] come from it.
//!
//! A body goes [`server`] (who sent it?) -> [`message`] (which calls?) -> [`dispatch`] -> [`methods`] -> [`backend`],
//! and what comes back is made JSON by [`types`]. Amounts never pass through a float; one answer never mixes two
//! tips; nothing that is sent here makes the node panic.

pub mod auth;
pub mod backend;
pub mod client;
mod commands;
pub mod dispatch;
pub mod error;
pub mod message;
pub mod methods;
pub mod server;
pub mod types;
mod view;
