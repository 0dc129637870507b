//! Catching up: headers first, then bodies through one window over all peers.

mod bodies;
mod download;
mod headers;

pub(super) use self::download::Window;
