//! Messages on a stream: a length of four bytes, little-endian, then the message.
//!
//! The length is held against the protocol's limit before anything is read, and the buffer grows as bytes
//! arrive: a claim reserves nothing (threat P13). A message that breaks its limits is not an error of the
//! stream but a value that reaches the service, since libp2p reports no failed inbound stream and the peer
//! has to be sent away.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};

use super::{
    addresses::{self, AddressesRequest},
    book::NetAddress,
    wire::{Kind, Request, Response, WireError},
};

/// Reads and writes the messages of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageCodec {
    pub(super) kind: Kind,
}

impl request_response::Codec for MessageCodec {
    type Protocol = StreamProtocol;
    type Request = Result<Request, WireError>;
    type Response = Result<Response, WireError>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        let frame = read_frame(io, self.kind.max_request_bytes()).await?;
        Ok(frame.and_then(|bytes| Request::from_bytes(self.kind, &bytes)))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let frame = read_frame(io, self.kind.max_response_bytes()).await?;
        Ok(frame.and_then(|bytes| Response::from_bytes(self.kind, &bytes)))
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Self::Request,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &request.map_err(io::Error::other)?.to_bytes()).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Self::Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &response.map_err(io::Error::other)?.to_bytes()).await
    }
}

/// The greeting: two empty messages. Whoever answers speaks our chain's protocols, since their names carry
/// the chain; there is nothing else to say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HelloCodec;

impl request_response::Codec for HelloCodec {
    type Protocol = StreamProtocol;
    type Request = ();
    type Response = ();

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<()>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_nothing(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<()>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_nothing(io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, _: &mut T, (): ()) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        Ok(())
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, _: &mut T, (): ()) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        Ok(())
    }
}

/// Requests for addresses and their answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AddressesCodec;

impl request_response::Codec for AddressesCodec {
    type Protocol = StreamProtocol;
    type Request = Result<AddressesRequest, WireError>;
    type Response = Result<Vec<NetAddress>, WireError>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        let frame = read_frame(io, addresses::MAX_REQUEST_BYTES).await?;
        Ok(frame.and_then(|bytes| AddressesRequest::from_bytes(&bytes)))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let frame = read_frame(io, addresses::MAX_RESPONSE_BYTES).await?;
        Ok(frame.and_then(|bytes| addresses::read_response(&bytes)))
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Self::Request,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &chain::encode::to_bytes(&request.map_err(io::Error::other)?)).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Self::Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &chain::encode::to_bytes(&response.map_err(io::Error::other)?)).await
    }
}

async fn read_nothing<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<()> {
    match io.read(&mut [0]).await? {
        0 => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a greeting is empty")),
    }
}

/// Reads one frame of at most `limit` bytes. The outer error is the stream's, the inner one the peer's.
async fn read_frame<T: AsyncRead + Unpin + Send>(
    io: &mut T,
    limit: usize,
) -> io::Result<Result<Vec<u8>, WireError>> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length);
    let claimed = usize::try_from(length).unwrap_or(usize::MAX);
    if claimed > limit {
        return Ok(Err(WireError::TooLong { claimed, limit }));
    }
    let mut bytes = Vec::new();
    read_body(io, length, &mut bytes).await?;
    Ok(Ok(bytes))
}

/// Reads `length` bytes into an empty buffer, which grows with what has come.
async fn read_body<T: AsyncRead + Unpin + Send>(
    io: &mut T,
    length: u32,
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    io.take(u64::from(length)).read_to_end(bytes).await?;
    if u32::try_from(bytes.len()) == Ok(length) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

async fn write_frame<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    io.write_all(&length.to_le_bytes()).await?;
    io.write_all(bytes).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use super::*;

    /// A peer that sends `bytes` and then stays silent for ever.
    struct Silent(Vec<u8>);

    impl AsyncRead for Silent {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            if self.0.is_empty() {
                return Poll::Pending;
            }
            let count = buffer.len().min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Poll::Ready(Ok(count))
        }
    }

    #[tokio::test]
    async fn p13_a_length_above_the_limit_is_refused_before_its_bytes_are_awaited() {
        for kind in Kind::ALL {
            for limit in [kind.max_request_bytes(), kind.max_response_bytes()] {
                let claimed = limit + 1;
                let prefix = u32::try_from(claimed).expect("limits fit into a prefix").to_le_bytes();
                // Nothing follows the prefix, so that a reader that waited for the body would never end.
                let read = read_frame(&mut Silent(prefix.to_vec()), limit).await;
                assert_eq!(read.expect("the stream is whole"), Err(WireError::TooLong { claimed, limit }));
            }
        }
    }

    #[tokio::test]
    async fn p13_a_claimed_length_reserves_nothing() {
        // 16 MB are claimed, ten bytes come: what is held follows what came.
        let mut buffer = Vec::new();
        let mut stream = futures::io::Cursor::new([7; 10]);
        let read = read_body(&mut stream, 16_000_000, &mut buffer).await;
        assert_eq!(read.expect_err("the body is cut short").kind(), io::ErrorKind::UnexpectedEof);
        assert!(buffer.capacity() < 1024, "{}", buffer.capacity());
    }

    #[tokio::test]
    async fn a_frame_is_read_back() {
        let mut bytes = futures::io::Cursor::new(Vec::new());
        write_frame(&mut bytes, b"cairn").await.expect("a vector takes all");
        let bytes = bytes.into_inner();
        assert_eq!(bytes, b"\x05\0\0\0cairn");
        let read = read_frame(&mut Silent(bytes), 5).await;
        assert_eq!(read.expect("the stream is whole"), Ok(b"cairn".to_vec()));
    }
}
