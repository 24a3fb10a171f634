//! The tree of shares: validity, difficulty, fork choice, retention (rules, sections 5 and 6).
//!
//! [`Sharechain`] is a step function: a share, a word of bitcoind or the passing of time goes in, [`Effect`]s
//! come out, and its owner performs them.
//!
//! | file | subject |
//! |---|---|
//! | `rules` | validity rules 1, 2 and 4 to 7 |
//! | `verify` | rule 8 |
//! | `difficulty` | the next share's target |
//! | `tree` | valid shares, fork choice, pruning |
//! | `reach` | how much of a payout window is held |
//! | `pools` | shares that wait, and their budgets |
//! | `next` | what the next share is built on |
//! | `adoption` | when a chain that does not join ours is taken for it |
//! | `candidate` | chains that are kept candidate until they are whole |
//! | `takeover` | judging and taking over such a chain |

mod adoption;
mod anchor;
mod candidate;
pub mod difficulty;
mod failure;
mod next;
pub mod next_bits;
mod pools;
mod reach;
mod rules;
mod takeover;
#[cfg(test)]
mod tests;
mod tree;
mod verify;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use bitcoin::BlockHash;

pub use adoption::adopts;
pub use anchor::Anchor;
pub use candidate::{candidate_shares_max, CandidateId, CandidateOutcome, CANDIDATES_MAX, COMPARE_MAX_S};
pub use failure::{Failure, Need, Rule};
pub use next::{next_block_height_min, next_share};
pub use rules::AHEAD_MAX_S;
#[cfg(test)]
pub(crate) use tests::kit as tests_support;
pub use tree::{Depth, LinkedShare, Tree};
pub use verify::subsidy;

use crate::params::UNCLE_DEPTH_MAX;
use crate::peer::PeerHandle;
use crate::share::{Share, ShareDigest, ShareId};
use crate::table_size::TableSize;
use crate::units::UnixTime;
use candidate::CandidateChain;
use pools::{DeferredPool, PendingShare, Rank, RejectedDigests, UnverifiedPool, Wait};

/// A share whose parent or Bitcoin block stays unknown is dropped after ten minutes; it may come again.
pub const HELD_MAX_S: u32 = 600;
/// Shares that come between two prunings of the tree: far more than a pool of any size makes.
const SHARES_BETWEEN_PRUNINGS_MAX: usize = 1_000;

/// Where a share came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A miner of this node.
    Local,
    /// A peer relayed it by gossip: the network waits for a verdict.
    Gossip(PeerHandle),
    /// A peer gave it in response to a request.
    Fetch(PeerHandle),
}

impl Source {
    /// The peer it came from; `None` for this node's miners.
    pub const fn peer(self) -> Option<PeerHandle> {
        match self {
            Self::Local => None,
            Self::Gossip(peer) | Self::Fetch(peer) => Some(peer),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("own miner"),
            Self::Gossip(peer) => write!(f, "peer {peer} by gossip"),
            Self::Fetch(peer) => write!(f, "peer {peer} by request"),
        }
    }
}

/// What became of a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is valid and in the tree.
    Accepted,
    /// It was known.
    Known,
    /// It waits for its parent or an uncle (an orphan), for its Bitcoin block, or for its time.
    Deferred,
    /// It is on a branch that does not claim enough work to be looked at.
    Unverified,
    /// It could not be judged, or was given up for want of room or patience.
    Dropped,
    /// It breaks a rule.
    Rejected {
        /// Which.
        rule: Rule,
        /// In what way.
        why: &'static str,
    },
}

/// What the owner of the sharechain is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell whoever sent the share.
    Verdict {
        /// The share's header hash.
        id: ShareId,
        /// The share.
        digest: ShareDigest,
        /// Who sent it.
        source: Source,
        /// What became of it.
        verdict: Verdict,
    },
    /// Ask for this, first of whoever sent the share that needs it.
    Ask {
        /// What is missing.
        need: Need,
        /// Who sent the share that needs it.
        source: Source,
    },
    /// Store this share: it is in the tree.
    Linked(ShareId),
    /// Forget this share: the chain it was on was left.
    Unlinked(ShareId),
    /// A chain that shares no history with ours replaced it.
    Replaced {
        /// The tip before.
        old: ShareId,
        /// The tip now.
        new: ShareId,
        /// Shares of the old chain that were left.
        depth: usize,
    },
    /// There is another tip.
    NewTip(ShareId),
    /// A chain kept candidate was judged, or given up.
    CandidateJudged {
        /// Which.
        id: CandidateId,
        /// What became of it.
        outcome: CandidateOutcome,
    },
}

/// The sharechain and all that waits to become part of it.
pub struct Sharechain {
    tree: Tree,
    held: DeferredPool,
    unverified: UnverifiedPool,
    rejected: RejectedDigests,
    candidate: BTreeMap<CandidateId, CandidateChain>,
    queue: VecDeque<PendingShare>,
    /// UnverifiedPool shares whose branches are to be looked at when the queue is empty; best last.
    grown: BTreeSet<(Rank, ShareDigest)>,
    effects: Vec<Effect>,
}

impl Sharechain {
    /// Starts with what was stored.
    pub fn new(tree: Tree) -> Self {
        Self {
            tree,
            held: DeferredPool::new(),
            unverified: UnverifiedPool::new(),
            rejected: RejectedDigests::new(),
            candidate: BTreeMap::new(),
            queue: VecDeque::new(),
            grown: BTreeSet::new(),
            effects: Vec::new(),
        }
    }

    /// The valid shares.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The valid shares, for payout windows.
    pub const fn tree_mut(&mut self) -> &mut Tree {
        &mut self.tree
    }

    /// Forgets shares too far below the tip, and Bitcoin blocks no share is built on any more, waiting ones included.
    ///
    /// Gives the ids of both, for the store.
    pub fn prune(&mut self) -> (Vec<ShareId>, Vec<BlockHash>) {
        self.tree.prune_all_but(&self.unverified.anchors())
    }

    /// Shares that wait: for something unknown or their time, and on branches not looked at.
    pub fn waiting(&self) -> (usize, usize) {
        (self.held.len(), self.unverified.len())
    }

    /// The sizes of the tables.
    pub fn tables(&self) -> [TableSize; 5] {
        let kept = self.tree.params().shares_kept() as usize;
        [
            // The main chain, its uncles, and what came since the last pruning.
            TableSize::new("shares", self.tree.len(), 4 * kept + SHARES_BETWEEN_PRUNINGS_MAX),
            TableSize::new("waiting shares", self.held.len(), DeferredPool::LEN_MAX),
            TableSize::new("unverified shares", self.unverified.len(), UnverifiedPool::LEN_MAX),
            TableSize::new("rejected shares", self.rejected.len(), RejectedDigests::LEN_MAX),
            TableSize::new("candidate chains", self.candidate.len(), CANDIDATES_MAX),
        ]
    }

    /// Takes a share from a miner or a peer.
    pub fn receive(&mut self, share: Arc<Share>, source: Source, now: UnixTime) -> Vec<Effect> {
        let (id, digest) = (share.id(), share.digest());
        let known = self.tree.contains(&id)
            || self.held.contains(&digest)
            || self.unverified.contains(&digest)
            || self.rejected.contains(&digest);
        if known {
            return vec![Effect::Verdict { id, digest, source, verdict: Verdict::Known }];
        }
        let checked = rules::check_alone(self.tree.params(), &share, &id);
        match checked {
            Ok(work) => {
                self.queue.push_back(PendingShare { id, digest, share, work, source, since: now });
                self.drain(now);
            }
            Err(failure) => self.refuse(id, digest, source, &failure),
        }
        std::mem::take(&mut self.effects)
    }

    /// Takes bitcoind's word that a Bitcoin block is known and not invalid.
    pub fn anchor_known(&mut self, anchor: Anchor, now: UnixTime) -> Vec<Effect> {
        let need = Need::Anchor(anchor.header.block_hash());
        self.candidates_anchor_known(&anchor, now);
        self.tree.add_anchor(anchor);
        self.queue.extend(self.held.release(&need));
        self.drain(now);
        std::mem::take(&mut self.effects)
    }

    /// Takes bitcoind's word that a Bitcoin block is invalid.
    pub fn anchor_invalid(&mut self, hash: BlockHash) -> Vec<Effect> {
        for pending in self.held.release(&Need::Anchor(hash)) {
            let failure = Failure::broken(Rule::Anchor, "built on an invalid Bitcoin block");
            self.refuse(pending.id, pending.digest, pending.source, &failure);
        }
        self.candidates_anchor_invalid(hash);
        std::mem::take(&mut self.effects)
    }

    /// Looks at what waited for its time, gives up what waited too long, and asks again for what is missing.
    pub fn tick(&mut self, now: UnixTime) -> Vec<Effect> {
        self.queue.extend(self.held.release_due(now));
        self.held.came_by(now);
        for pending in self.held.give_up_before(now.minus(HELD_MAX_S)) {
            self.tell(&pending, Verdict::Dropped);
        }
        self.drain(now);
        let asks = self.held.needs().into_iter().map(|(need, source)| Effect::Ask { need, source });
        self.effects.extend(asks);
        self.tick_candidates(now);
        std::mem::take(&mut self.effects)
    }

    /// Looks at whatever is queued, at what that sets free, and at branches that have grown, until nothing is left.
    fn drain(&mut self, now: UnixTime) {
        loop {
            while let Some(pending) = self.queue.pop_front() {
                self.consider(pending, now);
            }
            let Some(top) = self.best_grown() else { return };
            self.promote(&top, now);
        }
    }

    fn consider(&mut self, pending: PendingShare, now: UnixTime) {
        let info = &pending.share.info;
        if self.tree.contains(&pending.id) {
            self.tell(&pending, Verdict::Known);
        } else if self.is_recent(&info.parent) || self.extends_best(&pending) {
            self.link(pending, now);
        } else if info.is_genesis() || self.tree.contains(&info.parent) || self.unverified.contains_id(&info.parent) {
            // Rule 6 comes first: a claim that names no Bitcoin block we know of takes no place from those that do.
            let anchor = pending.share.header.prev_blockhash;
            match self.tree.anchor(&anchor) {
                Some(_) => self.keep_unverified(pending),
                None => self.hold(pending, Wait::For(Need::Anchor(anchor))),
            }
        } else {
            let need = Need::Share(info.parent);
            self.hold(pending, Wait::For(need));
        }
    }

    /// Whether a parent is so near the tip that its children may be uncles yet: these are checked at once.
    ///
    /// Not those of older parents: the older the parent, the more a share is eased, until it costs next to nothing.
    fn is_recent(&self, parent: &ShareId) -> bool {
        if self.tree.is_empty() {
            return *parent == ShareId::ZERO;
        }
        let Some(node) = self.tree.get(parent) else { return false };
        let height = node.share.info.share_height.0;
        let tip_height = self.tree.tip().map_or(0, |tip| tip.share.info.share_height.0);
        self.tree.is_main(node) && tip_height.saturating_sub(height) <= UNCLE_DEPTH_MAX
    }

    /// Whether a share extends a valid branch to a better one than the tip's.
    fn extends_best(&self, pending: &PendingShare) -> bool {
        self.tree.contains(&pending.share.info.parent) && self.claims_more(pending)
    }

    /// Whether a share would be the tip if all that it claims is true.
    fn claims_more(&self, pending: &PendingShare) -> bool {
        let is_better = |tip: &LinkedShare| pending.share.info.is_better_than(&pending.id, &tip.share.info, &tip.id);
        self.tree.tip().is_none_or(is_better)
    }

    /// Puts a share in the tree, after those of its uncles that lie among the unverified: nobody looked at them while
    /// its branch was not ours.
    fn link(&mut self, pending: PendingShare, now: UnixTime) {
        let mut nephews = vec![pending];
        while let Some(pending) = nephews.pop() {
            match self.tree.link(Arc::clone(&pending.share), pending.work, now, Depth::Full) {
                Ok(is_tip) => self.linked(&pending, is_tip),
                Err(Failure::Missing(need)) => match self.take_uncle(&need) {
                    Some(uncle) => nephews.extend([pending, uncle]),
                    None => self.hold(pending, Wait::For(need)),
                },
                Err(Failure::Early(due)) => self.hold(pending, Wait::Until(due)),
                Err(failure) => self.refuse(pending.id, pending.digest, pending.source, &failure),
            }
        }
    }

    /// Takes a share that is waited for from among the unverified, if it can be checked now.
    fn take_uncle(&mut self, need: &Need) -> Option<PendingShare> {
        let Need::Share(id) = need else { return None };
        let can_be_checked = |digest: &ShareDigest| {
            self.unverified.get(digest).is_some_and(|uncle| self.tree.contains(&uncle.share.info.parent))
        };
        let digest = self.unverified.with_id(id).into_iter().find(can_be_checked)?;
        self.unverified.take(&digest)
    }

    fn linked(&mut self, pending: &PendingShare, is_tip: bool) {
        self.effects.push(Effect::Linked(pending.id));
        self.tell(pending, Verdict::Accepted);
        // A copy with other facts beside the same header can never be valid now.
        for digest in self.unverified.with_id(&pending.id) {
            self.unverified.take(&digest);
        }
        self.queue.extend(self.held.release(&Need::Share(pending.id)));
        self.queue_children(&pending.id);
        if is_tip {
            self.effects.push(Effect::NewTip(pending.id));
            // Siblings of a branch that became the main chain may be uncles now.
            let nearest: Vec<ShareId> =
                self.tree.ancestry(&pending.id).skip(1).take(UNCLE_DEPTH_MAX as usize).map(|node| node.id).collect();
            nearest.iter().for_each(|id| self.queue_children(id));
        }
    }

    /// Has another look at the unverified shares that are built directly on one.
    fn queue_children(&mut self, id: &ShareId) {
        for digest in self.unverified.children(id) {
            self.queue.extend(self.unverified.take(&digest));
        }
    }

    fn keep_unverified(&mut self, pending: PendingShare) {
        if self.unverified.has_copies_enough(&pending) {
            return self.tell(&pending, Verdict::Dropped);
        }
        self.tell(&pending, Verdict::Unverified);
        let id = pending.id;
        // It may be the true share below branches that stood on a copy of its header with other facts.
        let ours = self.tree.tip().map(|tip| (tip.share.info.chain_work, Reverse(tip.id)));
        let above = self.unverified.above(&id).into_iter();
        self.grown.extend(above.filter(|(rank, _)| ours.is_none_or(|ours| *rank > ours)));
        self.grown.insert((pending.rank(), pending.digest));
        for given_up in self.unverified.put(pending) {
            self.tell(&given_up, Verdict::Dropped);
        }
        self.queue.extend(self.held.release(&Need::Share(id)));
    }

    /// The best of the branches that have grown, if it claims to be better than the tip's.
    ///
    /// Only what has grown is looked at: all else was found not to be better, or not to be valid, before.
    fn best_grown(&mut self) -> Option<PendingShare> {
        while let Some((_, digest)) = self.grown.pop_last() {
            match self.unverified.get(&digest) {
                Some(pending) if self.claims_more(pending) => return Some(pending.clone()),
                _ => {}
            }
        }
        None
    }

    /// Checks the branch that ends with a share.
    fn promote(&mut self, top: &PendingShare, now: UnixTime) {
        let branch = self.unverified.branch(top);
        for pending in &branch {
            self.grown.remove(&(pending.rank(), pending.digest));
        }
        let is_joined = |pending: &PendingShare| self.tree.contains(&pending.share.info.parent);
        if branch.iter().any(is_joined) || !branch.iter().any(|pending| pending.share.info.is_genesis()) {
            self.promote_joined(branch, now);
        } else if self.unverified.is_worth_checking(&branch) {
            self.promote_separate(top, now);
        }
    }

    /// Checks a branch that grows from our tree, oldest first.
    ///
    /// What has no parent there, or none any more, waits for it: if a share below was refused, it may have been a copy
    /// with other facts, sent ahead of the true one.
    fn promote_joined(&mut self, branch: Vec<PendingShare>, now: UnixTime) {
        for pending in branch {
            let parent = pending.share.info.parent;
            if self.unverified.take(&pending.digest).is_none() {
                continue;
            }
            if self.tree.contains(&parent) {
                self.link(pending, now);
            } else {
                self.hold(pending, Wait::For(Need::Share(parent)));
            }
        }
    }

    fn hold(&mut self, pending: PendingShare, wait: Wait) {
        self.tell(&pending, Verdict::Deferred);
        if let Wait::For(need) = wait {
            self.effects.push(Effect::Ask { need, source: pending.source });
        }
        for given_up in self.held.put(pending, wait) {
            self.tell(&given_up, Verdict::Dropped);
        }
    }

    fn refuse(&mut self, id: ShareId, digest: ShareDigest, source: Source, failure: &Failure) {
        let verdict = match failure {
            Failure::Broken { rule, why } => Verdict::Rejected { rule: *rule, why },
            _ => Verdict::Dropped,
        };
        if matches!(verdict, Verdict::Rejected { .. }) {
            self.rejected.put(digest);
        }
        self.effects.push(Effect::Verdict { id, digest, source, verdict });
    }

    fn tell(&mut self, pending: &PendingShare, verdict: Verdict) {
        let PendingShare { id, digest, source, .. } = *pending;
        self.effects.push(Effect::Verdict { id, digest, source, verdict });
    }
}
