//! What a program tells of itself while it runs: log lines to stderr, so that stdout holds nothing but answers, and
//! where asked for, spans to an OpenTelemetry collector.
//!
//! Log lines have a [`budget`], since much of what is logged is of a peer's making (threat P23), and whatever comes
//! from outside is written so that it stays in its line and moves no terminal (threat R14, [`lines`]). Spans
//! ([`otlp`]) carry ids that come from the hash of the block or payment they are about, so that those of several
//! nodes meet in one trace.

pub mod budget;
pub mod lines;
pub mod otlp;

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, OnceLock},
};

use indicatif::ProgressBar;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use self::{
    budget::{Budget, Within},
    lines::{Escaped, ShortLines},
    otlp::{Exporter, Trails},
};

/// The target of the spans that follow blocks and payments. Logs pass over them; only [`otlp`] listens.
pub const TRAIL: &str = "trail";

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// What is told, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How log lines are written.
    pub format: LogFormat,
    /// The collector that spans are sent to.
    pub otlp: Option<String>,
}

/// The budget of the lines of this process.
static BUDGET: OnceLock<Arc<Budget>> = OnceLock::new();

/// A bar that is on the terminal, and must step aside for every line.
static SHOWN_BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// What has to stay while a program tells of itself. When it is dropped, spans that wait are sent.
#[derive(Debug, Default)]
#[must_use = "spans are sent for as long as this lives"]
pub struct Telemetry {
    _exporter: Option<Exporter>,
}

/// Starts logging as text. `default` holds where `RUST_LOG` is not set: `info`, `cairn=debug`, ...
pub fn start(default: &str) {
    // There is no exporter that would have to live on.
    drop(start_with(default, &Options::default()));
}

/// Starts to tell as `options` say.
pub fn start_with(default: &str, options: &Options) -> Telemetry {
    let budget = Arc::clone(BUDGET.get_or_init(|| Arc::new(Budget::default())));
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{default},libp2p_swarm=warn")));
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match options.format {
        LogFormat::Text => fmt::layer()
            .fmt_fields(Escaped)
            .event_format(ShortLines::new(colours))
            .with_ansi(colours)
            .with_writer(BesideTheBar)
            .boxed(),
        LogFormat::Json => fmt::layer().json().with_writer(BesideTheBar).boxed(),
    };
    // Whatever RUST_LOG says: spans of blocks and payments cost nothing where nobody follows them.
    let lines_alone = filter_fn(|of| of.target() != TRAIL).with_max_level_hint(LevelFilter::TRACE);
    let (trails, exporter) = options.otlp.as_deref().map(otlp::start).unzip();
    let trails = trails.map(|trails: Trails| trails.with_filter(filter_fn(|of| of.target() == TRAIL)));
    let started = tracing_subscriber::registry()
        .with(lines.with_filter(filter.and(lines_alone).and(Within(budget))))
        .with(trails)
        .try_init();
    // A test may have started its own; then that one stays.
    drop(started);
    Telemetry { _exporter: exporter }
}

/// Lines that the budget has kept back since the start.
#[must_use]
pub fn suppressed_lines() -> u64 {
    BUDGET.get().map_or(0, |budget| budget.suppressed())
}

/// Logs how many lines the budget has kept back since this was called last, if any.
pub fn report_suppressed() {
    let Some(budget) = BUDGET.get() else { return };
    budget.report();
}

/// Puts a bar at the end of the terminal, or takes it away. Lines are written above it from now on.
pub fn show_bar(bar: Option<ProgressBar>) {
    *SHOWN_BAR.lock() = bar;
}

/// Writes to stderr, above the bar that may be there.
#[derive(Clone, Copy, Debug)]
struct BesideTheBar;

impl Write for BesideTheBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().lock().write_all(bytes);
        let bar = SHOWN_BAR.lock().clone();
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for BesideTheBar {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}
