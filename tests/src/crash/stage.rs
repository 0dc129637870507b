//! What all rounds share: a chain, prepared data folders, and a peer with the better branch.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use chain::hash::BlockHash;
use node::config::Settings;
use rpc::{auth::COOKIE_FILE, client::Client};
use tempfile::TempDir;

use super::plan::Phase;
use crate::{
    chains::{LabChain, lab_chain},
    full_node::{FullNode, configure, settings, verify_stored},
    keys::{Person, to_hex},
};

/// Blocks that both branches have.
const TRUNK_BLOCKS: u32 = 60;
/// Blocks of the worse branch above that.
const SHORT_BLOCKS: u32 = 150;
/// Blocks of the better branch.
const LONG_BLOCKS: u32 = 240;
/// How far the makers' clocks are behind: blocks on demand come faster than seconds, and each must be later than
/// the median of those below it.
const CLOCK_OFFSET_SECS: i64 = -7_000;
/// A fee that any node takes, in pebbles.
pub const FEE_PEBBLES: u64 = 5_000;
/// Memory for the coins: the least, so that there are flushes in the midst of what is done.
const DB_CACHE_MIB: u32 = 4;

/// The stage. Its folder goes with it.
#[derive(Debug)]
pub struct Stage {
    folder: TempDir,
    chain: LabChain,
    /// The peer, which stays up.
    peer: FullNode,
    /// The tips of the prepared folders, which their nodes have left in good order.
    tips: BTreeMap<&'static str, BlockHash>,
    /// How long a node that nobody harms takes for each phase.
    usual: BTreeMap<Phase, Duration>,
}

impl Stage {
    /// Makes the chains and starts the peer.
    ///
    /// # Panics
    /// Where nodes without any fault do not do what they should.
    #[must_use]
    pub fn set() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let chain = lab_chain(folder.path(), "crash", |_| ());
        let at = |name: &str| folder.path().join(name);
        let maker = Settings { clock_offset_secs: Some(CLOCK_OFFSET_SECS), ..settings(&chain) };
        let trunk = FullNode::start(&at("trunk"), &maker);
        build(trunk.rpc(), &chain, "alice", TRUNK_BLOCKS);
        let mut tips = BTreeMap::from([("trunk", trunk.rpc().getbestblockhash().expect("it answers"))]);
        trunk.stop();
        for (name, person, blocks) in [("short", "alice", SHORT_BLOCKS), ("long", "bob", LONG_BLOCKS)] {
            copy_datadir(&at("trunk"), &at(name));
            let node = FullNode::start(&at(name), &maker);
            build(node.rpc(), &chain, person, blocks);
            tips.insert(name, node.rpc().getbestblockhash().expect("it answers"));
            node.stop();
        }
        copy_datadir(&at("long"), &at("peer"));
        let peer = FullNode::start(&at("peer"), &settings(&chain));
        Self { folder, chain, peer, tips, usual: BTreeMap::new() }
    }

    /// How long a node that nobody harms takes for a phase, as it was noted.
    #[must_use]
    pub fn usual(&self, phase: Phase) -> Option<Duration> {
        self.usual.get(&phase).copied()
    }

    /// Notes how long a node that nobody harms takes for a phase.
    pub fn note_usual(&mut self, phase: Phase, took: Duration) {
        self.usual.insert(phase, took);
    }

    /// The peer's RPC.
    #[must_use]
    pub fn peer(&self) -> &Client {
        self.peer.rpc()
    }

    /// The chain.
    #[must_use]
    pub fn chain(&self) -> &LabChain {
        &self.chain
    }

    /// A new data folder, as a node has it that is about to do what the phase says.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn victim(&self, phase: Phase) -> PathBuf {
        let datadir = self.folder.path().join("victim");
        self.clear();
        if let Some(base) = base_of(phase) {
            copy_datadir(&self.folder.path().join(base), &datadir);
        }
        let alone = matches!(phase, Phase::Mining | Phase::Reindexing | Phase::Recovering);
        self.configure(&datadir, !alone);
        datadir
    }

    /// The tip of a new victim: no fault whatever may take it any more. None where it has nothing yet.
    #[must_use]
    pub fn certain_tip(&self, phase: Phase) -> Option<BlockHash> {
        self.tips.get(base_of(phase)?).copied()
    }

    /// Tells a victim about its peer, or to be alone.
    ///
    /// # Panics
    /// Where that cannot be written.
    pub fn configure(&self, datadir: &Path, with_peer: bool) {
        let bootstrap = with_peer.then(|| vec![self.peer.p2p_address()]);
        let db_cache_mib = Some(DB_CACHE_MIB);
        configure(datadir, &Settings { bootstrap, db_cache_mib, ..settings(&self.chain) });
    }

    /// Removes the last victim and its logs.
    fn clear(&self) {
        for entry in fs::read_dir(self.folder.path()).expect("the stage's folder").flatten() {
            if entry.file_name().to_string_lossy().starts_with("victim") {
                let path = entry.path();
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.expect("a victim is removed");
            }
        }
    }

    /// Ends the peer in good order.
    ///
    /// # Panics
    /// Where it has suffered.
    pub fn strike(self) {
        let datadir = self.peer.datadir().to_path_buf();
        self.peer.stop();
        verify_stored(&datadir);
    }
}

/// The prepared folder with which a victim begins.
const fn base_of(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::CatchingUp => None,
        Phase::Mining | Phase::Recovering | Phase::Mending | Phase::Reindexing => Some("trunk"),
        Phase::Reorganising => Some("short"),
    }
}

/// Makes blocks on demand, with payments between two people in most of them.
///
/// # Panics
/// Where the node refuses.
pub fn build(node: &Client, chain: &LabChain, person: &str, blocks: u32) {
    let (payer, payee) = (Person::new(&chain.chain, person), Person::new(&chain.chain, "carol"));
    let coins = blocks / 3;
    payer.fund(node, coins);
    let held = payer.spendable(node).expect("it answers");
    let above = blocks.saturating_sub(coins).saturating_sub(chain.chain.params().maturity_blocks);
    let mut held = held.iter();
    for _ in 0..above {
        if let Some(coin) = held.next() {
            let payment = payer.pay(coin, &payee, FEE_PEBBLES);
            node.sendrawtransaction(to_hex(&payment), None).expect("it is good");
        }
        node.generatetoaddress(1, payer.written(), None).expect("blocks are made on demand");
    }
}

/// Copies the data folder of a node that does not run, without what belongs to that node alone: its identity
/// among peers, its lock and its cookie.
///
/// # Panics
/// Where it cannot be copied.
pub fn copy_datadir(from: &Path, to: &Path) {
    fn copy(from: &Path, to: &Path) -> io::Result<()> {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type()?.is_dir() {
                copy(&entry.path(), &to.join(name))?;
            } else if !["p2p.key", "lock", COOKIE_FILE].contains(&&*name.to_string_lossy()) {
                fs::copy(entry.path(), to.join(name))?;
            }
        }
        Ok(())
    }
    copy(from, to).unwrap_or_else(|error| panic!("{} to {}: {error}", from.display(), to.display()));
}
