//! What a bootnode bears when very many nodes join at once: a model of slots, dials and what nodes learn from each other.

use super::Figure;
use crate::random::Random;

/// Slots and dials as in `threads/p2p`: inbound peers, and those that stay; outbound connections wanted, without how many of
/// them there are enough, and dials at a time; time before a peer is dialled again, doubled with each failure, for bootnodes
/// and for others.
const INBOUND_MAX: usize = 80;
const INBOUND_PERMANENT: usize = 72;
const OUTBOUND: usize = 10;
const UNLISTED: usize = 2;
const DIALS_MAX: usize = 8;
const BACKOFF_MIN_MS: u64 = 1_000;
const BACKOFF_BOOTNODE_MAX_MS: u64 = 60_000;
const BACKOFF_MAX_MS: u64 = 600_000;
/// Nodes that a response of the DHT names, and the interval of lookups.
const NAMED_MAX: usize = 20;
const LOOKUP_INTERVAL_MS: u64 = 60_000;
/// Time of a dial with its handshakes: three round trips of 20 to 300 ms.
const DIAL_MS: (u64, u64) = (60, 900);
/// Time until a public node knows that it is one, and the DHT names it.
const LISTED_AFTER_MS: u64 = 60_000;
/// Connections that a node needs to count as connected.
pub const ENOUGH: usize = 4;
/// Time in which all join, step and end of the model.
const JOINING_MS: u64 = 60_000;
const STEP_MS: u64 = 100;
const END_MS: u64 = 900_000;

/// Who joins what.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Nodes that join within a minute; one of five is public.
    pub newcomers: usize,
    /// Public nodes of the pool, bootnodes among them, and inbound peers that each of them has already.
    pub public: usize,
    pub occupied: usize,
    pub bootnodes: usize,
    /// Time of those that do not stay: in `threads/p2p` until a second after a lookup, here three seconds in all, or ten without one.
    pub temporary_ms: u64,
}

/// What became of it. Of the bootnodes: that with the most dials.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Joined {
    pub dials: usize,
    pub dials_per_s_max: usize,
    /// Refused at once, and closed after the time of a temporary slot.
    pub refused: usize,
    pub closed: usize,
    pub inbound_max: usize,
    /// Lookups and requests for the status.
    pub requests: usize,
    /// Seconds from a newcomer's start to enough connections, sorted; [`Self::lacking`] never had them.
    pub enough_s: Vec<u64>,
    pub lacking: usize,
}

/// A peer that a node knows.
struct Known {
    node: usize,
    next_try_ms: u64,
    failures: u32,
    /// It closed the last connection to make room.
    evicted_us: bool,
}

struct Node {
    starts_ms: u64,
    /// From when on the DHT names it.
    listed_ms: Option<u64>,
    occupied: usize,
    known: Vec<Known>,
    dials: Vec<(usize, u64)>,
    outbound: Vec<usize>,
    inbound: Vec<(usize, u64)>,
    next_lookup_ms: u64,
    enough_ms: Option<u64>,
    /// Of a bootnode: the dials to it, by second.
    dialled_s: Vec<u64>,
    refused: usize,
    closed: usize,
    requests: usize,
    inbound_max: usize,
}

impl Node {
    fn is_connected(&self, other: usize) -> bool {
        self.outbound.contains(&other) || self.inbound.iter().any(|(node, _)| *node == other)
    }

    fn learn(&mut self, node: usize) {
        if !self.known.iter().any(|known| known.node == node) {
            self.known.push(Known { node, next_try_ms: 0, failures: 0, evicted_us: false });
        }
    }

    fn failed(&mut self, node: usize, max_ms: u64, is_eviction: bool, now_ms: u64) {
        if let Some(known) = self.known.iter_mut().find(|known| known.node == node) {
            known.next_try_ms = now_ms + (BACKOFF_MIN_MS << known.failures.min(16)).min(max_ms);
            known.failures += 1;
            known.evicted_us = is_eviction;
        }
    }
}

struct Model {
    nodes: Vec<Node>,
    setting: Setting,
    random: Random,
    now_ms: u64,
}

/// Runs the model.
pub fn join(setting: Setting, seed: u64) -> Joined {
    let mut random = Random::new(seed);
    let all = setting.public + setting.newcomers;
    let node = |number: usize| {
        let is_old = number < setting.public;
        let starts_ms = if is_old { 0 } else { random.below(JOINING_MS) };
        Node {
            starts_ms,
            listed_ms: match is_old {
                true => Some(0),
                false => Some(starts_ms + LISTED_AFTER_MS).filter(|_| number.is_multiple_of(5)),
            },
            occupied: if is_old { setting.occupied } else { 0 },
            known: Vec::new(),
            dials: Vec::new(),
            outbound: Vec::new(),
            inbound: Vec::new(),
            next_lookup_ms: 0,
            enough_ms: None,
            dialled_s: Vec::new(),
            refused: 0,
            closed: 0,
            requests: 0,
            inbound_max: 0,
        }
    };
    let mut nodes: Vec<Node> = (0..all).map(node).collect();
    for newcomer in &mut nodes[setting.public..] {
        (0..setting.bootnodes).for_each(|bootnode| newcomer.learn(bootnode));
    }
    let mut model = Model { nodes, setting, random, now_ms: 0 };
    while model.now_ms < END_MS && model.nodes[setting.public..].iter().any(|node| node.enough_ms.is_none()) {
        model.step();
    }
    model.joined()
}

impl Model {
    fn step(&mut self) {
        self.now_ms += STEP_MS;
        for node in self.setting.public..self.nodes.len() {
            if self.nodes[node].starts_ms > self.now_ms {
                continue;
            }
            let now_ms = self.now_ms;
            let due = self.nodes[node].dials.extract_if(.., |(_, at_ms)| *at_ms <= now_ms);
            for (other, _) in due.collect::<Vec<_>>() {
                self.arrive(node, other);
            }
            self.look_up(node);
            self.dial(node);
            let node = &mut self.nodes[node];
            if node.enough_ms.is_none() && node.outbound.len() + node.inbound.len() >= ENOUGH {
                node.enough_ms = Some(now_ms);
            }
        }
        for node in 0..self.nodes.len() {
            self.close_temporary(node);
        }
    }

    fn dial(&mut self, node: usize) {
        let now_ms = self.now_ms;
        loop {
            let this = &self.nodes[node];
            if this.outbound.len() + this.dials.len() >= OUTBOUND || this.dials.len() >= DIALS_MAX {
                return;
            }
            // A full bootnode is spared while there are enough others.
            let has_enough = this.outbound.len() + UNLISTED >= OUTBOUND;
            let is_spared = |known: &Known| known.evicted_us && has_enough && known.node < self.setting.bootnodes;
            let is_due = |known: &&Known| {
                known.next_try_ms + if is_spared(known) { BACKOFF_MAX_MS } else { 0 } <= now_ms
                    && !this.is_connected(known.node)
                    && !this.dials.iter().any(|(other, _)| *other == known.node)
            };
            let due: Vec<usize> = this.known.iter().filter(is_due).map(|known| known.node).collect();
            let Some(other) = self.random.pick(&due) else { return };
            let takes_ms = DIAL_MS.0 + self.random.below(DIAL_MS.1 - DIAL_MS.0);
            self.nodes[node].dials.push((other, now_ms + takes_ms));
            self.nodes[other].dialled_s.push(now_ms / 1_000);
        }
    }

    /// A dial arrives at another node.
    fn arrive(&mut self, node: usize, other: usize) {
        let (now_ms, host) = (self.now_ms, &mut self.nodes[other]);
        if host.is_connected(node) {
            return;
        }
        if host.inbound.len() + host.occupied >= INBOUND_MAX {
            host.refused += 1;
            return self.fail(node, other, false);
        }
        host.inbound.push((node, now_ms));
        host.inbound_max = host.inbound_max.max(host.inbound.len() + host.occupied);
        // Both ask for the other's status.
        host.requests += 1;
        self.nodes[node].outbound.push(other);
        if self.nodes[node].listed_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.nodes[other].learn(node);
        }
        self.ask(node, other);
    }

    fn fail(&mut self, node: usize, other: usize, is_eviction: bool) {
        let max_ms = if other < self.setting.bootnodes { BACKOFF_BOOTNODE_MAX_MS } else { BACKOFF_MAX_MS };
        let now_ms = self.now_ms;
        self.nodes[node].failed(other, max_ms, is_eviction, now_ms);
    }

    /// Repeats the lookup at all connected nodes.
    fn look_up(&mut self, node: usize) {
        if self.now_ms >= self.nodes[node].next_lookup_ms {
            self.nodes[node].next_lookup_ms = self.now_ms + LOOKUP_INTERVAL_MS;
            for other in self.nodes[node].outbound.clone() {
                self.ask(node, other);
            }
        }
    }

    /// Another node names some of the nodes that it is connected with and that others can reach.
    fn ask(&mut self, node: usize, other: usize) {
        let now_ms = self.now_ms;
        self.nodes[other].requests += 1;
        let is_listed = |other: &usize| self.nodes[*other].listed_ms.is_some_and(|at_ms| at_ms <= now_ms);
        let host = &self.nodes[other];
        let connected = host.outbound.iter().copied().chain(host.inbound.iter().map(|(node, _)| *node));
        // The pool's own nodes know each other.
        let old = if other < self.setting.public { 0..self.setting.public } else { 0..0 };
        let mut named: Vec<usize> = connected.chain(old).filter(is_listed).collect();
        for _ in 0..NAMED_MAX.min(named.len()) {
            let at = self.random.below(named.len() as u64) as usize;
            let named = named.swap_remove(at);
            if named != node {
                self.nodes[node].learn(named);
            }
        }
    }

    /// Closes connections beyond those that may stay, when their time is over.
    fn close_temporary(&mut self, node: usize) {
        let now_ms = self.now_ms;
        let permanent = INBOUND_PERMANENT.saturating_sub(self.nodes[node].occupied);
        while let Some((other, since_ms)) = self.nodes[node].inbound.get(permanent).copied() {
            if now_ms < since_ms + self.setting.temporary_ms {
                return;
            }
            self.nodes[node].inbound.remove(permanent);
            self.nodes[node].closed += 1;
            self.nodes[other].outbound.retain(|connected| *connected != node);
            self.fail(other, node, true);
        }
    }

    fn joined(&self) -> Joined {
        let newcomers = &self.nodes[self.setting.public..];
        let enough = newcomers.iter().filter_map(|node| Some((node.enough_ms? - node.starts_ms) / 1_000));
        let mut enough_s: Vec<u64> = enough.collect();
        enough_s.sort_unstable();
        let lacking = newcomers.len() - enough_s.len();
        let bootnodes = &self.nodes[..self.setting.bootnodes];
        let Some(busiest) = bootnodes.iter().max_by_key(|node| node.dialled_s.len()) else {
            return Joined { enough_s, lacking, ..Joined::default() };
        };
        let in_second = |second: &u64| busiest.dialled_s.iter().filter(|other| *other == second).count();
        Joined {
            dials: busiest.dialled_s.len(),
            dials_per_s_max: busiest.dialled_s.iter().map(in_second).max().unwrap_or_default(),
            refused: busiest.refused,
            closed: busiest.closed,
            inbound_max: busiest.inbound_max,
            requests: busiest.requests,
            enough_s,
            lacking,
        }
    }
}

/// A thousand newcomers, pools of several sizes.
pub fn figure() -> Figure {
    let row = |(public, occupied, bootnodes, temporary_ms): (usize, usize, usize, u64)| {
        let joined = join(Setting { newcomers: 1_000, public, occupied, bootnodes, temporary_ms }, 1);
        let at = |permille: usize| joined.enough_s.get((joined.enough_s.len() * permille / 1_000).saturating_sub(1));
        let seconds = |permille: usize| at(permille).map_or("never".to_owned(), |seconds| format!("{seconds} s"));
        vec![
            public.to_string(),
            bootnodes.to_string(),
            format!("{} s", temporary_ms / 1_000),
            joined.dials.to_string(),
            joined.dials_per_s_max.to_string(),
            joined.inbound_max.to_string(),
            joined.refused.to_string(),
            joined.closed.to_string(),
            joined.requests.to_string(),
            seconds(500),
            seconds(990),
            seconds(1_000),
            joined.lacking.to_string(),
        ]
    };
    Figure {
        title: "A thousand nodes join within a minute",
        text: "A model without nodes: the slots, dials, waits and lookups of `threads/p2p`; one newcomer of five is public and is \
               named by the DHT a minute after its start; hole punching and relays are left out; a pool's public nodes have \
               half of their slots occupied, a lone bootnode none. Of the bootnode with the most dials: dials, those of the \
               busiest second, peers at most, dials refused, connections closed after some time (third column) to make room, requests for \
               its status and lookups. Then the time from a newcomer's start until it has four connections."
            .to_owned(),
        columns: vec![
            "public nodes", "bootnodes", "time", "dials", "in a second", "peers", "refused", "closed", "requests", "median", "p99",
            "all", "without four after 15 min",
        ],
        rows: [(1, 0, 1, 3_000), (40, 40, 1, 3_000), (40, 40, 4, 3_000), (200, 40, 4, 3_000), (40, 40, 1, 10_000)]
            .into_iter()
            .map(row)
            .collect(),
        bars: Vec::new(),
    }
}
