//! What the swarm speaks: limits first, then a protocol for each kind of message, then gossip.

use std::time::Duration;

use chain::hash::BlockHash;
use libp2p::{
    PeerId, StreamProtocol, mdns, ping,
    request_response::{self, ProtocolSupport},
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};

use super::{
    NetError, addresses,
    codec::{AddressesCodec, HelloCodec, MessageCodec},
    conditions::Gate,
    doors::Doors,
    gossip,
    guard::Guard,
    wire::Kind,
};

/// Seconds that a greeting may take.
const HELLO_TIMEOUT_SECS: u64 = 10;
/// Streams of the greeting a connection: one each way, and one more for a greeting that is sent again.
const HELLO_STREAMS: usize = 4;
/// Seconds between two pings of one connection.
const PING_INTERVAL_SECS: u64 = 10;
/// Seconds that a ping may take. The second ping in a row that takes longer ends the connection, so that a
/// stopped process is noticed after half a minute.
const PING_TIMEOUT_SECS: u64 = 10;

/// The names under which our chain is spoken.
pub(super) struct Names {
    chain: String,
}

impl Names {
    /// The chain is named by the first 16 hex digits of its id in the order in which it is hashed: as
    /// displayed, an id begins with the zeros of its proof of work.
    pub(super) fn of(chain: &BlockHash) -> Self {
        Self { chain: const_hex::encode(&chain.as_bytes()[..8]) }
    }

    /// `/cairn/<chain>/<name>/1`.
    pub(super) fn full(&self, name: &str) -> String {
        format!("/cairn/{}/{name}/1", self.chain)
    }

    fn protocol(&self, name: &str) -> Result<StreamProtocol, NetError> {
        StreamProtocol::try_from_owned(self.full(name)).map_err(|error| NetError::Setup(error.to_string()))
    }
}

/// All protocols. The order is libp2p's order of asking: who may not connect meets no protocol.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    doors: Doors,
    pub(super) gate: Gate,
    pub(super) guard: Guard,
    ping: ping::Behaviour,
    pub(super) hello: request_response::Behaviour<HelloCodec>,
    status: request_response::Behaviour<MessageCodec>,
    headers: request_response::Behaviour<MessageCodec>,
    blocks: request_response::Behaviour<MessageCodec>,
    compact: request_response::Behaviour<MessageCodec>,
    missing: request_response::Behaviour<MessageCodec>,
    transactions: request_response::Behaviour<MessageCodec>,
    pub(super) addresses: request_response::Behaviour<AddressesCodec>,
    pub(super) gossip: gossip::Gossipsub,
    nearby: Toggle<mdns::tokio::Behaviour>,
}

impl Behaviour {
    pub(super) fn new(
        names: &Names,
        doors: Doors,
        guard: Guard,
        nearby: Option<mdns::tokio::Behaviour>,
    ) -> Result<Self, NetError> {
        let ping = ping::Config::new()
            .with_interval(Duration::from_secs(PING_INTERVAL_SECS))
            .with_timeout(Duration::from_secs(PING_TIMEOUT_SECS));
        let hello = request_response::Config::default()
            .with_request_timeout(Duration::from_secs(HELLO_TIMEOUT_SECS))
            .with_max_concurrent_streams(HELLO_STREAMS);
        Ok(Self {
            doors,
            gate: Gate(None),
            guard,
            ping: ping::Behaviour::new(ping),
            hello: request_response::Behaviour::with_codec(
                HelloCodec,
                [(names.protocol("hello")?, ProtocolSupport::Full)],
                hello,
            ),
            status: messages(names, Kind::Status)?,
            headers: messages(names, Kind::Headers)?,
            blocks: messages(names, Kind::Blocks)?,
            compact: messages(names, Kind::Compact)?,
            missing: messages(names, Kind::Missing)?,
            transactions: messages(names, Kind::Transactions)?,
            addresses: request_response::Behaviour::with_codec(
                AddressesCodec,
                [(names.protocol("addresses")?, ProtocolSupport::Full)],
                request_response::Config::default()
                    .with_request_timeout(Duration::from_secs(addresses::TIMEOUT_SECS))
                    .with_max_concurrent_streams(2 * addresses::REQUESTS_PER_PEER),
            ),
            gossip: gossip::new(names)?,
            nearby: Toggle::from(nearby),
        })
    }

    /// The protocol of `kind`.
    pub(super) fn of(&mut self, kind: Kind) -> &mut request_response::Behaviour<MessageCodec> {
        match kind {
            Kind::Status => &mut self.status,
            Kind::Headers => &mut self.headers,
            Kind::Blocks => &mut self.blocks,
            Kind::Compact => &mut self.compact,
            Kind::Missing => &mut self.missing,
            Kind::Transactions => &mut self.transactions,
        }
    }
}

/// What finds nodes on the local network, unless it cannot: then the node goes on without.
pub(super) fn nearby(identity: PeerId) -> Option<mdns::tokio::Behaviour> {
    match mdns::tokio::Behaviour::new(mdns::Config::default(), identity) {
        Ok(nearby) => Some(nearby),
        Err(error) => {
            tracing::warn!(%error, "nodes on the local network cannot be searched for");
            None
        }
    }
}

fn messages(names: &Names, kind: Kind) -> Result<request_response::Behaviour<MessageCodec>, NetError> {
    let config = request_response::Config::default()
        .with_request_timeout(Duration::from_secs(kind.timeout_secs()))
        // Theirs and ours together; what a peer opens beyond it is dropped, and only that peer notices.
        .with_max_concurrent_streams(2 * kind.requests_per_peer());
    let protocols = [(names.protocol(kind.name())?, ProtocolSupport::Full)];
    Ok(request_response::Behaviour::with_codec(MessageCodec { kind }, protocols, config))
}
