//! Parameters: from JSON to typed values, with Bitcoin Core's codes for what is wrong (threat R11: a
//! parameter is an error or a value, never a panic).

use std::fmt;

use chain::{
    hash::{BlockHash, TxId},
    height::Height,
};
use serde::{Serialize, Serializer, ser::SerializeSeq};
use serde_json::Value;

use crate::{
    error::{RpcError, code, excerpt},
    message::Params,
    types::{Coins, TemplateRequest},
};

/// The largest number of addresses in one call.
pub const MAX_ADDRESSES: usize = 1_000;

/// The largest number of transactions that one `testmempoolaccept` takes, as in Bitcoin Core.
pub const MAX_TESTED_TRANSACTIONS: usize = 25;

/// The largest number of figures that one `getblockstats` names.
pub const MAX_STAT_NAMES: usize = 64;

/// A type that a parameter can have.
pub trait Param: Sized {
    /// What is expected, for help and errors: `a height`.
    const KIND: &'static str;
    /// Whether the parameter may be left out.
    const OPTIONAL: bool = false;
    /// Whether it is a string in JSON, so that the command line never mistakes it for a number.
    const TEXT: bool;

    /// From JSON.
    ///
    /// # Errors
    /// What is wrong with it; the caller adds the name of the parameter.
    fn parse(value: Value) -> Result<Self, ParamError>;

    /// The value when nothing was sent.
    fn absent() -> Option<Self> {
        None
    }
}

/// What is wrong with a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParamError {
    /// It is of another JSON type.
    Type(String),
    /// It has a wrong value.
    Value(String),
}

/// The JSON type of a value, in Bitcoin Core's words.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type<T>(value: &Value, expected: &str) -> Result<T, ParamError> {
    Err(ParamError::Type(format!(
        "JSON value of type {} is not of expected type {expected}",
        type_name(value)
    )))
}

fn string(value: Value) -> Result<String, ParamError> {
    match value {
        Value::String(text) => Ok(text),
        other => wrong_type(&other, "string"),
    }
}

fn whole_number(value: &Value, max: u64) -> Result<u64, ParamError> {
    let Value::Number(number) = value else { return wrong_type(value, "number") };
    match number.as_u64() {
        Some(number) if number <= max => Ok(number),
        _ => Err(ParamError::Value(format!(
            "{} is not a whole number from 0 to {max}",
            excerpt(number.as_str())
        ))),
    }
}

impl<T: Param> Param for Option<T> {
    const KIND: &'static str = T::KIND;
    const OPTIONAL: bool = true;
    const TEXT: bool = T::TEXT;
    fn parse(value: Value) -> Result<Self, ParamError> {
        if value.is_null() { Ok(None) } else { T::parse(value).map(Some) }
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl Param for bool {
    const KIND: &'static str = "true or false";
    const TEXT: bool = false;
    fn parse(value: Value) -> Result<Self, ParamError> {
        match value {
            Value::Bool(flag) => Ok(flag),
            other => wrong_type(&other, "bool"),
        }
    }
}

impl Param for u32 {
    const KIND: &'static str = "a whole number";
    const TEXT: bool = false;
    fn parse(value: Value) -> Result<Self, ParamError> {
        let number = whole_number(&value, u64::from(u32::MAX))?;
        Self::try_from(number).map_err(|_| ParamError::Value("the number is too large".into()))
    }
}

impl Param for u64 {
    const KIND: &'static str = "a whole number";
    const TEXT: bool = false;
    fn parse(value: Value) -> Result<Self, ParamError> {
        whole_number(&value, Self::MAX)
    }
}

impl Param for f64 {
    const KIND: &'static str = "a number";
    const TEXT: bool = false;
    fn parse(value: Value) -> Result<Self, ParamError> {
        let Value::Number(number) = &value else { return wrong_type(&value, "number") };
        let finite = number.as_f64().filter(|number| number.is_finite());
        finite.ok_or_else(|| ParamError::Value("the number is too large".into()))
    }
}

impl Param for Height {
    const KIND: &'static str = "a height";
    const TEXT: bool = false;
    fn parse(value: Value) -> Result<Self, ParamError> {
        let Value::Number(number) = &value else { return wrong_type(&value, "number") };
        let height = number.as_u64().and_then(|height| u32::try_from(height).ok());
        height.map(Self::new).ok_or_else(|| ParamError::Value("Block height out of range".into()))
    }
}

impl Param for String {
    const KIND: &'static str = "a text";
    const TEXT: bool = true;
    fn parse(value: Value) -> Result<Self, ParamError> {
        string(value)
    }
}

/// A hash, in Bitcoin Core's words when it is none.
fn hash<T: std::str::FromStr>(value: Value) -> Result<T, ParamError> {
    let text = string(value)?;
    let digits = text.chars().count();
    if digits != HASH_DIGITS {
        let text = excerpt(&text);
        return Err(ParamError::Value(format!("must be of length {HASH_DIGITS} (not {digits}, for {text})")));
    }
    text.parse()
        .map_err(|_| ParamError::Value(format!("must be hexadecimal string (not {})", excerpt(&text))))
}

impl Param for BlockHash {
    const KIND: &'static str = "a block hash";
    const TEXT: bool = true;
    fn parse(value: Value) -> Result<Self, ParamError> {
        hash(value)
    }
}

impl Param for TxId {
    const KIND: &'static str = "a transaction id";
    const TEXT: bool = true;
    fn parse(value: Value) -> Result<Self, ParamError> {
        hash(value)
    }
}

impl Param for Coins {
    const KIND: &'static str = "an amount in CRN";
    const TEXT: bool = false;
    fn parse(value: Value) -> Result<Self, ParamError> {
        // Bitcoin Core takes amounts as numbers and as strings.
        let text = match &value {
            Value::Number(number) => number.as_str(),
            Value::String(text) => text,
            other => return wrong_type(other, "number"),
        };
        text.parse().map_err(|error| ParamError::Type(format!("Invalid amount: {error}")))
    }
}

/// How much of a block or transaction is wanted: 0, 1, 2, or false (0) and true (1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Verbosity(pub u32);

impl Param for Verbosity {
    const KIND: &'static str = "0, 1, 2, false or true";
    const TEXT: bool = false;
    fn parse(value: Value) -> Result<Self, ParamError> {
        match value {
            Value::Bool(verbose) => Ok(Self(u32::from(verbose))),
            value => u32::parse(value).map(Self),
        }
    }
}

/// The number of hexadecimal digits of a hash.
const HASH_DIGITS: usize = 64;

/// A block, named by its height in the active chain or by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum BlockRef {
    /// The height.
    Height(Height),
    /// The hash.
    Hash(BlockHash),
}

impl Param for BlockRef {
    const KIND: &'static str = "a height or a block hash";
    const TEXT: bool = false;
    fn parse(value: Value) -> Result<Self, ParamError> {
        match value {
            Value::String(_) => BlockHash::parse(value).map(Self::Hash),
            // A command line takes a hash for a number where all of its digits are decimal.
            Value::Number(number) if number.as_str().len() == HASH_DIGITS => {
                BlockHash::parse(Value::String(number.to_string())).map(Self::Hash)
            }
            value => Height::parse(value).map(Self::Height),
        }
    }
}

/// Names of figures of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct StatNames(pub Vec<String>);

impl Param for StatNames {
    const KIND: &'static str = "an array of names";
    const TEXT: bool = false;
    fn parse(value: Value) -> Result<Self, ParamError> {
        match value {
            Value::Array(names) => texts(names, MAX_STAT_NAMES, "names").map(Self),
            other => wrong_type(&other, "array"),
        }
    }
}

/// One address or several, as text: only the chain knows their prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(pub Vec<String>);

impl Param for Addresses {
    const KIND: &'static str = "an address, or an array of addresses";
    const TEXT: bool = false;
    fn parse(value: Value) -> Result<Self, ParamError> {
        match value {
            Value::String(address) => Ok(Self(vec![address])),
            Value::Array(addresses) => texts(addresses, MAX_ADDRESSES, "addresses").map(Self),
            other => wrong_type(&other, "string"),
        }
    }
}

impl Serialize for Addresses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut array = serializer.serialize_seq(Some(self.0.len()))?;
        for address in &self.0 {
            array.serialize_element(address)?;
        }
        array.end()
    }
}

/// Several raw transactions in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RawTransactions(pub Vec<String>);

impl Param for RawTransactions {
    const KIND: &'static str = "an array of transactions in hexadecimal";
    const TEXT: bool = false;
    fn parse(value: Value) -> Result<Self, ParamError> {
        match value {
            Value::Array(raw) => texts(raw, MAX_TESTED_TRANSACTIONS, "transactions").map(Self),
            other => wrong_type(&other, "array"),
        }
    }
}

fn texts(values: Vec<Value>, max: usize, what: &str) -> Result<Vec<String>, ParamError> {
    if values.is_empty() || values.len() > max {
        return Err(ParamError::Value(format!("Array must contain between 1 and {max} {what}.")));
    }
    values.into_iter().map(string).collect()
}

impl Param for TemplateRequest {
    const KIND: &'static str = "an object as in BIP-22";
    const TEXT: bool = false;
    fn parse(value: Value) -> Result<Self, ParamError> {
        if !value.is_object() {
            return wrong_type(&value, "object");
        }
        serde_json::from_value(value).map_err(|error| ParamError::Type(error.to_string()))
    }
}

/// What `help` and errors say of one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParamSpec {
    /// Its name, as in named parameters.
    pub name: &'static str,
    /// What is expected.
    pub kind: &'static str,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it is a string in JSON.
    pub text: bool,
}

impl fmt::Display for ParamSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.optional { write!(f, "[{}]", self.name) } else { f.write_str(self.name) }
    }
}

/// The parameters of one call, by position whichever way they were sent.
pub(super) struct Arguments {
    specs: &'static [ParamSpec],
    values: std::vec::IntoIter<Option<Value>>,
    next: usize,
}

impl Arguments {
    /// Sorts what was sent by the method's parameters.
    pub(super) fn new(method: &str, specs: &'static [ParamSpec], params: Params) -> Result<Self, RpcError> {
        let mut values: Vec<Option<Value>> = Vec::new();
        match params {
            Params::Positional(sent) if sent.len() > specs.len() => {
                let message = format!("{method} takes {}, got {}", list(method, specs), count(sent.len()));
                return Err(RpcError::new(code::INVALID_PARAMS, message));
            }
            Params::Positional(sent) => values.extend(sent.into_iter().map(Some)),
            Params::Named(sent) => {
                values.resize(specs.len(), None);
                for (name, value) in sent {
                    let known = specs.iter().position(|spec| spec.name == canonical(&name, specs));
                    let Some(place) = known.and_then(|index| values.get_mut(index)) else {
                        let (name, expected) = (excerpt(&name), list(method, specs));
                        let message = format!("Unknown named parameter {name}: {method} takes {expected}");
                        return Err(RpcError::invalid_parameter(message));
                    };
                    if place.replace(value).is_some() {
                        let message = format!("Parameter {} specified twice", excerpt(&name));
                        return Err(RpcError::invalid_parameter(message));
                    }
                }
            }
        }
        Ok(Self { specs, values: values.into_iter(), next: 0 })
    }

    /// The next parameter.
    pub(super) fn take<T: Param>(&mut self, method: &str) -> Result<T, RpcError> {
        let name = self.specs.get(self.next).map_or("", |spec| spec.name);
        self.next += 1;
        match self.values.next().flatten() {
            Some(value) => T::parse(value).map_err(|error| match error {
                ParamError::Type(what) => {
                    RpcError::new(code::TYPE, format!("{name}: {what}; expected {}", T::KIND))
                }
                ParamError::Value(what) => RpcError::invalid_parameter(format!("{name}: {what}")),
            }),
            None => T::absent().ok_or_else(|| {
                let message = format!("{name} is missing: {method} takes {}", list(method, self.specs));
                RpcError::new(code::INVALID_PARAMS, message)
            }),
        }
    }
}

/// Bitcoin Core's older name of a parameter stands for the newer one, and the other way round.
fn canonical<'a>(name: &'a str, specs: &[ParamSpec]) -> &'a str {
    let has = |wanted: &str| specs.iter().any(|spec| spec.name == wanted);
    match name {
        "verbose" if !has("verbose") => "verbosity",
        "verbosity" if !has("verbosity") => "verbose",
        other => other,
    }
}

fn count(parameters: usize) -> String {
    match parameters {
        1 => "1 parameter".into(),
        n => format!("{n} parameters"),
    }
}

fn list(method: &str, specs: &[ParamSpec]) -> String {
    if specs.is_empty() {
        return "no parameters".into();
    }
    let names: Vec<String> = specs.iter().map(|spec| format!("{spec} ({})", spec.kind)).collect();
    format!("{}: {}; see `help {method}`", count(specs.len()), names.join(", "))
}

/// Turns the words of a command line into parameters of `method`: a parameter that is a string stays one,
/// anything else is read as JSON where it is JSON (`2`, `true`, `["a"]`) and is a string where it is not.
#[must_use]
pub fn command_line_params(specs: Option<&[ParamSpec]>, words: &[String]) -> Vec<Value> {
    let text = |index: usize| specs.and_then(|specs| specs.get(index)).is_some_and(|spec| spec.text);
    let parse = |(index, word): (usize, &String)| {
        let json = if text(index) { None } else { serde_json::from_str(word).ok() };
        json.unwrap_or_else(|| Value::String(word.clone()))
    };
    words.iter().enumerate().map(parse).collect()
}
