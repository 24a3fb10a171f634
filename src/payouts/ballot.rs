//! The votes in a payout window, by work (rules, sections 7 and 10).

use std::collections::BTreeMap;

use super::Vote;
use crate::params::OUTPUTS_CLASSES;
use crate::units::Work;

/// Sums of the shares' own work by what they vote for. Uncles have no vote.
#[derive(Clone, Debug, Default)]
pub struct Ballot {
    total: Work,
    outputs: [Work; OUTPUTS_CLASSES],
    /// None is zero.
    signals: BTreeMap<u8, Work>,
}

impl Ballot {
    /// All votes for the highest class and the newest version.
    pub fn unanimous() -> Self {
        let mut ballot = Self::default();
        ballot.add(&Vote { work: Work(1), signal: u8::MAX, outputs_class: OUTPUTS_CLASSES as u8 - 1 });
        ballot
    }

    /// Adds a share's vote.
    pub fn add(&mut self, vote: &Vote) {
        self.total.0 = self.total.0.saturating_add(vote.work.0);
        let signalled = self.signals.entry(vote.signal).or_default();
        signalled.0 = signalled.0.saturating_add(vote.work.0);
        if let Some(work) = self.outputs.get_mut(usize::from(vote.outputs_class)) {
            work.0 = work.0.saturating_add(vote.work.0);
        }
    }

    /// Undoes [`Self::add`].
    pub(super) fn subtract(&mut self, vote: &Vote) {
        self.total.0 = self.total.0.saturating_sub(vote.work.0);
        if let Some(signalled) = self.signals.get_mut(&vote.signal) {
            signalled.0 = signalled.0.saturating_sub(vote.work.0);
            if *signalled == Work::ZERO {
                self.signals.remove(&vote.signal);
            }
        }
        if let Some(work) = self.outputs.get_mut(usize::from(vote.outputs_class)) {
            work.0 = work.0.saturating_sub(vote.work.0);
        }
    }

    /// The work of all shares.
    pub const fn total(&self) -> Work {
        self.total
    }

    /// The work that votes for this class of payout outputs or a higher one.
    pub fn outputs_at_least(&self, class: u8) -> Work {
        sum(self.outputs.iter().skip(usize::from(class)))
    }

    /// The work whose finders know this version of the rules.
    pub fn signalling(&self, version: u8) -> Work {
        sum(self.signals.range(version..).map(|(_, work)| work))
    }

    /// The versions that some work signals, ascending; with each the work that signals it or a later one.
    pub fn signals(&self) -> impl Iterator<Item = (u8, Work)> + '_ {
        self.signals.keys().map(|version| (*version, self.signalling(*version)))
    }

    /// Whether `part` is at least `percent` per cent of all work. Nothing is a part of no work.
    pub fn is_at_least(&self, part: Work, percent: u8) -> bool {
        // Sums over a window have fewer than 2^122 units, so the products fit (see `WORK_BITS_MAX`).
        self.total > Work::ZERO && part.0.saturating_mul(100) >= self.total.0.saturating_mul(u128::from(percent))
    }
}

fn sum<'a>(works: impl Iterator<Item = &'a Work>) -> Work {
    Work(works.fold(0u128, |sum, work| sum.saturating_add(work.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(work: u128, signal: u8, outputs_class: u8) -> Vote {
        Vote { work: Work(work), signal, outputs_class }
    }

    #[test]
    fn votes_count_by_work_and_leave_no_trace() {
        let votes = [vote(5, 2, 0), vote(90, 2, 1), vote(4, 3, 3), vote(1, 4, 2)];
        let mut ballot = Ballot::default();
        votes.iter().for_each(|vote| ballot.add(vote));
        assert_eq!([0, 1, 2, 3, 4].map(|class| ballot.outputs_at_least(class).0), [100, 95, 5, 4, 0]);
        assert_eq!(
            ballot.signals().map(|(version, work)| (version, work.0)).collect::<Vec<_>>(),
            [(2, 100), (3, 5), (4, 1)]
        );
        assert_eq!([2, 3, 4, 5].map(|version| ballot.signalling(version).0), [100, 5, 1, 0]);
        assert!(ballot.is_at_least(ballot.outputs_at_least(1), 95));
        assert!(!ballot.is_at_least(Work(94), 95));
        votes.iter().for_each(|vote| ballot.subtract(vote));
        assert_eq!(ballot.total(), Work::ZERO);
        assert_eq!(ballot.signals.len(), 0);
        assert!(!ballot.is_at_least(Work::ZERO, 0), "an empty window decides nothing");
    }

    #[test]
    fn the_largest_works_do_not_overflow() {
        let most = (1u128 << crate::units::WORK_BITS_MAX) - 1;
        let mut ballot = Ballot::default();
        for _ in 0..8_640 {
            ballot.add(&vote(most, 2, 1));
        }
        assert_eq!(ballot.total().0, 8_640 * most);
        assert!(ballot.is_at_least(Work(8_640 * most / 100 * 80 + 100), 80));
        assert!(!ballot.is_at_least(Work(8_640 * most / 100 * 79), 80));
    }
}
