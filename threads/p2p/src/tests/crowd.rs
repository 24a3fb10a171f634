//! A network with few public nodes and many homes, in virtual time: who gets a connection. The dialer, the slots and the rules of who
//! leaves are the nodes' own; connections are made at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use libp2p::identity::Keypair;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use p2pool_core::status::Direction;
use p2pool_core::units::UnixTime;

use crate::behaviour::{INBOUND_MAX, INBOUND_SLOTS};
use crate::buckets::Key;
use crate::dialer::{Dialer, Purpose};
use crate::driver::slots::{may_leave, HINTED, HINT_INTERVAL, SETTLED};
use crate::one_connection::LEAVE_TIME;
use crate::origin::{Origin, TorAddresses};
use crate::peers::{Peer, Peers};
use crate::reachability::NAMED_WANTED;

const TIME: UnixTime = UnixTime(1_700_000_000);
const TICK: Duration = Duration::from_millis(500);
/// Homes start within this time.
const STARTS: Duration = Duration::from_secs(20);
/// Time in which all are to have their connections.
const WITHIN: Duration = Duration::from_secs(120);
/// Time after which a node knows that it is not reachable, and has reserved relays.
const RESERVED_AFTER: Duration = Duration::from_secs(30);
/// Relays name others that they relay for so often.
const NAMES_INTERVAL: Duration = Duration::from_secs(30);
/// Named peers that a node has at most, on both sides of the request.
const NAMED_MAX: usize = 2 * NAMED_WANTED;

/// A generator of numbers, so that a run can be repeated.
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self) -> [u8; 16] {
        u128::from(self.number()).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes()
    }

    fn below(&mut self, count: usize) -> usize {
        (self.number() % count as u64) as usize
    }
}

/// Peer ids, which are always the same.
static IDS: LazyLock<Vec<PeerId>> = LazyLock::new(|| {
    let key = |number: u8| Keypair::ed25519_from_bytes([number; 32]).unwrap();
    (0..200).map(|number| key(number).public().to_peer_id()).collect()
});

fn id(number: usize) -> PeerId {
    IDS[number]
}

/// An address in a group of its own.
fn address(number: usize) -> Multiaddr {
    format!("/ip4/{}.{}.8.8/tcp/9171", 11 + number / 250, number % 250).parse().unwrap()
}

struct Public {
    peers: Peers,
    turned_away: bool,
    hinted_at: Instant,
}

struct Home {
    id: PeerId,
    dialer: Dialer,
    starts_at: Instant,
    /// The public nodes that it has dialled, with the time.
    direct: BTreeMap<usize, Instant>,
    named: BTreeSet<usize>,
    names_asked_at: Option<Instant>,
}

impl Home {
    fn connections(&self) -> usize {
        self.direct.len() + self.named.len()
    }

    /// Notes the end of a connection to a public node.
    fn closed(&mut self, public: usize, now: Instant) {
        if self.direct.remove(&public).is_some() {
            self.dialer.disconnected(&id(public), now);
        }
    }
}

struct Crowd {
    publics: Vec<Public>,
    homes: Vec<Home>,
    random: Random,
    now: Instant,
    serial: usize,
    /// Nodes leave others room when they hear that slots are short.
    leaves: bool,
}

impl Crowd {
    fn new(publics: usize, homes: usize, seed: u64, leaves: bool) -> Self {
        let (now, mut random) = (Instant::now(), Random(seed));
        let home = |number: usize| {
            let (us, boot) = (id(publics + number), random.below(publics));
            let starts_at = now + STARTS * number as u32 / homes as u32;
            let dialer = Dialer::new(us, Key(random.bytes()), 10, vec![(id(boot), address(boot))], "", starts_at);
            let (direct, named) = (BTreeMap::new(), BTreeSet::new());
            Home { id: us, dialer, starts_at, direct, named, names_asked_at: None }
        };
        let homes = (0..homes).map(home).collect();
        let public = || Public { peers: Peers::default(), turned_away: false, hinted_at: now };
        Self { publics: (0..publics).map(|_| public()).collect(), homes, random, now, serial: 0, leaves }
    }

    fn number_of(&self, peer: &PeerId) -> usize {
        (0..self.publics.len()).find(|number| id(*number) == *peer).unwrap()
    }

    fn dial(&mut self, home: usize) {
        let (now, random) = (self.now, self.random.bytes());
        let Home { dialer, direct, .. } = &mut self.homes[home];
        let connected: Vec<PeerId> = direct.keys().map(|public| id(*public)).collect();
        let due = dialer.due(now, connected.len(), || random, |peer| connected.contains(peer));
        for (peer, _) in due {
            let public = self.number_of(&peer);
            self.connect(home, public);
        }
    }

    fn connect(&mut self, home: usize, public: usize) {
        let (now, address_of_home) = (self.now, address(100 + home));
        let Home { id: us, dialer, direct, .. } = &mut self.homes[home];
        let them = id(public);
        dialer.outbound_connected(them, &address(public), now, TIME);
        if self.publics[public].peers.len() >= INBOUND_MAX as usize {
            self.publics[public].turned_away = true;
            dialer.heard_full(&them);
            dialer.disconnected(&them, now);
            return;
        }
        if dialer.purpose(&them) == Purpose::Feeler {
            return dialer.feeler_ended(&them);
        }
        let origin = Origin::at(&address_of_home, &TorAddresses::default());
        let connection = ConnectionId::new_unchecked(self.serial);
        self.serial += 1;
        let mut peer = Peer::new(*us, connection, &address_of_home, origin, Direction::Inbound, TIME, now);
        peer.latency_min = Some(Duration::from_millis(20 + self.random.number() % 200));
        self.publics[public].peers.add(*us, peer);
        direct.insert(public, now);
        // The DHT names all public nodes.
        for other in (0..self.publics.len()).filter(|other| *other != public) {
            dialer.add_heard(id(other), vec![address(other)], now);
        }
    }

    fn home_of(&self, peer: &PeerId) -> usize {
        self.homes.iter().position(|home| home.id == *peer).unwrap()
    }

    /// Evicts, and has others hear of it, as [`crate::driver`] does.
    fn evict(&mut self, number: usize) {
        let now = self.now;
        let random = self.random.bytes();
        let public = &mut self.publics[number];
        // The DHT responds at once, see `connect`.
        let learnt: BTreeMap<ConnectionId, Instant> =
            public.peers.iter().map(|(_, peer)| (peer.connection, peer.connected_at)).collect();
        let learnt_at = |connection| learnt.get(&connection).copied();
        let evicted = public.peers.to_evict(INBOUND_SLOTS, &Key([number as u8; 16]), || random, learnt_at, now);
        public.turned_away |= !evicted.is_empty();
        for peer in &evicted {
            public.peers.get_mut(peer).unwrap().leaving_since = Some(now);
        }
        let is_gone = |peer: &Peer| peer.leaving_since.is_some_and(|since| now.duration_since(since) >= LEAVE_TIME);
        let gone: Vec<PeerId> = public.peers.iter().filter(|(_, peer)| is_gone(peer)).map(|(id, _)| *id).collect();
        for peer in evicted {
            let home = self.home_of(&peer);
            self.homes[home].dialer.heard_full(&id(number));
        }
        for peer in gone {
            self.publics[number].peers.remove(&peer);
            let home = self.home_of(&peer);
            self.homes[home].closed(number, now);
        }
        let public = &mut self.publics[number];
        if self.leaves && public.turned_away && now.duration_since(public.hinted_at) >= HINT_INTERVAL {
            (public.turned_away, public.hinted_at) = (false, now);
            for peer in public.peers.any_settled(HINTED, random, SETTLED, now) {
                self.hear(number, &peer);
            }
        }
    }

    fn hear(&mut self, public: usize, peer: &PeerId) {
        let (now, number) = (self.now, self.home_of(peer));
        let home = &self.homes[number];
        let since = home.direct[&public];
        // Of those dialled in the same tick, no public node is everybody's oldest.
        let turn = |public: usize| (public + number) % self.publics.len();
        let rank = |public, at| (home.dialer.purpose(&id(public)) != Purpose::Unlisted, at, turn(public));
        let own = rank(public, since);
        let before = home.direct.iter().filter(|(other, at)| rank(**other, **at) < own).count();
        if may_leave(now.duration_since(since), before, home.connections()) {
            let home = &mut self.homes[number];
            home.dialer.leaving(&id(public), now);
            home.closed(public, now);
            self.publics[public].peers.remove(peer);
        }
    }

    /// A relay names others that it relays for.
    fn ask_for_names(&mut self, number: usize) {
        let home = &self.homes[number];
        let is_due = home.names_asked_at.is_none_or(|at| self.now.duration_since(at) >= NAMES_INTERVAL);
        if !is_due || home.direct.is_empty() || home.named.len() >= NAMED_WANTED {
            return;
        }
        let relays: Vec<usize> = home.direct.keys().copied().collect();
        let relay = relays[self.random.below(relays.len())];
        self.homes[number].names_asked_at = Some(self.now);
        let is_relayed = |other: &usize| {
            let home = &self.homes[*other];
            *other != number && home.direct.contains_key(&relay) && home.starts_at + RESERVED_AFTER <= self.now
        };
        let mut names: Vec<usize> = (0..self.homes.len()).filter(is_relayed).collect();
        while names.len() > 8 {
            names.remove(self.random.below(names.len()));
        }
        for other in names {
            let is_free = self.homes[other].named.len() < NAMED_MAX && !self.homes[other].named.contains(&number);
            if is_free && self.homes[number].named.len() < NAMED_WANTED {
                self.homes[number].named.insert(other);
                self.homes[other].named.insert(number);
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            for home in 0..self.homes.len() {
                if self.homes[home].starts_at <= self.now {
                    self.dial(home);
                }
                if self.homes[home].starts_at + RESERVED_AFTER <= self.now {
                    self.ask_for_names(home);
                }
            }
            for public in 0..self.publics.len() {
                self.evict(public);
            }
            self.now += TICK;
        }
    }

    /// Numbers of connections of all homes, the fewest first: direct ones, and all.
    fn connections(&self) -> (Vec<usize>, Vec<usize>) {
        let mut direct: Vec<usize> = self.homes.iter().map(|home| home.direct.len()).collect();
        let mut all: Vec<usize> = self.homes.iter().map(Home::connections).collect();
        direct.sort_unstable();
        all.sort_unstable();
        (direct, all)
    }
}

/// How many have how many.
fn histogram(numbers: &[usize]) -> String {
    let counts = numbers.chunk_by(|one, other| one == other).map(|same| format!("{} have {}", same.len(), same[0]));
    counts.collect::<Vec<_>>().join(", ")
}

#[test]
fn with_twenty_homes_per_public_node_each_has_four_connections_within_two_minutes() {
    for seed in 1..=3 {
        let mut crowd = Crowd::new(6, 120, seed, true);
        crowd.run(STARTS + WITHIN);
        let (direct, all) = crowd.connections();
        println!("seed {seed}: direct: {}; in all: {}", histogram(&direct), histogram(&all));
        assert!(all[0] >= 4 && direct[0] >= 1, "seed {seed}");
    }
    let mut selfish = Crowd::new(6, 120, 1, false);
    selfish.run(STARTS + WITHIN);
    let (direct, all) = selfish.connections();
    println!("if no home leaves: direct: {}; in all: {}", histogram(&direct), histogram(&all));
    assert!(all[0] < 4, "no home needs to leave");
}
