//! Shares that wait outside the tree, within budgets that hold whatever peers send (rules, section 5).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bitcoin::BlockHash;

use super::failure::Need;
use super::Source;
use crate::peer::PeerHandle;
use crate::share::{Share, ShareDigest, ShareId};
use crate::units::{UnixTime, Work};

/// Bytes that one pool holds in all.
const POOL_BYTES_MAX: usize = 16 << 20;
/// Bytes that one pool holds for one peer.
const PEER_BYTES_MAX: usize = 2 << 20;
/// Bytes that one pool holds for one netgroup, however many peers it has and however often they reconnect.
const NETGROUP_BYTES_MAX: usize = 4 << 20;
/// What a waiting share costs beside its lists: the structures around it, as measured (`tests/load/long_sync.rs`).
const OVERHEAD_BYTES: usize = 1_536;
/// Needs of peers' shares that are asked for again at once: a full pool has tens of thousands.
const NEEDS_AT_ONCE_MAX: usize = 256;
/// Copies of one header with different facts that are kept of one peer: they cost it nothing, and each makes us look
/// again at all that stands above.
const COPIES_MAX: usize = 4;
/// Digests of refused shares that are remembered, so that a copy costs nothing.
const REJECTED_MAX: usize = 4_096;

/// What a share claims to be worth to the fork choice: chain work, then the lowest id. The better one is greater.
pub type Rank = (Work, Reverse<ShareId>);

/// A share that passed rules 1 and 2.
#[derive(Clone, Debug)]
pub struct PendingShare {
    /// Its header's hash.
    pub id: ShareId,
    /// What it is known by until rule 8 holds.
    pub digest: ShareDigest,
    /// The share.
    pub share: Arc<Share>,
    /// Its own work.
    pub work: Work,
    /// Who sent it.
    pub source: Source,
    /// When it came.
    pub since: UnixTime,
}

impl PendingShare {
    /// Its claim.
    pub fn rank(&self) -> Rank {
        (self.share.info.chain_work, Reverse(self.id))
    }

    fn bytes(&self) -> usize {
        OVERHEAD_BYTES + 32 * (self.share.merkle_branch.len() + self.share.info.uncles.len())
    }
}

/// Candidates in the order in which they are given up when room is short: lowest key first.
///
/// The key is what the pool values: rank in the fork choice, or time of arrival.
struct BoundedPool<K> {
    items: HashMap<ShareDigest, (PendingShare, K)>,
    /// Those of peers: what our own miners found is never given up for them.
    order: BTreeSet<(K, ShareDigest)>,
    by_owner: HashMap<Owner, Part<K>>,
    bytes: usize,
}

/// Whose part of a pool is bounded.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    /// This node's miners (`None`), or one peer.
    Peer(Option<PeerHandle>),
    Netgroup(u64),
}

impl Owner {
    /// All whose part grows with a share from a source, the smallest part first.
    fn all_of(source: Source) -> impl Iterator<Item = Self> {
        let netgroup = source.peer().and_then(PeerHandle::netgroup);
        std::iter::once(Self::Peer(source.peer())).chain(netgroup.map(Self::Netgroup))
    }

    const fn bytes_max(self) -> usize {
        match self {
            Self::Peer(_) => PEER_BYTES_MAX,
            Self::Netgroup(_) => NETGROUP_BYTES_MAX,
        }
    }
}

/// One owner's part of a pool.
struct Part<K> {
    bytes: usize,
    order: BTreeSet<(K, ShareDigest)>,
}

impl<K: Ord + Copy> BoundedPool<K> {
    fn new() -> Self {
        Self { items: HashMap::new(), order: BTreeSet::new(), by_owner: HashMap::new(), bytes: 0 }
    }

    /// Puts a pending on the pool and gives up what no longer fits, perhaps itself.
    fn put(&mut self, pending: PendingShare, key: K) -> Vec<PendingShare> {
        let (digest, source) = (pending.digest, pending.source);
        self.bytes += pending.bytes();
        if source != Source::Local {
            self.order.insert((key, digest));
        }
        for owner in Owner::all_of(source) {
            let part = self.by_owner.entry(owner).or_insert_with(|| Part { bytes: 0, order: BTreeSet::new() });
            part.bytes += pending.bytes();
            part.order.insert((key, digest));
        }
        self.items.insert(digest, (pending, key));
        let mut given_up = Vec::new();
        while let Some(victim) = self.victim(source) {
            given_up.extend(self.take(&victim));
        }
        given_up
    }

    fn victim(&self, source: Source) -> Option<ShareDigest> {
        let part = |owner: Owner| self.by_owner.get(&owner).filter(|part| part.bytes > owner.bytes_max());
        let too_large = Owner::all_of(source).find_map(part).map(|part| &part.order);
        let order = too_large.or((self.bytes > POOL_BYTES_MAX).then_some(&self.order))?;
        order.first().map(|(_, digest)| *digest)
    }

    fn take(&mut self, digest: &ShareDigest) -> Option<PendingShare> {
        let (pending, key) = self.items.remove(digest)?;
        self.order.remove(&(key, *digest));
        self.bytes = self.bytes.saturating_sub(pending.bytes());
        for owner in Owner::all_of(pending.source) {
            let Some(part) = self.by_owner.get_mut(&owner) else { continue };
            part.bytes = part.bytes.saturating_sub(pending.bytes());
            part.order.remove(&(key, *digest));
            if part.order.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
        Some(pending)
    }
}

/// What a held share waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// Something unknown.
    For(Need),
    /// Its own time.
    Until(UnixTime),
}

/// Shares that wait for a parent, an uncle, a Bitcoin block, or their time. The oldest are given up first.
pub struct DeferredPool {
    pool: BoundedPool<u128>,
    waits: HashMap<ShareDigest, (Wait, u128)>,
    /// By need, then by arrival, whose number is also the key on the pool.
    by_need: BTreeMap<(Need, u128), ShareDigest>,
    arrivals: u128,
    /// Arrival of the last share whose need was asked for again.
    asked_again: u128,
}

impl DeferredPool {
    /// Shares that fit, at most.
    pub const LEN_MAX: usize = POOL_BYTES_MAX / OVERHEAD_BYTES;

    pub fn new() -> Self {
        Self { pool: BoundedPool::new(), waits: HashMap::new(), by_need: BTreeMap::new(), arrivals: 0, asked_again: 0 }
    }

    pub fn contains(&self, digest: &ShareDigest) -> bool {
        self.waits.contains_key(digest)
    }

    pub fn len(&self) -> usize {
        self.waits.len()
    }

    /// Holds a share; gives back what no longer fits.
    pub fn put(&mut self, pending: PendingShare, wait: Wait) -> Vec<PendingShare> {
        let digest = pending.digest;
        self.arrivals += 1;
        self.waits.insert(digest, (wait, self.arrivals));
        if let Wait::For(need) = wait {
            self.by_need.insert((need, self.arrivals), digest);
        }
        let given_up = self.pool.put(pending, self.arrivals);
        given_up.iter().for_each(|pending| self.forget_wait(&pending.digest));
        given_up
    }

    /// Takes out all that waited for this.
    pub fn release(&mut self, need: &Need) -> Vec<PendingShare> {
        let waiting = self.by_need.range((*need, 0)..=(*need, u128::MAX));
        let keys: Vec<((Need, u128), ShareDigest)> = waiting.map(|(key, digest)| (*key, *digest)).collect();
        keys.iter()
            .filter_map(|(key, digest)| {
                self.by_need.remove(key);
                self.waits.remove(digest).and_then(|_| self.pool.take(digest))
            })
            .collect()
    }

    /// Takes out all whose time has come.
    pub fn release_due(&mut self, now: UnixTime) -> Vec<PendingShare> {
        self.take_where(|wait, _| matches!(wait, Wait::Until(due) if *due <= now))
    }

    /// Nothing came later than now: where the clock was set back, waiting begins anew and does not last until the clock is
    /// there again.
    pub fn came_by(&mut self, now: UnixTime) {
        for (pending, _) in self.pool.items.values_mut() {
            pending.since = pending.since.min(now);
        }
    }

    /// Takes out all that have waited in vain since before `since`.
    pub fn give_up_before(&mut self, since: UnixTime) -> Vec<PendingShare> {
        self.take_where(|wait, pending| matches!(wait, Wait::For(_)) && pending.since < since)
    }

    /// What to ask for again, and the sender of the first share that waits for it.
    ///
    /// All that our own miners' shares need comes first, then the next [`NEEDS_AT_ONCE_MAX`] of peers' by turns.
    pub fn needs(&mut self) -> Vec<(Need, Source)> {
        let mut needs: Vec<((Source, u128), Need)> = Vec::new();
        for ((need, arrival), digest) in &self.by_need {
            if needs.last().is_none_or(|(_, last)| last != need) {
                let source = self.pool.items.get(digest).map(|(pending, _)| pending.source);
                needs.extend(source.map(|source| ((source, *arrival), *need)));
            }
        }
        needs.sort_unstable_by_key(|((source, arrival), _)| (*source != Source::Local, *arrival));
        needs.retain(|((source, arrival), _)| *source == Source::Local || *arrival > self.asked_again);
        let local = needs.iter().filter(|((source, _), _)| *source == Source::Local).count();
        let is_cut = needs.len() > local.saturating_add(NEEDS_AT_ONCE_MAX);
        needs.truncate(local.saturating_add(NEEDS_AT_ONCE_MAX));
        // Past the last one the first is next.
        self.asked_again = needs.last().filter(|_| is_cut).map_or(0, |((_, arrival), _)| *arrival);
        needs.into_iter().map(|((source, _), need)| (need, source)).collect()
    }

    fn take_where(&mut self, wanted: impl Fn(&Wait, &PendingShare) -> bool) -> Vec<PendingShare> {
        let mut found: Vec<(u128, ShareDigest)> = self
            .waits
            .iter()
            .filter(|(digest, (wait, _))| {
                self.pool.items.get(*digest).is_some_and(|(pending, _)| wanted(wait, pending))
            })
            .map(|(digest, (_, arrival))| (*arrival, *digest))
            .collect();
        // In order of arrival: a map's own order differs from run to run.
        found.sort_unstable();
        found
            .iter()
            .filter_map(|(_, digest)| {
                self.forget_wait(digest);
                self.pool.take(digest)
            })
            .collect()
    }

    fn forget_wait(&mut self, digest: &ShareDigest) {
        if let Some((Wait::For(need), arrival)) = self.waits.remove(digest) {
            self.by_need.remove(&(need, arrival));
        }
    }
}

/// Shares on branches that do not claim to be better than the tip's. Those that claim least are given up first.
pub struct UnverifiedPool {
    /// By claimed chain work, then the lowest id: as the fork choice would have them.
    pool: BoundedPool<Rank>,
    by_id: BTreeSet<(ShareId, ShareDigest)>,
    by_parent: BTreeSet<(ShareId, ShareDigest)>,
    /// Shares of chains that were checked and not adopted: looked at again only when the chain has grown.
    settled: HashSet<ShareDigest>,
}

impl UnverifiedPool {
    /// Shares that fit, at most.
    pub const LEN_MAX: usize = POOL_BYTES_MAX / OVERHEAD_BYTES;

    pub fn new() -> Self {
        Self { pool: BoundedPool::new(), by_id: BTreeSet::new(), by_parent: BTreeSet::new(), settled: HashSet::new() }
    }

    pub fn contains(&self, digest: &ShareDigest) -> bool {
        self.pool.items.contains_key(digest)
    }

    pub fn contains_id(&self, id: &ShareId) -> bool {
        under(&self.by_id, id).next().is_some()
    }

    pub fn len(&self) -> usize {
        self.pool.items.len()
    }

    /// Whether its sender has brought enough shares with this header.
    pub fn has_copies_enough(&self, pending: &PendingShare) -> bool {
        let copies = under(&self.by_id, &pending.id);
        let of_sender =
            copies.filter(|digest| self.get(digest).is_some_and(|copy| copy.source.peer() == pending.source.peer()));
        pending.source != Source::Local && of_sender.take(COPIES_MAX).count() == COPIES_MAX
    }

    /// Every share's claim.
    pub fn ranks(&self) -> impl Iterator<Item = (Rank, ShareDigest)> + '_ {
        self.pool.items.iter().map(|(digest, (_, rank))| (*rank, *digest))
    }

    /// The Bitcoin blocks that shares are built on.
    pub fn anchors(&self) -> HashSet<BlockHash> {
        self.pool.items.values().map(|(pending, _)| pending.share.header.prev_blockhash).collect()
    }

    /// Keeps a share; gives back what no longer fits.
    pub fn put(&mut self, pending: PendingShare) -> Vec<PendingShare> {
        self.by_id.insert((pending.id, pending.digest));
        self.by_parent.insert((pending.share.info.parent, pending.digest));
        let rank = pending.rank();
        let given_up = self.pool.put(pending, rank);
        given_up.iter().for_each(|pending| self.forget_links(pending));
        given_up
    }

    /// Takes one share out.
    pub fn take(&mut self, digest: &ShareDigest) -> Option<PendingShare> {
        let pending = self.pool.take(digest)?;
        self.forget_links(&pending);
        Some(pending)
    }

    /// All that name this share as their parent.
    pub fn children(&self, id: &ShareId) -> Vec<ShareDigest> {
        under(&self.by_parent, id).collect()
    }

    /// All that have this header.
    pub fn with_id(&self, id: &ShareId) -> Vec<ShareDigest> {
        under(&self.by_id, id).collect()
    }

    /// Notes that a chain was checked and not adopted.
    pub fn settle(&mut self, branch: &[PendingShare]) {
        self.settled
            .extend(branch.iter().map(|pending| pending.digest).filter(|digest| self.pool.items.contains_key(digest)));
    }

    /// Whether enough of a chain is new to check all of it again: a sixteenth, so that one that comes share by
    /// share is not checked from its start at each of them.
    pub fn is_worth_checking(&self, branch: &[PendingShare]) -> bool {
        let settled = branch.iter().filter(|pending| self.settled.contains(&pending.digest)).count();
        branch.len() - settled > settled / 16
    }

    pub fn get(&self, digest: &ShareDigest) -> Option<&PendingShare> {
        self.pool.items.get(digest).map(|(pending, _)| pending)
    }

    /// All kept above a share, with their claims.
    pub fn above(&self, id: &ShareId) -> Vec<(Rank, ShareDigest)> {
        // Forged parents may go round in circles.
        let mut seen = HashSet::from([*id]);
        let mut above = Vec::new();
        let mut parents = vec![*id];
        while let Some(parent) = parents.pop() {
            for pending in self.children(&parent).iter().filter_map(|digest| self.get(digest)) {
                above.push((pending.rank(), pending.digest));
                if seen.insert(pending.id) {
                    parents.push(pending.id);
                }
            }
        }
        above
    }

    /// A share and all kept below it, lowest claimed height first: several may share one header.
    pub fn branch(&self, top: &PendingShare) -> Vec<PendingShare> {
        self.closure(top, |share| vec![share.info.parent])
    }

    /// As [`Self::branch`], with all uncles that are named.
    pub fn family(&self, top: &PendingShare) -> Vec<PendingShare> {
        self.closure(top, |share| share.info.uncles.iter().copied().chain([share.info.parent]).collect())
    }

    fn closure(&self, top: &PendingShare, named: impl Fn(&Share) -> Vec<ShareId>) -> Vec<PendingShare> {
        // Forged parents may go round in circles, and thousands may name the same one.
        let mut seen: HashSet<ShareId> = HashSet::new();
        let mut all = vec![top.clone()];
        let mut next = 0;
        while let Some(ids) = all.get(next).map(|pending| named(&pending.share)) {
            for id in ids.into_iter().filter(|id| seen.insert(*id)) {
                let below = self.with_id(&id).into_iter().filter(|digest| *digest != top.digest);
                all.extend(below.filter_map(|digest| self.get(&digest).cloned()));
            }
            next += 1;
        }
        all.sort_by_key(|pending| (pending.share.info.share_height, pending.digest));
        all
    }

    fn forget_links(&mut self, pending: &PendingShare) {
        self.settled.remove(&pending.digest);
        self.by_id.remove(&(pending.id, pending.digest));
        self.by_parent.remove(&(pending.share.info.parent, pending.digest));
    }
}

/// All that an index has under a share's id.
fn under<'a>(index: &'a BTreeSet<(ShareId, ShareDigest)>, id: &ShareId) -> impl Iterator<Item = ShareDigest> + 'a {
    index.range((*id, ShareDigest([0; 32]))..=(*id, ShareDigest([u8::MAX; 32]))).map(|(_, digest)| *digest)
}

/// The shares refused last.
pub struct RejectedDigests {
    known: HashSet<ShareDigest>,
    order: VecDeque<ShareDigest>,
}

impl RejectedDigests {
    /// Digests that are remembered, at most.
    pub const LEN_MAX: usize = REJECTED_MAX;

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn new() -> Self {
        Self { known: HashSet::new(), order: VecDeque::new() }
    }

    pub fn contains(&self, digest: &ShareDigest) -> bool {
        self.known.contains(digest)
    }

    pub fn put(&mut self, digest: ShareDigest) {
        if !self.known.insert(digest) {
            return;
        }
        self.order.push_back(digest);
        if self.order.len() > REJECTED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}
