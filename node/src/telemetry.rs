//! Logs: to stderr, so that stdout holds nothing but answers.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. `default` holds where `RUST_LOG` is not set: `info`, `cairn=debug`, ...
pub fn start(default: &str) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{default},libp2p_swarm=warn")));
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .try_init();
    // A test may have started its own; then that one stays.
    drop(started);
}
