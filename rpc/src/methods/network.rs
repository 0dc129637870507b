//! Peers and the state of the network.

use crate::{
    backend::{AddPeer, Backend},
    error::{RpcError, excerpt},
    types::*,
};

/// The longest text that names a peer, in bytes.
pub const MAX_PEER_BYTES: usize = 512;

pub(super) async fn getpeerinfo<B: Backend>(backend: &B) -> Result<Vec<PeerInfo>, RpcError> {
    let peers = backend.peers().await?.into_iter().map(|peer| PeerInfo {
        id: peer.id,
        addr: peer.address,
        peer_id: peer.peer_id,
        inbound: peer.inbound,
        connection_type: if peer.inbound { "inbound" } else { "outbound" }.into(),
        conntime: peer.connected,
        subver: peer.agent,
        startingheight: peer.starting_height,
        synced_headers: peer.height,
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

#[cfg(test)]
mod tests {
    use super::version_number;

    #[test]
    fn versions_are_numbers_as_in_bitcoin_core() {
        assert_eq!(version_number("1.2.3"), 10_203);
        assert_eq!(version_number("0.1.0"), 100);
    }
}
