//! The header index: the Bitcoin blocks that shares may build on (rules, section 5, rule 6).
//!
//! It holds the best chain of this node's bitcoind, as bitcoind reports it, and side headers that it judges itself. A header
//! is judged by its parent alone (see [`Anchor`]), so nothing is given to bitcoind, and bitcoind's opinion of blocks beside
//! its best chain plays no part.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::BlockHash;

use super::anchor::{meets_own_bits, Anchor, HeaderFault};
use crate::params::Network;
use crate::peer::PeerHandle;
use crate::units::{Bits, BlockHeight, UnixTime};

/// Number of blocks of the best chain below its tip that are held without gaps: what gossip may build on, and a day of
/// margin.
pub const BEST_CHAIN_DEPTH: u32 = 1_152;
/// How far below the best tip a gossiped branch may leave the best chain: a week.
const GOSSIP_DEPTH_MAX: u32 = 1_008;
/// Number of headers that a gossiped branch may have beyond the block of the best chain that it leaves.
const GOSSIP_LEN_MAX: usize = 6;
/// Number of headers that a branch under a fetched chain may have: a day.
pub const FETCHED_LEN_MAX: usize = 144;
/// A header under a fetched chain has at least one part in this many of the work of the best chain's block at its height.
const FETCHED_WORK_DIVISOR: u128 = 4;
/// Number of gossiped side headers that no share names, by sender and in all.
const GOSSIPED_PER_PEER_MAX: usize = 32;
const GOSSIPED_MAX: usize = 256;
/// Number of fetched side headers that no share names, by sender and in all. A node fetches four chains at once.
const FETCHED_PER_PEER_MAX: usize = FETCHED_LEN_MAX;
const FETCHED_MAX: usize = 4 * FETCHED_LEN_MAX;
/// Number of blocks of the best chain below those held without gaps that were looked up and that no share names.
const LOOKED_UP_MAX: usize = 1_024;
/// Seconds that a side header may be ahead of the clock, as in Bitcoin.
const AHEAD_MAX_S: u32 = 7_200;

/// What bitcoind's best chain is, as far as it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BestChain {
    /// Whether bitcoind has caught up with the network: not in initial download, and its headers lead its blocks by at most 6.
    pub is_settled: bool,
    /// The oldest block to hold, at the start and when the best chain was left below what is held.
    pub root: Option<Box<Anchor>>,
    /// The blocks above the root, or above the block where the chain reported last was left. Oldest first.
    pub headers: Vec<Header>,
}

/// Under which limits side headers are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// Named by a gossiped share or block.
    Gossiped,
    /// Named by a share of a chain that is fetched.
    Fetched,
}

/// What became of a peer's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadersVerdict {
    /// The last one is held.
    Held,
    /// Not held: the parent of the oldest one is unknown.
    Unlinked,
    /// Not held: beyond a limit, or too far ahead of the clock. It may be held later.
    Beyond,
    /// Bitcoin can never accept one of them.
    Faulty(HeaderFault),
}

/// A header that is held.
#[derive(Clone, Debug)]
struct Entry {
    anchor: Arc<Anchor>,
    place: Place,
    /// Whether a held share names this header, or one of the side headers above it.
    is_named: bool,
}

/// Number of a header in order of arrival.
type Arrival = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On bitcoind's best chain.
    Best,
    /// Beside it. Without a sender it was on it before, or comes from the store.
    Side { arrival: Arrival, sender: Option<PeerHandle>, branch: Branch },
}

/// The header index.
#[derive(Clone, Debug)]
pub struct HeaderIndex {
    network: Network,
    is_settled: bool,
    headers: BTreeMap<BlockHash, Entry>,
    /// The best chain from its root to its tip, without gaps.
    best: VecDeque<BlockHash>,
    arrivals: Arrival,
}

impl HeaderIndex {
    pub const fn new(network: Network) -> Self {
        Self { network, is_settled: false, headers: BTreeMap::new(), best: VecDeque::new(), arrivals: 0 }
    }

    /// The tip of bitcoind's best chain; `None` before bitcoind has reported one.
    pub fn best(&self) -> Option<&Anchor> {
        self.get(self.best.back()?)
    }

    /// Whether bitcoind has caught up with the network. Before, no chain is adopted and no header is judged bad.
    pub const fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// A header that is held.
    pub fn get(&self, hash: &BlockHash) -> Option<&Anchor> {
        self.headers.get(hash).map(|entry| &*entry.anchor)
    }

    /// Number of headers held.
    pub fn len(&self) -> usize {
        self.headers.len()
    }

    /// Whether no header is held.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// All headers held, by hash.
    pub fn iter(&self) -> impl Iterator<Item = &Anchor> {
        self.headers.values().map(|entry| &*entry.anchor)
    }

    /// The headers that held shares name, and the side headers below them, by hash.
    pub fn named(&self) -> impl Iterator<Item = (&BlockHash, &Anchor)> {
        self.headers.iter().filter(|(_, entry)| entry.is_named).map(|(hash, entry)| (hash, &*entry.anchor))
    }

    /// Whether a held share names a header.
    pub fn is_named(&self, hash: &BlockHash) -> bool {
        self.headers.get(hash).is_some_and(|entry| entry.is_named)
    }

    /// The best chain's block at a height, if that is held.
    fn best_at(&self, height: BlockHeight) -> Option<&Anchor> {
        let root = self.get(self.best.front()?)?.height;
        self.get(self.best.get(height.0.checked_sub(root.0)? as usize)?)
    }

    /// The latest median time past that the best chain knows of a height: of its block there, or of the oldest one held without gaps
    /// if that is above. `None` above its tip.
    pub fn latest_time_at(&self, height: BlockHeight) -> Option<UnixTime> {
        let root = self.get(self.best.front()?)?;
        let best = if height < root.height { Some(root) } else { self.best_at(height) };
        best.map(|best| best.median_time_past)
    }

    /// Whether a block is on the part of the best chain that is held without gaps.
    pub fn is_on_best(&self, hash: &BlockHash) -> bool {
        self.get(hash).is_some_and(|anchor| self.is_in_best(anchor))
    }

    /// Whether a header is on the part of the best chain that is held without gaps.
    fn is_in_best(&self, anchor: &Anchor) -> bool {
        self.best_at(anchor.height).is_some_and(|best| best.header == anchor.header)
    }

    /// Puts back a header that held shares name. It is not judged again.
    pub fn restore(&mut self, anchor: Anchor) {
        let place = self.side(None, Branch::Gossiped);
        let hash = anchor.header.block_hash();
        let entry = Entry { anchor: Arc::new(anchor), place, is_named: true };
        self.headers.entry(hash).or_insert(entry).is_named = true;
    }

    /// Adds a block of the best chain that is below those held without gaps. One that is held already stays as it is.
    pub fn add_best_below(&mut self, anchor: Anchor) {
        let hash = anchor.header.block_hash();
        let entry = Entry { anchor: Arc::new(anchor), place: Place::Best, is_named: false };
        self.headers.entry(hash).or_insert(entry);
        if self.looked_up().count() > LOOKED_UP_MAX {
            let other = self.looked_up().find(|looked_up| **looked_up != hash).copied();
            other.and_then(|other| self.headers.remove(&other));
        }
    }

    /// The blocks of the best chain below those held without gaps that no share names.
    fn looked_up(&self) -> impl Iterator<Item = &BlockHash> {
        let is_one = |entry: &Entry| entry.place == Place::Best && !entry.is_named && !self.is_in_best(&entry.anchor);
        self.headers.iter().filter(move |(_, entry)| is_one(entry)).map(|(hash, _)| hash)
    }

    /// Follows bitcoind's best chain. Returns whether the report fits what was reported before; if not, only
    /// [`Self::is_settled`] changes.
    pub fn follow(&mut self, report: BestChain) -> bool {
        self.is_settled = report.is_settled;
        let kept = match (&report.root, report.headers.first()) {
            (Some(_), _) => 0,
            (None, Some(first)) => match self.get(&first.prev_blockhash).filter(|fork| self.is_in_best(fork)) {
                Some(fork) => {
                    let fork = fork.header.block_hash();
                    self.best.iter().rposition(|hash| *hash == fork).map_or(0, |at| at + 1)
                }
                None => return false,
            },
            (None, None) => return true,
        };
        for left in self.best.split_off(kept) {
            let place = self.side(None, Branch::Gossiped);
            self.headers.get_mut(&left).expect("the best chain is held").place = place;
        }
        if let Some(root) = report.root {
            self.push_best(*root);
        }
        for header in report.headers {
            let Some(tip) = self.best().filter(|tip| tip.header.block_hash() == header.prev_blockhash) else { break };
            let next = tip.extended(self.network, header);
            self.push_best(next);
        }
        self.trim();
        // Blocks that were on the best chain may be part of a side branch that a share names.
        let named: Vec<BlockHash> = self.named().map(|(hash, _)| *hash).collect();
        named.iter().for_each(|hash| self.name_ancestors(hash));
        self.evict(Branch::Gossiped, None, GOSSIPED_MAX, None);
        true
    }

    fn push_best(&mut self, anchor: Anchor) {
        let hash = anchor.header.block_hash();
        let entry = Entry { anchor: Arc::new(anchor), place: Place::Best, is_named: false };
        self.headers.entry(hash).or_insert(entry).place = Place::Best;
        self.best.push_back(hash);
    }

    /// Drops the best chain's blocks that are too far below its tip, except those that shares name.
    fn trim(&mut self) {
        while self.best.len() > BEST_CHAIN_DEPTH as usize + 1 {
            let Some(hash) = self.best.pop_front() else { return };
            if !self.is_named(&hash) {
                self.headers.remove(&hash);
            }
        }
    }

    /// Takes headers of a peer, oldest first, each the parent of the next.
    pub fn receive(&mut self, headers: &[Header], sender: PeerHandle, branch: Branch, now: UnixTime) -> HeadersVerdict {
        let faulty = |index: &Self, fault| match index.is_settled {
            true => HeadersVerdict::Faulty(fault),
            false => HeadersVerdict::Beyond,
        };
        if !headers.iter().all(meets_own_bits) {
            return faulty(self, HeaderFault::Hash);
        }
        let mut is_linked = true;
        for header in headers {
            let hash = header.block_hash();
            if self.headers.contains_key(&hash) {
                is_linked = true;
                continue;
            }
            let Some(parent) = self.headers.get(&header.prev_blockhash) else {
                is_linked = false;
                continue;
            };
            let child = match parent.anchor.child(self.network, *header) {
                Ok(child) => child,
                Err(fault) => return faulty(self, fault),
            };
            if header.time > now.plus(AHEAD_MAX_S).0 || !self.is_within_limits(&child, branch) {
                return HeadersVerdict::Beyond;
            }
            let place = self.side(Some(sender), branch);
            self.headers.insert(hash, Entry { anchor: Arc::new(child), place, is_named: false });
            let (per_peer, in_all) = match branch {
                Branch::Gossiped => (GOSSIPED_PER_PEER_MAX, GOSSIPED_MAX),
                Branch::Fetched => (FETCHED_PER_PEER_MAX, FETCHED_MAX),
            };
            self.evict(branch, Some(sender), per_peer, Some(hash));
            self.evict(branch, None, in_all, Some(hash));
        }
        if is_linked {
            HeadersVerdict::Held
        } else {
            HeadersVerdict::Unlinked
        }
    }

    /// Whether a side header that is not held yet is within the limits of its kind of branch.
    fn is_within_limits(&self, side: &Anchor, branch: Branch) -> bool {
        let mut len = 1;
        let mut below = self.headers.get(&side.header.prev_blockhash);
        let fork = loop {
            let Some(entry) = below else { return false };
            let parent = self.headers.get(&entry.anchor.header.prev_blockhash);
            // A header from the store whose parent is not held was judged before it was stored.
            if entry.place == Place::Best || parent.is_none() {
                break &entry.anchor;
            }
            len += 1;
            if len > FETCHED_LEN_MAX {
                return false;
            }
            below = parent;
        };
        match branch {
            Branch::Gossiped => {
                let depth = self.best().map_or(u32::MAX, |tip| tip.height.0.saturating_sub(fork.height.0));
                self.is_in_best(fork) && depth <= GOSSIP_DEPTH_MAX && len <= GOSSIP_LEN_MAX
            }
            Branch::Fetched => {
                // Blocks of former years had so little work that headers which claim any time cost nothing on them.
                let root = self.best.front().and_then(|root| self.get(root));
                let root = root.filter(|root| side.height < root.height);
                let measure = self.best_at(side.height).or(root).unwrap_or(fork);
                work(side).saturating_mul(FETCHED_WORK_DIVISOR) >= work(measure)
            }
        }
    }

    /// Names a header, so that it stays as long as the shares that build on it are held.
    pub fn name(&mut self, hash: &BlockHash) {
        if let Some(entry) = self.headers.get_mut(hash).filter(|entry| !entry.is_named) {
            entry.is_named = true;
            self.name_ancestors(hash);
        }
    }

    /// Names the side headers below a named one: other nodes need them to judge it.
    fn name_ancestors(&mut self, hash: &BlockHash) {
        let mut at = self.headers.get(hash).filter(|entry| entry.place != Place::Best).map(parent_hash);
        while let Some(entry) = at.and_then(|hash| self.headers.get_mut(&hash)) {
            if entry.is_named || entry.place == Place::Best {
                return;
            }
            entry.is_named = true;
            at = Some(parent_hash(entry));
        }
    }

    /// Adds the headers that another index names.
    pub fn absorb(&mut self, other: &Self) {
        for (hash, entry) in other.headers.iter().filter(|(_, entry)| entry.is_named) {
            self.headers.entry(*hash).or_insert_with(|| entry.clone()).is_named = true;
        }
    }

    /// Drops what no share needs any more. `used` are the headers that held shares name.
    pub fn prune(&mut self, used: &HashSet<BlockHash>) {
        self.headers.values_mut().for_each(|entry| entry.is_named = false);
        used.iter().for_each(|hash| self.name(hash));
        let oldest = self.best().map_or(0, |tip| tip.height.0.saturating_sub(GOSSIP_DEPTH_MAX));
        let best: BTreeSet<BlockHash> = self.best.iter().copied().collect();
        self.headers.retain(|hash, entry| {
            let is_recent_side = match entry.place {
                Place::Best => false,
                Place::Side { branch, .. } => branch == Branch::Gossiped && entry.anchor.height.0 > oldest,
            };
            entry.is_named || best.contains(hash) || is_recent_side
        });
    }

    /// Evicts side headers that no share names and no held header builds on, the oldest first, until there are no more than
    /// `max` of the sender, or of all senders. `new` is not evicted.
    fn evict(&mut self, branch: Branch, of: Option<PeerHandle>, max: usize, new: Option<BlockHash>) {
        loop {
            let counted = self.headers.iter().filter_map(|(hash, entry)| match entry.place {
                Place::Side { arrival, sender, branch: under }
                    if under == branch && !entry.is_named && (of.is_none() || sender == of) =>
                {
                    Some((arrival, *hash))
                }
                _ => None,
            });
            let counted: BTreeSet<(Arrival, BlockHash)> = counted.collect();
            if counted.len() <= max {
                return;
            }
            let parents: HashSet<BlockHash> = self.headers.values().map(parent_hash).collect();
            let mut leaves = counted.iter().filter(|(_, hash)| Some(*hash) != new && !parents.contains(hash));
            let Some((_, hash)) = leaves.next() else { return };
            self.headers.remove(hash);
        }
    }

    fn side(&mut self, sender: Option<PeerHandle>, branch: Branch) -> Place {
        self.arrivals += 1;
        Place::Side { arrival: self.arrivals, sender, branch }
    }
}

fn parent_hash(entry: &Entry) -> BlockHash {
    entry.anchor.header.prev_blockhash
}

/// The expected number of hashes for a block.
fn work(anchor: &Anchor) -> u128 {
    let target = Bits(anchor.header.bits.to_consensus()).target().ok();
    target.and_then(|target| target.work()).map_or(u128::MAX, |work| work.0)
}

#[cfg(test)]
mod tests;
