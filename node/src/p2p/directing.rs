//! What an operator orders about bans and connections, done.

use libp2p::PeerId;
use tokio::sync::oneshot;

use super::{
    Service,
    book::bans::{BAN_SECS, Ban, Subject, Subnet},
    orders::{Order, OrderRefusal},
    peers::now_secs,
    transport,
};

impl Service {
    /// Does what an operator orders.
    pub(super) fn carry_out(&mut self, order: Order) {
        match order {
            Order::Ban { subject, secs, answer } => give(answer, self.ban_by_hand(subject, secs)),
            Order::Unban { subject, answer } => {
                let ended = self.swarm.behaviour_mut().guard.bans.remove(&subject);
                give(answer, ended.map(|_| ()).ok_or(OrderRefusal::NotBanned));
                self.save_peers();
            }
            Order::ClearBans { answer } => {
                self.swarm.behaviour_mut().guard.bans.clear();
                give(answer, Ok(()));
                self.save_peers();
            }
            Order::ListBans { answer } => {
                let bans = &mut self.swarm.behaviour_mut().guard.bans;
                bans.expire(now_secs());
                let bans = bans.iter().map(|(subject, ban)| (subject.clone(), ban.clone())).collect();
                give(answer, bans);
            }
            Order::Disconnect { peer, answer } => {
                let is_meant = |identity: &PeerId, number: u64, address: &str| {
                    peer == number.to_string() || peer == address || peer == identity.to_string()
                };
                let meant = self.sessions.find(is_meant);
                for identity in &meant {
                    self.dismiss(*identity, "an operator's order", true);
                }
                let outcome = if meant.is_empty() { Err(OrderRefusal::NotConnected) } else { Ok(()) };
                give(answer, outcome);
            }
        }
    }

    fn ban_by_hand(&mut self, subject: Subject, secs: u64) -> Result<(), OrderRefusal> {
        let now = now_secs();
        let bans = &mut self.swarm.behaviour_mut().guard.bans;
        bans.expire(now);
        if bans.has(&subject, now) {
            return Err(OrderRefusal::Banned);
        }
        let reason = "an operator's order".to_owned();
        let ban = Ban { since_secs: now, until_secs: now.saturating_add(secs), by_hand: true, reason };
        bans.add(subject.clone(), ban).map_err(|full| OrderRefusal::TooMany(full.to_string()))?;
        let hit = self.sessions.find(|identity, _, address| match &subject {
            Subject::Identity(banned) => *banned == identity.to_string(),
            Subject::Net(subnet) => {
                let ip = address.parse().ok().and_then(|address| transport::ip_of(&address));
                ip.is_some_and(|ip| subnet.contains(ip))
            }
        });
        for identity in hit {
            self.dismiss(identity, "banned by an operator", true);
        }
        self.save_peers();
        Ok(())
    }

    /// Keeps a peer out for a while: its identity, and the machine that it came from.
    pub(super) fn ban(&mut self, identity: PeerId, reason: &str) {
        let now = now_secs();
        let ip = self.sessions.get(&identity).and_then(|session| session.exchange.ip);
        let machine = ip.and_then(Subnet::of_machine).map(Subject::Net);
        let bans = &mut self.swarm.behaviour_mut().guard.bans;
        for subject in machine.into_iter().chain([Subject::Identity(identity.to_string())]) {
            let (since_secs, until_secs) = (now, now.saturating_add(BAN_SECS));
            let ban = Ban { since_secs, until_secs, by_hand: false, reason: reason.to_owned() };
            if let Err(full) = bans.add(subject, ban) {
                tracing::warn!(%full, "not banned");
            }
        }
        self.view.set_bans(self.swarm.behaviour().guard.bans.len());
    }
}

fn give<T>(answer: oneshot::Sender<T>, outcome: T) {
    if answer.send(outcome).is_err() {
        tracing::debug!("nobody waits for the answer");
    }
}
