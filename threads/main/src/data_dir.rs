//! The chain's own folder, which one process has at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;

/// Name of the file whose lock says that the folder is in use.
const LOCK_FILE: &str = "p2pool.lock";

/// The folder, ours until this is dropped.
#[derive(Debug)]
pub struct ChainDir {
    path: PathBuf,
    /// The lock goes with the descriptor, so a killed process leaves none behind.
    _lock: File,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made, or its lock file cannot be opened.
    #[error("the folder {} cannot be used: {cause}; check -data-dir and who owns it", .path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another process has it.
    #[error("another p2pool uses the folder {}: stop it, or give this one another -data-dir", .0.display())]
    InUse(PathBuf),
}

impl ChainDir {
    /// Makes the folder, readable by its owner alone, if it is missing, and takes its lock.
    ///
    /// # Errors
    /// No right to write there, or another process has the lock.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let unusable = |cause| FolderError::Unusable { path: path.to_owned(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(path.join(LOCK_FILE)).map_err(unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(Errno::WOULDBLOCK) => Err(FolderError::InUse(path.to_owned())),
            Err(error) => Err(unusable(error.into())),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_folder_is_made_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data/regtest-0011");
        let folder = ChainDir::open(&path).unwrap();
        assert_eq!(folder.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn one_process_has_it_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let first = ChainDir::open(parent.path()).unwrap();
        let error = ChainDir::open(parent.path()).unwrap_err();
        assert!(matches!(&error, FolderError::InUse(path) if path == parent.path()), "{error}");
        drop(first);
        ChainDir::open(parent.path()).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = ChainDir::open(&file.join("chain")).unwrap_err();
        assert!(error.to_string().contains("file/chain cannot be used"), "{error}");
    }
}
