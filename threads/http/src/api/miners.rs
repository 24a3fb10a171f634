//! `/api/miners`: the miners of this node.

use p2pool_core::status::{MinerStatus, Rejections};
use p2pool_core::units::UnixTime;
use serde::Serialize;

use crate::snapshot::Snapshot;

/// All sessions of miners.
#[derive(Serialize)]
pub struct MinersDocument {
    time: u32,
    count: usize,
    hashrate: f64,
    miners: Vec<Miner>,
}

/// A session of a miner.
#[derive(Serialize)]
pub struct Miner {
    worker: String,
    user_agent: String,
    hashrate: f64,
    difficulty: f64,
    shares: u64,
    rejected: u64,
    rejected_by_reason: Rejections,
    best_difficulty: f64,
    last_share_time: Option<u32>,
    connected_secs: u32,
    coinbase_too_large: bool,
}

impl Miner {
    fn new(miner: &MinerStatus, now: UnixTime) -> Self {
        Self {
            worker: miner.worker.to_string(),
            user_agent: miner.user_agent.to_string(),
            hashrate: miner.hashes_per_s,
            difficulty: miner.difficulty,
            shares: miner.accepted,
            rejected: miner.rejected.total(),
            rejected_by_reason: miner.rejected,
            best_difficulty: miner.best_difficulty,
            last_share_time: miner.last_share.map(|time| time.0),
            connected_secs: now.since(miner.connected_since),
            coinbase_too_large: miner.coinbase_too_large,
        }
    }

    /// Lists the `count_max` miners with the highest hash rates.
    pub fn fastest(snapshot: &Snapshot, count_max: usize) -> Vec<Self> {
        let mut miners: Vec<&MinerStatus> = snapshot.miners.miners.iter().collect();
        miners.sort_by(|left, right| {
            right.hashes_per_s.total_cmp(&left.hashes_per_s).then_with(|| left.worker.cmp(&right.worker))
        });
        miners.into_iter().take(count_max).map(|miner| Self::new(miner, snapshot.now)).collect()
    }
}

impl MinersDocument {
    pub fn new(snapshot: &Snapshot) -> Self {
        Self {
            time: snapshot.miners.time.0,
            count: snapshot.miners.miners.len(),
            hashrate: snapshot.local_hashes_per_s(),
            miners: Miner::fastest(snapshot, usize::MAX),
        }
    }
}
