//! Pools of shares that wait outside the tree, within byte limits that hold whatever peers send (rules, section 5).

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::Source;
use crate::peer::PeerHandle;
use crate::share::{Share, ShareDigest, ShareId};
use crate::units::{UnixTime, Work};

/// Bytes of one pool.
const POOL_BYTES_MAX: usize = 16 << 20;
/// Bytes of one peer's shares in a pool.
const PEER_BYTES_MAX: usize = 2 << 20;
/// Bytes of one netgroup's shares in a pool, however many peers it has and however often they reconnect.
const NETGROUP_BYTES_MAX: usize = 4 << 20;
/// Bytes that a waiting share counts besides its lists: the structures around it, measured by `tests/load/long_sync.rs`.
const OVERHEAD_BYTES: usize = 1_536;

/// A share's claim in the fork choice: most chain work, then the lowest id. The better one is greater.
pub type Rank = (Work, Reverse<ShareId>);

/// A share that passed rules 1 and 2 and is not linked yet.
#[derive(Clone, Debug)]
pub struct PendingShare {
    pub id: ShareId,
    /// Identifies the share until rule 8 holds.
    pub digest: ShareDigest,
    pub share: Arc<Share>,
    /// The share's own work.
    pub work: Work,
    pub source: Source,
    /// When it arrived.
    pub since: UnixTime,
}

impl PendingShare {
    /// The share's claim in the fork choice.
    pub fn rank(&self) -> Rank {
        (self.share.info.chain_work, Reverse(self.id))
    }

    fn bytes(&self) -> usize {
        OVERHEAD_BYTES + 32 * (self.share.merkle_branch.len() + self.share.info.uncles.len())
    }
}

/// Pending shares within byte limits. When room is short, the one with the lowest key is evicted of the peer or netgroup whose part
/// is too large, or else of the one that has the largest part. So a flood does not displace the few shares of others, whatever
/// it claims.
pub(super) struct BoundedPool<K> {
    items: HashMap<ShareDigest, (PendingShare, K)>,
    /// The shares of peers only: those of our own miners are never evicted for them.
    order: BTreeSet<(K, ShareDigest)>,
    by_owner: HashMap<Owner, OwnedPart<K>>,
    bytes: usize,
}

/// Whose part of a pool is limited.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    /// One peer, or this node's miners (`None`).
    Peer(Option<PeerHandle>),
    Netgroup(u64),
}

impl Owner {
    /// The owners of a share from this source, the one with the lowest limit first.
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
struct OwnedPart<K> {
    bytes: usize,
    order: BTreeSet<(K, ShareDigest)>,
}

impl<K: Ord + Copy> BoundedPool<K> {
    /// Number of shares that fit at most.
    pub const LEN_MAX: usize = POOL_BYTES_MAX / OVERHEAD_BYTES;

    pub fn new() -> Self {
        Self { items: HashMap::new(), order: BTreeSet::new(), by_owner: HashMap::new(), bytes: 0 }
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn contains(&self, digest: &ShareDigest) -> bool {
        self.items.contains_key(digest)
    }

    pub fn get(&self, digest: &ShareDigest) -> Option<&PendingShare> {
        self.items.get(digest).map(|(pending, _)| pending)
    }

    /// The key of a share.
    pub fn key(&self, digest: &ShareDigest) -> Option<&K> {
        self.items.get(digest).map(|(_, key)| key)
    }

    /// All shares, in no particular order.
    pub fn shares(&self) -> impl Iterator<Item = &PendingShare> {
        self.items.values().map(|(pending, _)| pending)
    }

    pub fn shares_mut(&mut self) -> impl Iterator<Item = &mut PendingShare> {
        self.items.values_mut().map(|(pending, _)| pending)
    }

    /// The keys of our own miners' shares, lowest first.
    pub fn own_keys(&self) -> impl Iterator<Item = &(K, ShareDigest)> {
        self.by_owner.get(&Owner::Peer(None)).into_iter().flat_map(|part| &part.order)
    }

    /// The keys of peers' shares above `last`, or all of them, lowest first.
    pub fn peers_keys_after(&self, last: Option<&(K, ShareDigest)>) -> impl Iterator<Item = &(K, ShareDigest)> {
        self.order.range((last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }

    /// Inserts a share. Returns the shares that no longer fit with their keys, perhaps itself.
    pub fn insert(&mut self, pending: PendingShare, key: K) -> Vec<(PendingShare, K)> {
        let (digest, source) = (pending.digest, pending.source);
        self.bytes += pending.bytes();
        if source != Source::Local {
            self.order.insert((key, digest));
        }
        for owner in Owner::all_of(source) {
            let part = self.by_owner.entry(owner).or_insert_with(|| OwnedPart { bytes: 0, order: BTreeSet::new() });
            part.bytes += pending.bytes();
            part.order.insert((key, digest));
        }
        let replaced = self.items.insert(digest, (pending, key));
        debug_assert!(replaced.is_none(), "a share is in a pool once");
        let mut evicted = Vec::new();
        while let Some(victim) = self.victim(source) {
            evicted.extend(self.remove(&victim));
        }
        evicted
    }

    /// The next share to evict after one from `source` was inserted.
    fn victim(&self, source: Source) -> Option<ShareDigest> {
        let part = |owner: Owner| self.by_owner.get(&owner).filter(|part| part.bytes > owner.bytes_max());
        let too_large = Owner::all_of(source).find_map(part);
        let is_full = self.bytes > POOL_BYTES_MAX;
        let part = too_large.or_else(|| self.largest_part().filter(|_| is_full))?;
        part.order.first().map(|(_, digest)| *digest)
    }

    /// The largest part of a netgroup, or of a peer without one. Our own miners' does not count.
    fn largest_part(&self) -> Option<&OwnedPart<K>> {
        let is_whole = |owner: &Owner| match owner {
            Owner::Peer(peer) => peer.is_some_and(|peer| peer.netgroup().is_none()),
            Owner::Netgroup(_) => true,
        };
        let parts = self.by_owner.iter().filter(|(owner, _)| is_whole(owner));
        parts.map(|(_, part)| part).max_by_key(|part| (part.bytes, part.order.first().map(Reverse)))
    }

    pub fn remove(&mut self, digest: &ShareDigest) -> Option<(PendingShare, K)> {
        let (pending, key) = self.items.remove(digest)?;
        self.order.remove(&(key, *digest));
        self.bytes -= pending.bytes();
        for owner in Owner::all_of(pending.source) {
            let part = self.by_owner.get_mut(&owner).expect("each owner of a share in the pool has a part");
            part.bytes -= pending.bytes();
            part.order.remove(&(key, *digest));
            if part.order.is_empty() {
                debug_assert_eq!(part.bytes, 0, "an empty part has no bytes");
                self.by_owner.remove(&owner);
            }
        }
        Some((pending, key))
    }
}

/// The digests of the shares that were rejected last, so that another copy costs nothing.
pub(super) struct RejectedDigests {
    known: HashSet<ShareDigest>,
    order: VecDeque<ShareDigest>,
}

impl RejectedDigests {
    /// Number of digests that are remembered.
    pub const LEN_MAX: usize = 4_096;

    pub fn new() -> Self {
        Self { known: HashSet::new(), order: VecDeque::new() }
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn contains(&self, digest: &ShareDigest) -> bool {
        self.known.contains(digest)
    }

    /// Remembers a digest and forgets the oldest if there are too many.
    pub fn insert(&mut self, digest: ShareDigest) {
        if self.known.insert(digest) {
            self.order.push_back(digest);
        }
        if self.order.len() > Self::LEN_MAX {
            let oldest = self.order.pop_front().expect("the list is longer than its limit");
            self.known.remove(&oldest);
        }
    }
}
