//! Judging a chain beside ours and adopting it (rules, section 6). Shares that do not come one by one enter the tree only
//! here, whether they come from a candidate chain or from the unverified pool.

use std::sync::Arc;

use super::tree::{LinkedShare, Tree};
use super::{Checks, Effect, Sharechain, Verdict};
use crate::share::{ShareDigest, ShareId};
use crate::units::UnixTime;

/// A tree that will replace ours.
pub(super) enum Replacement {
    /// A copy of ours with more shares, all of them checked.
    Extended(Tree),
    /// A chain that shares no history with ours.
    Separate(Tree),
}

impl Sharechain {
    /// Returns the tree to adopt if a chain is better than ours.
    ///
    /// `joined`: `theirs` is a copy of our tree and what was linked to it since.
    pub(super) fn replacement_by(&self, theirs: Tree, joined: bool, now: UnixTime) -> Option<Replacement> {
        if joined {
            return self.tree.loses_to(&theirs).then_some(Replacement::Extended(theirs));
        }
        // Ours may have become a part of theirs while theirs was fetched. Then theirs is like any other branch.
        match self.grafted(&theirs, now) {
            Some(grafted) => self.tree.loses_to(&grafted).then_some(Replacement::Extended(grafted)),
            None => (theirs.is_verified() && self.tree.loses_to(&theirs)).then_some(Replacement::Separate(theirs)),
        }
    }

    /// Returns our tree with all shares of another. `None` if they have no share in common, or if the other's tip cannot
    /// be linked to ours.
    fn grafted(&self, theirs: &Tree, now: UnixTime) -> Option<Tree> {
        let tip = theirs.tip()?;
        let common = theirs.ancestry(&tip.id).find_map(|share| Some((share, self.tree.get(&share.id)?)));
        // A base may have a copy of our share with other facts.
        common.filter(|(theirs, ours)| theirs.share.digest() == ours.share.digest())?;
        let mut grafted = self.tree.snapshot();
        grafted.headers_mut().absorb(theirs.headers());
        for linked in oldest_first(theirs.shares().filter(|linked| !self.tree.contains(&linked.id))) {
            // If an ancestor of their tip fails, the tip fails too, which is looked at below.
            let _ = grafted.link(Arc::clone(&linked.share), linked.work, now, Checks::Full);
        }
        grafted.contains(&tip.id).then_some(grafted)
    }

    /// Replaces our tree and queues the shares that waited for shares of the new one.
    pub(super) fn adopt(&mut self, replacement: Replacement) {
        let linked = match replacement {
            Replacement::Extended(extended) => self.join(&extended),
            Replacement::Separate(separate) => self.replace_tree(separate),
        };
        for (id, digest) in linked {
            self.effects.push(Effect::Linked(id));
            self.grown_parents.extend(self.tree.get(&id).map(|share| share.info().parent));
            for pending in self.unverified.remove_id(&id).iter().filter(|pending| pending.digest == digest) {
                self.report(pending, Verdict::Accepted);
            }
            // Gossip may have brought shares above it meanwhile.
            self.queue_waiting_for(&id);
        }
        // The new tip may claim less work than the old one.
        self.grown.extend(self.unverified.ranks());
        self.effects.extend(self.tree.tip().map(|tip| Effect::NewTip(tip.id)));
    }

    /// Adds the shares and anchors that `extended` has more than our tree. Returns the new shares, oldest first.
    fn join(&mut self, extended: &Tree) -> Vec<(ShareId, ShareDigest)> {
        self.tree.headers_mut().absorb(extended.headers());
        let mut joined = Vec::new();
        for linked in oldest_first(extended.shares()) {
            // A share whose parent is not held was pruned from our tree meanwhile: it is too old.
            if !self.tree.contains(&linked.id) && self.tree.contains(&linked.info().parent) {
                self.tree.restore(Arc::clone(&linked.share), linked.verified);
                joined.push((linked.id, linked.share.digest()));
            }
        }
        joined
    }

    /// Makes a separate tree ours. Returns its shares, oldest first.
    fn replace_tree(&mut self, mut separate: Tree) -> Vec<(ShareId, ShareDigest)> {
        separate.update_headers(&self.tree);
        let left = std::mem::replace(&mut self.tree, separate);
        let new = self.tree.tip().expect("an adopted chain has a tip");
        // What the same input linked before is left as well. Its owner must not look for it in the new tree.
        self.effects.retain(|effect| !matches!(effect, Effect::Linked(_)));
        if let Some(old) = left.tip() {
            self.effects.push(Effect::Replaced { old: old.id, new: new.id, depth: left.len() });
        }
        self.effects.extend(left.shares().map(|linked| Effect::Unlinked(linked.id)));
        oldest_first(self.tree.shares()).into_iter().map(|linked| (linked.id, linked.share.digest())).collect()
    }
}

fn oldest_first<'a>(shares: impl Iterator<Item = &'a LinkedShare>) -> Vec<&'a LinkedShare> {
    let mut shares: Vec<&LinkedShare> = shares.collect();
    shares.sort_unstable_by_key(|linked| (linked.info().share_height, linked.id));
    shares
}
