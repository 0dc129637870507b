//! Hostile peers against a real node: each story attacks one node byte by byte, and holds it to its memory, its
//! honest peer, and the chain (`tests::attacker::siege`). The names are those of `docs/threats.md`.

mod addresses;
mod chain_rules;
mod clocks;
mod connections;
mod gates;
mod gossip;
mod messages;
mod multiplexing;
