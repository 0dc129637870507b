//! Yamux by hand: windows that overflow, frames that lie, streams without end.

use std::io;

use node::p2p::wire::Kind;
use tests::attacker::{
    Manners, Session, Target,
    frame::{self, Header, INITIAL_CREDIT},
    line::line,
    siege::{LITTLE_MIB, Siege},
};

/// Streams that are opened at once.
const MANY_STREAMS: u32 = 10_000;

/// Opens a session, sends frames as they are, and waits for the end of the session.
async fn ended_by(target: &Target, frames: &[Vec<u8>]) -> io::Result<()> {
    let session = target.enter_politely().await?;
    for bytes in frames {
        session.send(bytes.clone()).await?;
    }
    session.closed().await
}

#[test]
fn p17_frames_that_break_yamux_end_their_session_alone() {
    let siege = Siege::open("p17");
    let target = &siege.target;
    let too_much = vec![0; usize::try_from(INITIAL_CREDIT).expect("small") + 1];
    siege.attack(async {
        // 262,145 bytes with the opening of a stream (CVE-2026-32314), and after it.
        ended_by(target, &[frame::data(frame::SYN, 101, &too_much)]).await?;
        ended_by(target, &[frame::data(frame::SYN, 101, &[]), frame::data(0, 101, &too_much)]).await?;
        // A length of 4 GiB with and without the opening.
        for flags in [0, frame::SYN] {
            ended_by(target, &[Header::new(frame::DATA, flags, 101, u32::MAX).to_bytes()]).await?;
        }
        // Another version, another kind, a stream of the node's own numbers, one number twice.
        let mut header = Header::new(frame::PING, 0, 0, 0);
        header.version = 9;
        ended_by(target, &[header.to_bytes()]).await?;
        ended_by(target, &[Header::new(7, 0, 0, 0).to_bytes()]).await?;
        ended_by(target, &[frame::data(frame::SYN, 102, &line("x"))]).await?;
        let opening = frame::data(frame::SYN, 101, &[]);
        ended_by(target, &[opening.clone(), opening]).await
    });
    siege.hold(LITTLE_MIB);
}

#[test]
fn p17_windows_that_overflow_stop_nobody() {
    let siege = Siege::open("p17-window");
    let target = &siege.target;
    siege.attack(async {
        // Credit of 4 GiB again and again (CVE-2026-31814, CVE-2024-32984), with the opening, on an open stream, on
        // the stream of a request whose answer is on its way.
        for flags in [0, frame::SYN] {
            let session = target.enter_politely().await?;
            let id = session.next_stream();
            if flags == 0 {
                session.send(frame::data(frame::SYN, id, &line("/multistream/1.0.0"))).await?;
            }
            let update = Header::new(frame::WINDOW_UPDATE, flags, id, u32::MAX).to_bytes();
            session.send(update.clone()).await?;
            for _ in 0..1_000 {
                let update = Header::new(frame::WINDOW_UPDATE, 0, id, u32::MAX).to_bytes();
                if session.send(update).await.is_err() {
                    break;
                }
            }
            let stream = session.stream_unheard(&target.request_protocol(Kind::Headers)).await;
            if let Ok(stream) = stream {
                drop(
                    session
                        .send(Header::new(frame::WINDOW_UPDATE, 0, stream.id(), u32::MAX).to_bytes())
                        .await,
                );
            }
        }
        // Pings of yamux's own: many unasked answers, then many questions that are never waited for.
        let session = target.enter_politely().await?;
        for number in 0..20_000 {
            let flags = if number % 2 == 0 { frame::ACK } else { frame::SYN };
            if session.send(Header::new(frame::PING, flags, 0, number).to_bytes()).await.is_err() {
                break;
            }
        }
        Ok(())
    });
    siege.hold(LITTLE_MIB);
}

#[test]
fn p17_ten_thousand_streams_are_not_opened() {
    let siege = Siege::open("p17-streams");
    let target = &siege.target;
    siege.attack(async {
        for greeting in [Vec::new(), line("/multistream/1.0.0")] {
            let session = target.enter_politely().await?;
            for _ in 0..MANY_STREAMS {
                let id = session.next_stream();
                if session.send(frame::data(frame::SYN, id, &greeting)).await.is_err() {
                    break;
                }
            }
            // Whether it is sent away or merely not served: it holds nothing beyond the limit of streams.
            drop(session);
        }
        Ok(())
    });
    siege.hold(LITTLE_MIB);
}

#[test]
fn p17_half_a_frame_and_noise_are_nobodys_concern() {
    let siege = Siege::open("p17-noise");
    let target = &siege.target;
    siege.attack(async {
        let session = Session::open(target, Manners::mute()).await?;
        session.send(vec![0; 5]).await?;
        let other = Session::open(target, Manners::mute()).await?;
        other.send(b"GET / HTTP/1.1\r\nHost: cairn\r\n\r\n".to_vec()).await?;
        other.closed().await?;
        drop(session);
        Ok(())
    });
    siege.hold(LITTLE_MIB);
}
