//! `/api/v1/blocks`: the found Bitcoin blocks.

use p2pool_core::status::BlockStatus;
use serde::Serialize;

use crate::block_log::{BlockLog, BlockRecord, COINBASE_MATURITY};
use crate::snapshot::Snapshot;

/// Most blocks in the document: the newest.
const LISTED_MAX: usize = 100;

/// The found Bitcoin blocks.
#[derive(Serialize)]
pub struct BlocksDocument {
    /// Number of blocks in the log.
    count: usize,
    /// Number of blocks found by this node's miners since it started.
    found_since_start: u64,
    submissions: Submissions,
    blocks: Vec<Block>,
}

/// Submissions of this node's blocks to bitcoind since it started, by result.
#[derive(Serialize)]
struct Submissions {
    success: u64,
    rejected: u64,
    failed: u64,
}

#[derive(Serialize)]
struct Block {
    hash: String,
    time: u32,
    height: u32,
    /// `None` unless it is known to be a share.
    share_height: Option<u32>,
    /// Whether `/api/v1/share/{hash}` still has its share.
    share_stored: bool,
    miner: String,
    ours: bool,
    /// Value of its coinbase.
    value: u64,
    status: &'static str,
    confirmations: Option<u32>,
    /// Why bitcoind rejected it, or has not accepted it yet.
    reason: Option<String>,
}

impl Block {
    /// Counts confirmations up to `tip_height`: bitcoind reports them one block after the other, so with different tips.
    fn new(block: &BlockRecord, snapshot: &Snapshot, tip_height: Option<u32>) -> Self {
        let mut not_accepted = snapshot.blocks_not_accepted.iter();
        let not_accepted = not_accepted.find(|one| one.id == block.id).map(|one| one.reason.clone());
        // bitcoind also knows the header of a rejected block, as one that is not in the best chain.
        let (status, confirmations, reason) = match (block.status, &block.reject_reason) {
            (Some(BlockStatus::Confirmed { .. }), _) => {
                let above = tip_height.map_or(0, |tip| tip.saturating_sub(block.details.block_height));
                ("confirmed", Some(above.saturating_add(1).min(COINBASE_MATURITY)), None)
            }
            (_, Some(reason)) => ("rejected", None, Some(reason.clone())),
            (Some(BlockStatus::Orphaned), None) => ("orphaned", None, None),
            (None | Some(BlockStatus::Unknown), None) if not_accepted.is_some() => ("not_accepted", None, not_accepted),
            (None | Some(BlockStatus::Unknown), None) => ("submitted", None, None),
        };
        let details = block.details.clone();
        Self {
            hash: block.id.to_string(),
            time: block.time,
            height: details.block_height,
            share_height: details.share_height,
            share_stored: snapshot.tree().contains(&block.id),
            miner: details.miner,
            ours: details.ours,
            value: details.coinbase_value,
            status,
            confirmations,
            reason,
        }
    }
}

impl BlocksDocument {
    pub fn new(log: &BlockLog, snapshot: &Snapshot) -> Self {
        let metrics = &snapshot.metrics;
        let below_job = snapshot.job().map(|job| job.template.height.0.saturating_sub(1));
        let tip_height = below_job.max(log.tip_height());
        Self {
            count: log.len(),
            found_since_start: metrics.blocks_found.get(),
            submissions: Submissions {
                success: metrics.own_blocks.accepted.get(),
                rejected: metrics.own_blocks.rejected.get(),
                failed: metrics.own_blocks.failed.get(),
            },
            blocks: log.newest_first().take(LISTED_MAX).map(|block| Block::new(block, snapshot, tip_height)).collect(),
        }
    }
}
