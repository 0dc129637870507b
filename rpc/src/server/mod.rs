//! The HTTP server: HTTP/1.1 only (threat R09), JSON-RPC at `POST /`.
//!
//! Every resource that a caller can take has a named limit: connections, bytes and time of head and body, calls
//! at once. Nothing of a body is read before its sender is known. What machines read without an account,
//! the metrics, has a listener of its own ([`page`]), under the same limits.

mod guard;
mod observed;
pub mod page;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

pub use self::{guard::WRONG_CREDENTIALS_DELAY, observed::CallObserver};
use self::{
    guard::{Guard, Refusal},
    observed::Observed,
};
use crate::{auth::Accounts, backend::Backend, dispatch, methods::NodeMethods};

/// The largest body of a request, in bytes: the largest block that any chain allows
/// ([`chain::encode::MAX_BLOCK_BYTES`]) in hexadecimal, and 1 MiB around it (threats R05, C22).
pub const MAX_BODY_BYTES: usize = 2 * chain::encode::MAX_BLOCK_BYTES as usize + (1 << 20);

/// The largest head of a request, in bytes.
pub const MAX_HEAD_BYTES: usize = 16 << 10;

/// The most headers of a request.
pub const MAX_HEADERS: usize = 64;

/// The most connections at once (threat R08); more wait until the operating system's queue is full.
pub const MAX_CONNECTIONS: usize = 1_000;

/// The most requests that run at once; more wait. It bounds the memory of answers.
pub const MAX_CALLS_AT_ONCE: usize = 32;

/// The memory for the bodies of all requests at once, in KiB: a body takes what it announces, or the largest
/// size when it announces nothing, and waits until that is free. Slow small bodies thus keep nobody out (R08).
pub const BODIES_KIB: usize = 256 << 10;

/// How long the head of a request may take, and how long a connection may be idle.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the body of a request may take.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long calls that run may go on after the server was told to stop.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the server waits before it accepts again when the system refused it a connection (too many open
/// files): the error persists, and no event tells its end.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What a server needs to know.
#[derive(Debug, Clone, Default)]
pub struct ServerConfig {
    /// Who may call; with no account, nobody.
    pub accounts: Accounts,
    /// Host names under which the server may be addressed besides `localhost` and its own address.
    pub allowed_hosts: Vec<String>,
    /// Who is told of every call that has ended.
    pub observer: Option<Arc<dyn CallObserver>>,
}

/// Why the server does not run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Anybody could reach the address.
    #[error(
        "{0} can be reached from other machines, and the RPC moves money: bind 127.0.0.1, or allow it with \
         --rpc-allow-public"
    )]
    NotLoopback(SocketAddr),
    /// The address could not be bound.
    #[error(
        "the RPC address {address} cannot be bound: {source}; free the port, or choose another with --rpc-listen"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The address of the metrics could not be bound.
    #[error(
        "the metrics' address {address} cannot be bound: {source}; free the port, or choose another with \
         --metrics-listen"
    )]
    BindPage {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The listener does not know its own address.
    #[error("the RPC listener has no address: {0}")]
    Listener(io::Error),
}

/// Binds `address`; port 0 takes a free one, which the listener tells. Addresses that other machines can reach
/// are refused unless `allow_public` (threat R02).
///
/// # Errors
/// [`ServeError::NotLoopback`], [`ServeError::Bind`].
pub async fn bind(address: SocketAddr, allow_public: bool) -> Result<TcpListener, ServeError> {
    if !address.ip().is_loopback() && !allow_public {
        return Err(ServeError::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })
}

/// Serves `backend` on `listener` until `shutdown` is done; then answers the calls that run, for at most
/// [`SHUTDOWN_TIMEOUT`].
///
/// # Errors
/// When the listener does not know its own address.
pub async fn serve<B: Backend>(
    listener: TcpListener,
    backend: Arc<B>,
    config: ServerConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let bound = listener.local_addr().map_err(ServeError::Listener)?;
    serve_router(listener, router(bound, backend, config), MAX_CONNECTIONS, shutdown).await;
    Ok(())
}

/// Serves `router` on at most so many connections at once, until `shutdown` is done.
async fn serve_router(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    shutdown: impl Future<Output = ()>,
) {
    let connections = Arc::new(Semaphore::new(max_connections));
    let graceful = GracefulShutdown::new();
    let mut tasks = tokio::task::JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        // Tasks that are done are forgotten here, so that the set holds at most the open connections.
        while tasks.try_join_next().is_some() {}
        if let Some((stream, permit)) = stream {
            let connection = connection(stream, router.clone());
            let watched = graceful.watch(connection);
            tasks.spawn(async move {
                // Clients that break off mid-request are their own concern (threat R12).
                if let Err(error) = watched.await {
                    tracing::debug!(%error, "an RPC connection ended early");
                }
                drop(permit);
            });
        }
    }
    drop(listener);
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("RPC calls still ran when the server stopped; they are broken off");
    }
    tasks.shutdown().await;
}

/// The next connection, once there is room for it; `None` when the system refused one.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!(%error, "an RPC connection could not be accepted");
            tokio::time::sleep(ACCEPT_RETRY).await;
            None
        }
    }
}

type Connection = hyper::server::conn::http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>>;

fn connection(stream: TcpStream, router: Router) -> Connection {
    // An answer is small and waited for. A socket that refuses the option works without it.
    let _ = stream.set_nodelay(true);
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}

struct Shared<B> {
    guard: Guard,
    methods: Observed<NodeMethods<B>>,
    calls: Semaphore,
    body_kib: Semaphore,
}

fn router<B: Backend>(bound: SocketAddr, backend: Arc<B>, config: ServerConfig) -> Router {
    let shared = Arc::new(Shared {
        guard: Guard::new(bound, config.allowed_hosts, config.accounts),
        methods: Observed { methods: NodeMethods::new(backend), observer: config.observer },
        calls: Semaphore::new(MAX_CALLS_AT_ONCE),
        body_kib: Semaphore::new(BODIES_KIB),
    });
    Router::new().route("/", post(json_rpc::<B>)).with_state(shared)
}

async fn json_rpc<B: Backend>(State(shared): State<Arc<Shared<B>>>, request: Request) -> Response {
    match answer(&shared, request).await {
        Ok(response) => response,
        Err(refusal) => {
            if refusal.delayed {
                tokio::time::sleep(WRONG_CREDENTIALS_DELAY).await;
            }
            refusal.into_response()
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.message).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"jsonrpc\""));
        }
        response
    }
}

async fn answer<B: Backend>(shared: &Shared<B>, request: Request) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    shared.guard.check(&head.headers)?;
    let stopping = |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping");
    let size_kib = announced_kib(&body)?;
    let _memory = shared.body_kib.acquire_many(size_kib).await.map_err(stopping)?;
    let body = read_body(body).await?;
    let _turn = shared.calls.acquire().await.map_err(stopping)?;
    let reply = dispatch::answer(&shared.methods, &body).await;
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if reply.body.is_empty() {
        return Ok(status.into_response());
    }
    let mut body = reply.body;
    body.push(b'\n');
    let json = HeaderValue::from_static("application/json");
    Ok((status, [(header::CONTENT_TYPE, json)], body).into_response())
}

const TOO_LARGE: Refusal = Refusal::new(
    StatusCode::PAYLOAD_TOO_LARGE,
    "the body is larger than any block; send fewer calls at once",
);

/// The memory that a body may take. What announces too much is refused before a byte of it is read (threat R05).
fn announced_kib(body: &Body) -> Result<u32, Refusal> {
    let size = body.size_hint();
    let bytes = size.upper().unwrap_or(MAX_BODY_BYTES as u64).max(size.lower());
    if bytes > MAX_BODY_BYTES as u64 {
        return Err(TOO_LARGE);
    }
    u32::try_from(bytes.div_ceil(1 << 10)).map_err(|_| TOO_LARGE)
}

/// Reads a body; it never holds more than [`MAX_BODY_BYTES`], whatever was announced (threat R05).
async fn read_body(body: Body) -> Result<Bytes, Refusal> {
    let limited = Limited::new(body, MAX_BODY_BYTES);
    match tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(TOO_LARGE),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the body of an RPC request broke off");
            Err(Refusal::new(StatusCode::BAD_REQUEST, "the body could not be read"))
        }
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}
