//! The file in which a running node says where its RPC listens, so that its data folder is enough to call it.
//!
//! It lies beside the cookie, whatever flags the node was started with, and is gone after an orderly end. One
//! that a killed node left behind names a port where nobody answers, which is said to whoever tries it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// The name of the file in the data folder.
const FILE: &str = ".rpc_url";
/// The name under which it is written before it gets its own.
const DRAFT: &str = ".rpc_url.new";
/// The most bytes of it that are read; the longest address has fewer than 100.
const MAX_FILE_BYTES: u64 = 256;

/// The file of a running node; it is removed when this value is dropped.
#[derive(Debug)]
pub struct RpcUrlFile {
    path: PathBuf,
}

impl RpcUrlFile {
    /// Writes into `datadir`, which the caller has locked, how to reach a server that listens at `listen`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(datadir: &Path, listen: SocketAddr) -> io::Result<Self> {
        let (path, draft) = (datadir.join(FILE), datadir.join(DRAFT));
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Exclusive, as the cookie's: nothing is written through a link that somebody has put there.
        let mut file = OpenOptions::new().write(true).create_new(true).open(&draft)?;
        writeln!(file, "{}", url_of(listen))?;
        file.sync_all()?;
        // A reader sees the whole line or nothing of it.
        fs::rename(&draft, &path)?;
        Ok(Self { path })
    }
}

impl Drop for RpcUrlFile {
    fn drop(&mut self) {
        // One that stays is as harmless as that of a killed node.
        drop(fs::remove_file(&self.path));
    }
}

/// Where the node on `datadir` says that its RPC listens; nothing where it does not say so.
///
/// # Errors
/// When the file cannot be read, or holds something else.
pub fn read(datadir: &Path) -> io::Result<Option<String>> {
    let file = match fs::File::open(datadir.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    let url = text.trim_end();
    // Whoever calls sends the cookie along: to what a node writes, and to nothing else.
    match url.strip_prefix("http://").map(str::parse::<SocketAddr>) {
        Some(Ok(_)) => Ok(Some(url.into())),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{FILE} does not hold the address of a node; start the node again to renew it"),
        )),
    }
}

/// How to reach a server on this machine that listens at `listen`.
#[must_use]
pub fn url_of(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_there_as_long_as_the_node() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read(folder.path()).expect("readable"), None);
        // What killed nodes left behind.
        fs::write(folder.path().join(FILE), "http://127.0.0.1:1\n").expect("written");
        fs::write(folder.path().join(DRAFT), "http://127.").expect("written");
        let file = RpcUrlFile::create(folder.path(), SocketAddr::from(([0, 0, 0, 0], 29_001)));
        let file = file.expect("a file");
        assert_eq!(read(folder.path()).expect("readable").as_deref(), Some("http://127.0.0.1:29001"));
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn addresses_are_such_as_can_be_called() {
        for (listen, url) in [
            ("127.0.0.1:5", "http://127.0.0.1:5"),
            ("0.0.0.0:5", "http://127.0.0.1:5"),
            ("[::]:5", "http://[::1]:5"),
            ("192.0.2.7:5", "http://192.0.2.7:5"),
        ] {
            assert_eq!(url_of(listen.parse().expect("an address")), url);
        }
    }

    #[test]
    fn what_no_node_has_written_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for text in
            ["", "http://", "http://example.org:80", "https://127.0.0.1:1", "127.0.0.1:1", "http://127."]
        {
            fs::write(folder.path().join(FILE), text).expect("written");
            assert!(read(folder.path()).is_err(), "{text:?}");
        }
    }
}
