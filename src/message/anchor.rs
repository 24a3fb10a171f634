//! The anchor thread's inbox.

use bitcoin::block::Header;
use bitcoin::BlockHash;

/// A message to rpc/anchor, which answers with `ToChain::Anchor`.
#[derive(Debug)]
pub enum ToAnchor {
    /// What does bitcoind know of this header?
    Lookup(BlockHash),
    /// Headers that another node's bitcoind knows, oldest first: hand them to ours, then look up the last.
    Give(Vec<Header>),
    /// End.
    Stop,
}
