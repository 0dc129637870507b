//! Addresses without end: made-up ones in answers to a node that asks whom others know, ports that one machine claims
//! to have, and answers beyond what one may hold.
//!
//! The nodes of these stories listen on loopback alone, so that they dial nobody of whom they hear.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    ops::Range,
};

use futures::future::try_join_all;
use node::p2p::{
    addresses::{AddressesRequest, MAX_ADDRESSES},
    book::{Carrier, NetAddress, file::Remembered},
};
use tests::attacker::{
    Manners, Session,
    ambush::Ambush,
    claimed, framed,
    session::Asked,
    siege::{LITTLE_MIB, Siege},
};

/// Answers that hold as many addresses as they may: ten million in all.
const ANSWERS: u32 = 10_000;
/// Those of them after which the book is looked at: a million addresses for some four thousand places.
const FIRST_ANSWERS: u32 = 1_000;
/// Addresses of an answer.
const ADDRESSES_PER_ANSWER: u32 = 1_000;
/// Where hostile peers wait for the node, all on this machine, and so of one network.
const AMBUSHES: usize = 4;
/// Places of a bucket of the book.
const BUCKET_PLACES: usize = 64;
/// Places that the word of one network reaches (docs/network.md).
const PLACES_OF_ONE_NETWORK: usize = 64 * BUCKET_PLACES;
/// The most bytes of the file with the addresses of one network: some fifty for each.
const MAX_FILE_BYTES: usize = 512 * 1_024;
/// Questions of a peer that names four ports of its own with each.
const QUESTIONS: u16 = 5_000;
/// Ports of a question.
const PORTS_PER_QUESTION: u16 = 4;

/// The addresses of an answer. Those of different answers are different, and lie in twelve thousand networks.
fn made_up(answer: u32) -> Vec<NetAddress> {
    let numbers = answer * ADDRESSES_PER_ANSWER..(answer + 1) * ADDRESSES_PER_ANSWER;
    let address = |number: u32| {
        let ip = Ipv4Addr::from_bits((20 << 24) + 79 * number);
        NetAddress::new(IpAddr::V4(ip), 8_444, Carrier::Tcp)
    };
    numbers.map(address).collect()
}

/// Has the node dial an ambush; the session, and the node's question for addresses.
async fn question(ambush: &Ambush, siege: &Siege) -> io::Result<(Session, Asked)> {
    let target = &siege.target;
    let session = ambush.meet(siege.node.rpc(), Manners::polite(target.fresh_status())).await?;
    let asked = session.asked_by(&target.protocol("addresses")).await?;
    Ok((session, asked))
}

/// Answers the node again and again, each time as somebody whom it never met, and waits until it has heard that. By
/// itself a node asks whom it dials, twice a second at the most; here an operator's command has it dial without rest.
async fn lie_in_wait(ambush: &Ambush, siege: &Siege, answers: impl Iterator<Item = u32>) -> io::Result<()> {
    for answer in answers {
        let (session, mut asked) = question(ambush, siege).await?;
        asked.stream.send(&framed(&chain::encode::to_bytes(&made_up(answer)))).await?;
        asked.stream.finish().await?;
        session.heard().await?;
    }
    Ok(())
}

/// Gives the node these answers, from all ambushes at a time.
fn flood(siege: &Siege, ambushes: &[Ambush], answers: Range<u32>) {
    siege.attack(async {
        let share = |lane: usize| answers.clone().skip(lane).step_by(AMBUSHES);
        try_join_all((0..).zip(ambushes).map(|(lane, ambush)| lie_in_wait(ambush, siege, share(lane)))).await
    });
}

fn lay(siege: &Siege, count: usize) -> Vec<Ambush> {
    siege.attack(async { try_join_all((0..count).map(|_| Ambush::lay(&siege.target))).await })
}

/// How many addresses the node has in its file, and the bytes of that.
fn remembered(siege: &Siege) -> (usize, usize) {
    let node = siege.node.rpc();
    let nobody = || "192.0.2.1".to_owned();
    // The file is written whenever somebody is banned by hand.
    node.setban(nobody(), "add".into(), None, None).expect("nobody has banned it before");
    let bytes = fs::read(siege.node.datadir().join("peers.dat")).expect("the file was written");
    node.setban(nobody(), "remove".into(), None, None).expect("it was banned just now");
    let chain = siege.target.chain.id();
    let remembered = Remembered::from_bytes(&bytes, &chain, [0; 32]).expect("the file is as it was written");
    (remembered.book.len(), bytes.len())
}

#[test]
fn p09_ten_million_addresses_change_no_more_than_the_first_million() {
    assert_eq!(usize::try_from(ADDRESSES_PER_ANSWER), Ok(MAX_ADDRESSES), "the answers are full");
    let siege = Siege::open("p09");
    let (before, _) = remembered(&siege);
    let ambushes = lay(&siege, AMBUSHES);
    flood(&siege, &ambushes, 0..FIRST_ANSWERS);
    let (first, _) = remembered(&siege);
    flood(&siege, &ambushes, FIRST_ANSWERS..ANSWERS);
    let (last, bytes) = remembered(&siege);
    // What was there before stays, and the node was connected to the ambushes themselves.
    let most = before + AMBUSHES + PLACES_OF_ONE_NETWORK;
    assert!((PLACES_OF_ONE_NETWORK / 2..=most).contains(&last), "{before} addresses before, {last} after");
    assert_eq!(last, first, "the first million has filled what one network reaches");
    assert!(bytes < MAX_FILE_BYTES, "{bytes} bytes for {last} addresses");
    let banned = siege.node.rpc().listbanned().expect("it answers");
    assert!(banned.is_empty(), "a full answer is nobody's fault: {banned:?}");
    siege.await_alone();
    siege.hold(LITTLE_MIB);
}

#[test]
fn p09_an_answer_beyond_its_measure_is_refused_whole() {
    let siege = Siege::open("p09-measure");
    let ambushes = lay(&siege, 1);
    let (before, _) = remembered(&siege);
    let full = chain::encode::to_bytes(&made_up(0));
    let one_more = [made_up(0), made_up(1)[..1].to_vec()].concat();
    let too_many = 1 + ADDRESSES_PER_ANSWER;
    let cases = [
        // One address too many; the same claimed and not sent; 2^32 - 1 bytes claimed.
        framed(&chain::encode::to_bytes(&one_more)),
        framed(&[&too_many.to_le_bytes()[..], &full[4..]].concat()),
        claimed(u32::MAX, &full),
        // A full answer and a byte, and one that is cut short within its frame.
        framed(&[&full[..], &[0]].concat()),
        framed(&full[..full.len() - 1]),
    ];
    for bytes in &cases {
        siege.attack(async {
            let (session, mut asked) = question(&ambushes[0], &siege).await?;
            // The node may have had enough before all of it is sent.
            drop(asked.stream.send(bytes).await);
            session.closed().await
        });
    }
    siege.await_alone();
    let banned = siege.node.rpc().listbanned().expect("it answers");
    assert_eq!(banned.len(), cases.len(), "each is blamed on who sent it: {banned:?}");
    let (after, _) = remembered(&siege);
    assert!(after <= before + ambushes.len(), "{before} addresses before, {after} after");
    siege.hold(LITTLE_MIB);
}

#[test]
fn p09_ports_without_end_of_one_machine_take_one_bucket() {
    let siege = Siege::open("p09-ports");
    let target = &siege.target;
    let (before, _) = remembered(&siege);
    siege.attack(async {
        let session = target.enter_politely().await?;
        for number in 0..QUESTIONS {
            let first = 1 + number * PORTS_PER_QUESTION;
            let ports = first..first + PORTS_PER_QUESTION;
            let request = AddressesRequest { listening: ports.map(|port| (port, Carrier::Tcp)).collect() };
            let body = chain::encode::to_bytes(&request);
            let answer = session.ask(&target.protocol("addresses"), &body).await?;
            // It is told once whom the node knows, and then of nobody.
            assert_eq!(answer == [0; 4], number > 0, "the answer to question {number}");
        }
        Ok(())
    });
    let (after, _) = remembered(&siege);
    let (least, most) = (before + BUCKET_PLACES / 2, before + BUCKET_PLACES);
    assert!((least..=most).contains(&after), "{before} addresses before, {after} after");
    siege.hold(LITTLE_MIB);
}
