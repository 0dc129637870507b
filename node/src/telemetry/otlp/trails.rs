//! Collects spans of the target [`TRAIL`](crate::telemetry::TRAIL) from their beginning to their end.
//!
//! The field `trace`, a hash as it is displayed, says what a span is about; a span without it belongs to
//! its parent's trace. All other fields become attributes, and events within a span become its events.

use std::{
    fmt::{Debug, Write},
    hash::{BuildHasher, RandomState},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::SyncSender,
    },
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// The field that says what a span is about.
const TRACE: &str = "trace";
/// Hexadecimal digits of a trace id.
const TRACE_DIGITS: usize = 32;
/// Attributes of a span or event, at the most.
const MAX_ATTRIBUTES: usize = 32;
/// Bytes of an attribute's value, at the most; what is beyond is cut off.
const MAX_VALUE_BYTES: usize = 1_024;
/// Events of a span, at the most.
const MAX_EVENTS: usize = 64;

/// A named value.
pub(super) type Attribute = (&'static str, Value);

/// The values that are told apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
}

/// Something that happened within a span.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Moment {
    pub(super) name: String,
    pub(super) at_nanos: u64,
    pub(super) attributes: Vec<Attribute>,
}

/// A span from its beginning to its end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finished {
    /// The trace, in hexadecimal; a span that never got one is not sent.
    pub(super) trace: Option<String>,
    /// Its own id.
    pub(super) id: u64,
    /// The span that it is a part of.
    pub(super) parent: Option<u64>,
    pub(super) name: &'static str,
    /// Nanoseconds of Unix time.
    pub(super) began_nanos: u64,
    pub(super) ended_nanos: u64,
    pub(super) attributes: Vec<Attribute>,
    pub(super) moments: Vec<Moment>,
}

/// The layer that collects.
#[derive(Debug)]
pub struct Trails {
    queue: SyncSender<Finished>,
    /// Makes ids that those of other nodes do not meet.
    random: RandomState,
    made: AtomicU64,
}

impl Trails {
    pub(super) fn new(queue: SyncSender<Finished>) -> Self {
        Self { queue, random: RandomState::new(), made: AtomicU64::new(0) }
    }

    fn next_id(&self) -> u64 {
        // Zero means that there is no id.
        self.random.hash_one(self.made.fetch_add(1, Ordering::Relaxed)).max(1)
    }
}

fn now_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The end of a hash as it is displayed; nothing where it is no hash.
fn trace_id(hash: &str) -> Option<String> {
    let start = hash.len().checked_sub(TRACE_DIGITS)?;
    let end = hash.get(start..)?;
    end.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| end.to_ascii_lowercase())
}

/// Reads fields.
#[derive(Default)]
struct Fields {
    trace: Option<String>,
    message: String,
    attributes: Vec<Attribute>,
}

impl Fields {
    fn keep(&mut self, field: &Field, value: Value) {
        if let Some(known) = self.attributes.iter_mut().find(|(name, _)| *name == field.name()) {
            known.1 = value;
        } else if self.attributes.len() < MAX_ATTRIBUTES {
            self.attributes.push((field.name(), value));
        }
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, Value::Flag(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, Value::Number(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, Value::Number(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let end = (0..=value.len().min(MAX_VALUE_BYTES)).rev().find(|end| value.is_char_boundary(*end));
        let text = value[..end.unwrap_or(0)].to_owned();
        match field.name() {
            TRACE => self.trace = trace_id(&text),
            "message" => self.message = text,
            _ => self.keep(field, Value::Text(text)),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Writing to a string does not fail; and half a value is better than none.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Trails {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let above = span.parent();
        let inherited = above
            .as_ref()
            .and_then(|parent| parent.extensions().get::<Finished>().map(|of| (of.trace.clone(), of.id)));
        let (trace, parent) = inherited.unzip();
        span.extensions_mut().insert(Finished {
            trace: fields.trace.or(trace.flatten()),
            id: self.next_id(),
            parent,
            name: attributes.metadata().name(),
            began_nanos: now_nanos(),
            ended_nanos: 0,
            attributes: fields.attributes,
            moments: Vec::new(),
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let Some(open) = extensions.get_mut::<Finished>() else { return };
        let attributes = std::mem::take(&mut open.attributes);
        let mut fields = Fields { attributes, ..Fields::default() };
        values.record(&mut fields);
        open.attributes = fields.attributes;
        if fields.trace.is_some() {
            open.trace = fields.trace;
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(span) = context.event_span(event) else { return };
        let mut extensions = span.extensions_mut();
        let Some(open) = extensions.get_mut::<Finished>().filter(|open| open.moments.len() < MAX_EVENTS)
        else {
            return;
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { message: name, attributes, .. } = fields;
        open.moments.push(Moment { name, at_nanos: now_nanos(), attributes });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(mut finished) = span.extensions_mut().remove::<Finished>() else { return };
        if finished.trace.is_some() {
            finished.ended_nanos = now_nanos();
            // A full queue means a collector that does not keep up: the node does not wait for it.
            drop(self.queue.try_send(finished));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const HASH: &str = "000000000000000000000000000000000123456789abcdef0123456789ABCDEF";

    #[test]
    fn a_trace_is_named_by_its_hash_and_its_parts_belong_to_it() {
        let (queue, finished) = sync_channel(16);
        let subscriber = tracing_subscriber::registry().with(Trails::new(queue));
        tracing::subscriber::with_default(subscriber, || {
            let block = tracing::info_span!("block", trace = HASH, height = tracing::field::Empty, peer = 7);
            let stage = tracing::info_span!(parent: &block, "connect");
            block.record("height", 12);
            tracing::info!(parent: &block, peers = 3, "announced on");
            drop(stage);
            drop(block);
            drop(tracing::info_span!("about nothing"));
        });
        let spans: Vec<Finished> = finished.try_iter().collect();
        let [connect, block] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!((connect.name, block.name), ("connect", "block"));
        let trace = Some("0123456789abcdef0123456789abcdef".to_owned());
        assert_eq!((&block.trace, &connect.trace), (&trace, &trace));
        assert_eq!((connect.parent, block.parent), (Some(block.id), None));
        assert_eq!(block.attributes, [("peer", Value::Number(7)), ("height", Value::Number(12))]);
        assert_eq!(block.moments[0].name, "announced on");
        assert!(block.ended_nanos >= connect.ended_nanos && connect.began_nanos >= block.began_nanos);
    }

    #[test]
    fn what_is_no_hash_names_no_trace() {
        assert_eq!(trace_id(HASH).as_deref(), Some("0123456789abcdef0123456789abcdef"));
        for wrong in ["", "12", &"☃".repeat(32), &"g".repeat(64)] {
            assert_eq!(trace_id(wrong), None, "{wrong}");
        }
    }
}
