//! Where the programs are that the stories drive.

use std::{env, path::PathBuf};

/// The path of `cairn`.
///
/// # Panics
/// Where the program has not been built.
#[must_use]
pub fn path() -> PathBuf {
    find("cairn").unwrap_or_else(|path| panic!("{} does not exist: run `make build` first", path.display()))
}

/// The path of `cairn-failpoints`, the same program with fail points.
///
/// # Panics
/// Where the program has not been built.
#[must_use]
pub fn failpoints_path() -> PathBuf {
    find("cairn-failpoints")
        .unwrap_or_else(|path| panic!("{} does not exist: run `make failpoints` first", path.display()))
}

/// The path of a program: in the target folder in which this test itself was built, so that a test never drives
/// the program of another build. Where it is not there, where it should be.
fn find(name: &str) -> Result<PathBuf, PathBuf> {
    let test = env::current_exe().expect("the system knows the path of this test");
    // target/release/deps/NAME-HASH for tests, target/release/NAME for programs of this package.
    let folder = test.parent().expect("a program lies in a folder");
    let profile = if folder.ends_with("deps") {
        folder.parent().expect("deps lies in a profile's folder")
    } else {
        folder
    };
    let path = profile.join(name);
    if path.is_file() { Ok(path) } else { Err(path) }
}
