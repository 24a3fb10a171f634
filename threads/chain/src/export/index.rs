//! An index of the shares for their order and payouts, about 300 bytes per share in memory.

use std::collections::{HashMap, HashSet};

use bitcoin::BlockHash;
use p2pool_core::node::StoredShare;
use p2pool_core::payouts::{EntrySource, Vote, Window, WindowEntry};
use p2pool_core::share::{PayoutScript, ShareId};
use p2pool_core::sharechain::WindowReach;
use p2pool_core::units::{Bits, ShareHeight, UnixTime, Work};

use crate::store::{Record, StoreError, View};

/// An index of the shares of one view.
pub(super) struct Index {
    /// By share height, then id.
    order: Vec<ShareId>,
    entries: HashMap<ShareId, Entry>,
    main: HashSet<ShareId>,
    tip: Option<ShareId>,
    /// Median times past of the anchors.
    anchor_times: HashMap<BlockHash, UnixTime>,
}

struct Entry {
    window: WindowEntry,
    /// How far the shares reach down from this one without a gap.
    reach: WindowReach,
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
    pub(super) fn new(view: &View<'_>) -> Result<Self, StoreError> {
        let (mut shares, mut anchor_times) = (Vec::new(), HashMap::new());
        view.each(|record| match record {
            Record::Share(stored) => shares.push(Facts::new(&stored)),
            Record::Anchor(anchor) => {
                anchor_times.insert(anchor.header.block_hash(), anchor.median_time_past);
            }
        })?;
        shares.sort_unstable_by_key(|share| (share.height, share.id));
        let tip = view.tip()?;
        Ok(Self {
            order: shares.iter().map(|share| share.id).collect(),
            entries: entries(&shares),
            main: main_chain(&shares, tip),
            tip,
            anchor_times,
        })
    }

    /// All shares, oldest first.
    pub(super) fn ids(&self) -> impl Iterator<Item = ShareId> + '_ {
        self.order.iter().copied()
    }

    pub(super) const fn tip(&self) -> Option<ShareId> {
        self.tip
    }

    /// Returns the median time past of the block with this hash, if shares build on it.
    pub(super) fn anchor_time(&self, hash: &BlockHash) -> Option<UnixTime> {
        self.anchor_times.get(hash).copied()
    }

    /// Whether the share is the tip or an ancestor of it.
    pub(super) fn is_main(&self, id: &ShareId) -> bool {
        self.main.contains(id)
    }

    /// Whether the window that ends at `parent` may be held. If false, it is not held.
    ///
    /// Otherwise each share of a base would walk through thousands of shares only to find a gap.
    pub(super) fn may_hold_window(&self, window: &Window, parent: &ShareId, bits: Bits) -> bool {
        *parent == ShareId::ZERO || self.entries.get(parent).is_some_and(|entry| entry.reach.may_hold(window, bits))
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
        let below = entries.get(&share.parent).map(|parent| parent.reach);
        let reach = WindowReach::new(Some(&window), below, share.parent == ShareId::ZERO);
        entries.insert(share.id, Entry { window, reach });
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
