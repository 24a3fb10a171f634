//! The contribution of one share to the payout window.

use std::sync::Arc;

use crate::params::UNCLE_CREDIT;
use crate::share::{PayoutScript, ShareId};
use crate::units::Work;

/// Work credited to a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    pub script: PayoutScript,
    pub work: Work,
}

/// A share's contribution to the window. Computed once, when its uncles are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowEntry {
    pub id: ShareId,
    /// Zero for a genesis share.
    pub parent: ShareId,
    /// The credit of the share's own miner, which includes the nephew's part of its uncles' work, then one per uncle.
    pub credits: Arc<[Credit]>,
    /// The work of the share and of the uncles it names: the sum of the credits.
    pub work_with_uncles: Work,
    /// What the share votes for.
    pub vote: Vote,
}

/// What a share votes for with its own work (rules, sections 7 and 10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    pub work: Work,
    /// The newest version of the rules that the finder's software knows.
    pub signal: u8,
    /// The class of payout outputs.
    pub outputs_class: u8,
}

impl WindowEntry {
    /// Computes the contribution of a share from its script and vote, and the scripts and works of the uncles it names.
    ///
    /// An uncle's script is credited nine tenths of the uncle's work, rounded down, and the share's own script the
    /// rest. Sums saturate at `2^128 - 1`, which is out of reach for works below `2^WORK_BITS_MAX`.
    pub fn new(
        id: ShareId,
        parent: ShareId,
        own_script: PayoutScript,
        vote: Vote,
        uncles: impl Iterator<Item = (PayoutScript, Work)>,
    ) -> Self {
        let mut own = Credit { script: own_script, work: vote.work };
        let mut work_with_uncles = vote.work;
        let mut of_uncles = Vec::new();
        for (script, work) in uncles {
            let credit = uncle_credit(work);
            of_uncles.push(Credit { script, work: credit });
            own.work.0 = own.work.0.saturating_add(work.0.saturating_sub(credit.0));
            work_with_uncles.0 = work_with_uncles.0.saturating_add(work.0);
        }
        let credits = std::iter::once(own).chain(of_uncles).collect();
        Self { id, parent, credits, work_with_uncles, vote }
    }
}

/// The part of an uncle's work that is credited to its own miner, rounded down.
fn uncle_credit(work: Work) -> Work {
    let (part, whole) = (u128::from(UNCLE_CREDIT.0), u128::from(UNCLE_CREDIT.1));
    let (tenths, rest) = (work.0 / whole, work.0 % whole);
    // floor(work * part / whole) without overflow, since part <= whole.
    Work(tenths * part + rest * part / whole)
}

/// The share tree's interface for the window.
pub trait EntrySource {
    /// The contribution of a share; `None` if the tree lacks the share or one of its uncles.
    fn entry(&self, id: &ShareId) -> Option<&WindowEntry>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payouts::fixtures::{id, script};

    fn entry(own: u128, uncles: &[(u32, u128)]) -> WindowEntry {
        let uncles = uncles.iter().map(|(miner, work)| (script(*miner), Work(*work)));
        WindowEntry::new(id(2), id(1), script(0), Vote { work: Work(own), ..Vote::default() }, uncles)
    }

    fn works(entry: &WindowEntry) -> Vec<u128> {
        entry.credits.iter().map(|credit| credit.work.0).collect()
    }

    #[test]
    fn a_share_without_uncles_credits_its_own_work() {
        let entry = entry(7, &[]);
        assert_eq!(*entry.credits, [Credit { script: script(0), work: Work(7) }]);
        assert_eq!((entry.id, entry.parent, entry.work_with_uncles), (id(2), id(1), Work(7)));
    }

    #[test]
    fn each_uncle_credit_is_rounded_down_and_the_nephew_gets_the_remainders() {
        let entry = entry(100, &[(1, 19), (2, 10), (3, 1)]);
        // floor(17.1), 9 and floor(0.9); the nephew gets 2 + 1 + 1.
        assert_eq!(works(&entry), [104, 17, 9, 0]);
        assert_eq!(entry.work_with_uncles, Work(130));
        assert_eq!(entry.credits[1].script, script(1));
    }

    #[test]
    fn uncle_credit_is_nine_tenths_rounded_down() {
        for work in (0..2_000).chain([(1 << 108) - 1, (1 << 108) - 7]) {
            assert_eq!(uncle_credit(Work(work)), Work(work * 9 / 10));
        }
        assert_eq!(uncle_credit(Work(u128::MAX)), Work(u128::MAX / 10 * 9 + u128::MAX % 10 * 9 / 10));
    }

    #[test]
    fn credits_of_maximal_works_do_not_overflow() {
        let most = (1u128 << crate::units::WORK_BITS_MAX) - 1;
        let entry = entry(most, &[(1, most), (2, most), (3, most)]);
        assert_eq!(works(&entry).iter().sum::<u128>(), 4 * most);
        assert_eq!(entry.work_with_uncles, Work(4 * most));
    }
}
