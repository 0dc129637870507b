//! Putting bytes on disk so that a crash leaves either the old file or the new one, never half of one.
//!
//! A temporary file in the same folder is written and synced, takes the place of the file in one step, and
//! the folder is synced (threat W04). Nothing is removed that was not made here (threat W07).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use crate::randomness;

/// Bytes of randomness in a temporary file's name.
const SUFFIX_BYTES: usize = 8;

/// Writes a file that must not exist yet, readable by its owner alone.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when something is at `path`, which stays as it is; else what went wrong.
pub(super) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A rename would replace a file that appeared meanwhile; a hard link never does.
    place(
        path,
        |file| file.write_all(bytes),
        |temporary| {
            fs::hard_link(temporary, path)?;
            fs::remove_file(temporary)
        },
    )
}

/// Replaces an existing file. Until the last step the old file stays as it is.
///
/// # Errors
/// What went wrong; [`io::ErrorKind::NotFound`] when there is no file at `path`.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A symbolic link keeps pointing to the file: the file itself is replaced.
    let path = fs::canonicalize(path)?;
    place(&path, |file| file.write_all(bytes), |temporary| fs::rename(temporary, &path))
}

/// Reads at most `limit` bytes; `None` when the file is longer.
///
/// # Errors
/// What went wrong.
pub(super) fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let got = File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((u64::try_from(got).is_ok_and(|got| got <= limit)).then_some(bytes))
}

/// Writes a temporary file beside `path` with `write`, then lets `publish` put it in its place.
fn place(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
    publish: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) => Path::new("."),
        None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "this names no file")),
    };
    let temporary = temporary_name(path, folder)?;
    let mut file = private_file(&temporary)?;
    let done = write(&mut file)
        .and_then(|()| file.sync_all())
        .and_then(|()| publish(&temporary))
        .and_then(|()| File::open(folder)?.sync_all());
    if done.is_err() {
        // The first error is the one to report. The file holds ciphertext only, so one that cannot be
        // removed is litter, not a leak; after a successful rename there is none.
        let _ = fs::remove_file(&temporary);
    }
    done
}

fn temporary_name(path: &Path, folder: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "a wallet file needs a name, not only a folder")
    })?;
    let mut suffix = [0; SUFFIX_BYTES];
    randomness::operating_system(&mut suffix).map_err(io::Error::other)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", const_hex::encode(suffix)));
    Ok(folder.join(temporary))
}

/// A new file that only its owner can read or write.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("the system has a folder for temporary files")
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("the folder exists");
        entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect()
    }

    #[test]
    fn w04_a_failing_write_leaves_the_old_file() {
        let folder = folder();
        let path = folder.path().join("w");
        create(&path, b"old").expect("a new file");
        // The disk fills up after half of the bytes.
        let full = |file: &mut File| {
            file.write_all(b"ne")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        };
        let failed = place(&path, full, |temporary| fs::rename(temporary, &path));
        assert_eq!(failed.expect_err("the disk was full").kind(), io::ErrorKind::StorageFull);
        // The last step fails.
        let denied = |_: &Path| Err(io::Error::from(io::ErrorKind::PermissionDenied));
        let failed = place(&path, |file| file.write_all(b"new"), denied);
        assert_eq!(failed.expect_err("not allowed").kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(fs::read(&path).expect("still there"), b"old");
        assert_eq!(names(folder.path()), ["w"], "no litter");
    }

    #[test]
    fn w04_a_crash_before_the_last_step_leaves_a_file_that_can_be_replaced() {
        let folder = folder();
        let path = folder.path().join("w");
        create(&path, b"old").expect("a new file");
        // What a crash leaves behind: a temporary file, complete or not.
        fs::write(temporary_name(&path, folder.path()).expect("a name"), b"ne").expect("writable");
        assert_eq!(fs::read(&path).expect("still there"), b"old");
        replace(&path, b"new").expect("the litter is not in the way");
        assert_eq!(fs::read(&path).expect("there"), b"new");
        // W07: the litter may be somebody's file; it stays.
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[test]
    fn an_existing_file_is_never_overwritten() {
        let folder = folder();
        let path = folder.path().join("w");
        create(&path, b"first").expect("a new file");
        let again = create(&path, b"second").expect_err("something is there");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("there"), b"first");
        assert_eq!(names(folder.path()), ["w"]);
        let missing = replace(&folder.path().join("x"), b"x").expect_err("nothing is there");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn files_are_readable_by_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        let path = folder.path().join("w");
        let mode = || fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        create(&path, b"a").expect("a new file");
        assert_eq!(mode(), 0o600);
        replace(&path, b"b").expect("replaced");
        assert_eq!(mode(), 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_keeps_pointing_to_the_replaced_file() {
        let folder = folder();
        let (path, link) = (folder.path().join("w"), folder.path().join("link"));
        create(&path, b"old").expect("a new file");
        std::os::unix::fs::symlink(&path, &link).expect("links are known here");
        replace(&link, b"new").expect("replaced");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read(&path).expect("there"), b"new");
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let folder = folder();
        let path = folder.path().join("w");
        create(&path, b"12345").expect("a new file");
        assert_eq!(read(&path, 5).expect("readable"), Some(b"12345".to_vec()));
        assert_eq!(read(&path, 4).expect("readable"), None);
        assert!(create(Path::new("/"), b"").is_err() && create(Path::new(""), b"").is_err());
    }
}
