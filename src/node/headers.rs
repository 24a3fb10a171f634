//! Tracks which peers can be asked for Bitcoin headers that are unknown here, and bounds the lookups at bitcoind.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bitcoin::block::Header;
use bitcoin::BlockHash;

use super::TableSize;
use crate::peer::PeerHandle;
use crate::sharechain::{Branch, Tree, FETCHED_LEN_MAX};
use crate::token_bucket::{Rate, TokenBucket};
use crate::units::SteadyTime;
use crate::wire::limits::HEADERS_MAX;
use crate::wire::{List, Response};

/// Headers for which sources are remembered: more than can be waited for at once.
const HEADERS_TRACKED_MAX: usize = 1_024;
/// Sources remembered per header: the first may not have it, or not respond.
const SOURCES_PER_HEADER_MAX: usize = 8;
/// Seconds after which the next source is asked when one does not respond.
pub const NEXT_SOURCE_S: u32 = 10;
/// Seconds without progress after which a branch of a fetched chain makes room for another of the same peer.
const PARTIAL_MAX_S: u32 = 3 * NEXT_SOURCE_S;

/// Seconds after which a block that stays unknown is looked up at bitcoind again.
pub const LOOK_UP_AGAIN_S: u32 = 1;
/// Lookups at bitcoind that the peers of one netgroup cause, or a peer without one, and those that all peers cause by gossip, or
/// by chains that are fetched. A share that needs one costs its sender nothing: any old Bitcoin header passes for one before rule 8.
/// A chain that was mined without a pause needs none, except for blocks beside the best chain; one whose shares name 8,000 old
/// blocks, the shares of two months, is looked up in some four minutes.
pub const LOOK_UPS_PER_GROUP: Rate = Rate { burst: 512, interval: Duration::from_millis(25) };
pub const LOOK_UPS: Rate = Rate { burst: 1_024, interval: Duration::from_millis(10) };
/// Netgroups, and peers without one, whose lookups are counted: more than are connected.
const GROUPS_MAX: usize = 256;

/// Peers that named a Bitcoin block, by its hash.
#[derive(Debug, Default)]
pub struct HeaderSources {
    by_hash: HashMap<BlockHash, Sources>,
    /// Branches of fetched chains that do not reach down to a known header yet: one per peer.
    partial: BTreeMap<PeerHandle, PartialBranch>,
    /// What is left of the lookups of each group of peers, and of all: for gossip, and for chains that are fetched.
    by_group: BTreeMap<(Option<u64>, Option<PeerHandle>), TokenBucket<SteadyTime>>,
    of_gossip: Option<TokenBucket<SteadyTime>>,
    of_fetches: Option<TokenBucket<SteadyTime>>,
}

/// What to do about a header that is needed and unknown here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Look it up at bitcoind.
    LookUp {
        /// Whether it counts however far it is below the tip: a fetched share names it.
        may_be_old: bool,
    },
    /// Request it from the next peer that named it.
    AskPeer,
    /// Nothing for a while.
    Wait,
}

/// Headers of one branch, oldest first.
#[derive(Debug)]
struct PartialBranch {
    /// The hash of the oldest.
    oldest: BlockHash,
    headers: Vec<Header>,
    /// When it last grew.
    grown: SteadyTime,
}

/// A peer that can be asked for a header.
#[derive(Clone, Copy, Debug)]
struct HeaderSource {
    peer: PeerHandle,
    /// Whether it named the block unasked, by gossip.
    is_gossip: bool,
    was_asked: bool,
}

/// The peers that can be asked for one header, the next one first.
#[derive(Debug, Default)]
struct Sources {
    peers: VecDeque<HeaderSource>,
    /// Whether a share of a fetched chain names it.
    is_fetched: bool,
    /// When the next may be asked.
    next_at: SteadyTime,
    /// When bitcoind may be asked again.
    look_up_at: SteadyTime,
    /// Whether bitcoind did not know it when it was asked last.
    is_unknown: bool,
}

impl Sources {
    /// Adds a source, if there is room. It comes before those that were asked, and one of a fetch before those of gossip. These make
    /// room as well, and then one of a netgroup that has more: peers that name a block and do not have it must not keep out one that
    /// has it.
    fn add(&mut self, new: HeaderSource) {
        if let Some(source) = self.peers.iter_mut().find(|source| source.peer == new.peer) {
            source.is_gossip &= new.is_gossip;
            return;
        }
        let comes_later = |source: &HeaderSource| source.was_asked || (source.is_gossip && !new.is_gossip);
        if self.peers.len() >= SOURCES_PER_HEADER_MAX {
            let of_netgroup = |of: PeerHandle| {
                let is_like = |source: &&HeaderSource| source.peer.netgroup() == of.netgroup();
                if of.netgroup().is_some() {
                    self.peers.iter().filter(is_like).count()
                } else {
                    0
                }
            };
            let is_crowded = |source: &HeaderSource| of_netgroup(source.peer) > of_netgroup(new.peer) + 1;
            let at = self.peers.iter().position(comes_later).or_else(|| self.peers.iter().rposition(is_crowded));
            let Some(at) = at else { return };
            self.peers.remove(at);
        }
        let at = self.peers.iter().position(comes_later).unwrap_or(self.peers.len());
        self.peers.insert(at, new);
    }

    fn remove(&mut self, peer: PeerHandle) {
        self.peers.retain(|source| source.peer != peer);
    }
}

impl HeaderSources {
    /// The sizes of the tables.
    pub fn tables(&self) -> [TableSize; 2] {
        [
            // Blocks that the relay waits for may be added past the bound.
            TableSize::new("header sources", self.by_hash.len(), HEADERS_TRACKED_MAX + SOURCES_PER_HEADER_MAX),
            TableSize::new("groups that cause lookups", self.by_group.len(), GROUPS_MAX),
        ]
    }

    /// What to do now about a header that is needed. A peer caused it, or this node itself.
    pub fn next_step(&mut self, hash: &BlockHash, peer: Option<PeerHandle>, now: SteadyTime) -> NextStep {
        let may_be_old = self.branch(hash) == Branch::Fetched;
        let (is_early, is_unknown) =
            self.by_hash.get(hash).map_or((false, false), |sources| (now < sources.look_up_at, sources.is_unknown));
        if !is_early && peer.is_none_or(|peer| self.take_look_up(peer, may_be_old, now)) {
            if let Some(sources) = self.by_hash.get_mut(hash) {
                sources.look_up_at = now.plus(LOOK_UP_AGAIN_S);
            }
            return NextStep::LookUp { may_be_old };
        }
        // A flood of lookups must not keep out the header of a new block beside the best chain.
        match is_unknown || (!is_early && !may_be_old) {
            true => NextStep::AskPeer,
            false => NextStep::Wait,
        }
    }

    fn take_look_up(&mut self, peer: PeerHandle, may_be_old: bool, now: SteadyTime) -> bool {
        let group = peer.netgroup();
        let key = (group, group.is_none().then_some(peer));
        if !self.by_group.contains_key(&key) && self.by_group.len() >= GROUPS_MAX {
            self.by_group.retain(|_, bucket| !bucket.is_full(now));
            if self.by_group.len() >= GROUPS_MAX {
                return false;
            }
        }
        let of_group = self.by_group.entry(key).or_insert_with(|| TokenBucket::new(LOOK_UPS_PER_GROUP, now));
        let of_all = if may_be_old { &mut self.of_fetches } else { &mut self.of_gossip };
        of_group.take(now) && of_all.get_or_insert_with(|| TokenBucket::new(LOOK_UPS, now)).take(now)
    }

    /// Notes whether bitcoind knew a block.
    pub fn looked_up(&mut self, hash: &BlockHash, is_unknown: bool) {
        if let Some(sources) = self.by_hash.get_mut(hash) {
            sources.is_unknown = is_unknown;
        }
    }

    /// Remembers under what a block was named, and by which peers.
    pub fn add(&mut self, hash: BlockHash, branch: Branch, peers: impl IntoIterator<Item = PeerHandle>) {
        if self.by_hash.len() >= HEADERS_TRACKED_MAX && !self.by_hash.contains_key(&hash) {
            self.by_hash.clear();
        }
        let sources = self.by_hash.entry(hash).or_default();
        if branch == Branch::Fetched && !sources.is_fetched {
            // An old block counts from now on.
            (sources.is_fetched, sources.is_unknown, sources.look_up_at) = (true, false, SteadyTime::default());
        }
        for peer in peers {
            sources.add(HeaderSource { peer, is_gossip: branch == Branch::Gossiped, was_asked: false });
        }
    }

    /// Adds the first of these peers that is not a source yet, as the next one to ask.
    pub fn add_other(&mut self, hash: BlockHash, mut peers: impl Iterator<Item = PeerHandle>) {
        let sources = self.by_hash.entry(hash).or_default();
        if let Some(peer) = peers.find(|peer| sources.peers.iter().all(|source| source.peer != *peer)) {
            sources.peers.truncate(SOURCES_PER_HEADER_MAX - 1);
            sources.peers.push_front(HeaderSource { peer, is_gossip: false, was_asked: false });
        }
    }

    /// Under which limits a header is taken.
    pub fn branch(&self, hash: &BlockHash) -> Branch {
        let is_fetched = self.by_hash.get(hash).is_some_and(|sources| sources.is_fetched);
        if is_fetched {
            Branch::Fetched
        } else {
            Branch::Gossiped
        }
    }

    /// Joins the headers that a peer gave up to `hash` with those above it, if the peer gave these before.
    pub fn join(&mut self, peer: PeerHandle, hash: &BlockHash, mut headers: Vec<Header>) -> Vec<Header> {
        if self.partial.get(&peer).is_some_and(|partial| partial.oldest == *hash) {
            let above = self.partial.remove(&peer).into_iter().flat_map(|partial| partial.headers);
            headers.extend(above.skip(1));
        }
        headers
    }

    /// Keeps the headers of a fetched branch whose oldest has an unknown parent. Returns the block to look up next: the oldest
    /// may be on bitcoind's best chain, or else those before it are requested. `None` if the branch is too long, or the peer
    /// has another one that grows.
    pub fn keep(&mut self, peer: PeerHandle, headers: Vec<Header>, now: SteadyTime) -> Option<BlockHash> {
        // The last response may have brought blocks below the branch.
        let oldest = headers.first().filter(|_| headers.len() < FETCHED_LEN_MAX + HEADERS_MAX)?.block_hash();
        if let Some(kept) = self.partial.get(&peer).filter(|kept| now.since(kept.grown) < PARTIAL_MAX_S) {
            return (kept.headers.last() == headers.last()).then_some(kept.oldest);
        }
        self.partial.insert(peer, PartialBranch { oldest, headers, grown: now });
        Some(oldest)
    }

    /// Takes the branches whose oldest header is known now.
    pub fn take_linked(&mut self, is_known: impl Fn(&BlockHash) -> bool) -> Vec<(PeerHandle, Vec<Header>)> {
        let linked = self.partial.iter().filter(|(_, partial)| is_known(&partial.oldest));
        let linked: Vec<PeerHandle> = linked.map(|(peer, _)| *peer).collect();
        let take = |peer| Some((peer, self.partial.remove(&peer)?.headers));
        linked.into_iter().filter_map(take).collect()
    }

    /// Forgets a peer that disconnected, and what it gave.
    pub fn peer_disconnected(&mut self, peer: PeerHandle) {
        self.partial.remove(&peer);
        self.by_hash.values_mut().for_each(|sources| sources.remove(peer));
    }

    /// Chooses the peer to ask for a header that is unknown here, among those that may be asked now; `None` if there is none, or one
    /// was asked just now.
    pub fn next(
        &mut self,
        hash: &BlockHash,
        may_ask: impl Fn(PeerHandle) -> bool,
        now: SteadyTime,
    ) -> Option<PeerHandle> {
        let sources = self.by_hash.get_mut(hash).filter(|sources| now >= sources.next_at)?;
        let at = sources.peers.iter().position(|source| may_ask(source.peer))?;
        let source = sources.peers.remove(at)?;
        sources.peers.push_back(HeaderSource { was_asked: true, ..source });
        sources.next_at = now.plus(NEXT_SOURCE_S);
        Some(source.peer)
    }

    /// Removes a peer that does not have a header. The next one is asked when the header is needed again.
    pub fn remove(&mut self, hash: &BlockHash, peer: PeerHandle) {
        if let Some(sources) = self.by_hash.get_mut(hash) {
            sources.remove(peer);
            sources.next_at = SteadyTime::default();
        }
    }
}

/// Whether headers are a branch that ends with the requested one.
pub fn is_branch_to(headers: &[Header], hash: &BlockHash) -> bool {
    let is_linked = |pair: &[Header]| matches!(pair, [parent, child] if child.prev_blockhash == parent.block_hash());
    headers.last().is_some_and(|last| last.block_hash() == *hash) && headers.windows(2).all(is_linked)
}

/// Responds with a header and up to six before it, oldest first, as far as they are known here.
pub fn respond(tree: &Tree, of: &BlockHash) -> Response {
    let newest_first = std::iter::successors(tree.anchor(of), |anchor| tree.anchor(&anchor.header.prev_blockhash));
    let mut headers: Vec<Header> = newest_first.take(HEADERS_MAX).map(|anchor| anchor.header).collect();
    headers.reverse();
    match headers.is_empty() {
        true => Response::Unknown,
        false => Response::Headers(List::first_of(headers)),
    }
}
