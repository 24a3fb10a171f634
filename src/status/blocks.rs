//! The status of found Bitcoin blocks.

use std::collections::HashMap;

use crate::share::ShareId;
use crate::units::{BlockHeight, Sats, UnixTime};

/// Status of the tracked blocks that bitcoind has reported on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlocksStatus {
    /// By the block's hash, which is also the id of its share.
    pub blocks: HashMap<ShareId, BlockStatus>,
}

/// Status of a block according to bitcoind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockStatus {
    /// It is in the best chain.
    Confirmed {
        /// Number of blocks from it to the tip, both included: at least 1.
        confirmations: u32,
    },
    /// It is known, but not in the best chain.
    Orphaned,
    /// bitcoind does not know it.
    Unknown,
}

/// Blocks whose confirmations are to be tracked, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackedBlocks(pub Vec<ShareId>);

/// The newest blocks found by this node's miners, oldest first: since the start, and earlier ones that were still without
/// a result then. A block that was found on a stale job, or whose hash is above the share target, never becomes a share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnBlocksStatus {
    pub blocks: Vec<OwnBlock>,
}

/// A block found by a miner of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnBlock {
    /// The block's hash.
    pub id: ShareId,
    /// Time of its header.
    pub time: UnixTime,
    pub height: BlockHeight,
    /// Value of its coinbase.
    pub value: Sats,
    /// When it was found, or loaded from disk at the start, by this node's clock.
    pub queued: UnixTime,
    /// Result of the last attempt to submit it; `None` before the first.
    pub outcome: Option<SubmitOutcome>,
}

/// Result of handing a block to bitcoind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitOutcome {
    /// bitcoind accepted it, or had it already.
    Accepted,
    /// bitcoind rejected it for this reason.
    Rejected(String),
    /// bitcoind has not accepted it for this reason; the block is kept and submitted again until bitcoind responds.
    Failed(String),
}
