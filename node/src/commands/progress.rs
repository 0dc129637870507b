//! A sign of life on stderr while something takes longer than two seconds; none where stderr is no terminal.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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

#[cfg(test)]
mod tests {
    use super::*;

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
