//! The connected peers.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use p2pool_core::netgroup::Netgroup;
use p2pool_core::peer::PeerHandle;
use p2pool_core::status::{Direction, PeerStatus, Route};
use p2pool_core::token_bucket::{Rate, TokenBucket};
use p2pool_core::units::UnixTime;

use crate::buckets::Key;
use crate::eviction::{self, Candidate};
use crate::origin::Origin;
use crate::rate_limits::{Action, NetgroupLimiter, RateLimiter};

/// A peer is penalised for exceeding its rate limits at most once in this time: a burst is one misbehaviour.
const RATE_PENALTY: Rate = Rate { burst: 1, interval: Duration::from_secs(1) };
/// A peer is penalised for unread responses at most once in this time, the timeout of one: a slow line has several in
/// flight.
const UNREAD_PENALTY: Rate = Rate { burst: 1, interval: Duration::from_secs(30) };
/// Statements of this node's instance that a peer gets on one connection: the second repeats a challenge that the peer
/// passed on in response to the first, see `instance`.
const STATEMENTS_MAX: u8 = 2;
/// Characters of a peer's agent version that are kept.
const AGENT_LEN_MAX: usize = 64;
/// Time for which a peer that brought a share is useful: twenty shares of the pool.
const USEFUL_TIME: Duration = Duration::from_secs(600);

/// How many inbound peers may stay.
#[derive(Clone, Copy, Debug)]
pub struct InboundSlots {
    /// Slots whose peers may stay. One more peer evicts another, see `eviction`.
    pub permanent: usize,
    /// Slots of newcomers beyond these. While all are taken, silent ones leave sooner, see [`SILENT_FOR`].
    pub temporary: usize,
    /// Time for which a peer may stay that would be evicted although its netgroup is not crowded, unless it has learnt about
    /// other nodes before, see [`LEARNT_AFTER`].
    pub temporary_for: Duration,
}

/// Time for which a newcomer may stay that has not asked the DHT, while newcomers take all slots: several round trips.
const SILENT_FOR: Duration = Duration::from_secs(2);
/// Part of the temporary slots that strangers through Tor and relays may take.
const ANONYMOUS_TEMPORARY_PART: usize = 3;
/// Time after the first response of the DHT in which it has arrived, also through Tor.
const LEARNT_AFTER: Duration = Duration::from_secs(1);
/// Part of the permanent slots that one anonymous netgroup may take: strangers through Tor leave two thirds to all others.
const ANONYMOUS_PART: usize = 3;

impl InboundSlots {
    /// Slots that the members of one netgroup may take at most before one of them makes room for the next.
    fn of_netgroup(self, netgroup: Netgroup) -> usize {
        // The connection gater limits the others.
        if netgroup.is_anonymous() {
            (self.permanent / ANONYMOUS_PART).max(1)
        } else {
            self.permanent
        }
    }

    /// The slots of a node with so many inbound peers at most: a tenth is for newcomers.
    pub fn of_at_most(self, inbound: usize) -> Self {
        let permanent = self.permanent.min(inbound - (inbound / 10).max(usize::from(inbound > 1)));
        Self { permanent, temporary: self.temporary.min(inbound - permanent), ..self }
    }
}

/// Which rate limit is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    /// The peer's own.
    Peer,
    /// That of its netgroup, perhaps by others.
    Netgroup,
}

/// A connected peer.
#[derive(Debug)]
pub struct Peer {
    /// Its handle in the chain thread.
    pub handle: PeerHandle,
    /// Its connection; others of the same peer are being closed.
    pub connection: ConnectionId,
    /// Where it is.
    pub origin: Origin,
    /// Who dialled.
    pub direction: Direction,
    /// How the connection was made.
    pub route: Route,
    /// Limits how often the peer is penalised for exceeding its rate limits.
    pub rate_penalty: TokenBucket<Instant>,
    /// What it did beyond its rate limits.
    pub over_limit: u32,
    /// Limits how often the peer is penalised for unread responses.
    pub unread_penalty: TokenBucket<Instant>,
    /// GossipSub has graylisted it, and it has been penalised for that.
    pub is_graylisted: bool,
    /// Ban score that GossipSub last got as part of its own score.
    pub reported_score: Option<u32>,
    limiter: RateLimiter,
    /// When it took its inbound slot, perhaps by an earlier connection.
    slot_since: Instant,
    /// When it connected.
    pub connected_at: Instant,
    connected_since: UnixTime,
    /// Its remote address, for logs.
    pub address: Arc<str>,
    id: Arc<str>,
    agent: Arc<str>,
    /// How often this node may still send it a statement of its instance.
    pub statements_left: u8,
    /// Round-trip time of the last ping.
    pub latency: Option<Duration>,
    /// Shortest round-trip time of a ping.
    pub latency_min: Option<Duration>,
    /// When it was evicted. Its connection is being closed.
    pub leaving_since: Option<Instant>,
    /// When it last sent a share that was new and accepted.
    pub shared_at: Option<Instant>,
    /// When it last sent a found block that was new and accepted.
    pub found_at: Option<Instant>,
}

impl Peer {
    /// A peer that has just connected. It gets its handle when it is added to the others.
    pub fn new(
        id: PeerId,
        connection: ConnectionId,
        address: &Multiaddr,
        origin: Origin,
        direction: Direction,
        time: UnixTime,
        now: Instant,
    ) -> Self {
        Self {
            handle: PeerHandle(0),
            connection,
            origin,
            direction,
            route: Route::Direct,
            rate_penalty: TokenBucket::new(RATE_PENALTY, now),
            over_limit: 0,
            unread_penalty: TokenBucket::new(UNREAD_PENALTY, now),
            is_graylisted: false,
            reported_score: None,
            limiter: RateLimiter::new(1, now),
            slot_since: now,
            connected_at: now,
            connected_since: time,
            address: address.to_string().into(),
            id: id.to_string().into(),
            agent: "".into(),
            latency: None,
            latency_min: None,
            leaving_since: None,
            shared_at: None,
            found_at: None,
            statements_left: STATEMENTS_MAX,
        }
    }

    /// Takes the slot of a connection of the same peer that this one replaces, with what protects it.
    pub const fn keep_slot_of(&mut self, old: &Self) {
        self.slot_since = old.slot_since;
        (self.shared_at, self.found_at) = (old.shared_at, old.found_at);
    }

    fn candidate(&self, id: PeerId) -> Candidate<PeerId> {
        Candidate {
            id,
            netgroup: self.origin.netgroup,
            latency: self.latency_min,
            shared_at: self.shared_at,
            found_at: self.found_at,
            since: self.slot_since,
        }
    }

    /// Sets the agent version, shortened and without control characters.
    pub fn set_agent(&mut self, agent: &str) {
        let agent: String = agent.chars().filter(|char| !char.is_control()).take(AGENT_LEN_MAX).collect();
        self.agent = agent.into();
    }

    fn status(&self, is_added: bool) -> PeerStatus {
        PeerStatus {
            id: Arc::clone(&self.id),
            address: Arc::clone(&self.address),
            direction: self.direction,
            route: self.route,
            latency_us: self.latency.map(|latency| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)),
            connected_since: self.connected_since,
            agent: Arc::clone(&self.agent),
            is_added,
        }
    }

    /// Returns the key that sorts peers by the time at which they connected first.
    pub const fn order(&self) -> (Instant, PeerHandle) {
        (self.slot_since, self.handle)
    }
}

/// All connected peers.
#[derive(Debug, Default)]
pub struct Peers {
    by_id: HashMap<PeerId, Peer>,
    by_handle: HashMap<PeerHandle, PeerId>,
    netgroup_limiter: NetgroupLimiter,
    /// Seeded by the system, so that a netgroup's number cannot be chosen.
    hasher: RandomState,
    next_serial: u64,
}

impl Peers {
    /// Adds a peer that was not connected, and returns its handle.
    pub fn add(&mut self, id: PeerId, mut peer: Peer) -> PeerHandle {
        let handle = PeerHandle::new(self.netgroup_number(peer.origin.netgroup), self.next_serial);
        self.next_serial += 1;
        self.by_handle.insert(handle, id);
        peer.handle = handle;
        let previous = self.by_id.insert(id, peer);
        debug_assert!(previous.is_none(), "{id} was connected already");
        handle
    }

    /// Returns the number of 24 bits that stands for a netgroup in a handle; zero for none. Two netgroups with the same number
    /// share some of the chain thread's limits, which does no harm.
    fn netgroup_number(&self, netgroup: Option<Netgroup>) -> u32 {
        netgroup.map_or(0, |netgroup| (self.hasher.hash_one(netgroup) >> 40).max(1) as u32)
    }

    /// Takes a token of a peer and one of its netgroup, unless one of the two has none, or the peer is unknown.
    pub fn take(&mut self, id: &PeerId, action: Action, now: Instant) -> Result<(), OverLimit> {
        let Some(peer) = self.by_id.get_mut(id) else { return Err(OverLimit::Netgroup) };
        if !peer.limiter.take(action, now) {
            return Err(OverLimit::Peer);
        }
        let is_within = self.netgroup_limiter.take(peer.origin.netgroup, action, now);
        is_within.then_some(()).ok_or(OverLimit::Netgroup)
    }

    /// Removes a peer whose connection has closed or is replaced.
    pub fn remove(&mut self, id: &PeerId) -> Option<Peer> {
        let peer = self.by_id.remove(id)?;
        self.by_handle.remove(&peer.handle);
        Some(peer)
    }

    pub fn get(&self, id: &PeerId) -> Option<&Peer> {
        self.by_id.get(id)
    }

    pub fn get_mut(&mut self, id: &PeerId) -> Option<&mut Peer> {
        self.by_id.get_mut(id)
    }

    /// Returns the peer id behind a handle; `None` if the peer has disconnected.
    pub fn id(&self, handle: PeerHandle) -> Option<PeerId> {
        self.by_handle.get(&handle).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&PeerId, &Peer)> {
        self.by_id.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&PeerId, &mut Peer)> {
        self.by_id.iter_mut()
    }

    /// Whether the inbound peers that stay take all permanent slots.
    pub fn are_slots_full(&self, slots: InboundSlots) -> bool {
        let stays = |peer: &&Peer| peer.direction == Direction::Inbound && peer.leaving_since.is_none();
        self.by_id.values().filter(stays).count() >= slots.permanent
    }

    /// Returns the inbound peers to evict, until no more than the permanent slots are taken, and no anonymous netgroup has more
    /// than its part. One whose netgroup is crowded goes at once; otherwise each of the newest has its time. `random` decides
    /// between the members of an anonymous netgroup; `learnt_at` says when the DHT first responded on a connection.
    pub fn to_evict(
        &self,
        slots: InboundSlots,
        key: &Key,
        random: impl Fn() -> [u8; 16],
        learnt_at: impl Fn(ConnectionId) -> Option<Instant>,
        now: Instant,
    ) -> Vec<PeerId> {
        let inbound =
            self.iter().filter(|(_, peer)| peer.direction == Direction::Inbound && peer.leaving_since.is_none());
        let mut inbound: Vec<Candidate<PeerId>> = inbound.map(|(id, peer)| peer.candidate(*id)).collect();
        let mut evicted = Vec::new();
        for netgroup in Netgroup::ANONYMOUS {
            let members =
                |inbound: &[Candidate<PeerId>]| inbound.iter().filter(|peer| peer.netgroup == Some(netgroup)).count();
            while members(&inbound) > slots.of_netgroup(netgroup) {
                let Some(id) = eviction::choose_member(netgroup, inbound.clone(), key, &Key(random())) else { break };
                inbound.retain(|peer| peer.id != id);
                evicted.push(id);
            }
        }
        let excess = inbound.len().saturating_sub(slots.permanent);
        let stays_for =
            if excess >= slots.temporary { slots.temporary_for.min(SILENT_FOR) } else { slots.temporary_for };
        let mut anonymous = slots.temporary.div_ceil(ANONYMOUS_TEMPORARY_PART);
        for _ in 0..excess {
            let newest = || inbound.iter().max_by_key(|peer| (peer.since, peer.id)).map(|peer| (*peer, 1));
            let Some((next, crowd)) = eviction::choose(inbound.clone(), key).or_else(newest) else { break };
            inbound.retain(|peer| peer.id != next.id);
            let connection = self.by_id.get(&next.id).map(|peer| peer.connection);
            let has_learnt = connection.and_then(&learnt_at).is_some_and(|at| now.duration_since(at) >= LEARNT_AFTER);
            let is_anonymous = next.netgroup.is_some_and(Netgroup::is_anonymous);
            let has_no_room = is_anonymous && anonymous == 0;
            if crowd > 1 || has_learnt || has_no_room || now.duration_since(next.since) >= stays_for {
                evicted.push(next.id);
            } else if is_anonymous {
                anonymous -= 1;
            }
        }
        evicted
    }

    /// Returns some of the inbound peers that stay, have been connected for so long and have brought no share that was new here
    /// lately; `random` chooses which.
    pub fn any_settled(&self, count: usize, random: [u8; 16], age: Duration, now: Instant) -> Vec<PeerId> {
        let is_settled = |peer: &Peer| {
            let is_old = now.duration_since(peer.connected_at) >= age;
            let is_useful = peer.shared_at.is_some_and(|at| now.duration_since(at) < USEFUL_TIME);
            peer.direction == Direction::Inbound && is_old && !is_useful && peer.leaving_since.is_none()
        };
        let mut settled: Vec<PeerId> = self.iter().filter(|(_, peer)| is_settled(peer)).map(|(id, _)| *id).collect();
        settled.sort_by_key(|id| Key(random).hash(&[&id.to_bytes()]));
        settled.truncate(count);
        settled
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Number of peers that this node dialled, without those that a relay named.
    pub fn outbound(&self) -> usize {
        self.chosen().count()
    }

    /// The peers that [`Self::outbound`] counts.
    pub fn chosen(&self) -> impl Iterator<Item = (&PeerId, &Peer)> {
        let is_chosen = |peer: &Peer| peer.direction == Direction::Outbound && peer.route == Route::Direct;
        self.by_id.iter().filter(move |(_, peer)| is_chosen(peer))
    }

    /// Returns the published status of all peers, in the order in which they connected.
    pub fn statuses(&self, is_added: impl Fn(&PeerId) -> bool) -> Vec<PeerStatus> {
        let mut all: Vec<(&PeerId, &Peer)> = self.iter().collect();
        all.sort_unstable_by_key(|(_, peer)| peer.order());
        all.into_iter().map(|(id, peer)| peer.status(is_added(id))).collect()
    }
}

#[cfg(test)]
mod tests;
