//! Where the program is that the stories drive.

use std::{env, path::PathBuf};

/// The path of `cairn`: in the target folder in which this test itself was built, so that a test never drives
/// the program of another build.
///
/// # Panics
/// Where the program has not been built.
#[must_use]
pub fn path() -> PathBuf {
    let test = env::current_exe().expect("the system knows the path of this test");
    // target/release/deps/NAME-HASH for tests, target/release/NAME for programs of this package.
    let folder = test.parent().expect("a program lies in a folder");
    let profile = if folder.ends_with("deps") {
        folder.parent().expect("deps lies in a profile's folder")
    } else {
        folder
    };
    let path = profile.join("cairn");
    assert!(path.is_file(), "{} does not exist: run `make build` first", path.display());
    path
}
