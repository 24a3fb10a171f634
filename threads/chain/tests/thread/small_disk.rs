//! A small disk. The store's own tests use this file too.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A small file system in memory, unmounted when dropped. Mounting it needs root.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts the disk, or reports that the calling test is skipped for lack of permission.
    pub fn mount_or_skip(dir: &Path) -> Option<Self> {
        let disk = Self(dir.to_owned());
        let mounted = disk.command("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).then_some(disk);
        if mounted.is_none() {
            p2pool_test_bitcoind::skip("root, to mount a tmpfs");
        }
        mounted
    }

    /// Runs a program with the disk as its last argument. Returns whether it succeeded.
    pub fn command(&self, program: &str, arguments: &[&str]) -> bool {
        let status = Command::new(program).args(arguments).arg(&self.0).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A failed test may leave a running node on it.
        self.command("umount", &["-l"]);
    }
}
