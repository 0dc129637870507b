//! Who may call: a cookie file that only the node's own user can read, or a user and a password.
//!
//! Credentials are compared in constant time (threat R03), and none is ever logged. The cookie is made anew at
//! every start, in a file of its own that replaces the old one by a rename: what was put in its place
//! beforehand, a symbolic link included, is never written through (threat R04).

use std::{
    fmt, fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// The user of the cookie, as in Bitcoin Core.
pub const COOKIE_USER: &str = "__cookie__";

/// The name of the cookie file in the data folder.
pub const COOKIE_FILE: &str = ".cookie";

/// The random bytes of a cookie's password.
const COOKIE_BYTES: usize = 32;

/// The largest cookie file that is read, in bytes.
const MAX_COOKIE_FILE_BYTES: u64 = 4_096;

/// Why there is no cookie.
#[derive(Debug, Error)]
pub enum CookieError {
    /// The operating system gave no random bytes.
    #[error("no random bytes for the cookie: {0}")]
    Random(getrandom::Error),
    /// The file could not be written.
    #[error("the cookie file {path} cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be read.
    #[error("the cookie file {path} cannot be read: {source}; is the node running, and as the same user?")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file does not hold USER:PASSWORD.
    #[error("the cookie file {0} does not hold USER:PASSWORD; start the node again to renew it")]
    Malformed(PathBuf),
}

/// A user and a password. Neither `Debug` nor anything else shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Credentials {
    /// A user and a password. A user holds no colon (RFC 7617), and neither is empty: `None` otherwise.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Option<Self> {
        let (user, password) = (user.into(), password.into());
        let sound = !user.is_empty() && !user.contains(':') && !password.is_empty();
        sound.then_some(Self { user, password })
    }

    /// Reads a cookie file.
    ///
    /// # Errors
    /// When the file cannot be read or is no cookie.
    pub fn from_cookie_file(path: &Path) -> Result<Self, CookieError> {
        let read = || -> io::Result<String> {
            let mut text = String::new();
            let file = fs::File::open(path)?;
            io::Read::read_to_string(&mut io::Read::take(file, MAX_COOKIE_FILE_BYTES), &mut text)?;
            Ok(text)
        };
        let text = read().map_err(|source| CookieError::Read { path: path.into(), source })?;
        let (user, password) =
            text.trim_end().split_once(':').ok_or_else(|| CookieError::Malformed(path.into()))?;
        Ok(Self { user: user.into(), password: password.into() })
    }

    /// The value of the header `Authorization` (RFC 7617).
    #[must_use]
    pub fn authorization(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

/// The cookie of a running node; its file is removed when this value is dropped.
#[derive(Debug)]
pub struct Cookie {
    path: PathBuf,
    credentials: Credentials,
}

impl Cookie {
    /// Makes a cookie and writes it to [`COOKIE_FILE`] in `datadir`, readable by its owner alone.
    ///
    /// # Errors
    /// When there are no random bytes or the file cannot be written.
    pub fn create(datadir: &Path) -> Result<Self, CookieError> {
        let path = datadir.join(COOKIE_FILE);
        let mut secret = [0; COOKIE_BYTES];
        getrandom::fill(&mut secret).map_err(CookieError::Random)?;
        let mut suffix = [0; 8];
        getrandom::fill(&mut suffix).map_err(CookieError::Random)?;
        let credentials = Credentials { user: COOKIE_USER.into(), password: const_hex::encode(secret) };
        let draft = datadir.join(format!("{COOKIE_FILE}.{}", const_hex::encode(suffix)));
        let write = || -> io::Result<()> {
            let mut options = fs::OpenOptions::new();
            // Exclusive: whatever exists under this name, a symbolic link included, is refused.
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&draft)?;
            write!(file, "{}:{}", credentials.user, credentials.password)?;
            file.sync_all()?;
            // A rename replaces the name itself: a symbolic link there is removed, not followed.
            fs::rename(&draft, &path)
        };
        if let Err(source) = write() {
            // The draft may or may not exist; the error that matters is the first one.
            let _ = fs::remove_file(&draft);
            return Err(CookieError::Write { path, source });
        }
        Ok(Self { path, credentials })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file holds.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }
}

impl Drop for Cookie {
    fn drop(&mut self) {
        // A node that was started since on the same folder has written a cookie of its own: leave that.
        let ours = Credentials::from_cookie_file(&self.path).is_ok_and(|found| found == self.credentials);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = ?self.path, %error, "the cookie file could not be removed");
        }
    }
}

/// Everybody who may call.
#[derive(Debug, Clone, Default)]
pub struct Accounts(Vec<Credentials>);

impl Accounts {
    /// With no account nobody may call.
    #[must_use]
    pub fn new(accounts: Vec<Credentials>) -> Self {
        Self(accounts)
    }

    /// Whether the value of a header `Authorization` names one of the accounts. All accounts are compared, and
    /// each in constant time: how long it takes tells at most how long the secrets are.
    #[must_use]
    pub(crate) fn allow(&self, authorization: &[u8]) -> bool {
        let Some((scheme, encoded)) = authorization.split_at_checked(6) else { return false };
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return false;
        }
        let Ok(sent) = STANDARD.decode(encoded.trim_ascii()) else { return false };
        let allowed = self.0.iter().fold(subtle::Choice::from(0), |allowed, account| {
            let expected = format!("{}:{}", account.user, account.password);
            allowed | expected.as_bytes().ct_eq(&sent)
        });
        allowed.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Credentials {
        Credentials::new("alice", "secret: with a colon").expect("a user without a colon")
    }

    #[test]
    fn r03_only_whole_credentials_are_allowed() {
        let accounts = Accounts::new(vec![Credentials::new("bob", "b").expect("a user"), alice()]);
        assert!(accounts.allow(alice().authorization().as_bytes()));
        assert!(accounts.allow(alice().authorization().replace("Basic", "basic").as_bytes()));
        for (user, password) in [("alice", ""), ("", ""), ("alice", "b"), ("bob", "secret: with a colon")] {
            let wrong = Credentials { user: user.into(), password: password.into() };
            assert!(!accounts.allow(wrong.authorization().as_bytes()), "{user}:{password}");
        }
        for junk in ["", "Basic", "Basic ", "Basic !!!", "Bearer x", "\u{2603}\u{2603}\u{2603}"] {
            assert!(!accounts.allow(junk.as_bytes()), "{junk}");
        }
        assert!(!Accounts::default().allow(alice().authorization().as_bytes()), "no account allows nobody");
        assert!(
            Credentials::new("a:b", "c").is_none(),
            "a user with a colon could not be told from its password"
        );
    }

    #[test]
    fn r03_debug_hides_the_password() {
        assert!(!format!("{:?}", alice()).contains("secret"));
    }

    #[cfg(unix)]
    #[test]
    fn r04_the_cookie_is_private_and_goes_through_no_link() {
        use std::os::unix::fs::{MetadataExt, symlink};

        let folder = tempfile::tempdir().expect("a temporary folder");
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").expect("the victim is written");
        symlink(&victim, folder.path().join(COOKIE_FILE)).expect("a link is placed");

        let cookie = Cookie::create(folder.path()).expect("a cookie is made");
        assert_eq!(fs::read_to_string(&victim).expect("the victim exists"), "precious");
        let metadata = fs::symlink_metadata(cookie.path()).expect("the cookie exists");
        assert!(metadata.is_file());
        assert_eq!(metadata.mode() & 0o777, 0o600);
        let read = Credentials::from_cookie_file(cookie.path()).expect("the cookie is readable");
        assert_eq!(&read, cookie.credentials());

        let second = Cookie::create(folder.path()).expect("a cookie replaces a cookie");
        assert_ne!(second.credentials(), cookie.credentials());
        drop(cookie);
        assert!(second.path().exists(), "the first one's end leaves the second one's file");
        drop(second);
        let left: Vec<_> = fs::read_dir(folder.path()).expect("the folder").collect();
        assert_eq!(left.len(), 1, "only the victim is left: {left:?}");
    }

    #[test]
    fn r04_a_cookie_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join(COOKIE_FILE)).expect("a folder in its place");
        assert!(matches!(Cookie::create(folder.path()), Err(CookieError::Write { .. })));
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1, "no draft is left");
    }
}
