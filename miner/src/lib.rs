//! Finding work: block templates and the search for their proof of work.
//!
//! - [`template`] makes a block with everything but the proof of work, of the packages that
//!   [`selection`](Package) takes in the mempool's order.
//! - [`mining`] is the long-running miner; [`search`] spreads the nonces of one header over all cores,
//!   [`midstate`] tests them, [`roll`] goes on when they are used up, [`throttle`] bounds the hashes a second
//!   and [`meter`] counts them.
//! - [`benchmark`] says what the machine can do, and holds the plain loop that the search is compared with.
//!
//! The miner sees candidates and the chain's types, never the mempool, the network or JSON, and it prints
//! nothing: what happened comes out as values.

pub mod benchmark;
pub mod meter;
pub mod midstate;
pub mod mining;
pub mod roll;
pub mod search;
mod selection;
pub mod template;
pub mod throttle;

pub use mining::{Job, Miner, MinerConfig, MinerError};
pub use selection::{Candidate, Package};
pub use template::{Template, TemplateError, TemplateRequest};
