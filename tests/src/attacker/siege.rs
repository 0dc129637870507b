//! A real node under attack, and an honest peer of it that must not notice.
//!
//! A story opens a [`Siege`], attacks as it likes, and ends it with [`Siege::hold`]: the node then runs without a
//! panic, has not taken more memory than the story allows, has kept its honest peer all the time, and exchanges
//! blocks and payments with it. What the attack cost is printed.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tempfile::{TempDir, tempdir};
use tokio::{runtime::Runtime, task::JoinHandle, time::timeout};

use super::{
    PATIENCE, Target,
    usage::{self, Usage},
};
use crate::{
    answers::{answer, await_agreement, await_in_mempools, await_mined},
    chains::{LabChain, lab_chain},
    full_node::{FullNode, settings},
    keys::{Held, Person, to_hex},
    wait::{require, until},
};

/// Memory that an attack may cost where its story says nothing else, in MiB.
pub const LITTLE_MIB: u64 = 48;
/// How often [`PATIENCE`] a whole attack may last.
const LONG: u32 = 4;

/// The node, its honest peer, and what they had before.
#[derive(Debug)]
pub struct Siege {
    /// The node that is attacked. It ends before its folder goes.
    pub node: FullNode,
    /// Its honest peer.
    pub honest: FullNode,
    /// Whom to attack.
    pub target: Target,
    /// The chain.
    pub chain: LabChain,
    /// Who has coins.
    pub alice: Person,
    /// Who is paid.
    pub bob: Person,
    /// Coins of Alice's that can be spent.
    pub coins: Vec<Held>,
    name: String,
    before: Usage,
    honest_id: u64,
    runtime: Runtime,
    folder: TempDir,
}

impl Siege {
    /// Starts both on a new chain of this name, with some blocks and coins.
    ///
    /// # Panics
    /// Where they do not come up.
    #[must_use]
    #[track_caller]
    pub fn open(name: &str) -> Self {
        let folder = tempdir().expect("a folder");
        let chain = lab_chain(folder.path(), name, |_| ());
        Self::over(name, folder, chain)
    }

    /// The same on a chain of one's own.
    ///
    /// # Panics
    /// Where they do not come up.
    #[must_use]
    #[track_caller]
    pub fn over(name: &str, folder: TempDir, chain: LabChain) -> Self {
        let node = FullNode::start(&folder.path().join("node"), &settings(&chain));
        let honest = FullNode::start(&folder.path().join("honest"), &settings(&chain));
        honest.connect(&node);
        let (alice, bob) = (Person::new(&chain.chain, "alice"), Person::new(&chain.chain, "bob"));
        let coins = alice.fund(honest.rpc(), 4);
        await_agreement(&[node.rpc().clone(), honest.rpc().clone()]);
        let target = Target { address: socket_address(&node.p2p_address()), chain: chain.chain.clone() };
        let runtime = Runtime::new().expect("the system gives threads");
        let honest_id = peer_id_of(&node, &honest).expect("they are connected");
        usage::forget_peak(node.process.pid());
        let before = Usage::of(node.process.pid());
        let name = name.to_owned();
        Self { node, honest, target, chain, alice, bob, coins, name, before, honest_id, runtime, folder }
    }

    /// The folder of the story.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Counts what the node has used from now on, for a story that fed it first.
    pub fn begin(&mut self) {
        usage::forget_peak(self.node.process.pid());
        self.before = Usage::of(self.node.process.pid());
    }

    /// Carries an attack out.
    ///
    /// # Panics
    /// Where it fails or does not end.
    #[track_caller]
    pub fn attack<T>(&self, attack: impl Future<Output = io::Result<T>>) -> T {
        let outcome = self.runtime.block_on(async { timeout(PATIENCE * LONG, attack).await });
        outcome
            .unwrap_or_else(|_| panic!("the attack does not end"))
            .unwrap_or_else(|error| panic!("the attack fails: {error}"))
    }

    /// Goes on with an attack beside what follows, until it is aborted.
    pub fn meanwhile<T: Send + 'static>(
        &self,
        attack: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(attack)
    }

    /// Lets so many seconds pass by the node's own clock.
    ///
    /// # Panics
    /// Where the node does not answer.
    #[track_caller]
    pub fn await_seconds(&self, secs: u64) {
        let uptime = || answer(self.node.rpc().uptime());
        let end = until("the node tells the time", uptime) + secs;
        until(format!("{secs} s have passed"), || {
            let now = uptime()?;
            require(now >= end, || format!("{now} of {end}"))
        });
    }

    /// Waits until the honest peer is the node's only one.
    ///
    /// # Panics
    /// Where another stays.
    #[track_caller]
    pub fn await_alone(&self) {
        until("the attackers are sent away", || {
            let peers = answer(self.node.rpc().getpeerinfo())?;
            require(peers.len() == 1, || format!("{} peers", peers.len()))
        });
    }

    /// Ends the siege, see the module.
    ///
    /// # Panics
    /// Where the node did not hold.
    #[track_caller]
    pub fn hold(self, memory_mib: u64) {
        self.hold_and_leave(memory_mib);
    }

    /// The same, with the folder left for whoever looks at it.
    ///
    /// # Panics
    /// Where the node did not hold.
    #[track_caller]
    #[expect(clippy::print_stderr, reason = "what an attack costs is a figure that people read")]
    pub fn hold_and_leave(mut self, memory_mib: u64) -> (FullNode, TempDir) {
        let said = self.node.process.log();
        assert!(self.node.process.status().is_none(), "the node is gone: {said}");
        assert!(!said.contains("panicked"), "{said}");
        let after = Usage::of(self.node.process.pid());
        let grown_kib = after.peak_kib.saturating_sub(self.before.memory_kib);
        eprintln!(
            "{}: memory {} KiB before, {} KiB at the most, {} KiB after; processor {} ms",
            self.name,
            self.before.memory_kib,
            after.peak_kib,
            after.memory_kib,
            10 * (after.cpu_ticks - self.before.cpu_ticks),
        );
        assert!(
            grown_kib <= memory_mib << 10,
            "{grown_kib} KiB more than before, {memory_mib} MiB are allowed"
        );
        let id = peer_id_of(&self.node, &self.honest);
        assert_eq!(id, Some(self.honest_id), "the honest peer has kept its connection: {said}");

        // A payment and a block from the honest peer to the node, and back.
        let both = [self.node.rpc().clone(), self.honest.rpc().clone()];
        for (giver, coin) in [(&self.honest, self.coins[2].clone()), (&self.node, self.coins[3].clone())] {
            let payment = self.alice.pay(&coin, &self.bob, 10_000);
            giver.rpc().sendrawtransaction(to_hex(&payment), None).expect("the coin is unspent");
            await_in_mempools(&both, payment.txid());
            giver.rpc().generatetoaddress(1, self.bob.written(), None).expect("a block is made on demand");
            await_mined(&both, payment.txid());
            await_agreement(&both);
        }
        let id = peer_id_of(&self.node, &self.honest);
        assert_eq!(id, Some(self.honest_id), "the honest peer has kept its connection: {said}");
        self.honest.stop();
        (self.node, self.folder)
    }
}

/// The number under which `node` knows `other`: a new one after each connection.
fn peer_id_of(node: &FullNode, other: &FullNode) -> Option<u64> {
    let identity = answer(other.rpc().getnetworkinfo()).expect("the honest peer answers").peer_id;
    let peers = until("the node answers", || answer(node.rpc().getpeerinfo()));
    peers.into_iter().find(|peer| peer.peer_id == identity).map(|peer| peer.id)
}

/// The socket behind a multiaddress such as `/ip4/127.0.0.1/tcp/8444/p2p/12D3KooW...`.
///
/// # Panics
/// Where it is none.
#[must_use]
pub fn socket_address(multiaddress: &str) -> SocketAddr {
    let mut parts = multiaddress.split('/').skip(2).step_by(2);
    let ip: IpAddr = parts.next().and_then(|text| text.parse().ok()).expect("a numeric address");
    let port = parts.next().and_then(|text| text.parse().ok()).expect("a port");
    SocketAddr::new(ip, port)
}
