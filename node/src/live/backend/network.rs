//! What the RPC asks about peers, and what it orders.

use std::collections::HashMap;

use chain::time::Time;
use rpc::backend::{AddPeer, BannedPeer, CommandError, NetworkState, Peer, SetBan, Unavailable};
use tokio::sync::oneshot;

use super::{Connections, PROTOCOL_VERSION};
use crate::{
    live::AGENT,
    p2p::{
        DialRefusal, ToNet,
        book::bans::Subject,
        orders::{Order, OrderRefusal},
        peers::PeerInfo,
    },
};

impl From<OrderRefusal> for CommandError {
    fn from(refusal: OrderRefusal) -> Self {
        match refusal {
            OrderRefusal::Banned => Self::AlreadyBanned,
            OrderRefusal::NotBanned => Self::NotBanned,
            OrderRefusal::NotConnected => Self::PeerNotConnected,
            OrderRefusal::TooMany(_) => Self::InvalidSubnet(refusal.to_string()),
        }
    }
}

fn subject(text: &str) -> Result<Subject, CommandError> {
    text.parse().map_err(|error: crate::p2p::book::bans::NotASubject| {
        CommandError::InvalidSubnet(format!("Invalid IP/Subnet: {error}"))
    })
}

impl Connections {
    pub(super) async fn peers(&self) -> Result<Vec<Peer>, CommandError> {
        let known = self.engine.call(|engine, now| engine.peer_facts(now).collect::<HashMap<_, _>>());
        let known = known.await?;
        let of = |info: PeerInfo| {
            let facts = known.get(&info.id).copied().unwrap_or_default();
            Peer {
                id: info.id.0,
                peer_id: info.identity,
                address: info.address,
                inbound: !info.outbound,
                connection_type: info.connection_type.name(),
                connected: Time::from_secs(u32::try_from(info.connected_since_secs).unwrap_or(u32::MAX)),
                agent: info.status.as_ref().map(|status| status.agent.clone()).unwrap_or_default(),
                starting_height: None,
                height: facts.headers,
                common_height: facts.blocks,
                score: facts.score,
                latency: info.ping,
                min_latency: info.min_ping,
                last_block_secs: info.last_block_secs,
                last_transaction_secs: info.last_transaction_secs,
                bytes_sent: Some(info.traffic.sent_bytes()),
                bytes_received: Some(info.traffic.received_bytes()),
            }
        };
        Ok(self.net.peers().into_iter().map(of).collect())
    }

    pub(super) async fn add_peer(&self, peer: String, action: AddPeer) -> Result<(), CommandError> {
        let (answer, result) = oneshot::channel();
        let answer = Some(answer);
        let command = match action {
            AddPeer::Add => ToNet::Dial { address: peer, keep: true, answer },
            AddPeer::TryOnce => ToNet::Dial { address: peer, keep: false, answer },
            AddPeer::Remove => ToNet::RemoveDial { address: peer, answer },
        };
        self.to_net.send(command).await.map_err(|_| Unavailable)?;
        match result.await.map_err(|_| Unavailable)? {
            Ok(()) => Ok(()),
            Err(DialRefusal::Known) => Err(CommandError::PeerAlreadyAdded),
            Err(DialRefusal::Unknown) => Err(CommandError::PeerNotAdded),
            Err(refusal) => Err(CommandError::InvalidPeer(refusal.to_string())),
        }
    }

    pub(super) async fn set_ban(&self, text: String, action: SetBan) -> Result<(), CommandError> {
        let subject = subject(&text)?;
        Ok(self
            .order(|answer| match action {
                SetBan::Add { secs } => Order::Ban { subject, secs, answer },
                SetBan::Remove => Order::Unban { subject, answer },
            })
            .await??)
    }

    pub(super) async fn bans(&self) -> Result<Vec<BannedPeer>, CommandError> {
        let bans = self.order(|answer| Order::ListBans { answer }).await?;
        let shown = bans.into_iter().map(|(subject, ban)| BannedPeer {
            subject: subject.to_string(),
            since_secs: ban.since_secs,
            until_secs: ban.until_secs,
            reason: ban.reason,
        });
        Ok(shown.collect())
    }

    pub(super) async fn clear_bans(&self) -> Result<(), CommandError> {
        Ok(self.order(|answer| Order::ClearBans { answer }).await??)
    }

    pub(super) async fn disconnect_peer(&self, peer: String) -> Result<(), CommandError> {
        Ok(self.order(|answer| Order::Disconnect { peer, answer }).await??)
    }

    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, CommandError> {
        let (answer, result) = oneshot::channel();
        self.to_net.send(ToNet::Order(order(answer))).await.map_err(|_| Unavailable)?;
        Ok(result.await.map_err(|_| Unavailable)?)
    }

    pub(super) fn network(&self) -> NetworkState {
        let peers = self.net.peers();
        let outbound = peers.iter().filter(|peer| peer.outbound).count();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        NetworkState {
            agent: AGENT.into(),
            protocol_version: PROTOCOL_VERSION,
            peer_id: self.net.identity().into(),
            listen: self.net.listening(),
            inbound: count(peers.len() - outbound),
            outbound: count(outbound),
        }
    }
}
