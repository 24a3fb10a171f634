//! Found Bitcoin blocks.

use p2pool_core::sharechain::Tree;
use p2pool_core::status::BlockFate;
use serde::Serialize;

use crate::found::{Found, FoundBlock, MATURE};
use crate::view::View;

/// Blocks listed: the newest.
const LISTED_MAX: usize = 100;

/// The document.
#[derive(Serialize)]
pub struct BlocksDocument {
    /// Blocks remembered.
    count: usize,
    /// Headers found by this node's miners since it started.
    found_since_start: u64,
    submissions: Submissions,
    blocks: Vec<Block>,
}

/// What bitcoind said to blocks found by this node since it started.
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
    /// None for one that is no share, as far as is known.
    share_height: Option<u32>,
    /// Whether `/api/share/{hash}` leads to it still.
    share_held: bool,
    miner: String,
    ours: bool,
    /// What its coinbase pays out.
    value: u64,
    status: &'static str,
    confirmations: Option<u32>,
    /// Why bitcoind refused it.
    reason: Option<String>,
}

impl Block {
    /// bitcoind is asked about one block after the other, so its words on two blocks may be of different tips: all are told
    /// by the newest.
    fn of(block: &FoundBlock, tree: &Tree, tip_height: Option<u32>) -> Self {
        // bitcoind also speaks of the header of a block that it refused: as of one that is not on the best chain.
        let (status, confirmations, reason) = match (block.fate, &block.refusal) {
            (Some(BlockFate::Confirmed { .. }), _) => {
                let above = tip_height.map_or(0, |tip| tip.saturating_sub(block.facts.block_height));
                ("confirmed", Some(above.saturating_add(1).min(MATURE)), None)
            }
            (_, Some(reason)) => ("rejected", None, Some(reason.clone())),
            (Some(BlockFate::Orphaned), None) => ("orphaned", None, None),
            (None | Some(BlockFate::Unknown), None) => ("submitted", None, None),
        };
        let facts = block.facts.clone();
        Self {
            hash: block.id.to_string(),
            time: block.time,
            height: facts.block_height,
            share_height: facts.share_height,
            share_held: tree.contains(&block.id),
            miner: facts.miner,
            ours: facts.ours,
            value: facts.coinbase_value,
            status,
            confirmations,
            reason,
        }
    }
}

impl BlocksDocument {
    /// The newest.
    pub fn of(found: &Found, view: &View) -> Self {
        let counters = &view.metrics;
        let below_job = view.job().map(|job| job.block_height.0.saturating_sub(1));
        let tip_height = below_job.max(found.tip_height());
        Self {
            count: found.len(),
            found_since_start: counters.blocks_found.get(),
            submissions: Submissions {
                success: counters.own_blocks.accepted.get(),
                rejected: counters.own_blocks.rejected.get(),
                failed: counters.own_blocks.failed.get(),
            },
            blocks: found
                .newest_first()
                .take(LISTED_MAX)
                .map(|block| Block::of(block, view.tree(), tip_height))
                .collect(),
        }
    }
}
