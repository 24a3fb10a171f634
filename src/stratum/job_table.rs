//! The jobs that submits may refer to.
//!
//! A submit for a job on the current Bitcoin tip may become a share, or an uncle if the sharechain has moved on. Jobs on
//! other tips, and all jobs while work is withdrawn, are stale: submits for them get error 21. Blocks among them still go
//! to bitcoind, which decides which tip is the current one.

use std::collections::VecDeque;
use std::sync::Arc;

use super::difficulty::Difficulty;
use crate::work::{Job, JobId};

/// Number of jobs kept on the current tip. There is one every 30 s and with every share, so this covers some minutes; only
/// a miner that ignores new jobs submits older ones. Jobs share their templates.
const CURRENT_TIP_JOBS_MAX: usize = 64;
/// Number of jobs kept on other tips, for blocks found just before a new tip arrived.
const STALE_JOBS_MAX: usize = 8;

/// A job with its position in the sequence of jobs.
#[derive(Clone, Debug)]
pub struct AnnouncedJob {
    pub job: Arc<Job>,
    /// Counts jobs from 0.
    pub sequence: u64,
}

/// The job that miners work on.
#[derive(Clone, Debug)]
pub struct CurrentJob {
    pub job: Arc<Job>,
    /// Greatest difficulty with which miners submit every share and, on real networks, every block.
    pub ceiling: Difficulty,
}

/// The state of a job.
#[derive(Debug)]
pub enum JobLookup<'a> {
    /// On the current tip.
    Current(&'a AnnouncedJob),
    /// On another tip, or work is withdrawn.
    Stale(&'a AnnouncedJob),
    /// Never sent, or forgotten.
    Unknown,
}

/// The known jobs, oldest first.
#[derive(Debug, Default)]
pub struct JobTable {
    known: VecDeque<AnnouncedJob>,
    current: Option<CurrentJob>,
    next_sequence: u64,
}

impl JobTable {
    /// The job that miners work on; `None` before the first and while work is withdrawn.
    pub fn current(&self) -> Option<&CurrentJob> {
        self.current.as_ref()
    }

    /// The sequence number of the next job.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Whether the job is on another Bitcoin tip than the last one.
    pub fn is_new_tip(&self, job: &Job) -> bool {
        self.known.back().is_none_or(|last| last.job.template.prev_block != job.template.prev_block)
    }

    /// Sets the job that miners work on.
    pub fn announce(&mut self, current: CurrentJob) {
        let tip = current.job.template.prev_block;
        self.known.push_back(AnnouncedJob { job: Arc::clone(&current.job), sequence: self.next_sequence });
        self.next_sequence += 1;
        self.current = Some(current);
        self.forget(CURRENT_TIP_JOBS_MAX, |known| known.job.template.prev_block == tip);
        self.forget(STALE_JOBS_MAX, |known| known.job.template.prev_block != tip);
    }

    /// Withdraws the current job; there is no work until the next one.
    pub fn withdraw(&mut self) {
        self.current = None;
    }

    pub fn find(&self, id: JobId) -> JobLookup<'_> {
        match (self.known.iter().rev().find(|known| known.job.id == id), &self.current) {
            (Some(known), Some(current)) if known.job.template.prev_block == current.job.template.prev_block => {
                JobLookup::Current(known)
            }
            (Some(known), _) => JobLookup::Stale(known),
            (None, _) => JobLookup::Unknown,
        }
    }

    /// Drops the oldest of the jobs selected by `among` until at most `max` of them remain.
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
    fn jobs_are_current_on_the_current_tip_and_stale_on_others() {
        let mut table = JobTable::default();
        assert_eq!(state(&table, 0), '?');
        let new_tips: Vec<bool> =
            [(0, 1), (1, 1), (2, 2), (3, 2)].into_iter().map(|(id, tip)| announce(&mut table, id, tip)).collect();
        assert_eq!(new_tips, [true, false, true, false]);
        assert_eq!(states(&table, 0..5), "--++?");
        // Bitcoin's tip changes back: the jobs on it are current again.
        assert!(announce(&mut table, 4, 1));
        assert_eq!(states(&table, 0..5), "++--+");
    }

    #[test]
    fn all_jobs_are_stale_while_work_is_withdrawn() {
        let mut table = JobTable::default();
        announce(&mut table, 0, 1);
        table.withdraw();
        assert_eq!(state(&table, 0), '-');
        assert!(table.current().is_none());
        assert!(!announce(&mut table, 1, 1), "not a new tip");
        assert_eq!(states(&table, 0..2), "++");
    }

    #[test]
    fn the_number_of_jobs_is_bounded() {
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
