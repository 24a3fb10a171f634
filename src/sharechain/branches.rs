//! Branches in the unverified pool: when they are checked, and how (rules, section 5, spam).

use std::collections::HashSet;
use std::sync::Arc;

use super::failure::{Failure, Need};
use super::pool::PendingShare;
use super::tree::LinkedShare;
use super::{Checks, Sharechain, Verdict, Wait};
use crate::share::ShareId;
use crate::units::UnixTime;

impl Sharechain {
    /// Keeps a share unverified, or drops it if its sender has sent too many copies of its header.
    pub(super) fn keep_unverified(&mut self, pending: PendingShare) {
        if self.unverified.is_at_copy_limit(&pending) {
            return self.report(&pending, Verdict::Dropped);
        }
        self.report(&pending, Verdict::Unverified);
        let id = pending.id;
        // Branches above may have stood on a copy of this header with other facts: check them again on this one.
        let tip = self.tree.tip().map(LinkedShare::rank);
        let above = self.unverified.descendants(&id).into_iter();
        self.grown.extend(above.filter(|(rank, _)| tip.is_none_or(|tip| *rank > tip)));
        self.grown.insert((pending.rank(), pending.digest));
        for evicted in self.unverified.insert(pending) {
            self.report(&evicted, Verdict::Dropped);
        }
        self.queue.extend(self.deferred.release(&Need::Share(id)));
    }

    /// Takes the best of the branches that have grown, if it claims to be better than the tip's. Returns its last share.
    ///
    /// Branches that have not grown were found not to be better, or not to be valid, before.
    pub(super) fn best_grown_branch(&mut self) -> Option<PendingShare> {
        while let Some((_, digest)) = self.grown.pop_last() {
            match self.unverified.get(&digest) {
                Some(top) if self.claims_to_be_tip(top) => return Some(top.clone()),
                _ => {}
            }
        }
        None
    }

    /// Checks the branch that ends with `top`.
    pub(super) fn check_branch(&mut self, top: &PendingShare, now: UnixTime) {
        let branch = self.unverified.ancestry(top);
        for pending in &branch {
            self.grown.remove(&(pending.rank(), pending.digest));
        }
        let joins_tree = branch.iter().any(|pending| self.tree.contains(&pending.share.info.parent));
        if joins_tree || !branch.iter().any(|pending| pending.share.info.is_genesis()) {
            self.link_branch(branch, now);
        } else if self.tree.headers().is_settled() && self.unverified.has_grown_since_judged(&branch) {
            self.judge_separate_chain(top, now);
        }
    }

    /// Links a branch that grows from the tree, oldest share first.
    ///
    /// A share whose parent is unknown waits for it. A share below that was rejected may have been a copy with other facts,
    /// sent ahead of the true one. Shares above one that waits stay unverified: if they were deferred, the whole branch
    /// would change pools for each uncle that it lacks.
    fn link_branch(&mut self, branch: Vec<PendingShare>, now: UnixTime) {
        // All of them first: linking a share queues those above it that are still in the pool, and from there they would come
        // back to it, the whole branch for each share linked.
        for pending in &branch {
            self.unverified.remove(&pending.digest);
        }
        let mut waiting: HashSet<ShareId> = HashSet::new();
        for pending in branch {
            let (id, digest, parent) = (pending.id, pending.digest, pending.share.info.parent);
            if self.tree.contains(&id) {
                // Another copy of its header was linked.
                continue;
            }
            if self.tree.contains(&parent) {
                self.link(pending, now);
            } else if waiting.contains(&parent) {
                for evicted in self.unverified.insert(pending) {
                    self.report(&evicted, Verdict::Dropped);
                }
            } else {
                self.defer(pending, Wait::For(Need::Share(parent)));
            }
            if self.deferred.contains(&digest) || self.unverified.contains(&digest) {
                waiting.insert(id);
            }
        }
    }

    /// Judges the chain that ends with `top` and has a genesis share of its own in the pool.
    fn judge_separate_chain(&mut self, top: &PendingShare, now: UnixTime) {
        let mut theirs = self.tree.without_shares();
        let chain = self.unverified.ancestry_with_uncles(top);
        for pending in &chain {
            let linked = theirs.link(Arc::clone(&pending.share), pending.work, now, Checks::Full);
            if let Err(failure @ Failure::Broken { .. }) = linked {
                self.unverified.remove(&pending.digest);
                self.fail_share(pending.id, pending.digest, &pending.share, pending.source, &failure);
            }
        }
        match self.replacement_by(theirs, false, now) {
            Some(replacement) => self.adopt(replacement),
            None => self.unverified.mark_judged(&chain),
        }
    }
}
