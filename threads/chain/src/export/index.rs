//! An index of the shares for their order and payouts, about 300 bytes per share in memory.

use std::collections::{HashMap, HashSet};

use p2pool_core::node::StoredShare;
use p2pool_core::params::ChainParams;
use p2pool_core::payouts::{EntrySource, Vote, WindowEntry};
use p2pool_core::share::{PayoutScript, ShareId};
use p2pool_core::units::{Bits, ShareHeight, Work};

use crate::store::{Record, StoreError, View};

/// An index of the shares of one view.
pub(super) struct Index {
    /// By share height, then id.
    order: Vec<ShareId>,
    entries: HashMap<ShareId, Entry>,
    main: HashSet<ShareId>,
    tip: Option<ShareId>,
    payout_window: u32,
    work_cut_blocks: u32,
}

struct Entry {
    window: WindowEntry,
    /// The shares without a gap up to this one.
    run: Run,
}

/// A run of shares, each the parent of the next, with all their uncles.
#[derive(Clone, Copy)]
struct Run {
    shares: u32,
    /// Work of the shares, uncles included.
    work: Work,
    /// Whether it begins with a genesis share.
    whole: bool,
}

/// The facts of one share, before its uncles are looked up.
struct Facts {
    id: ShareId,
    height: ShareHeight,
    parent: ShareId,
    uncles: Vec<ShareId>,
    script: PayoutScript,
    work: Option<Work>,
    signal: u8,
    outputs_vote: u8,
}

impl Facts {
    fn new(stored: &StoredShare) -> Self {
        let info = &stored.share.info;
        Self {
            id: stored.id,
            height: info.share_height,
            parent: info.parent,
            uncles: info.uncles.clone(),
            script: info.payout_script,
            work: info.share_bits.work(),
            signal: info.signal,
            outputs_vote: info.outputs_vote,
        }
    }
}

impl Index {
    /// Builds the index by reading every share once.
    pub(super) fn new(view: &View<'_>, params: &ChainParams) -> Result<Self, StoreError> {
        let mut shares = Vec::new();
        view.each(|record| {
            if let Record::Share(stored) = record {
                shares.push(Facts::new(&stored));
            }
        })?;
        shares.sort_unstable_by_key(|share| (share.height, share.id));
        let tip = view.tip()?;
        Ok(Self {
            order: shares.iter().map(|share| share.id).collect(),
            entries: entries(&shares),
            main: main_chain(&shares, tip),
            tip,
            payout_window: params.payout_window,
            work_cut_blocks: params.work_cut_blocks,
        })
    }

    /// All shares, oldest first.
    pub(super) fn ids(&self) -> impl Iterator<Item = ShareId> + '_ {
        self.order.iter().copied()
    }

    pub(super) const fn tip(&self) -> Option<ShareId> {
        self.tip
    }

    /// Whether the share is the tip or an ancestor of it.
    pub(super) fn is_main(&self, id: &ShareId) -> bool {
        self.main.contains(id)
    }

    /// Whether the window that ends at `parent` may be held. If false, it is not held.
    ///
    /// Otherwise each share of a base would walk through thousands of shares only to find a gap.
    pub(super) fn may_hold_window(&self, parent: &ShareId, bits: Bits) -> bool {
        if *parent == ShareId::ZERO {
            return true;
        }
        let Some(Entry { run, .. }) = self.entries.get(parent) else { return false };
        let cut =
            bits.work().and_then(|block| block.0.checked_mul(u128::from(self.work_cut_blocks))).filter(|cut| *cut > 0);
        run.whole || run.shares >= self.payout_window || cut.is_some_and(|cut| run.work.0 >= cut)
    }
}

impl EntrySource for Index {
    fn entry(&self, id: &ShareId) -> Option<&WindowEntry> {
        self.entries.get(id).map(|entry| &entry.window)
    }
}

/// Returns the entries of the shares whose uncles are held. `shares` ascend by height, so parents come first.
fn entries(shares: &[Facts]) -> HashMap<ShareId, Entry> {
    let known: HashMap<ShareId, (PayoutScript, Work)> =
        shares.iter().filter_map(|share| Some((share.id, (share.script, share.work?)))).collect();
    let mut entries: HashMap<ShareId, Entry> = HashMap::with_capacity(shares.len());
    for share in shares {
        let uncles: Option<Vec<_>> = share.uncles.iter().map(|uncle| known.get(uncle).copied()).collect();
        let (Some(work), Some(uncles)) = (share.work, uncles) else { continue };
        let vote = Vote { work, signal: share.signal, outputs_class: share.outputs_vote };
        let window = WindowEntry::new(share.id, share.parent, share.script, vote, uncles.into_iter());
        let below = match entries.get(&share.parent) {
            Some(parent) => parent.run,
            None => Run { shares: 0, work: Work::ZERO, whole: share.parent == ShareId::ZERO },
        };
        let run = Run {
            shares: below.shares.saturating_add(1),
            work: Work(below.work.0.saturating_add(window.work_with_uncles.0)),
            whole: below.whole,
        };
        entries.insert(share.id, Entry { window, run });
    }
    entries
}

/// Returns the ids of the tip and its ancestors.
fn main_chain(shares: &[Facts], tip: Option<ShareId>) -> HashSet<ShareId> {
    let parents: HashMap<ShareId, ShareId> = shares.iter().map(|share| (share.id, share.parent)).collect();
    let mut main = HashSet::new();
    let mut next = tip;
    while let Some((id, parent)) = next.and_then(|id| Some((id, *parents.get(&id)?))) {
        // An id is a hash that commits to its parent's, so there is no circle. The check is for damaged data.
        if !main.insert(id) {
            break;
        }
        next = Some(parent);
    }
    main
}
