//! Signs of life on stderr: while something takes longer than two seconds, and a bar where it is known how much
//! there is to do. Nothing is shown where stderr is no terminal.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    engine::sync::{Phase, SyncProgress},
    telemetry,
    transfer::Progress,
};

/// How long something may take before it shows a sign of life.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the sign moves.
const TICK: Duration = Duration::from_millis(120);

/// Something that is being waited for, until this is dropped.
pub struct Waiting {
    bar: ProgressBar,
    /// Its end wakes the thread below.
    done: Option<mpsc::Sender<()>>,
    /// Shows the sign when patience ends; nothing is shown where the system gives no thread for that.
    impatience: Option<thread::JoinHandle<()>>,
}

impl Waiting {
    /// Begins to wait for `what`.
    pub fn start(what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let style =
            ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("a test draws this template");
        bar.set_style(style);
        bar.set_message(what);
        let (done, wait) = mpsc::channel::<()>();
        let shown = bar.clone();
        let impatience = thread::Builder::new().name("progress".into()).spawn(move || {
            if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // Draws only where stderr is a terminal.
                shown.set_draw_target(ProgressDrawTarget::stderr());
                shown.enable_steady_tick(TICK);
            }
        });
        Self { bar, done: Some(done), impatience: impatience.ok() }
    }

    /// Says what is waited for now.
    pub fn say(&self, what: &'static str) {
        self.bar.set_message(what);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(thread) = self.impatience.take() {
            // A panic of it has ended the process.
            drop(thread.join());
        }
        self.bar.finish_and_clear();
    }
}

/// A bar that counts blocks, with payments a second and the time that is left.
pub struct BlockBar {
    bar: ProgressBar,
    begun: Instant,
    payments: u64,
}

impl BlockBar {
    /// Begins to do `what`.
    pub fn start(what: &'static str) -> Self {
        let style =
            ProgressStyle::with_template("{prefix} [{bar:30}] {pos} of {len} blocks  {msg}  {eta} left");
        // Draws only where stderr is a terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style.expect("a test draws this template").progress_chars("=> "));
        bar.set_prefix(what);
        Self { bar, begun: Instant::now(), payments: 0 }
    }

    /// Shows what was done.
    pub fn advance(&mut self, progress: Progress) {
        match progress {
            Progress::Total(blocks) => self.bar.set_length(blocks),
            Progress::Skipped(blocks) => self.bar.inc(blocks),
            Progress::Done(step) => {
                self.payments = self.payments.saturating_add(step.payments);
                let millis = self.begun.elapsed().as_millis().max(1);
                let rate = u128::from(self.payments).saturating_mul(1_000) / millis;
                self.bar.set_message(format!("{rate} payments/s"));
                self.bar.inc(step.blocks);
            }
        }
    }
}

impl Drop for BlockBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar of a node that catches up with its peers: blocks, payments a second, and the time that is left. Log lines go
/// above it.
pub struct SyncBar {
    bar: ProgressBar,
}

impl SyncBar {
    /// Shows a bar that is so far.
    pub fn start(progress: &SyncProgress) -> Self {
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos} of {len} blocks  {msg}");
        let shown = Self { bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()) };
        shown.bar.set_style(style.expect("a test draws this template").progress_chars("=> "));
        shown.advance(progress);
        // Draws only where stderr is a terminal.
        shown.bar.set_draw_target(ProgressDrawTarget::stderr());
        telemetry::show_bar(Some(shown.bar.clone()));
        shown
    }

    /// Shows how far the node is.
    pub fn advance(&self, progress: &SyncProgress) {
        self.bar.set_prefix(match progress.phase {
            Phase::Presync => "weighing headers",
            Phase::Headers => "fetching headers",
            Phase::Blocks | Phase::Done => "catching up",
        });
        self.bar.set_length(u64::from(progress.of_blocks));
        self.bar.set_position(u64::from(progress.blocks));
        let left = progress
            .left_secs
            .map_or_else(String::new, |secs| format!("  {} left", HumanDuration(Duration::from_secs(secs))));
        self.bar.set_message(format!("{} payments/s{left}", progress.payments_per_sec));
    }
}

impl Drop for SyncBar {
    fn drop(&mut self) {
        telemetry::show_bar(None);
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::Step;

    #[test]
    fn a_bar_counts_what_was_done_and_what_need_not_be() {
        let mut bar = BlockBar::start("testing");
        bar.advance(Progress::Total(10));
        bar.advance(Progress::Skipped(4));
        bar.advance(Progress::Done(Step { blocks: 5, payments: 100 }));
        assert_eq!((bar.bar.length(), bar.bar.position()), (Some(10), 9));
        assert!(bar.bar.message().ends_with("payments/s"), "{}", bar.bar.message());
    }

    #[test]
    fn a_node_that_catches_up_shows_blocks_and_payments() {
        let progress = SyncProgress {
            phase: Phase::Blocks,
            blocks: 150,
            of_blocks: 400,
            payments: 3_000,
            payments_per_sec: 1_234,
            left_secs: Some(90),
            window_blocks: 0,
            window_bytes: 0,
        };
        let bar = SyncBar::start(&progress);
        assert_eq!((bar.bar.length(), bar.bar.position()), (Some(400), 150));
        assert_eq!(bar.bar.message(), "1234 payments/s  2 minutes left");
        bar.advance(&SyncProgress { left_secs: None, phase: Phase::Headers, ..progress });
        assert_eq!(
            (bar.bar.message().as_str(), bar.bar.prefix().as_str()),
            ("1234 payments/s", "fetching headers")
        );
        let drawn = bar.bar.clone();
        drop(bar);
        assert!(drawn.is_finished());
    }

    #[test]
    fn waiting_ends_at_once() {
        let waiting = Waiting::start("one thing");
        waiting.say("another");
        assert_eq!(waiting.bar.message(), "another");
        let bar = waiting.bar.clone();
        drop(waiting);
        assert!(bar.is_finished());
    }
}
