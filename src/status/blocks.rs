//! What became of found Bitcoin blocks.

use std::collections::HashMap;

use crate::share::ShareId;
use crate::units::{BlockHeight, Sats, UnixTime};

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

/// Blocks that this node's miners found since it started, or before and were still without an answer then: the newest,
/// oldest first. Whether a block is a share as well is not asked here: one that was found on a stale job, or below the
/// share target, never becomes one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnBlocksStatus {
    /// The blocks.
    pub blocks: Vec<OwnBlock>,
}

/// A block that a miner of this node found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnBlock {
    /// The block's hash.
    pub id: ShareId,
    /// Its header's time.
    pub time: UnixTime,
    /// Its height.
    pub height: BlockHeight,
    /// What its coinbase pays out.
    pub value: Sats,
    /// What bitcoind said; none before its first word, and before it was given up for the moment.
    pub outcome: Option<SubmitOutcome>,
}

/// What bitcoind said to a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitOutcome {
    /// Taken, or known already.
    Accepted,
    /// Refused, with bitcoind's reason.
    Rejected(String),
    /// bitcoind could not be reached; the block is on disk and will be tried again.
    Failed(String),
}
