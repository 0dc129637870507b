//! What a node keeps of transactions over a restart, as files in its data folder: the mempool, and what its users sent.
//! Read at the start, written at an orderly end and by `savemempool`.
//!
//! A file that cannot be read is passed over with a warning: nothing that waits is worth a node that does not
//! start (threat M09). Neither needs the other, so that damage to one costs nothing of the other. Each is written
//! beside the old one and renamed, so that there is always one whole file.

use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use chain::{hash::BlockHash, store::Store};

use crate::engine::{
    Engine, MAX_OWN_FILE_BYTES, Now,
    frame::FileError,
    mempool::file::{MAX_FILE_BYTES, Saved, from_bytes},
};

/// The name of the mempool's file in the data folder.
pub const MEMPOOL_FILE: &str = "mempool.dat";
/// The name of the file of what users sent.
pub const OWN_FILE: &str = "own.dat";

/// The files of one data folder.
#[derive(Clone, Debug)]
pub struct SavedFiles {
    mempool: PathBuf,
    own: PathBuf,
}

impl SavedFiles {
    /// Those of a data folder, whether they are there or not.
    #[must_use]
    pub fn in_folder(datadir: &Path) -> Self {
        Self { mempool: datadir.join(MEMPOOL_FILE), own: datadir.join(OWN_FILE) }
    }

    /// The mempool's transactions, in the order of the file; none where there is no file or it is bad.
    #[must_use]
    pub fn read_mempool(&self, chain: &BlockHash) -> Vec<Saved> {
        let Some(bytes) = read(&self.mempool, MAX_FILE_BYTES) else { return Vec::new() };
        from_bytes(&bytes, chain).unwrap_or_else(|error| {
            pass_over(&self.mempool, error);
            Vec::new()
        })
    }

    /// Has an engine look after what users sent before; how many there are: none where there is no file or it is bad.
    pub fn restore_own<S: Store>(&self, engine: &mut Engine<S>, now: Now) -> usize {
        let Some(bytes) = read(&self.own, MAX_OWN_FILE_BYTES) else { return 0 };
        engine.restore_own(&bytes, now).unwrap_or_else(|error| {
            pass_over(&self.own, error);
            0
        })
    }

    /// Writes the mempool to its file: all of it, or the old one stays. The file's path.
    ///
    /// # Errors
    /// The system's, where it cannot be written.
    pub fn save_mempool<S: Store>(&self, engine: &Engine<S>) -> io::Result<PathBuf> {
        write(&self.mempool, &engine.mempool().to_bytes(&engine.ledger().chain().id()))?;
        Ok(self.mempool.clone())
    }

    /// Writes what users sent to its file: all of it, or the old one stays. The file's path.
    ///
    /// # Errors
    /// The system's, where it cannot be written.
    pub fn save_own<S: Store>(&self, engine: &Engine<S>) -> io::Result<PathBuf> {
        write(&self.own, &engine.own_to_bytes())?;
        Ok(self.own.clone())
    }
}

fn pass_over(path: &Path, error: impl Display) {
    tracing::warn!(path = %path.display(), %error, "a saved file is passed over; starting without it");
}

/// The bytes of a file, where there is one that can be read.
fn read(path: &Path, max_bytes: u64) -> Option<Vec<u8>> {
    read_bytes(path, max_bytes).unwrap_or_else(|error| {
        pass_over(path, error);
        None
    })
}

fn read_bytes(path: &Path, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Before anything is allocated for it.
    if length > max_bytes {
        return Err(io::Error::other(FileError::TooLarge(max_bytes)));
    }
    fs::read(path).map(Some)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use chain::{genesis::Chain, ledger::Ledger, memory::MemoryStore, time::Time};

    use super::*;

    const NOW: Now = Now { wall: Time::from_secs(2_000_000_000), monotonic_ms: 0 };

    #[test]
    fn m09_a_missing_or_bad_file_is_as_an_empty_one_and_a_good_one_is_replaced_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = SavedFiles::in_folder(folder.path());
        let ledger = Ledger::open(Chain::dev(), MemoryStore::default()).expect("an empty store");
        let mut engine = Engine::new(ledger, String::new());
        let chain = engine.ledger().chain().id();
        let written = |path: &PathBuf| fs::read(path).expect("just written");
        let look = |engine: &mut Engine<MemoryStore>| {
            assert_eq!(files.read_mempool(&chain), []);
            assert_eq!(files.restore_own(engine, NOW), 0);
        };
        look(&mut engine);
        let own = files.save_own(&engine).expect("a folder of our own");
        let mempool = files.save_mempool(&engine).expect("a folder of our own");
        assert_eq!(written(&own), engine.own_to_bytes());
        assert_eq!(written(&mempool), engine.mempool().to_bytes(&chain));
        assert_eq!((own, mempool), (folder.path().join(OWN_FILE), folder.path().join(MEMPOOL_FILE)));
        look(&mut engine);
        for path in [&files.own, &files.mempool] {
            write(path, b"nothing of the kind").expect("a folder of our own");
        }
        look(&mut engine);
        let too_long = File::create(&files.own).expect("a folder of our own");
        too_long.set_len(MAX_OWN_FILE_BYTES + 1).expect("a hole takes no room");
        look(&mut engine);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "nothing else is left");
    }
}
