//! Why the network thread cannot start.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why the network thread cannot start.
#[derive(Debug, Error)]
pub enum P2pError {
    /// A file in the chain's folder cannot be read or written.
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    /// The identity file holds no valid key.
    #[error("{} holds no valid key: restore it from a backup, or remove it to start with a new peer id", .0.display())]
    Identity(PathBuf),
    /// An address is malformed.
    #[error("{0} is no address")]
    Address(String),
    /// A bootnode's address is malformed or has no peer id.
    #[error("invalid bootnode address {0:?}: expected something like /ip4/203.0.113.7/tcp/9171/p2p/12D3Koo...")]
    Bootnode(String),
    /// The TCP port cannot be listened on.
    #[error("cannot listen for peers on port {port}: {error} (choose another port with -p2p-port)")]
    Listen { port: u16, error: String },
    /// The operating system or libp2p refuses something that no setting changes.
    #[error("cannot set up the peer-to-peer network: {0}")]
    Setup(String),
}
