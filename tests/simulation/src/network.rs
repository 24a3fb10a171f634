//! The network: connections with latency and bandwidth, gossip that is relayed after a verdict, requests and responses
//! with timeouts, ban scores. It models what `threads/p2p` makes of libp2p, with the real encoding of every message.

mod connections;
mod gossip;
mod requests;

use std::collections::BTreeMap;
use std::rc::Rc;

use p2pool_core::node::{Event, NetworkCommand};
use p2pool_core::peer::{GossipId, GossipVerdict, InboundId, PeerHandle, RequestFailed, RequestId};
use p2pool_core::wire::{Frame as _, Misbehaviour, Response, BAN_THRESHOLD};

pub use gossip::{Gossip, WAITING_MAX};

use crate::engine::{Action, Simulation};
use crate::invariants::Invariant;

/// Gossip and requests are refused while so many events wait for the node.
const OFFERED_MAX: usize = 256;
/// A ban lasts this long.
const BAN_MS: u64 = 24 * 3_600_000;
/// Every this often a peer's ban score goes down by one.
const FORGIVE_MS: u64 = 30_000;
/// Bytes of a message's frame, and of the announcement that a message is there.
const FRAME_BYTES: usize = 60;

/// What travels on a connection.
pub enum Payload {
    Gossip(Rc<Gossip>),
    /// That a message is there; it is fetched if it has not come another way.
    Have(Rc<Gossip>),
    Request(RequestId, Vec<u8>),
    Response(RequestId, Vec<u8>),
}

impl Payload {
    fn len(&self) -> usize {
        FRAME_BYTES
            + match self {
                Self::Gossip(gossip) => gossip.bytes.len(),
                Self::Have(_) => 0,
                Self::Request(_, bytes) | Self::Response(_, bytes) => bytes.len(),
            }
    }
}

/// One end of a connection.
pub struct End {
    /// The node.
    pub host: usize,
    /// How this node names the other.
    pub peer: PeerHandle,
    /// When the line towards the other end is free.
    free_at_ms: u64,
    /// Requests of this node in flight.
    requests: BTreeMap<RequestId, u64>,
    /// Requests of the other that this node serves.
    served: usize,
    /// When the token bucket for shares from the other is full again.
    shares_full_at_ms: u64,
    blamed_at_ms: u64,
}

/// A connection of two nodes.
pub struct Connection {
    /// The dialer first.
    pub ends: [End; 2],
    pub is_open: bool,
    latency_ms: f64,
    is_mesh: bool,
}

/// A message that waits for its verdict.
pub struct Waiting {
    gossip: Rc<Gossip>,
    from: PeerHandle,
    until_ms: u64,
}

/// One node's view of the network.
#[derive(Default)]
pub struct Peers {
    /// Its open connections.
    pub connections: BTreeMap<PeerHandle, usize>,
    next_serial: u64,
    seen: BTreeMap<GossipId, u64>,
    /// Messages that wait for the node's verdict.
    pub waiting: BTreeMap<GossipId, Waiting>,
    inbound: BTreeMap<InboundId, (PeerHandle, RequestId)>,
    next_inbound: u64,
    /// Ban score of other nodes, and when it was last counted.
    scores: BTreeMap<usize, (u32, u64)>,
    /// Until when nodes are banned.
    pub bans: BTreeMap<usize, u64>,
    /// Bytes sent and received.
    pub bytes: (u64, u64),
    /// Messages sent and received.
    pub messages: (u64, u64),
    /// Gossiped messages received, each copy of one.
    pub copies: u64,
}

impl Peers {
    /// Another node is a stranger again.
    pub fn forget(&mut self, host: usize) {
        self.bans.remove(&host);
        self.scores.remove(&host);
    }

    /// What a restart leaves: bans, and the numbers that are never used twice.
    pub fn after_restart(&mut self) -> Self {
        let Self { next_serial, bans, bytes, messages, copies, .. } = std::mem::take(self);
        Self { next_serial, bans, bytes, messages, copies, ..Self::default() }
    }
}

impl Simulation {
    /// The network performs a node's command.
    pub fn network_command(&mut self, host: usize, command: NetworkCommand) {
        match command {
            NetworkCommand::Announce(share) => {
                if self.withhold(host, &share) {
                    return;
                }
                self.checks.announced(&share, host, &self.hosts[host], self.now_ms);
                self.publish(host, Gossip::share(&share));
            }
            NetworkCommand::AnnounceBlock(announcement) => self.publish(host, Gossip::block(announcement.encode())),
            NetworkCommand::Verdict { gossip, verdict } => {
                if let Some(waiting) = self.hosts[host].peers.waiting.remove(&gossip) {
                    if verdict == GossipVerdict::Accept {
                        self.allow_again(host, waiting.from);
                        self.relay(host, &waiting.gossip, Some(waiting.from));
                    }
                }
            }
            NetworkCommand::Penalize { peer, misbehaviour } => self.penalize(host, peer, misbehaviour),
            NetworkCommand::Request { peer, id, request } => self.request(host, peer, id, &request),
            NetworkCommand::Respond { to, response } => {
                let Some((peer, id)) = self.hosts[host].peers.inbound.remove(&to) else { return };
                self.respond(host, peer, id, response);
            }
        }
    }

    /// Puts a message on the line.
    fn send(&mut self, connection: usize, from: usize, payload: Payload) {
        let len = payload.len();
        let settings = self.scenario.network;
        let is_gossip = matches!(payload, Payload::Gossip(_));
        let is_lazy = matches!(payload, Payload::Have(_));
        let line = &mut self.connections[connection];
        if !line.is_open {
            return;
        }
        let (sender, receiver) = match line.ends[0].host == from {
            true => (0, 1),
            false => (1, 0),
        };
        let end = &mut line.ends[sender];
        let start = end.free_at_ms.max(self.now_ms);
        end.free_at_ms = start + (len as f64 * 1_000.0 / settings.bytes_per_s) as u64;
        let mut delay_ms = line.latency_ms + self.random.unit() * settings.jitter_ms;
        if is_lazy {
            // Up to the next heartbeat, and there and back again.
            delay_ms += 2.0 * line.latency_ms + self.random.unit() * 1_000.0;
        }
        let at_ms = end.free_at_ms + 1 + delay_ms as u64;
        self.hosts[from].peers.bytes.0 += len as u64;
        self.hosts[from].peers.messages.0 += 1;
        if is_gossip && self.random.chance(settings.loss) {
            return;
        }
        if let Payload::Gossip(gossip) = &payload {
            if self.random.chance(settings.duplication) {
                let again = Payload::Gossip(Rc::clone(gossip));
                let later = at_ms + self.random.below(300_000);
                self.schedule(later, Action::Deliver { connection, end: receiver, payload: again });
            }
        }
        self.schedule(at_ms, Action::Deliver { connection, end: receiver, payload });
    }

    /// A message arrives.
    pub fn deliver(&mut self, connection: usize, end: usize, payload: Payload) {
        let line = &self.connections[connection];
        if !line.is_open || self.are_apart(line.ends[0].host, line.ends[1].host) {
            return;
        }
        let (host, peer) = (line.ends[end].host, line.ends[end].peer);
        let sender = line.ends[1 - end].host;
        self.hosts[host].peers.messages.1 += 1;
        match payload {
            Payload::Have(gossip) => {
                if !self.has_seen(host, &gossip.id) {
                    // The message itself, which `send` has not counted.
                    self.hosts[sender].peers.bytes.0 += gossip.bytes.len() as u64;
                    self.hosts[host].peers.bytes.1 += (gossip.bytes.len() + FRAME_BYTES) as u64;
                    self.hosts[host].peers.copies += 1;
                    self.on_gossip(connection, end, gossip);
                }
            }
            Payload::Gossip(gossip) => {
                self.hosts[host].peers.bytes.1 += (gossip.bytes.len() + FRAME_BYTES) as u64;
                self.hosts[host].peers.copies += 1;
                if !self.has_seen(host, &gossip.id) {
                    self.on_gossip(connection, end, gossip);
                }
            }
            Payload::Request(id, bytes) => {
                self.hosts[host].peers.bytes.1 += (bytes.len() + FRAME_BYTES) as u64;
                self.on_request(connection, end, peer, id, &bytes);
            }
            Payload::Response(id, bytes) => {
                self.hosts[host].peers.bytes.1 += (bytes.len() + FRAME_BYTES) as u64;
                if self.connections[connection].ends[end].requests.remove(&id).is_none() {
                    return;
                }
                let response = Response::decode(&bytes).map_err(|error| {
                    self.penalize(host, peer, Misbehaviour::from(&error));
                    RequestFailed::Malformed
                });
                self.push(host, Event::Response { peer, id, response });
            }
        }
    }

    /// Counts a misbehaviour; enough of them ban the peer.
    fn penalize(&mut self, host: usize, peer: PeerHandle, misbehaviour: Misbehaviour) {
        let score_added = misbehaviour.ban_score();
        let Some(connection) = self.hosts[host].peers.connections.get(&peer).copied() else { return };
        if score_added == 0 {
            return;
        }
        let ends = &self.connections[connection].ends;
        let other = if ends[0].host == host { ends[1].host } else { ends[0].host };
        let now_ms = self.now_ms;
        let score = self.hosts[host].peers.scores.entry(other).or_insert((0, now_ms));
        let forgiven = ((now_ms - score.1) / FORGIVE_MS) as u32;
        *score = (score.0.saturating_sub(forgiven) + score_added, now_ms);
        let total = score.0;
        if self.is_traced {
            self.trace(host, &format!("penalises node {other} for: it {misbehaviour}; score {total}"));
        }
        let are_honest = self.hosts[host].is_honest() && self.hosts[other].is_honest();
        let are_updated = [host, other].map(|host| self.hosts[host].is_updated(&self.params));
        self.checks.scored_across_versions += u32::from(are_honest && are_updated[0] != are_updated[1]);
        if total < BAN_THRESHOLD {
            return;
        }
        self.hosts[host].peers.bans.insert(other, now_ms + BAN_MS);
        if are_honest {
            let detail = format!("node {host} bans node {other}, which {misbehaviour}");
            self.checks.violated(Invariant::NoHonestBan, now_ms, detail);
        }
        self.disconnect(connection);
    }
}
