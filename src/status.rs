//! What threads publish for others to look at: counters and immutable snapshots. Nobody waits for anybody.

mod bitcoind;
mod blocks;
mod histogram;
mod peers;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

pub use bitcoind::{BitcoindProblem, BitcoindProblemKind, BitcoindStatus};
pub use blocks::{BlockFate, BlocksStatus, OwnBlock, OwnBlocksStatus, SubmitOutcome, WatchedBlocks};
pub use histogram::{LatencyHistogram, LatencySnapshot, LATENCY_BOUNDS_US};
pub use peers::{Direction, LooksBy, PeerStatus, PeersStatus};

use crate::sharechain::Tree;
use crate::sync::SyncState;
use crate::units::UnixTime;
use crate::work::Job;
use crate::work::NoWork;

/// A number that only grows, or a gauge that is overwritten; readers may be a moment behind.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// `more` more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Overwrites a gauge.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything counted, one field an event; each has one thread that writes it.
#[derive(Debug, Default)]
pub struct Counters {
    /// Answers of miners that met their difficulty (stratum).
    pub shares_accepted: Counter,
    /// Answers refused as malformed: error 20 (stratum).
    pub shares_rejected_malformed: Counter,
    /// Answers refused as stale: error 21 (stratum).
    pub shares_rejected_stale: Counter,
    /// Answers refused as known: error 22 (stratum).
    pub shares_rejected_duplicate: Counter,
    /// Answers refused as too easy: error 23 (stratum).
    pub shares_rejected_low_difficulty: Counter,
    /// Answers refused before authorize or subscribe: errors 24 and 25 (stratum).
    pub shares_rejected_unauthorised: Counter,
    /// Answers refused because there were too many, or the node could not take them: error 20 (stratum).
    pub shares_rejected_busy: Counter,
    /// Sessions open now (stratum; a gauge).
    pub sessions: Counter,
    /// Bytes from miners (stratum).
    pub stratum_bytes_in: Counter,
    /// Bytes for miners (stratum).
    pub stratum_bytes_out: Counter,
    /// Headers that met Bitcoin's target (stratum).
    pub blocks_found: Counter,
    /// What bitcoind said to blocks that this node's miners found (rpc/submit).
    pub own_blocks: SubmitCounters,
    /// What bitcoind said to blocks that other nodes found (rpc/submit).
    pub peers_blocks: SubmitCounters,
    /// Failed questions to bitcoind (rpc).
    pub rpc_errors: Counter,
    /// Unix time in seconds of the last template; 0: none yet (rpc/poll; a gauge).
    pub template_time_s: Counter,
    /// Templates taken from bitcoind (rpc/poll and rpc/anchor).
    pub templates: Counter,
    /// From a miner's bytes to the answer in its socket (stratum).
    pub submit_latency: LatencyHistogram,
    /// From a job's arrival to its last byte in the last miner's socket or queue (stratum).
    pub job_fanout: LatencyHistogram,
}

/// What bitcoind said to blocks.
#[derive(Debug, Default)]
pub struct SubmitCounters {
    /// Blocks that it took.
    pub accepted: Counter,
    /// Blocks that it refused.
    pub rejected: Counter,
    /// Attempts that did not reach it.
    pub failed: Counter,
}

impl Counters {
    /// Answers of miners that were refused, for whatever reason.
    pub fn shares_rejected(&self) -> u64 {
        [
            &self.shares_rejected_malformed,
            &self.shares_rejected_stale,
            &self.shares_rejected_duplicate,
            &self.shares_rejected_low_difficulty,
            &self.shares_rejected_unauthorised,
            &self.shares_rejected_busy,
        ]
        .iter()
        .fold(0, |sum, counter| sum.saturating_add(counter.get()))
    }
}

/// All miners of this node at one moment; the stratum thread makes a new one every few seconds.
#[derive(Clone, Debug, Default)]
pub struct MinersStatus {
    /// When it was made.
    pub time: UnixTime,
    /// Authorised sessions.
    pub miners: Vec<MinerStatus>,
}

/// One miner's session. Names are strangers' text: bounded, without control characters, otherwise as given.
#[derive(Clone, Debug)]
pub struct MinerStatus {
    /// The name it authorised with; empty if that has nothing to be seen.
    pub worker: Arc<str>,
    /// What its firmware calls itself.
    pub user_agent: Arc<str>,
    /// When it connected.
    pub connected_since: UnixTime,
    /// The difficulty it was last given; 0: none yet.
    pub difficulty: f64,
    /// Hashes per second over the last five to ten minutes, estimated from its shares.
    pub hashes_per_s: f64,
    /// Shares that met its difficulty.
    pub accepted: u64,
    /// Shares refused.
    pub rejected: Rejections,
    /// When the last share was accepted.
    pub last_share: Option<UnixTime>,
    /// Greatest difficulty among its accepted shares; 0: none yet.
    pub best_difficulty: f64,
    /// Whether the present coinbase is larger than its firmware is known to take.
    pub coinbase_too_large: bool,
}

/// Refused shares by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejections {
    /// Error 20: not understood or not allowed.
    pub malformed: u64,
    /// Error 20: too many, or the node could not take them.
    pub busy: u64,
    /// Error 21: of a job that is gone.
    pub stale: u64,
    /// Error 22: seen before.
    pub duplicate: u64,
    /// Error 23: too easy.
    pub low_difficulty: u64,
    /// Errors 24 and 25: before authorize or subscribe.
    pub unauthorised: u64,
}

/// The sharechain as it was at one moment; the chain thread makes a new one with every change, at most every two
/// seconds where it changes faster.
#[derive(Clone)]
pub struct ChainStatus {
    /// All shares held: look, and compute payouts with a window of your own.
    pub tree: Arc<Tree>,
    /// What miners work on; none while there is no work.
    pub job: Option<Arc<Job>>,
    /// Shares that wait for something, and shares on branches not looked at.
    pub waiting: (usize, usize),
    /// Whether shares wait in memory because the disk refuses them.
    pub unsaved: bool,
    /// Why there is no job; none while there is one, and before the first template.
    pub no_work: Option<NoWork>,
    /// Whether this node is level with the others.
    pub sync: SyncState,
    /// How far the fetch of a chain from peers is; none while there is nothing to fetch.
    pub syncing: Option<SyncProgress>,
    /// Seconds that the peers' clocks, by their median, are ahead of this machine's; none while none is known.
    pub clock_ahead_s: Option<i64>,
}

impl ChainStatus {
    /// Of a sharechain about which nothing else is known yet.
    pub fn new(tree: Arc<Tree>, sync: SyncState) -> Self {
        Self {
            tree,
            job: None,
            waiting: (0, 0),
            unsaved: false,
            no_work: None,
            sync,
            syncing: None,
            clock_ahead_s: None,
        }
    }
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncProgress {
    /// Shares fetched.
    pub have: u64,
    /// Shares to fetch in all.
    pub want: u64,
}
