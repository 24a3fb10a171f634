//! The job: everything needed to notify miners and to evaluate their submits.

use std::fmt;
use std::sync::Arc;

use super::notify::NotifyLine;
use super::submit::CoinbaseMidstate;
use super::Template;
use crate::share::coinbase::{Coinbase, Payout};
use crate::share::ShareInfo;
use crate::units::{Target, UnixTime};

/// Identifies a job to miners; unique within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A unit of work, common to all miners of this node; sessions differ only in their extranonce.
///
/// Created by [`make_job`](super::make_job).
#[derive(Clone, Debug)]
pub struct Job {
    pub id: JobId,
    /// The trimmed template: its fields are those of the block, `version` without rolled bits.
    pub template: Arc<Template>,
    /// The facts that the share commits to.
    pub info: ShareInfo,
    /// The coinbase, split at the extranonce.
    pub coinbase: Coinbase,
    /// The payouts in output order.
    pub payouts: Arc<[Payout]>,
    /// Merkle branch from the coinbase to the merkle root.
    pub merkle_branch: Vec<[u8; 32]>,
    pub block_target: Target,
    pub share_target: Target,
    /// The header time in `mining.notify`, between [`Self::min_time`] and [`Self::max_time`].
    pub time: UnixTime,
    /// Earliest header time that Bitcoin and the sharechain allow.
    pub min_time: UnixTime,
    /// Latest header time for which the template's bits are right; only bounded on testnets.
    pub max_time: UnixTime,
    pub(super) coinbase_midstate: CoinbaseMidstate,
    pub(super) notify: NotifyLine,
}
