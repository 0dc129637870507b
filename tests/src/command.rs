//! Running `cairn` to its end, as a person or a script does.

use std::{
    ffi::OsStr,
    io::Write,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use serde_json::Value;

use crate::binary;

/// A command that starts `cairn`, with nothing of this environment that could change what it does.
#[must_use]
pub fn cairn() -> Command {
    program(&binary::path())
}

/// As [`cairn`], with fail points.
#[must_use]
pub fn cairn_failpoints() -> Command {
    program(&binary::failpoints_path())
}

fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CAIRN_") {
            command.env_remove(name);
        }
    }
    command.env("RUST_LOG", "info").env("NO_COLOR", "1");
    command
}

/// What a command that has ended left behind.
#[derive(Debug)]
pub struct Outcome {
    /// The command line.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Outcome {
    /// Holds that the command succeeded; what it printed.
    ///
    /// # Panics
    /// Where it failed.
    #[track_caller]
    pub fn success(self) -> String {
        assert!(self.status.success(), "{self}");
        self.stdout
    }

    /// Holds that the command succeeded and printed one JSON value.
    ///
    /// # Panics
    /// Where it failed or printed something else.
    #[track_caller]
    pub fn json(self) -> Value {
        assert!(self.status.success(), "{self}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// Holds that the command failed with an error and printed no answer; what it said.
    ///
    /// # Panics
    /// Where it succeeded, was ended by a signal, or printed an answer all the same.
    #[track_caller]
    pub fn failure(self) -> String {
        assert!(self.status.code().is_some_and(|code| code != 0), "it should have failed: {self}");
        assert_eq!(self.stdout, "", "nothing goes to standard output but an answer: {self}");
        assert!(!self.stderr.contains("panicked"), "an error is no panic: {self}");
        self.stderr
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}\n{}{}", self.line, self.status, self.stdout, self.stderr)
    }
}

/// Runs a command whose standard input is `input`.
///
/// # Panics
/// Where it cannot be started.
#[must_use]
pub fn run_with_input(mut command: Command, input: &str) -> Outcome {
    let words = command.get_args().map(OsStr::to_string_lossy);
    let line = words.fold(String::from("cairn"), |line, word| line + " " + &word);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
    let mut pipe = child.stdin.take().expect("its standard input is a pipe");
    // A command that reads nothing may have closed it already.
    drop(pipe.write_all(input.as_bytes()));
    drop(pipe);
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("{line}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Outcome { line, status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs `cairn` with these words and nothing on its standard input.
///
/// # Panics
/// Where it cannot be started.
pub fn run<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Outcome {
    let mut command = cairn();
    command.args(words);
    run_with_input(command, "")
}

/// A path as a word of a command line.
///
/// # Panics
/// Where it is no Unicode; temporary folders are.
#[must_use]
pub fn word(path: &Path) -> &str {
    path.to_str().expect("the paths of tests are Unicode")
}
