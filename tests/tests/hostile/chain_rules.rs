//! Blocks and headers that lie, come unasked, or come spoilt before the honest ones.

use std::{fs, io, path::Path};

use chain::{
    block::{Block, Header},
    hash::{BlockHash, MerkleRoot},
    height::Height,
    pow::Work,
    time::Time,
    transaction::OutPoint,
};
use node::{
    config::Settings,
    p2p::wire::{Kind, MAX_HEADERS, RawBlock, Response},
};
use rpc::types::{OneOf, TemplateRequest};
use tempfile::tempdir;
use tests::{
    answers::{answer, await_agreement},
    attacker::{
        Manners, Session, Target, framed, headers_response,
        siege::{LITTLE_MIB, Siege, socket_address},
        usage::{self, Usage},
    },
    chains::lab_chain,
    full_node::{FullNode, settings},
    keys::to_hex,
    mining::Draft,
    wait::{require, until},
};
use tokio::runtime::Runtime;

/// Messages of cheap headers: two million headers in all.
const CHEAP_MESSAGES: usize = 1_000;
/// How far peers' clocks are off, in seconds.
const CLOCKS_OFF_SECS: u32 = 70 * 60;
/// Blocks far above the tip, whose parents nobody has.
const UNREQUESTED_BLOCKS: u32 = 1_000;
/// How far above the tip they claim to stand.
const FAR_AHEAD: u32 = 5_000;

/// Finds a nonce.
fn solve(mut header: Header) -> Header {
    let target = header.bits.to_target().expect("the bits are a target");
    while !target.is_met_by(&header.hash()) {
        header.nonce = header.nonce.checked_add(1).expect("the targets of the tests are easy");
    }
    header
}

/// A header above `parent`.
fn child(parent: &Header, time: Time, salt: u32) -> Header {
    let mut root = [0; 32];
    root[..4].copy_from_slice(&salt.to_le_bytes());
    let merkle_root = MerkleRoot::from_bytes(root);
    solve(Header { previous: parent.hash(), merkle_root, time, nonce: 0, ..*parent })
}

/// The header of the node's tip.
fn tip(siege: &Siege) -> Header {
    let node = siege.node.rpc();
    let hash = node.getbestblockhash().expect("it answers");
    match node.getblockheader(hash, Some(false)).expect("it answers") {
        OneOf::Short(hex) => {
            let bytes = const_hex::decode(hex).expect("hexadecimal");
            Header::from_bytes(&bytes.try_into().expect("80 bytes"))
        }
        OneOf::Long(_) => panic!("a header as hexadecimal was asked for"),
    }
}

/// A peer that claims the chain with this header at its end, and more work than anybody.
async fn claim(target: &Target, header: &Header) -> io::Result<Session> {
    let mut status = target.fresh_status();
    status.tip = header.hash();
    status.height = Height::new(1_000);
    status.work = Work::from_be_bytes([0x7f; 32]);
    target.enter(Manners::polite(status)).await
}

/// Waits for a request of a kind and answers it.
async fn answer_next(session: &Session, target: &Target, kind: Kind, body: &[u8]) -> io::Result<()> {
    let mut asked = session.asked_by(&target.request_protocol(kind)).await?;
    asked.stream.send(&framed(body)).await?;
    asked.stream.finish().await
}

/// What a node takes for the time when it makes a block, in seconds.
fn time_of(siege: &Siege, node: &FullNode) -> u32 {
    let request = TemplateRequest { address: Some(siege.bob.written()), ..TemplateRequest::default() };
    node.rpc().getblocktemplate(Some(request)).expect("it answers").curtime.secs()
}

/// A block above the honest peer's tip that nobody has yet, with what waits there.
fn next_block(siege: &Siege) -> Block {
    let request = TemplateRequest { address: Some(siege.bob.written()), ..TemplateRequest::default() };
    let template = siege.honest.rpc().getblocktemplate(Some(request)).expect("it answers");
    let hex = Draft::new(&template).seal().to_hex();
    Block::from_submission(&const_hex::decode(hex).expect("hexadecimal")).expect("a block")
}

#[test]
fn p01_two_million_cheap_headers_take_no_memory_and_no_room() {
    let folder = tempdir().expect("a folder");
    // Old enough for a header a second.
    let chain =
        lab_chain(folder.path(), "p01", |params| params.genesis_time = Time::from_secs(1_700_000_000));
    let datadir = folder.path().join("node");
    let enough = Work::from_be_bytes({
        let mut bytes = [0; 32];
        bytes[23] = 1;
        bytes
    });
    let node = FullNode::start(&datadir, &Settings { minimum_work: Some(enough), ..settings(&chain) });
    let target = Target { address: socket_address(&node.p2p_address()), chain: chain.chain.clone() };
    let pid = node.process.pid();
    usage::forget_peak(pid);
    let (before, room) = (Usage::of(pid), bytes_below(&datadir));
    let attack = async {
        let mut last = target.chain.genesis().header;
        let session = claim(&target, &child(&last, last.time.saturating_add_secs(1), 0)).await?;
        for message in 1..=CHEAP_MESSAGES {
            // A message that is not full is the chain's end.
            let count = if message == CHEAP_MESSAGES { MAX_HEADERS - 1 } else { MAX_HEADERS };
            let mut headers = Vec::with_capacity(count);
            for _ in 0..count {
                last = child(&last, last.time.saturating_add_secs(1), 1);
                headers.push(last);
            }
            answer_next(&session, &target, Kind::Headers, &headers_response(&headers)).await?;
        }
        session.heard().await
    };
    let runtime = Runtime::new().expect("the system gives threads");
    runtime.block_on(attack).expect("all of them are asked for, one message after the other");
    let known = node.rpc().getblockchaininfo().expect("it answers");
    assert_eq!((known.blocks.get(), known.headers.get()), (0, 0), "no header was kept");
    let (after, room_after) = (Usage::of(pid), bytes_below(&datadir));
    let grown_kib = after.peak_kib.saturating_sub(before.memory_kib);
    assert!(grown_kib < 50 << 10, "{grown_kib} KiB more than before");
    assert!(room_after <= room + (1 << 20), "{room} bytes on the disk before, {room_after} after");
}

/// The bytes of all files below a folder.
fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => bytes_below(&entry.path()),
            Ok(data) => data.len(),
            // Gone meanwhile.
            Err(_) => 0,
        })
        .sum()
}

#[test]
fn p15_peers_that_live_in_another_time_move_no_clock() {
    let siege = Siege::open("p15");
    let target = &siege.target;
    let before = tip(&siege);
    let now = time_of(&siege, &siege.node);
    // No message of a peer has a field for its clock: what it says in time it says in headers.
    siege.attack(async {
        for time in [now + CLOCKS_OFF_SECS, now - CLOCKS_OFF_SECS, now + 100 * CLOCKS_OFF_SECS, 0, u32::MAX] {
            let header = child(&before, Time::from_secs(time), time);
            let session = claim(target, &header).await?;
            answer_next(&session, target, Kind::Headers, &headers_response(&[header])).await?;
        }
        Ok(())
    });
    siege.await_seconds(2);
    let later = time_of(&siege, &siege.node);
    let honest = time_of(&siege, &siege.honest);
    assert!(
        later >= now && later.abs_diff(honest) <= 60,
        "{now}, then {later}; the honest peer says {honest}"
    );
    siege.hold(LITTLE_MIB);
}

#[test]
fn c12_a_spoilt_body_first_does_not_keep_the_honest_one_out() {
    let siege = Siege::open("c12");
    let target = &siege.target;
    let first = siege.alice.pay(&siege.coins[0], &siege.bob, 10_000);
    let second = siege.alice.pay(&siege.coins[1], &siege.bob, 10_000);
    let on = (OutPoint { txid: first.txid(), index: 0 }, first.outputs[0].clone());
    let third = siege.bob.pay(&on, &siege.alice, 10_000);
    let spoilers = [
        // A coinbase that pays somebody else, a bit of a signature, the last transaction twice (CVE-2012-2459).
        (|block: &mut Block| block.coinbase.outputs[0] = block.transactions[0].outputs[0].clone())
            as fn(&mut Block),
        |block| {
            let mut bytes = block.transactions[0].to_bytes();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            block.transactions[0] =
                chain::transaction::Transaction::from_bytes(&bytes).expect("still one").into();
        },
        |block| block.transactions.push(block.transactions[0].clone()),
    ];
    for (payment, spoil) in [first, second, third].into_iter().zip(spoilers) {
        siege.honest.rpc().sendrawtransaction(to_hex(&payment), None).expect("the coin is unspent");
        let block = next_block(&siege);
        let mut spoilt = block.clone();
        spoil(&mut spoilt);
        let body = Response::Blocks(vec![RawBlock::from(&spoilt)]).to_bytes();
        siege.attack(async {
            let session = claim(target, &block.header).await?;
            answer_next(&session, target, Kind::Headers, &headers_response(&[block.header])).await?;
            answer_next(&session, target, Kind::Blocks, &body).await?;
            // Who sent it is sent away,
            session.closed().await
        });
        siege.await_alone();
        // and the same header with its own body is taken from the honest peer.
        let hex = const_hex::encode(block.to_submission());
        assert_eq!(siege.honest.rpc().submitblock(hex, None).expect("it answers"), None);
        await_block(&siege, block.hash());
        await_agreement(&[siege.node.rpc().clone(), siege.honest.rpc().clone()]);
    }
    siege.hold(LITTLE_MIB);
}

fn await_block(siege: &Siege, hash: BlockHash) {
    until("the node has the honest block", || {
        let tip = answer(siege.node.rpc().getbestblockhash())?;
        require(tip == hash, || format!("its tip is {tip}"))
    });
}

#[test]
fn p26_headers_far_ahead_without_their_parents_are_not_kept() {
    let siege = Siege::open("p26");
    let target = &siege.target;
    let tips = || siege.node.rpc().getchaintips().expect("it answers");
    let before = tips();
    let mut far = tip(&siege);
    let headers: Vec<Header> = (0..FAR_AHEAD + UNREQUESTED_BLOCKS)
        .map(|number| {
            far = child(&far, far.time.saturating_add_secs(1), number);
            far
        })
        .skip(usize::try_from(FAR_AHEAD).expect("small"))
        .collect();
    siege.attack(async {
        let session = claim(target, &far).await?;
        for part in headers.chunks(100) {
            // Whatever it asks for, it is given headers of valid work that stand nowhere.
            let mut asked = session.asked().await?;
            asked.stream.send(&framed(&headers_response(part))).await?;
            asked.stream.finish().await?;
            if session.is_closed() {
                break;
            }
            // A tip that is told again is asked for again.
            let mut status = target.fresh_status();
            status.tip = part[0].hash();
            status.work = Work::from_be_bytes([0x7f; 32]);
            let body = chain::encode::to_bytes(&status);
            drop(session.ask(&target.request_protocol(Kind::Status), &body).await);
        }
        Ok(())
    });
    assert_eq!(tips(), before, "no header of it is in the tree");
    siege.hold(LITTLE_MIB);
}
