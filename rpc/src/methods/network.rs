//! Peers and the state of the network.

use crate::{
    backend::{AddPeer, Backend, SetBan},
    error::{RpcError, excerpt},
    types::*,
};

/// The longest text that names a peer, in bytes.
pub const MAX_PEER_BYTES: usize = 512;

/// Seconds of a ban where none are given: a day, as in Bitcoin Core.
const DEFAULT_BAN_SECS: u64 = 86_400;

pub(super) async fn getpeerinfo<B: Backend>(backend: &B) -> Result<Vec<PeerInfo>, RpcError> {
    let peers = backend.peers().await?.into_iter().map(|peer| PeerInfo {
        id: peer.id,
        addr: peer.address,
        peer_id: peer.peer_id,
        inbound: peer.inbound,
        connection_type: peer.connection_type.into(),
        conntime: peer.connected,
        subver: peer.agent,
        startingheight: peer.starting_height,
        synced_headers: peer.height,
        synced_blocks: peer.common_height,
        score: peer.score,
        last_block: peer.last_block_secs.unwrap_or(0),
        last_transaction: peer.last_transaction_secs.unwrap_or(0),
        minping: peer.min_latency.map(|latency| latency.as_secs_f64()),
        pingtime: peer.latency.map(|latency| latency.as_secs_f64()),
        bytessent: peer.bytes_sent,
        bytesrecv: peer.bytes_received,
    });
    Ok(peers.collect())
}

pub(super) async fn getconnectioncount<B: Backend>(backend: &B) -> Result<u64, RpcError> {
    let state = backend.network().await?;
    Ok(u64::from(state.inbound) + u64::from(state.outbound))
}

pub(super) async fn getnetworkinfo<B: Backend>(backend: &B) -> Result<NetworkInfo, RpcError> {
    let state = backend.network().await?;
    let mempool = backend.read(|view| view.mempool()).await?;
    Ok(NetworkInfo {
        version: version_number(env!("CARGO_PKG_VERSION")),
        subversion: state.agent,
        protocolversion: state.protocol_version,
        connections: state.inbound.saturating_add(state.outbound),
        connections_in: state.inbound,
        connections_out: state.outbound,
        networkactive: true,
        relayfee: Coins(mempool.min_relay_fee_rate),
        peer_id: state.peer_id,
        localaddresses: state.listen,
        warnings: Vec::new(),
    })
}

/// `1.2.3` as 10203, in the manner of Bitcoin Core.
fn version_number(version: &str) -> u32 {
    let parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    parts.fold(0_u32, |number, part: u32| number.saturating_mul(100).saturating_add(part))
}

pub(super) async fn addnode<B: Backend>(backend: &B, node: String, command: String) -> Result<(), RpcError> {
    let action = match command.as_str() {
        "add" => AddPeer::Add,
        "remove" => AddPeer::Remove,
        "onetry" => AddPeer::TryOnce,
        other => {
            let message = format!("command: {} is none of add, remove, onetry", excerpt(other));
            return Err(RpcError::invalid_parameter(message));
        }
    };
    if node.len() > MAX_PEER_BYTES {
        return Err(RpcError::invalid_parameter(format!("node: longer than {MAX_PEER_BYTES} bytes")));
    }
    Ok(backend.add_peer(node, action).await?)
}

pub(super) async fn setban<B: Backend>(
    backend: &B,
    subnet: String,
    command: String,
    bantime: Option<u64>,
    absolute: Option<bool>,
) -> Result<(), RpcError> {
    if subnet.len() > MAX_PEER_BYTES {
        return Err(RpcError::invalid_parameter(format!("subnet: longer than {MAX_PEER_BYTES} bytes")));
    }
    let action = match command.as_str() {
        "add" => {
            let time = bantime.filter(|time| *time > 0);
            let secs = match (time, absolute.unwrap_or(false)) {
                (Some(until_secs), true) => {
                    until_secs.checked_sub(unix_secs()).filter(|left| *left > 0).ok_or_else(|| {
                        RpcError::invalid_parameter("Absolute timestamp is in the past".to_owned())
                    })?
                }
                (Some(secs), false) => secs,
                (None, _) => DEFAULT_BAN_SECS,
            };
            SetBan::Add { secs }
        }
        "remove" => SetBan::Remove,
        other => {
            let message = format!("command: {} is none of add, remove", excerpt(other));
            return Err(RpcError::invalid_parameter(message));
        }
    };
    Ok(backend.set_ban(subnet, action).await?)
}

pub(super) async fn listbanned<B: Backend>(backend: &B) -> Result<Vec<BanInfo>, RpcError> {
    let bans = backend.bans().await?.into_iter().map(|ban| BanInfo {
        address: ban.subject,
        ban_created: ban.since_secs,
        banned_until: ban.until_secs,
        ban_duration: ban.until_secs.saturating_sub(ban.since_secs),
        ban_reason: ban.reason,
    });
    Ok(bans.collect())
}

pub(super) async fn clearbanned<B: Backend>(backend: &B) -> Result<(), RpcError> {
    Ok(backend.clear_bans().await?)
}

pub(super) async fn disconnectnode<B: Backend>(
    backend: &B,
    address: Option<String>,
    nodeid: Option<u64>,
) -> Result<(), RpcError> {
    let address = address.filter(|address| !address.is_empty());
    let peer = match (address, nodeid) {
        (Some(address), None) if address.len() <= MAX_PEER_BYTES => address,
        (None, Some(number)) => number.to_string(),
        _ => {
            let message = "Only one of address and nodeid should be provided.".to_owned();
            return Err(RpcError::invalid_parameter(message));
        }
    };
    Ok(backend.disconnect_peer(peer).await?)
}

/// Unix seconds now; a clock before 1970 counts as 1970.
fn unix_secs() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::version_number;

    #[test]
    fn versions_are_numbers_as_in_bitcoin_core() {
        assert_eq!(version_number("1.2.3"), 10_203);
        assert_eq!(version_number("0.1.0"), 100);
    }
}
