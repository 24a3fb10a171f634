//! What became of found Bitcoin blocks.

use std::collections::HashMap;

use crate::share::ShareId;

/// What bitcoind says of blocks that were found. A block that is not in it has not been asked for yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlocksStatus {
    /// By the block's hash, which is its share's id as well.
    pub fates: HashMap<ShareId, BlockFate>,
}

/// What bitcoind says of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockFate {
    /// It is on the best chain, with so many blocks from it to the tip, both counted.
    Confirmed {
        /// At least 1.
        confirmations: u32,
    },
    /// It is known, and another one took its place.
    Orphaned,
    /// bitcoind does not have it.
    Unknown,
}

/// The blocks somebody wants to know the fate of, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchedBlocks(pub Vec<ShareId>);
