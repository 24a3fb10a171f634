//! The tree of valid shares: ancestors, the tip and its main chain, payout windows, pruning.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bitcoin::BlockHash;

use super::anchor::Anchor;
use super::difficulty::RetargetSample;
use super::early::EarlyShare;
use super::fork_choice::Fork;
use super::header_index::HeaderIndex;
use super::pool::Rank;
use super::rules::AHEAD_MAX_S;
use super::window_reach::WindowReach;
use crate::params::{ChainId, ChainParams};
use crate::payouts::{EntrySource, Vote, Window, WindowEntry, WindowError};
use crate::share::coinbase::Payout;
use crate::share::{PayoutScript, Share, ShareId, ShareInfo};
use crate::units::{Bits, ShareHeight, UnixTime, Work};

/// A valid share in the tree. It never changes: the tree and its snapshots share it.
#[derive(Debug)]
pub struct LinkedShare {
    pub id: ShareId,
    pub share: Arc<Share>,
    /// The share's own work.
    pub work: Work,
    /// The work of its target before easing.
    base_work: Work,
    /// Median time past of the share's anchor, which proves that the share is younger.
    pub(super) anchor_time: UnixTime,
    /// Whether rule 8 was checked. It cannot be checked for the base of a pruned chain.
    pub verified: bool,
    /// What the share adds to payout windows; `None` if an uncle it names is not held.
    entry: Option<WindowEntry>,
    reach: WindowReach,
}

impl LinkedShare {
    /// The facts the share commits to.
    pub fn info(&self) -> &ShareInfo {
        &self.share.info
    }

    /// What decides between chains of equal weight: more chain work, then the lower id. The better one is greater.
    pub(super) fn rank(&self) -> Rank {
        (self.info().chain_work, Reverse(self.id))
    }

    /// The header's time.
    pub fn time(&self) -> UnixTime {
        self.share.time()
    }

    /// From when on rule 5 lets a node link the share.
    fn due(&self) -> UnixTime {
        match self.time() > self.anchor_time.plus(1) {
            true => self.time().minus(AHEAD_MAX_S),
            false => UnixTime(0),
        }
    }

    /// What the retarget reads of the share; `None` if an uncle it names is not held.
    fn retarget_sample(&self) -> Option<RetargetSample> {
        let work_with_uncles = self.entry.as_ref()?.work_with_uncles;
        Some(RetargetSample {
            time: self.time(),
            height: self.info().share_height,
            work: self.work,
            base_work: self.base_work,
            work_with_uncles,
        })
    }
}

/// All valid shares that are held, and the Bitcoin blocks they build on.
///
/// Every share is either on the main chain or in `side`.
pub struct Tree {
    params: Arc<ChainParams>,
    chain_id: ChainId,
    shares: HashMap<ShareId, Arc<LinkedShare>>,
    /// The main chain: the tip and its ancestors that are held, oldest first.
    main: Vec<Arc<LinkedShare>>,
    /// The shares off the main chain, each as its parent's id and its own.
    side: BTreeSet<(ShareId, ShareId)>,
    /// The branches that the shares off the main chain end.
    pub(super) forks: HashMap<ShareId, Fork>,
    headers: Arc<HeaderIndex>,
    window: Window,
    /// When the last of the shares is due by rule 5, or was before it was removed. None is early before the clock is set back
    /// behind this.
    last_due: UnixTime,
}

impl EntrySource for HashMap<ShareId, Arc<LinkedShare>> {
    fn entry(&self, id: &ShareId) -> Option<&WindowEntry> {
        self.get(id)?.entry.as_ref()
    }
}

impl EntrySource for Tree {
    fn entry(&self, id: &ShareId) -> Option<&WindowEntry> {
        self.shares.entry(id)
    }
}

impl Tree {
    pub fn new(params: Arc<ChainParams>) -> Self {
        let (chain_id, window) = (params.chain_id(), Window::new(&params));
        let headers = Arc::new(HeaderIndex::new(params.network));
        Self {
            params,
            chain_id,
            shares: HashMap::new(),
            main: Vec::new(),
            side: BTreeSet::new(),
            forks: HashMap::new(),
            headers,
            window,
            last_due: UnixTime(0),
        }
    }

    /// A copy to read while the original changes. It shares the linked shares; its own window starts empty.
    pub fn snapshot(&self) -> Self {
        Self {
            params: Arc::clone(&self.params),
            chain_id: self.chain_id,
            shares: self.shares.clone(),
            main: self.main.clone(),
            side: self.side.clone(),
            forks: self.forks.clone(),
            headers: Arc::clone(&self.headers),
            window: Window::new(&self.params),
            last_due: self.last_due,
        }
    }

    /// An empty tree that knows the same Bitcoin blocks.
    pub(super) fn without_shares(&self) -> Self {
        Self { headers: Arc::clone(&self.headers), ..Self::new(Arc::clone(&self.params)) }
    }

    pub fn params(&self) -> &Arc<ChainParams> {
        &self.params
    }

    pub const fn chain_id(&self) -> &ChainId {
        &self.chain_id
    }

    /// A share that is held.
    pub fn get(&self, id: &ShareId) -> Option<&LinkedShare> {
        self.shares.get(id).map(Arc::as_ref)
    }

    /// Whether a share is held.
    pub fn contains(&self, id: &ShareId) -> bool {
        self.shares.contains_key(id)
    }

    /// Number of shares held.
    pub fn len(&self) -> usize {
        self.shares.len()
    }

    /// Whether no share is held.
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// All shares held, in no particular order.
    pub fn shares(&self) -> impl Iterator<Item = &LinkedShare> {
        self.shares.values().map(Arc::as_ref)
    }

    /// The Bitcoin blocks that shares may build on.
    pub fn headers(&self) -> &HeaderIndex {
        &self.headers
    }

    /// The same, to change. Snapshots keep what they have.
    pub fn headers_mut(&mut self) -> &mut HeaderIndex {
        Arc::make_mut(&mut self.headers)
    }

    /// Takes over another tree's Bitcoin blocks; those that shares of this tree name stay.
    pub(super) fn update_headers(&mut self, from: &Self) {
        let old = std::mem::replace(&mut self.headers, Arc::clone(&from.headers));
        if old.named().any(|(hash, _)| !self.headers.is_named(hash)) {
            self.headers_mut().absorb(&old);
        }
    }

    /// The share that the choice between chains prefers.
    pub fn tip(&self) -> Option<&LinkedShare> {
        self.main.last().map(Arc::as_ref)
    }

    /// The shares off the main chain.
    pub(super) fn side_shares(&self) -> impl Iterator<Item = &Arc<LinkedShare>> {
        self.side.iter().map(|(_, id)| self.shares.get(id).expect("a share in `side` is held"))
    }

    /// Bitcoin's time: the median time past of its newest block.
    pub(super) fn bitcoin_time(&self) -> UnixTime {
        self.headers.best().map(|block| block.median_time_past).unwrap_or_default()
    }

    /// The main chain, as far as it is held: the tip and its ancestors, oldest first.
    pub fn main_chain(&self) -> &[Arc<LinkedShare>] {
        &self.main
    }

    /// The main chain's share at a height.
    pub fn main_at(&self, height: ShareHeight) -> Option<&LinkedShare> {
        self.main.get(self.main_index(height)?).map(Arc::as_ref)
    }

    /// Where the main chain's share at a height is in `main`, if that is not below the oldest one.
    fn main_index(&self, height: ShareHeight) -> Option<usize> {
        Some(height.0.checked_sub(self.main.first()?.info().share_height.0)? as usize)
    }

    /// Whether a share is the tip or one of its ancestors.
    pub fn is_main(&self, share: &LinkedShare) -> bool {
        self.main_at(share.info().share_height).is_some_and(|main| main.id == share.id)
    }

    /// A share and its ancestors, newest first, as far as they are held.
    pub fn ancestry<'a>(&'a self, from: &ShareId) -> impl Iterator<Item = &'a LinkedShare> {
        std::iter::successors(self.get(from), |share| self.get(&share.info().parent))
    }

    /// The shares built directly on one: the main chain's first, then the others by ascending id.
    pub fn children<'a>(&'a self, id: &ShareId) -> impl Iterator<Item = &'a LinkedShare> {
        let main = match self.get(id) {
            Some(parent) if self.is_main(parent) => {
                self.main_at(ShareHeight(parent.info().share_height.0.saturating_add(1)))
            }
            Some(_) => None,
            None => self.main.first().filter(|oldest| oldest.info().parent == *id).map(Arc::as_ref),
        };
        main.into_iter().chain(self.side_children(id))
    }

    /// The shares off the main chain that are built directly on one, by ascending id.
    pub(super) fn side_children<'a>(&'a self, id: &ShareId) -> impl Iterator<Item = &'a LinkedShare> {
        let side = self.side.range((*id, ShareId::ZERO)..=(*id, ShareId([u8::MAX; 32])));
        side.map(|(_, child)| self.get(child).expect("a share in `side` is held"))
    }

    /// What the retarget after `from` reads: that share and its ancestors, at most a retarget window.
    ///
    /// `None` if one of them, or an uncle they name, is pruned.
    pub fn retarget_samples(&self, from: &ShareId) -> Option<Vec<RetargetSample>> {
        let ancestors = self.get(from)?.info().share_height.0.saturating_add(1);
        let len = self.params.retarget_window.min(ancestors) as usize;
        let samples: Vec<RetargetSample> =
            self.ancestry(from).take(len).map_while(LinkedShare::retarget_sample).collect();
        (samples.len() == len).then_some(samples)
    }

    /// A Bitcoin block that is known.
    pub fn anchor(&self, hash: &BlockHash) -> Option<&Anchor> {
        self.headers.get(hash)
    }

    /// Puts back a Bitcoin block that held shares build on, without judging it again.
    pub fn add_anchor(&mut self, anchor: Anchor) {
        self.headers_mut().restore(anchor);
    }

    /// Weighs all branches by Bitcoin's time of now, and makes the best one the main chain. Returns the tip if it is new.
    pub(super) fn choose_tip(&mut self) -> Option<ShareId> {
        self.refresh_forks();
        let tip = self.better_tip().map(|tip| tip.id)?;
        let tip = Arc::clone(self.shares.get(&tip)?);
        self.set_tip(&tip);
        Some(tip.id)
    }

    /// The payouts of a share with these facts whose header states `bits`.
    ///
    /// # Errors
    /// The window that ends at the parent is not held.
    pub fn payouts(&mut self, info: &ShareInfo, bits: Bits) -> Result<Vec<Payout>, WindowError> {
        let window = self.window(info.parent, bits)?;
        Ok(window.payouts(info.coinbase_value, info.payout_script, info.outputs_class))
    }

    /// The payout window of a share with this parent whose header states `bits`.
    ///
    /// # Errors
    /// The window that ends at the parent is not held.
    pub fn window(&mut self, parent: ShareId, bits: Bits) -> Result<&Window, WindowError> {
        self.window.move_to(parent, bits, &self.shares)?;
        Ok(&self.window)
    }

    /// The payout window as it was moved to last.
    pub(super) const fn current_window(&self) -> &Window {
        &self.window
    }

    /// Whether [`Self::window`] can succeed: a cheap test that spares walking through a base in vain.
    pub(super) fn may_hold_window(&self, parent: &ShareId, bits: Bits) -> bool {
        self.get(parent).is_none_or(|parent| parent.reach.may_hold(&self.window, bits))
    }

    /// Puts back a share that was in the tree before, without checking it again. Its anchor and its parent come before it.
    ///
    /// # Panics
    /// The share's bits are no target, so it never passed rule 1. Counting it would pay wrong amounts.
    pub fn restore(&mut self, share: Arc<Share>, verified: bool) {
        let work = share.info.share_bits.work().expect("a linked share's bits passed rule 1");
        self.insert(share, work, verified);
    }

    /// Inserts a share that is valid, or part of a base, and returns whether it is the new tip.
    pub(super) fn insert(&mut self, share: Arc<Share>, work: Work, verified: bool) -> bool {
        let id = share.id();
        if self.contains(&id) {
            return false;
        }
        let parent = share.info.parent;
        let anchor = share.header.prev_blockhash;
        if !self.headers.is_named(&anchor) {
            self.headers_mut().name(&anchor);
        }
        let entry = self.window_entry(id, &share, work);
        let reach =
            WindowReach::new(entry.as_ref(), self.get(&parent).map(|parent| parent.reach), share.info.is_genesis());
        let base_work = share.info.base_bits.work().expect("a linked share's base bits passed rule 1");
        let anchor_time = self.anchor(&share.header.prev_blockhash).map(|anchor| anchor.median_time_past);
        let anchor_time = anchor_time.unwrap_or_default();
        let linked = Arc::new(LinkedShare { id, share, work, base_work, anchor_time, verified, entry, reach });
        self.last_due = self.last_due.max(linked.due());
        self.shares.insert(id, Arc::clone(&linked));
        let extends_tip = self.tip().is_none_or(|tip| tip.id == parent);
        let is_tip = extends_tip || {
            self.side.insert((parent, id));
            self.note_fork(&linked)
        };
        if is_tip {
            self.set_tip(&linked);
        }
        self.debug_assert_partition();
        is_tip
    }

    fn window_entry(&self, id: ShareId, share: &Share, work: Work) -> Option<WindowEntry> {
        let uncle = |id| self.get(id).map(|uncle| (uncle.info().payout_script, uncle.work));
        let uncles: Option<Vec<(PayoutScript, Work)>> = share.info.uncles.iter().map(uncle).collect();
        let info = &share.info;
        let vote = Vote { work, signal: info.signal, outputs_class: info.outputs_vote };
        Some(WindowEntry::new(id, info.parent, info.payout_script, vote, uncles?.into_iter()))
    }

    /// Makes the main chain end at `tip`, from the share where it leaves the old one.
    fn set_tip(&mut self, tip: &Arc<LinkedShare>) {
        let mut branch = Vec::new();
        let mut next = Some(tip);
        while let Some(share) = next.filter(|share| !self.is_main(share)) {
            branch.push(Arc::clone(share));
            next = self.shares.get(&share.info().parent);
        }
        let fork = next.and_then(|fork| self.main_index(fork.info().share_height));
        let kept = fork.map_or(0, |index| index + 1);
        let is_reorganised = kept < self.main.len();
        for left in self.main.drain(kept..) {
            self.side.insert((left.info().parent, left.id));
        }
        for share in branch.into_iter().rev() {
            self.side.remove(&(share.info().parent, share.id));
            self.main.push(share);
        }
        if is_reorganised {
            self.refresh_forks();
        }
    }

    /// Removes the shares that are early by this clock, with all that build on them or name them, and makes the best of the
    /// rest the main chain. Returns them, parents first.
    pub(super) fn unlink_early(&mut self, now: UnixTime) -> Vec<EarlyShare> {
        if self.last_due <= now {
            return Vec::new();
        }
        let mut shares: Vec<Arc<LinkedShare>> = self.shares.values().cloned().collect();
        shares.sort_unstable_by_key(|share| (share.info().share_height, share.id));
        let mut dues: HashMap<ShareId, UnixTime> = HashMap::new();
        self.last_due = UnixTime(0);
        for share in &shares {
            let needed = share.info().uncles.iter().chain([&share.info().parent]);
            let due = needed.filter_map(|id| dues.get(id)).max().copied().unwrap_or_default().max(share.due());
            if due > now {
                dues.insert(share.id, due);
            } else {
                self.last_due = self.last_due.max(due);
            }
        }
        if dues.is_empty() {
            return Vec::new();
        }
        let is_early = |share: &LinkedShare| dues.contains_key(&share.id);
        // All above the first one on the main chain build on it.
        let kept = self.main.iter().position(|share| is_early(share)).unwrap_or(self.main.len());
        self.main.truncate(kept);
        self.side.retain(|(_, id)| !dues.contains_key(id));
        self.shares.retain(|id, _| !dues.contains_key(id));
        self.window.clear();
        if self.main.is_empty() {
            // Branches that left the main chain below its oldest share.
            if let Some(best) = self.side_shares().max_by_key(|share| share.rank()).cloned() {
                self.set_tip(&best);
            }
        }
        self.choose_tip();
        self.debug_assert_partition();
        let early = shares.into_iter().filter_map(|linked| Some(EarlyShare { due: *dues.get(&linked.id)?, linked }));
        early.collect()
    }

    /// The least height of the shares that are kept.
    pub(super) fn oldest_kept(&self) -> ShareHeight {
        let tip = self.tip().map_or(0, |tip| tip.info().share_height.0);
        ShareHeight(tip.saturating_sub(self.params.shares_kept().saturating_sub(1)))
    }

    /// Removes shares too far below the tip, side shares that are not kept, and Bitcoin blocks that no share builds on any
    /// more, nor one of `others`. Returns the ids of the shares.
    pub fn prune(&mut self, others: impl Iterator<Item = BlockHash>) -> Vec<ShareId> {
        if self.main.is_empty() {
            return Vec::new();
        }
        let oldest = self.oldest_kept();
        let is_old = |share: &LinkedShare| share.info().share_height < oldest;
        let mut pruned: Vec<ShareId> = self.shares().filter(|share| is_old(share)).map(|share| share.id).collect();
        pruned.iter().for_each(|id| self.remove_side(id));
        for old in self.main.drain(..self.main.partition_point(|share| is_old(share))) {
            self.shares.remove(&old.id);
        }
        pruned.extend(self.prune_side());
        self.debug_assert_partition();
        let used = self.shares().map(|share| share.share.header.prev_blockhash).chain(others);
        let used: HashSet<BlockHash> = used.collect();
        self.headers_mut().prune(&used);
        pruned
    }

    /// Removes a share, unless it is on the main chain.
    pub(super) fn remove_side(&mut self, id: &ShareId) {
        let Some(parent) = self.get(id).map(|share| share.info().parent) else { return };
        if self.side.remove(&(parent, *id)) {
            self.shares.remove(id);
            self.forks.remove(id);
        }
    }

    fn debug_assert_partition(&self) {
        debug_assert_eq!(
            self.shares.len(),
            self.main.len() + self.side.len(),
            "a share is on the main chain or in `side`"
        );
    }
}
