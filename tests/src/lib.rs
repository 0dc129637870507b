//! Proof from outside: a harness that drives real processes of the one binary, `cairn`, over loopback.
//!
//! Each file in `tests/` is one story. What this crate holds is what the stories share, in reading order:
//! [`binary`] finds the program, [`command`] runs it to its end, [`process`] keeps one running and always ends
//! it, [`wait`] awaits what processes do, [`full_node`] and [`devnet`] are the processes of the stories,
//! [`chains`], [`keys`] and [`mining`] make what they are fed, [`answers`] asks several nodes at once, [`crash`] kills them,
//! and [`attacker`] is a peer that keeps to no rule.
//!
//! It never looks inside a process: what a story proves is what a user or a program could see.

pub mod answers;
pub mod attacker;
pub mod binary;
pub mod chains;
pub mod chance;
pub mod command;
pub mod crash;
pub mod devnet;
pub mod full_node;
pub mod keys;
pub mod lone_node;
pub mod mining;
pub mod namespaces;
pub mod privilege;
pub mod process;
pub mod signing;
pub mod wait;
