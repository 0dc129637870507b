//! Files of a devnet's folder: read within a limit, and replaced whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

/// The text of a file of at most `max_bytes`.
pub(super) fn read(path: &Path, max_bytes: u64) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    if file.take(max_bytes.saturating_add(1)).read_to_string(&mut text)? as u64 > max_bytes {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has more than {max_bytes} bytes"),
        ));
    }
    Ok(text)
}

/// Writes `aside`, on the same file system, and gives it the name `path`: a reader sees the old content or the
/// new one, and so does whoever comes after a crash.
pub(super) fn replace(path: &Path, aside: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(aside)?;
    file.write_all(content)?;
    file.sync_data()?;
    fs::rename(aside, path)
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_read_within_its_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, aside) = (folder.path().join("file"), folder.path().join("aside"));
        replace(&path, &aside, b"12345").expect("new");
        replace(&path, &aside, b"123").expect("replaced");
        assert_eq!(read(&path, 3).expect("just fits"), "123");
        assert_eq!(read(&path, 2).expect_err("too long").kind(), io::ErrorKind::InvalidData);
        assert!(!aside.exists());
        remove(&path).expect("removed");
        remove(&path).expect("nothing to remove");
        assert!(!path.exists());
    }
}
