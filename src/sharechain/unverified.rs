//! The unverified pool: shares of branches that do not claim to be better than the tip's.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet, VecDeque};

use super::pool::{BoundedPool, PendingShare, Rank};
use super::side_shares::SIDE_CHILDREN_MAX;
use super::Source;
use crate::share::{Share, ShareDigest, ShareId};

/// Number of copies of one header with different facts that are kept from one peer. Copies cost the peer nothing, and
/// each makes the node look again at all shares above it.
const COPIES_MAX: usize = 4;
/// Number of shares above a new one that are looked at again.
const DESCENDANTS_MAX: usize = 1_024;

/// Unverified shares. When room is short, those of the sender with the most that claim the least work are evicted.
pub struct UnverifiedPool {
    pool: BoundedPool<Rank>,
    by_id: BTreeSet<(ShareId, ShareDigest)>,
    by_parent: BTreeSet<(ShareId, ShareDigest)>,
    /// Shares of separate chains that were judged and not adopted. They are judged again only when the chain has grown.
    judged: HashSet<ShareDigest>,
}

impl UnverifiedPool {
    pub const LEN_MAX: usize = BoundedPool::<Rank>::LEN_MAX;

    pub fn new() -> Self {
        Self { pool: BoundedPool::new(), by_id: BTreeSet::new(), by_parent: BTreeSet::new(), judged: HashSet::new() }
    }

    pub fn contains(&self, digest: &ShareDigest) -> bool {
        self.pool.contains(digest)
    }

    /// Whether the pool has a share with this header.
    pub fn contains_id(&self, id: &ShareId) -> bool {
        digests_under(&self.by_id, id).next().is_some()
    }

    pub fn len(&self) -> usize {
        self.pool.len()
    }

    pub fn get(&self, digest: &ShareDigest) -> Option<&PendingShare> {
        self.pool.get(digest)
    }

    /// Whether the share's sender has sent as many shares with this header as are kept.
    pub fn is_at_copy_limit(&self, pending: &PendingShare) -> bool {
        let of_sender = self.with_id(&pending.id).filter(|copy| copy.source.peer() == pending.source.peer());
        pending.source != Source::Local && of_sender.take(COPIES_MAX).count() == COPIES_MAX
    }

    /// The claims of all shares.
    pub fn ranks(&self) -> impl Iterator<Item = (Rank, ShareDigest)> + '_ {
        self.pool.shares().map(|pending| (pending.rank(), pending.digest))
    }

    /// Inserts a share. Returns the shares that no longer fit.
    pub fn insert(&mut self, pending: PendingShare) -> Vec<PendingShare> {
        self.by_id.insert((pending.id, pending.digest));
        self.by_parent.insert((pending.share.info.parent, pending.digest));
        let rank = pending.rank();
        let evicted: Vec<PendingShare> =
            self.pool.insert(pending, rank).into_iter().map(|(evicted, _)| evicted).collect();
        evicted.iter().for_each(|evicted| self.unindex(evicted));
        evicted
    }

    pub fn remove(&mut self, digest: &ShareDigest) -> Option<PendingShare> {
        let (pending, _) = self.pool.remove(digest)?;
        self.unindex(&pending);
        Some(pending)
    }

    /// Removes and returns the shares that name this one as their parent, the best claim first. Of a flood only as many headers
    /// are taken as could be kept: it would be processed again with each new tip.
    pub fn remove_children(&mut self, id: &ShareId) -> Vec<PendingShare> {
        let mut children: Vec<(Rank, ShareDigest)> =
            self.children(id).map(|child| (child.rank(), child.digest)).collect();
        children.sort_unstable_by_key(|(rank, _)| Reverse(*rank));
        let copies = children.chunk_by(|(rank, _), (next, _)| rank == next);
        let best = copies.take(SIDE_CHILDREN_MAX).flatten();
        best.filter_map(|(_, digest)| self.remove(digest)).collect()
    }

    /// Removes and returns all shares with this header.
    pub fn remove_id(&mut self, id: &ShareId) -> Vec<PendingShare> {
        let copies: Vec<ShareDigest> = digests_under(&self.by_id, id).collect();
        copies.iter().filter_map(|digest| self.remove(digest)).collect()
    }

    /// All shares that name this one as their parent.
    pub fn children(&self, id: &ShareId) -> impl Iterator<Item = &PendingShare> {
        digests_under(&self.by_parent, id).map(|digest| self.indexed(&digest))
    }

    /// All shares with this header.
    pub fn with_id(&self, id: &ShareId) -> impl Iterator<Item = &PendingShare> {
        digests_under(&self.by_id, id).map(|digest| self.indexed(&digest))
    }

    fn indexed(&self, digest: &ShareDigest) -> &PendingShare {
        self.get(digest).expect("an indexed share is in the pool")
    }

    /// Remembers that a separate chain was judged and not adopted.
    pub fn mark_judged(&mut self, chain: &[PendingShare]) {
        let held = chain.iter().map(|pending| pending.digest).filter(|digest| self.pool.contains(digest));
        self.judged.extend(held);
    }

    /// Whether more than a sixteenth of a separate chain is new since it was judged. Otherwise a chain that arrives share by
    /// share would be checked from its start for each of them.
    pub fn has_grown_since_judged(&self, chain: &[PendingShare]) -> bool {
        let judged = chain.iter().filter(|pending| self.judged.contains(&pending.digest)).count();
        chain.len() - judged > judged / 16
    }

    /// The claims of the shares above this one, the nearest first. There are no more than a branch may have that is not a candidate
    /// chain: forged parents would make each copy of a share cost a walk through the whole pool.
    pub fn descendants(&self, id: &ShareId) -> Vec<(Rank, ShareDigest)> {
        // Forged parents may form a circle.
        let mut seen = HashSet::from([*id]);
        let mut descendants = Vec::new();
        let mut parents = VecDeque::from([*id]);
        while let Some(parent) = parents.pop_front() {
            for child in self.children(&parent) {
                if descendants.len() == DESCENDANTS_MAX {
                    return descendants;
                }
                descendants.push((child.rank(), child.digest));
                if seen.insert(child.id) {
                    parents.push_back(child.id);
                }
            }
        }
        descendants
    }

    /// A share and its ancestors in the pool, lowest claimed height first. Several may have one header.
    pub fn ancestry(&self, top: &PendingShare) -> Vec<PendingShare> {
        self.closure(top, |share| vec![share.info.parent])
    }

    /// Like [`Self::ancestry`], with all uncles that are named.
    pub fn ancestry_with_uncles(&self, top: &PendingShare) -> Vec<PendingShare> {
        self.closure(top, |share| share.info.uncles.iter().copied().chain([share.info.parent]).collect())
    }

    fn closure(&self, top: &PendingShare, named_by: impl Fn(&Share) -> Vec<ShareId>) -> Vec<PendingShare> {
        // Forged parents may form a circle, and thousands of shares may name the same one.
        let mut seen: HashSet<ShareId> = HashSet::new();
        let mut all = vec![top.clone()];
        let mut next = 0;
        while let Some(ids) = all.get(next).map(|pending| named_by(&pending.share)) {
            for id in ids.into_iter().filter(|id| seen.insert(*id)) {
                all.extend(self.with_id(&id).filter(|below| below.digest != top.digest).cloned());
            }
            next += 1;
        }
        all.sort_by_key(|pending| (pending.share.info.share_height, pending.digest));
        all
    }

    fn unindex(&mut self, pending: &PendingShare) {
        self.judged.remove(&pending.digest);
        self.by_id.remove(&(pending.id, pending.digest));
        self.by_parent.remove(&(pending.share.info.parent, pending.digest));
    }
}

/// All digests that an index has under a share's id.
fn digests_under<'a>(
    index: &'a BTreeSet<(ShareId, ShareDigest)>,
    id: &ShareId,
) -> impl Iterator<Item = ShareDigest> + 'a {
    index.range((*id, ShareDigest([0; 32]))..=(*id, ShareDigest([u8::MAX; 32]))).map(|(_, digest)| *digest)
}
