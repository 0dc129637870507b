//! Stories that only root can tell: small file systems and the like.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The variable that makes a story that cannot be told a failure.
const REQUIRED_VARIABLE: &str = "CAIRN_TESTS_REQUIRE_ROOT";

/// A small file system in memory, gone with the value.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many MiB on a folder. None, with a message, where this user may not; that is a failure
    /// where `CAIRN_TESTS_REQUIRE_ROOT` is 1.
    ///
    /// # Panics
    /// Where it cannot be made although it must.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "whoever reads the tests' output must know what was left out")]
    pub fn mount(folder: &Path, mib: u32) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "cairn-test"]).arg(folder);
        let mounted = mount.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { folder: folder.into() });
        }
        let required = std::env::var(REQUIRED_VARIABLE).is_ok_and(|value| value == "1");
        assert!(!required, "no small file system can be mounted, and {REQUIRED_VARIABLE} is 1");
        eprintln!(
            "left out: only root can mount a small file system; {REQUIRED_VARIABLE}=1 makes this a failure"
        );
        None
    }

    /// How many bytes are free.
    ///
    /// # Panics
    /// Where the system does not say.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.folder).expect("it is mounted");
        stat.f_bavail * stat.f_frsize
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, should a process of a failed test still be about to end.
        drop(Command::new("umount").arg("-l").arg(&self.folder).status());
    }
}
