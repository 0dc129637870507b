//! Several real nodes on this machine: processes of this same binary on a chain of their own, and their supervisor.
//!
//! **What.** [`run`] makes a devnet in a folder or goes on with the one that is there, starts its nodes, says when
//! payments can be made ([`Announcement`]), and watches the nodes until it is told to stop. What happens comes out
//! as values: an [`Event`] for what happened once, a [`NodeStatus`] for each node as it is now.
//!
//! **How the parts lie.** `plan` has the folder's layout, ports and configuration files; `making` makes a new
//! devnet, `premine` its first blocks, `preparing` takes up one that is there; `clock` is the devnet's time; `process`
//! is one node's process, `watch` what its RPC says, `member` the two together, `supervisor` what holds everything
//! together; `announcement` is `devnet.json`.
//!
//! **What it must never do.** Print; start a node again that died; leave a process behind, however the supervisor
//! ends; touch a file that it did not make; wait for whoever listens to its reports.

mod announcement;
mod clock;
mod error;
mod files;
mod making;
mod member;
pub mod plan;
pub mod premine;
mod preparing;
mod process;
mod supervisor;
mod watch;

use std::path::PathBuf;

use chain::{hash::BlockHash, height::Height};
use tokio::sync::{mpsc, watch as latest};

pub use self::{
    announcement::{AnnouncedNode, AnnouncedWallet, Announcement},
    clock::DevnetClock,
    error::DevnetError,
    plan::DevnetConfig,
    supervisor::run,
};

/// How many events may wait for whoever listens; those beyond are lost to a listener that does not keep up.
pub const MAX_WAITING_EVENTS: usize = 1_024;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new devnet is being made.
    Making {
        /// Its folder.
        folder: PathBuf,
    },
    /// First blocks are mined.
    Mined {
        /// So many.
        done: u32,
        /// Of so many.
        of: u32,
    },
    /// The devnet that is in the folder goes on.
    GoingOn {
        /// Its folder.
        folder: PathBuf,
        /// The seconds that it was stopped, together.
        stopped_secs: i64,
    },
    /// What was asked for holds for new devnets only, and this one was made with something else.
    MadeWith {
        /// Seconds between blocks.
        spacing_secs: u32,
        /// Hashes a second of each node.
        hashes_per_sec: u64,
    },
    /// A node's process was started.
    Started {
        /// The node.
        name: &'static str,
        /// Its process.
        pid: u32,
    },
    /// Payments can be made.
    Ready {
        /// Where that is written.
        file: PathBuf,
        /// What is written there.
        announcement: Announcement,
    },
    /// A block was seen as a tip for the first time.
    NewTip {
        /// The node that had it first, as far as was seen.
        name: &'static str,
        /// Its height.
        height: Height,
        /// Its hash.
        hash: BlockHash,
    },
    /// A node left blocks for a branch with more work.
    Reorganised {
        /// The node.
        name: &'static str,
        /// How many blocks it left.
        depth: u32,
    },
    /// A node's process ended.
    Died {
        /// The node.
        name: &'static str,
        /// How, in words that follow its name.
        how: String,
    },
    /// A node does not answer any more, though nothing says that its process ended.
    Silent {
        /// The node.
        name: &'static str,
    },
    /// A node answers again: it was silent, or somebody started it again by hand.
    Back {
        /// The node.
        name: &'static str,
        /// Whether it is a process that somebody else has started.
        by_hand: bool,
    },
    /// The nodes are being told to end.
    Ending,
    /// A node did not end in time and was killed.
    Killed {
        /// The node.
        name: &'static str,
    },
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Its process runs, and it has not answered yet.
    Starting,
    /// It answers.
    Alive,
    /// Its process runs, but it does not answer: it was stopped by a signal, say.
    Silent,
    /// Its process has ended, and nobody answers; how it ended.
    Dead(String),
}

/// A node as it was last seen.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// Its name.
    pub name: &'static str,
    /// How it is.
    pub state: NodeState,
    /// Whether the process that answers was started by somebody else.
    pub by_hand: bool,
    /// The height of its tip.
    pub height: Option<Height>,
    /// Its tip.
    pub tip: Option<BlockHash>,
    /// Its peers.
    pub peers: u64,
    /// How fast it mines, measured, in hashes a second.
    pub hashes_per_sec: f64,
    /// The transactions in its mempool.
    pub mempool: u64,
    /// How often it was seen to leave blocks for another branch.
    pub reorganisations: u64,
    /// How many blocks it left at the deepest of these.
    pub deepest: u32,
}

/// Where a devnet reports to. Reports never wait: an event that there is no room for is lost.
#[derive(Debug)]
pub struct Reports {
    /// What happens.
    pub events: mpsc::Sender<Event>,
    /// How the nodes are.
    pub table: latest::Sender<Vec<NodeStatus>>,
}

impl Reports {
    fn tell(&self, event: Event) {
        if let Err(error) = self.events.try_send(event) {
            tracing::debug!(%error, "nobody hears of an event");
        }
    }
}
