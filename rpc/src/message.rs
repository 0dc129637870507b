//! Requests and answers as they travel: JSON-RPC 2.0, and 1.0 as Bitcoin's miners and clients speak it.
//!
//! A request without the member `jsonrpc` (or with "1.0" or "1.1") is a 1.0 request: it is always answered,
//! with all three members, and its errors have HTTP statuses of their own. Nothing here knows a method.
//! Members that occur twice are refused, so that two readers never see two requests (threat R13); nesting is
//! limited by `serde_json` to 128 levels (threat R07).

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap, Serializer},
};
use serde_json::{Value, value::RawValue};

use crate::error::RpcError;

/// The largest number of calls in one batch (threat R06).
pub const MAX_BATCH_CALLS: usize = 100;

/// Which of the two protocols a request speaks, and so its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// JSON-RPC 1.0: `{"method", "params", "id"}` -> `{"result", "error", "id"}`.
    V1,
    /// JSON-RPC 2.0.
    V2,
}

/// The parameters of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Params {
    /// By position.
    Positional(Vec<Value>),
    /// By name, in the order in which they were sent; no name occurs twice.
    Named(Vec<(String, Value)>),
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The protocol in which it is to be answered.
    pub version: Version,
    /// The name of the method.
    pub method: String,
    /// The parameters, none if none were sent.
    pub params: Params,
    /// A string, a number or null; `None` marks a notification, which is never answered.
    pub id: Option<Value>,
}

/// One call, or why it is none together with the id under which to say so.
pub type ParsedCall = Result<Call, (RpcError, Value)>;

/// What a body holds.
#[derive(Debug)]
pub enum Message {
    /// One call.
    Single(ParsedCall),
    /// A batch: never empty, at most [`MAX_BATCH_CALLS`].
    Batch(Vec<ParsedCall>),
    /// Nothing that could be called: one answer, under the id null.
    Refused(RpcError),
}

impl Message {
    /// Reads a body. Never fails: what is wrong is in the message, for whoever answers it.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        let Ok(raw) = serde_json::from_slice::<&RawValue>(body) else {
            return Self::Refused(RpcError::parse());
        };
        if !raw.get().trim_start().starts_with('[') {
            return Self::Single(parse_call(raw));
        }
        match serde_json::from_str::<Batch<'_>>(raw.get()) {
            Ok(Batch(calls)) if calls.is_empty() => Self::Refused(RpcError::invalid_request()),
            Ok(Batch(calls)) => Self::Batch(calls.into_iter().map(parse_call).collect()),
            Err(_) => Self::Refused(RpcError::new(
                crate::error::code::INVALID_REQUEST,
                format!("a batch holds at most {MAX_BATCH_CALLS} calls; send several batches"),
            )),
        }
    }
}

/// The calls of a batch, unread. Deserialising stops at the first call too many.
struct Batch<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Batch<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Calls;
        impl<'de> Visitor<'de> for Calls {
            type Value = Batch<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a batch of calls")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut calls = Vec::new();
                while let Some(call) = items.next_element::<&RawValue>()? {
                    if calls.len() == MAX_BATCH_CALLS {
                        return Err(A::Error::custom("too many calls"));
                    }
                    calls.push(call);
                }
                Ok(Batch(calls))
            }
        }
        deserializer.deserialize_seq(Calls)
    }
}

/// The members of a request object that matter, unread; unknown members are ignored, as the specification
/// neither forbids nor uses them.
#[derive(Default)]
struct Members<'a> {
    jsonrpc: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a request object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members::default();
                while let Some(name) = map.next_key::<String>()? {
                    let slot = match name.as_str() {
                        "jsonrpc" => &mut members.jsonrpc,
                        "method" => &mut members.method,
                        "params" => &mut members.params,
                        "id" => &mut members.id,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    if slot.replace(map.next_value()?).is_some() {
                        return Err(A::Error::custom("a member occurs twice"));
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

fn parse_call(raw: &RawValue) -> ParsedCall {
    let invalid = |id: Value| (RpcError::invalid_request(), id);
    let members: Members<'_> = serde_json::from_str(raw.get()).map_err(|_| invalid(Value::Null))?;
    let id = match members.id.map(|id| serde_json::from_str::<Value>(id.get())) {
        None => None,
        Some(Ok(id @ (Value::Null | Value::String(_) | Value::Number(_)))) => Some(id),
        Some(_) => return Err(invalid(Value::Null)),
    };
    let echo = || id.clone().unwrap_or(Value::Null);
    let version = match members.jsonrpc.map(|version| serde_json::from_str::<String>(version.get())) {
        None => Version::V1,
        Some(Ok(version)) if version == "2.0" => Version::V2,
        Some(Ok(version)) if version == "1.0" || version == "1.1" => Version::V1,
        Some(_) => return Err(invalid(echo())),
    };
    let method = match members.method.map(|method| serde_json::from_str::<String>(method.get())) {
        Some(Ok(method)) => method,
        _ => return Err(invalid(echo())),
    };
    let params = match members.params {
        None => Params::Positional(Vec::new()),
        Some(params) => parse_params(params.get()).ok_or_else(|| invalid(echo()))?,
    };
    // A 1.0 client that sends no id still waits for an answer, under the id null.
    let id = if version == Version::V1 { Some(echo()) } else { id };
    Ok(Call { version, method, params, id })
}

fn parse_params(text: &str) -> Option<Params> {
    match text.as_bytes().first()? {
        b'[' => Some(Params::Positional(serde_json::from_str(text).ok()?)),
        b'{' => Some(Params::Named(serde_json::from_str::<Named>(text).ok()?.0)),
        b'n' => Some(Params::Positional(Vec::new())),
        _ => None,
    }
}

/// Named parameters; a name that occurs twice is refused.
struct Named(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Named;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "named parameters")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                /// No method has this many parameters; it bounds the search for duplicates.
                const MAX_NAMED: usize = 32;
                let mut named: Vec<(String, Value)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if named.len() == MAX_NAMED || named.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom("a parameter occurs twice, or there are too many"));
                    }
                    named.push((name, value));
                }
                Ok(Named(named))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The answer to one call.
#[derive(Debug)]
pub struct Answer {
    /// The protocol of the call.
    pub version: Version,
    /// The id of the call, or null.
    pub id: Value,
    /// The result as JSON text, or the error.
    pub outcome: Result<Box<RawValue>, RpcError>,
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(3))?;
        match self.version {
            Version::V1 => {
                object.serialize_entry("result", &self.outcome.as_ref().ok())?;
                object.serialize_entry("error", &self.outcome.as_ref().err())?;
            }
            Version::V2 => {
                object.serialize_entry("jsonrpc", "2.0")?;
                match &self.outcome {
                    Ok(result) => object.serialize_entry("result", result)?,
                    Err(error) => object.serialize_entry("error", error)?,
                }
            }
        }
        object.serialize_entry("id", &self.id)?;
        object.end()
    }
}
