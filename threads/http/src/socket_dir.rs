//! The folder of the Unix socket between relay and server, accessible only to the owner.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::HttpError;

/// Name of the folder inside the chain's folder.
const DIR: &str = "web";
const FILE: &str = "socket";
/// Longest path of the socket: `sun_path` has 104 to 108 bytes, including the final zero.
const PATH_LEN_MAX: usize = 100;

/// The folder of the socket, removed when dropped.
pub struct SocketDir {
    socket_path: PathBuf,
    /// Used instead if the path in the chain's folder is too long.
    _temporary: Option<TempDir>,
}

impl SocketDir {
    /// Creates the folder, and removes one left behind by an earlier run.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn create(chain_dir: &Path) -> Result<Self, HttpError> {
        let dir = chain_dir.join(DIR);
        if dir.join(FILE).as_os_str().len() > PATH_LEN_MAX {
            return Self::create_temporary();
        }
        let failed = |cause| HttpError::File { path: dir.clone(), cause };
        remove(&dir).map_err(failed)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        Ok(Self { socket_path: dir.join(FILE), _temporary: None })
    }

    fn create_temporary() -> Result<Self, HttpError> {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let failed = |cause| HttpError::File { path: std::env::temp_dir(), cause };
        let dir = tempfile::Builder::new().prefix("p2pool-").permissions(mode).tempdir().map_err(failed)?;
        Ok(Self { socket_path: dir.path().join(FILE), _temporary: Some(dir) })
    }

    /// Path of the socket; the server creates it.
    pub fn socket_path(&self) -> &Path {
        &self.socket_path
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        if let Some(dir) = self.socket_path.parent().filter(|_| self._temporary.is_none()) {
            if let Err(error) = remove(dir) {
                log::debug!("cannot remove {}: {error}", dir.display());
            }
        }
    }
}

/// Removes the socket and its folder, if they exist. Fails if the folder holds anything else.
fn remove(dir: &Path) -> io::Result<()> {
    let ignore_missing = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    ignore_missing(fs::remove_file(dir.join(FILE)))?;
    ignore_missing(fs::remove_dir(dir))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_the_owner_has_access_and_nothing_is_left_behind() {
        let chain_dir = tempfile::tempdir().unwrap();
        // As after a crash.
        let left = SocketDir::create(chain_dir.path()).unwrap();
        drop(UnixListener::bind(left.socket_path()).unwrap());
        std::mem::forget(left);
        let socket_dir = SocketDir::create(chain_dir.path()).unwrap();
        let _listener = UnixListener::bind(socket_dir.socket_path()).unwrap();
        let dir = socket_dir.socket_path().parent().unwrap();
        assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
        drop(socket_dir);
        assert_eq!(fs::read_dir(chain_dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn long_paths_are_replaced_by_a_temporary_folder() {
        let chain_dir = tempfile::tempdir().unwrap();
        let socket_dir = SocketDir::create(&chain_dir.path().join("a".repeat(120))).unwrap();
        let _listener = UnixListener::bind(socket_dir.socket_path()).unwrap();
        let dir = socket_dir.socket_path().parent().unwrap().to_owned();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        drop(socket_dir);
        assert!(!dir.exists());
    }
}
