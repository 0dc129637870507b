//! The client's typed methods, one for each of the table.

use std::collections::BTreeMap;

use chain::{
    hash::{BlockHash, TxId},
    height::Height,
};
use serde::Serialize;
use serde_json::Value;

use super::{Client, ClientError};
use crate::{
    methods::{Addresses, BlockRef, RawTransactions, StatNames, Verbosity, method_table},
    types::*,
};

/// A parameter as JSON.
fn to_value<T: Serialize>(param: &T) -> Value {
    serde_json::to_value(param).expect("parameters hold only strings, numbers, flags and lists of them")
}

macro_rules! define_client {
    ($( $category:literal { $(
        $(#[doc = $help:literal])+
        $name:ident ( $($param:ident : $type:ty),* ) -> $result:ty = $answer:path;
    )* } )*) => {
        impl Client { $($(
            $(#[doc = $help])+
            ///
            /// # Errors
            /// As [`Client::call_raw`].
            pub fn $name(&self $(, $param: $type)*) -> Result<$result, ClientError> {
                self.call(stringify!($name), vec![$(to_value(&$param)),*])
            }
        )*)* }
    };
}

method_table!(define_client);
