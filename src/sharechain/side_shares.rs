//! Which shares off the main chain are kept (rules, section 5, side shares). They can cost next to nothing to make while a
//! pool is idle.
//!
//! With a share its ancestors and the uncles it names are kept, as far as they are held. Otherwise its branch could not be
//! followed, nor its payouts derived after a restart.

use std::cmp::Reverse;
use std::collections::HashSet;

use super::pool::{PendingShare, Rank};
use super::tree::{LinkedShare, Tree};
use crate::share::ShareId;
use crate::units::ShareHeight;

/// Number of children beside the main chain that are kept of one parent, not counting those whose branch has an uncle that
/// another kept share names.
pub(super) const SIDE_CHILDREN_MAX: usize = 16;
/// Number of shares on all branches that leave the main chain at one share, from which on these branches do not grow. Children
/// that side shares name do not count among the sixteen, so that limit alone does not bound them.
const SIDE_SHARES_MAX: usize = 64;

impl Tree {
    /// Whether a share on a linked parent would be kept among the children of that parent.
    ///
    /// On a parent off the main chain, all shares of the branch count. Otherwise sixteen children of each of sixteen children
    /// would be kept.
    pub(super) fn has_room_beside(&self, pending: &PendingShare) -> bool {
        let parent = &pending.share.info.parent;
        if self.side_children(parent).nth(SIDE_CHILDREN_MAX - 1).is_none() {
            let branch = self.ancestry(parent).take_while(|share| !self.is_main(share)).last();
            return branch.is_none_or(|branch| {
                self.with_side_branches(&branch.id).len() < SIDE_CHILDREN_MAX
                    && self.with_side_branches(&branch.info().parent).len() <= SIDE_SHARES_MAX
            });
        }
        let better = self.ranked_children(parent).into_iter().filter(|(rank, _)| *rank > pending.rank());
        better.count() < SIDE_CHILDREN_MAX
    }

    /// Removes the branches that are too many on one parent, and returns the ids of their shares.
    pub(super) fn remove_excess_children(&mut self, parent: &ShareId) -> Vec<ShareId> {
        if self.side_children(parent).nth(SIDE_CHILDREN_MAX).is_none() {
            return Vec::new();
        }
        let excess = self.ranked_children(parent).into_iter().skip(SIDE_CHILDREN_MAX);
        let removed: Vec<ShareId> = excess.flat_map(|(_, branch)| branch).collect();
        removed.iter().for_each(|id| self.remove_side(id));
        removed
    }

    /// The branches that begin with a child of this share and have no uncle that a share outside of the branch names, each
    /// with its rank: the most chain work in it, then the lowest id of the child. The best comes first.
    fn ranked_children(&self, parent: &ShareId) -> Vec<(Rank, Vec<ShareId>)> {
        let height = self.get(parent).map(|parent| parent.info().share_height);
        let is_above = |share: &&LinkedShare| height.is_none_or(|height| share.info().share_height > height);
        let main = self.main_chain().iter().rev().map(AsRef::as_ref).take_while(is_above);
        let side = self.side_shares().map(AsRef::as_ref).filter(is_above);
        let named: Vec<(ShareId, ShareId)> =
            main.chain(side).flat_map(|nephew| nephew.info().uncles.iter().map(|uncle| (*uncle, nephew.id))).collect();
        let ranked = |child: &LinkedShare| {
            let branch = self.with_side_branches(&child.id);
            let held: HashSet<&ShareId> = branch.iter().collect();
            let is_named = named.iter().any(|(uncle, nephew)| held.contains(uncle) && !held.contains(nephew));
            let work = branch.iter().filter_map(|id| self.get(id)).map(|share| share.info().chain_work).max()?;
            (!is_named).then_some(((work, Reverse(child.id)), branch))
        };
        let mut all: Vec<(Rank, Vec<ShareId>)> = self.side_children(parent).filter_map(ranked).collect();
        all.sort_unstable_by_key(|(rank, _)| Reverse(*rank));
        all
    }

    /// A share and all shares above it that are off the main chain.
    pub(super) fn with_side_branches(&self, first: &ShareId) -> Vec<ShareId> {
        let mut branch = vec![*first];
        let mut next = 0;
        while let Some(id) = branch.get(next).copied() {
            branch.extend(self.side_children(&id).map(|child| child.id));
            next += 1;
        }
        branch
    }

    /// The shares off the main chain that pruning removes: those a retarget window or more below the tip, unless a share that
    /// is kept is built on them or names them, and then those that are too many on one parent.
    pub(super) fn prune_side(&mut self) -> Vec<ShareId> {
        let tip = self.tip().map_or(ShareHeight(0), |tip| tip.info().share_height);
        let is_near =
            |share: &&LinkedShare| tip.0.saturating_sub(share.info().share_height.0) < self.params().retarget_window;
        let side = || self.side_shares().map(AsRef::as_ref);
        let mut kept: HashSet<ShareId> = HashSet::new();
        let mut next: Vec<&LinkedShare> =
            self.main_chain().iter().map(AsRef::as_ref).chain(side().filter(is_near)).collect();
        while let Some(share) = next.pop() {
            let is_main = self.is_main(share);
            if !is_main && !kept.insert(share.id) {
                continue;
            }
            let parent = (!is_main).then_some(&share.info().parent);
            let needed = share.info().uncles.iter().chain(parent).filter_map(|id| self.get(id));
            next.extend(needed.filter(|needed| !self.is_main(needed)));
        }
        let mut removed: Vec<ShareId> = side().map(|share| share.id).filter(|id| !kept.contains(id)).collect();
        removed.iter().for_each(|id| self.remove_side(id));
        let parents: HashSet<ShareId> = self.side_shares().map(|share| share.info().parent).collect();
        for parent in parents {
            removed.extend(self.remove_excess_children(&parent));
        }
        removed
    }
}
