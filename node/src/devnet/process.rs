//! One node's process: started, watched for its end, told to end.
//!
//! The supervisor holds the node's standard input open and never writes to it. When the supervisor is gone,
//! however it ended, the kernel closes that pipe, and the node ends in order: no node outlives its supervisor.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// A log that has grown beyond this, in bytes, is put aside; one older log is kept (threat P23).
const MAX_LOG_BYTES: u64 = 16 << 20;
/// How much of a log's end is looked at for its last lines, in bytes.
const TAIL_BYTES: u64 = 16 * 1_024;
/// How many of its last lines are shown.
const TAIL_LINES: usize = 12;
/// What the environment calls settings of a single node; they would be put over every node's file.
const SETTINGS_PREFIX: &str = "CAIRN_";

/// A running node, a child of this process. Its end is collected by [`NodeProcess::try_wait`] and by nothing else, so
/// that its process id cannot come to mean another process before that.
#[derive(Debug)]
pub(super) struct NodeProcess {
    child: Child,
}

impl NodeProcess {
    /// Starts `program node` on `datadir`, with its output appended to `log`.
    pub(super) fn start(program: &Path, datadir: &Path, log: &Path) -> io::Result<Self> {
        let log = open_log(log)?;
        let mut command = Command::new(program);
        command.arg("node").arg("--datadir").arg(datadir).arg("--exit-with-stdin");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(SETTINGS_PREFIX) {
                command.env_remove(name);
            }
        }
        command
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in the terminal reaches the supervisor alone, which ends the nodes in order.
            .process_group(0);
        Ok(Self { child: command.spawn()? })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, if it has.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Asks the process to end in order. One that was stopped by a signal is woken up for it.
    pub(super) fn ask_to_end(&mut self) {
        drop(self.child.stdin.take());
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Ends the process at once.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // It may have ended already; until its end is collected, its id is nobody else's.
        if let Err(error) = kill_process(Pid::from_child(&self.child), signal) {
            tracing::debug!(pid = self.pid(), ?signal, %error, "signal not delivered");
        }
    }
}

/// How a process ended, in words that follow its name.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("died of signal {signal}"),
        (None, None) => "ended".into(),
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// Puts the log of a running node aside where it has grown too large. The node holds the file open and appends to it, so
/// it is copied and then emptied; lines that come in between are lost, which a log that is this long can bear.
pub(super) fn cap_log(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES) {
        fs::copy(path, path.with_extension("log.old"))?;
        OpenOptions::new().write(true).open(path)?.set_len(0)?;
    }
    Ok(())
}

/// The last lines of a log, indented; why there are none, if so.
pub(super) fn tail(path: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match read() {
        Ok(text) if text.trim().is_empty() => "  (it is empty)".into(),
        Ok(text) => {
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(TAIL_LINES)..].iter();
            last.map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
        }
        Err(error) => format!("  (it cannot be read: {error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_log_is_put_aside_and_a_small_one_continued() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.log");
        fs::write(&path, "first\n").expect("written");
        drop(open_log(&path).expect("opened"));
        assert_eq!(fs::read_to_string(&path).expect("kept"), "first\n");
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(MAX_LOG_BYTES + 1))
            .expect("grown");
        drop(open_log(&path).expect("opened"));
        assert_eq!(fs::metadata(&path).expect("new").len(), 0);
        let old = fs::metadata(folder.path().join("node.log.old")).expect("put aside");
        assert_eq!(old.len(), MAX_LOG_BYTES + 1);
    }

    #[test]
    fn p23_the_log_of_a_running_node_does_not_grow_for_ever() {
        use std::io::Write;

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.log");
        // What a node does: it holds the file open and appends.
        let mut node = open_log(&path).expect("opened");
        node.write_all(b"early\n").expect("written");
        cap_log(&path).expect("small");
        assert_eq!(fs::read_to_string(&path).expect("kept"), "early\n");
        let line = [b'x'; 1 << 16];
        for _ in 0..3 * MAX_LOG_BYTES / (1 << 16) {
            node.write_all(&line).expect("written");
            cap_log(&path).expect("capped");
        }
        let length = |path: &Path| fs::metadata(path).expect("there").len();
        let both = length(&path) + length(&folder.path().join("node.log.old"));
        assert!(both <= 2 * MAX_LOG_BYTES + (2 << 16), "{both} bytes");
        node.write_all(b"late\n").expect("written");
        assert!(fs::read_to_string(&path).expect("text").ends_with("late\n"));
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.log");
        assert!(tail(&path).contains("cannot be read"));
        let lines: Vec<String> = (1..=3_000).map(|number| format!("line {number}")).collect();
        fs::write(&path, lines.join("\n")).expect("written");
        let tail = tail(&path);
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 3000") && tail.starts_with("  line 2989\n"), "{tail}");
    }

    #[test]
    fn ends_are_described() {
        assert_eq!(describe(ExitStatus::from_raw(9)), "died of signal 9");
        assert_eq!(describe(ExitStatus::from_raw(0x100)), "exited with code 1");
    }
}
