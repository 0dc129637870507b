//! The node as those see it who watch it: its figures are read when they are asked for.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use rpc::server::{ServeError, page};
use tokio::sync::watch;

use super::{Parts, thread::EngineHandle, until};
use crate::{
    metrics::{self, Reading, Snapshot},
    p2p::NetView,
    store::{failpoint, index::IndexHandle},
    telemetry,
};

/// How long the engine may take to say its figures; then there are none this time. A scrape that waits for ever
/// would say less.
const ENGINE_PATIENCE: Duration = Duration::from_secs(2);

/// What is looked at.
pub(super) struct Watched {
    /// What was counted.
    pub registry: Registry,
    /// Where what is read is put.
    pub snapshot: Arc<Snapshot>,
    /// The engine.
    pub engine: EngineHandle,
    /// The network.
    pub net: Arc<NetView>,
    /// The indexes, where the node keeps them.
    pub index: Option<IndexHandle>,
    /// The memory that coins may occupy.
    pub coin_cache_limit_bytes: usize,
}

impl Watched {
    async fn page(&self) -> Option<String> {
        failpoint::beat("metrics");
        let asked = self
            .engine
            .call(|engine, now| (engine.figures(now), engine.ledger().store().coin_cache(), engine.sizes()));
        let answer = tokio::time::timeout(ENGINE_PATIENCE, asked).await.ok().and_then(Result::ok);
        let peers = self.net.peers();
        let outbound = peers.iter().filter(|peer| peer.outbound).count();
        self.snapshot.set(Reading {
            engine: answer.as_ref().map(|(figures, ..)| *figures),
            coin_cache: answer.as_ref().map(|(_, coins, _)| *coins),
            sizes: answer.map(|(.., sizes)| sizes).unwrap_or_default(),
            coin_cache_limit_bytes: self.coin_cache_limit_bytes,
            index_height: self.index.as_ref().map(|index| index.tip().height.get()),
            peers_inbound: peers.len() - outbound,
            peers_outbound: outbound,
            bans: self.net.bans() as u64,
            faults: vec![
                ("other_chain", self.net.other_chain.get()),
                ("malformed", self.net.malformed.get()),
            ],
            dropped: vec![
                ("request", self.net.requests_dropped.get()),
                ("transaction", self.net.gossip_dropped.get()),
            ],
            log_lines_suppressed: telemetry::suppressed_lines(),
            uptime_secs: self.engine.clock().uptime_secs(),
        });
        metrics::text(&self.registry)
    }
}

/// Serves the metrics at `address` as one of the parts.
///
/// # Errors
/// [`ServeError`] where the address cannot be bound.
pub(super) async fn serve(
    address: SocketAddr,
    watched: Watched,
    stopping: watch::Receiver<bool>,
    parts: &mut Parts,
) -> Result<(), ServeError> {
    let listener = page::bind(address).await?;
    let bound = listener.local_addr().map_err(ServeError::Listener)?;
    tracing::info!(metrics = %format_args!("http://{bound}/metrics"), "metrics are served");
    let watched = Arc::new(watched);
    let page = move || {
        let watched = Arc::clone(&watched);
        async move { watched.page().await }
    };
    parts.spawn(async move {
        page::serve(listener, page, until(stopping)).await;
        Ok(())
    });
    Ok(())
}
