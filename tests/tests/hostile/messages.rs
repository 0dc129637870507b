//! Requests and responses that claim, repeat, or are nothing at all.

use std::io;

use chain::hash::BlockHash;
use node::p2p::wire::{Kind, MAX_BLOCKS, MAX_LOCATOR_HASHES};
use tests::{
    answers::answer,
    attacker::{
        Target, blocks_request, claimed, framed, gossip,
        siege::{LITTLE_MIB, Siege},
    },
    wait::{require, until},
};

/// 2^40, as protocol buffers and other variable-length numbers say it.
const TWO_TO_THE_40: u64 = 1 << 40;
/// Requests with one fault each, in which an attacker believes more than a node does.
const REPETITIONS: usize = 200;

/// Enters, sends a request as it is, and waits until the node closes the connection.
async fn sent_away_for(target: &Target, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    let session = target.enter_politely().await?;
    let _stream = session.fling(&target.request_protocol(kind), bytes).await?;
    session.closed().await
}

#[test]
fn p13_claimed_lengths_reserve_nothing() {
    let siege = Siege::open("p13");
    let target = &siege.target;
    let limit = |kind: Kind| u32::try_from(kind.max_request_bytes()).expect("limits fit into a length");
    siege.attack(async {
        for kind in Kind::ALL {
            // A frame of 4 GiB, one above the limit, and a list or text of 2^32 - 1 items in a frame of its limit.
            sent_away_for(target, kind, &claimed(u32::MAX, &[])).await?;
            sent_away_for(target, kind, &claimed(limit(kind) + 1, &[0; 1_000])).await?;
            let items = vec![0xff; kind.max_request_bytes().min(1_000)];
            sent_away_for(target, kind, &framed(&items)).await?;
        }
        Ok(())
    });
    // Gossip says lengths in 64 bits: a message of 2^40 bytes, and a field of 2^40 in a small message.
    siege.attack(async {
        let session = target.enter_politely().await?;
        for bytes in [
            [gossip::varint(TWO_TO_THE_40), vec![0; 10]].concat(),
            gossip::message(&[gossip::varint(2 << 3 | 2), gossip::varint(TWO_TO_THE_40)].concat()),
            gossip::message(&gossip::varint(u64::MAX)),
            vec![0xff; 64],
        ] {
            let mut stream = session.gossip().await?;
            stream.send(&bytes).await?;
            stream.finish().await?;
        }
        // The naming of protocols, too: a line of 2^40 bytes.
        let line = [gossip::varint(TWO_TO_THE_40), b"/multistream/1.0.0\n".to_vec()].concat();
        session.send(tests::attacker::frame::data(1, session.next_stream(), &line)).await
    });
    siege.hold(LITTLE_MIB);
}

#[test]
fn p13_many_half_sent_messages_hold_what_came_and_no_more() {
    let siege = Siege::open("p13-half");
    let target = &siege.target;
    // As many pushes as a peer may have open, each of which claims the largest block and sends a tenth of a MiB.
    let sessions = siege.attack(async {
        let mut sessions = Vec::new();
        for _ in 0..4 {
            let session = target.enter_politely().await?;
            for kind in Kind::ALL {
                for _ in 0..kind.requests_per_peer() {
                    let mut stream = session.stream_unheard(&target.request_protocol(kind)).await?;
                    let length = u32::try_from(kind.max_request_bytes()).map_err(io::Error::other)?;
                    let part = vec![0; kind.max_request_bytes().min(100_000) / 2];
                    stream.send(&claimed(length, &part)).await?;
                }
            }
            sessions.push(session);
        }
        Ok(sessions)
    });
    assert!(sessions.iter().all(|session| !session.is_closed()), "half a message is no fault yet");
    siege.hold(LITTLE_MIB);
}

#[test]
fn p14_what_looks_compressed_is_never_expanded() {
    let siege = Siege::open("p14");
    let target = &siege.target;
    siege.attack(async {
        for head in [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0x78, 0x9c][..], b"\xff\x06\0\0sNaPpY"] {
            // A MiB of deflate's shortest way to say "258 times the same again", which would be some 160 MiB.
            let bomb = [head, &vec![0x5d; 1 << 20]].concat();
            for kind in Kind::ALL {
                if bomb.len() <= kind.max_request_bytes() {
                    sent_away_for(target, kind, &framed(&bomb)).await?;
                }
            }
            let session = target.enter_politely().await?;
            let mut stream = session.gossip().await?;
            stream.send(&gossip::message(&gossip::publication(&target.topic(), &bomb))).await?;
            session.closed().await?;
        }
        Ok(())
    });
    siege.hold(LITTLE_MIB);
}

#[test]
fn p03_malformed_requests_end_and_cost_nothing() {
    let siege = Siege::open("p03");
    let target = &siege.target;
    let hashes = |count: usize| framed(&blocks_request(&vec![BlockHash::from_bytes([7; 32]); count]));
    siege.attack(async {
        // Too many items, and items that are not there.
        let too_many = [hashes(MAX_BLOCKS + 1), hashes(1_001), framed(&1_000u32.to_le_bytes())];
        for bytes in &too_many {
            sent_away_for(target, Kind::Blocks, bytes).await?;
        }
        let locator = blocks_request(&vec![BlockHash::ZERO; MAX_LOCATOR_HASHES + 1]);
        sent_away_for(target, Kind::Headers, &framed(&[locator, vec![0; 32]].concat())).await?;
        // Protocols that nobody speaks, whose streams end while the session goes on.
        let session = target.enter_politely().await?;
        for name in ["unknown", "", "blocks/2", "\u{1}"] {
            assert!(session.stream(&target.protocol(name)).await.is_err(), "{name:?} is not spoken");
        }
        // Nothing asked for, and what nobody has: answered, as often as one asks.
        for _ in 0..REPETITIONS {
            let protocol = target.request_protocol(Kind::Blocks);
            assert_eq!(session.ask(&protocol, &blocks_request(&[])).await?, [0; 4]);
            let unknown = blocks_request(&[BlockHash::from_bytes([7; 32]); MAX_BLOCKS]);
            assert_eq!(session.ask(&protocol, &unknown).await?, [0; 4]);
        }
        assert!(!session.is_closed());
        Ok(())
    });
    siege.hold(LITTLE_MIB);
}

#[test]
fn p08_answers_that_come_twice_unasked_or_late_change_nothing() {
    let siege = Siege::open("p08");
    let target = &siege.target;
    siege.attack(async {
        let mut status = target.fresh_status();
        // It claims more work, so that it is asked for headers.
        status.work = chain::pow::Work::from_be_bytes([0x7f; 32]);
        status.tip = BlockHash::from_bytes([9; 32]);
        let session = target.enter(tests::attacker::Manners::polite(status)).await?;
        let mut asked = loop {
            let asked = session.asked().await?;
            if asked.protocol == target.request_protocol(Kind::Headers) {
                break asked;
            }
        };
        // The answer twice, then after the end of the stream, then once more after a reset.
        let none = framed(&0u32.to_le_bytes());
        asked.stream.send(&[none.clone(), none.clone()].concat()).await?;
        asked.stream.finish().await?;
        session.send(tests::attacker::frame::data(0, asked.stream.id(), &none)).await?;
        asked.stream.reset().await?;
        session.send(tests::attacker::frame::data(0, asked.stream.id(), &none)).await?;
        // What nobody asked for, on a stream that nobody opened.
        session.send(tests::attacker::frame::data(0, 4_000, &none)).await
    });
    siege.hold(LITTLE_MIB);
}

#[test]
fn p24_a_peer_of_another_chain_is_heard_by_nobody() {
    let siege = Siege::open("p24");
    let other = tests::chains::lab_chain(siege.folder(), "other", |params| params.message = "other".into());
    let foreign = Target { chain: other.chain, ..siege.target.clone() };
    siege.attack(async {
        let session = tests::attacker::Session::open(&foreign, tests::attacker::Manners::mute()).await?;
        for name in ["hello", "status", "headers", "blocks"] {
            assert!(session.stream(&foreign.protocol(name)).await.is_err(), "{name} is of another chain");
        }
        session.closed().await
    });
    // One that lies about its chain under our names is sent away for it.
    let mut status = siege.target.fresh_status();
    status.chain = foreign.chain.id();
    siege.attack(async {
        let session = siege.target.enter_politely().await?;
        let body = chain::encode::to_bytes(&status);
        let _stream = session.fling(&siege.target.request_protocol(Kind::Status), &framed(&body)).await?;
        session.closed().await
    });
    siege.await_alone();
    until("the node's chain is its own", || {
        let info = answer(siege.node.rpc().getblockchaininfo())?;
        require(info.blocks.get() > 0, || "no blocks".into())
    });
    siege.hold(LITTLE_MIB);
}
