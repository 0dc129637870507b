//! Catching up: headers first, then bodies through one window over all peers.
//!
//! **What.** [`headers`](self) are asked of whoever claims more work than our tip has. Those of a chain that shows
//! too little work to be worth keeping pass through a presync that keeps almost nothing of them (threat P01).
//! Bodies are asked for along the best chain that each peer is known to have, the lowest first, of the best peer
//! first; they wait undecoded for those below them and are connected in order.
//!
//! **Why so.** One window over all peers bounds what is on its way and what waits, in blocks and in bytes, however
//! many peers there are. What holds everything up is the lowest body that is missing: it is asked of a second
//! peer soon and of a third, and whoever lets it stall again and again is sent away (threat P06). All that is known
//! of a request belongs to that request and its peer, so that one peer's answer never clears what another one
//! owes (threat P07).
//!
//! **What it must never do.** Store a header whose work it has not seen, decode a body that nobody asked for, ask
//! again for what is stored, or let a peer decide how much waits.

mod bodies;
mod download;
mod headers;
mod presync;
mod progress;
mod window;

pub use self::{
    presync::MAX_PRESYNC_BYTES,
    progress::{Phase, SyncProgress},
    window::{WINDOW_BLOCKS, WINDOW_BYTES},
};
pub(super) use self::{presync::Presync, progress::Pace, window::Window};
