//! A hostile peer: it speaks to a real node over loopback, byte by byte, and keeps to no rule it does not choose to.
//!
//! Of libp2p it uses the encryption alone ([`line`]), since nothing is read before that. All above is written by
//! hand: yamux's frames ([`frame`]), streams and the naming of protocols ([`session`], [`stream`]), gossipsub's
//! messages ([`gossip`]). A library would refuse to send most of what is sent here.
//!
//! How a peer behaves on the streams that the node opens is its [`Manners`]: an attacker has to be polite enough to
//! be let in, and to stay. One that waits for the node to dial it is an [`ambush`].

pub mod ambush;
pub mod frame;
pub mod gossip;
pub mod line;
pub mod session;
pub mod siege;
pub mod stream;
pub mod usage;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use chain::{block::HEADER_BYTES, genesis::Chain, hash::BlockHash};
use node::p2p::wire::{Kind, Status};

pub use self::{line::Line, session::Session, stream::Stream};

/// How long an attacker waits for anything: generous, so that a hanging test ends.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Whom to attack.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its chain, or the one that the attacker claims to be on.
    pub chain: Chain,
}

impl Target {
    /// The protocol of this name on the target's chain: `/cairn/<first 16 hex digits of the id>/<name>/1`.
    #[must_use]
    pub fn protocol(&self, name: &str) -> String {
        format!("/cairn/{}/{name}/1", const_hex::encode(&self.chain.id().as_bytes()[..8]))
    }

    /// The protocol of a kind of request.
    #[must_use]
    pub fn request_protocol(&self, kind: Kind) -> String {
        self.protocol(kind.name())
    }

    /// The topic of the chain's transactions.
    #[must_use]
    pub fn topic(&self) -> String {
        self.protocol("transactions")
    }

    /// What a peer says of itself that has nothing but the genesis block.
    #[must_use]
    pub fn fresh_status(&self) -> Status {
        let genesis = self.chain.genesis().header;
        Status {
            chain: self.chain.id(),
            tip: self.chain.id(),
            height: chain::height::Height::ZERO,
            work: genesis.bits.to_target().map_or(chain::pow::Work::ZERO, |target| target.work()),
            agent: "/attacker:1/".into(),
        }
    }

    /// Connects and greets as an honest peer would, and is a peer from then on.
    ///
    /// # Errors
    /// Where the node does not let it in.
    pub async fn enter(&self, manners: Manners) -> io::Result<Session> {
        self.enter_from(line::next_address(), manners).await
    }

    /// The same from an address of one's own.
    ///
    /// # Errors
    /// Where the node does not let it in.
    pub async fn enter_from(&self, from: IpAddr, manners: Manners) -> io::Result<Session> {
        let session = Session::open_from(from, self, manners).await?;
        let mut hello = session.stream(&self.protocol("hello")).await?;
        hello.finish().await?;
        hello.read_to_end().await?;
        Ok(session)
    }

    /// The same, polite and with nothing but the genesis block.
    ///
    /// # Errors
    /// Where the node does not let it in.
    pub async fn enter_politely(&self) -> io::Result<Session> {
        self.enter(Manners::polite(self.fresh_status())).await
    }
}

/// What an attacker does on the streams that the node opens.
#[derive(Clone, Debug)]
pub struct Manners {
    /// Whether it reads what comes at all; without, the node's send buffers fill.
    pub reads: bool,
    /// Whether it answers greetings and pings.
    pub answers: bool,
    /// Whether it lets the node send more than a stream's first credit; without, the node's answers stay half sent.
    pub gives_credit: bool,
    /// What it says of itself when the node exchanges tips; nothing where it stays silent.
    pub status: Option<Status>,
}

impl Manners {
    /// Reads, answers, and says this of itself.
    #[must_use]
    pub const fn polite(status: Status) -> Self {
        Self { reads: true, answers: true, gives_credit: true, status: Some(status) }
    }

    /// Reads, and answers nothing.
    #[must_use]
    pub const fn mute() -> Self {
        Self { reads: true, answers: false, gives_credit: true, status: None }
    }
}

/// A frame of the request protocols: its length in four bytes, little-endian, and the body.
///
/// # Panics
/// Where the body is longer than such a length can say.
#[must_use]
pub fn framed(body: &[u8]) -> Vec<u8> {
    claimed(u32::try_from(body.len()).expect("a message of less than 4 GiB"), body)
}

/// A frame that claims this length, whatever it holds.
#[must_use]
pub fn claimed(length: u32, body: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes()[..], body].concat()
}

/// A request for blocks by hash, of any number.
///
/// # Panics
/// Where there are 2^32 of them.
#[must_use]
pub fn blocks_request(hashes: &[BlockHash]) -> Vec<u8> {
    let count = u32::try_from(hashes.len()).expect("fewer than 2^32");
    let mut body = count.to_le_bytes().to_vec();
    hashes.iter().for_each(|hash| body.extend(hash.as_bytes()));
    body
}

/// A response with headers, of any number.
///
/// # Panics
/// Where there are 2^32 of them.
#[must_use]
pub fn headers_response(headers: &[chain::block::Header]) -> Vec<u8> {
    let count = u32::try_from(headers.len()).expect("fewer than 2^32");
    let mut body = Vec::with_capacity(4 + headers.len() * HEADER_BYTES);
    body.extend(count.to_le_bytes());
    headers.iter().for_each(|header| body.extend(header.to_bytes()));
    body
}
