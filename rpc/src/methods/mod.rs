//! The methods: one table from which the dispatcher, `help` and the client come, and the functions that answer.
//!
//! A method reads one snapshot or gives one command, and makes its JSON afterwards. It never keeps state.

mod addresses;
mod advice;
mod block_stats;
mod blockchain;
mod control;
mod lab;
mod mempool;
mod mining;
mod network;
mod params;
mod table;
mod transactions;

use std::{collections::BTreeMap, sync::Arc};

use chain::{
    address::Address,
    genesis::Chain,
    hash::{BlockHash, TxId},
    height::Height,
};
use serde::Serialize;
use serde_json::value::RawValue;

pub use self::addresses::MAX_HISTORY_ENTRIES;
use self::params::Arguments;
pub use self::params::{
    Addresses, BlockRef, MAX_ADDRESSES, MAX_STAT_NAMES, MAX_TESTED_TRANSACTIONS, Param, ParamError,
    ParamSpec, RawTransactions, StatNames, Verbosity, command_line_params,
};
pub(crate) use self::table::method_table;
use crate::{
    backend::{Backend, CommandError, IndexError, RejectionKind, Unavailable, ViewError},
    dispatch::Methods,
    error::{RpcError, code},
    message::Params,
    types::*,
};

/// The category of the methods that a node has only where its operator asked for them, on chains for development.
pub const LAB: &str = "Lab";

/// What `help` knows of one method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodSpec {
    /// The room that it is listed in.
    pub category: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its parameters, in order.
    pub params: &'static [ParamSpec],
    /// What it does, line by line; the last line is an example.
    pub help: &'static [&'static str],
}

/// All methods that a node answers, on top of a [`Backend`].
pub struct NodeMethods<B> {
    backend: Arc<B>,
}

impl<B: Backend> NodeMethods<B> {
    /// The methods of `backend`.
    #[must_use]
    pub fn new(backend: Arc<B>) -> Self {
        Self { backend }
    }
}

macro_rules! define_methods {
    ($( $category:literal { $(
        $(#[doc = $help:literal])+
        $name:ident ( $($param:ident : $type:ty),* ) -> $result:ty = $answer:path;
    )* } )*) => {
        /// All methods, in the order in which `help` lists them.
        pub const METHODS: &[MethodSpec] = &[$($( MethodSpec {
            category: $category,
            name: stringify!($name),
            params: &[$( ParamSpec {
                name: stringify!($param),
                kind: <$type as Param>::KIND,
                optional: <$type as Param>::OPTIONAL,
                text: <$type as Param>::TEXT,
            } ),*],
            help: &[$($help),+],
        } ),*),*];

        impl<B: Backend> Methods for NodeMethods<B> {
            async fn call(&self, method: &str, params: Params) -> Result<Box<RawValue>, RpcError> {
                let spec = method_spec(method).filter(|spec| is_offered(&*self.backend, spec));
                let Some(spec) = spec else { return Err(RpcError::method_not_found()) };
                #[allow(unused_mut)]
                let mut arguments = Arguments::new(method, spec.params, params)?;
                match method {
                    $($( stringify!($name) => {
                        $( let $param: $type = arguments.take(method)?; )*
                        let result: $result = $answer(&*self.backend $(, $param)*).await?;
                        to_json(&result)
                    } )*)*
                    _ => Err(RpcError::method_not_found()),
                }
            }
        }
    };
}

method_table!(define_methods);

/// The method named `name`.
#[must_use]
pub fn method_spec(name: &str) -> Option<&'static MethodSpec> {
    METHODS.iter().find(|spec| spec.name == name)
}

/// Whether a node has this method.
fn is_offered<B: Backend>(backend: &B, spec: &MethodSpec) -> bool {
    spec.category != LAB || backend.lab().is_some()
}

fn to_json<T: Serialize>(result: &T) -> Result<Box<RawValue>, RpcError> {
    serde_json::value::to_raw_value(result).map_err(|error| RpcError::new(code::INTERNAL, error.to_string()))
}

impl From<Unavailable> for RpcError {
    fn from(error: Unavailable) -> Self {
        Self::new(code::INTERNAL, error.to_string())
    }
}

impl From<ViewError> for RpcError {
    fn from(error: ViewError) -> Self {
        Self::new(code::MISC, error.to_string())
    }
}

impl From<IndexError> for RpcError {
    fn from(error: IndexError) -> Self {
        let code = match &error {
            IndexError::Unavailable(_) => code::INTERNAL,
            IndexError::View(_) | IndexError::Off => code::MISC,
            IndexError::CatchingUp { .. } => code::IN_WARMUP,
        };
        Self::new(code, error.to_string())
    }
}

impl From<CommandError> for RpcError {
    fn from(error: CommandError) -> Self {
        let code = match &error {
            CommandError::Unavailable(_) => code::INTERNAL,
            CommandError::View(_)
            | CommandError::WrongChain(_)
            | CommandError::NoMiningAddress
            | CommandError::TooMuch(_)
            | CommandError::NotSaved(_) => code::MISC,
            CommandError::UnknownBlock => code::INVALID_ADDRESS_OR_KEY,
            // The code that Bitcoin Core gives to a second scan of the UTXO set.
            CommandError::GenesisBlock | CommandError::Busy(_) => code::INVALID_PARAMETER,
            CommandError::Rejected(rejection) => match rejection.kind {
                RejectionKind::AlreadyKnown => code::ALREADY_IN_CHAIN,
                RejectionKind::MissingInputs | RejectionKind::FeeTooHigh => code::VERIFY,
                RejectionKind::Refused => code::VERIFY_REJECTED,
            },
            CommandError::InitialDownload => code::INITIAL_DOWNLOAD,
            CommandError::NotConnected => code::NOT_CONNECTED,
            CommandError::InvalidPeer(_) | CommandError::InvalidConditions(_) => code::INVALID_PARAMETER,
            CommandError::PeerAlreadyAdded => code::NODE_ALREADY_ADDED,
            CommandError::PeerNotAdded => code::NODE_NOT_ADDED,
            CommandError::InvalidSubnet(_) | CommandError::NotBanned => code::INVALID_IP_OR_SUBNET,
            CommandError::AlreadyBanned => code::NODE_ALREADY_ADDED,
            CommandError::PeerNotConnected => code::NODE_NOT_CONNECTED,
        };
        Self::new(code, error.to_string())
    }
}

/// Reads an address of this chain.
fn parse_address(chain: &Chain, text: &str) -> Result<Address, RpcError> {
    Address::decode(&chain.params().prefix, text).map_err(|error| {
        RpcError::not_found(format!("Invalid address {}: {error}", crate::error::excerpt(text)))
    })
}

/// Reads hexadecimal digits; `what` names it in the error, in Bitcoin Core's words.
fn parse_hex(text: &str, what: &str) -> Result<Vec<u8>, RpcError> {
    // `const_hex` accepts a leading `0x`, which Bitcoin Core does not.
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match const_hex::decode(text) {
        Ok(bytes) if digits => Ok(bytes),
        _ => {
            Err(RpcError::new(code::DESERIALIZATION, format!("{what} decode failed: not hexadecimal digits")))
        }
    }
}

/// How deep `height` lies below a tip: 1 for the tip itself.
fn confirmations(tip: Height, height: Height) -> u32 {
    tip.get().saturating_sub(height.get()).saturating_add(1)
}
