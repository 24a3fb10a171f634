//! The status that threads publish as immutable snapshots. Reading a snapshot never blocks its writer.

mod bitcoind;
mod blocks;
mod clock;
mod peers;
mod submission;

use std::sync::Arc;

pub use bitcoind::{BitcoindError, BitcoindStatus};
pub use blocks::{BlockStatus, BlocksStatus, OwnBlock, OwnBlocksStatus, SubmitOutcome, TrackedBlocks};
pub use clock::{ClockFault, ClockStatus, ClockWitness};
pub use peers::{
    BanKind, BanStatus, Direction, DuplicateIdentity, PeerDiscovery, PeerStatus, PeersStatus, ReachStatus,
    Reachability, Route,
};
pub use submission::SubmissionStatus;

use serde::Serialize;

use crate::params::RULES_VERSION_FIRST;
use crate::sharechain::Tree;
use crate::stratum::NamedAddress;
use crate::sync::{Progress, SyncState};
use crate::units::UnixTime;
use crate::work::{Job, NoWork};

/// Snapshot of all miners of this node, made by the stratum thread every few seconds.
#[derive(Clone, Debug, Default)]
pub struct MinersStatus {
    /// When it was made.
    pub time: UnixTime,
    /// The workers of authorised sessions.
    pub miners: Vec<MinerStatus>,
    /// The firmware that did the work of the last day, most first.
    pub firmware: Vec<FirmwareStatus>,
    /// `None` while there is work.
    pub no_work: Option<NoWorkStatus>,
    /// When a miner was refused because of a limit last, with the limit.
    pub limit_reached: Option<(UnixTime, String)>,
}

impl MinersStatus {
    /// Returns the hashes per second of all workers.
    pub fn hashes_per_s(&self) -> f64 {
        // Not `sum`: an empty one is -0.
        let rates = self.miners.iter().map(|miner| miner.hashes_per_s).filter(|rate| rate.is_finite());
        rates.fold(0.0, std::ops::Add::add)
    }
}

/// The absence of work for miners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoWorkStatus {
    pub why: NoWork,
    /// When there was valid work last, or when this node started; 0 in the first second.
    pub since: UnixTime,
    /// Whether new connections of miners are refused.
    pub refuses: bool,
    /// Whether sessions are closed too.
    pub closes: bool,
}

/// The part of a firmware in the work of this node's miners.
#[derive(Clone, Debug, PartialEq)]
pub struct FirmwareStatus {
    /// Its name in the table of known firmware.
    pub name: &'static str,
    /// The greatest class of payout outputs that it bears.
    pub outputs_class: u8,
    /// Per cent of the work, greater than 0.
    pub work_percent: f64,
}

/// A session of a miner. Its names are untrusted, but bounded and without control characters.
#[derive(Clone, Debug)]
pub struct MinerStatus {
    /// Worker name; empty if it has no visible characters.
    pub worker: Arc<str>,
    /// User agent of its firmware.
    pub user_agent: Arc<str>,
    /// When it connected.
    pub connected_since: UnixTime,
    /// Current difficulty; 0 before the first.
    pub difficulty: f64,
    /// Hashes per second over the last five to ten minutes, estimated from its shares.
    pub hashes_per_s: f64,
    pub accepted: u64,
    /// Rejected submits by reason.
    pub rejected: Rejections,
    /// Time of the last accepted submit.
    pub last_share: Option<UnixTime>,
    /// Highest difficulty of an accepted submit; 0 before the first.
    pub best_difficulty: f64,
    /// Sum of the difficulties of its accepted submits.
    pub credited: f64,
    /// For how many seconds it has found nothing, if chance does not explain it.
    pub silent_s: Option<u32>,
    /// The address that its name begins with.
    pub named_address: NamedAddress,
    /// Whether the current coinbase is larger than its firmware is known to support.
    pub coinbase_too_large: bool,
}

impl MinerStatus {
    /// Whether the operator should look after it.
    pub fn needs_attention(&self) -> bool {
        self.silent_s.is_some() || self.coinbase_too_large || self.named_address.is_unpaid()
    }
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

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> [&mut T; 6] {
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

/// Snapshot of the sharechain and the current job, made by the chain thread after each change, and at most every two
/// seconds.
#[derive(Clone)]
pub struct ChainStatus {
    pub tree: Arc<Tree>,
    /// The current job of the miners, if any.
    pub job: Option<Arc<Job>>,
    /// Number of shares that wait for a parent, their time or bitcoind.
    pub deferred: usize,
    /// Number of shares of branches that do not claim enough work to be verified yet.
    pub unverified: usize,
    /// Whether shares wait in memory because they cannot be stored.
    pub unsaved: bool,
    /// Why there is no job; `None` while there is one.
    pub no_work: Option<NoWork>,
    pub rules: RulesStatus,
    /// The class of payout outputs that this node's next job votes for.
    pub outputs_vote: u8,
    /// Whether this node is synced with its peers.
    pub sync: SyncState,
    /// Progress of the download of a sharechain; `None` while there is none.
    pub syncing: Option<Progress>,
    /// How this machine's clock compares with others.
    pub clock: ClockStatus,
}

/// The versions of the rules (rules, section 10).
#[derive(Clone, Debug, PartialEq)]
pub struct RulesStatus {
    /// The newest version that this software knows.
    pub known: u8,
    /// The version that the pool follows, if this software does not know it: its miners have no work.
    pub needed: Option<u8>,
    /// The versions after the first that finders of shares in the payout window at the tip know, ascending; with each the per
    /// cent of the work whose finders know it or a later one.
    pub signals: Vec<(u8, f64)>,
}

impl Default for RulesStatus {
    fn default() -> Self {
        Self { known: RULES_VERSION_FIRST, needed: None, signals: Vec::new() }
    }
}

impl ChainStatus {
    /// Makes a status with nothing known but the shares and the sync state.
    pub fn new(tree: Arc<Tree>, sync: SyncState) -> Self {
        Self {
            tree,
            job: None,
            deferred: 0,
            unverified: 0,
            unsaved: false,
            no_work: None,
            rules: RulesStatus::default(),
            outputs_vote: 0,
            sync,
            syncing: None,
            clock: ClockStatus::default(),
        }
    }
}
