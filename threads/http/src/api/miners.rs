//! `/api/v1/miners`: the miners of this node.

use p2pool_core::status::{MinerStatus, NoWorkStatus, Rejections};
use p2pool_core::stratum::NamedAddress;
use p2pool_core::units::UnixTime;
use p2pool_core::worker_roster::GoneWorker;
use serde::Serialize;

use crate::snapshot::Snapshot;

/// Most workers in the list: five for each session of a full node. With the longest names they take 5 MB of the 8 MiB that a
/// response may have.
const LISTED_MAX: usize = 5_000;

/// The workers of all sessions, and those that are gone.
#[derive(Serialize)]
pub struct MinersDocument {
    time: u32,
    count: usize,
    hashrate: f64,
    miners: Vec<Miner>,
    gone: Vec<Gone>,
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
    needs_attention: bool,
    silent_secs: Option<u32>,
    coinbase_too_large: bool,
    named_address: NamedAddress,
}

/// A worker that is no longer connected.
#[derive(Serialize)]
pub struct Gone {
    worker: String,
    user_agent: String,
    hashrate: f64,
    last_share_time: Option<u32>,
    last_seen_time: u32,
    gone_secs: u32,
    needs_attention: bool,
}

/// The absence of work.
#[derive(Serialize)]
pub struct NoWork {
    reason: &'static str,
    since: Option<u32>,
    refused: bool,
    disconnected: bool,
}

impl NoWork {
    pub fn new(status: &NoWorkStatus) -> Self {
        let since = Some(status.since.0).filter(|since| *since > 0);
        Self { reason: status.why.name(), since, refused: status.refuses, disconnected: status.closes }
    }
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
            needs_attention: miner.needs_attention(),
            silent_secs: miner.silent_s,
            coinbase_too_large: miner.coinbase_too_large,
            named_address: miner.named_address,
        }
    }

    /// Lists `count_max` miners: first those that need attention, the most work first, then the fastest.
    ///
    /// Anyone may connect and do nothing, so if there are too many, the first kind has half of the places at most.
    pub fn list(snapshot: &Snapshot, count_max: usize) -> Vec<Self> {
        let (mut troubled, mut others): (Vec<&MinerStatus>, Vec<&MinerStatus>) =
            snapshot.miners.miners.iter().partition(|miner| miner.needs_attention());
        troubled.sort_by(|left, right| {
            right.credited.total_cmp(&left.credited).then_with(|| left.worker.cmp(&right.worker))
        });
        others.sort_by(|left, right| {
            right.hashes_per_s.total_cmp(&left.hashes_per_s).then_with(|| left.worker.cmp(&right.worker))
        });
        let places = (count_max / 2).max(count_max.saturating_sub(others.len()));
        let listed = troubled.into_iter().take(places).chain(others).take(count_max);
        listed.map(|miner| Self::new(miner, snapshot.now)).collect()
    }
}

impl Gone {
    /// Lists `count_max` workers that are gone: first those that need attention, then those with the most work.
    pub fn list(snapshot: &Snapshot, count_max: usize) -> Vec<Self> {
        snapshot.gone.iter().take(count_max).map(Self::new).collect()
    }

    fn new(gone: &GoneWorker) -> Self {
        let GoneWorker { name, record, gone_s, is_problem } = gone;
        Self {
            worker: name.to_string(),
            user_agent: record.user_agent.to_string(),
            hashrate: record.hashes_per_s,
            last_share_time: record.last_share.map(|time| time.0),
            last_seen_time: record.last_seen.0,
            gone_secs: *gone_s,
            needs_attention: *is_problem,
        }
    }
}

/// Numbers of workers that need attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Troubled {
    /// Connected, but silent.
    pub silent: usize,
    /// Gone, and perhaps to be looked after.
    pub gone: usize,
    /// Gone for so long that they were probably retired, or after a short visit.
    pub retired: usize,
    /// With a user name that has an address which is not paid.
    pub unpaid_address: usize,
}

impl Troubled {
    pub fn count(snapshot: &Snapshot) -> Self {
        let miners = &snapshot.miners.miners;
        let gone = snapshot.gone.iter().filter(|gone| gone.is_problem).count();
        Self {
            silent: miners.iter().filter(|miner| miner.silent_s.is_some()).count(),
            gone,
            retired: snapshot.gone.len() - gone,
            unpaid_address: miners.iter().filter(|miner| miner.named_address.is_unpaid()).count(),
        }
    }
}

impl MinersDocument {
    pub fn new(snapshot: &Snapshot) -> Self {
        Self {
            time: snapshot.miners.time.0,
            count: snapshot.miners.miners.len(),
            hashrate: snapshot.local_hashes_per_s(),
            miners: Miner::list(snapshot, LISTED_MAX),
            gone: Gone::list(snapshot, LISTED_MAX),
        }
    }
}
