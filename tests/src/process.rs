//! A process that runs while a story is told, and that has ended when the story has, also when it failed.

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process, test_kill_process};

use crate::wait::until;

/// How much of a process's log is shown when a test fails, in bytes.
const SHOWN_LOG_BYTES: u64 = 6_000;

/// A child process. Its standard input is a pipe that closes when this value is dropped or the test dies, its
/// standard output and error go to files.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    out: PathBuf,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` under a name for people; `out` gets its standard output and `log` its standard error.
    ///
    /// # Panics
    /// Where the files cannot be made or the program cannot be started.
    #[must_use]
    pub fn start(name: impl Into<String>, mut command: Command, out: &Path, log: &Path) -> Self {
        let name = name.into();
        let file = |path: &Path| {
            fs::File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        command.stdin(Stdio::piped()).stdout(file(out)).stderr(file(log));
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let input = child.stdin.take();
        Self { name, child, input, out: out.into(), log: log.into(), ended: None }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, unless the process has ended.
    ///
    /// # Panics
    /// Where the system refuses.
    pub fn signal(&mut self, signal: Signal) {
        // Until it is waited for, its id belongs to nobody else.
        if self.status().is_none() {
            signal_process(self.pid(), signal);
        }
    }

    /// Ends the process as a crash would, and waits for the end.
    ///
    /// # Panics
    /// Where it does not end.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Closes the process's standard input.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// Where the system does not say.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("the system knows its child processes");
        }
        self.ended
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// Where it goes on and on.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        until(format!("{name} ends"), || self.status().ok_or_else(|| "it still runs".into()))
    }

    /// What it wrote to standard error.
    ///
    /// # Panics
    /// Where the file cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        read_lossy(&self.log)
    }

    /// What it wrote to standard output.
    ///
    /// # Panics
    /// Where the file cannot be read.
    #[must_use]
    pub fn output(&self) -> String {
        read_lossy(&self.out)
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "a failing test shows what its processes said")]
    fn drop(&mut self) {
        if self.ended.is_none() {
            // An error means that it has ended already, and then there is nothing left to do.
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if std::thread::panicking() {
            eprintln!("---- the end of what {} said ----\n{}", self.name, tail(&self.log));
        }
    }
}

fn read_lossy(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last part of a file; never panics, since it is shown while a panic is under way.
#[must_use]
pub fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(SHOWN_LOG_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("({}: {error})", path.display()),
    }
}

fn to_pid(pid: u32) -> Pid {
    let raw = i32::try_from(pid).expect("process ids are positive 32-bit numbers");
    Pid::from_raw(raw).expect("no process has the id 0")
}

/// Sends a signal to a process that is no child of this one, such as a devnet's node.
///
/// # Panics
/// Where the system refuses.
pub fn signal_process(pid: u32, signal: Signal) {
    kill_process(to_pid(pid), signal).unwrap_or_else(|error| panic!("signal to process {pid}: {error}"));
}

/// Whether a process runs and has `word` on its command line: its data folder, say, so that another process
/// that got the same id later is not mistaken for it. One that has ended and was not yet waited for does not run.
#[must_use]
pub fn is_running(pid: u32, word: &str) -> bool {
    match fs::read(format!("/proc/{pid}/cmdline")) {
        // A process that has ended has no command line any more.
        Ok(line) => String::from_utf8_lossy(&line).contains(word),
        // Where there is no such file system, the id is all there is to go by.
        Err(_) if !Path::new("/proc/self").exists() => test_kill_process(to_pid(pid)).is_ok(),
        Err(_) => false,
    }
}
