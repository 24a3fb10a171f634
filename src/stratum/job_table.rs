//! The jobs that miners may still answer.
//!
//! Jobs of the present Bitcoin tip are good: an answer may become a share, an uncle if the sharechain moved on
//! meanwhile. Jobs of another tip, or all while work is withdrawn, are stale: their answers get error 21, but
//! a block among them is still handed to bitcoind, which alone decides which tip is the present one.

use std::collections::VecDeque;
use std::sync::Arc;

use super::difficulty::Difficulty;
use crate::work::{Job, JobId};

/// Jobs of the present tip that are kept. They come every 30 s and with every share, so this is some
/// minutes; older answers are from a miner that is not listening. Templates are shared between jobs.
const CURRENT_TIP_JOBS_MAX: usize = 64;
/// Jobs of other tips that are kept, for blocks found just before the news arrived.
const STALE_JOBS_MAX: usize = 8;

/// A job with its place in the order in which jobs were announced.
#[derive(Clone, Debug)]
pub struct AnnouncedJob {
    /// The job.
    pub job: Arc<Job>,
    /// Counts announced jobs from 0.
    pub sequence: u64,
}

/// The job miners work at.
#[derive(Clone, Debug)]
pub struct CurrentJob {
    /// The job.
    pub job: Arc<Job>,
    /// Greatest difficulty that still lets every share, and on real networks every block, through.
    pub ceiling: Difficulty,
}

/// What became of a job id.
#[derive(Debug)]
pub enum JobLookup<'a> {
    /// Of the present tip.
    Current(&'a AnnouncedJob),
    /// Of another tip, or work is withdrawn.
    Stale(&'a AnnouncedJob),
    /// Never announced, or forgotten.
    Unknown,
}

/// All jobs still known, oldest first.
#[derive(Debug, Default)]
pub struct JobTable {
    known: VecDeque<AnnouncedJob>,
    current: Option<CurrentJob>,
    next_sequence: u64,
}

impl JobTable {
    /// The job miners work at; `None` before the first and while work is withdrawn.
    pub fn current(&self) -> Option<&CurrentJob> {
        self.current.as_ref()
    }

    /// The place that the next job will have.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Whether the job builds on another Bitcoin block than the last one announced.
    pub fn is_new_tip(&self, job: &Job) -> bool {
        self.known.back().is_none_or(|last| last.job.prev_block != job.prev_block)
    }

    /// Makes this the job that miners work at.
    pub fn announce(&mut self, current: CurrentJob) {
        let tip = current.job.prev_block;
        self.known.push_back(AnnouncedJob { job: Arc::clone(&current.job), sequence: self.next_sequence });
        self.next_sequence += 1;
        self.current = Some(current);
        self.forget(CURRENT_TIP_JOBS_MAX, |known| known.job.prev_block == tip);
        self.forget(STALE_JOBS_MAX, |known| known.job.prev_block != tip);
    }

    /// Nothing is worth mining until the next job.
    pub fn withdraw(&mut self) {
        self.current = None;
    }

    /// Looks up a job id.
    pub fn find(&self, id: JobId) -> JobLookup<'_> {
        match (self.known.iter().rev().find(|known| known.job.id == id), &self.current) {
            (Some(known), Some(current)) if known.job.prev_block == current.job.prev_block => JobLookup::Current(known),
            (Some(known), _) => JobLookup::Stale(known),
            (None, _) => JobLookup::Unknown,
        }
    }

    /// Drops the oldest of the jobs that `among` picks while there are more than `max`.
    fn forget(&mut self, max: usize, among: impl Fn(&AnnouncedJob) -> bool) {
        while self.known.iter().filter(|known| among(known)).count() > max {
            let oldest = self.known.iter().position(&among);
            oldest.and_then(|oldest| self.known.remove(oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stratum::fixtures::job_on;

    fn announce(table: &mut JobTable, id: u64, tip: u8) -> bool {
        let job = Arc::new(job_on(id, tip));
        let is_new_tip = table.is_new_tip(&job);
        table.announce(CurrentJob { job, ceiling: Difficulty::FLOOR });
        is_new_tip
    }

    fn state(table: &JobTable, id: u64) -> char {
        match table.find(JobId(id)) {
            JobLookup::Current(known) => {
                assert_eq!(known.job.id, JobId(id));
                '+'
            }
            JobLookup::Stale(_) => '-',
            JobLookup::Unknown => '?',
        }
    }

    fn states(table: &JobTable, ids: std::ops::Range<u64>) -> String {
        ids.map(|id| state(table, id)).collect()
    }

    #[test]
    fn jobs_of_the_present_tip_stay_good_and_others_become_stale() {
        let mut table = JobTable::default();
        assert_eq!(state(&table, 0), '?');
        let new_tips: Vec<bool> =
            [(0, 1), (1, 1), (2, 2), (3, 2)].into_iter().map(|(id, tip)| announce(&mut table, id, tip)).collect();
        assert_eq!(new_tips, [true, false, true, false]);
        assert_eq!(states(&table, 0..5), "--++?");
        // Bitcoin's tip goes back: the first block's jobs are good again.
        assert!(announce(&mut table, 4, 1));
        assert_eq!(states(&table, 0..5), "++--+");
    }

    #[test]
    fn withdrawn_work_is_stale_until_the_next_job() {
        let mut table = JobTable::default();
        announce(&mut table, 0, 1);
        table.withdraw();
        assert_eq!(state(&table, 0), '-');
        assert!(table.current().is_none());
        assert!(!announce(&mut table, 1, 1), "miners kept what they had");
        assert_eq!(states(&table, 0..2), "++");
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = JobTable::default();
        for id in 0..100 {
            announce(&mut table, id, 1);
        }
        assert_eq!(states(&table, 35..37), "?+");
        for id in 100..200 {
            announce(&mut table, id, 2);
        }
        assert_eq!(states(&table, 91..93), "?-");
        assert_eq!(states(&table, 135..137), "?+");
        assert_eq!(table.known.len(), CURRENT_TIP_JOBS_MAX + STALE_JOBS_MAX);
        assert_eq!(table.next_sequence(), 200);
    }
}
