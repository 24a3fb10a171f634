//! Relays found Bitcoin blocks: announces this node's, reassembles those of peers and gives them to this node's bitcoind,
//! so that a block is not lost with its finder's node.
//!
//! Only a pool's new block counts: its coinbase has the commitment of a share, and it stands on the tip of bitcoind's best chain,
//! one below, or beside it no lower than the tip. Any other Bitcoin block is no reason to make bitcoind store it, or this node
//! relay it. The share itself may still be deferred when its block is found, so it need not be known.

use std::collections::VecDeque;
use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::{Block, BlockHash};

use super::effect::PeerBlock;
use super::headers::NEXT_SOURCE_S;
use super::report::Report;
use super::TableSize;
use crate::peer::{GossipId, GossipVerdict, PeerHandle};
use crate::sharechain::{Anchor, Tree};
use crate::units::{BlockHeight, SteadyTime, UnixTime};
use crate::wire::{BlockAnnouncement, BlockError, Reassembly, Request, Response, TransactionBytes};
use crate::work::Template;

/// Blocks whose transactions are still served to peers: more than are found in one minute on any network that pays.
const SERVED_MAX: usize = 4;
/// Announced blocks that are reassembled at once. Each has Bitcoin's full proof of work, but a peer can announce the header of an
/// old block with other parts, and must not displace valid announcements: see [`crowded_out`].
const PARTIAL_MAX: usize = 8;
/// Announced blocks that wait for their parent.
const WAITING_MAX: usize = 8;
/// Announced blocks of one peer that wait, and that are reassembled. A pool finds hardly a second one before the first is complete.
const PER_PEER_MAX: usize = 2;
/// Seconds from its announcement after which a block is given up that is still incomplete: as long as it may have waited for its
/// parent, once more. Otherwise peers that respond late could keep one for a quarter of an hour.
const INCOMPLETE_MAX_S: u32 = 2 * WAITING_MAX_S;
/// Seconds that one waits: the network thread forgets its gossip then, and a found block is everywhere by that time.
const WAITING_MAX_S: u32 = 120;
/// Seconds from a request for transactions that failed to the next: a peer that relayed an announcement may still be
/// fetching them itself.
const RETRY_S: u32 = 2;
/// Maximum number of requests for one block, which takes a minute. After that some bitcoind has it, or none.
const REQUESTS_MAX: usize = 30;
/// Number of those after which other peers are asked for what is still missing: a block of 4 MB takes five responses.
const REQUESTS_IN_A_ROW: usize = 8;

/// What the node is to do for the relay.
#[derive(Debug)]
pub enum RelayAction {
    /// Gossip an announcement of a block of ours.
    Announce(Arc<BlockAnnouncement>),
    /// The verdict on an announcement. It is relayed only once the block is complete: one proof of work can stand before
    /// any number of false announcements, and a node that relays one has what others will request.
    Verdict(GossipId, GossipVerdict),
    /// The peer announced an invalid block.
    Penalize(PeerHandle),
    /// Request missing transactions of the announcement's block.
    Request(PeerHandle, GossipId, Request),
    /// Give the block to bitcoind.
    Submit(PeerBlock),
    /// Look this header up; the peer, if there is one, named it.
    LookUp(BlockHash, Option<PeerHandle>),
    /// Request this header from one more peer, the first of these that got no such request.
    RequestHeader(BlockHash, Vec<PeerHandle>),
    /// Write a line to the log.
    Report(Report),
}

/// What the relay must know of the node.
pub trait BlockView {
    /// A Bitcoin block that is known.
    fn anchor(&self, hash: &BlockHash) -> Option<&Anchor>;
    /// Where a new block on this one would stand.
    fn standing(&self, parent: &BlockHash) -> Standing;
}

/// Where a block stands, by its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// On the tip of bitcoind's best chain, on the one below, or on a known block beside it that is no lower than the tip: then
    /// it leads to a better chain, whose blocks bitcoind may have yet to get.
    New,
    /// Further below.
    Old,
    /// The parent is unknown, or a lower one beside the best chain.
    Unknown,
}

impl BlockView for Tree {
    fn anchor(&self, hash: &BlockHash) -> Option<&Anchor> {
        self.anchor(hash)
    }

    fn standing(&self, parent: &BlockHash) -> Standing {
        let headers = self.headers();
        let Some(tip) = headers.best().filter(|_| headers.is_settled()) else { return Standing::Unknown };
        match (tip.header.block_hash(), tip.header.prev_blockhash) {
            (hash, before) if *parent == hash || *parent == before => Standing::New,
            _ if headers.is_on_best(parent) => Standing::Old,
            _ if headers.get(parent).is_some_and(|beside| beside.height >= tip.height) => Standing::New,
            _ => Standing::Unknown,
        }
    }
}

/// A peer's announcement as it arrived.
pub struct Announced {
    pub peer: PeerHandle,
    pub gossip: GossipId,
    pub header: Header,
    /// See [`Event::BlockAnnounced`](super::Event::BlockAnnounced).
    pub announcement: Vec<u8>,
}

/// The state of the block relay.
#[derive(Debug, Default)]
pub struct BlockRelay {
    served: VecDeque<(BlockHash, Block)>,
    /// In order of arrival.
    partial: VecDeque<Partial>,
    /// In order of arrival.
    waiting: VecDeque<Waiting>,
    /// Number of blocks that were reassembled or are.
    arrivals: u64,
    actions: Vec<RelayAction>,
}

/// An announced block whose parent is unknown here, or not on the best chain yet.
#[derive(Debug)]
struct Waiting {
    peer: PeerHandle,
    gossip: GossipId,
    header: Header,
    announcement: Vec<u8>,
    since: SteadyTime,
    /// Number of other peers chosen so far as sources of the parent's header, and when the next one is chosen.
    others: usize,
    other_at: SteadyTime,
}

/// Whether two peers are of one netgroup, or the same peer on the operator's own network.
fn are_together(one: PeerHandle, other: PeerHandle) -> bool {
    one == other || one.netgroup().is_some_and(|netgroup| other.netgroup() == Some(netgroup))
}

/// Returns which of these announcers' blocks, oldest first, makes room if they are too many: of the netgroup with most, the peer
/// with most loses its oldest one; of peers with equally many, the newest.
///
/// So no peer displaces the only block of an earlier one of its netgroup, nor a netgroup the only block of another. A netgroup may
/// have all places as long as no other needs them, because two peers could keep the others of their netgroup out of a part of them.
fn crowded_out(announcers: &[PeerHandle], max: usize) -> Option<usize> {
    let of_peer = |peer| announcers.iter().filter(|other| **other == peer).count();
    let of_netgroup = |peer| announcers.iter().filter(|other| are_together(**other, peer)).count();
    let greedy = announcers.iter().find(|peer| of_peer(**peer) > PER_PEER_MAX);
    let most = || announcers.iter().enumerate().max_by_key(|(at, peer)| (of_netgroup(**peer), of_peer(**peer), *at));
    let loser = greedy.or_else(|| most().map(|(_, peer)| peer).filter(|_| announcers.len() > max))?;
    announcers.iter().position(|peer| peer == loser)
}

/// An announced block of which transactions are missing.
#[derive(Debug)]
struct Partial {
    arrival: u64,
    /// When it was announced.
    since: SteadyTime,
    hash: BlockHash,
    gossip: GossipId,
    announcer: PeerHandle,
    /// The peer that missing transactions are requested from: first the announcer.
    peer: PeerHandle,
    reassembly: Reassembly,
    /// Indexes requested; empty while no request is in flight.
    requested: Vec<u16>,
    requests: usize,
    /// When the next request may be sent.
    retry_at: SteadyTime,
}

impl Partial {
    fn new(
        (arrival, since): (u64, SteadyTime),
        announcer: PeerHandle,
        gossip: GossipId,
        announcement: BlockAnnouncement,
        template: Option<&Template>,
    ) -> Result<Self, BlockError> {
        let hash = announcement.header.block_hash();
        let known = template.into_iter().flat_map(|template| template.transactions.iter());
        let reassembly = Reassembly::new(announcement, known.map(|tx| (tx.wtxid, &*tx.data)))?;
        let (peer, retry_at) = (announcer, SteadyTime::default());
        let (requested, requests) = (Vec::new(), 0);
        Ok(Self { arrival, since, hash, gossip, announcer, peer, reassembly, requested, requests, retry_at })
    }

    fn request(&mut self) -> RelayAction {
        let indexes = self.reassembly.missing();
        self.requested = indexes.to_vec();
        self.requests += 1;
        RelayAction::Request(self.peer, self.gossip, Request::BlockTransactions { block: self.hash, indexes })
    }
}

impl BlockRelay {
    /// The sizes of the tables.
    pub fn tables(&self) -> [TableSize; 3] {
        [
            TableSize::new("served blocks", self.served.len(), SERVED_MAX),
            TableSize::new("incomplete blocks", self.partial.len(), PARTIAL_MAX),
            TableSize::new("waiting blocks", self.waiting.len(), WAITING_MAX),
        ]
    }

    /// Returns the actions since the last call.
    pub fn take_actions(&mut self) -> Vec<RelayAction> {
        std::mem::take(&mut self.actions)
    }

    /// Announces a block of ours.
    pub fn announce(&mut self, height: BlockHeight, block: &[u8]) {
        let block: Block = deserialize(block).expect("this node serialised its own block");
        self.actions.push(match BlockAnnouncement::from_block(&block, height) {
            Ok(announcement) => RelayAction::Announce(Arc::new(announcement)),
            Err(error) => RelayAction::Report(Report::BlockNotAnnounced { height, error }),
        });
        self.serve(block);
    }

    /// Responds with transactions of a block that was announced by us, or reassembled here.
    pub fn respond(&self, hash: &BlockHash, indexes: &[u16]) -> Response {
        let Some((_, block)) = self.served.iter().find(|(served, _)| served == hash) else { return Response::Unknown };
        let requested: Vec<Vec<u8>> =
            indexes.iter().map_while(|index| block.txdata.get(usize::from(*index))).map(serialize).collect();
        Response::block_transactions(requested.iter().map(Vec::as_slice))
    }

    /// A peer relayed an announcement.
    pub fn announced(
        &mut self,
        Announced { peer, gossip, header, announcement }: Announced,
        now: SteadyTime,
        view: &impl BlockView,
        template: Option<&Template>,
    ) {
        if self.knows(&header.block_hash(), peer) {
            self.actions.push(RelayAction::Verdict(gossip, GossipVerdict::Ignore));
            return;
        }
        let other_at = now.plus(NEXT_SOURCE_S);
        let waiting = Waiting { peer, gossip, header, announcement, since: now, others: 0, other_at };
        let Some(waiting) = self.take(waiting, view, template) else { return };
        self.waiting.push_back(waiting);
        let announcers: Vec<PeerHandle> = self.waiting.iter().map(|waiting| waiting.peer).collect();
        let dropped = crowded_out(&announcers, WAITING_MAX);
        if dropped != Some(announcers.len() - 1) {
            self.look_up_parent(header.prev_blockhash, Some(peer), view);
        }
        if let Some(dropped) = dropped.and_then(|at| self.waiting.remove(at)) {
            self.actions.push(RelayAction::Verdict(dropped.gossip, GossipVerdict::Ignore));
        }
    }

    /// Bitcoin blocks may have become known that announcements wait for.
    pub fn settle(&mut self, view: &impl BlockView, template: Option<&Template>) {
        for waiting in std::mem::take(&mut self.waiting) {
            let still = self.take(waiting, view, template);
            self.waiting.extend(still);
        }
    }

    /// A peer responded to a request for transactions of this announcement's block; `None` if it gave none.
    ///
    /// A peer other than the announcer that gives other transactions than were announced may well have the true block.
    pub fn response(&mut self, of: GossipId, given: Option<&[TransactionBytes]>, now: SteadyTime) {
        let Some(at) = self.partial.iter().position(|partial| partial.gossip == of) else { return };
        let Some(mut partial) = self.partial.remove(at) else { return };
        let (peer, announcer) = (partial.peer, partial.announcer);
        let requested = std::mem::take(&mut partial.requested);
        let Some(given) = given.filter(|given| !given.is_empty()) else {
            return self.put_off(partial, now);
        };
        match partial.reassembly.fill(&requested, given) {
            Ok(()) => self.advance(partial, now),
            // No peer can complete what is larger than a block.
            Err(error @ BlockError::TooLarge) => {
                self.actions.push(RelayAction::Verdict(partial.gossip, GossipVerdict::Reject));
                self.invalid(announcer, error);
            }
            Err(error) => {
                self.put_off(partial, now);
                if peer == announcer {
                    self.invalid(peer, error);
                }
            }
        }
    }

    /// Time passes. What the last peer did not send is requested from another one. The parents of waiting blocks are looked up
    /// again, and every [`NEXT_SOURCE_S`] one more peer becomes a source of each unknown parent, because the announcer need
    /// not have it and requests get lost.
    pub fn tick(&mut self, peers: &[PeerHandle], now: SteadyTime, view: &impl BlockView) {
        for partial in std::mem::take(&mut self.partial) {
            match now.since(partial.since) >= INCOMPLETE_MAX_S {
                true => self.give_up(&partial),
                false => self.partial.push_back(partial),
            }
        }
        for partial in self.partial.iter_mut().filter(|partial| partial.requested.is_empty() && partial.retry_at <= now)
        {
            // By turns: a peer that relayed the announcement has it sooner or later.
            if let Some(peer) = peers.get(partial.requests % peers.len().max(1)) {
                partial.peer = *peer;
                self.actions.push(partial.request());
            }
        }
        for mut waiting in std::mem::take(&mut self.waiting) {
            if now.since(waiting.since) >= WAITING_MAX_S {
                self.actions.push(RelayAction::Report(Report::BlockUnlinked(waiting.header.block_hash())));
                self.actions.push(RelayAction::Verdict(waiting.gossip, GossipVerdict::Ignore));
                continue;
            }
            let parent = waiting.header.prev_blockhash;
            if now >= waiting.other_at && view.anchor(&parent).is_none() {
                waiting.other_at = now.plus(NEXT_SOURCE_S);
                // By turns: earlier sources do not come first again.
                let from = waiting.others % peers.len().max(1);
                let others = peers.iter().cycle().skip(from).take(peers.len()).copied().collect();
                self.actions.push(RelayAction::RequestHeader(parent, others));
                waiting.others += 1;
            }
            self.look_up_parent(parent, None, view);
            self.waiting.push_back(waiting);
        }
    }

    /// Whether a block is complete here, or is being reassembled from what this peer says of it. What other peers say of
    /// it may be false.
    fn knows(&self, hash: &BlockHash, peer: PeerHandle) -> bool {
        self.served.iter().any(|(served, _)| served == hash)
            || self.partial.iter().any(|partial| partial.hash == *hash && partial.announcer == peer)
    }

    /// Checks an announcement if its parent is known. Returns it if it has to wait.
    fn take(&mut self, waiting: Waiting, view: &impl BlockView, template: Option<&Template>) -> Option<Waiting> {
        let parent = &waiting.header.prev_blockhash;
        let anchor = match (view.standing(parent), view.anchor(parent)) {
            (Standing::New, Some(anchor)) => anchor,
            (Standing::Old, _) => {
                self.actions.push(RelayAction::Verdict(waiting.gossip, GossipVerdict::Ignore));
                return None;
            }
            _ => return Some(waiting),
        };
        let Waiting { peer, gossip, header, announcement, since, .. } = waiting;
        let checked = BlockAnnouncement::validate(&announcement, anchor.required_bits(UnixTime(header.time)));
        self.arrivals += 1;
        let arrival = (self.arrivals, since);
        match checked.and_then(|announcement| Partial::new(arrival, peer, gossip, announcement, template)) {
            Ok(partial) => self.advance(partial, since),
            Err(error) => {
                self.actions.push(RelayAction::Verdict(gossip, GossipVerdict::Reject));
                self.invalid(peer, error);
            }
        }
        None
    }

    /// Looks the parent of a waiting block up; `named_by` is the peer that has just named it.
    fn look_up_parent(&mut self, parent: BlockHash, named_by: Option<PeerHandle>, view: &impl BlockView) {
        if view.anchor(&parent).is_none() {
            self.actions.push(RelayAction::LookUp(parent, named_by));
        }
    }

    /// Completes a block, or requests what it lacks: from the same peer at once, unless it has taken many requests.
    fn advance(&mut self, mut partial: Partial, now: SteadyTime) {
        match partial.reassembly.block() {
            Ok(Some(block)) => self.complete(partial, block),
            Ok(None) if partial.requests >= REQUESTS_IN_A_ROW => self.put_off(partial, now),
            Ok(None) => {
                let request = partial.request();
                if self.keep(partial) {
                    self.actions.push(request);
                }
            }
            Err(error) => {
                self.actions.push(RelayAction::Verdict(partial.gossip, GossipVerdict::Reject));
                self.invalid(partial.announcer, error);
            }
        }
    }

    fn complete(&mut self, partial: Partial, bytes: Vec<u8>) {
        let announcement = partial.reassembly.announcement();
        let (id, height) = (announcement.id(), announcement.height);
        self.actions.push(RelayAction::Report(Report::BlockReassembled { id, height }));
        self.actions.push(RelayAction::Verdict(partial.gossip, GossipVerdict::Accept));
        self.give_up_where(|other| other.hash == partial.hash);
        self.serve(deserialize(&bytes).expect("a reassembled block is one"));
        self.actions.push(RelayAction::Submit(PeerBlock { id, height, block: bytes }));
    }

    fn invalid(&mut self, peer: PeerHandle, error: BlockError) {
        self.actions.push(RelayAction::Report(Report::BlockInvalid { peer, error }));
        self.actions.push(RelayAction::Penalize(peer));
    }

    fn put_off(&mut self, mut partial: Partial, now: SteadyTime) {
        if partial.requests >= REQUESTS_MAX {
            return self.give_up(&partial);
        }
        partial.retry_at = now.plus(RETRY_S);
        self.put_back(partial);
    }

    /// Gives a block up that no peer completes.
    fn give_up(&mut self, partial: &Partial) {
        self.actions.push(RelayAction::Report(Report::BlockIncomplete(partial.hash)));
        self.actions.push(RelayAction::Verdict(partial.gossip, GossipVerdict::Ignore));
    }

    /// Keeps an incomplete block, for which another one may have to make room. Returns whether it stays itself.
    fn keep(&mut self, partial: Partial) -> bool {
        let arrival = partial.arrival;
        self.put_back(partial);
        let announcers: Vec<PeerHandle> = self.partial.iter().map(|partial| partial.announcer).collect();
        let dropped = crowded_out(&announcers, PARTIAL_MAX).and_then(|at| self.partial.remove(at));
        let Some(dropped) = dropped else { return true };
        self.actions.push(RelayAction::Verdict(dropped.gossip, GossipVerdict::Ignore));
        dropped.arrival != arrival
    }

    fn put_back(&mut self, partial: Partial) {
        let at = self.partial.partition_point(|other| other.arrival < partial.arrival);
        self.partial.insert(at, partial);
    }

    fn give_up_where(&mut self, is_over: impl Fn(&Partial) -> bool) {
        let over = self.partial.iter().filter(|partial| is_over(partial));
        self.actions.extend(over.map(|partial| RelayAction::Verdict(partial.gossip, GossipVerdict::Ignore)));
        self.partial.retain(|partial| !is_over(partial));
    }

    fn serve(&mut self, block: Block) {
        self.served.push_back((block.block_hash(), block));
        if self.served.len() > SERVED_MAX {
            self.served.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
