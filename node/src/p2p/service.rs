//! The task that owns the swarm: it hears the network for the engine and acts for it.
//!
//! Here are the loop and the connections; what the engine commands is in `commands`, what the protocols report
//! in `hearing`.

use std::{collections::VecDeque, future::Future, sync::Arc};

use futures::{FutureExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::ConnectedPoint,
    gossipsub::{self, TopicHash},
    metrics::{Metrics, Recorder, Registry},
    swarm::{ConnectionId, DialError, SwarmEvent},
};
use tokio::{
    sync::mpsc::{Receiver, Sender},
    time::{Instant, sleep_until},
};

use super::{
    FromNet, NetConfig, NetError, RequestFailure, ToNet,
    behaviour::{self, Behaviour, BehaviourEvent, Names},
    book::{file, outbound::Purpose},
    conditions::{Held, Lab},
    conduct::{Consequence, Misconduct},
    dials::Dials,
    doors::Doors,
    finding::{self, Exchange, Finding},
    gossip::{self, Unheard, Unjudged},
    guard::Guard,
    holding, identity,
    peers::{NetView, PeerInfo, now_secs},
    sessions::{Sessions, Settled},
    traffic::Meter,
    transport,
};
use crate::store::failpoint;

/// Events that wait for the engine while the network is still read; beyond it, peers have to wait.
const OUTBOX_PAUSE: usize = 64;

/// Events that wait for the engine at most. Only an engine that sends as many requests that cannot be sent as
/// this, without taking one event in between, gets no failure for those beyond it.
pub const OUTBOX_LIMIT: usize = 4_096;

/// Failures in a row after which an address that does not answer is worth a warning.
const WARN_AFTER_FAILURES: u32 = 5;

/// The network's side of the node.
pub struct Service {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) topic: TopicHash,
    pub(super) sessions: Sessions,
    pub(super) dials: Dials,
    pub(super) finding: Finding,
    meter: Meter,
    pub(super) unheard: Unheard,
    pub(super) unjudged: Unjudged,
    pub(super) view: Arc<NetView>,
    pub(super) metrics: Metrics,
    pub(super) lab: Option<Arc<Lab>>,
    pub(super) held: Held,
    outbox: VecDeque<FromNet>,
}

impl Service {
    /// Reads or makes the identity and begins to listen. To be called within a tokio runtime.
    ///
    /// # Errors
    /// [`NetError`] where the key file, an address or a port is not as it should be.
    pub fn new(config: NetConfig) -> Result<Self, NetError> {
        Self::metered(config, &mut Registry::default())
    }

    /// The same, counting in `registry`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn metered(config: NetConfig, registry: &mut Registry) -> Result<Self, NetError> {
        let key = identity::load_or_create(&config.identity_file)?;
        let names = Names::of(&config.chain);
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| NetError::Random(error.to_string()))?;
        let remembered = finding::read_remembered(&config.peers_file, &config.chain, seed);
        let guard = Guard::new(config.caps, remembered.bans, file::key_of(&seed));
        let searches = config.outbound_places > 0 && config.search_nearby;
        let nearby = searches.then(|| behaviour::nearby(PeerId::from(key.public()))).flatten();
        let meter = Meter::default();
        let mut behaviour = Behaviour::new(&names, Doors::new(config.caps), guard, nearby)?;
        behaviour.gossip = behaviour.gossip.with_metrics(
            registry.sub_registry_with_prefix("libp2p_gossipsub"),
            gossipsub::MetricsConfig::default(),
        );
        let mut swarm = transport::new_swarm(&key, behaviour, meter.clone(), registry)?;
        for text in &config.listen {
            let listen = |reason: String| NetError::Listen { address: text.clone(), reason };
            let parsed = transport::parse_address(text);
            let (address, _) = parsed.map_err(|refusal| match refusal {
                super::DialRefusal::NotAnAddress(text) => NetError::ListenAddress(text),
                other => other.into(),
            })?;
            transport::refuse_taken_port(&address).map_err(|error| listen(error.to_string()))?;
            swarm.listen_on(address).map_err(|error| listen(error.to_string()))?;
        }
        let mut dials = Dials::new();
        for text in &config.bootstrap {
            let (address, identity) = transport::parse_address(text)?;
            // One list may serve all nodes of a network, and name one node twice.
            if identity != Some(*swarm.local_peer_id()) {
                match dials.add(address, identity, Instant::now()) {
                    Err(super::DialRefusal::Known) => tracing::debug!(%text, "bootstrap address given twice"),
                    added => added?,
                }
            }
        }
        let view = Arc::new(NetView::new(swarm.local_peer_id().to_string()));
        let mut service = Self {
            swarm,
            topic: gossip::topic(&names).hash(),
            sessions: Sessions::default(),
            dials,
            finding: Finding::new(
                (remembered.book, remembered.anchors),
                config.outbound_places,
                seed,
                config.peers_file,
                config.chain,
            ),
            meter,
            unheard: Unheard::default(),
            unjudged: Unjudged::default(),
            view,
            metrics: Metrics::new(registry),
            lab: None,
            held: Held::default(),
            outbox: VecDeque::new(),
        };
        // What is known at once is taken in at once: above all the ports that the system has chosen.
        while let Some(Some(event)) = service.swarm.next().now_or_never() {
            service.hear(event)?;
        }
        Ok(service)
    }

    /// What others may read while the service runs.
    #[must_use]
    pub fn view(&self) -> Arc<NetView> {
        Arc::clone(&self.view)
    }

    /// Runs until `shutdown`, or until the engine has dropped its end of a queue; then all connections close.
    ///
    /// See the module [`super`] for what the engine is promised, and why this cannot deadlock.
    ///
    /// # Errors
    /// [`NetError::ListenerClosed`] where the system takes a listening socket away.
    pub async fn run(
        mut self,
        mut commands: Receiver<ToNet>,
        events: Sender<FromNet>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), NetError> {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            failpoint::beat("network");
            self.flush(&events);
            self.do_what_is_due(Instant::now());
            let dues = [self.dials.next_due(), self.finding.next_due(), self.held.next_due()];
            let due = dues.into_iter().flatten().min();
            let timer = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut shutdown => {
                    self.save_peers();
                    return Ok(());
                }
                () = timer => {}
                () = holding::changed(self.lab.clone()) => self.conditions_changed(),
                permit = events.reserve(), if !self.outbox.is_empty() => match (permit, self.outbox.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    (Err(_), _) => return Ok(()),
                    (_, None) => {}
                },
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return Ok(()),
                },
                event = self.swarm.select_next_some(), if self.outbox.len() < OUTBOX_PAUSE => self.hear(event)?,
            }
        }
    }

    /// Hands over as many events as there is room for, without waiting.
    fn flush(&mut self, events: &Sender<FromNet>) {
        while !self.outbox.is_empty()
            && let Ok(permit) = events.try_reserve()
            && let Some(event) = self.outbox.pop_front()
        {
            permit.send(event);
        }
    }

    fn do_what_is_due(&mut self, now: Instant) {
        self.release_held(now);
        self.find_peers();
        while let Some((address, identity)) = self.dials.due(now) {
            if identity.is_some_and(|identity| self.sessions.is_connected(&identity)) {
                self.dials.satisfied(&address);
                continue;
            }
            match self.dial(&address) {
                Ok(connection) => self.dials.started(&address, connection),
                // libp2p passes over an address that we listen on ourselves, and then has none left.
                Err(DialError::NoAddresses) => self.forget_own(&address),
                Err(error) => {
                    tracing::debug!(%address, %error, "not dialled now");
                    self.dials.refused(&address, now);
                }
            }
        }
    }

    /// A peer gave us a block, or a transaction, that was new and valid.
    pub(super) fn note_gift(&mut self, identity: PeerId, is_block: bool) {
        self.swarm.behaviour_mut().guard.note_gift(&identity, is_block);
        if let Some(session) = self.sessions.get(&identity) {
            self.view.set_gift(session.peer, is_block);
        }
    }

    fn forget_own(&mut self, address: &Multiaddr) {
        tracing::info!(%address, "the address is this node's own: it is not dialled again");
        if let Err(error) = self.dials.remove(address) {
            tracing::debug!(%address, %error, "was not kept");
        }
    }

    /// Queues an event for the engine.
    pub(super) fn tell(&mut self, event: FromNet) {
        if self.outbox.len() >= OUTBOX_LIMIT {
            tracing::error!(limit = OUTBOX_LIMIT, "the engine takes no events; one is lost");
            return;
        }
        self.outbox.push_back(event);
    }

    fn hear(&mut self, event: SwarmEvent<BehaviourEvent>) -> Result<(), NetError> {
        self.metrics.record(&event);
        match event {
            SwarmEvent::Behaviour(event) => self.hear_protocol(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.opened(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(%peer_id, %connection_id, ?cause, "connection closed");
                self.closed(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.dial_failed(connection_id, &error);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(address = %send_back_addr, %error, "an inbound connection failed");
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                let address = self.full_address(address);
                tracing::info!(%address, "listening; other nodes join with --bootstrap and this address");
                self.view.add_listening(address.clone());
                self.tell(FromNet::Listening { address });
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                let address = self.full_address(address);
                tracing::warn!(%address, "no longer listening");
                self.view.remove_listening(&address);
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                let addresses = addresses.join(", ");
                let reason = reason.err().map_or_else(|| "closed".to_owned(), |error| error.to_string());
                return Err(NetError::ListenerClosed { addresses, reason });
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener reports an error"),
            other => tracing::trace!(?other, "nothing to do"),
        }
        Ok(())
    }

    fn full_address(&self, address: Multiaddr) -> String {
        // An address that carries an identity already is its own full form.
        address.with_p2p(*self.swarm.local_peer_id()).unwrap_or_else(|address| address).to_string()
    }

    fn opened(&mut self, identity: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        self.dials.connected(connection, identity);
        let (address, outbound) = match endpoint {
            ConnectedPoint::Dialer { address, .. } => (address, true),
            ConnectedPoint::Listener { send_back_addr, .. } => (send_back_addr, false),
        };
        tracing::debug!(%identity, %connection, %address, outbound, "connection opened");
        let chosen = self.finding.take_dialled(connection);
        let exchange = Exchange::new(chosen, address, outbound, self.finding.now().monotonic_ms);
        let traffic = self.meter.of(identity);
        if self.sessions.opened(identity, connection, address.to_string(), outbound, exchange, traffic) {
            self.greet(identity);
        } else if let Some(chosen) = chosen {
            // Somebody whom we know already, by another address or from its side: one connection is enough.
            self.finding.gone(&chosen);
            self.swarm.close_connection(connection);
        } else if self.sessions.get(&identity).is_some_and(|session| session.dismissed) {
            // It was sent away and its old connections are still closing.
            self.swarm.close_connection(connection);
        }
    }

    pub(super) fn greet(&mut self, identity: PeerId) {
        let hello = &mut self.swarm.behaviour_mut().hello;
        // Without this check, libp2p would dial a peer that has just left.
        if hello.is_connected(&identity) {
            hello.send_request(&identity, ());
        }
    }

    /// The peer has named a protocol that carries our chain.
    pub(super) fn proved(&mut self, identity: PeerId) {
        let Some(session) = self.sessions.get(&identity) else { return };
        if session.ready || session.dismissed {
            return;
        }
        let by_hand = session.outbound && session.exchange.chosen.is_none();
        let connection_type = self.finding.connection_type(&session.exchange, session.outbound);
        if self.finding.met(&session.exchange, by_hand) == Some(Purpose::Feeler) {
            return self.dismiss(identity, "the feeler has found a node", false);
        }
        session.ready = true;
        session.useful = true;
        let (peer, address, outbound) = (session.peer, session.address.clone(), session.outbound);
        let traffic = Arc::clone(&session.traffic);
        let quota = self.finding.quota(&session.exchange, &identity, by_hand);
        if outbound {
            self.ask_for_addresses(identity);
        }
        let identity = identity.to_string();
        tracing::info!(%peer, %identity, %address, outbound, "peer connected");
        self.view.insert(PeerInfo {
            id: peer,
            identity: identity.clone(),
            address: address.clone(),
            outbound,
            connection_type,
            traffic,
            last_block_secs: None,
            last_transaction_secs: None,
            connected_since_secs: now_secs(),
            ping: None,
            min_ping: None,
            status: None,
        });
        self.tell(FromNet::Connected { peer, address, outbound, identity, quota });
    }

    fn closed(&mut self, identity: PeerId, connection: ConnectionId) {
        if self.sessions.closed(&identity, connection) {
            self.settle(&identity);
            if let Some(session) = self.sessions.remove(&identity) {
                self.dials.lost(identity, session.useful, Instant::now());
                if let Some(chosen) = session.exchange.chosen {
                    self.finding.gone(&chosen);
                }
            }
        }
    }

    /// Ends a session for the engine: its requests fail, then it is gone.
    fn settle(&mut self, identity: &PeerId) {
        let Some(Settled { peer, was_ready, unanswered }) = self.sessions.settle(identity) else { return };
        self.end_held(peer);
        for id in unanswered {
            self.tell(FromNet::Response { peer, id, result: Err(RequestFailure::Disconnected) });
        }
        if was_ready {
            tracing::info!(%peer, "peer disconnected");
            self.view.remove(peer);
            self.tell(FromNet::Disconnected { peer });
        }
    }

    /// Lets a peer bear what follows from what it did. Points are the engine's to count.
    pub(super) fn blame(&mut self, identity: PeerId, misconduct: Misconduct) {
        match misconduct.consequence() {
            Consequence::Points(_) => {
                if let Some(session) = self.sessions.get(&identity).filter(|session| session.ready) {
                    let peer = session.peer;
                    self.tell(FromNet::Fault { peer, misconduct });
                }
            }
            Consequence::Disconnect => self.dismiss(identity, &misconduct.to_string(), misconduct.is_grave()),
            Consequence::Ban => {
                self.dismiss(identity, &misconduct.to_string(), true);
                self.ban(identity, &misconduct.to_string());
            }
        }
    }

    /// Sends a peer away. For the engine it is gone at once; its connections close in their own time, which a
    /// peer that does not read can draw out. `blamed`: whether it is its fault, and no hurry to meet again.
    pub(super) fn dismiss(&mut self, identity: PeerId, reason: &str, blamed: bool) {
        let Some(session) = self.sessions.get(&identity) else { return };
        if !session.dismissed {
            tracing::info!(peer = %session.peer, %identity, reason, "peer sent away");
            session.dismissed = true;
            session.useful &= !blamed;
            self.settle(&identity);
        }
        // An error says that no connection is left, and that its end is about to be reported.
        if self.swarm.disconnect_peer_id(identity).is_err() {
            tracing::debug!(%identity, "was about to leave");
        }
    }

    fn dial_failed(&mut self, connection: ConnectionId, error: &DialError) {
        if let Some(chosen) = self.finding.take_dialled(connection) {
            self.finding.gone(&chosen);
            if matches!(error, DialError::LocalPeerId { .. }) {
                self.finding.forget(&chosen);
            }
        }
        if let DialError::LocalPeerId { .. } = error
            && let Some(address) = self.dials.address_of(connection)
        {
            return self.forget_own(&address);
        }
        match self.dials.failed(connection, Instant::now()) {
            Some((address, failures)) if failures == WARN_AFTER_FAILURES => {
                tracing::warn!(%address, failures, %error, "no node answers there; going on trying");
            }
            Some((address, failures)) => tracing::debug!(%address, failures, %error, "dial failed"),
            None => tracing::debug!(%connection, %error, "dial failed"),
        }
    }
}
