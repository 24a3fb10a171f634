//! The sharechain: validity, difficulty, fork choice, retention (rules, sections 5 and 6).
//!
//! [`Sharechain`] is a state machine. Its inputs are shares, reports about Bitcoin blocks and the passing of time. It
//! returns [`Effect`]s, which its owner performs.
//!
//! | file | subject |
//! |---|---|
//! | `rules` | validity rules 1, 2 and 4 to 8 |
//! | `failure` | why a share cannot be linked |
//! | `link` | which rules a share must pass to enter the tree |
//! | `tree` | valid shares, main chain, payout windows, pruning |
//! | `side_shares` | which shares off the main chain are kept |
//! | `votes` | what the payout window decides for the next share |
//! | `window_reach` | how much of a payout window is held |
//! | `anchor` | the Bitcoin blocks that shares build on |
//! | `header_index` | which of them are known, and bitcoind's best chain |
//! | `bitcoin_difficulty` | the target of the next Bitcoin block |
//! | `difficulty` | the target of the next share |
//! | `next_share` | what this node's next share is built on |
//! | `pool` | limits for shares that wait outside the tree |
//! | `early` | linked shares that are in the future since the clock was set back |
//! | `deferred` | shares that wait for something unknown or until they are due |
//! | `unverified` | shares of branches that do not claim enough work |
//! | `branches` | when such a branch is checked |
//! | `candidate` | chains that are fetched beside ours |
//! | `takeover` | judging and adopting a chain beside ours |
//! | `fork_choice` | which chain is best |
//! | `effect` | what the sharechain reports |

mod anchor;
pub mod bitcoin_difficulty;
mod branches;
mod candidate;
mod deferred;
pub mod difficulty;
mod early;
mod effect;
mod failure;
mod fork_choice;
mod header_index;
mod link;
mod next_share;
mod pool;
mod rules;
mod side_shares;
mod takeover;
#[cfg(test)]
mod tests;
mod tree;
mod unverified;
mod votes;
mod window_reach;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bitcoin::block::Header;

pub use anchor::{meets_own_bits, Anchor, HeaderFault, RecentTimes};
pub use candidate::{candidate_shares_max, CandidateId, CandidateOutcome, CANDIDATES_MAX, COMPARE_MAX_S};
pub use effect::{Effect, Source, Verdict};
pub use failure::{Failure, Need, Rule};
pub use header_index::{BestChain, Branch, HeaderIndex, HeadersVerdict, BEST_CHAIN_DEPTH, FETCHED_LEN_MAX};
pub use link::Checks;
pub use next_share::{next_block_height_min, next_share};
pub use rules::{subsidy, AHEAD_MAX_S};
#[cfg(test)]
pub(crate) use tests::support as tests_support;
pub use tree::{LinkedShare, Tree};
pub use window_reach::WindowReach;

use crate::params::UNCLE_DEPTH_MAX;
use crate::peer::PeerHandle;
use crate::share::{Share, ShareDigest, ShareId};
use crate::table_size::TableSize;
use crate::units::UnixTime;
use candidate::CandidateChain;
use deferred::{DeferredPool, Wait};
use early::EarlyShares;
use pool::{PendingShare, Rank, RejectedDigests};
use unverified::UnverifiedPool;

/// Seconds after which a share whose parent, uncle or anchor stays unknown is dropped. It may come again.
pub const DEFERRED_MAX_S: u32 = 600;
/// Number of shares that come between two prunings of the tree: far more than a pool of any size makes.
const SHARES_BETWEEN_PRUNINGS_MAX: usize = 1_000;

/// The sharechain and everything that waits to become part of it.
pub struct Sharechain {
    tree: Tree,
    deferred: DeferredPool,
    early: EarlyShares,
    unverified: UnverifiedPool,
    rejected: RejectedDigests,
    candidates: BTreeMap<CandidateId, CandidateChain>,
    /// Shares to process. Empty between inputs.
    queue: VecDeque<PendingShare>,
    /// The last shares of unverified branches to look at when the queue is empty, the best one last.
    grown: BTreeSet<(Rank, ShareDigest)>,
    /// The parents of the shares that were linked since the limit of their children was applied.
    grown_parents: BTreeSet<ShareId>,
    /// The effects of the current input.
    effects: Vec<Effect>,
}

impl Sharechain {
    /// Starts with the shares that were stored.
    pub fn new(tree: Tree) -> Self {
        Self {
            tree,
            deferred: DeferredPool::new(),
            early: EarlyShares::default(),
            unverified: UnverifiedPool::new(),
            rejected: RejectedDigests::new(),
            candidates: BTreeMap::new(),
            queue: VecDeque::new(),
            grown: BTreeSet::new(),
            grown_parents: BTreeSet::new(),
            effects: Vec::new(),
        }
    }

    /// The valid shares.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The valid shares, to move the payout window.
    pub const fn tree_mut(&mut self) -> &mut Tree {
        &mut self.tree
    }

    /// Removes shares too far below the tip, side shares that are not kept, and Bitcoin blocks that no share builds on. Returns
    /// the ids of the shares.
    pub fn prune(&mut self) -> Vec<ShareId> {
        let mut pruned = self.early.prune(self.tree.oldest_kept());
        pruned.extend(self.tree.prune(self.early.anchors()));
        pruned
    }

    /// Number of shares in the deferred pool and in the unverified pool.
    pub fn waiting(&self) -> (usize, usize) {
        (self.deferred.len() + self.early.len(), self.unverified.len())
    }

    /// The sizes of the tables.
    pub fn tables(&self) -> [TableSize; 6] {
        let kept = self.tree.params().shares_kept() as usize;
        [
            // The main chain, its uncles, and what came since the last pruning.
            TableSize::new("shares", self.tree.len(), 4 * kept + SHARES_BETWEEN_PRUNINGS_MAX),
            TableSize::new("deferred shares", self.deferred.len(), DeferredPool::LEN_MAX),
            TableSize::new("early shares", self.early.len(), self.early_max()),
            TableSize::new("unverified shares", self.unverified.len(), UnverifiedPool::LEN_MAX),
            TableSize::new("rejected shares", self.rejected.len(), RejectedDigests::LEN_MAX),
            TableSize::new("candidate chains", self.candidates.len(), CANDIDATES_MAX),
        ]
    }

    /// Receives a share from a miner or a peer.
    pub fn receive(&mut self, share: Arc<Share>, source: Source, now: UnixTime) -> Vec<Effect> {
        debug_assert!(self.queue.is_empty() && self.effects.is_empty(), "every input is processed to its end");
        let (id, digest) = (share.id(), share.digest());
        let is_known = self.tree.contains(&id)
            || self.early.contains(&id, &digest)
            || self.deferred.contains(&digest)
            || self.unverified.contains(&digest)
            || self.rejected.contains(&digest);
        if is_known {
            // The peer that gave it first may not have the header that it waits for, or not give it.
            let anchor = self.deferred.anchor_of(&digest).map(Need::Anchor);
            let request = anchor.map(|need| Effect::Request { need, share: id, source });
            let known = Effect::Verdict { id, digest, source, verdict: Verdict::Known };
            return std::iter::once(known).chain(request).collect();
        }
        match rules::check_alone(self.tree.params(), &share, &id) {
            Ok(work) => {
                self.queue.push_back(PendingShare { id, digest, share, work, source, since: now });
                self.drain(now);
            }
            Err(failure) => self.fail_share(id, digest, &share, source, &failure),
        }
        std::mem::take(&mut self.effects)
    }

    /// Follows bitcoind's best chain.
    pub fn follow_best_chain(&mut self, report: BestChain, now: UnixTime) -> Vec<Effect> {
        let was_settled = self.tree.headers().is_settled();
        self.tree.headers_mut().follow(report);
        if self.tree.headers().is_settled() && !was_settled {
            // Separate chains were not judged before.
            self.grown.extend(self.unverified.ranks());
        }
        // Bitcoin's time changes what shares count.
        if let Some(tip) = self.tree.choose_tip() {
            self.after_new_tip(tip);
        }
        self.after_new_headers(now)
    }

    /// Adds a block of bitcoind's best chain that is older than those it reports, where it is not held.
    pub fn anchor_known(&mut self, anchor: Anchor, now: UnixTime) -> Vec<Effect> {
        // A candidate may name thousands: its other headers stay as they are.
        self.add_to_candidates(&anchor);
        self.tree.headers_mut().add_best_below(anchor);
        self.release_anchored(now);
        self.advance_candidates(now);
        std::mem::take(&mut self.effects)
    }

    /// Receives Bitcoin headers from a peer, oldest first, each the parent of the next.
    pub fn receive_headers(
        &mut self,
        headers: &[Header],
        sender: PeerHandle,
        branch: Branch,
        now: UnixTime,
    ) -> (Vec<Effect>, HeadersVerdict) {
        let verdict = self.tree.headers_mut().receive(headers, sender, branch, now);
        (self.after_new_headers(now), verdict)
    }

    /// Continues with the shares that waited for headers.
    fn after_new_headers(&mut self, now: UnixTime) -> Vec<Effect> {
        self.release_anchored(now);
        self.update_candidates_headers(now);
        std::mem::take(&mut self.effects)
    }

    /// Processes the shares that waited for headers which are known now.
    fn release_anchored(&mut self, now: UnixTime) {
        for hash in self.deferred.anchors() {
            if self.tree.anchor(&hash).is_some() {
                self.queue.extend(self.deferred.release(&Need::Anchor(hash)));
            }
        }
        self.drain(now);
    }

    /// The clock was set forward: what waits has not waited longer for it.
    pub fn clock_set_forward(&mut self, by_s: u32, now: UnixTime) {
        self.deferred.delay_arrivals(by_s, now);
        self.candidates.values_mut().for_each(|candidate| candidate.delay(by_s, now));
    }

    /// Processes shares that are due, drops those that waited too long, and requests again what is missing.
    pub fn tick(&mut self, now: UnixTime) -> Vec<Effect> {
        self.restore_due(now);
        self.queue.extend(self.deferred.release_due(now));
        self.deferred.clamp_arrivals(now);
        for pending in self.deferred.expire(now.minus(DEFERRED_MAX_S)) {
            self.report(&pending, Verdict::Dropped);
        }
        self.drain(now);
        let needs = self.deferred.needs().into_iter();
        self.effects.extend(needs.map(|(need, share, source)| Effect::Request { need, share, source }));
        self.tick_candidates(now);
        std::mem::take(&mut self.effects)
    }

    /// Processes the queue, the shares that this releases, and the branches that have grown, until nothing is left.
    fn drain(&mut self, now: UnixTime) {
        loop {
            while let Some(pending) = self.queue.pop_front() {
                self.process(pending, now);
                self.remove_excess_children();
            }
            self.remove_excess_children();
            let Some(top) = self.best_grown_branch() else { return };
            self.check_branch(&top, now);
        }
    }

    fn process(&mut self, pending: PendingShare, now: UnixTime) {
        let info = &pending.share.info;
        let is_parent_linked = self.tree.contains(&info.parent);
        if self.tree.contains(&pending.id) {
            self.report(&pending, Verdict::Known);
        } else if (self.is_recent(&info.parent) && self.tree.has_room_beside(&pending))
            || (is_parent_linked && self.claims_to_be_tip(&pending))
        {
            self.link(pending, now);
        } else if info.is_genesis() || is_parent_linked || self.unverified.contains_id(&info.parent) {
            // What waits must not take the place of a share that could be kept, nor must a false claim.
            match self.tree.check_claims(&pending.share, pending.work, now) {
                Ok(()) => self.keep_unverified(pending),
                Err(failure) => self.fail(pending, &failure),
            }
        } else {
            // One that is not due need not ask for its parent, which mostly is not due either.
            let early = rules::known_anchor(&self.tree, &pending.share)
                .and_then(|anchor| rules::check_due(&pending.share, anchor, now));
            let wait = match early {
                Err(Failure::Early(due)) => Wait::Until(due),
                _ => Wait::For(Need::Share(info.parent)),
            };
            self.defer(pending, wait);
        }
    }

    /// Whether a parent, or where its branch leaves the main chain, is so near the tip that its children may still become
    /// uncles. These are checked at once.
    ///
    /// The older a parent, the more its children's target may be eased, until a share costs next to nothing.
    fn is_recent(&self, parent: &ShareId) -> bool {
        let Some(tip) = self.tree.tip() else { return *parent == ShareId::ZERO };
        let mut branch = self.tree.ancestry(parent).take(UNCLE_DEPTH_MAX as usize);
        let Some(fork) = branch.find(|share| self.tree.is_main(share)) else { return false };
        tip.info().share_height.0.saturating_sub(fork.info().share_height.0) <= UNCLE_DEPTH_MAX
    }

    /// Whether a share would be the tip if everything it claims is true and every share above the fork counts in full.
    fn claims_to_be_tip(&self, pending: &PendingShare) -> bool {
        self.tree.tip().is_none_or(|tip| pending.rank() > tip.rank())
    }

    /// Links a share, after those of its uncles that are in the unverified pool. They were not checked while its branch was
    /// not the main chain.
    fn link(&mut self, pending: PendingShare, now: UnixTime) {
        let mut nephews = vec![pending];
        while let Some(pending) = nephews.pop() {
            match self.tree.link(Arc::clone(&pending.share), pending.work, now, Checks::Full) {
                Ok(is_tip) => self.after_link(&pending, is_tip),
                Err(failure @ Failure::Missing(Need::Share(_))) => match self.take_unverified_uncle(&pending.share) {
                    Some(uncle) => nephews.extend([pending, uncle]),
                    None => {
                        // An uncle in the pool waits for the one that it is built on.
                        let need = pending.share.info.uncles.iter().find(|uncle| !self.holds(uncle));
                        let failure = need.map_or(failure, |need| Failure::Missing(Need::Share(*need)));
                        self.fail(pending, &failure);
                    }
                },
                Err(failure) => self.fail(pending, &failure),
            }
        }
    }

    /// Whether a share is in the tree or in the unverified pool.
    fn holds(&self, id: &ShareId) -> bool {
        self.tree.contains(id) || self.unverified.contains_id(id)
    }

    /// Takes an uncle of this share out of the unverified pool if it can be checked now. One may be built on another.
    fn take_unverified_uncle(&mut self, nephew: &Share) -> Option<PendingShare> {
        let copies = nephew.info.uncles.iter().flat_map(|id| self.unverified.with_id(id));
        let digest = copies.into_iter().find(|uncle| self.tree.contains(&uncle.share.info.parent))?.digest;
        self.unverified.remove(&digest)
    }

    fn after_link(&mut self, pending: &PendingShare, is_tip: bool) {
        self.effects.push(Effect::Linked(pending.id));
        self.report(pending, Verdict::Accepted);
        self.grown_parents.insert(pending.share.info.parent);
        // A copy with other facts under the same header can never be valid now.
        self.unverified.remove_id(&pending.id);
        self.queue_waiting_for(&pending.id);
        if is_tip {
            self.after_new_tip(pending.id);
        }
    }

    fn after_new_tip(&mut self, tip: ShareId) {
        self.effects.push(Effect::NewTip(tip));
        // Shares beside a branch that became the main chain may become uncles now.
        let nearest = self.tree.ancestry(&tip).skip(1).take(UNCLE_DEPTH_MAX as usize);
        let nearest = nearest.flat_map(|ancestor| self.tree.with_side_branches(&ancestor.id));
        for id in nearest.collect::<Vec<ShareId>>() {
            self.queue.extend(self.unverified.remove_children(&id));
        }
    }

    /// Queues the shares that wait for one that was linked, and the unverified shares built directly on it.
    fn queue_waiting_for(&mut self, id: &ShareId) {
        self.queue.extend(self.deferred.release(&Need::Share(*id)));
        self.queue.extend(self.unverified.remove_children(id));
    }

    /// Removes the children that are too many on the parents whose children have grown in number.
    ///
    /// Not before a whole branch is linked: its first share may have the lowest rank until then.
    fn remove_excess_children(&mut self) {
        let parents = std::mem::take(&mut self.grown_parents);
        let mut removed: BTreeSet<ShareId> =
            parents.iter().flat_map(|parent| self.tree.remove_excess_children(parent)).collect();
        if !removed.is_empty() {
            // Who stores what was linked must not look for what the same input removed.
            self.effects.retain(|effect| !matches!(effect, Effect::Linked(id) if removed.remove(id)));
            self.effects.extend(removed.into_iter().map(Effect::Unlinked));
        }
    }

    fn defer(&mut self, pending: PendingShare, wait: Wait) {
        self.report(&pending, Verdict::Deferred);
        if let Wait::For(need) = wait {
            self.effects.push(Effect::Request { need, share: pending.id, source: pending.source });
        }
        for evicted in self.deferred.insert(pending, wait) {
            self.report(&evicted, Verdict::Dropped);
        }
    }

    /// Rejects a share that breaks a rule, defers one that waits, and drops one that cannot be verified.
    fn fail(&mut self, pending: PendingShare, failure: &Failure) {
        match failure {
            Failure::Missing(need) => self.defer(pending, Wait::For(*need)),
            Failure::Early(due) => self.defer(pending, Wait::Until(*due)),
            _ => self.fail_share(pending.id, pending.digest, &pending.share, pending.source, failure),
        }
    }

    fn fail_share(&mut self, id: ShareId, digest: ShareDigest, share: &Share, source: Source, failure: &Failure) {
        let verdict = match failure {
            Failure::Broken { rule, why } => {
                self.rejected.insert(digest);
                Verdict::Rejected { rule: *rule, why, height: share.info.share_height }
            }
            Failure::NewerRules(version) => Verdict::NewerRules(*version),
            _ => Verdict::Dropped,
        };
        self.effects.push(Effect::Verdict { id, digest, source, verdict });
    }

    fn report(&mut self, pending: &PendingShare, verdict: Verdict) {
        let PendingShare { id, digest, source, .. } = *pending;
        self.effects.push(Effect::Verdict { id, digest, source, verdict });
    }
}
