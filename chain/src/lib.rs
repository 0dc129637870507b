//! What is valid: the ledger's rules, as functions over values.
//!
//! This crate knows no file, socket, clock, random number or log line: `now` is an argument, storage is a
//! trait ([`store::Store`]), and the same input gives the same verdict on every machine. Types carry proof:
//! a [`block::Block`] becomes a [`check::CheckedBlock`] by the rules that need nothing but the block, and a
//! [`check::ConnectedBlock`] by those that need the coins it spends. Every rule has a number, in
//! `docs/protocol.md` and in the error that names it.
//!
//! Reading order: [`transaction`], [`policy`], [`block`], [`check`], [`tree`], [`ledger`].

pub mod address;
pub mod amount;
pub mod block;
pub mod check;
pub mod difficulty;
pub mod encode;
pub mod encoded;
pub mod error;
pub mod genesis;
pub mod hash;
pub mod height;
pub mod keyed;
pub mod ledger;
pub mod memory;
pub mod merkle;
pub mod params;
pub mod plant;
pub mod policy;
pub mod pow;
pub mod signature;
pub mod store;
pub mod subsidy;
pub mod time;
pub mod transaction;
pub mod tree;
pub mod utxo;
pub mod zip215;
