//! The connected peers.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use p2pool_core::netgroup::Netgroup;
use p2pool_core::peer::PeerHandle;
use p2pool_core::status::{Direction, PeerStatus, Route};
use p2pool_core::token_bucket::{Rate, TokenBucket};
use p2pool_core::units::UnixTime;

use crate::address::ip_of;
use crate::buckets::Key;
use crate::eviction::{self, Candidate, Evicted};
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

/// How many inbound peers may stay.
#[derive(Clone, Copy, Debug)]
pub struct InboundSlots {
    /// Slots whose peers may stay. One more peer evicts another, see `eviction`.
    pub permanent: usize,
    /// Time for which a peer may stay if it would be evicted although its netgroup is not crowded. It suffices to learn about
    /// other nodes.
    pub temporary_for: Duration,
}

impl InboundSlots {
    /// The slots of a node with so many inbound peers at most: a tenth is for newcomers.
    pub fn of_at_most(self, inbound: usize) -> Self {
        Self { permanent: self.permanent.min(inbound - (inbound / 10).max(usize::from(inbound > 1))), ..self }
    }
}

/// A connected peer.
#[derive(Debug)]
pub struct Peer {
    /// Its handle in the chain thread.
    pub handle: PeerHandle,
    /// Its connection; others of the same peer are being closed.
    pub connection: ConnectionId,
    /// Its IP address; `None` if it was dialled by name.
    pub ip: Option<IpAddr>,
    /// Who dialled.
    pub direction: Direction,
    /// How the connection was made.
    pub route: Route,
    /// Limits how often the peer is penalised for exceeding its rate limits.
    pub rate_penalty: TokenBucket<Instant>,
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
    /// It has been evicted, and its connection is being closed.
    pub is_leaving: bool,
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
        direction: Direction,
        time: UnixTime,
        now: Instant,
    ) -> Self {
        Self {
            handle: PeerHandle(0),
            connection,
            ip: ip_of(address),
            direction,
            route: Route::Direct,
            rate_penalty: TokenBucket::new(RATE_PENALTY, now),
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
            is_leaving: false,
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
            netgroup: self.ip.and_then(Netgroup::of),
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

    fn status(&self) -> PeerStatus {
        PeerStatus {
            id: Arc::clone(&self.id),
            address: Arc::clone(&self.address),
            direction: self.direction,
            route: self.route,
            latency_us: self.latency.map(|latency| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)),
            connected_since: self.connected_since,
            agent: Arc::clone(&self.agent),
        }
    }

    /// Returns the key that sorts peers by the time at which they connected first.
    const fn order(&self) -> (Instant, PeerHandle) {
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
        let handle = PeerHandle::new(self.netgroup_number(peer.ip), self.next_serial);
        self.next_serial += 1;
        self.by_handle.insert(handle, id);
        peer.handle = handle;
        let previous = self.by_id.insert(id, peer);
        debug_assert!(previous.is_none(), "{id} was connected already");
        handle
    }

    /// Returns the number of 24 bits that stands for a netgroup in a handle; zero for own networks. Two netgroups with the
    /// same number share some of the chain thread's limits, which does no harm.
    fn netgroup_number(&self, ip: Option<IpAddr>) -> u32 {
        ip.and_then(Netgroup::of).map_or(0, |netgroup| (self.hasher.hash_one(netgroup) >> 40).max(1) as u32)
    }

    /// Takes a token of a peer and one of its netgroup; false if one of the two has none, or the peer is unknown.
    pub fn take(&mut self, id: &PeerId, action: Action, now: Instant) -> bool {
        let Some(peer) = self.by_id.get_mut(id) else { return false };
        peer.limiter.take(action, now) && self.netgroup_limiter.take(peer.ip, action, now)
    }

    /// Gives back the tokens of an action that turned out to be useful: much that is valid is not too much.
    pub fn give_back(&mut self, id: &PeerId, action: Action) {
        let Some(peer) = self.by_id.get_mut(id) else { return };
        peer.limiter.give_back(action);
        self.netgroup_limiter.give_back(peer.ip, action);
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

    /// Returns the inbound peers to evict, until no more than the permanent slots are taken. One whose netgroup is crowded goes
    /// at once; otherwise the newest has its time.
    pub fn to_evict(&self, slots: InboundSlots, key: &Key, now: Instant) -> Vec<PeerId> {
        let inbound = self.iter().filter(|(_, peer)| peer.direction == Direction::Inbound && !peer.is_leaving);
        let mut inbound: Vec<Candidate<PeerId>> = inbound.map(|(id, peer)| peer.candidate(*id)).collect();
        let mut evicted = Vec::new();
        while inbound.len() > slots.permanent {
            let newest = || inbound.iter().max_by_key(|peer| (peer.since, peer.id));
            let newest = || newest().map(|peer| Evicted { id: peer.id, since: peer.since, crowd: 1 });
            let Some(next) = eviction::choose(inbound.clone(), key).or_else(newest) else { break };
            if next.crowd == 1 && now.duration_since(next.since) < slots.temporary_for {
                break;
            }
            inbound.retain(|peer| peer.id != next.id);
            evicted.push(next.id);
        }
        evicted
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Number of peers that this node dialled, without those that a relay named.
    pub fn outbound(&self) -> usize {
        let is_chosen = |peer: &&Peer| peer.direction == Direction::Outbound && peer.route == Route::Direct;
        self.by_id.values().filter(is_chosen).count()
    }

    /// Returns the published status of all peers, in the order in which they connected.
    pub fn statuses(&self) -> Vec<PeerStatus> {
        let mut all: Vec<&Peer> = self.by_id.values().collect();
        all.sort_unstable_by_key(|peer| peer.order());
        all.into_iter().map(Peer::status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netgroups_have_different_numbers_of_24_bits() {
        let peers = Peers::default();
        let number = |text: &str| peers.netgroup_number(Some(text.parse().unwrap()));
        assert_eq!(number("8.8.8.8"), number("8.8.8.9"));
        assert_eq!(number("10.0.0.1"), 0);
        assert_eq!(peers.netgroup_number(None), 0);
        let numbers: std::collections::HashSet<u32> = (0..100).map(|third| number(&format!("8.8.{third}.8"))).collect();
        assert!(numbers.len() > 95 && numbers.iter().all(|number| (1..1 << 24).contains(number)));
    }

    /// Adds an inbound peer that connected at this time from this address.
    fn connect(peers: &mut Peers, id: PeerId, address: &str, at: Instant) {
        let address = format!("{address}/tcp/1").parse().unwrap();
        let peer = Peer::new(id, ConnectionId::new_unchecked(1), &address, Direction::Inbound, UnixTime(0), at);
        peers.add(id, peer);
    }

    #[test]
    fn a_newcomer_evicts_a_stranger_of_a_crowded_netgroup_at_once_and_otherwise_has_its_time() {
        let (mut peers, start, key) = (Peers::default(), Instant::now(), Key([7; 16]));
        let slots = InboundSlots { permanent: 72, temporary_for: Duration::from_secs(10) };
        let second = |number: u64| start + Duration::from_secs(number);
        let strangers: Vec<PeerId> = (0..72).map(|_| PeerId::random()).collect();
        for (number, id) in strangers.iter().enumerate() {
            connect(&mut peers, *id, &format!("/ip4/8.8.{}.8", number % 9), second(number as u64));
        }
        assert!(peers.to_evict(slots, &key, second(100)).is_empty());
        for number in 0..20 {
            let newcomer = PeerId::random();
            connect(&mut peers, newcomer, &format!("/ip4/9.9.{number}.9"), second(100 + number));
            let evicted = peers.to_evict(slots, &key, second(100 + number));
            assert!(evicted.len() == 1 && strangers.contains(&evicted[0]), "newcomer {number}");
            peers.remove(&evicted[0]);
        }
        // The same from as many netgroups as there are peers.
        let mut peers = Peers::default();
        for number in 0..73 {
            connect(&mut peers, PeerId::random(), &format!("/ip4/8.8.{number}.8"), second(number));
        }
        assert!(peers.to_evict(slots, &key, second(72 + 9)).is_empty());
        assert_eq!(peers.to_evict(slots, &key, second(72 + 10)).len(), 1);
    }

    #[test]
    fn a_peer_that_connects_again_keeps_its_inbound_slot_and_gets_a_new_handle() {
        let (mut peers, start) = (Peers::default(), Instant::now());
        let ids: Vec<PeerId> = (0..3).map(|_| PeerId::random()).collect();
        let connect = |number: usize, at: Instant| {
            let (connection, address) = (ConnectionId::new_unchecked(number), "/ip4/8.8.8.8/tcp/1".parse().unwrap());
            Peer::new(ids[number % 3], connection, &address, Direction::Inbound, UnixTime(0), at)
        };
        let second = |number: usize| start + Duration::from_secs(number as u64);
        let handles: Vec<PeerHandle> = (0..3).map(|n| peers.add(ids[n], connect(n, second(n)))).collect();
        let mut again = connect(3, second(3));
        let old = peers.remove(&ids[0]).unwrap();
        again.keep_slot_of(&old);
        let handle = peers.add(ids[0], again);
        assert!(!handles.contains(&handle) && peers.id(handles[0]).is_none());
        let slots = InboundSlots { permanent: 2, temporary_for: Duration::from_secs(10) };
        assert_eq!(peers.to_evict(slots, &Key([7; 16]), second(20)), [ids[2]]);
    }
}
