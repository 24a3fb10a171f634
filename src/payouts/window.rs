//! The payout window, updated share by share.

use std::collections::{BTreeMap, HashSet, VecDeque};

use thiserror::Error;

use super::list::payout_list_of_sums;
use super::{Ballot, EntrySource, WindowEntry};
use crate::params::ChainParams;
use crate::share::coinbase::Payout;
use crate::share::{PayoutScript, ShareId};
use crate::units::{Bits, Sats, Work, U256};

/// Why a window cannot be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WindowError {
    #[error("the payout window includes share {0}, but that share or one of its uncles is missing")]
    MissingShare(ShareId),
    #[error("the payout window cannot be cut at bits {0}: not a canonical target of less than 2^108 hashes")]
    Bits(Bits),
    /// Valid shares cannot claim that much work.
    #[error("the work of the payout window exceeds 128 bits at share {0}")]
    WorkOverflow(ShareId),
}

/// The last shares of a chain and the work credited to each script in them (rules, section 7).
///
/// The window copies an entry when it first reaches it. If entries change, for instance because unverified history was
/// discarded, [`Window::clear`] makes the next move read all of them again.
#[derive(Clone, Debug)]
pub struct Window {
    params: ChainParams,
    /// The shares, oldest first, each the parent of the next.
    entries: VecDeque<WindowEntry>,
    /// The ids of `entries`.
    ids: HashSet<ShareId>,
    /// Sum of the credits by script; none is zero.
    works: BTreeMap<PayoutScript, Work>,
    /// Sum of the work in `entries`, uncles included.
    total: Work,
    /// The votes in `entries`.
    ballot: Ballot,
}

/// Number of shares and amount of work in a window.
#[derive(Clone, Copy)]
struct Extent {
    shares: usize,
    work: Work,
}

/// The changes that move a window, computed completely before any is applied.
struct WindowMove<'a> {
    /// Number of newest shares that leave.
    undone: usize,
    /// Shares that join at the oldest end, newest first.
    older: Vec<&'a WindowEntry>,
    /// Shares that join at the newest end, newest first.
    newer: Vec<&'a WindowEntry>,
}

impl Window {
    /// An empty window, which is that of a genesis share.
    pub fn new(params: &ChainParams) -> Self {
        Self {
            params: params.clone(),
            entries: VecDeque::new(),
            ids: HashSet::new(),
            works: BTreeMap::new(),
            total: Work::ZERO,
            ballot: Ballot::default(),
        }
    }

    /// Empties the window.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.ids.clear();
        self.works.clear();
        self.total = Work::ZERO;
        self.ballot = Ballot::default();
    }

    /// Moves to the window that ends at `parent`, for a share whose header has `bits`.
    ///
    /// The cost is proportional to the number of shares that join or leave: those of the old and the new branch up to
    /// their common ancestor, and those at the oldest end. Entries that stay are not read from `source` again.
    ///
    /// # Errors
    /// If `source` lacks a share of the window, or if the window is cut by work and `bits` are not a valid target. The
    /// window is then unchanged.
    pub fn move_to(&mut self, parent: ShareId, bits: Bits, source: &impl EntrySource) -> Result<(), WindowError> {
        let cut = self.work_cut(bits)?;
        let changes = self.plan_move(parent, cut, source)?;
        self.apply(changes);
        self.trim(cut);
        Ok(())
    }

    /// Whether this number of shares with this work, uncles included, is a full window for a share whose header has `bits`.
    pub fn is_enough(&self, shares: usize, work: Work, bits: Bits) -> bool {
        self.work_cut(bits).is_ok_and(|cut| self.is_complete(Extent { shares, work }, cut))
    }

    /// The payout list of a coinbase worth `value` in a share of this class of outputs, mined by `finder` on the newest
    /// share.
    pub fn payouts(&self, value: Sats, finder: PayoutScript, outputs_class: u8) -> Vec<Payout> {
        let sums = self.works.iter().map(|(script, work)| (*script, U256::from(work.0)));
        let parent = self.newest().unwrap_or(ShareId::ZERO);
        payout_list_of_sums(
            self.params.payout_outputs_max(outputs_class),
            sums,
            U256::from(self.total.0),
            value,
            finder,
            parent,
        )
    }

    /// Sum of the work, uncles included.
    pub fn total_work(&self) -> Work {
        self.total
    }

    /// The votes of the shares.
    pub const fn ballot(&self) -> &Ballot {
        &self.ballot
    }

    /// Number of shares, uncles not counted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The credited scripts in ascending order, each with its work, which is not zero.
    pub fn credits(&self) -> impl Iterator<Item = (PayoutScript, Work)> + '_ {
        self.works.iter().map(|(script, work)| (*script, *work))
    }

    pub fn oldest(&self) -> Option<ShareId> {
        self.entries.front().map(|entry| entry.id)
    }

    /// The share that the window ends at: the parent of the paying share.
    pub fn newest(&self) -> Option<ShareId> {
        self.entries.back().map(|entry| entry.id)
    }

    /// The work at which the window is complete; `None` on networks where only the number of shares counts.
    fn work_cut(&self, bits: Bits) -> Result<Option<Work>, WindowError> {
        if self.params.work_cut_blocks == 0 {
            return Ok(None);
        }
        let block = bits.target().ok().and_then(|target| target.work()).ok_or(WindowError::Bits(bits))?;
        Ok(block.0.checked_mul(u128::from(self.params.work_cut_blocks)).map(Work))
    }

    /// Whether a window of this extent does not reach further back.
    fn is_complete(&self, extent: Extent, cut: Option<Work>) -> bool {
        extent.shares >= self.shares_max() || cut.is_some_and(|cut| extent.work >= cut)
    }

    fn shares_max(&self) -> usize {
        usize::try_from(self.params.payout_window).unwrap_or(usize::MAX)
    }

    fn plan_move<'a>(
        &self,
        parent: ShareId,
        cut: Option<Work>,
        source: &'a impl EntrySource,
    ) -> Result<WindowMove<'a>, WindowError> {
        let mut extent = Extent { shares: 0, work: Work::ZERO };
        let mut newer = Vec::new();
        let mut next = parent;
        while !self.ids.contains(&next) {
            if next == ShareId::ZERO || self.is_complete(extent, cut) {
                return Ok(WindowMove { undone: self.entries.len(), older: Vec::new(), newer });
            }
            newer.push(extent.reach(&mut next, source)?);
        }
        // `next` is the newest common ancestor: entries newer than it leave the window, the others stay.
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
        Ok(WindowMove { undone, older, newer })
    }

    fn apply(&mut self, changes: WindowMove<'_>) {
        for _ in 0..changes.undone {
            if let Some(entry) = self.entries.pop_back() {
                self.subtract(&entry);
            }
        }
        for entry in changes.older {
            self.add(entry);
            self.entries.push_front(entry.clone());
        }
        for entry in changes.newer.into_iter().rev() {
            self.add(entry);
            self.entries.push_back(entry.clone());
        }
    }

    /// Drops the oldest shares while the window is complete without them.
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

    /// Adds an entry to the sums. [`Self::plan_move`] has checked that the total fits, so each script's sum fits too.
    fn add(&mut self, entry: &WindowEntry) {
        self.ids.insert(entry.id);
        self.ballot.add(&entry.vote);
        self.total.0 = self.total.0.saturating_add(entry.work_with_uncles.0);
        for credit in entry.credits.iter().filter(|credit| credit.work > Work::ZERO) {
            let work = self.works.entry(credit.script).or_default();
            work.0 = work.0.saturating_add(credit.work.0);
        }
    }

    /// Undoes [`Self::add`].
    fn subtract(&mut self, entry: &WindowEntry) {
        self.ids.remove(&entry.id);
        self.ballot.subtract(&entry.vote);
        self.total.0 = self.total.0.saturating_sub(entry.work_with_uncles.0);
        for credit in entry.credits.iter() {
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
    /// Extends to the share `next`, then sets `next` to its parent.
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
