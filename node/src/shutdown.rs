//! How a node is told to end, and how it ends when a part of it panics.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// How long after the first signal further ones mean the same: whoever ends a program often signals it and its
/// whole group at once.
const DEAFNESS: Duration = Duration::from_secs(1);

/// Waits for SIGINT or SIGTERM. A second one, a moment later, ends the process at once.
///
/// # Errors
/// Where the system does not let us listen for signals.
pub async fn signalled() -> std::io::Result<()> {
    one_signal().await?;
    tokio::spawn(async {
        tokio::time::sleep(DEAFNESS).await;
        // Only signals from now on are heard here.
        if one_signal().await.is_ok() {
            tracing::warn!("told to end twice: ending at once");
            std::process::exit(130);
        }
    });
    Ok(())
}

async fn one_signal() -> std::io::Result<()> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupts.recv() => {}
        _ = terminations.recv() => {}
    }
    Ok(())
}

/// Waits until whoever started the process has closed its standard input, or is gone.
pub async fn stdin_closed() {
    let (closed, wait) = tokio::sync::oneshot::channel();
    // A thread of its own: a read of standard input cannot be cancelled, and a runtime would wait for it.
    let reader = std::thread::Builder::new().name("stdin".into()).spawn(move || {
        // Whatever comes is of no interest; an error means the same as the end.
        drop(std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()));
        let _ = closed.send(());
    });
    match reader {
        Ok(_) => drop(wait.await),
        Err(error) => {
            tracing::warn!(%error, "standard input cannot be watched");
            std::future::pending::<()>().await;
        }
    }
}

/// A panic in any thread or task ends the process: a half-dead node is worse than none (threat S12). What was
/// accepted is in the kernel's hands already.
pub fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Command};

    use super::*;

    /// Set in the process that is to panic: this very test, started again.
    const CHILD: &str = "CAIRN_TEST_PANICS";
    /// The number of SIGABRT.
    const ABORTED: i32 = 6;

    /// What a half-dead node would do: a task panics, and nobody cares.
    fn panic_in_a_task() {
        abort_on_panic();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let task: tokio::task::JoinHandle<()> = tokio::spawn(async { panic!("planted") });
            drop(task.await);
        });
    }

    #[test]
    fn s12_a_panic_in_a_task_ends_the_process() {
        if std::env::var_os(CHILD).is_some() {
            panic_in_a_task();
            return;
        }
        let name = "shutdown::tests::s12_a_panic_in_a_task_ends_the_process";
        let program = std::env::current_exe().expect("this test's own program");
        let child = Command::new(program).args([name, "--exact", "--nocapture"]).env(CHILD, "1").output();
        let child = child.expect("it can be started");
        let words = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.signal(), Some(ABORTED), "{words}");
        assert!(words.contains("planted"), "{words}");
    }
}
