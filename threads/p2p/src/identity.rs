//! The key pair that keeps a node's peer id the same across restarts.

use std::path::Path;

use libp2p::identity::Keypair;

use crate::error::P2pError;
use crate::instance::Nonce;
use crate::state_file;

/// Name of the key file in the chain's folder: an ed25519 key in libp2p's protobuf encoding.
pub const FILE_NAME: &str = "identity";

/// Loads the key pair, or generates and saves a new one.
///
/// # Errors
/// The file cannot be read or written, or holds no valid key. A damaged file is not replaced: the operator may have a
/// backup, and other nodes know this node by its key.
pub fn load_or_generate(chain_dir: &Path) -> Result<Keypair, P2pError> {
    let path = chain_dir.join(FILE_NAME);
    let failed = |error| P2pError::File { path: path.clone(), error };
    if let Some(bytes) = state_file::read(&path).map_err(failed)? {
        return Keypair::from_protobuf_encoding(&bytes).map_err(|_| P2pError::Identity(path.clone()));
    }
    let key = Keypair::generate_ed25519();
    let bytes = key.to_protobuf_encoding().map_err(|_| P2pError::Identity(path.clone()))?;
    state_file::replace(&path, &bytes).map_err(failed)?;
    Ok(key)
}

/// Returns 16 random bytes: half of the public key of a new key pair, which is as random as the key.
pub fn random() -> Nonce {
    let id = Keypair::generate_ed25519().public().to_peer_id().to_bytes();
    id.last_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_key_persists_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_generate(dir.path()).unwrap();
        let second = load_or_generate(dir.path()).unwrap();
        assert_eq!(first.public(), second.public());
        let mode = std::fs::metadata(dir.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_file_is_reported_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        std::fs::write(&path, b"not a key").unwrap();
        let error = load_or_generate(dir.path()).unwrap_err();
        assert!(error.to_string().contains("identity"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"not a key");
    }
}
