//! Methods whose calls somebody counts.
//!
//! What is told is the table's name of the method and the code of its error, never what a caller sent: so the
//! number of names is bounded, and nothing secret gets into a count (threat R03).

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::value::RawValue;

use crate::{dispatch::Methods, error::RpcError, message::Params, methods::method_spec};

/// The name under which calls of methods that do not exist are told.
const UNKNOWN_METHOD: &str = "unknown";

/// Who is told of every call that has ended.
pub trait CallObserver: fmt::Debug + Send + Sync + 'static {
    /// A call of `method` took so long and ended well, or with the error `code`. It must return at once.
    fn called(&self, method: &'static str, code: Option<i64>, took: Duration);
}

/// Methods, and who is told of their calls.
pub(super) struct Observed<M> {
    pub(super) methods: M,
    pub(super) observer: Option<Arc<dyn CallObserver>>,
}

impl<M: Methods> Methods for Observed<M> {
    async fn call(&self, method: &str, params: Params) -> Result<Box<RawValue>, RpcError> {
        let begun = Instant::now();
        let outcome = self.methods.call(method, params).await;
        if let Some(observer) = &self.observer {
            let name = method_spec(method).map_or(UNKNOWN_METHOD, |spec| spec.name);
            observer.called(name, outcome.as_ref().err().map(|error| error.code), begun.elapsed());
        }
        outcome
    }
}
