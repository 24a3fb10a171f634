//! The key that makes this node the same peer after every restart.

use std::path::Path;

use libp2p::identity::Keypair;

use crate::error::P2pError;
use crate::file;

/// Name of the file in the chain's folder: the ed25519 key as libp2p writes keys (protobuf).
pub const FILE_NAME: &str = "identity";

/// Loads the key, or makes and keeps a new one.
///
/// # Errors
/// The file cannot be read or written, or holds no key. A damaged one is not replaced: the operator may have a copy,
/// and others know this node by it.
pub fn load_or_make(chain_dir: &Path) -> Result<Keypair, P2pError> {
    let path = chain_dir.join(FILE_NAME);
    let failed = |error| P2pError::File { path: path.clone(), error };
    if let Some(bytes) = file::read(&path).map_err(failed)? {
        return Keypair::from_protobuf_encoding(&bytes).map_err(|_| P2pError::Identity(path.clone()));
    }
    let key = Keypair::generate_ed25519();
    let bytes = key.to_protobuf_encoding().map_err(|_| P2pError::Identity(path.clone()))?;
    file::replace(&path, &bytes).map_err(failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_key_stays_and_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_make(dir.path()).unwrap();
        let again = load_or_make(dir.path()).unwrap();
        assert_eq!(first.public(), again.public());
        let mode = std::fs::metadata(dir.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        std::fs::write(&path, b"not a key").unwrap();
        let error = load_or_make(dir.path()).unwrap_err();
        assert!(error.to_string().contains("identity"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"not a key");
    }
}
