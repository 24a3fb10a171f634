//! The connected peers, by their number and by their id.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};
use p2pool_core::peer::PeerHandle;
use p2pool_core::status::{Direction, PeerStatus};
use p2pool_core::token_bucket::{Rate, TokenBucket};
use p2pool_core::units::UnixTime;

use crate::address::ip_of;
use crate::rate_limits::Neighbours;

/// Questions a peer may ask: 17,280 shares are some 70 of them (`wire::limits::SHARES_MAX` each), which a node just
/// arrived may ask at once.
const REQUESTS: Rate = Rate { burst: 100, interval: Duration::from_millis(100) };
/// Gossiped shares a peer may pass on: at one share in 30 s a hundred at once is most of an hour's.
const SHARES: Rate = Rate { burst: 100, interval: Duration::from_millis(50) };
/// Announced blocks a peer may pass on: Bitcoin has one in ten minutes, test networks have more.
const BLOCKS: Rate = Rate { burst: 10, interval: Duration::from_secs(2) };
/// Times a peer may say what it is: once a connection, once in five minutes, and when its addresses change.
const IDENTIFY: Rate = Rate { burst: 20, interval: Duration::from_secs(10) };
/// Asking too often is counted at most once in this time: a burst is one offence.
const BLAME: Rate = Rate { burst: 1, interval: Duration::from_secs(1) };
/// Answers left unread are counted at most once in the time that one has, see `thread`.
const UNREAD: Rate = Rate { burst: 1, interval: Duration::from_secs(30) };
/// Characters of what a peer says it runs that are kept.
const AGENT_LEN_MAX: usize = 64;

/// How many others may stay.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Of those who dialled us. Whoever comes later is a visitor, until a place comes free.
    pub lasting: usize,
    /// A visitor may stay so long, which is enough to learn of other nodes.
    pub visit: Duration,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acts {
    /// A question.
    Request,
    /// A gossiped share.
    Share,
    /// An announced block.
    Block,
    /// Saying what it is and where.
    Identify,
}

/// What a peer, or a neighbourhood of several, may do how often.
#[derive(Debug)]
pub struct Allowances {
    requests: TokenBucket<Instant>,
    shares: TokenBucket<Instant>,
    blocks: TokenBucket<Instant>,
    identify: TokenBucket<Instant>,
    /// Being blamed for any of the above.
    pub blame: TokenBucket<Instant>,
    /// Being blamed for not reading.
    pub unread: TokenBucket<Instant>,
}

impl Allowances {
    /// What so many peers may do.
    pub fn of(peers: u32, now: Instant) -> Self {
        Self {
            requests: TokenBucket::new(REQUESTS.times(peers), now),
            shares: TokenBucket::new(SHARES.times(peers), now),
            blocks: TokenBucket::new(BLOCKS.times(peers), now),
            identify: TokenBucket::new(IDENTIFY.times(peers), now),
            blame: TokenBucket::new(BLAME, now),
            unread: TokenBucket::new(UNREAD, now),
        }
    }

    /// Takes one; false if there is none.
    pub fn take(&mut self, act: Acts, now: Instant) -> bool {
        self.account(act).take(now)
    }

    /// Gives back one that was taken for something useful.
    pub fn give_back(&mut self, act: Acts) {
        self.account(act).give_back();
    }

    /// Whether nothing was done lately.
    pub fn are_full(&self, now: Instant) -> bool {
        [self.requests, self.shares, self.blocks, self.identify].iter().all(|account| account.is_full(now))
    }

    fn account(&mut self, act: Acts) -> &mut TokenBucket<Instant> {
        match act {
            Acts::Request => &mut self.requests,
            Acts::Share => &mut self.shares,
            Acts::Block => &mut self.blocks,
            Acts::Identify => &mut self.identify,
        }
    }
}

/// A connected peer.
#[derive(Debug)]
pub struct Peer {
    /// Its number.
    pub token: PeerHandle,
    /// Where it is; none behind a name.
    pub ip: Option<IpAddr>,
    /// Who dialled.
    pub direction: Direction,
    /// What it may do.
    pub allowances: Allowances,
    /// Questions of ours under way.
    pub asked: usize,
    /// GossipSub has stopped listening to it, and we have taken note.
    pub deaf: bool,
    /// The points that we told GossipSub of, which makes them part of its score.
    pub told: Option<u32>,
    came: Instant,
    address: Arc<str>,
    id: Arc<str>,
    agent: Arc<str>,
    latency: Option<Duration>,
    since: UnixTime,
}

impl Peer {
    /// Notes what its last ping took.
    pub fn pinged(&mut self, latency: Duration) {
        self.latency = Some(latency);
    }

    /// Notes what it says it runs.
    pub fn runs(&mut self, agent: &str) {
        let agent: String = agent.chars().filter(|char| !char.is_control()).take(AGENT_LEN_MAX).collect();
        self.agent = agent.into();
    }

    /// Where it is, for logs.
    pub fn address(&self) -> &Arc<str> {
        &self.address
    }

    fn status(&self) -> PeerStatus {
        PeerStatus {
            id: Arc::clone(&self.id),
            address: Arc::clone(&self.address),
            direction: self.direction,
            latency_us: self.latency.map(|latency| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)),
            connected_since: self.since,
            agent: Arc::clone(&self.agent),
        }
    }
}

/// All connected peers; as many as connections are allowed.
#[derive(Debug, Default)]
pub struct Peers {
    by_id: HashMap<PeerId, Peer>,
    by_token: HashMap<PeerHandle, PeerId>,
    neighbours: Neighbours,
    next_token: u64,
}

impl Peers {
    /// A peer's first connection.
    pub fn add(
        &mut self,
        id: PeerId,
        address: &Multiaddr,
        direction: Direction,
        time: UnixTime,
        now: Instant,
    ) -> &Peer {
        let ip = ip_of(address);
        let token = PeerHandle::new(self.neighbours.number(ip), self.next_token);
        self.next_token += 1;
        self.by_token.insert(token, id);
        let peer = Peer {
            token,
            ip,
            direction,
            allowances: Allowances::of(1, now),
            asked: 0,
            deaf: false,
            told: None,
            came: now,
            address: address.to_string().into(),
            id: id.to_string().into(),
            agent: "".into(),
            latency: None,
            since: time,
        };
        self.by_id.entry(id).or_insert(peer)
    }

    /// Takes one of what a peer may do, alone and with its neighbours; false if there is none left.
    pub fn take(&mut self, id: &PeerId, act: Acts, now: Instant) -> bool {
        let Some(peer) = self.by_id.get_mut(id) else { return false };
        peer.allowances.take(act, now) && self.neighbours.take(peer.ip, act, now)
    }

    /// Gives back one that was taken for something useful: whoever passes on much that is good is no nuisance.
    pub fn give_back(&mut self, id: &PeerId, act: Acts) {
        let Some(peer) = self.by_id.get_mut(id) else { return };
        peer.allowances.give_back(act);
        self.neighbours.give_back(peer.ip, act);
    }

    /// A peer's last connection is gone.
    pub fn remove(&mut self, id: &PeerId) -> Option<Peer> {
        let peer = self.by_id.remove(id)?;
        self.by_token.remove(&peer.token);
        Some(peer)
    }

    /// A peer by its id.
    pub fn get(&self, id: &PeerId) -> Option<&Peer> {
        self.by_id.get(id)
    }

    /// A peer by its id.
    pub fn get_mut(&mut self, id: &PeerId) -> Option<&mut Peer> {
        self.by_id.get_mut(id)
    }

    /// A peer's id by its number.
    pub fn id(&self, token: PeerHandle) -> Option<PeerId> {
        self.by_token.get(&token).copied()
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&PeerId, &mut Peer)> {
        self.by_id.iter_mut()
    }

    /// All of them.
    pub fn ids(&self) -> impl Iterator<Item = &PeerId> {
        self.by_id.keys()
    }

    /// Visitors who should go now. The first to come are no visitors; when one of them goes, the next takes its place.
    pub fn overstaying(&self, places: Places, now: Instant) -> Vec<PeerId> {
        let mut guests: Vec<_> = self.by_id.iter().filter(|(_, peer)| peer.direction == Direction::Inbound).collect();
        // Serial numbers order them; what stands above these in a token does not.
        guests.sort_unstable_by_key(|(_, peer)| (peer.came, peer.token));
        let visitors = guests.into_iter().skip(places.lasting);
        visitors.filter(|(_, peer)| now.duration_since(peer.came) >= places.visit).map(|(id, _)| *id).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many of them we dialled.
    pub fn outbound(&self) -> usize {
        self.by_id.values().filter(|peer| peer.direction == Direction::Outbound).count()
    }

    /// For onlookers, in the order of their coming.
    pub fn statuses(&self) -> Vec<PeerStatus> {
        let mut all: Vec<&Peer> = self.by_id.values().collect();
        all.sort_by_key(|peer| peer.token);
        all.into_iter().map(Peer::status).collect()
    }
}
