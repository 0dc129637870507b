//! From a body to its answer: what is the same for every method.
//!
//! Calls of a batch run one after the other, so that a batch costs no more memory than its answers, which are
//! bounded (threat R06).

use serde_json::{Value, value::RawValue};

use crate::{
    error::{RpcError, code},
    message::{Answer, Call, Message, Params, ParsedCall, Version},
};

/// The largest answer to a batch, in bytes: a few of the largest single answers (a block of 2,000,000 bytes
/// as JSON). Calls after the one that exceeds it are refused, not run.
pub const MAX_BATCH_ANSWER_BYTES: usize = 64 << 20;

/// Whoever can run methods by name.
pub trait Methods: Send + Sync + 'static {
    /// Runs `method`; the result is JSON text, so that numbers stay exact.
    ///
    /// # Errors
    /// The error object that the client gets.
    fn call(
        &self,
        method: &str,
        params: Params,
    ) -> impl Future<Output = Result<Box<RawValue>, RpcError>> + Send;
}

/// An answer as HTTP sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status: 200, or 204 where nothing is to be said, or Bitcoin Core's for errors of 1.0 calls.
    pub status: u16,
    /// JSON text; empty with 204.
    pub body: Vec<u8>,
}

/// Answers one body.
pub async fn answer<M: Methods>(methods: &M, body: &[u8]) -> Reply {
    match Message::parse(body) {
        Message::Refused(error) => {
            single(&Answer { version: Version::V2, id: Value::Null, outcome: Err(error) })
        }
        Message::Single(call) => match run(methods, call).await {
            Some(answer) => single(&answer),
            None => Reply { status: 204, body: Vec::new() },
        },
        Message::Batch(calls) => batch(methods, calls).await,
    }
}

async fn batch<M: Methods>(methods: &M, calls: Vec<ParsedCall>) -> Reply {
    let mut body = vec![b'['];
    for call in calls {
        let answer = if body.len() < MAX_BATCH_ANSWER_BYTES {
            run(methods, call).await
        } else {
            refuse(call, "the answer to this batch is too large; send fewer calls at once")
        };
        if let Some(answer) = answer {
            if body.len() > 1 {
                body.push(b',');
            }
            body.extend_from_slice(&to_bytes(&answer));
        }
    }
    if body.len() == 1 {
        return Reply { status: 204, body: Vec::new() };
    }
    body.push(b']');
    Reply { status: 200, body }
}

async fn run<M: Methods>(methods: &M, call: ParsedCall) -> Option<Answer> {
    match call {
        Ok(Call { version, method, params, id }) => {
            let outcome = methods.call(&method, params).await;
            if let Err(error) = &outcome {
                tracing::debug!(?method, code = error.code, message = ?error.message, "call refused");
            }
            id.map(|id| Answer { version, id, outcome })
        }
        Err((error, id)) => Some(Answer { version: Version::V2, id, outcome: Err(error) }),
    }
}

fn refuse(call: ParsedCall, message: &str) -> Option<Answer> {
    let (version, id) = match call {
        Ok(call) => (call.version, call.id?),
        Err((_, id)) => (Version::V2, id),
    };
    Some(Answer { version, id, outcome: Err(RpcError::new(code::INTERNAL, message)) })
}

fn single(answer: &Answer) -> Reply {
    // Bitcoin Core's statuses for 1.0 calls (`JSONErrorReply`); a 2.0 error is a successful HTTP exchange.
    let status = match (&answer.outcome, answer.version) {
        (Ok(_), _) | (Err(_), Version::V2) => 200,
        (Err(error), Version::V1) => match error.code {
            code::INVALID_REQUEST => 400,
            code::METHOD_NOT_FOUND => 404,
            _ => 500,
        },
    };
    Reply { status, body: to_bytes(answer) }
}

fn to_bytes(answer: &Answer) -> Vec<u8> {
    serde_json::to_vec(answer).expect("an answer holds only strings, numbers and JSON text")
}
