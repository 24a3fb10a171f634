//! The directory of the server's Unix socket, accessible only to the owner: the relay connects to it, and the program's own commands
//! (`p2pool status`).

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::HttpError;

/// Name of the directory inside the chain's directory.
const DIR: &str = "web";
const FILE: &str = "socket";
/// Longest path of the socket: `sun_path` has 104 to 108 bytes, including the final zero.
const PATH_LEN_MAX: usize = 100;

/// The directory of the socket, removed when dropped.
pub struct SocketDir {
    dir: PathBuf,
    socket: SocketPath,
}

/// A path at which a socket can be bound and connected to.
struct SocketPath {
    path: PathBuf,
    /// Open while a path that is too long is replaced by one through `/proc`.
    _dir: Option<File>,
}

impl SocketPath {
    /// Returns the path of the socket in a directory that exists.
    fn in_dir(dir: &Path) -> io::Result<Self> {
        let path = dir.join(FILE);
        if path.as_os_str().len() <= PATH_LEN_MAX {
            return Ok(Self { path, _dir: None });
        }
        let dir = File::open(dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(FILE);
        Ok(Self { path, _dir: Some(dir) })
    }
}

/// Connects to the server of the node that uses a chain's directory.
///
/// # Errors
/// No node runs there, or this user may not enter the directory.
pub fn connect(chain_dir: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(SocketPath::in_dir(&chain_dir.join(DIR))?.path)
}

impl SocketDir {
    /// Creates the directory, and removes one left behind by an earlier run.
    ///
    /// # Errors
    /// The directory cannot be created.
    pub fn create(chain_dir: &Path) -> Result<Self, HttpError> {
        let dir = chain_dir.join(DIR);
        let failed = |cause| HttpError::File { path: dir.clone(), cause };
        remove(&dir).map_err(failed)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let socket = SocketPath::in_dir(&dir).map_err(failed)?;
        Ok(Self { dir, socket })
    }

    /// Path of the socket; the server creates it.
    pub fn socket_path(&self) -> &Path {
        &self.socket.path
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.dir) {
            log::debug!("cannot remove {}: {error}", self.dir.display());
        }
    }
}

/// Removes the socket and its directory, if they exist. Fails if the directory holds anything else.
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
        let parent = tempfile::tempdir().unwrap();
        // The second path is too long for a socket.
        for chain_dir in [parent.path().join("short"), parent.path().join("a".repeat(120))] {
            // As after a crash.
            let left = SocketDir::create(&chain_dir).unwrap();
            drop(UnixListener::bind(left.socket_path()).unwrap());
            std::mem::forget(left);
            let socket_dir = SocketDir::create(&chain_dir).unwrap();
            let listener = UnixListener::bind(socket_dir.socket_path()).unwrap();
            assert_eq!(fs::metadata(chain_dir.join(DIR)).unwrap().permissions().mode() & 0o777, 0o700);
            connect(&chain_dir).unwrap();
            listener.accept().unwrap();
            drop(socket_dir);
            assert_eq!(fs::read_dir(&chain_dir).unwrap().count(), 0);
            assert_eq!(connect(&chain_dir).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }
}
