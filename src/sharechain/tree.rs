//! The tree of valid shares: links, ancestors, the tip and its main chain.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bitcoin::BlockHash;

use super::anchor::Anchor;
use super::difficulty::RetargetSample;
use super::failure::{Failure, Need};
use super::reach::WindowReach;
use super::{rules, verify};
use crate::params::{ChainId, ChainParams};
use crate::payouts::{EntrySource, Window, WindowEntry, WindowError};
use crate::share::coinbase::Payout;
use crate::share::{PayoutScript, Share, ShareId};
use crate::units::{Bits, Sats, ShareHeight, UnixTime, Work};

/// A share in the tree.
#[derive(Clone, Debug)]
pub struct LinkedShare {
    /// Its id.
    pub id: ShareId,
    /// The share.
    pub share: Arc<Share>,
    /// Its own work.
    pub work: Work,
    /// Whether rule 8 was checked: not so for the base of a pruned chain.
    pub verified: bool,
    /// What it adds to payout windows; none if an uncle it names is pruned.
    entry: Option<Arc<WindowEntry>>,
    /// How far windows that end here go.
    reach: WindowReach,
}

/// How much of the rules a share is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// All of them.
    Full,
    /// Those that can be checked where history below is pruned; all of them where the window is held.
    Base,
}

/// All valid shares that are held, with the Bitcoin blocks they are built on.
pub struct Tree {
    params: Arc<ChainParams>,
    chain_id: ChainId,
    shares: HashMap<ShareId, LinkedShare>,
    children: HashMap<ShareId, Vec<ShareId>>,
    anchors: HashMap<BlockHash, Anchor>,
    window: Window,
    /// Ids from the oldest held share of the tip's chain to the tip.
    main: Vec<ShareId>,
    /// Height of the first of `main`.
    main_start: u32,
}

impl EntrySource for HashMap<ShareId, LinkedShare> {
    fn entry(&self, id: &ShareId) -> Option<&WindowEntry> {
        self.get(id)?.entry.as_deref()
    }
}

impl EntrySource for Tree {
    fn entry(&self, id: &ShareId) -> Option<&WindowEntry> {
        self.shares.entry(id)
    }
}

impl Tree {
    /// An empty tree.
    pub fn new(params: Arc<ChainParams>) -> Self {
        let (chain_id, window) = (params.chain_id(), Window::new(&params));
        Self {
            params,
            chain_id,
            shares: HashMap::new(),
            children: HashMap::new(),
            anchors: HashMap::new(),
            window,
            main: Vec::new(),
            main_start: 0,
        }
    }

    /// A copy to look at while the original goes on; shares are shared, the copy's own window starts empty.
    pub fn snapshot(&self) -> Self {
        Self {
            params: Arc::clone(&self.params),
            chain_id: self.chain_id,
            shares: self.shares.clone(),
            children: self.children.clone(),
            anchors: self.anchors.clone(),
            window: Window::new(&self.params),
            main: self.main.clone(),
            main_start: self.main_start,
        }
    }

    /// An empty tree that knows the same Bitcoin blocks.
    pub(super) fn empty_beside(&self) -> Self {
        Self { anchors: self.anchors.clone(), ..Self::new(Arc::clone(&self.params)) }
    }

    /// The chain's parameters.
    pub fn params(&self) -> &Arc<ChainParams> {
        &self.params
    }

    /// The chain's id.
    pub const fn chain_id(&self) -> &ChainId {
        &self.chain_id
    }

    /// A share that is held.
    pub fn get(&self, id: &ShareId) -> Option<&LinkedShare> {
        self.shares.get(id)
    }

    /// Whether a share is held.
    pub fn contains(&self, id: &ShareId) -> bool {
        self.shares.contains_key(id)
    }

    /// Shares held.
    pub fn len(&self) -> usize {
        self.shares.len()
    }

    /// Whether no share is held.
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// All shares held, in no order.
    pub fn shares(&self) -> impl Iterator<Item = &LinkedShare> {
        self.shares.values()
    }

    /// All Bitcoin blocks known, in no order.
    pub fn anchors(&self) -> impl Iterator<Item = &Anchor> {
        self.anchors.values()
    }

    /// The share with most chain work.
    pub fn tip(&self) -> Option<&LinkedShare> {
        self.shares.get(self.main.last()?)
    }

    /// The tip's ancestors that are held, oldest first, and the tip.
    pub fn main_chain(&self) -> &[ShareId] {
        &self.main
    }

    /// The main chain's share at a height.
    pub fn main_at(&self, height: ShareHeight) -> Option<&ShareId> {
        self.main.get(height.0.checked_sub(self.main_start)? as usize)
    }

    /// Whether a share is the tip or one of its ancestors.
    pub fn is_main(&self, node: &LinkedShare) -> bool {
        self.main_at(node.share.info.share_height) == Some(&node.id)
    }

    /// A share and its ancestors, newest first, as far as they are held.
    pub fn ancestry<'a>(&'a self, from: &ShareId) -> impl Iterator<Item = &'a LinkedShare> {
        std::iter::successors(self.get(from), |node| self.get(&node.share.info.parent))
    }

    /// The shares built directly on one, in order of their coming.
    pub fn children<'a>(&'a self, id: &ShareId) -> impl Iterator<Item = &'a LinkedShare> {
        self.children.get(id).into_iter().flatten().filter_map(|child| self.get(child))
    }

    /// What the retarget looks at: a share and its ancestors, at most a retarget window.
    ///
    /// `None` if history is pruned so near below that one of them, or an uncle they name, is not held.
    pub fn retarget_samples(&self, from: &ShareId) -> Option<Vec<RetargetSample>> {
        let window = self.params.retarget_window;
        let all = window.min(self.get(from)?.share.info.share_height.0.saturating_add(1)) as usize;
        let retarget_samples: Vec<RetargetSample> =
            self.ancestry(from).take(all).map_while(LinkedShare::pace).collect();
        (retarget_samples.len() == all).then_some(retarget_samples)
    }

    /// A Bitcoin block that is known not to be invalid.
    pub fn anchor(&self, hash: &BlockHash) -> Option<&Anchor> {
        self.anchors.get(hash)
    }

    /// Takes bitcoind's word for a Bitcoin block.
    pub fn add_anchor(&mut self, anchor: Anchor) {
        self.anchors.insert(anchor.header.block_hash(), anchor);
    }

    /// The payouts of a share with this parent.
    ///
    /// # Errors
    /// The window below the parent is not held.
    pub fn payouts(
        &mut self,
        parent: ShareId,
        bits: Bits,
        value: Sats,
        finder: PayoutScript,
    ) -> Result<Vec<Payout>, WindowError> {
        self.window.move_to(parent, bits, &self.shares)?;
        Ok(self.window.payouts(value, finder))
    }

    /// The payout window of a share with this parent.
    ///
    /// # Errors
    /// The window below the parent is not held.
    pub fn window(&mut self, parent: ShareId, bits: Bits) -> Result<&Window, WindowError> {
        self.window.move_to(parent, bits, &self.shares)?;
        Ok(&self.window)
    }

    /// Adds a share that passed rules 1 and 2, after checking the others; says whether it is the new tip.
    ///
    /// # Errors
    /// Whatever keeps it out; the tree is as it was.
    pub fn link(&mut self, share: Arc<Share>, work: Work, now: UnixTime, depth: Depth) -> Result<bool, Failure> {
        let id = share.id();
        let base = depth == Depth::Base;
        let parent = self.shares.get(&share.info.parent);
        let rooted = share.info.is_genesis() || (base && self.shares.is_empty());
        if parent.is_none() && !rooted {
            return Err(Failure::Missing(Need::Share(share.info.parent)));
        }
        rules::check_lineage(self, &share, work, parent, base)?;
        rules::check_time(self, &share, parent)?;
        let anchor = rules::check_anchor(self, &share, parent)?;
        rules::check_due(&share, anchor, now)?;
        // The base's first shares name uncles older than all that is held: nothing can be said of those.
        let uncles_held = share.info.uncles.iter().all(|uncle| self.shares.contains_key(uncle));
        if uncles_held || !base {
            rules::check_uncles(self, &share)?;
        }
        let verified = self.verify(&share, depth)?;
        Ok(self.insert(id, share, work, verified))
    }

    /// Rule 8; false where the window is not held and need not be.
    fn verify(&mut self, share: &Share, depth: Depth) -> Result<bool, Failure> {
        let bits = Bits(share.header.bits.to_consensus());
        let parent = self.shares.get(&share.info.parent);
        let may_hold = parent.is_none_or(|parent| parent.reach.may_hold(&self.window, bits));
        if !may_hold || self.window.move_to(share.info.parent, bits, &self.shares).is_err() {
            return if depth == Depth::Base { Ok(false) } else { Err(Failure::Unverifiable) };
        }
        verify::check_payouts(self.params.network, &self.chain_id, share, &self.window).map(|()| true)
    }

    /// Puts back a share that was in the tree before, without checking it again; parents come before children.
    pub fn restore(&mut self, share: Arc<Share>, verified: bool) {
        // What was stored has passed rule 1: its bits are canonical.
        let work = share.info.share_bits.target().ok().and_then(|target| target.work()).unwrap_or(Work::ZERO);
        self.insert(share.id(), share, work, verified);
    }

    fn insert(&mut self, id: ShareId, share: Arc<Share>, work: Work, verified: bool) -> bool {
        if self.shares.contains_key(&id) {
            // Twice among its parent's children it would be named as an uncle twice.
            return false;
        }
        let entry = self.window_entry(id, &share, work);
        let is_tip = self.tip().is_none_or(|tip| share.info.is_better_than(&id, &tip.share.info, &tip.id));
        let parent = self.get(&share.info.parent).map(|parent| parent.reach);
        let reach = WindowReach::new(entry.as_deref(), parent, share.info.is_genesis());
        self.children.entry(share.info.parent).or_default().push(id);
        self.shares.insert(id, LinkedShare { id, share, work, verified, entry, reach });
        if is_tip {
            self.set_tip(id);
        }
        is_tip
    }

    fn window_entry(&self, id: ShareId, share: &Share, work: Work) -> Option<Arc<WindowEntry>> {
        let uncles: Option<Vec<(PayoutScript, Work)>> = share
            .info
            .uncles
            .iter()
            .map(|uncle| self.get(uncle).map(|uncle| (uncle.share.info.payout_script, uncle.work)))
            .collect();
        Some(Arc::new(WindowEntry::new(id, share.info.parent, share.info.payout_script, work, uncles?.into_iter())))
    }

    /// Makes the main chain end at `tip`: walks back to where it leaves the old one.
    fn set_tip(&mut self, tip: ShareId) {
        let mut branch = Vec::new();
        let mut at = tip;
        let mut root_height = 0;
        while let Some(node) = self.shares.get(&at).filter(|node| !self.is_main(node)) {
            branch.push(at);
            root_height = node.share.info.share_height.0;
            at = node.share.info.parent;
        }
        match self.shares.get(&at).and_then(|fork| fork.share.info.share_height.0.checked_sub(self.main_start)) {
            Some(fork) => self.main.truncate((fork as usize).saturating_add(1)),
            None => {
                self.main.clear();
                self.main_start = root_height;
            }
        }
        self.main.extend(branch.into_iter().rev());
    }

    /// Forgets shares too far below the tip, and Bitcoin blocks no share is built on any more.
    ///
    /// Gives the ids of both, for the store.
    pub fn prune(&mut self) -> (Vec<ShareId>, Vec<BlockHash>) {
        self.prune_all_but(&HashSet::new())
    }

    /// As [`Self::prune`], but keeps these Bitcoin blocks.
    pub(super) fn prune_all_but(&mut self, needed: &HashSet<BlockHash>) -> (Vec<ShareId>, Vec<BlockHash>) {
        let Some(tip) = self.tip() else { return Default::default() };
        let oldest = tip.share.info.share_height.0.saturating_sub(self.params.shares_kept().saturating_sub(1));
        let shares: Vec<ShareId> =
            self.shares.values().filter(|node| node.share.info.share_height.0 < oldest).map(|node| node.id).collect();
        for id in &shares {
            if let Some(node) = self.shares.remove(id) {
                self.children.remove(&node.share.info.parent);
            }
        }
        if let Some(surplus) = oldest.checked_sub(self.main_start).filter(|surplus| *surplus > 0) {
            self.main.drain(..(surplus as usize).min(self.main.len()));
            self.main_start = oldest;
        }
        (shares, self.prune_anchors(needed))
    }

    fn prune_anchors(&mut self, needed: &HashSet<BlockHash>) -> Vec<BlockHash> {
        let used: HashSet<BlockHash> = self.shares.values().map(|node| node.share.header.prev_blockhash).collect();
        // The newest ones may be about to be used.
        let newest = self.anchors.values().map(|anchor| anchor.height).max().unwrap_or_default();
        let old: Vec<BlockHash> = self
            .anchors
            .iter()
            .filter(|(hash, anchor)| !used.contains(*hash) && !needed.contains(*hash) && anchor.height < newest)
            .map(|(hash, _)| *hash)
            .collect();
        for hash in &old {
            self.anchors.remove(hash);
        }
        old
    }
}

impl LinkedShare {
    /// Whether a payout window that ends here may be held; if not, it is not.
    #[cfg(test)]
    pub(super) fn may_hold_window(&self, window: &Window, bits: Bits) -> bool {
        self.reach.may_hold(window, bits)
    }

    /// What the retarget looks at; none if an uncle it names is pruned.
    fn pace(&self) -> Option<RetargetSample> {
        let work_with_uncles = self.entry.as_ref()?.work_with_uncles;
        Some(RetargetSample {
            time: self.share.time(),
            height: self.share.info.share_height,
            work: self.work,
            work_with_uncles,
        })
    }
}
