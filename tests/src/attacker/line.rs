//! The way to a node below all streams: TCP, the naming of protocols, and libp2p's encryption.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::atomic::{AtomicU8, Ordering},
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{
    core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    identity::Keypair,
    noise,
};
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    net::{TcpSocket, TcpStream},
};

/// What both sides say before anything else.
pub const GREETING: &str = "/multistream/1.0.0";
/// The encryption.
const NOISE: &str = "/noise";
/// The address from which attackers come. It is another than that of the honest nodes of the stories, so that
/// what a node does about an address never meets them.
pub const ATTACKERS_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// The address of the next attacker, each its own in turn, so that several may stay at a time.
pub fn next_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let place = NEXT.fetch_add(1, Ordering::Relaxed);
    IpAddr::V4(Ipv4Addr::new(127, 0, 1 + place / 128, 2 + place % 128))
}

/// The longest line of the naming of protocols that an attacker reads, in bytes.
const MAX_LINE_BYTES: usize = 1_024;

/// A TCP connection of tokio's, as libp2p wants it.
#[derive(Debug)]
pub struct Socket(TcpStream);

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Opens a TCP connection from `from` and says nothing.
///
/// # Errors
/// The system's.
pub async fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

/// An encrypted connection with nothing above it.
pub type Line = noise::Output<Socket>;

/// Opens an encrypted connection from an address, with a new identity.
///
/// # Errors
/// Where the node does not want one.
pub async fn open_from(from: IpAddr, to: SocketAddr) -> io::Result<Line> {
    let mut socket = Socket(connect(from, to).await?);
    propose(&mut socket, NOISE).await?;
    let noise = noise::Config::new(&Keypair::generate_ed25519()).map_err(io::Error::other)?;
    let (_, line) = noise.upgrade_outbound(socket, NOISE).await.map_err(io::Error::other)?;
    Ok(line)
}

/// Makes an encrypted connection of one that the node has opened, with a new identity.
///
/// # Errors
/// Where the node does not go on.
pub async fn accept(socket: TcpStream) -> io::Result<Line> {
    // Small messages go at once, as the node's do.
    socket.set_nodelay(true)?;
    let mut socket = Socket(socket);
    agree(&mut socket, NOISE).await?;
    let noise = noise::Config::new(&Keypair::generate_ed25519()).map_err(io::Error::other)?;
    let (_, line) = noise.upgrade_inbound(socket, NOISE).await.map_err(io::Error::other)?;
    Ok(line)
}

/// A line of the naming of protocols: its length, the word, a line feed.
#[must_use]
pub fn line(word: &str) -> Vec<u8> {
    super::gossip::message(format!("{word}\n").as_bytes())
}

/// Names a protocol and waits for the node's agreement.
///
/// # Errors
/// Where it does not agree.
pub async fn propose<T: AsyncRead + AsyncWrite + Unpin + Send>(io: &mut T, protocol: &str) -> io::Result<()> {
    name(io, protocol).await?;
    hear_name(io, protocol).await
}

/// Waits until the node names a protocol, and agrees to it.
///
/// # Errors
/// Where it names another.
pub async fn agree<T: AsyncRead + AsyncWrite + Unpin + Send>(io: &mut T, protocol: &str) -> io::Result<()> {
    hear_name(io, protocol).await?;
    name(io, protocol).await
}

async fn name<T: AsyncWrite + Unpin + Send>(io: &mut T, protocol: &str) -> io::Result<()> {
    io.write_all(&[line(GREETING), line(protocol)].concat()).await?;
    io.flush().await
}

async fn hear_name<T: AsyncRead + Unpin + Send>(io: &mut T, protocol: &str) -> io::Result<()> {
    for expected in [GREETING, protocol] {
        let said = read_line(io).await?;
        if said != expected {
            return Err(io::Error::other(format!("{expected} is meant, the node says {said}")));
        }
    }
    Ok(())
}

/// Where bytes come from: an encrypted connection, or a stream of one.
pub trait Source {
    /// Takes exactly so many bytes.
    fn take_bytes(&mut self, count: usize) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}

impl<T: AsyncRead + Unpin + Send> Source for T {
    async fn take_bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.read_exact(&mut bytes).await?;
        Ok(bytes)
    }
}

/// Reads a line of the naming of protocols.
///
/// # Errors
/// The source's, or where it is no line.
pub async fn read_line<S: Source + Send>(source: &mut S) -> io::Result<String> {
    let mut length = 0;
    for place in 0.. {
        let byte = source.take_bytes(1).await?[0];
        length |= usize::from(byte & 0x7f) << (7 * place);
        if length > MAX_LINE_BYTES {
            return Err(io::Error::other("a line that is no line"));
        }
        if byte < 0x80 {
            break;
        }
    }
    let text = String::from_utf8(source.take_bytes(length).await?).map_err(io::Error::other)?;
    Ok(text.trim_end_matches('\n').to_owned())
}
