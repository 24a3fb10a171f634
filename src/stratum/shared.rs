//! The state that all sessions share.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::difficulty::Difficulty;
use super::extranonces::Extranonces;
use super::firmware_work::FirmwareWork;
use super::job_table::{CurrentJob, JobTable};
use super::limits::Limits;
use super::seen_hashes::SeenHashes;
use super::user_agents::FirmwareId;
use crate::metrics::Metrics;
use crate::params::{ChainParams, Network};
use crate::work::{Job, NoWork, WorkUpdate};

/// Number of recent blocks whose hashes are remembered. On real networks all miners together find one in ten minutes.
const RECENT_BLOCKS_MAX: usize = 64;

/// A change of work that every session must be notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fanout {
    /// There is a new job; `clean` makes older work stale.
    Job { clean: bool },
    /// There is no job.
    NoWork(NoWork),
}

/// The state that all sessions share.
#[derive(Debug)]
pub struct SharedState {
    pub limits: Limits,
    pub(super) start_difficulty: Difficulty,
    pub jobs: JobTable,
    pub(super) seen: SeenHashes,
    pub(super) extranonces: Extranonces,
    pub(super) metrics: Arc<Metrics>,
    /// Why there is no job, if a reason is known.
    pub(super) no_work: Option<NoWork>,
    pub(super) recent_blocks: RecentBlocks,
    /// The work of the last day by firmware.
    pub firmware_work: FirmwareWork,
    pub(super) coinbase_warnings: CoinbaseWarnings,
    network: Network,
}

impl SharedState {
    /// Starts without jobs and sessions. Extranonces are counted from `first_extranonce`, which should be random.
    pub fn new(
        params: &ChainParams,
        start_difficulty: Difficulty,
        limits: Limits,
        first_extranonce: u32,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            limits,
            start_difficulty,
            jobs: JobTable::default(),
            seen: SeenHashes::new(),
            extranonces: Extranonces::new(first_extranonce),
            metrics,
            no_work: None,
            recent_blocks: RecentBlocks::default(),
            firmware_work: FirmwareWork::new(params),
            coinbase_warnings: CoinbaseWarnings::default(),
            network: params.network,
        }
    }

    /// Processes new work; every session must then be stepped with the returned change.
    pub fn update(&mut self, update: WorkUpdate) -> Fanout {
        match update {
            WorkUpdate::Job(job) => {
                let clean = self.jobs.is_new_tip(&job);
                let ceiling = self.ceiling(&job);
                self.jobs.announce(CurrentJob { job, ceiling });
                self.no_work = None;
                Fanout::Job { clean }
            }
            WorkUpdate::NoWork(why) => {
                self.jobs.withdraw();
                self.no_work = Some(why);
                Fanout::NoWork(why)
            }
        }
    }

    /// The greatest difficulty with which miners submit every share and, except on regtest, every block.
    ///
    /// On regtest nearly every hash is a block, so receiving all blocks would need a submit for every hash.
    fn ceiling(&self, job: &Job) -> Difficulty {
        match self.network {
            Network::Regtest => Difficulty::at_most(&job.share_target),
            _ => Difficulty::at_most(&job.share_target.max(job.block_target)),
        }
    }
}

/// The hashes of recent blocks, so that a miner that repeats a submit does not fill the submit queue.
#[derive(Debug, Default)]
pub(super) struct RecentBlocks {
    hashes: Vec<[u8; 32]>,
    next: usize,
}

impl RecentBlocks {
    /// Remembers the hash of a block; false if it is a recent one.
    pub(super) fn insert(&mut self, hash: &[u8; 32]) -> bool {
        if self.hashes.contains(hash) {
            return false;
        }
        match self.hashes.get_mut(self.next) {
            Some(oldest) => *oldest = *hash,
            None => self.hashes.push(*hash),
        }
        self.next = (self.next + 1) % RECENT_BLOCKS_MAX;
        true
    }
}

/// The firmware whose coinbase limit was reported as exceeded, with the class of payout outputs in force then.
#[derive(Debug, Default)]
pub(super) struct CoinbaseWarnings(BTreeMap<FirmwareId, u8>);

impl CoinbaseWarnings {
    /// Whether to report a firmware: once under each class.
    pub(super) fn is_due(&mut self, firmware: FirmwareId, outputs_class: u8) -> bool {
        self.0.insert(firmware, outputs_class) != Some(outputs_class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recent_block_is_known_and_their_number_is_bounded() {
        let mut recent = RecentBlocks::default();
        let hash = |number: u8| [number; 32];
        for number in 0..200 {
            assert!(recent.insert(&hash(number)));
            assert!(!recent.insert(&hash(number)));
            assert!(!recent.insert(&hash(number.saturating_sub(60))));
        }
        assert_eq!(recent.hashes.len(), RECENT_BLOCKS_MAX);
    }
}
