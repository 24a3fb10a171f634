//! Judging a chain beside ours, and taking it over (rules, section 6): the only way in for shares that do not come one by
//! one, whoever put them together, the planner (`candidate`) or the pool of unverified shares.

use std::sync::Arc;

use super::failure::{Failure, Need};
use super::pools::PendingShare;
use super::tree::{Depth, LinkedShare, Tree};
use super::{adopts, Effect, Sharechain, Verdict};
use crate::share::{ShareDigest, ShareId};
use crate::units::{BlockHeight, ShareHeight, UnixTime};

/// What is to be our tree.
pub(super) enum Better {
    /// A copy of ours that has grown; all of it was checked there.
    Grown(Tree),
    /// A chain that does not join ours.
    Other(Tree),
}

impl Sharechain {
    /// Judges the chain that ends with a share on the pool and has a genesis share of its own there.
    pub(super) fn promote_separate(&mut self, top: &PendingShare, now: UnixTime) {
        let mut other = self.tree.empty_beside();
        let family = self.unverified.family(top);
        for pending in &family {
            let linked = other.link(Arc::clone(&pending.share), pending.work, now, Depth::Full);
            if let Err(failure @ Failure::Broken { .. }) = linked {
                self.unverified.take(&pending.digest);
                self.refuse(pending.id, pending.digest, pending.source, &failure);
            }
        }
        match self.better_of(other, false, now) {
            Some(better) => self.take_over(better),
            None => self.unverified.settle(&family),
        }
    }

    /// What to change to, if a chain is better than ours by the rule for its kind.
    ///
    /// `joined`: the tree is a copy of ours with what was linked since.
    pub(super) fn better_of(&self, theirs: Tree, joined: bool, now: UnixTime) -> Option<Better> {
        if joined {
            return self.is_better(&theirs).then_some(Better::Grown(theirs));
        }
        // Ours may have become what it grows from while it was fetched: then it is a branch as any other.
        match self.regrown(&theirs, now) {
            Some(grown) => self.is_better(&grown).then_some(Better::Grown(grown)),
            None => adopts(&self.tree, &theirs, self.bitcoin_height()).then_some(Better::Other(theirs)),
        }
    }

    fn is_better(&self, theirs: &Tree) -> bool {
        let (Some(ours), Some(theirs)) = (self.tree.tip(), theirs.tip()) else { return false };
        theirs.share.info.is_better_than(&theirs.id, &ours.share.info, &ours.id)
    }

    /// Our tree with all that another has above what both have; none if they have nothing in common, or its tip cannot
    /// be checked on ours.
    fn regrown(&self, theirs: &Tree, now: UnixTime) -> Option<Tree> {
        let tip = theirs.tip()?;
        let held = theirs.ancestry(&tip.id).find_map(|node| Some((node, self.tree.get(&node.id)?)));
        // A base may have a copy of our share with other facts.
        held.filter(|(theirs, ours)| theirs.share.digest() == ours.share.digest())?;
        let mut grown = self.tree.snapshot();
        for node in oldest_first(theirs.shares().filter(|node| !self.tree.contains(&node.id))) {
            // What is refused here leaves their tip without its ancestors.
            let _ = grown.link(Arc::clone(&node.share), node.work, now, Depth::Full);
        }
        grown.contains(&tip.id).then_some(grown)
    }

    /// Height of the newest Bitcoin block known.
    fn bitcoin_height(&self) -> BlockHeight {
        self.tree.anchors().map(|anchor| anchor.height).max().unwrap_or_default()
    }

    /// Changes to another tree; what waited for shares of it is queued.
    pub(super) fn take_over(&mut self, better: Better) {
        let linked = match better {
            Better::Grown(grown) => self.join(&grown),
            Better::Other(other) => self.replace_tree(other),
        };
        for (id, digest) in linked {
            self.effects.push(Effect::Linked(id));
            for waiting in self.unverified.with_id(&id) {
                if let Some(pending) = self.unverified.take(&waiting).filter(|pending| pending.digest == digest) {
                    self.tell(&pending, Verdict::Accepted);
                }
            }
            // Gossip may have brought what follows in the meantime.
            self.queue.extend(self.held.release(&Need::Share(id)));
            self.queue_children(&id);
        }
        // The new tip may claim less than the old one did.
        self.grown.extend(self.unverified.ranks());
        self.effects.extend(self.tree.tip().map(|tip| Effect::NewTip(tip.id)));
    }

    /// Gives the ids of the shares that are new.
    fn join(&mut self, grown: &Tree) -> Vec<(ShareId, ShareDigest)> {
        grown.anchors().for_each(|anchor| self.tree.add_anchor(anchor.clone()));
        let mut linked = Vec::new();
        for node in oldest_first(grown.shares()) {
            // Without its parent it was pruned meanwhile: as old as that it is no use.
            if !self.tree.contains(&node.id) && self.tree.contains(&node.share.info.parent) {
                self.tree.restore(Arc::clone(&node.share), node.verified);
                linked.push((node.id, node.share.digest()));
            }
        }
        linked
    }

    /// Gives the ids of all shares.
    fn replace_tree(&mut self, other: Tree) -> Vec<(ShareId, ShareDigest)> {
        let left = std::mem::replace(&mut self.tree, other);
        if let (Some(old), Some(new)) = (left.tip(), self.tree.tip()) {
            self.effects.push(Effect::Replaced { old: old.id, new: new.id, depth: left.len() });
        }
        self.effects.extend(left.shares().map(|node| Effect::Unlinked(node.id)));
        oldest_first(self.tree.shares()).into_iter().map(|node| (node.id, node.share.digest())).collect()
    }
}

fn oldest_first<'a>(nodes: impl Iterator<Item = &'a LinkedShare>) -> Vec<&'a LinkedShare> {
    let key = |node: &&LinkedShare| -> (ShareHeight, ShareId) { (node.share.info.share_height, node.id) };
    let mut nodes: Vec<&LinkedShare> = nodes.collect();
    nodes.sort_unstable_by_key(key);
    nodes
}
