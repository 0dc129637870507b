//! The error object of an answer, and the codes that it carries.
//!
//! The codes are Bitcoin Core's (`src/rpc/protocol.h`) wherever the thing exists there, and those of the
//! JSON-RPC 2.0 specification, section 5.1. A message is a sentence that says what to do next; it never
//! carries a secret, nor more of what was sent than a short excerpt.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bitcoin Core's and JSON-RPC's error codes, as many as are used here.
pub mod code {
    /// `RPC_MISC_ERROR`: an exception while a command was handled.
    pub const MISC: i64 = -1;
    /// `RPC_TYPE_ERROR`: a parameter is of another JSON type than was expected.
    pub const TYPE: i64 = -3;
    /// `RPC_INVALID_ADDRESS_OR_KEY`: an invalid address, or something named by a hash that is not known.
    pub const INVALID_ADDRESS_OR_KEY: i64 = -5;
    /// `RPC_INVALID_PARAMETER`: a parameter that is missing, out of range, duplicate or unknown.
    pub const INVALID_PARAMETER: i64 = -8;
    /// `RPC_CLIENT_NOT_CONNECTED`: the node has no peers.
    pub const NOT_CONNECTED: i64 = -9;
    /// `RPC_CLIENT_IN_INITIAL_DOWNLOAD`: the node is still downloading blocks.
    pub const INITIAL_DOWNLOAD: i64 = -10;
    /// `RPC_DESERIALIZATION_ERROR`: bytes that are no block or transaction.
    pub const DESERIALIZATION: i64 = -22;
    /// `RPC_CLIENT_NODE_ALREADY_ADDED`: the peer is on the list already.
    pub const NODE_ALREADY_ADDED: i64 = -23;
    /// `RPC_CLIENT_NODE_NOT_ADDED`: the peer is not on the list.
    pub const NODE_NOT_ADDED: i64 = -24;
    /// `RPC_CLIENT_NODE_NOT_CONNECTED`: no such peer is connected.
    pub const NODE_NOT_CONNECTED: i64 = -29;
    /// `RPC_CLIENT_INVALID_IP_OR_SUBNET`: what names no network, or one that is not banned.
    pub const INVALID_IP_OR_SUBNET: i64 = -30;
    /// `RPC_VERIFY_ERROR`: a transaction or block was not accepted for a general reason (missing inputs).
    pub const VERIFY: i64 = -25;
    /// `RPC_VERIFY_REJECTED`: a transaction or block was rejected by the rules.
    pub const VERIFY_REJECTED: i64 = -26;
    /// `RPC_VERIFY_ALREADY_IN_CHAIN`: the transaction is known already.
    pub const ALREADY_IN_CHAIN: i64 = -27;
    /// `RPC_IN_WARMUP`: what is asked for is still being made.
    pub const IN_WARMUP: i64 = -28;
    /// JSON-RPC 2.0: what was sent is not a request object.
    pub const INVALID_REQUEST: i64 = -32_600;
    /// JSON-RPC 2.0: there is no such method.
    pub const METHOD_NOT_FOUND: i64 = -32_601;
    /// JSON-RPC 2.0: too many or too few parameters.
    pub const INVALID_PARAMS: i64 = -32_602;
    /// JSON-RPC 2.0: an error inside the server.
    pub const INTERNAL: i64 = -32_603;
    /// JSON-RPC 2.0: what was sent is not JSON.
    pub const PARSE: i64 = -32_700;
}

/// The error object of an answer (JSON-RPC 2.0, section 5.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcError {
    /// One of [`code`].
    pub code: i64,
    /// What is wrong and what to do next.
    pub message: String,
}

impl RpcError {
    /// An error with one of the codes in [`code`].
    #[must_use]
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The specification's answer to text that is not JSON.
    #[must_use]
    pub fn parse() -> Self {
        Self::new(code::PARSE, "Parse error")
    }

    /// The specification's answer to JSON that is not a request object.
    #[must_use]
    pub fn invalid_request() -> Self {
        Self::new(code::INVALID_REQUEST, "Invalid Request")
    }

    /// The specification's answer to a method that does not exist; the method `help` lists those that do.
    #[must_use]
    pub fn method_not_found() -> Self {
        Self::new(code::METHOD_NOT_FOUND, "Method not found")
    }

    /// A parameter that has the right JSON type and a wrong value.
    #[must_use]
    pub fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_PARAMETER, message)
    }

    /// Something named by a hash that is not known.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_ADDRESS_OR_KEY, message)
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)
    }
}

impl std::error::Error for RpcError {}

/// At most `limit` characters of what was sent, quoted and escaped, to name it in a message (threat R14).
/// It counts characters and never slices bytes, so that text outside ASCII is safe (threat R11).
#[must_use]
pub(crate) fn excerpt(text: &str) -> String {
    const EXCERPT_CHARS: usize = 80;
    let mut kept: String = text.chars().take(EXCERPT_CHARS).collect();
    if text.chars().nth(EXCERPT_CHARS).is_some() {
        kept.push('…');
    }
    format!("{kept:?}")
}
