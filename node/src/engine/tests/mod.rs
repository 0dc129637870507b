//! The engine, driven by hand: every story is a sequence of events, and runs the same each time.

mod compact;
mod conversation;
mod hand;
mod honest;
mod hostile;
mod mempool;
mod network;
mod own;
mod presync;
mod stalls;
mod transactions;
