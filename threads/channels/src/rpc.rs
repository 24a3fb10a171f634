//! The inboxes of the threads that call bitcoind.

use p2pool_core::node::{BlockLookup, PeerBlock};
use p2pool_core::work::FoundBlock;

/// A message to the anchor thread.
#[derive(Debug)]
pub enum ToAnchor {
    /// Look a block up at bitcoind.
    LookUp(BlockLookup),
    /// End the thread.
    Stop,
}

/// A message to the submit thread.
#[derive(Debug)]
pub enum ToSubmit {
    /// A block of this node's miners.
    Own(FoundBlock),
    /// A block that another node found.
    Peer(PeerBlock),
    /// Finish what is in progress and end the thread.
    Stop,
}
