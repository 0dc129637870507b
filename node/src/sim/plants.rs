//! Bugs that can be planted in one simulated node, to see that the invariants find them.
//!
//! Most are planted around the engine, in what it is told, in what it sends, or in the disk below it; those in the
//! rules themselves are compiled into `chain` by the feature `plants` alone; two are switches of the engine that
//! nothing but this room sets. No flag, file or parameter of a node reaches any of them.

use chain::genesis::Chain;

use super::disk::DiskFlaw;
use crate::engine::EnginePlants;

/// A bug that is planted in one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// ASERT's division rounds down instead of toward zero (threat C08).
    FloorDivision,
    /// A transaction may spend the same coin twice (threat C02).
    DuplicateInput,
    /// A body that is not the header's makes the header invalid (threat C12).
    BodyFaultOnHeader,
    /// The tip survives a crash, the coins that belong to it do not (threat S01).
    UnflushedTip,
    /// A block that is undone does not bring back the last coin that it spent (threat S10).
    ForgottenUndo,
    /// A block that was asked for once is never asked for again (threat P06).
    MissingRerequest,
    /// Of two chains of equal work the one seen last wins (threat C19).
    LastSeenTie,
    /// The mempool does not follow the tip (threat M07).
    StaleMempool,
    /// No limit holds for transactions whose parents are not here (threat P04).
    UnboundedOrphans,
    /// A peer that is slow to answer is banned (threat P12).
    SlowPeerBanned,
}

/// All of them with the names by which `make soak PLANT=` knows them.
const PLANTS: [(&str, Plant); 10] = [
    ("floor-division", Plant::FloorDivision),
    ("duplicate-input", Plant::DuplicateInput),
    ("body-fault-on-header", Plant::BodyFaultOnHeader),
    ("unflushed-tip", Plant::UnflushedTip),
    ("forgotten-undo", Plant::ForgottenUndo),
    ("missing-re-request", Plant::MissingRerequest),
    ("last-seen-tie", Plant::LastSeenTie),
    ("stale-mempool", Plant::StaleMempool),
    ("unbounded-orphans", Plant::UnboundedOrphans),
    ("slow-peer-banned", Plant::SlowPeerBanned),
];

impl Plant {
    /// The names of all that this build can plant, in a fixed order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PLANTS.iter().filter(|(_, plant)| plant.is_compiled()).map(|(name, _)| *name)
    }

    /// The plant with this name, if this build can plant it.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let (_, plant) = PLANTS.iter().find(|(known, _)| *known == name)?;
        Some(*plant).filter(|plant| plant.is_compiled())
    }

    const fn is_compiled(self) -> bool {
        let in_rules = matches!(self, Self::FloorDivision | Self::DuplicateInput | Self::BodyFaultOnHeader);
        cfg!(feature = "failpoints") || !in_rules
    }

    /// The flaw of the node's disk.
    #[must_use]
    pub(super) const fn disk_flaw(self) -> DiskFlaw {
        match self {
            Self::UnflushedTip => DiskFlaw::TipWithoutCoins,
            Self::ForgottenUndo => DiskFlaw::ForgottenUndo,
            _ => DiskFlaw::None,
        }
    }

    /// The chain as the node sees it.
    #[must_use]
    pub(super) fn chain(self, chain: Chain) -> Chain {
        #[cfg(feature = "failpoints")]
        {
            let rule = match self {
                Self::FloorDivision => chain::plant::Plant::FloorDivision,
                Self::DuplicateInput => chain::plant::Plant::DuplicateInput,
                Self::BodyFaultOnHeader => chain::plant::Plant::BodyFaultOnHeader,
                _ => return chain,
            };
            chain.with_plant(rule)
        }
        #[cfg(not(feature = "failpoints"))]
        chain
    }

    /// The switches of the node's engine.
    #[must_use]
    pub(super) const fn engine(self) -> EnginePlants {
        EnginePlants {
            stale_mempool: matches!(self, Self::StaleMempool),
            unbounded_orphans: matches!(self, Self::UnboundedOrphans),
        }
    }
}
