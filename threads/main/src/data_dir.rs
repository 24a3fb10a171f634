//! The data directory of a sharechain, used by one process at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;

/// File that is locked while a process uses the directory.
const LOCK_FILE: &str = "p2pool.lock";

/// Data directory of the service.
const SERVICE_DIR: &str = "/var/lib/p2pool";
/// Data directory in a user's home directory.
const HOME_DIR: &str = ".p2pool";

/// Returns the directory in one of the usual places that has this sharechain, if the one to be used does not exist yet: the
/// default is relative to where the program is started, which may be another directory than the last time.
pub fn elsewhere(chain_dir: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let chain = chain_dir.file_name()?;
    let places = home.map(|home| home.join(HOME_DIR)).into_iter().chain([PathBuf::from(SERVICE_DIR)]);
    let mut others = places.map(|place| place.join(chain)).filter(|other| other != chain_dir && other.is_dir());
    if chain_dir.exists() {
        None
    } else {
        others.next()
    }
}

/// The lock on a data directory, released when dropped or when the process ends.
#[derive(Debug)]
pub struct DataDirLock {
    /// The kernel releases the lock with this descriptor, even after a kill.
    _file: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("cannot use the data directory {}: {cause}; check -data-dir, which uid {} must own", .path.display(), own_uid())]
    Unusable { path: PathBuf, cause: io::Error },
    #[error("another p2pool uses the data directory {}: stop it, or give this one another -data-dir", .0.display())]
    InUse(PathBuf),
}

impl DataDirLock {
    /// Creates the directory, accessible to its owner only, if it does not exist, and locks it.
    ///
    /// # Errors
    /// The directory is not writable, or another process has locked it.
    pub fn acquire(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |cause| DataDirError::Unusable { path: path.to_owned(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path.join(LOCK_FILE)).map_err(unusable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(DataDirError::InUse(path.to_owned())),
            Err(error) => Err(unusable(error.into())),
        }
    }
}

/// The user that this process runs as.
fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_directory_is_accessible_to_its_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data/regtest-0011");
        let _lock = DataDirLock::acquire(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_sharechain_in_the_home_directory_is_found_when_a_new_one_would_begin() {
        let home = tempfile::tempdir().unwrap();
        let old = home.path().join(".p2pool/regtest-00");
        let new = home.path().join("elsewhere/.p2pool/regtest-00");
        assert_eq!(elsewhere(&new, Some(home.path())), None);
        std::fs::create_dir_all(&old).unwrap();
        assert_eq!(elsewhere(&new, Some(home.path())), Some(old.clone()));
        assert_eq!(elsewhere(&old, Some(home.path())), None);
        std::fs::create_dir_all(&new).unwrap();
        assert_eq!(elsewhere(&new, Some(home.path())), None);
    }

    #[test]
    fn only_one_process_can_use_a_directory() {
        let parent = tempfile::tempdir().unwrap();
        let first = DataDirLock::acquire(parent.path()).unwrap();
        let error = DataDirLock::acquire(parent.path()).unwrap_err();
        assert!(matches!(&error, DataDirError::InUse(path) if path == parent.path()), "{error}");
        drop(first);
        DataDirLock::acquire(parent.path()).unwrap();
    }

    #[test]
    fn an_unusable_directory_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = DataDirLock::acquire(&file.join("chain")).unwrap_err().to_string();
        assert!(error.starts_with("cannot use the data directory") && error.contains("file/chain"), "{error}");
        assert!(error.contains(&format!("uid {} must", own_uid())), "{error}");
    }
}
