//! `cairn rpc`: any method of a node, as `bitcoin-cli` does it.

use rpc::client::{ClientError, print_result};

use super::{RpcRefusal, answer, connect, explain, progress::Waiting};
use crate::cli::RpcArgs;

/// Calls the method and prints its result.
///
/// # Errors
/// The node's refusal, or why there is no answer.
pub fn run(args: &RpcArgs) -> anyhow::Result<()> {
    let client = connect::client(&args.connect, None)?;
    let waiting = Waiting::start("waiting for the node");
    let outcome = client.call_words(&args.method, &args.args);
    drop(waiting);
    match outcome {
        Ok(serde_json::Value::Null) => Ok(()),
        Ok(result) => answer(print_result(&result)),
        Err(ClientError::Rpc(error)) => Err(RpcRefusal(error).into()),
        Err(error) => Err(explain(error)),
    }
}
