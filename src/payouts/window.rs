//! The payout window, kept up to date share by share.

#![deny(clippy::float_arithmetic, clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, HashSet, VecDeque};

use thiserror::Error;

use super::list::payout_list_of_sums;
use super::{EntrySource, WindowEntry};
use crate::params::ChainParams;
use crate::share::coinbase::Payout;
use crate::share::{PayoutScript, ShareId};
use crate::units::{Bits, Sats, Work, U256};

/// Why the window cannot end at a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WindowError {
    /// The window reaches this share, and it or one of its uncles is not held.
    #[error("share {0} or one of its uncles belongs to the payout window and is not held")]
    MissingShare(ShareId),
    /// The target whose work cuts the window is none that a block can have.
    #[error("bits {0} cannot cut the payout window: not a canonical target of less than 2^108 hashes")]
    Bits(Bits),
    /// The work up to this share exceeds 128 bits, which no valid shares can claim.
    #[error("work of the payout window exceeds 128 bits at share {0}")]
    WorkOverflow(ShareId),
}

/// The last shares of a chain and the work each script has in them (rules, section 7).
///
/// Entries are taken as they were when the window first reached them. If what is known of a share changes, as when
/// unverified history is thrown away, [`Window::clear`] makes the next move read everything again.
#[derive(Clone, Debug)]
pub struct Window {
    params: ChainParams,
    /// The shares, oldest first, each the parent of the next.
    entries: VecDeque<WindowEntry>,
    /// The ids of `entries`.
    ids: HashSet<ShareId>,
    /// Summed credits, none of them zero.
    works: BTreeMap<PayoutScript, Work>,
    /// Sum of all work in `entries`, uncles included.
    total: Work,
}

/// Extent of a window that is being measured.
#[derive(Clone, Copy)]
struct Extent {
    shares: usize,
    work: Work,
}

/// What must change to end the window elsewhere; it is complete before anything is changed.
struct Plan<'a> {
    /// How many of the newest shares leave.
    undone: usize,
    /// Shares that join at the old end, nearest first.
    older: Vec<&'a WindowEntry>,
    /// Shares that join at the new end, newest first.
    newer: Vec<&'a WindowEntry>,
}

impl Window {
    /// An empty window: the one of a genesis share.
    pub fn new(params: &ChainParams) -> Self {
        Self {
            params: params.clone(),
            entries: VecDeque::new(),
            ids: HashSet::new(),
            works: BTreeMap::new(),
            total: Work::ZERO,
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.ids.clear();
        self.works.clear();
        self.total = Work::ZERO;
    }

    /// Moves to the window that ends at `parent`, for a share whose header states `bits`.
    ///
    /// The cost is that of the shares that join or leave, those of the old and the new branch up to their common
    /// ancestor and those at the old end; entries that stay are not asked of `source` again.
    ///
    /// # Errors
    /// The window stays as it was if a share it would reach is missing from `source` or if `bits`, which matter
    /// where the window is cut by work, are no target.
    pub fn move_to(&mut self, parent: ShareId, bits: Bits, source: &impl EntrySource) -> Result<(), WindowError> {
        let cut = self.work_cut(bits)?;
        let plan = self.plan(parent, cut, source)?;
        self.follow(plan);
        self.trim(cut);
        Ok(())
    }

    /// Whether so many shares of so much work, uncles included, are a whole window for a share whose header states `bits`.
    pub fn is_enough(&self, shares: usize, work: Work, bits: Bits) -> bool {
        self.work_cut(bits).is_ok_and(|cut| self.is_complete(Extent { shares, work }, cut))
    }

    /// The outputs of a coinbase worth `value` of a share by `finder` whose parent is the newest share.
    pub fn payouts(&self, value: Sats, finder: PayoutScript) -> Vec<Payout> {
        let sums = self.works.iter().map(|(script, work)| (*script, U256::from(work.0)));
        let parent = self.newest().unwrap_or(ShareId::ZERO);
        payout_list_of_sums(&self.params, sums, U256::from(self.total.0), value, finder, parent)
    }

    /// Summed work, uncles included.
    pub fn total_work(&self) -> Work {
        self.total
    }

    /// Number of shares, uncles not counted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether this is the window of a genesis share.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Each credited script once, ascending, with its work, which is not zero.
    pub fn credits(&self) -> impl Iterator<Item = (PayoutScript, Work)> + '_ {
        self.works.iter().map(|(script, work)| (*script, *work))
    }

    /// The share furthest back.
    pub fn oldest(&self) -> Option<ShareId> {
        self.entries.front().map(|entry| entry.id)
    }

    /// The share the window ends at: the parent of the share that pays.
    pub fn newest(&self) -> Option<ShareId> {
        self.entries.back().map(|entry| entry.id)
    }

    /// Work at which the window is complete; `None` where only the number of shares counts.
    fn work_cut(&self, bits: Bits) -> Result<Option<Work>, WindowError> {
        if self.params.work_cut_blocks == 0 {
            return Ok(None);
        }
        let block = bits.target().ok().and_then(|target| target.work()).ok_or(WindowError::Bits(bits))?;
        Ok(block.0.checked_mul(u128::from(self.params.work_cut_blocks)).map(Work))
    }

    /// Whether a window of this extent reaches no further back.
    fn is_complete(&self, extent: Extent, cut: Option<Work>) -> bool {
        extent.shares >= self.shares_max() || cut.is_some_and(|cut| extent.work >= cut)
    }

    fn shares_max(&self) -> usize {
        usize::try_from(self.params.payout_window).unwrap_or(usize::MAX)
    }

    fn plan<'a>(
        &self,
        parent: ShareId,
        cut: Option<Work>,
        source: &'a impl EntrySource,
    ) -> Result<Plan<'a>, WindowError> {
        let mut extent = Extent { shares: 0, work: Work::ZERO };
        let mut newer = Vec::new();
        let mut next = parent;
        while !self.ids.contains(&next) {
            if next == ShareId::ZERO || self.is_complete(extent, cut) {
                return Ok(Plan { undone: self.entries.len(), older: Vec::new(), newer });
            }
            newer.push(extent.reach(&mut next, source)?);
        }
        // `next` is the newest common ancestor: what is newer in the window leaves, the rest stays.
        let mut staying = Extent { shares: self.entries.len(), work: self.total };
        let mut undone = 0;
        for entry in self.entries.iter().rev().take_while(|entry| entry.id != next) {
            staying = staying.without(entry);
            undone += 1;
        }
        let work = extent.work.checked_add(staying.work).ok_or(WindowError::WorkOverflow(next))?;
        extent = Extent { shares: extent.shares.saturating_add(staying.shares), work };
        let mut older = Vec::new();
        let mut next = self.entries.front().map_or(ShareId::ZERO, |oldest| oldest.parent);
        while next != ShareId::ZERO && !self.is_complete(extent, cut) {
            older.push(extent.reach(&mut next, source)?);
        }
        Ok(Plan { undone, older, newer })
    }

    fn follow(&mut self, plan: Plan<'_>) {
        for _ in 0..plan.undone {
            if let Some(entry) = self.entries.pop_back() {
                self.subtract(&entry);
            }
        }
        for entry in plan.older {
            self.add(entry);
            self.entries.push_front(entry.clone());
        }
        for entry in plan.newer.into_iter().rev() {
            self.add(entry);
            self.entries.push_back(entry.clone());
        }
    }

    /// Drops the oldest shares as long as the window is complete without them.
    fn trim(&mut self, cut: Option<Work>) {
        while let Some(oldest) = self.entries.front() {
            let without = Extent { shares: self.entries.len(), work: self.total }.without(oldest);
            if !self.is_complete(without, cut) {
                break;
            }
            if let Some(entry) = self.entries.pop_front() {
                self.subtract(&entry);
            }
        }
    }

    /// Counts an entry. The plan has made sure that the sum of all fits, so that of one script does.
    fn add(&mut self, entry: &WindowEntry) {
        self.ids.insert(entry.id);
        self.total.0 = self.total.0.saturating_add(entry.work_with_uncles.0);
        for credit in entry.credits.iter().filter(|credit| credit.work > Work::ZERO) {
            let work = self.works.entry(credit.script).or_default();
            work.0 = work.0.saturating_add(credit.work.0);
        }
    }

    /// Takes back what [`Window::add`] did.
    fn subtract(&mut self, entry: &WindowEntry) {
        self.ids.remove(&entry.id);
        self.total.0 = self.total.0.saturating_sub(entry.work_with_uncles.0);
        for credit in &entry.credits {
            if let Some(work) = self.works.get_mut(&credit.script) {
                work.0 = work.0.saturating_sub(credit.work.0);
                if *work == Work::ZERO {
                    self.works.remove(&credit.script);
                }
            }
        }
    }
}

impl Extent {
    /// Extends to share `next` and names its parent as the one after it.
    fn reach<'a>(&mut self, next: &mut ShareId, source: &'a impl EntrySource) -> Result<&'a WindowEntry, WindowError> {
        let entry = source.entry(next).ok_or(WindowError::MissingShare(*next))?;
        self.work = self.work.checked_add(entry.work_with_uncles).ok_or(WindowError::WorkOverflow(*next))?;
        self.shares = self.shares.saturating_add(1);
        *next = entry.parent;
        Ok(entry)
    }

    fn without(self, entry: &WindowEntry) -> Self {
        let work = Work(self.work.0.saturating_sub(entry.work_with_uncles.0));
        Self { shares: self.shares.saturating_sub(1), work }
    }
}

#[cfg(test)]
mod tests;
