//! Finding peers: the book's choices are dialled, peers are asked whom they know, and what is known is kept in a file.
//!
//! Nothing is decided here: [`super::book`] decides, and this room tells it what came of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use chain::hash::BlockHash;
use libp2p::{
    Multiaddr, PeerId,
    request_response::{self, Message, OutboundFailure},
    swarm::ConnectionId,
};
use tokio::time::Instant;

use super::{
    Service,
    addresses::{ANSWER_INTERVAL_SECS, ASK_INTERVAL_SECS, AddressesRequest, MAX_LISTENING},
    book::{
        Book, Carrier, NetAddress, Reach,
        address::reach_of,
        answers::Answers,
        bans::Bans,
        budget::Budget,
        file::{self, Remembered},
        outbound::{Now, Outbound, Purpose},
    },
    conduct::Misconduct,
    doors::Source,
    identity,
    peers::{ConnectionType, now_secs},
    transport,
    wire::WireError,
};

/// Milliseconds between two writes of the file; it is written at the end as well.
const SAVE_INTERVAL_MS: u64 = 15 * 60 * 1_000;

/// What the exchange of addresses reports.
pub(super) type AddressesEvent =
    request_response::Event<Result<AddressesRequest, WireError>, Result<Vec<NetAddress>, WireError>>;

/// What is known of addresses, and what is being tried.
pub(super) struct Finding {
    book: Book,
    outbound: Outbound,
    answers: Answers,
    /// Connections that the book's choice is being made by.
    dialling: BTreeMap<ConnectionId, NetAddress>,
    begun: Instant,
    file: PathBuf,
    chain: BlockHash,
    save_due_ms: u64,
}

/// What the exchange of addresses knows of a session.
pub(super) struct Exchange {
    /// The address that the book chose, where it did.
    pub(super) chosen: Option<NetAddress>,
    /// Where the connection leads to, or comes from.
    pub(super) ip: Option<IpAddr>,
    /// Where the peer can be dialled: as we did, or as it says.
    pub(super) reachable: Vec<NetAddress>,
    budget: Budget,
    answered_ms: Option<u64>,
    asked_ms: Option<u64>,
}

impl Exchange {
    pub(super) fn new(chosen: Option<NetAddress>, address: &Multiaddr, outbound: bool, now_ms: u64) -> Self {
        let reachable =
            if outbound { transport::net_address(address).into_iter().collect() } else { Vec::new() };
        Self {
            chosen,
            ip: transport::ip_of(address),
            reachable,
            budget: Budget::new(now_ms),
            answered_ms: None,
            asked_ms: None,
        }
    }
}

impl Finding {
    pub(super) fn new(
        remembered: (Book, Vec<NetAddress>),
        places: usize,
        seed: [u8; 32],
        file: PathBuf,
        chain: BlockHash,
    ) -> Self {
        let (book, anchors) = remembered;
        Self {
            book,
            outbound: Outbound::new(places, anchors, seed, 0),
            answers: Answers::default(),
            dialling: BTreeMap::new(),
            begun: Instant::now(),
            file,
            chain,
            save_due_ms: SAVE_INTERVAL_MS,
        }
    }

    pub(super) fn now(&self) -> Now {
        let monotonic_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { monotonic_ms, unix_secs: now_secs() }
    }

    /// When there is something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due_ms = self.outbound.due_ms().map_or(self.save_due_ms, |due| due.min(self.save_due_ms));
        self.begun.checked_add(Duration::from_millis(due_ms))
    }

    /// Takes out the address to which a connection was being made, where the book chose it.
    pub(super) fn take_dialled(&mut self, connection: ConnectionId) -> Option<NetAddress> {
        self.dialling.remove(&connection)
    }

    /// A connection to an address that the book chose has ended or did not come to be.
    pub(super) fn gone(&mut self, address: &NetAddress) {
        let now = self.now();
        self.outbound.gone(address, now.monotonic_ms);
    }

    /// Nobody of our chain is at an address.
    pub(super) fn forget(&mut self, address: &NetAddress) {
        self.book.forget(address);
    }

    /// A peer is proved to be of our chain. Returns what the connection was made for, where the book chose it.
    pub(super) fn met(&mut self, exchange: &Exchange, by_hand: bool) -> Option<Purpose> {
        let now = self.now();
        for address in &exchange.reachable {
            if by_hand {
                self.book.add(*address, address.ip(), now.unix_secs);
            }
            self.book.met(address, now.unix_secs);
        }
        exchange.chosen.and_then(|address| self.outbound.connected(&address, now.monotonic_ms))
    }

    /// How the connection of a session came to be.
    pub(super) fn connection_type(&self, exchange: &Exchange, outbound: bool) -> ConnectionType {
        match exchange.chosen.and_then(|address| self.outbound.purpose(&address)) {
            Some(Purpose::Anchor) => ConnectionType::Anchor,
            Some(Purpose::Full) => ConnectionType::OutboundFull,
            Some(Purpose::Feeler) => ConnectionType::Feeler,
            None if outbound => ConnectionType::Manual,
            None => ConnectionType::Inbound,
        }
    }

    /// Takes in addresses that somebody found on this very network.
    pub(super) fn found_nearby(&mut self, addresses: impl Iterator<Item = NetAddress>) {
        let now = self.now();
        for address in addresses {
            // The network itself says so: no stranger is heard about it.
            if reach_of(address.ip()) == Reach::Site && self.book.add(address, address.ip(), now.unix_secs) {
                tracing::debug!(?address, "found on the local network");
            }
        }
        self.outbound.wake(now.monotonic_ms);
    }

    /// Under which number a peer's share of what is scarce is counted.
    pub(super) fn quota(&self, exchange: &Exchange, identity: &PeerId, by_hand: bool) -> u64 {
        let ip = exchange.ip.filter(|ip| !by_hand && Source::of_ip(*ip).is_some());
        self.book.quota(ip, &identity.to_bytes())
    }

    /// Writes the file.
    fn save(&self, bans: &Bans) {
        if self.book.is_empty() && bans.is_empty() && !self.file.exists() {
            return;
        }
        let bytes = file::to_bytes(&self.book, &self.outbound.anchors(), bans, &self.chain);
        if let Err(error) = identity::write(&self.file, &bytes) {
            tracing::warn!(path = %self.file.display(), %error, "addresses of peers and bans are not saved");
        }
    }
}

/// Reads what is remembered. A file that is damaged is moved aside: a node without addresses can find them again, and
/// whoever wants to know what was in it still has it.
pub(super) fn read_remembered(path: &Path, chain: &BlockHash, seed: [u8; 32]) -> Remembered {
    let fresh = || Remembered::new(file::key_of(&seed));
    let bytes = std::fs::File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(file::MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return fresh(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the file of peers cannot be read: starting without it");
            return fresh();
        }
    };
    match Remembered::from_bytes(&bytes, chain, seed) {
        Ok(remembered) => remembered,
        Err(fault) => {
            let mut aside = path.as_os_str().to_owned();
            aside.push(format!(".damaged-{}", now_secs()));
            let moved = std::fs::rename(path, &aside);
            let aside = Path::new(&aside).display().to_string();
            tracing::warn!(path = %path.display(), %fault, %aside, moved = moved.is_ok(),
                "the file of peers is set aside: starting without addresses and bans");
            fresh()
        }
    }
}

impl Service {
    /// Dials what the book chooses, and saves it from time to time.
    pub(super) fn find_peers(&mut self) {
        let now = self.finding.now();
        if self.finding.outbound.due_ms().is_some_and(|due| due <= now.monotonic_ms) {
            let in_use: BTreeSet<NetAddress> = self.sessions.reachable().collect();
            let manual: Vec<IpAddr> = self.sessions.manual_ips().collect();
            loop {
                let bans = &self.swarm.behaviour().guard.bans;
                let taken = |address: &NetAddress| {
                    in_use.contains(address) || bans.has_ip(address.ip(), now.unix_secs)
                };
                let finding = &mut self.finding;
                let Some(dial) = finding.outbound.next(&mut finding.book, taken, &manual, now) else { break };
                tracing::debug!(address = ?dial.address, purpose = ?dial.purpose, "dialling a peer from the book");
                match self.dial(&transport::multiaddr(&dial.address)) {
                    Ok(connection) => {
                        self.finding.dialling.insert(connection, dial.address);
                    }
                    Err(libp2p::swarm::DialError::NoAddresses) => {
                        // It is our own.
                        self.finding.gone(&dial.address);
                        self.finding.forget(&dial.address);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "not dialled now");
                        self.finding.gone(&dial.address);
                        break;
                    }
                }
            }
        }
        if now.monotonic_ms >= self.finding.save_due_ms {
            self.finding.save_due_ms = now.monotonic_ms.saturating_add(SAVE_INTERVAL_MS);
            self.save_peers();
            self.ask_again(now);
        }
    }

    /// Writes what is known of peers to the disk.
    pub(super) fn save_peers(&mut self) {
        let bans = &mut self.swarm.behaviour_mut().guard.bans;
        bans.expire(now_secs());
        self.view.set_bans(self.swarm.behaviour().guard.bans.len());
        self.finding.save(&self.swarm.behaviour().guard.bans);
    }

    /// Asks a peer to which we connected whom it knows. Those who connected to us are not asked: who wants to fill
    /// our book must first be chosen by it.
    pub(super) fn ask_for_addresses(&mut self, identity: PeerId) {
        let listening = self.sessions.get(&identity).and_then(|session| session.exchange.ip);
        let listening = listening.map_or_else(Vec::new, |ip| self.ports_for(ip));
        let now_ms = self.finding.now().monotonic_ms;
        let Some(session) = self.sessions.get(&identity) else { return };
        session.exchange.asked_ms = Some(now_ms);
        let protocol = &mut self.swarm.behaviour_mut().addresses;
        if protocol.is_connected(&identity) {
            protocol.send_request(&identity, Ok(AddressesRequest { listening }));
        }
    }

    fn ask_again(&mut self, now: Now) {
        let due = |exchange: &Exchange| {
            let asked = exchange.asked_ms?;
            (now.monotonic_ms.saturating_sub(asked) >= ASK_INTERVAL_SECS * 1_000).then_some(())
        };
        for identity in
            self.sessions.identities_of(|session| session.ready && due(&session.exchange).is_some())
        {
            self.ask_for_addresses(identity);
        }
    }

    /// The ports at which a machine at `ip` may reach us.
    fn ports_for(&self, ip: IpAddr) -> Vec<(u16, Carrier)> {
        let own = self.swarm.listeners().filter_map(transport::net_address);
        let reaches = own.filter(|own| {
            // Where this machine alone can reach us, nobody else need know of it.
            reach_of(own.ip()) != Reach::Machine || reach_of(ip) == Reach::Machine
        });
        let ports: BTreeSet<(u16, Carrier)> = reaches.map(|own| (own.port(), own.carrier())).collect();
        ports.into_iter().take(MAX_LISTENING).collect()
    }

    /// Takes in what the exchange of addresses reports.
    pub(super) fn hear_addresses(&mut self, event: AddressesEvent) {
        match event {
            request_response::Event::Message { peer: identity, message, .. } => {
                self.proved(identity);
                match message {
                    Message::Request { request: Err(error), .. }
                    | Message::Response { response: Err(error), .. } => {
                        self.view.malformed.add_one();
                        self.blame(identity, Misconduct::Malformed(error.to_string()));
                    }
                    Message::Request { request: Ok(request), channel, .. } => {
                        let answer = self.answer_addresses(identity, &request);
                        let protocol = &mut self.swarm.behaviour_mut().addresses;
                        if protocol.send_response(channel, Ok(answer)).is_err() {
                            tracing::debug!(%identity, "left while asking for addresses");
                        }
                    }
                    Message::Response { response: Ok(addresses), .. } => {
                        self.take_addresses(identity, &addresses)
                    }
                }
            }
            request_response::Event::OutboundFailure { error: OutboundFailure::ConnectionClosed, .. }
            | request_response::Event::ResponseSent { .. } => {}
            request_response::Event::OutboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "tells no addresses");
            }
            request_response::Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "an answer with addresses was not sent");
            }
        }
    }

    fn answer_addresses(&mut self, identity: PeerId, request: &AddressesRequest) -> Vec<NetAddress> {
        let now = self.finding.now();
        let Some(session) = self.sessions.get(&identity).filter(|session| session.ready) else {
            return Vec::new();
        };
        let (outbound, exchange) = (session.outbound, &mut session.exchange);
        let Some(ip) = exchange.ip else { return Vec::new() };
        for (port, carrier) in &request.listening {
            let address = NetAddress::new(ip, *port, *carrier);
            if !outbound && transport::can_dial(*carrier) && exchange.budget.take(now.monotonic_ms) {
                self.finding.book.add(address, ip, now.unix_secs);
                if exchange.reachable.len() < MAX_LISTENING && !exchange.reachable.contains(&address) {
                    exchange.reachable.push(address);
                }
            }
        }
        let since = exchange.answered_ms.map(|at| now.monotonic_ms.saturating_sub(at));
        if since.is_some_and(|passed| passed < ANSWER_INTERVAL_SECS * 1_000) {
            return Vec::new();
        }
        exchange.answered_ms = Some(now.monotonic_ms);
        self.finding.outbound.wake(now.monotonic_ms);
        let finding = &mut self.finding;
        finding.answers.get(&mut finding.book, reach_of(ip), now.unix_secs).to_vec()
    }

    fn take_addresses(&mut self, identity: PeerId, addresses: &[NetAddress]) {
        let now = self.finding.now();
        let Some(session) = self.sessions.get(&identity).filter(|session| session.ready) else { return };
        let exchange = &mut session.exchange;
        let Some(ip) = exchange.ip else { return };
        let mut new = 0_u64;
        for address in addresses {
            // What this build cannot dial has no place in its book.
            let can_dial = transport::can_dial(address.carrier());
            if exchange.budget.take(now.monotonic_ms)
                && can_dial
                && self.finding.book.add(*address, ip, now.unix_secs)
            {
                new += 1;
            }
        }
        tracing::debug!(%identity, told = addresses.len(), new, "addresses heard");
        self.view.set_addresses_known(self.finding.book.len() as u64);
        self.finding.outbound.wake(now.monotonic_ms);
    }
}
