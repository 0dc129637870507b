//! Conditions of the network on demand. Without `--lab` these methods do not exist.

use crate::{
    backend::{Backend, Conditions, Lab, PeerConditions},
    error::RpcError,
};

fn lab<B: Backend>(backend: &B) -> Result<&dyn Lab, RpcError> {
    backend.lab().ok_or_else(RpcError::method_not_found)
}

pub(super) async fn setconditions<B: Backend>(
    backend: &B,
    peer: String,
    delay_ms: Option<u32>,
    jitter_ms: Option<u32>,
    loss: Option<f64>,
    blocked: Option<bool>,
) -> Result<(), RpcError> {
    let conditions = Conditions {
        delay_ms: delay_ms.unwrap_or_default(),
        jitter_ms: jitter_ms.unwrap_or_default(),
        loss: loss.unwrap_or_default(),
        blocked: blocked.unwrap_or_default(),
    };
    Ok(lab(backend)?.set(&peer, conditions)?)
}

pub(super) async fn getconditions<B: Backend>(backend: &B) -> Result<Vec<PeerConditions>, RpcError> {
    Ok(lab(backend)?.list())
}

pub(super) async fn clearconditions<B: Backend>(backend: &B, peer: Option<String>) -> Result<(), RpcError> {
    Ok(lab(backend)?.clear(peer.as_deref())?)
}
