//! Gossipsub by hand: backoffs, topics, ids and transactions that no honest node sends.

use std::io;

use chain::hash::sha256;
use node::p2p::wire::Kind;
use tests::{
    answers::{await_in_mempools, mempool},
    attacker::{
        Session, Stream, Target, blocks_request, framed, gossip,
        siege::{LITTLE_MIB, Siege},
    },
    keys::to_hex,
};

/// Heartbeats of gossipsub that are awaited, of a second each: what a backoff breaks shows at the next ones.
const HEARTBEATS_SECS: u64 = 6;
/// Topics that a peer asks to be in the mesh of.
const GRAFTED_TOPICS: u32 = 1_000_000;
/// Topics that a peer says it listens to.
const LISTENED_TOPICS: u32 = 10_000;
/// Ids of messages that nobody has.
const UNKNOWN_IDS: u32 = 50_000;
/// Entries of one message of control: gossipsub takes at most 16 KiB of it.
const ENTRIES_PER_MESSAGE: usize = 400;

/// A peer that listens to the chain's transactions, and its stream of gossip.
async fn listener(target: &Target) -> io::Result<(Session, Stream)> {
    let session = target.enter_politely().await?;
    let mut stream = session.gossip().await?;
    stream.send(&gossip::message(&gossip::subscription(&target.topic(), true))).await?;
    Ok((session, stream))
}

fn ids(count: u32, seed: u32) -> Vec<[u8; 32]> {
    (0..count).map(|number| sha256(&[seed.to_le_bytes(), number.to_le_bytes()].concat())).collect()
}

/// Sends as much as the node takes; a node that has had enough may close the connection.
async fn pour(stream: &mut Stream, messages: impl IntoIterator<Item = Vec<u8>>) {
    for body in messages {
        if stream.send(&gossip::message(&body)).await.is_err() {
            return;
        }
    }
}

#[test]
fn p16_backoffs_of_any_length_stop_no_heartbeat() {
    let siege = Siege::open("p16");
    let target = &siege.target;
    let topic = target.topic();
    let uptime = siege.node.rpc().uptime().expect("it answers");
    // Just below, at and above what a clock of signed 64 bits can add to now.
    let long = i64::MAX.unsigned_abs();
    let backoffs =
        [u64::MAX, u64::MAX - 1, long, long - uptime, long - uptime - 60, long / 1_000, 1 << 40, 0];
    let peers = siege.attack(async {
        let mut peers = Vec::new();
        for backoff in backoffs {
            let (session, mut stream) = listener(target).await?;
            for topic in [topic.as_str(), "unknown", ""] {
                let parts = [gossip::graft(topic), gossip::prune(topic, backoff)];
                for part in &parts {
                    stream.send(&gossip::message(&gossip::control(std::slice::from_ref(part)))).await?;
                }
                stream.send(&gossip::message(&gossip::control(&parts))).await?;
            }
            peers.push((session, stream));
        }
        Ok(peers)
    });
    siege.await_seconds(HEARTBEATS_SECS);
    drop(peers);
    siege.await_seconds(2);
    siege.hold(LITTLE_MIB);
}

#[test]
fn p16_a_million_topics_are_not_remembered() {
    let siege = Siege::open("p16-topics");
    let target = &siege.target;
    siege.attack(async {
        let (_session, mut stream) = listener(target).await?;
        for kind in [gossip::graft as fn(&str) -> Vec<u8>, |topic| gossip::prune(topic, 3_600)] {
            let numbers: Vec<u32> = (0..GRAFTED_TOPICS / 2).collect();
            let messages = numbers.chunks(ENTRIES_PER_MESSAGE).map(|chunk| {
                let parts: Vec<Vec<u8>> = chunk.iter().map(|number| kind(&format!("t{number}"))).collect();
                gossip::control(&parts)
            });
            pour(&mut stream, messages).await;
        }
        Ok(())
    });
    siege.await_seconds(2);
    siege.hold(LITTLE_MIB);
}

#[test]
fn p19_topics_and_ids_without_end_are_not_remembered() {
    let siege = Siege::open("p19");
    let target = &siege.target;
    let topic = target.topic();
    siege.attack(async {
        // Subscriptions one by one, and many in a message.
        let (_first, mut stream) = listener(target).await?;
        let one = |number: u32| gossip::subscription(&format!("/cairn/{number:0>60}"), true);
        pour(&mut stream, (0..LISTENED_TOPICS).map(one)).await;
        let (_second, mut stream) = listener(target).await?;
        pour(&mut stream, [(0..LISTENED_TOPICS).flat_map(one).collect::<Vec<u8>>()]).await;
        // In and out, ten thousand times.
        let (_third, mut stream) = listener(target).await?;
        pour(&mut stream, (0..LISTENED_TOPICS).map(|number| gossip::subscription(&topic, number % 2 == 0)))
            .await;
        // Ids that nobody has: "I have", "I want", "do not send me", in small messages and in large ones.
        let ids = ids(UNKNOWN_IDS, 1);
        for entries in [ENTRIES_PER_MESSAGE, ids.len()] {
            for make in [
                (|topic, ids| gossip::ihave(topic, ids)) as fn(&str, &[[u8; 32]]) -> Vec<u8>,
                |_, ids| gossip::iwant(ids),
                |_, ids| gossip::idontwant(ids),
            ] {
                let (_session, mut stream) = listener(target).await?;
                pour(&mut stream, ids.chunks(entries).map(|ids| gossip::control(&[make(&topic, ids)]))).await;
            }
        }
        Ok(())
    });
    siege.await_seconds(3);
    siege.hold(LITTLE_MIB);
}

#[test]
fn p02_unknown_ids_are_asked_for_without_end_and_answers_never_read() {
    let siege = Siege::open("p02");
    let target = &siege.target;
    let peers = siege.attack(async {
        let (session, mut stream) = listener(target).await?;
        session.change_manners(|manners| manners.reads = false);
        let ids = ids(UNKNOWN_IDS, 2);
        for chunk in ids.chunks(ENTRIES_PER_MESSAGE) {
            let parts = [gossip::ihave(&target.topic(), chunk), gossip::iwant(chunk)];
            for part in parts {
                drop(
                    session
                        .send(tests::attacker::frame::data(
                            0,
                            stream.id(),
                            &gossip::message(&gossip::control(&[part])),
                        ))
                        .await,
                );
            }
        }
        // And blocks that nobody has, beyond what may be open at a time.
        for number in 0..200u32 {
            let hash = chain::hash::BlockHash::from_bytes(sha256(&number.to_le_bytes()));
            let request = framed(&blocks_request(&[hash; 16]));
            drop(session.fling(&target.request_protocol(Kind::Blocks), &request).await);
        }
        drop(stream.finish().await);
        Ok(session)
    });
    siege.await_seconds(3);
    drop(peers);
    siege.hold(LITTLE_MIB);
}

#[test]
fn p05_an_announcement_that_is_not_kept_delays_nobody_elses() {
    let siege = Siege::open("p05");
    let target = &siege.target;
    let payment = siege.alice.pay(&siege.coins[0], &siege.bob, 10_000);
    let bytes = payment.to_bytes();
    let id = sha256(&[sha256(target.topic().as_bytes()), sha256(&bytes)].concat());
    // The attacker has the payment before everybody, announces it, is asked, and says nothing; and it announces many
    // that do not exist.
    let peers = siege.attack(async {
        let (session, mut stream) = listener(target).await?;
        stream.send(&gossip::message(&gossip::control(&[gossip::ihave(&target.topic(), &[id])]))).await?;
        let ids = ids(UNKNOWN_IDS, 3);
        let more = ids
            .chunks(ENTRIES_PER_MESSAGE)
            .map(|ids| gossip::control(&[gossip::ihave(&target.topic(), ids)]));
        pour(&mut stream, more).await;
        Ok((session, stream))
    });
    siege.honest.rpc().sendrawtransaction(to_hex(&payment), None).expect("the coin is unspent");
    await_in_mempools(&[siege.node.rpc().clone()], payment.txid());
    drop(peers);
    siege.hold(LITTLE_MIB);
}

#[test]
fn p20_what_was_forged_first_does_not_hide_the_honest_message() {
    let siege = Siege::open("p20");
    let target = &siege.target;
    let topic = target.topic();
    let payment = siege.alice.pay(&siege.coins[0], &siege.bob, 10_000);
    let good = payment.to_bytes();
    // The same payment with one bit of its signature changed: the same txid, and invalid.
    let mut forged = good.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    siege.attack(async {
        // With a sender and a signature, which no honest node sends: an id of the attacker's choosing, were it heard.
        let (_first, mut stream) = listener(target).await?;
        let signed = gossip::signed_publication(&topic, &good, &[7; 34], &[7; 64]);
        pour(&mut stream, [signed, gossip::publication("another topic", &good)]).await;
        let (_second, mut stream) = listener(target).await?;
        pour(&mut stream, [gossip::publication(&topic, &forged)]).await;
        Ok(())
    });
    siege.await_seconds(1);
    assert_eq!(mempool(siege.node.rpc()), Ok(Vec::new()), "nothing of it was taken");
    siege.honest.rpc().sendrawtransaction(to_hex(&payment), None).expect("the coin is unspent");
    await_in_mempools(&[siege.node.rpc().clone()], payment.txid());
    siege.hold(LITTLE_MIB);
}

#[test]
fn p12_who_floods_with_invalid_payments_is_banned_and_nobody_else() {
    let siege = Siege::open("p12");
    let target = &siege.target;
    let topic = target.topic();
    // The witness of each is spoilt in another place.
    let good = siege.alice.pay(&siege.coins[0], &siege.bob, 10_000).to_bytes();
    let spoilt = (1..=32).map(|place| {
        let mut bytes = good.clone();
        let index = bytes.len() - place;
        bytes[index] ^= 1;
        gossip::publication(&topic, &bytes)
    });
    let spoilt: Vec<Vec<u8>> = spoilt.collect();
    siege.attack(async {
        let (session, mut stream) = listener(target).await?;
        pour(&mut stream, spoilt).await;
        session.closed().await
    });
    siege.await_alone();
    siege.hold(LITTLE_MIB);
}
