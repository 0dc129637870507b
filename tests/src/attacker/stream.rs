//! One stream of an attacker's session.

use std::{io, sync::Arc};

use tokio::{sync::watch, time::timeout};

use super::{
    PATIENCE,
    frame::{self, Header},
    line::{self, Source},
    session::{Inbox, Shared},
};

/// The most data that one frame carries, in bytes.
const MAX_FRAME_BYTES: usize = 64 * 1_024;

/// A stream: what comes can be read, and what is sent keeps to the node's credit unless it is sent unasked.
#[derive(Debug)]
pub struct Stream {
    id: u32,
    shared: Arc<Shared>,
    changed: watch::Receiver<()>,
}

impl Stream {
    pub(super) fn new(id: u32, shared: Arc<Shared>) -> Self {
        let changed = shared.watch();
        Self { id, shared, changed }
    }

    /// The same stream in other hands.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.id, Arc::clone(&self.shared))
    }

    /// Its number.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Opens it with these bytes.
    pub(super) async fn open(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pay(bytes.len());
        self.shared.send(frame::data(frame::SYN, self.id, bytes)).await
    }

    /// Waits for what `look` finds.
    async fn wait<T>(&mut self, mut look: impl FnMut(&mut Inbox) -> Option<T>) -> io::Result<T> {
        let (id, shared, changed) = (self.id, Arc::clone(&self.shared), &mut self.changed);
        let found = async {
            loop {
                changed.borrow_and_update();
                match shared.with(id, |inbox| look(inbox).ok_or(inbox.reset)) {
                    Some(Ok(found)) => return Ok(found),
                    None | Some(Err(true)) => return Err(io::ErrorKind::ConnectionReset.into()),
                    Some(Err(false)) => {}
                }
                changed.changed().await.map_err(io::Error::other)?;
            }
        };
        timeout(PATIENCE, found).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    fn pay(&self, bytes: usize) {
        let price = u32::try_from(bytes).unwrap_or(u32::MAX);
        // Nothing is paid where the session has ended.
        let _: Option<()> =
            self.shared.with(self.id, |inbox| inbox.credit = inbox.credit.saturating_sub(price));
    }

    /// Sends bytes as the node gives credit for them.
    ///
    /// # Errors
    /// Where the stream or the session has ended.
    pub async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let credit = self.wait(|inbox| (inbox.credit > 0).then_some(inbox.credit)).await?;
            let count =
                bytes.len().min(usize::try_from(credit).unwrap_or(MAX_FRAME_BYTES)).min(MAX_FRAME_BYTES);
            let (now, later) = bytes.split_at(count);
            self.pay(count);
            self.shared.send(frame::data(0, self.id, now)).await?;
            bytes = later;
        }
        Ok(())
    }

    /// Ends our side.
    ///
    /// # Errors
    /// Where the session has ended.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.shared.send(Header::new(frame::DATA, frame::FIN, self.id, 0).to_bytes()).await
    }

    /// Ends the stream at once.
    ///
    /// # Errors
    /// Where the session has ended.
    pub async fn reset(&mut self) -> io::Result<()> {
        self.shared.send(Header::new(frame::DATA, frame::RST, self.id, 0).to_bytes()).await
    }

    /// Reads exactly so many bytes.
    ///
    /// # Errors
    /// Where fewer come.
    pub async fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let found = self.wait(|inbox| {
            if inbox.incoming.len() >= count {
                return Some(Some(inbox.incoming.drain(..count).collect()));
            }
            inbox.ended.then_some(None)
        });
        found.await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Reads what there is, at least one byte.
    ///
    /// # Errors
    /// Where nothing comes any more.
    pub async fn read_some(&mut self) -> io::Result<Vec<u8>> {
        let found = self.wait(|inbox| {
            let some = !inbox.incoming.is_empty();
            (some || inbox.ended).then(|| std::mem::take(&mut inbox.incoming))
        });
        let bytes = found.await?;
        if bytes.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
    }

    /// Reads all until the node ends its side.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        self.wait(|inbox| inbox.ended.then(|| std::mem::take(&mut inbox.incoming))).await
    }

    /// Reads a frame of the request protocols: its body.
    ///
    /// # Errors
    /// Where none comes.
    pub async fn read_frame(&mut self) -> io::Result<Vec<u8>> {
        let length = self.read_exact(4).await?;
        let length = u32::from_le_bytes(length.try_into().map_err(|_| io::ErrorKind::UnexpectedEof)?);
        self.read_exact(usize::try_from(length).map_err(io::Error::other)?).await
    }

    /// Reads a line of the naming of protocols.
    ///
    /// # Errors
    /// Where none comes.
    pub async fn read_line(&mut self) -> io::Result<String> {
        line::read_line(self).await
    }
}

impl Source for Stream {
    async fn take_bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        self.read_exact(count).await
    }
}
