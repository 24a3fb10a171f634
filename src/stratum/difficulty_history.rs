//! Which difficulty a session's jobs were handed out with.
//!
//! A job's difficulty is the last one announced before the job was, so a retarget never rejects
//! work that was honest when it was begun. Some firmware applies an announcement at once, to the job it
//! is at: so a lower difficulty announced later is accepted for older jobs too, and counts as what it is.

use std::collections::VecDeque;

use super::difficulty::Difficulty;
use crate::units::Target;

/// Changes that are remembered. Vardiff changes its mind every few jobs at most, a ceiling that moves does so with each:
/// then answers to a job older than this many count at the lowest difficulty the session had until then.
const CHANGES_MAX: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Change {
    /// The first job, by its place in the order of jobs, that was announced after it.
    from_job: u64,
    difficulty: Difficulty,
    target: Target,
}

/// The changes of one session's difficulty, oldest first.
#[derive(Debug, Default)]
pub struct DifficultyHistory {
    changes: VecDeque<Change>,
}

impl DifficultyHistory {
    /// The difficulty announced last.
    pub fn announced(&self) -> Option<Difficulty> {
        self.changes.back().map(|change| change.difficulty)
    }

    /// Notes an announcement; the first job announced after it is `from_job`.
    pub fn announce(&mut self, from_job: u64, difficulty: Difficulty) {
        if self.changes.len() == CHANGES_MAX {
            // The two oldest become one, in the miner's favour.
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

    /// The greatest difficulty in force for the job, or announced since, that the hash meets.
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
    fn a_job_keeps_the_difficulty_it_was_announced_with() {
        let history = history(&[(0, 1.0), (5, 1000.0)]);
        assert_eq!(history.credit(4, &hash(1.0)), Some(difficulty(1.0)));
        assert_eq!(history.credit(5, &hash(999.0)), None);
        assert_eq!(history.credit(5, &hash(1000.0)), Some(difficulty(1000.0)));
        assert_eq!(history.credit(4, &hash(0.9)), None);
        assert_eq!(DifficultyHistory::default().credit(0, &[0; 32]), None);
    }

    #[test]
    fn lower_announcements_hold_for_older_jobs_at_their_own_worth() {
        let history = history(&[(0, 1000.0), (5, 10.0)]);
        assert_eq!(history.credit(4, &hash(10.0)), Some(difficulty(10.0)));
        assert_eq!(history.credit(4, &hash(1000.0)), Some(difficulty(1000.0)));
        assert_eq!(history.credit(5, &hash(1000.0)), Some(difficulty(10.0)));
    }

    #[test]
    fn an_announcement_overtaken_before_any_job_is_honoured_too() {
        let history = history(&[(0, 1.0), (5, 8.0), (5, 4.0)]);
        assert_eq!(history.credit(5, &hash(4.0)), Some(difficulty(4.0)));
        assert_eq!(history.credit(7, &hash(3.9)), None);
        assert_eq!(history.announced(), Some(difficulty(4.0)));
    }

    #[test]
    fn forgetting_old_changes_rejects_nothing() {
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
