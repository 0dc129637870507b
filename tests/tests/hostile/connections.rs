//! Connections that say nothing, and peers that never read.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr},
};

use chain::{amount::Amount, hash::BlockHash, transaction::Output};
use node::p2p::wire::{Kind, MAX_BLOCKS};
use rustix::process::{Resource, getrlimit, setrlimit};
use tests::{
    answers::answer,
    attacker::{
        blocks_request, framed,
        line::{self, ATTACKERS_ADDRESS},
        siege::{LITTLE_MIB, Siege},
    },
    full_node::{FullNode, settings},
    keys::to_hex,
    wait::{require, until},
};

/// Sockets that are opened and say nothing.
const SILENT_SOCKETS: usize = 5_000;
/// Of those that are opened again and again, how many stay open.
const HELD_SOCKETS: usize = 400;
/// File descriptors that this test needs for itself.
const OWN_DESCRIPTORS: usize = 700;
/// Sessions of peers that ask for blocks and do not read them.
const DEAF_PEERS: usize = 4;
/// Outputs of the payments that fill a block, and how many payments there are.
const FAT_OUTPUTS: usize = 500;
/// What each output is worth, in pebbles.
const OUTPUT_PEBBLES: u64 = 1_000;
/// The fee of such a payment, in pebbles.
const FAT_FEE_PEBBLES: u64 = 200_000;
/// Memory that unread answers may take, in MiB: see the limits of `docs/limits.md`.
const UNREAD_MIB: u64 = 256;

/// As many sockets as this process may have, up to [`SILENT_SOCKETS`].
fn allowed_sockets() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What is allowed now stays allowed where it cannot be raised.
    let _: Result<(), _> = setrlimit(Resource::Nofile, limit);
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(allowed).unwrap_or(usize::MAX).saturating_sub(OWN_DESCRIPTORS).min(SILENT_SOCKETS)
}

#[test]
fn p18_silent_sockets_keep_no_honest_peer_out() {
    let siege = Siege::open("p18");
    let target = &siege.target;
    let sockets = allowed_sockets();
    let held = siege.attack(async {
        let mut held = Vec::new();
        for number in 0..sockets {
            // The system may refuse more than wait already.
            let attempt = line::connect(ATTACKERS_ADDRESS, target.address);
            if let Ok(Ok(socket)) = tokio::time::timeout(std::time::Duration::from_secs(1), attempt).await {
                if number % 2 == 0 {
                    // Half of them begin the handshake and do not go on.
                    drop(socket.try_write(&line::line(line::GREETING)));
                }
                held.push(socket);
            }
        }
        Ok(held)
    });
    assert!(held.len() * 2 > sockets, "there were sockets: {} of {sockets}", held.len());
    // They are dropped by the node after a while, and opened again at once; meanwhile an honest node connects.
    let address = target.address;
    let again = siege.meanwhile(async move {
        let mut held = VecDeque::new();
        loop {
            if let Ok(socket) = line::connect(ATTACKERS_ADDRESS, address).await {
                held.push_back(socket);
            }
            if held.len() > HELD_SOCKETS {
                held.pop_front();
            }
        }
    });
    let friend = FullNode::start(&siege.folder().join("friend"), &settings(&siege.chain));
    friend.connect(&siege.node);
    let heights = || answer(friend.rpc().getblockcount());
    let wanted = answer(siege.node.rpc().getblockcount()).expect("it answers");
    until("the new node has the chain", || require(heights()? == wanted, || "not yet".into()));
    again.abort();
    drop(held);
    friend.stop();
    siege.hold(LITTLE_MIB);
}

#[test]
fn p18_peers_that_greet_and_say_nothing_keep_no_honest_peer_out() {
    let siege = Siege::open("p18-idle");
    let target = &siege.target;
    // From many addresses, as many as the node has room for and more.
    let held = siege.attack(async {
        let mut held = Vec::new();
        for number in 0..160u8 {
            let from = IpAddr::V4(Ipv4Addr::new(127, 0, 1 + number / 40, 1 + number % 40));
            if let Ok(session) = target.enter_from(from, tests::attacker::Manners::mute()).await {
                held.push(session);
            }
        }
        Ok::<_, io::Error>(held)
    });
    let friend = FullNode::start(&siege.folder().join("friend"), &settings(&siege.chain));
    friend.connect(&siege.node);
    friend.stop();
    drop(held);
    siege.hold(LITTLE_MIB);
}

/// Mines a block of half a megabyte on the honest peer; its hash.
fn mine_a_fat_block(siege: &Siege) -> BlockHash {
    for coin in &siege.coins[..2] {
        let costs = OUTPUT_PEBBLES * FAT_OUTPUTS as u64 + FAT_FEE_PEBBLES;
        let left = coin.1.amount.checked_sub(Amount::from_pebbles(costs)).expect("a coinbase is worth more");
        let small = Output::pay(siege.bob.address(), Amount::from_pebbles(OUTPUT_PEBBLES));
        let mut outputs = vec![Output::pay(siege.alice.address(), left)];
        outputs.resize(1 + FAT_OUTPUTS, small);
        let payment = siege.alice.spend(std::slice::from_ref(coin), outputs);
        siege.honest.rpc().sendrawtransaction(to_hex(&payment), None).expect("the coin is unspent");
    }
    let made = siege.honest.rpc().generatetoaddress(1, siege.bob.written(), None).expect("a block is made");
    until("the node has the block", || {
        let tip = answer(siege.node.rpc().getbestblockhash())?;
        require(tip == made[0], || format!("its tip is {tip}"))
    });
    made[0]
}

#[test]
fn p25_who_asks_and_never_reads_is_sent_away() {
    let mut siege = Siege::open("p25");
    let fat = mine_a_fat_block(&siege);
    siege.begin();
    let target = siege.target.clone();
    let request = framed(&blocks_request(&vec![fat; MAX_BLOCKS]));
    // Some answer pings and let the answers lie, others read nothing at all.
    siege.attack(async {
        let mut sessions = Vec::new();
        for number in 0..DEAF_PEERS {
            let session = target.enter_politely().await?;
            session.change_manners(|manners| {
                manners.gives_credit = false;
                manners.reads = number % 2 == 0;
            });
            for _ in 0..3 * Kind::Blocks.requests_per_peer() {
                let _stream = session.fling(&target.request_protocol(Kind::Blocks), &request).await?;
            }
            sessions.push(session);
        }
        for session in sessions.iter().step_by(2) {
            session.closed().await?;
        }
        Ok(())
    });
    siege.await_alone();
    siege.hold(UNREAD_MIB);
}
