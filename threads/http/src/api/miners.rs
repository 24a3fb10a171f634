//! This node's miners.

use p2pool_core::status::{MinerStatus, Rejections};
use p2pool_core::units::UnixTime;
use serde::Serialize;

use crate::view::View;

/// The document.
#[derive(Serialize)]
pub struct MinersDocument {
    time: u32,
    count: usize,
    hashrate: f64,
    miners: Vec<Miner>,
}

/// One session.
#[derive(Serialize)]
pub struct Miner {
    worker: String,
    user_agent: String,
    hashrate: f64,
    difficulty: f64,
    shares: u64,
    rejected: u64,
    rejected_by_reason: Rejected,
    best_difficulty: f64,
    last_share_time: Option<u32>,
    connected_secs: u32,
    coinbase_too_large: bool,
}

#[derive(Serialize)]
struct Rejected {
    malformed: u64,
    busy: u64,
    stale: u64,
    duplicate: u64,
    low_difficulty: u64,
    unauthorised: u64,
}

impl From<Rejections> for Rejected {
    fn from(rejections: Rejections) -> Self {
        let Rejections { malformed, busy, stale, duplicate, low_difficulty, unauthorised } = rejections;
        Self { malformed, busy, stale, duplicate, low_difficulty, unauthorised }
    }
}

impl Rejected {
    const fn sum(&self) -> u64 {
        self.malformed + self.busy + self.stale + self.duplicate + self.low_difficulty + self.unauthorised
    }
}

impl Miner {
    fn new(miner: &MinerStatus, now: UnixTime) -> Self {
        let rejected = Rejected::from(miner.rejected);
        Self {
            worker: miner.worker.to_string(),
            user_agent: miner.user_agent.to_string(),
            hashrate: miner.hashes_per_s,
            difficulty: miner.difficulty,
            shares: miner.accepted,
            rejected: rejected.sum(),
            rejected_by_reason: rejected,
            best_difficulty: miner.best_difficulty,
            last_share_time: miner.last_share.map(|time| time.0),
            connected_secs: now.since(miner.connected_since),
            coinbase_too_large: miner.coinbase_too_large,
        }
    }

    /// The strongest miners, at most so many.
    pub fn strongest(view: &View, count_max: usize) -> Vec<Self> {
        let mut miners: Vec<&MinerStatus> = view.miners.miners.iter().collect();
        miners.sort_by(|left, right| {
            right.hashes_per_s.total_cmp(&left.hashes_per_s).then_with(|| left.worker.cmp(&right.worker))
        });
        miners.into_iter().take(count_max).map(|miner| Self::new(miner, view.now)).collect()
    }
}

impl MinersDocument {
    /// All of them.
    pub fn of(view: &View) -> Self {
        Self {
            time: view.miners.time.0,
            count: view.miners.miners.len(),
            hashrate: view.local_hashes_per_s(),
            miners: Miner::strongest(view, usize::MAX),
        }
    }
}
