//! Who may have a store open.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{flock, FlockOperation};

use super::StoreError;

/// Stores open in this process.
///
/// A lock, though threads share nothing else: LMDB forbids opening a file twice in one process (closing the second drops the
/// locks of the first) and does not notice it, so the rule can only be kept by something as wide as the process. It is
/// held for a moment when a store is opened or closed.
static OPEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The right of this process to have one store open.
#[derive(Debug)]
pub(super) struct ProcessGuard(PathBuf);

impl ProcessGuard {
    /// Takes the right; `path` is canonical.
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

/// Takes the right of the only writer among all processes; the system gives it back when the file is closed or the process dies.
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
