//! Spans of blocks and payments, sent to an OpenTelemetry collector by OTLP over HTTP, as JSON.
//!
//! **One trace across nodes.** Every span here is about one block or payment, and its trace id is the last 32 digits of
//! that hash, as it is displayed. So the spans that several nodes send meet in one trace, and whoever has
//! a hash has the trace, without a byte of it between the nodes.
//!
//! **Why by hand.** What is needed of the protocol is one message in a format that every collector takes
//! (`POST /v1/traces`); the libraries for it bring a second HTTP client, protobuf and their own ids, which would have
//! to be overruled.
//!
//! It must never hold up a node: spans wait in a bounded queue, and what finds no room there, or no collector, is lost.

mod export;
mod trails;

use std::sync::OnceLock;

use thiserror::Error;

pub use self::{export::Exporter, trails::Trails};

/// Who sends the spans, once that is known: the node's identity in the network.
static NODE: OnceLock<String> = OnceLock::new();

/// The URL of a collector that is of no use.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a collector's URL: give one such as http://127.0.0.1:4318 (https is not spoken here)")]
pub struct UrlError(String);

/// Holds that spans can be sent to `url`.
///
/// # Errors
/// [`UrlError`].
pub fn check_url(url: &str) -> Result<(), UrlError> {
    let host = url.strip_prefix("http://").map(|rest| rest.split('/').next().unwrap_or_default());
    let good = host.is_some_and(|host| !host.is_empty()) && !url.chars().any(|c| c.is_control() || c == ' ');
    if good { Ok(()) } else { Err(UrlError(url.to_owned())) }
}

/// The address of the traces: where `url` names no path, the one of the standard.
fn traces_url(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let has_path = url.strip_prefix("http://").is_some_and(|rest| rest.contains('/'));
    if has_path { url.to_owned() } else { format!("{url}/v1/traces") }
}

/// Says who sends the spans of this process. The first name stays.
pub fn name_node(identity: &str) {
    NODE.get_or_init(|| identity.to_owned());
}

/// Begins to send spans to `url`: the layer that collects them, and what sends them.
#[must_use]
pub fn start(url: &str) -> (Trails, Exporter) {
    let (exporter, queue) = Exporter::start(traces_url(url));
    (Trails::new(queue), exporter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_path_is_added_where_there_is_none() {
        for (url, traces) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector/otel/v1/traces", "http://collector/otel/v1/traces"),
        ] {
            assert_eq!(check_url(url), Ok(()));
            assert_eq!(traces_url(url), traces);
        }
        for url in [
            "",
            "127.0.0.1:4318",
            "https://collector",
            "http://",
            "http:///v1",
            "http://a b",
            "http://a\r\nb",
        ] {
            assert!(check_url(url).is_err(), "{url:?}");
        }
    }
}
