//! What all sessions share, and what leaves the node because of them.

use std::sync::Arc;

use super::difficulty::Difficulty;
use super::extranonces::Extranonces;
use super::job_table::{CurrentJob, JobTable};
use super::limits::Limits;
use super::seen_hashes::SeenHashes;
use crate::metrics::Metrics;
use crate::params::{ChainParams, Network};
use crate::work::Job;
use crate::work::{FoundBlock, FoundShare, NoWork, WorkUpdate};

/// Blocks that are remembered as handed over. Real networks give one in ten minutes to all miners together.
const RECENT_BLOCKS_MAX: usize = 64;

/// The chain thread could not take a share: its inbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainBusy;

/// Where things go because of a miner. Called before the miner is answered.
pub trait SessionSink {
    /// Hands over a block, whatever happens; never fails.
    fn block(&mut self, block: FoundBlock);

    /// Hands over a share.
    ///
    /// # Errors
    /// If it cannot be taken now; the miner is told.
    fn share(&mut self, share: FoundShare) -> Result<(), ChainBusy>;

    /// Something an operator may want to read.
    fn news(&mut self, news: SessionEvent<'_>);
}

/// What operators may want to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEvent<'a> {
    /// A miner is ready to work.
    Authorised {
        /// Its name.
        worker: &'a str,
        /// Its firmware.
        user_agent: &'a str,
    },
    /// The present coinbase is larger than a miner's firmware is known to take.
    CoinbaseTooLarge {
        /// Its name.
        worker: &'a str,
        /// Its firmware.
        user_agent: &'a str,
        /// The coinbase's bytes without witness.
        len: usize,
        /// What the firmware takes.
        len_max: usize,
    },
}

/// What all sessions must hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fanout {
    /// There is another job.
    Job {
        /// Whether older work has become worthless.
        clean: bool,
    },
    /// There is none.
    NoWork(NoWork),
}

/// What all sessions share.
#[derive(Debug)]
pub struct SharedState {
    pub(super) limits: Limits,
    pub(super) start_difficulty: Difficulty,
    pub(super) jobs: JobTable,
    pub(super) seen: SeenHashes,
    pub(super) extranonces: Extranonces,
    pub(super) counters: Arc<Metrics>,
    /// Why there is no job, if a reason was given.
    pub(super) no_work: Option<NoWork>,
    recent_blocks: RecentBlocks,
    network: Network,
}

impl SharedState {
    /// No jobs, no sessions; extranonces are counted from `first_extranonce`, a number as random as can be had.
    pub fn new(
        params: &ChainParams,
        start_difficulty: Difficulty,
        limits: Limits,
        first_extranonce: u32,
        counters: Arc<Metrics>,
    ) -> Self {
        Self {
            limits,
            start_difficulty,
            jobs: JobTable::default(),
            seen: SeenHashes::new(),
            extranonces: Extranonces::new(first_extranonce),
            counters,
            no_work: None,
            recent_blocks: RecentBlocks::default(),
            network: params.network,
        }
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether the job makes older work worthless.
    pub fn is_new_tip(&self, job: &Job) -> bool {
        self.jobs.is_new_tip(job)
    }

    /// Takes in the newest message; each session must then be told what is returned.
    pub fn receive(&mut self, message: WorkUpdate) -> Fanout {
        match message {
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

    /// The greatest difficulty that keeps no share and, except on regtest, no block in the miner.
    ///
    /// On regtest nearly every hash is a block; to want them all would be to want a submit for every hash.
    fn ceiling(&self, job: &Job) -> Difficulty {
        match self.network {
            Network::Regtest => Difficulty::at_most(&job.share_target),
            _ => Difficulty::at_most(&job.share_target.max(job.block_target)),
        }
    }

    /// Notes a block as handed over; false if it was before.
    pub(super) fn remember_block(&mut self, hash: &[u8; 32]) -> bool {
        self.recent_blocks.insert(hash)
    }
}

/// The last blocks handed over, so that a miner repeating itself does not fill the queue.
#[derive(Debug, Default)]
struct RecentBlocks {
    hashes: Vec<[u8; 32]>,
    next: usize,
}

impl RecentBlocks {
    fn insert(&mut self, hash: &[u8; 32]) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_handed_over_once_and_memory_of_it_is_bounded() {
        let mut recent_blocks = RecentBlocks::default();
        let hash = |number: u8| [number; 32];
        for number in 0..200 {
            assert!(recent_blocks.insert(&hash(number)));
            assert!(!recent_blocks.insert(&hash(number)));
            assert!(!recent_blocks.insert(&hash(number.saturating_sub(60))));
        }
        assert_eq!(recent_blocks.hashes.len(), RECENT_BLOCKS_MAX);
    }
}
