//! Bytes to and from each peer, counted on the streams: what protocols write and read. The frames of yamux or QUIC,
//! the encryption and TCP come on top and are not counted.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    PeerId,
    core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox},
};
use parking_lot::Mutex;

/// What went to and came from one peer.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Bytes sent to the peer.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes received from it.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// The counters of all connections that are open.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter(Arc<Mutex<BTreeMap<PeerId, Arc<Traffic>>>>);

impl Meter {
    /// The counter of a peer, the same for all its connections.
    pub(super) fn of(&self, identity: PeerId) -> Arc<Traffic> {
        let mut counters = self.0.lock();
        // A counter that only this table knows belongs to connections that are gone.
        counters.retain(|peer, traffic| *peer == identity || Arc::strong_count(traffic) > 1);
        Arc::clone(counters.entry(identity).or_default())
    }

    /// Counts what goes through a connection.
    pub(super) fn count(&self, identity: PeerId, inner: StreamMuxerBox) -> StreamMuxerBox {
        StreamMuxerBox::new(Counted { inner, traffic: self.of(identity) })
    }
}

struct Counted<T> {
    inner: T,
    traffic: Arc<Traffic>,
}

impl Counted<StreamMuxerBox> {
    fn stream(&self, inner: SubstreamBox) -> Counted<SubstreamBox> {
        Counted { inner, traffic: Arc::clone(&self.traffic) }
    }
}

impl StreamMuxer for Counted<StreamMuxerBox> {
    type Substream = Counted<SubstreamBox>;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        Poll::Ready(Ok(self.stream(stream)))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(self.stream(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

impl AsyncRead for Counted<SubstreamBox> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.traffic.received.fetch_add(read as u64, Ordering::Relaxed);
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Counted<SubstreamBox> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.traffic.sent.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bytes))?;
        self.traffic.sent.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
