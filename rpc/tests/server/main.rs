//! The server, its methods and its client, over a node of plain vectors.
#![allow(clippy::unwrap_used, missing_docs)]

mod chain_methods;
mod client;
mod fake;
mod http;
mod methods;
mod page;
mod spec;
