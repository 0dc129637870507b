//! Who a node is on the network: an ed25519 key of its own, unrelated to any coins.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use libp2p::identity::Keypair;
use thiserror::Error;

/// Bytes of the longest key file: libp2p's encoding of an ed25519 key has 68.
const MAX_KEY_BYTES: u64 = 256;
/// The file's mode: nobody but its owner reads it.
const KEY_MODE: u32 = 0o600;

/// Why a node has no identity.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("the network key {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("the network key {0} is damaged: remove it, and the node gets a new identity and address")]
    Damaged(PathBuf),
}

/// The key in `path`, which is made first where there is none.
pub(super) fn load_or_create(path: &Path) -> Result<Keypair, IdentityError> {
    let at_path = |source| IdentityError::File { path: path.to_owned(), source };
    match read(path) {
        Ok(bytes) => {
            Keypair::from_protobuf_encoding(&bytes).map_err(|_| IdentityError::Damaged(path.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = Keypair::generate_ed25519();
            let bytes = key.to_protobuf_encoding().map_err(|error| at_path(io::Error::other(error)))?;
            write(path, &bytes).map_err(at_path)?;
            Ok(key)
        }
        Err(error) => Err(at_path(error)),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others may read the network key: run chmod 600 on it");
    }
    let mut bytes = Vec::new();
    file.take(MAX_KEY_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes beside the file and renames, so that a crash leaves a whole key or none.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    // What a crash left behind is no key yet.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(KEY_MODE).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("p2p_key");
        let made = load_or_create(&path).expect("made");
        let kept = load_or_create(&path).expect("kept");
        assert_eq!(made.public(), kept.public());
        let mode = std::fs::metadata(&path).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, KEY_MODE);
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_damaged_key_is_named_and_not_replaced() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("p2p_key");
        std::fs::write(&path, b"not a key").expect("written");
        let error = load_or_create(&path).expect_err("damaged").to_string();
        assert!(error.contains("p2p_key") && error.contains("remove it"), "{error}");
        assert_eq!(std::fs::read(&path).expect("still there"), b"not a key");
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = load_or_create(&folder.path().join("none/p2p_key")).expect_err("no folder");
        assert!(matches!(error, IdentityError::File { .. }), "{error}");
    }
}
