//! The lock of a data folder: one process at a time, and a second one is told who has it (threat S07).
//!
//! The lock is the kernel's, on the open file `lock`, so that it ends with its process however that dies. The
//! process id in the file is for people alone: it is read only when the lock is held by somebody.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

/// The name of the lock file in a data folder.
pub const LOCK_FILE: &str = "lock";
/// The longest content of a lock file that is looked at, in bytes.
const MAX_HOLDER_BYTES: usize = 256;
/// How long to wait before asking for the lock again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Who holds a data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// The name of its program.
    pub command: String,
    /// For how many seconds it has held the folder, as far as the clock can tell.
    pub held_secs: Option<u64>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command)?;
        self.held_secs.map_or(Ok(()), |secs| write!(f, ", which has held it for {secs} s"))
    }
}

/// Why a data folder could not be locked.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process holds it.
    #[error(
        "the data folder {} is in use by {}; stop that process, or choose another folder with --datadir",
        .datadir.display(),
        .holder.as_ref().map_or_else(|| "another process".to_owned(), ToString::to_string)
    )]
    Held {
        /// The folder.
        datadir: PathBuf,
        /// Who holds it, where the lock file says so.
        holder: Option<Holder>,
    },
    /// The folder or the lock file cannot be made or written.
    #[error("the lock file {} cannot be used: {source}; can this user write to the folder?", .path.display())]
    Unusable {
        /// The lock file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// A data folder that belongs to this process until the value is dropped or the process ends.
#[derive(Debug)]
#[must_use = "the folder is free again when the lock is dropped"]
pub struct DataDirLock {
    /// Holds the lock by being open. The file stays when the lock ends: were it deleted, two processes could
    /// hold locks of two files of the same name.
    _file: File,
}

impl DataDirLock {
    /// Locks `datadir`, which is made where it does not exist. Where another process holds it, waits for
    /// `wait` for that process to end, such as one that was just told to stop.
    ///
    /// # Errors
    /// [`LockError::Held`] names who holds the folder; [`LockError::Unusable`] where nothing can be written.
    pub fn acquire(datadir: &Path, wait: Duration) -> Result<Self, LockError> {
        let path = datadir.join(LOCK_FILE);
        let unusable = |source| LockError::Unusable { path: path.clone(), source };
        fs::create_dir_all(datadir).map_err(unusable)?;
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open().map_err(unusable)?;
        let begin = Instant::now();
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(unusable(source)),
                Err(TryLockError::WouldBlock) if !told => {
                    tracing::info!(folder = %datadir.display(), "in use: waiting {} s for its holder", wait.as_secs());
                    told = true;
                }
                Err(TryLockError::WouldBlock) => {}
            }
            let left = wait.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Err(LockError::Held { datadir: datadir.to_path_buf(), holder: read_holder(&path) });
            }
            // No system call waits for a file lock and for a deadline both, so the lock is asked for again
            // and again.
            thread::sleep(left.min(POLL_INTERVAL));
        }
        file.set_len(0).map_err(unusable)?;
        let name = std::env::current_exe().ok();
        let name =
            name.as_deref().and_then(Path::file_name).map_or("cairn".into(), |name| name.to_string_lossy());
        writeln!(file, "{} {name}", std::process::id()).map_err(unusable)?;
        Ok(Self { _file: file })
    }
}

/// Who holds the lock, as far as the file tells; it is empty while its holder is about to write.
fn read_holder(path: &Path) -> Option<Holder> {
    let content = fs::read(path).ok()?;
    let content = String::from_utf8_lossy(content.get(..content.len().min(MAX_HOLDER_BYTES))?).into_owned();
    let (pid, command) = content.trim_end().split_once(' ')?;
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let held_secs = modified.and_then(|at| at.elapsed().ok()).map(|held| held.as_secs());
    Some(Holder { pid: pid.parse().ok()?, command: command.to_owned(), held_secs })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder for the test")
    }

    #[test]
    fn s07_a_second_holder_is_refused_and_told_who_has_it() {
        let folder = folder();
        let datadir = folder.path().join("made/on/the/way");
        let first = DataDirLock::acquire(&datadir, Duration::ZERO).expect("nobody has it");
        let error = DataDirLock::acquire(&datadir, Duration::from_millis(120)).expect_err("it is held");
        let LockError::Held { holder: Some(holder), .. } = &error else { panic!("{error}") };
        assert_eq!(holder.pid, std::process::id());
        let text = error.to_string();
        assert!(text.contains(&format!("process {} (", std::process::id())), "{text}");
        assert!(text.contains("--datadir"), "{text}");
        drop(first);
        let second = DataDirLock::acquire(&datadir, Duration::ZERO).expect("it is free again");
        drop(second);
    }

    #[test]
    fn s07_a_lock_that_becomes_free_is_awaited() {
        let folder = folder();
        let first = DataDirLock::acquire(folder.path(), Duration::ZERO).expect("nobody has it");
        let (sender, receiver) = std::sync::mpsc::channel();
        let path = folder.path().to_path_buf();
        let waiter = thread::spawn(move || {
            let refused = DataDirLock::acquire(&path, Duration::ZERO).is_err();
            sender.send(refused).expect("the test listens");
            DataDirLock::acquire(&path, Duration::from_secs(60)).map(drop)
        });
        assert!(receiver.recv().expect("the waiter says"), "the lock was held");
        drop(first);
        waiter.join().expect("no panic").expect("the lock became free");
    }

    #[test]
    fn s07_a_lock_file_that_nobody_holds_stops_nobody() {
        let folder = folder();
        fs::write(folder.path().join(LOCK_FILE), "1 init with a longer line than the next one\n")
            .expect("written");
        let lock = DataDirLock::acquire(folder.path(), Duration::ZERO).expect("the kernel decides");
        let holder = read_holder(&folder.path().join(LOCK_FILE)).expect("somebody holds it");
        assert_eq!(holder.pid, std::process::id());
        assert!(!holder.command.contains("longer"), "the old line is gone: {holder}");
        drop(lock);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let folder = folder();
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        let error = DataDirLock::acquire(&file, Duration::ZERO).expect_err("a file is no folder");
        assert!(matches!(error, LockError::Unusable { .. }), "{error}");
    }
}
