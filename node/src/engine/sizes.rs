//! How large everything is that peers can make grow, beside the limit that each of them has: asked by whoever watches
//! a node, and by the simulator, which fails a run in which one exceeds its limit.

use chain::store::Store;

use super::{
    Engine,
    mempool::{MAX_DEPARTED, MAX_REFUSED},
    relay::MAX_EARLY_BLOCKS,
    sync::{MAX_PRESYNC_BYTES, WINDOW_BLOCKS, WINDOW_BYTES},
};

/// Requests that may be open to one peer, at the most: those of each kind together, and what the window adds.
const MAX_OPEN_REQUESTS: u64 = 64;

/// A bounded thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// What is counted, in the plural.
    pub what: &'static str,
    /// How many there are.
    pub now: u64,
    /// How many there may be.
    pub limit: u64,
}

/// Switches that make an engine wrong, for the simulator alone (`node/src/sim/plants.rs`): all off in every node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnginePlants {
    /// The mempool is not told that the tip has moved.
    pub stale_mempool: bool,
    /// No limit holds for transactions whose parents are not here.
    pub unbounded_orphans: bool,
}

impl<S: Store> Engine<S> {
    /// Makes the engine wrong on purpose. Nothing but the simulator calls this.
    pub const fn set_plants(&mut self, plants: EnginePlants) {
        self.plants = plants;
        self.relay.plant_unbounded_orphans(plants.unbounded_orphans);
    }

    /// Everything that peers can make grow, with its limit.
    #[must_use]
    pub fn sizes(&self) -> Vec<Size> {
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let size = |what, now: usize, limit: usize| Size { what, now: count(now), limit: count(limit) };
        let open = self.peers.values().map(|state| count(state.open.len())).max().unwrap_or(0);
        let mut sizes = self.relay.sizes();
        sizes.extend([
            size("early blocks", self.relay.early_blocks(), MAX_EARLY_BLOCKS),
            size("blocks of the window", self.window.len(), WINDOW_BLOCKS),
            size("bytes of blocks that wait", self.window.waiting_bytes(), WINDOW_BYTES),
            size("bytes of presyncs", self.presync_bytes(), MAX_PRESYNC_BYTES * self.peers.len()),
            Size { what: "open requests of one peer", now: open, limit: MAX_OPEN_REQUESTS },
            Size {
                what: "bytes of the mempool",
                now: self.mempool.memory_bytes(),
                limit: self.mempool.max_memory_bytes(),
            },
            size("refused transactions", self.mempool.refused_count(), MAX_REFUSED),
            size("departed transactions", self.mempool.departed_count(), MAX_DEPARTED),
        ]);
        sizes
    }
}
