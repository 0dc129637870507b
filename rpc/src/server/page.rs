//! One page of text at `GET /metrics`, for the machines that watch a node.
//!
//! It asks for no credentials, since what scrapes it has none to give: so nothing secret may be in the text, and
//! nothing that a node keeps from its peers (addresses, identities, what a wallet asked for). It is read-only, and
//! its connections, heads and times are bounded as those of the RPC are.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::Semaphore};

use super::{ServeError, serve_router};

/// The most connections at once; scrapers keep one each.
pub const MAX_PAGE_CONNECTIONS: usize = 64;

/// The most pages that are made at once; more wait.
pub const MAX_PAGES_AT_ONCE: usize = 2;

/// The type of the text: OpenMetrics, as Prometheus reads it.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Binds `address`; port 0 takes a free one, which the listener tells.
///
/// # Errors
/// [`ServeError::BindPage`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::BindPage { address, source })
}

/// Serves what `page` makes, anew for every request, on `listener` until `shutdown` is done. Where `page` gives
/// nothing, the answer is 503.
pub async fn serve<Page, Made>(listener: TcpListener, page: Page, shutdown: impl Future<Output = ()>)
where
    Page: Fn() -> Made + Clone + Send + Sync + 'static,
    Made: Future<Output = Option<String>> + Send,
{
    let turns = Arc::new(Semaphore::new(MAX_PAGES_AT_ONCE));
    let answer = move || {
        let (page, turns) = (page.clone(), Arc::clone(&turns));
        async move {
            // A closed semaphore would mean that the server is gone, and nobody waits for the answer.
            let _turn = turns.acquire().await;
            response(page().await)
        }
    };
    let router = Router::new().route("/metrics", get(answer));
    serve_router(listener, router, MAX_PAGE_CONNECTIONS, shutdown).await;
}

fn response(text: Option<String>) -> Response {
    match text {
        Some(text) => {
            let content_type = HeaderValue::from_static(CONTENT_TYPE);
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "the node gives no figures now").into_response(),
    }
}
