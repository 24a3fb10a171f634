//! A job: everything needed to tell miners what to hash, and to judge and use what they send back.

use std::fmt;
use std::sync::Arc;

use bitcoin::BlockHash;

use super::notify::NotifyLines;
use super::submit::CoinbaseMidstate;
use super::Template;
use crate::share::coinbase::{Coinbase, Payout};
use crate::share::ShareInfo;
use crate::units::{Bits, BlockHeight, Target, UnixTime};

/// Names a job to miners; never used twice by one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// One piece of work, the same for every miner of this node: sessions differ in their extranonce only.
///
/// Made by [`make_job`](super::make_job).
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// The template, already trimmed: `coinbase_value` and `transactions` are what the block will have.
    pub template: Arc<Template>,
    /// The share's facts.
    pub info: ShareInfo,
    /// The coinbase, cut at the extranonce.
    pub coinbase: Coinbase,
    /// Who is paid, in output order.
    pub payouts: Arc<[Payout]>,
    /// Hashes that fold the coinbase up to the merkle root.
    pub merkle_branch: Vec<[u8; 32]>,
    /// Block version without rolled bits.
    pub version: i32,
    /// The block this one is built on.
    pub prev_block: BlockHash,
    /// Height of the block to be found.
    pub block_height: BlockHeight,
    /// Bitcoin's target as the header states it.
    pub bits: Bits,
    /// Bitcoin's target.
    pub block_target: Target,
    /// The share target.
    pub share_target: Target,
    /// The header time miners start from, from [`Self::min_time`] to [`Self::max_time`].
    pub time: UnixTime,
    /// Earliest header time that both Bitcoin and the sharechain allow.
    pub min_time: UnixTime,
    /// Latest header time with which [`Self::bits`] are right; only testnets have one.
    pub max_time: UnixTime,
    /// The hash of the coinbase up to the extranonce, not finished.
    pub(super) coinbase_midstate: CoinbaseMidstate,
    /// What miners are told.
    pub(super) notify: NotifyLines,
}
