//! The difficulties that a session's jobs were sent with.
//!
//! The difficulty of a job is the last one announced before the job, so a retarget never rejects work that was begun
//! earlier. Some firmware applies an announcement to its current job at once; therefore a lower difficulty that was
//! announced later is accepted for older jobs too, and credited as that difficulty.

use std::collections::VecDeque;

use super::difficulty::Difficulty;
use crate::units::Target;

/// Number of changes remembered. Vardiff changes the difficulty every few jobs at most, a moving ceiling with every job.
/// Submits for a job older than this many changes are credited at the lowest difficulty that the session had until then.
const CHANGES_MAX: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Change {
    /// Sequence number of the first job sent after this change.
    from_job: u64,
    difficulty: Difficulty,
    target: Target,
}

/// The changes of a session's difficulty, oldest first.
#[derive(Debug, Default)]
pub struct DifficultyHistory {
    changes: VecDeque<Change>,
}

impl DifficultyHistory {
    /// The last announced difficulty.
    pub fn announced(&self) -> Option<Difficulty> {
        self.changes.back().map(|change| change.difficulty)
    }

    /// Records an announcement; `from_job` is the sequence number of the next job.
    pub fn announce(&mut self, from_job: u64, difficulty: Difficulty) {
        if self.changes.len() == CHANGES_MAX {
            // Merge the two oldest in the miner's favour.
            let oldest = self.changes.pop_front();
            if let (Some(oldest), Some(next)) = (oldest, self.changes.front_mut()) {
                next.from_job = oldest.from_job;
                if oldest.difficulty < next.difficulty {
                    (next.difficulty, next.target) = (oldest.difficulty, oldest.target);
                }
            }
        }
        self.changes.push_back(Change { from_job, difficulty, target: difficulty.target() });
    }

    /// The greatest difficulty that the hash meets, among the job's own and those announced since.
    pub fn credit(&self, job: u64, hash: &[u8; 32]) -> Option<Difficulty> {
        let later = self.changes.iter().rev().take_while(|change| change.from_job > job).count();
        let bound = self.changes.len().saturating_sub(later + 1);
        self.changes
            .iter()
            .skip(bound)
            .filter(|change| change.target.is_met_by(hash))
            .map(|change| change.difficulty)
            .max_by(|one, other| one.get().total_cmp(&other.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difficulty(number: f64) -> Difficulty {
        Difficulty::new(number).unwrap()
    }

    /// A hash that just meets the difficulty.
    fn hash(number: f64) -> [u8; 32] {
        difficulty(number).target().0.to_le_bytes()
    }

    fn history(changes: &[(u64, f64)]) -> DifficultyHistory {
        let mut history = DifficultyHistory::default();
        for (from_job, number) in changes {
            history.announce(*from_job, difficulty(*number));
        }
        history
    }

    #[test]
    fn a_job_keeps_the_difficulty_it_was_sent_with() {
        let history = history(&[(0, 1.0), (5, 1000.0)]);
        assert_eq!(history.credit(4, &hash(1.0)), Some(difficulty(1.0)));
        assert_eq!(history.credit(5, &hash(999.0)), None);
        assert_eq!(history.credit(5, &hash(1000.0)), Some(difficulty(1000.0)));
        assert_eq!(history.credit(4, &hash(0.9)), None);
        assert_eq!(DifficultyHistory::default().credit(0, &[0; 32]), None);
    }

    #[test]
    fn lower_announcements_apply_to_older_jobs_too() {
        let history = history(&[(0, 1000.0), (5, 10.0)]);
        assert_eq!(history.credit(4, &hash(10.0)), Some(difficulty(10.0)));
        assert_eq!(history.credit(4, &hash(1000.0)), Some(difficulty(1000.0)));
        assert_eq!(history.credit(5, &hash(1000.0)), Some(difficulty(10.0)));
    }

    #[test]
    fn several_announcements_before_a_job_all_apply_to_it() {
        let history = history(&[(0, 1.0), (5, 8.0), (5, 4.0)]);
        assert_eq!(history.credit(5, &hash(4.0)), Some(difficulty(4.0)));
        assert_eq!(history.credit(7, &hash(3.9)), None);
        assert_eq!(history.announced(), Some(difficulty(4.0)));
    }

    #[test]
    fn merging_old_changes_rejects_no_honest_work() {
        let mut changes: Vec<(u64, f64)> = (0..100).map(|step| (step * 2, 1.0 + (step % 7) as f64)).collect();
        changes.push((1_000, 500.0));
        let history = history(&changes);
        assert_eq!(history.changes.len(), CHANGES_MAX);
        for (from_job, number) in changes {
            assert!(history.credit(from_job, &hash(number)).is_some(), "{from_job} {number}");
        }
        assert_eq!(history.credit(1_000, &hash(499.0)), None);
    }
}
