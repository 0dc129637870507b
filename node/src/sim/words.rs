//! Messages in a few words, for the trace.

use crate::p2p::{
    FromNet,
    wire::{Request, Response},
};

/// A request.
pub(super) fn of_request(request: &Request) -> String {
    match request {
        Request::Status(status) => format!("my tip is {} {}", status.height, status.tip),
        Request::Headers(_) => "headers".into(),
        Request::Blocks(hashes) => match hashes.first() {
            Some(first) => format!("{} blocks from {first}", hashes.len()),
            None => "no blocks".into(),
        },
        other => format!("{:?}", other.kind()).to_lowercase(),
    }
}

fn of_response(response: &Response) -> String {
    match response {
        Response::Status(status) => format!("its tip is {} {}", status.height, status.tip),
        Response::Headers(headers) => format!("{} headers", headers.len()),
        Response::Blocks(blocks) => format!("{} blocks", blocks.len()),
        other => format!("answer to {:?}", other.kind()).to_lowercase(),
    }
}

/// What the network tells.
pub(super) fn of_message(message: &FromNet) -> String {
    match message {
        FromNet::Connected { peer, address, .. } => format!("connected to {address} as {peer}"),
        FromNet::Disconnected { peer } => format!("{peer} is gone"),
        FromNet::Request { peer, request, .. } => format!("{peer} asks: {}", of_request(request)),
        FromNet::Response { peer, result: Ok(response), .. } => format!("{peer}: {}", of_response(response)),
        FromNet::Response { peer, result: Err(failure), .. } => format!("{peer}: {failure}"),
        FromNet::Transaction { peer, transaction, .. } => format!("{peer} gossips {}", transaction.txid()),
        _ => "something else".into(),
    }
}
