//! The mempool's file in the data folder: read at the start, written at an orderly end.
//!
//! A file that cannot be read is passed over with a warning: nothing that waits is worth a node that does not
//! start (threat M09). It is written beside the old one and renamed, so that there is always one whole file.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use chain::hash::BlockHash;

use crate::engine::mempool::file::{FileError, MAX_FILE_BYTES, Saved, from_bytes};

/// The file's name in the data folder.
pub const MEMPOOL_FILE: &str = "mempool.dat";

/// The transactions of the file, in its order; none where there is no file or it is bad.
#[must_use]
pub fn read(path: &Path, chain: &BlockHash) -> Vec<Saved> {
    let bytes = match read_bytes(path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Vec::new(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the saved mempool cannot be read; starting without it");
            return Vec::new();
        }
    };
    from_bytes(&bytes, chain).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "the saved mempool is passed over");
        Vec::new()
    })
}

fn read_bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Before anything is allocated for it.
    if length > MAX_FILE_BYTES {
        return Err(io::Error::other(FileError::TooLarge));
    }
    fs::read(path).map(Some)
}

/// Writes the file: all of it, or the old one stays.
///
/// # Errors
/// The system's, where it cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::mempool::Mempool;

    #[test]
    fn m09_a_missing_or_bad_file_is_an_empty_mempool_and_a_good_one_is_replaced_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(MEMPOOL_FILE);
        let chain = BlockHash::from_bytes([1; 32]);
        assert_eq!(read(&path, &chain), []);
        let bytes = Mempool::new(1_000).to_bytes(&chain);
        write(&path, &bytes).expect("a folder of our own");
        assert_eq!(fs::read(&path).expect("just written"), bytes);
        assert_eq!(read(&path, &chain), []);
        write(&path, b"nothing of the kind").expect("a folder of our own");
        assert_eq!(read(&path, &chain), []);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");
    }
}
