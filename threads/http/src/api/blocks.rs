//! Found Bitcoin blocks.

use p2pool_core::status::{BlockFate, Counters};
use serde::Serialize;

use crate::found::{Found, FoundBlock};

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
    share_height: u32,
    miner: String,
    ours: bool,
    /// What its coinbase pays out.
    value: u64,
    status: &'static str,
    confirmations: Option<u32>,
}

impl Block {
    fn of(block: &FoundBlock) -> Self {
        let (status, confirmations) = match block.fate {
            None | Some(BlockFate::Unknown) => ("submitted", None),
            Some(BlockFate::Confirmed { confirmations }) => ("confirmed", Some(confirmations)),
            Some(BlockFate::Orphaned) => ("orphaned", None),
        };
        let facts = block.facts.clone();
        Self {
            hash: block.id.to_string(),
            time: block.time,
            height: facts.block_height,
            share_height: facts.share_height,
            miner: facts.miner,
            ours: facts.ours,
            value: facts.coinbase_value,
            status,
            confirmations,
        }
    }
}

impl BlocksDocument {
    /// The newest.
    pub fn of(found: &Found, counters: &Counters) -> Self {
        Self {
            count: found.len(),
            found_since_start: counters.blocks_found.get(),
            submissions: Submissions {
                success: counters.blocks_accepted.get(),
                rejected: counters.blocks_rejected.get(),
                failed: counters.block_submissions_failed.get(),
            },
            blocks: found.newest_first().take(LISTED_MAX).map(Block::of).collect(),
        }
    }
}
