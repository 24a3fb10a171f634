//! The choice between chains: the one with more recent work, dated by anchors (rules, section 6).
//!
//! An anchor proves that a share is younger than its block; nothing else in a share proves its age.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tree::{LinkedShare, Tree};
use crate::payouts::Window;
use crate::share::ShareId;
use crate::units::{Bits, BlockHeight, ShareHeight, UnixTime, Work};

/// Binary digits that a share's work loses with each step of age: a sixteenth counts.
const BITS_PER_AGE_STEP: u32 = 4;

/// A branch off the main chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fork {
    /// Height of the main-chain share that it leaves; `None` if that is pruned, or if there is none.
    join: Option<ShareHeight>,
    /// The weight of its shares, up to the one that this belongs to.
    weight: u128,
}

/// Returns what a share's work counts, given Bitcoin's time and the share's date.
pub fn weight(work: Work, date: UnixTime, bitcoin_time: UnixTime, age_step_s: u32) -> u128 {
    let steps = bitcoin_time.since(date).checked_div(age_step_s).unwrap_or(0);
    steps.checked_mul(BITS_PER_AGE_STEP).and_then(|bits| work.0.checked_shr(bits)).unwrap_or(0)
}

impl Tree {
    /// The date of a share, of this tree or another one: the median time past of its anchor, or of the best chain's block at that
    /// height if that is earlier. Blocks beside the best chain can state any time where they cost little.
    fn date(&self, share: &LinkedShare) -> UnixTime {
        let anchor_height = BlockHeight(share.info().block_height.0.saturating_sub(1));
        let best = self.headers().latest_time_at(anchor_height);
        best.map_or(share.anchor_time, |best| best.min(share.anchor_time))
    }

    /// What shares count in the choice between chains, by Bitcoin's time of now. The shares of a base count nothing.
    fn weigher(&self) -> impl Fn(&LinkedShare) -> u128 + use<'_> {
        let (bitcoin_time, age_step_s) = (self.bitcoin_time(), self.params().age_step_s);
        move |share| match share.verified {
            true => weight(share.work, self.date(share), bitcoin_time, age_step_s),
            false => 0,
        }
    }

    /// The weight of the main chain above a height, or of all of it.
    fn weight_above(&self, height: Option<ShareHeight>) -> u128 {
        let is_above = |share: &&Arc<LinkedShare>| height.is_none_or(|height| share.info().share_height > height);
        let weigh = self.weigher();
        let above = self.main_chain().iter().rev().take_while(is_above);
        above.fold(0u128, |sum, share| sum.saturating_add(weigh(share)))
    }

    /// The weight of the verified shares of a main chain whose dates are not older than `oldest`.
    ///
    /// This tree's clock weighs both chains of a comparison: they may have learnt of Bitcoin's newest block one after the
    /// other.
    fn recent_work_of(&self, chain: &Self, oldest: UnixTime) -> u128 {
        let weigh = self.weigher();
        let verified = chain.main_chain().iter().rev().take_while(|share| share.verified);
        let counted = verified.filter(|share| self.date(share) >= oldest);
        counted.fold(0u128, |sum, share| sum.saturating_add(weigh(share)))
    }

    /// The time from which on a chain is verified: the date of its oldest verified share; the beginning of time for a chain that
    /// is verified from its genesis share on.
    fn verified_since(&self, chain: &Self) -> UnixTime {
        let oldest = chain.main_chain().iter().rev().take_while(|share| share.verified).last();
        oldest.filter(|share| !share.info().is_genesis()).map_or(UnixTime(0), |share| self.date(share))
    }

    /// The weight of all verified shares of the main chain.
    pub fn recent_work(&self) -> u128 {
        self.recent_work_of(self, UnixTime(0))
    }

    /// The branch that a share with this parent continues, or begins.
    fn fork_at(&self, parent: &ShareId) -> Option<Fork> {
        match self.get(parent) {
            // The oldest shares of a pruned chain have siblings.
            None => Some(Fork { join: None, weight: 0 }),
            Some(parent) if self.is_main(parent) => Some(Fork { join: Some(parent.info().share_height), weight: 0 }),
            Some(parent) => self.forks.get(&parent.id).copied(),
        }
    }

    /// The branch that a share off the main chain ends, given its parent.
    fn fork_of(&self, share: &LinkedShare) -> Option<Fork> {
        let below = self.fork_at(&share.info().parent)?;
        Some(Fork { weight: below.weight.saturating_add(self.weigher()(share)), ..below })
    }

    /// Notes the branch that a share off the main chain ends. Returns whether it is better than the main chain.
    pub(super) fn note_fork(&mut self, share: &LinkedShare) -> bool {
        let Some(fork) = self.fork_of(share) else { return false };
        self.forks.insert(share.id, fork);
        self.is_better(fork, share)
    }

    /// Whether the branch that ends with this share is better than the main chain.
    fn is_better(&self, fork: Fork, last: &LinkedShare) -> bool {
        let Some(tip) = self.tip() else { return true };
        (fork.weight, last.rank()) > (self.weight_above(fork.join), tip.rank())
    }

    /// Whether every share of the main chain above this one counts in full, so that chain work alone tells which of two
    /// branches from there is better.
    pub fn is_fresh_above(&self, share: &LinkedShare) -> bool {
        let tip_work = self.tip().map_or(Work::ZERO, |tip| tip.info().chain_work);
        let work = tip_work.0.saturating_sub(share.info().chain_work.0);
        self.weight_above(Some(share.info().share_height)) == work
    }

    /// Whether branches that leave the main chain at this share can be verified: the payout window that ends there is held.
    ///
    /// It is walked through: that it may be held is not enough after pruning, and a branch without its window is not fetched
    /// over and over.
    pub fn can_verify_above(&self, share: &LinkedShare) -> bool {
        let bits = Bits(share.share.header.bits.to_consensus());
        share.verified && Window::new(self.params()).move_to(share.id, bits, self).is_ok()
    }

    /// Computes all branches again, after the main chain or Bitcoin's time has changed.
    pub(super) fn refresh_forks(&mut self) {
        self.forks.clear();
        let mut side: Vec<Arc<LinkedShare>> = self.side_shares().cloned().collect();
        side.sort_unstable_by_key(|share| share.info().share_height);
        for share in side {
            if let Some(fork) = self.fork_of(&share) {
                self.forks.insert(share.id, fork);
            }
        }
    }

    /// The best share that is better than the tip, if there is one. Bitcoin's time changes what shares count.
    pub(super) fn better_tip(&self) -> Option<&LinkedShare> {
        let tip = self.tip()?;
        // The weight of the main chain up to each height, so that the cost is that of the main chain and its branches.
        let (weigh, mut sum) = (self.weigher(), 0u128);
        let up_to: BTreeMap<ShareHeight, u128> = self
            .main_chain()
            .iter()
            .map(|share| {
                sum = sum.saturating_add(weigh(share));
                (share.info().share_height, sum)
            })
            .collect();
        let total = |fork: &Fork| {
            let below = fork.join.and_then(|join| up_to.get(&join)).copied().unwrap_or(0);
            below.saturating_add(fork.weight)
        };
        let branches = self.forks.iter().filter_map(|(id, fork)| Some((self.get(id)?, total(fork))));
        let best = branches.max_by_key(|(share, total)| (*total, share.rank()));
        best.filter(|(share, total)| (*total, share.rank()) > (sum, tip.rank())).map(|(share, _)| share)
    }

    /// Whether `theirs`, all of whose shares were checked as far as possible, is better than this tree's chain: its
    /// verified shares weigh more. Of equal ones that with more chain work is better, so that a descendant beats its
    /// ancestor, and then the tip with the lower id. This orders all chains that are verified over the same time.
    ///
    /// Only the time counts for which both are verified. Otherwise a chain would win by having been followed for longer.
    pub fn loses_to(&self, theirs: &Self) -> bool {
        let (Some(our_tip), Some(their_tip)) = (self.tip(), theirs.tip()) else { return theirs.tip().is_some() };
        let oldest = self.verified_since(self).max(self.verified_since(theirs));
        let rank = |chain: &Self, tip: &LinkedShare| (self.recent_work_of(chain, oldest), tip.rank());
        rank(theirs, their_tip) > rank(self, our_tip)
    }

    /// Whether a whole payout window is verified, or everything from the genesis share on. No other chain is adopted.
    pub(super) fn is_verified(&self) -> bool {
        let window = self.params().payout_window as usize;
        let newest = self.main_chain().iter().rev().take(window);
        let verified: Vec<&Arc<LinkedShare>> = newest.take_while(|share| share.verified).collect();
        verified.len() == window || verified.last().is_some_and(|oldest| oldest.info().is_genesis())
    }
}

#[cfg(test)]
mod tests;
