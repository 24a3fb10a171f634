//! The place of the Unix socket between relay and server: a folder that nobody else can enter.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::HttpError;

/// Folder inside the chain's folder.
const DIR: &str = "web";
const FILE: &str = "socket";
/// The system's `sun_path` holds 104 to 108 bytes with the zero at its end.
const PATH_LEN_MAX: usize = 100;

/// The folder with the socket, removed when dropped.
pub struct Place {
    path: PathBuf,
    /// Where the chain's folder has too long a name.
    _temporary: Option<TempDir>,
}

impl Place {
    /// Makes the folder, or empties the one an earlier run left behind.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn make(chain_dir: &Path) -> Result<Self, HttpError> {
        let dir = chain_dir.join(DIR);
        if dir.join(FILE).as_os_str().len() > PATH_LEN_MAX {
            return Self::make_temporary();
        }
        let failed = |cause| HttpError::File { path: dir.clone(), cause };
        remove(&dir).map_err(failed)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        Ok(Self { path: dir.join(FILE), _temporary: None })
    }

    fn make_temporary() -> Result<Self, HttpError> {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let failed = |cause| HttpError::File { path: std::env::temp_dir(), cause };
        let dir = tempfile::Builder::new().prefix("p2pool-").permissions(mode).tempdir().map_err(failed)?;
        Ok(Self { path: dir.path().join(FILE), _temporary: Some(dir) })
    }

    /// The socket's path; nothing is there yet.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(dir) = self.path.parent().filter(|_| self._temporary.is_none()) {
            if let Err(error) = remove(dir) {
                log::debug!("{}: {error}", dir.display());
            }
        }
    }
}

/// Removes the socket and its folder if they are there; a folder that holds anything else stays.
fn remove(dir: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    gone(fs::remove_file(dir.join(FILE)))?;
    gone(fs::remove_dir(dir))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_the_owner_can_enter_and_nothing_stays() {
        let chain_dir = tempfile::tempdir().unwrap();
        // What a killed process leaves behind.
        let left = Place::make(chain_dir.path()).unwrap();
        drop(UnixListener::bind(left.path()).unwrap());
        std::mem::forget(left);
        let place = Place::make(chain_dir.path()).unwrap();
        let _listener = UnixListener::bind(place.path()).unwrap();
        let dir = place.path().parent().unwrap();
        assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
        drop(place);
        assert_eq!(fs::read_dir(chain_dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn long_names_are_no_hindrance() {
        let chain_dir = tempfile::tempdir().unwrap();
        let place = Place::make(&chain_dir.path().join("a".repeat(120))).unwrap();
        let _listener = UnixListener::bind(place.path()).unwrap();
        let dir = place.path().parent().unwrap().to_owned();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        drop(place);
        assert!(!dir.exists());
    }
}
