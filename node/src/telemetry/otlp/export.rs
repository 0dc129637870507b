//! Sends finished spans, some at a time, from a thread of its own.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};

use super::{
    NODE,
    trails::{Attribute, Finished, Moment, Value},
};
use crate::store::failpoint;

/// Spans that wait to be sent, at the most.
const MAX_WAITING: usize = 8_192;
/// Spans that are sent together, at the most.
const MAX_TOGETHER: usize = 512;
/// How long the first of them waits for others.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// How long a collector may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the end of the program may wait for what is still to be sent.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// The thread that sends. Its end is asked for when this is dropped.
#[derive(Debug)]
pub struct Exporter {
    end: SyncSender<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Exporter {
    /// Starts to send to `url`; the queue takes what is finished. Where the system gives no thread, nothing is
    /// sent.
    pub(super) fn start(url: String) -> (Self, SyncSender<Finished>) {
        let (queue, finished) = sync_channel(MAX_WAITING);
        let (end, ending) = sync_channel(1);
        let run = move || send_all(&url, &finished, &ending);
        let thread = thread::Builder::new().name("otlp".into()).spawn(run).ok();
        (Self { end, thread }, queue)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.end.try_send(());
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + END_TIMEOUT;
        while !thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn send_all(url: &str, finished: &Receiver<Finished>, ending: &Receiver<()>) {
    let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER_TIMEOUT)).build();
    let agent = ureq::Agent::new_with_config(config);
    let mut is_lost = false;
    loop {
        let is_ending = ending.try_recv().is_ok();
        let spans = match next(finished, is_ending) {
            Ok(spans) => spans,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) if is_ending => return,
            Err(RecvTimeoutError::Timeout) => continue,
        };
        failpoint::beat("otlp");
        let sent = agent.post(url).content_type("application/json").send(body(&spans).to_string());
        match sent {
            Ok(_) => is_lost = false,
            Err(error) if is_lost => tracing::debug!(url, %error, "spans are lost"),
            Err(error) => {
                is_lost = true;
                tracing::warn!(url, %error, "the collector takes no spans; they are lost until it does");
            }
        }
    }
}

/// What is there to be sent: waits for the first, then a moment for others.
fn next(finished: &Receiver<Finished>, is_ending: bool) -> Result<Vec<Finished>, RecvTimeoutError> {
    let patience = if is_ending { Duration::ZERO } else { LONGEST_WAIT };
    let mut spans = vec![finished.recv_timeout(patience)?];
    let deadline = Instant::now() + patience;
    while spans.len() < MAX_TOGETHER
        && let Ok(span) = finished.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        spans.push(span);
    }
    Ok(spans)
}

/// `ExportTraceServiceRequest` in JSON, as the protocol describes it: ids in hexadecimal, 64-bit numbers as text.
fn body(spans: &[Finished]) -> Json {
    let resource = [
        ("service.name", Value::Text("cairn".into())),
        ("service.version", Value::Text(env!("CARGO_PKG_VERSION").into())),
        ("service.instance.id", Value::Text(NODE.get().cloned().unwrap_or_default())),
    ];
    json!({ "resourceSpans": [{
        "resource": { "attributes": attributes(&resource) },
        "scopeSpans": [{
            "scope": { "name": "cairn", "version": env!("CARGO_PKG_VERSION") },
            "spans": spans.iter().map(span).collect::<Vec<_>>(),
        }],
    }] })
}

/// `SPAN_KIND_INTERNAL`.
const INTERNAL: u8 = 1;

fn span(of: &Finished) -> Json {
    let mut span = json!({
        "traceId": of.trace,
        "spanId": format!("{:016x}", of.id),
        "name": of.name,
        "kind": INTERNAL,
        "startTimeUnixNano": of.began_nanos.to_string(),
        "endTimeUnixNano": of.ended_nanos.to_string(),
        "attributes": attributes(&of.attributes),
        "events": of.moments.iter().map(moment).collect::<Vec<_>>(),
    });
    if let (Some(parent), Some(members)) = (of.parent, span.as_object_mut()) {
        members.insert("parentSpanId".into(), format!("{parent:016x}").into());
    }
    span
}

fn moment(of: &Moment) -> Json {
    json!({
        "timeUnixNano": of.at_nanos.to_string(),
        "name": of.name,
        "attributes": attributes(&of.attributes),
    })
}

fn attributes(all: &[Attribute]) -> Vec<Json> {
    let value = |value: &Value| match value {
        Value::Text(text) => json!({ "stringValue": text }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Flag(flag) => json!({ "boolValue": flag }),
    };
    all.iter().map(|(name, of)| json!({ "key": name, "value": value(of) })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_what_the_protocol_describes() {
        let of = Finished {
            trace: Some("0123456789abcdef0123456789abcdef".into()),
            id: 10,
            parent: Some(9),
            name: "connect",
            began_nanos: 1_800_000_000_000_000_001,
            ended_nanos: 1_800_000_000_000_000_002,
            attributes: vec![("height", Value::Number(7)), ("ok", Value::Flag(true))],
            moments: vec![Moment { name: "flushed".into(), at_nanos: 5, attributes: Vec::new() }],
        };
        let body = body(&[of]);
        let span = &body["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "0123456789abcdef0123456789abcdef");
        assert_eq!(
            (&span["spanId"], &span["parentSpanId"]),
            (&json!("000000000000000a"), &json!("0000000000000009"))
        );
        assert_eq!(span["startTimeUnixNano"], "1800000000000000001");
        assert_eq!(span["attributes"][0], json!({"key": "height", "value": {"intValue": "7"}}));
        assert_eq!(span["events"][0]["name"], "flushed");
        let resource = &body["resourceSpans"][0]["resource"]["attributes"][0];
        assert_eq!(resource, &json!({"key": "service.name", "value": {"stringValue": "cairn"}}));
    }

    #[test]
    fn a_collector_that_is_not_there_holds_nobody_up() {
        let (exporter, queue) = Exporter::start("http://127.0.0.1:1/v1/traces".into());
        let of = Finished {
            trace: None,
            id: 1,
            parent: None,
            name: "lost",
            began_nanos: 0,
            ended_nanos: 0,
            attributes: Vec::new(),
            moments: Vec::new(),
        };
        (0..2 * MAX_WAITING).for_each(|_| drop(queue.try_send(of.clone())));
        drop(exporter);
    }
}
