//! Why the network cannot be opened.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why the network cannot be opened.
#[derive(Debug, Error)]
pub enum P2pError {
    /// A file of ours.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// In what way.
        error: io::Error,
    },
    /// The identity's file holds no key.
    #[error("{}: no key in it; bring back a copy, or remove it and this node will be a new peer to others", .0.display())]
    Identity(PathBuf),
    /// A bootnode's address is none.
    #[error("bootnode {0:?}: not an address like /ip4/203.0.113.7/tcp/9171/p2p/12D3Koo...")]
    Bootnode(String),
    /// The port cannot be listened on.
    #[error("port {port} for other nodes: {error}; choose another one with -p2p-port")]
    Listen {
        /// Which.
        port: u16,
        /// Why.
        error: String,
    },
    /// Something that depends on nothing a user chooses.
    #[error("the network of nodes cannot be set up: {0}")]
    Setup(String),
}
