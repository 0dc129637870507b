//! Streams over an encrypted connection, by hand: what a node sends is sorted by stream, and what an attacker sends
//! is whatever it likes, within the rules of yamux or not.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
};

use futures::{
    AsyncReadExt, AsyncWriteExt,
    io::{ReadHalf, WriteHalf},
};
use node::p2p::wire::Kind;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    Manners, PATIENCE, Target,
    frame::{self, Header},
    framed,
    line::{self, GREETING, Line, line},
    stream::Stream,
};

/// The multiplexing of streams.
const YAMUX: &str = "/yamux/1.0.0";
/// Frames of an attacker that wait for the socket.
const WAITING_FRAMES: usize = 16;
/// Bytes of a ping.
const PING_BYTES: usize = 32;
/// The number of the first stream of whoever dialled, whose streams are odd.
const FIRST_OF_DIALLER: u32 = 1;
/// The number of the first stream of whoever was dialled, whose streams are even.
const FIRST_OF_LISTENER: u32 = 2;

/// What came on a stream, and what may be sent on it.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) incoming: Vec<u8>,
    pub(super) ended: bool,
    pub(super) reset: bool,
    pub(super) credit: u32,
    unread: u32,
}

impl Inbox {
    const fn new() -> Self {
        Self { incoming: Vec::new(), ended: false, reset: false, credit: frame::INITIAL_CREDIT, unread: 0 }
    }
}

/// A request of the node, to be answered or not.
#[derive(Debug)]
pub struct Asked {
    /// The protocol that it named.
    pub protocol: String,
    /// The message.
    pub body: Vec<u8>,
    /// Where the answer goes.
    pub stream: Stream,
}

#[derive(Debug)]
struct State {
    streams: BTreeMap<u32, Inbox>,
    manners: Manners,
    closed: bool,
    gossip: Vec<u8>,
}

/// What the session and its streams share.
#[derive(Debug)]
pub(super) struct Shared {
    target: Target,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    frames: mpsc::Sender<Vec<u8>>,
    answers: mpsc::UnboundedSender<Vec<u8>>,
    asked: mpsc::UnboundedSender<Asked>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding what came")
    }

    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Looks at a stream; nothing where the session is closed.
    pub(super) fn with<T>(&self, stream: u32, look: impl FnOnce(&mut Inbox) -> T) -> Option<T> {
        let mut state = self.state();
        let closed = state.closed;
        state.streams.get_mut(&stream).filter(|inbox| !closed || !inbox.incoming.is_empty()).map(look)
    }

    pub(super) async fn send(&self, frame: Vec<u8>) -> io::Result<()> {
        self.frames.send(frame).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Takes in one frame of the node's; whether it opens a stream.
    fn take_in(&self, header: Header, data: &[u8]) -> bool {
        let mut state = self.state();
        let gives_credit = state.manners.gives_credit;
        let opens = header.flags & frame::SYN != 0 && header.stream != 0;
        if opens {
            state.streams.insert(header.stream, Inbox::new());
        }
        if let Some(inbox) = state.streams.get_mut(&header.stream) {
            match header.kind {
                frame::DATA => {
                    inbox.incoming.extend(data);
                    inbox.unread = inbox.unread.saturating_add(header.length);
                    if gives_credit && inbox.unread >= frame::INITIAL_CREDIT / 2 {
                        let more = std::mem::take(&mut inbox.unread);
                        let update = Header::new(frame::WINDOW_UPDATE, 0, header.stream, more);
                        // An error says that the writer is gone, and with it the session.
                        drop(self.answers.send(update.to_bytes()));
                    }
                }
                frame::WINDOW_UPDATE => inbox.credit = inbox.credit.saturating_add(header.length),
                _ => {}
            }
            inbox.ended |= header.flags & frame::FIN != 0;
            inbox.reset |= header.flags & frame::RST != 0;
        }
        if header.kind == frame::PING && header.flags & frame::SYN != 0 {
            drop(self.answers.send(Header::new(frame::PING, frame::ACK, 0, header.length).to_bytes()));
        }
        drop(state);
        self.changed.send_replace(());
        opens
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.send_replace(());
    }
}

/// A session with the node.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    next: AtomicU32,
    asked: tokio::sync::Mutex<mpsc::UnboundedReceiver<Asked>>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Session {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        // Whoever still waits on a stream of it waits in vain.
        self.shared.close();
    }
}

impl Session {
    /// Opens a session, and greets nobody.
    ///
    /// # Errors
    /// Where the node does not want one.
    pub async fn open(target: &Target, manners: Manners) -> io::Result<Self> {
        Self::open_from(line::next_address(), target, manners).await
    }

    /// The same from an address of one's own.
    ///
    /// # Errors
    /// Where the node does not want one.
    pub async fn open_from(from: IpAddr, target: &Target, manners: Manners) -> io::Result<Self> {
        let mut line = line::open_from(from, target.address).await?;
        line::propose(&mut line, YAMUX).await?;
        Ok(Self::over(line, target, manners, FIRST_OF_DIALLER))
    }

    /// Makes a session of a connection that the node has opened, and greets nobody.
    ///
    /// # Errors
    /// Where the node does not go on.
    pub async fn accept(socket: TcpStream, target: &Target, manners: Manners) -> io::Result<Self> {
        let mut line = line::accept(socket).await?;
        line::agree(&mut line, YAMUX).await?;
        Ok(Self::over(line, target, manners, FIRST_OF_LISTENER))
    }

    fn over(line: Line, target: &Target, manners: Manners, first_stream: u32) -> Self {
        let (read, write) = line.split();
        let (frames, waiting_frames) = mpsc::channel(WAITING_FRAMES);
        let (answers, waiting_answers) = mpsc::unbounded_channel();
        let (asked, waiting_asked) = mpsc::unbounded_channel();
        let state = State { streams: BTreeMap::new(), manners, closed: false, gossip: Vec::new() };
        let shared = Arc::new(Shared {
            target: target.clone(),
            state: Mutex::new(state),
            changed: watch::channel(()).0,
            frames,
            answers,
            asked,
        });
        let reader = tokio::spawn(read_frames(read, Arc::clone(&shared)));
        let writer = tokio::spawn(write_frames(write, waiting_frames, waiting_answers));
        let asked = tokio::sync::Mutex::new(waiting_asked);
        Self { shared, next: AtomicU32::new(first_stream), asked, tasks: [reader, writer] }
    }

    /// A number for a stream of one's own.
    #[must_use]
    pub fn next_stream(&self) -> u32 {
        self.next.fetch_add(2, Ordering::Relaxed)
    }

    /// Sends bytes as they are: yamux's frames, or none.
    ///
    /// # Errors
    /// Where the session has ended.
    pub async fn send(&self, bytes: Vec<u8>) -> io::Result<()> {
        self.shared.send(bytes).await
    }

    /// Opens a stream and waits until the node agrees to the protocol.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn stream(&self, protocol: &str) -> io::Result<Stream> {
        let mut stream = self.stream_unheard(protocol).await?;
        for expected in [GREETING, protocol] {
            let said = stream.read_line().await?;
            if said != expected {
                return Err(io::Error::other(format!("{expected} was proposed, the node says {said}")));
            }
        }
        Ok(stream)
    }

    /// Opens a stream and names the protocol, whatever the node says to it.
    ///
    /// # Errors
    /// Where the session has ended.
    pub async fn stream_unheard(&self, protocol: &str) -> io::Result<Stream> {
        let id = self.next_stream();
        self.shared.state().streams.insert(id, Inbox::new());
        let mut stream = Stream::new(id, Arc::clone(&self.shared));
        stream.open(&[line(GREETING), line(protocol)].concat()).await?;
        Ok(stream)
    }

    /// Asks and waits for the answer: its body.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn ask(&self, protocol: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = self.stream(protocol).await?;
        stream.send(&framed(body)).await?;
        stream.finish().await?;
        stream.read_frame().await
    }

    /// Sends a request as it is and waits for nothing.
    ///
    /// # Errors
    /// Where the session has ended.
    pub async fn fling(&self, protocol: &str, bytes: &[u8]) -> io::Result<Stream> {
        let mut stream = self.stream_unheard(protocol).await?;
        stream.send(bytes).await?;
        stream.finish().await?;
        Ok(stream)
    }

    /// Opens the stream of gossip.
    ///
    /// # Errors
    /// Where the node does not want one.
    pub async fn gossip(&self) -> io::Result<Stream> {
        self.stream(super::gossip::PROTOCOL).await
    }

    /// Waits until the node has heard all that was sent: it answers what is asked after it.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn heard(&self) -> io::Result<()> {
        let target = &self.shared.target;
        let status = chain::encode::to_bytes(&target.fresh_status());
        self.ask(&target.request_protocol(Kind::Status), &status).await.map(drop)
    }

    /// The next request of the node: for headers, for blocks, for addresses, or a block that it pushes.
    ///
    /// # Errors
    /// Where none comes.
    pub async fn asked(&self) -> io::Result<Asked> {
        let mut asked = self.asked.lock().await;
        let next = timeout(PATIENCE, asked.recv()).await.map_err(|_| io::ErrorKind::TimedOut)?;
        next.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// The next request of the node by this protocol; others stay without an answer.
    ///
    /// # Errors
    /// Where none comes.
    pub async fn asked_by(&self, protocol: &str) -> io::Result<Asked> {
        loop {
            let asked = self.asked().await?;
            if asked.protocol == protocol {
                return Ok(asked);
            }
        }
    }

    /// All that the node gossiped so far, as it came.
    #[must_use]
    pub fn heard_gossip(&self) -> Vec<u8> {
        self.shared.state().gossip.clone()
    }

    /// Behaves in another way from now on.
    pub fn change_manners(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.shared.state().manners);
    }

    /// Whether the node has closed the connection.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.state().closed
    }

    /// Waits until the node closes the connection.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn closed(&self) -> io::Result<()> {
        let mut changed = self.shared.watch();
        let closed = async {
            while !self.is_closed() {
                // An error would say that the sender is gone, which is ours.
                drop(changed.changed().await);
            }
        };
        timeout(PATIENCE, closed).await.map_err(|_| io::Error::other("the node keeps the connection"))
    }
}

/// Reads frames until the node closes; a peer that does not read waits here for ever.
async fn read_frames(mut read: ReadHalf<Line>, shared: Arc<Shared>) {
    loop {
        if !shared.state().manners.reads {
            return std::future::pending().await;
        }
        let Ok((header, data)) = read_frame(&mut read).await else { break };
        if header.kind == frame::GO_AWAY {
            break;
        }
        if shared.take_in(header, &data) {
            let ack = Header::new(frame::WINDOW_UPDATE, frame::ACK, header.stream, 0);
            drop(shared.answers.send(ack.to_bytes()));
            let stream = Stream::new(header.stream, Arc::clone(&shared));
            tokio::spawn(serve(stream, Arc::clone(&shared)));
        }
    }
    shared.close();
}

async fn read_frame(read: &mut ReadHalf<Line>) -> io::Result<(Header, Vec<u8>)> {
    let mut header = [0; frame::HEADER_BYTES];
    read.read_exact(&mut header).await?;
    let header = Header::from_bytes(header);
    let mut data = Vec::new();
    if header.kind == frame::DATA {
        data = vec![0; usize::try_from(header.length).map_err(io::Error::other)?];
        read.read_exact(&mut data).await?;
    }
    Ok((header, data))
}

/// Writes what the attacker sends; what it owes the node out of politeness goes first.
async fn write_frames(
    mut write: WriteHalf<Line>,
    mut frames: mpsc::Receiver<Vec<u8>>,
    mut answers: mpsc::UnboundedReceiver<Vec<u8>>,
) {
    loop {
        let next = tokio::select! {
            biased;
            answer = answers.recv() => answer,
            frame = frames.recv() => frame,
        };
        let Some(bytes) = next else { return };
        if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
            return;
        }
    }
}

/// Behaves on a stream that the node has opened. Its end, however it comes, concerns nobody.
async fn serve(mut stream: Stream, shared: Arc<Shared>) {
    if shared.state().manners.answers {
        drop(answer(&mut stream, &shared).await);
    }
}

async fn answer(stream: &mut Stream, shared: &Shared) -> io::Result<()> {
    stream.read_line().await?;
    stream.send(&line(GREETING)).await?;
    let target = &shared.target;
    let protocol = loop {
        let word = stream.read_line().await?;
        let known = word.starts_with(&target.protocol("").replace("//1", "/"))
            || word.starts_with("/meshsub/")
            || word == "/ipfs/ping/1.0.0";
        stream.send(&line(if known { &word } else { "na" })).await?;
        if known {
            break word;
        }
    };
    if protocol == target.protocol("hello") {
        stream.read_to_end().await?;
        stream.finish().await
    } else if protocol == "/ipfs/ping/1.0.0" {
        loop {
            let bytes = stream.read_exact(PING_BYTES).await?;
            stream.send(&bytes).await?;
        }
    } else if protocol.starts_with("/meshsub/") {
        loop {
            let bytes = stream.read_some().await?;
            shared.state().gossip.extend(bytes);
            shared.changed.send_replace(());
        }
    } else {
        let body = stream.read_frame().await?;
        let status = shared.state().manners.status.clone();
        match status.filter(|_| protocol == target.protocol("status")) {
            Some(status) => {
                stream.send(&framed(&chain::encode::to_bytes(&status))).await?;
                stream.finish().await
            }
            None => {
                let asked = Asked { protocol, body, stream: stream.again() };
                shared.asked.send(asked).map_err(io::Error::other)
            }
        }
    }
}
