//! Linked shares whose time is in the future since the clock was set back (rules, section 5, rule 5).
//!
//! They leave the tree, so nothing is built on them, names them or asks peers for what builds on them, and come back when
//! they are due. They were verified, so they need not be verified again; they stay in the store meanwhile, where the clock of the
//! next start decides about them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bitcoin::BlockHash;

use super::tree::LinkedShare;
use super::{Effect, Sharechain};
use crate::share::{ShareDigest, ShareId};
use crate::units::{ShareHeight, UnixTime};

/// A share that left the tree, and when it is due with all that it builds on.
pub(super) struct EarlyShare {
    pub due: UnixTime,
    pub linked: Arc<LinkedShare>,
}

/// By when they are due, then parents first.
type Key = (UnixTime, ShareHeight, ShareId);

/// The shares that wait until they are due.
#[derive(Default)]
pub(super) struct EarlyShares {
    by_due: BTreeMap<Key, Arc<LinkedShare>>,
    keys: HashMap<ShareId, Key>,
}

impl EarlyShares {
    pub fn len(&self) -> usize {
        self.by_due.len()
    }

    /// Whether this very share waits.
    pub fn contains(&self, id: &ShareId, digest: &ShareDigest) -> bool {
        let linked = self.keys.get(id).and_then(|key| self.by_due.get(key));
        linked.is_some_and(|linked| linked.share.digest() == *digest)
    }

    /// The Bitcoin blocks that they build on.
    pub fn anchors(&self) -> impl Iterator<Item = BlockHash> + '_ {
        self.by_due.values().map(|linked| linked.share.header.prev_blockhash)
    }

    fn insert(&mut self, early: EarlyShare) {
        let id = early.linked.id;
        self.remove(&id);
        let key = (early.due, early.linked.info().share_height, id);
        self.keys.insert(id, key);
        self.by_due.insert(key, early.linked);
    }

    fn remove(&mut self, id: &ShareId) -> Option<Arc<LinkedShare>> {
        self.by_due.remove(&self.keys.remove(id)?)
    }

    /// Removes and returns the one that is due last.
    fn pop_last(&mut self) -> Option<ShareId> {
        let (_, linked) = self.by_due.pop_last()?;
        self.keys.remove(&linked.id);
        Some(linked.id)
    }

    /// Removes and returns those that are due, parents first.
    fn take_due(&mut self, now: UnixTime) -> Vec<Arc<LinkedShare>> {
        let mut due = Vec::new();
        while let Some(first) = self.by_due.first_entry().filter(|first| first.key().0 <= now) {
            let linked = first.remove();
            self.keys.remove(&linked.id);
            due.push(linked);
        }
        due.sort_unstable_by_key(|linked| (linked.info().share_height, linked.id));
        due
    }

    /// Removes and returns those below a height.
    pub fn prune(&mut self, oldest: ShareHeight) -> Vec<ShareId> {
        let old: Vec<ShareId> =
            self.keys.iter().filter(|(_, (_, height, _))| *height < oldest).map(|(id, _)| *id).collect();
        old.iter().for_each(|id| drop(self.remove(id)));
        old
    }
}

impl Sharechain {
    /// Lets the shares wait again that are early by this clock, which is known to be right.
    ///
    /// Only what was linked while the clock showed a later time is early, so nearly always this is one comparison.
    pub fn take_early(&mut self, now: UnixTime) -> Vec<Effect> {
        let early = self.tree.unlink_early(now);
        let Some(last_due) = early.iter().map(|share| share.due).max() else { return Vec::new() };
        let tip = self.tree.tip().map(|tip| tip.id);
        self.effects.push(Effect::Early { shares: early.len(), tip, last_due });
        early.into_iter().for_each(|share| self.early.insert(share));
        while self.early.len() > self.early_max() {
            self.effects.extend(self.early.pop_last().map(Effect::Unlinked));
        }
        if let Some(tip) = tip {
            self.after_new_tip(tip);
        }
        self.drain(now);
        std::mem::take(&mut self.effects)
    }

    /// Links the shares that are due, if what they build on and what they name is held.
    pub(super) fn restore_due(&mut self, now: UnixTime) {
        let due = self.early.take_due(now);
        let tip = self.tree.tip().map(|tip| tip.id);
        for linked in due {
            let (id, info) = (linked.id, linked.info());
            // The oldest shares of a pruned chain, which have siblings, are linked without their parent, as when they are loaded.
            let oldest = self.tree.main_chain().first().map(|oldest| oldest.info().share_height);
            let is_oldest = oldest.is_none_or(|oldest| info.share_height <= oldest);
            let is_linkable = info.is_genesis() || is_oldest || self.tree.contains(&info.parent);
            let has_uncles = !linked.verified || info.uncles.iter().all(|uncle| self.tree.contains(uncle));
            if self.tree.contains(&id) {
                continue;
            }
            if !is_linkable || !has_uncles {
                self.effects.push(Effect::Unlinked(id));
                continue;
            }
            self.tree.restore(Arc::clone(&linked.share), linked.verified);
            self.effects.push(Effect::Linked(id));
            self.grown_parents.insert(info.parent);
            self.queue_waiting_for(&id);
        }
        let new = self.tree.tip().map(|tip| tip.id).filter(|new| Some(*new) != tip);
        if let Some(new) = new {
            self.after_new_tip(new);
        }
    }

    /// Number of shares that wait at most: what a tree holds besides its main chain comes and goes.
    pub(super) fn early_max(&self) -> usize {
        2 * self.tree.params().shares_kept() as usize
    }
}
