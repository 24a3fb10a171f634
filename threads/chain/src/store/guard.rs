//! Which processes may open a store.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{flock, FlockOperation};

use super::StoreError;

/// The stores that are open in this process.
///
/// LMDB forbids opening a file twice in one process, because closing it once drops all of the process's locks. It does not detect
/// this, so the list must be global. The mutex is held only briefly, when a store is opened or closed.
static OPEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Permits this process to have one store open.
#[derive(Debug)]
pub(super) struct ProcessGuard(PathBuf);

impl ProcessGuard {
    /// Takes the permit. `path` is canonical.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if open.iter().any(|other| other == path) {
            return Err(StoreError::AlreadyOpen(path.to_owned()));
        }
        open.push(path.to_owned());
        Ok(Self(path.to_owned()))
    }
}

impl Drop for ProcessGuard {
    fn drop(&mut self) {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| *other != self.0);
    }
}

/// Locks the store for the only writer among all processes. The system unlocks it when the file is closed or the process ends.
pub(super) fn lock_for_writing(path: &Path, store: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| StoreError::io("open", path, error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse(store.to_owned())),
        Err(error) => Err(StoreError::io("lock", path, error.into())),
    }
}
