//! What an operator tells the node about blocks, against its own judgement, and the check of what it holds.

use chain::hash::BlockHash;

use crate::{
    backend::{Backend, ChainVerdict, CheckLevel},
    error::RpcError,
};

/// The level of `verifychain` unless one is given: Bitcoin Core's `DEFAULT_CHECKLEVEL`.
const DEFAULT_CHECK_LEVEL: u32 = 3;
/// The blocks that `verifychain` checks unless told: Bitcoin Core's `DEFAULT_CHECKBLOCKS`.
const DEFAULT_CHECK_BLOCKS: u32 = 6;

pub(super) async fn verifychain<B: Backend>(
    backend: &B,
    checklevel: Option<u32>,
    nblocks: Option<u32>,
) -> Result<bool, RpcError> {
    let level = match checklevel.unwrap_or(DEFAULT_CHECK_LEVEL) {
        0 => CheckLevel::Bodies,
        1 => CheckLevel::Rules,
        2 => CheckLevel::Undo,
        3 => CheckLevel::Disconnect,
        4 => CheckLevel::Connect,
        other => {
            let message =
                format!("checklevel: {other} is not 0 to 4; `help verifychain` says what they mean");
            return Err(RpcError::invalid_parameter(message));
        }
    };
    let blocks = Some(nblocks.unwrap_or(DEFAULT_CHECK_BLOCKS)).filter(|blocks| *blocks != 0);
    match backend.verify_chain(level, blocks).await? {
        ChainVerdict::Sound => Ok(true),
        ChainVerdict::Damaged(what) => {
            tracing::error!(what, "verifychain found that the chain's data is damaged");
            Ok(false)
        }
    }
}

pub(super) async fn invalidateblock<B: Backend>(backend: &B, blockhash: BlockHash) -> Result<(), RpcError> {
    Ok(backend.invalidate_block(blockhash).await?)
}

pub(super) async fn reconsiderblock<B: Backend>(backend: &B, blockhash: BlockHash) -> Result<(), RpcError> {
    Ok(backend.reconsider_block(blockhash).await?)
}

pub(super) async fn preciousblock<B: Backend>(backend: &B, blockhash: BlockHash) -> Result<(), RpcError> {
    Ok(backend.make_precious(blockhash).await?)
}
