//! The client: blocking, one connection pool, for the wallet, `cairn rpc` and the devnet's supervisor.
//!
//! Its typed methods come from the same table as the server's. It speaks JSON-RPC 2.0 over plain HTTP, follows no
//! redirection and uses no proxy: credentials go to the address that was named and nowhere else.

mod typed;

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use thiserror::Error;

use crate::{
    auth::{CookieError, Credentials},
    error::{RpcError, code, excerpt},
    methods,
};

/// How long a call may take unless the client is told otherwise; `generatetoaddress` may take its time.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer that is read, in bytes: the largest block with all of its transactions as JSON, and more.
pub const MAX_ANSWER_BYTES: u64 = 256 << 20;

/// Where the credentials come from.
#[derive(Debug, Clone)]
pub enum Login {
    /// A user and a password.
    Credentials(Credentials),
    /// A cookie file; it is read for every call, since a node that was started again has a new cookie.
    CookieFile(PathBuf),
}

/// Why a call has no result.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("no node answers at {url}: {source}; is it running, and with this --rpc-listen?")]
    Unreachable {
        /// The node's address.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The cookie could not be read.
    #[error(transparent)]
    Cookie(#[from] CookieError),
    /// The node does not know these credentials.
    #[error("the node at {0} refuses this user and password; use the cookie file in its data folder")]
    Unauthorised(String),
    /// The node answered with an error object.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// What answers is no Cairn node, or another version of it.
    #[error("the answer of {url} cannot be understood: {what}")]
    Protocol {
        /// The node's address.
        url: String,
        /// What is wrong.
        what: String,
    },
}

impl ClientError {
    /// The error code, when the node answered with an error object.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Rpc(error) => Some(error.code),
            _ => None,
        }
    }
}

/// A node, as seen by its caller. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    url: String,
    login: Login,
    agent: ureq::Agent,
}

#[derive(Deserialize)]
struct RawAnswer {
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Option<RpcError>,
}

impl Client {
    /// A client of the node at `url`, such as `http://127.0.0.1:18443`.
    #[must_use]
    pub fn new(url: impl Into<String>, login: Login) -> Self {
        Self::with_timeout(url, login, DEFAULT_TIMEOUT)
    }

    /// As [`Client::new`], with another limit for the time of a call.
    #[must_use]
    pub fn with_timeout(url: impl Into<String>, login: Login, timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("cairn/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { url: url.into(), login, agent: config.into() }
    }

    /// The node's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls any method with positional parameters.
    ///
    /// # Errors
    /// [`ClientError::Rpc`] when the node refuses, others when there is no answer.
    pub fn call_raw(&self, method: &str, params: Vec<Value>) -> Result<Value, ClientError> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let authorization = match &self.login {
            Login::Credentials(credentials) => credentials.authorization(),
            Login::CookieFile(path) => Credentials::from_cookie_file(path)?.authorization(),
        };
        let unreachable = |source: ureq::Error| ClientError::Unreachable {
            url: self.url.clone(),
            source: Box::new(source),
        };
        let mut response = self
            .agent
            .post(&self.url)
            .header("authorization", authorization)
            .header("content-type", "application/json")
            .send(request.to_string())
            .map_err(unreachable)?;
        let status = response.status().as_u16();
        let body =
            response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map_err(unreachable)?;
        match status {
            200 => {}
            401 => return Err(ClientError::Unauthorised(self.url.clone())),
            status => {
                let text = excerpt(&String::from_utf8_lossy(&body));
                return Err(self.protocol(format!("HTTP status {status}: {text}")));
            }
        }
        let answer: RawAnswer =
            serde_json::from_slice(&body).map_err(|error| self.protocol(error.to_string()))?;
        match answer.error {
            Some(error) if error.code == code::METHOD_NOT_FOUND => {
                let message = format!("Method {} not found; `help` lists all methods", excerpt(method));
                Err(RpcError::new(error.code, message).into())
            }
            Some(error) => Err(error.into()),
            None => Ok(answer.result),
        }
    }

    /// Calls any method with the words of a command line, as `cairn rpc METHOD ARGS` does.
    ///
    /// # Errors
    /// As [`Client::call_raw`].
    pub fn call_words(&self, method: &str, words: &[String]) -> Result<Value, ClientError> {
        let specs = methods::method_spec(method).map(|spec| spec.params);
        self.call_raw(method, methods::command_line_params(specs, words))
    }

    /// Calls a method whose last parameters may be null, which leaves them out.
    fn call<T: DeserializeOwned>(&self, method: &str, mut params: Vec<Value>) -> Result<T, ClientError> {
        while params.last().is_some_and(Value::is_null) {
            params.pop();
        }
        let result = self.call_raw(method, params)?;
        T::deserialize(result).map_err(|error| self.protocol(error.to_string()))
    }

    fn protocol(&self, what: String) -> ClientError {
        ClientError::Protocol { url: self.url.clone(), what }
    }
}

/// A result as `cairn rpc` prints it: a string as it is, anything else as indented JSON.
#[must_use]
pub fn print_result(result: &Value) -> String {
    match result {
        Value::String(text) => text.trim_end().to_owned(),
        other => format!("{other:#}"),
    }
}
