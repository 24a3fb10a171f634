//! A disk that is soon full. The store's own tests use this file too.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A small file system in memory, which takes root; unmounted when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None without the right to.
    pub fn mount(dir: &Path) -> Option<Self> {
        let disk = Self(dir.to_owned());
        disk.command("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).then_some(disk)
    }

    /// Runs a program on it; whether that went well.
    pub fn command(&self, program: &str, arguments: &[&str]) -> bool {
        let status = Command::new(program).args(arguments).arg(&self.0).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.command("umount", &[]);
    }
}
