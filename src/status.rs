//! What threads publish for others to look at: counters and immutable snapshots. Nobody waits for anybody.

mod bitcoind;
mod blocks;
mod peers;

use std::sync::Arc;

pub use bitcoind::{BitcoindError, BitcoindStatus};
pub use blocks::{BlockFate, BlocksStatus, OwnBlock, OwnBlocksStatus, SubmitOutcome, WatchedBlocks};
pub use peers::{Direction, LooksBy, PeerStatus, PeersStatus};

use serde::Serialize;

use crate::sharechain::Tree;
use crate::sync::SyncState;
use crate::units::UnixTime;
use crate::work::Job;
use crate::work::NoWork;

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

/// One value for each reason to reject a submit: a count by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rejections<T = u64> {
    /// Error 20: not understood or not allowed.
    pub malformed: T,
    /// Error 20: too many submits, or the node is too busy to take them.
    pub busy: T,
    /// Error 21: the job is unknown or stale.
    pub stale: T,
    /// Error 22: submitted before.
    pub duplicate: T,
    /// Error 23: the hash does not meet the miner's difficulty.
    pub low_difficulty: T,
    /// Errors 24 and 25: sent before authorize or subscribe.
    pub unauthorised: T,
}

impl<T> Rejections<T> {
    /// Returns the values of all reasons.
    pub fn values(&self) -> [&T; 6] {
        let Self { malformed, busy, stale, duplicate, low_difficulty, unauthorised } = self;
        [malformed, busy, stale, duplicate, low_difficulty, unauthorised]
    }
}

impl Rejections {
    /// Returns the number of rejected submits, whatever the reason.
    pub fn total(&self) -> u64 {
        self.values().into_iter().sum()
    }
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
