//! What is looked at before the body of a request is read: where it was sent to, where it comes from, who sent
//! it, and what it claims to be.
//!
//! A page in a browser can make its reader's machine send requests to loopback. Against that: the `Host` must
//! be one of ours (a name that an attacker's DNS points to us is not), an `Origin` must be our own page's,
//! the content type must be JSON (which a foreign page cannot send unasked), and credentials are always
//! required (threat R01). No header for other origins (CORS) is ever sent.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::auth::Accounts;

/// How long a request with wrong credentials waits for its answer: it slows down guessing (threat R03), as
/// in Bitcoin Core.
pub const WRONG_CREDENTIALS_DELAY: Duration = Duration::from_millis(250);

/// Decides about requests by their headers.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    bound: SocketAddr,
    allowed_hosts: Vec<String>,
    accounts: Accounts,
}

/// A request that is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: &'static str,
    /// Whether the answer is to be delayed.
    pub(crate) delayed: bool,
}

impl Refusal {
    pub(super) const fn new(status: StatusCode, message: &'static str) -> Self {
        Self { status, message, delayed: false }
    }
}

impl Guard {
    pub(crate) fn new(bound: SocketAddr, allowed_hosts: Vec<String>, accounts: Accounts) -> Self {
        Self { bound, allowed_hosts, accounts }
    }

    /// Decides about a request.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(host) = single(headers, &header::HOST).filter(|host| self.is_ours(host)) else {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "this Host is not served here; use 127.0.0.1"));
        };
        if headers.contains_key(header::ORIGIN) {
            let own = single(headers, &header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
            if own != Some(host) {
                return Err(Refusal::new(StatusCode::FORBIDDEN, "requests from other origins are refused"));
            }
        }
        match headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes) {
            Some(sent) if self.accounts.allow(sent) => {}
            sent => {
                let message = "user and password are needed: those of the cookie file in the data folder, or of the configuration";
                return Err(Refusal {
                    delayed: sent.is_some(),
                    ..Refusal::new(StatusCode::UNAUTHORIZED, message)
                });
            }
        }
        if !single(headers, &header::CONTENT_TYPE).is_some_and(is_json) {
            let message = "the content type must be application/json";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        Ok(())
    }

    /// Whether a `Host` names this server. The port does not matter: it is names that an attacker controls.
    fn is_ours(&self, host: &str) -> bool {
        let name = strip_port(host);
        if name.eq_ignore_ascii_case("localhost")
            || self.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
        {
            return true;
        }
        let unbracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        match unbracketed.parse::<IpAddr>() {
            // On all interfaces, any address may be ours; no DNS name leads here, so none can be rebound.
            Ok(address) => {
                address.is_loopback() || address == self.bound.ip() || self.bound.ip().is_unspecified()
            }
            Err(_) => false,
        }
    }
}

/// The only value of a header, as text.
fn single<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// A host without its port; an IPv6 address stays in its brackets.
fn strip_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => {
            // An IPv6 address without brackets has colons of its own and is no valid host.
            name
        }
        _ => host,
    }
}

/// Whether a content type is JSON; parameters such as `charset` are ignored. `application/json-rpc` and
/// `application/jsonrequest` are what some JSON-RPC clients send.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or("").trim();
    ["application/json", "application/json-rpc", "application/jsonrequest"]
        .iter()
        .any(|json| essence.eq_ignore_ascii_case(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(bound: &str) -> Guard {
        let bound = bound.parse().expect("an address");
        Guard::new(bound, vec!["node.example".into()], Accounts::default())
    }

    #[test]
    fn r01_hosts() {
        let local = guard("127.0.0.1:8332");
        for host in [
            "localhost",
            "LOCALHOST:8332",
            "127.0.0.1",
            "127.0.0.1:1",
            "[::1]:8332",
            "[::1]",
            "node.example:80",
        ] {
            assert!(local.is_ours(host), "{host}");
        }
        for host in [
            "evil.com",
            "evil.com:8332",
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "192.168.0.7",
            "",
            ":",
            "[",
            "]",
            "[]",
            "127.0.0.1:8332:1",
            "localhost:x",
            "☃",
        ] {
            assert!(!local.is_ours(host), "{host}");
        }
        assert!(guard("192.168.0.7:8332").is_ours("192.168.0.7:8332"));
        assert!(guard("0.0.0.0:8332").is_ours("192.168.0.7:8332"));
        assert!(!guard("0.0.0.0:8332").is_ours("evil.com"));
    }

    #[test]
    fn r01_content_types() {
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/json-rpc"] {
            assert!(is_json(json), "{json}");
        }
        for other in ["", "text/plain", "text/plain; application/json", "application/x-www-form-urlencoded"] {
            assert!(!is_json(other), "{other}");
        }
    }
}
