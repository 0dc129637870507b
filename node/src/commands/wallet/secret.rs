//! Passphrases and words: from a file, the environment, or the terminal without echo.

use std::{
    env,
    fs::{self, File},
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
    path::Path,
};

use anyhow::{Context, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use wallet::keyfile::MAX_PASSPHRASE_BYTES;
use zeroize::Zeroizing;

/// The environment variable with a passphrase.
const VARIABLE: &str = "CAIRN_PASSPHRASE";
/// The most bytes that are read of a file or line with a secret.
const MAX_SECRET_BYTES: u64 = 4_096;

/// A secret that is wiped from memory when it is dropped.
pub type Secret = Zeroizing<String>;

/// The passphrase of `--passphrase-file` or `CAIRN_PASSPHRASE`; nothing when neither is given.
///
/// # Errors
/// When the file cannot be read.
pub fn given(file: Option<&Path>) -> anyhow::Result<Option<Secret>> {
    let passphrase = match (file, env::var(VARIABLE)) {
        (Some(path), _) => {
            let cannot = || format!("the passphrase file {} cannot be read", path.display());
            let file = File::open(path).with_context(cannot)?;
            read_line(&mut BufReader::new(file)).with_context(cannot)?
        }
        (None, Ok(passphrase)) => Secret::new(passphrase),
        (None, Err(env::VarError::NotPresent)) => return Ok(None),
        (None, Err(env::VarError::NotUnicode(_))) => bail!("{VARIABLE} is not UTF-8: give --passphrase-file"),
    };
    Ok(Some(passphrase))
}

/// Asks for the passphrase of a wallet.
///
/// # Errors
/// Where there is no terminal to ask at.
pub fn ask(wallet: &Path) -> anyhow::Result<Secret> {
    let Ok(mut terminal) = terminal() else {
        bail!("{} needs a passphrase: give --passphrase-file or {VARIABLE}", wallet.display());
    };
    ask_hidden(&mut terminal, &format!("Passphrase of {}: ", wallet.display()))
}

/// Asks twice for the passphrase of a wallet that is to be made.
///
/// # Errors
/// Where there is no terminal to ask at, or the two differ.
pub fn ask_new() -> anyhow::Result<Secret> {
    let Ok(mut terminal) = terminal() else {
        bail!("a new wallet needs a passphrase: give --passphrase-file, or {VARIABLE}, which may be empty");
    };
    let first = ask_hidden(&mut terminal, "A passphrase for the file (empty for none): ")?;
    if first.len() > MAX_PASSPHRASE_BYTES {
        bail!("a passphrase has at most {MAX_PASSPHRASE_BYTES} bytes: choose a shorter one");
    }
    let second = ask_hidden(&mut terminal, "Once more: ")?;
    if *first != *second {
        bail!("the two passphrases differ, so no wallet was made: try again");
    }
    Ok(first)
}

/// The words of a backup: asked for at the terminal, else the whole of standard input.
///
/// # Errors
/// When standard input cannot be read.
pub fn words() -> anyhow::Result<Secret> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        let mut terminal = terminal().context("there is no terminal: give the words on standard input")?;
        return ask_hidden(&mut terminal, "The words, in their order, in one line (they do not show): ");
    }
    let mut text = Secret::new(String::new());
    stdin.lock().take(MAX_SECRET_BYTES).read_to_string(&mut text).context("standard input holds no words")?;
    Ok(text)
}

/// Asks a question that is answered with yes or no; anything but yes is no.
///
/// # Errors
/// Where there is no terminal to ask at.
pub fn confirm(question: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!(
            "nobody can be asked, since standard input is no terminal: give --yes to send without being asked"
        );
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).context("stderr takes nothing")?;
    let mut line = String::new();
    io::stdin().lock().take(MAX_SECRET_BYTES).read_line(&mut line).context("the answer cannot be read")?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The terminal itself, whatever stdin and stdout are.
fn terminal() -> io::Result<File> {
    fs::OpenOptions::new().read(true).write(true).open("/dev/tty")
}

fn ask_hidden(terminal: &mut File, prompt: &str) -> anyhow::Result<Secret> {
    let failed = "the terminal cannot be used: give --passphrase-file or the environment variable";
    terminal.write_all(prompt.as_bytes()).context(failed)?;
    let answer = {
        let _hidden = Hidden::start(terminal).context(failed)?;
        read_line(&mut BufReader::new(&*terminal)).context(failed)
    };
    // The line feed that was typed did not show either.
    terminal.write_all(b"\n").context(failed)?;
    answer
}

/// The first line, without its end.
fn read_line(from: &mut impl BufRead) -> anyhow::Result<Secret> {
    let mut line = Secret::new(String::new());
    from.take(MAX_SECRET_BYTES).read_line(&mut line)?;
    while line.ends_with(['\n', '\r']) {
        line.pop();
    }
    Ok(line)
}

/// While this lives, the terminal shows nothing of what is typed.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn start(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // Where that fails the terminal is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_counts() {
        for (text, expected) in [("", ""), ("a b\n", "a b"), ("a\r\nb\n", "a"), ("\n", ""), (" a ", " a ")] {
            assert_eq!(*read_line(&mut text.as_bytes()).expect("text"), expected);
        }
    }

    #[test]
    fn a_passphrase_file_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("passphrase");
        fs::write(&path, "correct horse\nsecond line\n").expect("a file");
        assert_eq!(given(Some(&path)).expect("read").expect("given").as_str(), "correct horse");
        let missing = given(Some(&folder.path().join("none"))).expect_err("missing").to_string();
        assert!(missing.contains("none"), "{missing}");
    }
}
