//! What other threads have published, taken at one moment, and what follows from it.

use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use p2pool_core::metrics::Metrics;
use p2pool_core::payouts::EntrySource as _;
use p2pool_core::share::ShareId;
use p2pool_core::sharechain::{LinkedShare, Tree};
use p2pool_core::status::{BitcoindStatus, ChainStatus, MinersStatus, PeersStatus, SubmissionStatus};
use p2pool_core::stratum::Difficulty;
use p2pool_core::sync::SyncState;
use p2pool_core::units::{Bits, Target, UnixTime};
use p2pool_core::work::Job;
use p2pool_core::work::NoWork;
use p2pool_core::worker_roster::GoneWorker;

use crate::block_log::{BlockLog, BlockNotAccepted};
use crate::Sources;

/// Longest time in seconds over which the pool's hash rate is estimated.
const RATE_WINDOW_MAX_S: u32 = 3_600;

/// All published status, taken at one moment.
pub struct Snapshot {
    pub now: UnixTime,
    /// What threads count.
    pub metrics: Arc<Metrics>,
    /// The sharechain and the current job.
    pub chain: Arc<ChainStatus>,
    pub miners: Arc<MinersStatus>,
    pub peers: Arc<PeersStatus>,
    pub bitcoind: Arc<BitcoindStatus>,
    pub submission: Arc<SubmissionStatus>,
    /// Blocks of this node's miners that bitcoind has not accepted, oldest first.
    pub blocks_not_accepted: Vec<BlockNotAccepted>,
    /// Blocks of this node's miners that bitcoind has rejected lately, oldest first.
    pub blocks_rejected: Vec<BlockNotAccepted>,
    /// The workers that are gone, as the roster orders them.
    pub gone: Vec<GoneWorker>,
}

impl Snapshot {
    /// Takes a snapshot at `now`. `gone` lists the workers that are gone.
    pub fn load(sources: &Sources, block_log: &BlockLog, gone: Vec<GoneWorker>, now: UnixTime) -> Self {
        Self {
            now,
            metrics: Arc::clone(&sources.metrics),
            chain: sources.chain.load_full(),
            miners: sources.miners.load_full(),
            peers: sources.peers.load_full(),
            bitcoind: sources.bitcoind.load_full(),
            submission: sources.submission.load_full(),
            blocks_rejected: block_log.rejected(now),
            blocks_not_accepted: block_log.not_accepted(&sources.own_blocks.load(), now),
            gone,
        }
    }

    pub fn tree(&self) -> &Tree {
        &self.chain.tree
    }

    /// Whether this node knows the pool's sharechain: not while it looks for peers, or downloads or compares chains.
    pub fn is_chain_known(&self) -> bool {
        match self.chain.sync {
            SyncState::NoPeers { was_synced, .. } => was_synced,
            SyncState::Solo { .. } => true,
            SyncState::Synced => self.chain.no_work != Some(NoWork::Syncing),
            SyncState::Syncing => false,
        }
    }

    pub fn job(&self) -> Option<&Job> {
        self.chain.job.as_deref()
    }

    /// Returns the target of the next share: the job's, else the tip's, else the easiest.
    pub fn share_bits(&self) -> Bits {
        let tip = || self.tree().tip().map(|tip| tip.share.info.share_bits);
        self.job().map(|job| job.info.share_bits).or_else(tip).unwrap_or(self.tree().params().easiest_bits)
    }

    /// Returns the age of the newest block template in seconds; `None` before the first.
    pub fn template_age_s(&self) -> Option<u32> {
        Some(self.now.since(self.metrics.template_time()?))
    }

    /// Estimates the hashes per second of the whole pool.
    pub fn pool_hashes_per_s(&self) -> f64 {
        hashes_per_s(self.tree(), self.now)
    }

    /// Returns the hashes per second of this node's miners.
    pub fn local_hashes_per_s(&self) -> f64 {
        self.miners.hashes_per_s()
    }

    /// Returns the expected seconds until the pool finds a block; `None` without a job or hash rate.
    pub fn block_time_s(&self) -> Option<f64> {
        let work = self.job()?.block_target.work()?.0 as f64;
        let rate = self.pool_hashes_per_s();
        (rate > 0.0).then(|| work / rate)
    }
}

/// Divides the work of the newest main-chain shares and their uncles by the time it took: one retarget window of shares,
/// and at most those of the last hour. The time extends to `now`, so the rate falls while no shares arrive.
fn hashes_per_s(tree: &Tree, now: UnixTime) -> f64 {
    let window = tree.params().retarget_window as usize;
    let earliest = now.minus(RATE_WINDOW_MAX_S);
    let (mut work, mut start) = (0.0, None);
    for (index, node) in tree.main_chain().iter().rev().enumerate() {
        let Some(entry) = tree.entry(&node.id) else { break };
        if node.share.time() < earliest {
            start = Some(earliest);
            break;
        }
        // The time that the oldest share took is unknown: measure from its timestamp, without its work.
        start = Some(node.share.time());
        if index + 1 == window || node.share.info.is_genesis() {
            break;
        }
        let has_parent = tree.contains(&node.share.info.parent);
        if has_parent {
            work += entry.work_with_uncles.0 as f64;
        }
    }
    start.map_or(0.0, |start| work / f64::from(now.since(start).max(1)))
}

/// Whether a share is also a Bitcoin block.
pub fn is_block(node: &LinkedShare) -> bool {
    let bits = Bits(node.share.header.bits.to_consensus());
    bits.target().is_ok_and(|target| target.is_met_by(&node.id.0))
}

/// Returns the difficulty of a compact target, 0 if it is invalid.
pub fn difficulty(bits: Bits) -> f64 {
    bits.target().map_or(0.0, |target| difficulty_of(&target))
}

/// Returns the difficulty of a target.
pub fn difficulty_of(target: &Target) -> f64 {
    Difficulty::of(target).get()
}

/// Parses a share id from 64 hexadecimal digits, last byte first.
pub fn parse_id(text: &str) -> Option<ShareId> {
    text.parse().ok().map(|hash: BlockHash| ShareId(hash.to_byte_array()))
}

#[cfg(test)]
mod tests;
